"""``chain.jsonl``: one line a finished segment, each line holding the digest of the one before.

The first line holds the digest of ``manifest.json``, the last one that of ``end.json`` and of the
tails that are left. So the digest of the last line is one of the whole recording: with it, or
a signed statement, any change is evident. Without either, only accidents are: who can write to the
recording can also write a new chain.
"""

import hashlib
import json
import os
import re
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from tracer.recording import folder as disk
from tracer.recording.errors import StoreError
from tracer.recording.folder import Folder
from tracer.recording.format import CHAIN_BYTES, CHAIN_LINES, LINE_BYTES, PART_BYTES, SEGMENT_ROWS

CHAIN = "chain.jsonl"
MANIFEST = "manifest.json"
END = "end.json"
TAIL_FOLDER = "tail"

BEGINS, ENDS = -1, -2
"""Numbers of the first and the last line, which are no segments."""
_WORDS = {BEGINS: "begin", ENDS: "end"}
_TABLE = re.compile(r"[a-z]{1,32}")
_DIGEST = re.compile(r"[0-9a-f]{64}")
_FILES, _DAMAGE = 64, 20
_AT_ONCE = 1 << 20


@dataclass(frozen=True)
class PartInfo:
    """A file: digest of its bytes, its size in bytes, its rows."""

    sha256: str
    size: int
    rows: int


@dataclass(frozen=True)
class Link:
    """One line: what segment ``number`` holds."""

    number: int
    files: dict[str, PartInfo]
    """By path inside the recording, as ``events/000000.parquet``."""
    cpus: dict[int, tuple[int, int, int]]
    """CPU → lowest and highest sequence number, and how many records."""
    unknown: int
    """Records of a type this program does not know; they are counted, not kept."""
    previous: str
    digest: str = field(default="")

    def part(self, table: str) -> str | None:
        """Path of ``table``'s file in this segment, None where the segment has no such rows."""
        name = f"{table}/{part_name(self.number)}"
        return name if name in self.files else None


def part_name(number: int) -> str:
    """File name of segment ``number``'s part in a table's folder."""
    return f"{number:06d}.parquet"


def tail_name(number: int) -> str:
    """File name of segment ``number``'s tail."""
    return f"{number:06d}.records"


def part_number(name: str) -> int | None:
    """The segment of a part's file name, None: it is no such name (``0000001.parquet``, say)."""
    return _number_in(name, ".parquet")


def tail_number(name: str) -> int | None:
    """The segment of a tail's file name, None: it is no such name."""
    return _number_in(name, ".records")


def _number_in(name: str, suffix: str) -> int | None:
    digits = name.removesuffix(suffix)
    if digits == name or not re.fullmatch(r"[0-9]{6,18}", digits):
        return None
    return int(digits) if f"{int(digits):06d}" == digits else None


def sha256(data: bytes) -> str:
    """Hexadecimal digest."""
    return hashlib.sha256(data).hexdigest()


def info(data: bytes, rows: int = 0) -> PartInfo:
    """What a line says of a file with the content ``data``."""
    return PartInfo(sha256(data), len(data), rows)


def wrong(data: bytes, path: str, named: PartInfo) -> str | None:
    """What is wrong with the content ``data`` of the file ``path``, None: nothing."""
    if len(data) != named.size:
        return f"{path} is {len(data)} bytes long and was {named.size}."
    if sha256(data) != named.sha256:
        return f"{path} was changed (its digest is wrong)."
    return None


def _body(link: Link) -> dict[str, Any]:
    return {
        "segment": _WORDS.get(link.number, link.number),
        "files": {
            name: {"sha256": part.sha256, "bytes": part.size, "rows": part.rows}
            for name, part in sorted(link.files.items())
        },
        "cpus": {str(cpu): list(counts) for cpu, counts in sorted(link.cpus.items())},
        "unknown": link.unknown,
        "previous": link.previous,
    }


def digest(link: Link) -> str:
    """The digest that belongs at the end of this line."""
    return sha256(json.dumps(_body(link), separators=(",", ":")).encode())


def line(link: Link) -> bytes:
    """The line as it is written, line end included."""
    body = _body(link) | {"digest": link.digest}
    return json.dumps(body, separators=(",", ":")).encode() + b"\n"


def signed(number: int, files: dict[str, PartInfo], previous: str) -> Link:
    """The first or the last line (:data:`BEGINS`, :data:`ENDS`) with its digest."""
    link = Link(number, files, {}, 0, previous)
    return Link(number, files, {}, 0, previous, digest(link))


# ---- reading ------------------------------------------------------------------------------------


def parse(text: bytes) -> Link:
    """One line without its end. ValueError: not a line of a chain, byte by byte."""
    try:
        raw = json.loads(text)
        numbers = {word: number for number, word in _WORDS.items()}
        segment = raw["segment"]
        link = Link(
            number=numbers[segment] if isinstance(segment, str) else _number(segment),
            files={
                str(name): PartInfo(
                    _digest(part["sha256"]),
                    _number(part["bytes"], PART_BYTES),
                    _number(part["rows"], SEGMENT_ROWS),
                )
                for name, part in raw["files"].items()
            },
            cpus={int(cpu): _counts(counts) for cpu, counts in raw["cpus"].items()},
            unknown=_number(raw["unknown"]),
            previous=_digest(raw["previous"]) if raw["previous"] else "",
            digest=_digest(raw["digest"]),
        )
    except (KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"not a chain line: {error}") from None
    if line(link) != text + b"\n":
        # Else a blank, a second key of one name or 1.0 for 1 could come in without any digest.
        raise ValueError("a chain line is not written as a recorder does")
    if len(link.files) > _FILES or not all(_fits(link.number, name) for name in link.files):
        raise ValueError("a chain line names files that are not its own")
    needed = {BEGINS: MANIFEST, ENDS: END}.get(link.number)
    if needed not in (None, *link.files):
        raise ValueError(f"a chain line does not name {needed}")
    return link


def _number(value: object, most: int = (1 << 64) - 1) -> int:
    if type(value) is not int or not 0 <= value <= most:
        raise ValueError("a number is none")
    return value


def _digest(value: object) -> str:
    if not isinstance(value, str) or not _DIGEST.fullmatch(value):
        raise ValueError("a digest is none")
    return value


def _counts(value: object) -> tuple[int, int, int]:
    if not isinstance(value, list) or len(value) != 3:
        raise ValueError("no counts of a CPU")
    first, last, count = map(_number, value)
    return first, last, count


def _fits(number: int, name: str) -> bool:
    """Whether ``name`` is one of the files that this line may tell of."""
    folder, _, file = name.rpartition("/")
    if number == BEGINS:
        return name == MANIFEST
    if number == ENDS:
        return name == END or (folder == TAIL_FOLDER and tail_number(file) is not None)
    return _TABLE.fullmatch(folder) is not None and file == part_name(number)


class Chain:
    """What ``chain.jsonl`` holds; what was read stays, :meth:`update` goes on behind it.

    Lines that cannot be read are left out.
    """

    def __init__(self) -> None:
        self.begin: Link | None = None
        self.links: list[Link] = []
        """The segments."""
        self.end: Link | None = None
        """Its recorder ended the recording."""
        self.damage: list[str] = []
        """What no accident of the recorder explains, in sentences."""
        self.unfinished = False
        """The last line has no end: it was being written."""
        self.cut_short = False
        """It has lost lines that were read."""
        self.digest = ""
        """Of the last line: what a next one has to hold."""
        self.size = 0
        """Bytes of the lines that were read."""
        self._lines = 0
        self._over = False
        self._lock = threading.Lock()  # reading ahead happens in a thread of its own

    @property
    def next_number(self) -> int:
        """The first segment that is not in the chain."""
        return self.links[-1].number + 1 if self.links else 0

    def update(self, folder: Folder) -> bool:
        """Reads the lines that are new; whether there were any. OSError."""
        try:
            fd = folder.open_file(CHAIN)
        except FileNotFoundError:
            self.cut_short = self.size > 0  # not there: killed behind the manifest
            return False
        with self._lock, os.fdopen(fd, "rb", buffering=0):
            before = self._lines
            size = os.fstat(fd).st_size
            self.cut_short = size < self.size
            whole = b"\n"
            while whole and not self._over:
                data = os.pread(fd, _AT_ONCE, self.size)
                if b"\n" not in data and len(data) == _AT_ONCE:
                    place = self._lines + 1
                    self._stop(f"Line {place} of chain.jsonl is longer than {LINE_BYTES} bytes.")
                whole = data[: data.rfind(b"\n") + 1]
                self.add(whole)
            self.unfinished = not self._over and size > self.size
            return self._lines > before

    def add(self, data: bytes) -> None:
        """Takes whole lines."""
        for text in data.split(b"\n")[:-1]:
            if self._over:
                return
            self._line(text)
            self._lines += 1
            self.size += len(text) + 1
            if self._lines > CHAIN_LINES or self.size > CHAIN_BYTES:
                self._stop("chain.jsonl has more lines than a recorder writes.")

    def _stop(self, why: str) -> None:
        self.damage.append(why)
        self._over = True

    def _line(self, text: bytes) -> None:
        place = f"Line {self._lines + 1} of chain.jsonl"
        if len(self.damage) > _DAMAGE:
            self._stop("More of chain.jsonl is wrong; it was not read to its end.")
            return
        try:
            link = parse(text)
        except ValueError:
            self.damage.append(f"{place} cannot be read.")
            self.digest = ""
            return
        self._check(link, place)
        self.digest = link.digest
        if link.number == BEGINS:
            self.begin = self.begin or link
        elif link.number == ENDS:
            self.end = self.end or link
        else:
            self.links.append(link)

    def _check(self, link: Link, place: str) -> None:
        expected = BEGINS if not self._lines else self.next_number
        if self.end is not None:
            self.damage.append(f"{place} stands behind the end.")
        elif link.number != expected and (link.number != ENDS or not self._lines):
            name = {BEGINS: "the start", ENDS: "the end"}
            self.damage.append(
                f"{place} is {name.get(link.number, f'segment {link.number}')}, not "
                f"{name.get(expected, str(expected))}: lines were removed, added or exchanged."
            )
        if digest(link) != link.digest:
            self.damage.append(f"{place} was changed (its digest is wrong).")
        if link.previous != self.digest:
            self.damage.append(f"{place} does not follow the line before it.")


def read(folder: Folder) -> Chain:
    """The whole chain. OSError."""
    chain = Chain()
    chain.update(folder)
    return chain


class ChainWriter:
    """The open ``chain.jsonl`` and the digest that the next line has to carry."""

    def __init__(self, folder: Folder, manifest: bytes) -> None:
        """Begins it with the line that holds the digest of ``manifest.json``."""
        self.last = ""
        self.count = 0
        """Segments."""
        self.size = 0
        """Bytes."""
        self.fd = folder.create(CHAIN)
        self._write(signed(BEGINS, {MANIFEST: info(manifest)}, ""))

    def append(self, link: Link) -> None:
        """Adds a segment with the digests that belong to it, and waits for the device."""
        if self.count + 3 > CHAIN_LINES or self.size > CHAIN_BYTES // 2:
            raise StoreError(
                f"{self.count} segments are as many as a recording can have: go on in another one"
            )
        link = replace(link, previous=self.last)
        self._write(replace(link, digest=digest(link)))
        self.count += 1

    def end(self, files: Mapping[str, PartInfo]) -> None:
        """The last line: digests of ``end.json`` and of the tails that are left."""
        if os.fstat(self.fd).st_size != self.size:
            disk.cut(self.fd, self.size)  # of a line that failed half-way, say of a full disk
        self._write(signed(ENDS, dict(files), self.last))

    def _write(self, link: Link) -> None:
        size = disk.write_all(self.fd, line(link))
        disk.sync(self.fd)
        self.size += size
        self.last = link.digest

    def close(self) -> None:
        """Closes the file; a second call does nothing."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1
