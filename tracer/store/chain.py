"""``chain.jsonl``: one line a finished segment, each line holding the digest of the one before.

The first line holds the digest of ``manifest.json``, and ``end.json`` that of the last line, so
nothing can be taken out, put in or exchanged unnoticed (by anyone who cannot rewrite everything
behind it too: this is evidence against accidents and hurried hands, not a signature).
"""

import hashlib
import json
import re
from dataclasses import dataclass, field
from typing import Any

CHAIN = "chain.jsonl"
_FILE = re.compile(r"([a-z]+)/([0-9]{6,})\.parquet")


@dataclass(frozen=True)
class PartInfo:
    """A file of a segment: digest of its bytes, its size in bytes, its rows."""

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


def sha256(data: bytes) -> str:
    """Hexadecimal digest."""
    return hashlib.sha256(data).hexdigest()


def _body(link: Link) -> dict[str, Any]:
    return {
        "segment": link.number,
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


def parse(text: bytes) -> Link:
    """One line without its end. ValueError: not a line of a chain."""
    try:
        raw = json.loads(text)
        link = Link(
            number=int(raw["segment"]),
            files={
                str(name): PartInfo(str(part["sha256"]), int(part["bytes"]), int(part["rows"]))
                for name, part in raw["files"].items()
            },
            cpus={
                int(cpu): (int(first), int(last), int(count))
                for cpu, (first, last, count) in raw["cpus"].items()
            },
            unknown=int(raw["unknown"]),
            previous=str(raw["previous"]),
            digest=str(raw["digest"]),
        )
    except (KeyError, TypeError, AttributeError, UnicodeDecodeError) as error:
        raise ValueError(f"not a chain line: {error}") from None
    for name in link.files:
        match = _FILE.fullmatch(name)
        if match is None or int(match[2]) != link.number:
            raise ValueError(f"a chain line names the file {name!r}")
    return link


@dataclass
class Chain:
    """What ``chain.jsonl`` holds; lines that cannot be read are left out."""

    links: list[Link] = field(default_factory=list)
    damage: list[str] = field(default_factory=list)
    """What no accident of the recorder explains, in sentences."""
    unfinished: bool = False
    """The last line has no end: it was being written."""


def read(data: bytes, manifest: bytes) -> Chain:
    """The links of ``chain.jsonl``, checked against each other and ``manifest.json``."""
    *lines, rest = data.split(b"\n")
    chain = Chain(unfinished=bool(rest))
    previous = sha256(manifest)
    for place, text in enumerate(lines):
        try:
            link = parse(text)
        except ValueError:
            chain.damage.append(f"Line {place + 1} of chain.jsonl cannot be read.")
            previous = ""
            continue
        chain.damage += _wrong(link, place, previous)
        chain.links.append(link)
        previous = link.digest
    return chain


def _wrong(link: Link, place: int, previous: str) -> list[str]:
    line_ = f"Line {place + 1} of chain.jsonl"
    wrong = []
    if link.number != place:
        wrong.append(
            f"{line_} is segment {link.number}, not {place}: "
            "lines were removed, added or exchanged."
        )
    if digest(link) != link.digest:
        wrong.append(f"{line_} was changed (its digest is wrong).")
    if link.previous != previous:
        wrong.append(
            f"{line_} does not follow the line before it."
            if place
            else "manifest.json is not the one that the recording began with."
        )
    return wrong
