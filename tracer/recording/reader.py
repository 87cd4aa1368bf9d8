"""Reads a recording that is finished, cut off or still growing.

Everything is taken from what the chain names; files beside it were never finished and are ignored.
What the chain named once is kept as long as the recording is open, and every part is read whole and
compared with its digest there: changes to the folder meanwhile change no answer.
"""

import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tracer.record import HEAD, RECORD_SIZE
from tracer.recording import folder as lock
from tracer.recording import tables as names_of
from tracer.recording.chain import (
    END,
    MANIFEST,
    TAIL_FOLDER,
    Chain,
    Link,
    PartInfo,
    tail_name,
    tail_number,
    wrong,
)
from tracer.recording.errors import Damaged, FutureSchema, NotARecording, StoreError, from_os
from tracer.recording.folder import Folder
from tracer.recording.format import (
    DOCUMENT_BYTES,
    EVERY,
    PART_BYTES,
    PIECE_ROWS,
    SCHEMA_VERSION,
    TABLES,
)
from tracer.recording.manifest import FORMAT, End, Manifest, json_object
from tracer.recording.part import PartFile
from tracer.recording.tables import empty
from tracer.recording.tables import tables as tables_of
from tracer.recording.tail import Records, TailReader
from tracer.walltime import WallClock

if TYPE_CHECKING:
    import pandas as pd

_SILENCE_S = 10.0
"""A recorder whose lock cannot be seen (another machine) is dead after so long without a sign."""
_CLOCKS_S = 5.0
"""So much may this machine's clock and that of the file server, which dates the signs, differ."""


class Recorder:
    """The one that writes, or wrote, the recording in ``folder``: and whether it lives.

    A virtual machine, or another host, that writes to a shared folder holds a lock that cannot be
    seen here; but it says every second that it lives.
    """

    def __init__(self, folder: Folder, boot: str | None, *, watches: bool = False) -> None:
        """``boot``: the manifest's ``boot_id``, None where it has none.

        ``watches``: :meth:`alive` is called again and again, so that the first answer may wait for
        a sign; otherwise the date of the last sign decides.
        """
        self._folder = folder
        self.local = boot is None or boot == boot_id()
        """It runs, or ran, on this machine, so that its lock is seen."""
        self._watches = watches
        self._beat: int | None = None
        self._heard_s = time.monotonic()

    def alive(self) -> bool:
        """By its lock where that can be seen, by its beats where not."""
        if lock.held(self._folder):
            return True
        if self.local:
            return False
        last = lock.beat(self._folder)
        if last != self._beat:
            age_s = time.time() - last / 1e9 - _CLOCKS_S
            dated = self._beat is None and not self._watches
            self._heard_s = time.monotonic() - (max(0.0, age_s) if dated else 0.0)
            self._beat = last
        return time.monotonic() - self._heard_s < _SILENCE_S


def boot_id() -> str | None:
    """Of this machine; None where the kernel does not tell."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return None


ALIVE = "The recording is still being written."
KILLED = (
    "The recorder was killed or the machine went down: the chain has no end, and the last records "
    "may be missing."
)
_TRIES = 20
_IN_FLIGHT = 3  # segments that a writer may have cut and not yet put into the chain


def read_manifest(folder: Folder, path: str) -> tuple[Manifest, bytes]:
    """The manifest and its bytes. NotARecording, FutureSchema, NoPermission, Damaged."""
    try:
        data = folder.contents(MANIFEST, DOCUMENT_BYTES)
    except FileNotFoundError:
        raise NotARecording(
            f"{path} is no sealsnoop recording: it has no {MANIFEST}; give a NAME.seal folder"
        ) from None
    except OSError as error:
        raise from_os(error, f"reading {path}/{MANIFEST}") from error
    except Damaged as error:
        raise Damaged(f"{path}: {error}") from None
    try:
        found = json_object(data, MANIFEST)
    except Damaged as error:
        raise NotARecording(f"{path} is no sealsnoop recording: {error}") from None
    version = found.get("schema_version")
    if found.get("format") != FORMAT or type(version) is not int:
        raise NotARecording(f"{path} is no sealsnoop recording: its {MANIFEST} is not one of ours")
    if version > SCHEMA_VERSION:
        raise FutureSchema(
            f"{path} was written by a newer sealsnoop (schema {version}, this one knows "
            f"{SCHEMA_VERSION}); update sealsnoop to read it"
        )
    if version < SCHEMA_VERSION:
        raise NotARecording(
            f"{path} is older than sealsnoop's first release (schema {version}); record it again"
        )
    try:
        return Manifest.of(found), data
    except Damaged as error:
        raise Damaged(f"{path}: {error}") from None


def open_tail(folder: Folder, number: int, chain: Chain) -> TailReader | None:
    """The tail of segment ``number``, None where there is none. Damaged.

    Once the recording has ended only those count that its last line names.
    """
    named = None
    if chain.end is not None:
        named = chain.end.files.get(f"{TAIL_FOLDER}/{tail_name(number)}")
        if named is None:
            return None
    try:
        with folder.sub(TAIL_FOLDER) as tails:
            return TailReader(tails, number, named)
    except FileNotFoundError:
        if named is None:
            return None
        raise Damaged(f"{TAIL_FOLDER}/{tail_name(number)} is missing.") from None


@dataclass
class Snapshot:
    """One consistent view: segments of the chain, then the open tails that follow them."""

    links: list[Link]
    end: End | None
    """``end.json``; None: there is none that the chain vouches for."""
    alive: bool
    tails: dict[int, TailReader] = field(default_factory=dict)
    damage: list[str] = field(default_factory=list)
    """What was changed, in sentences."""
    missing: list[str] = field(default_factory=list)
    """What is not there since it was not finished, in sentences."""

    @property
    def next_number(self) -> int:
        """The first segment that is not in the chain."""
        return self.links[-1].number + 1 if self.links else 0

    def close(self) -> None:
        """Closes the tails."""
        for tail in self.tails.values():
            tail.close()


def take(folder: Folder, manifest: bytes, chain: Chain, recorder: Recorder) -> Snapshot:
    """The recording as it is now; brings ``chain`` up to date. OSError where the system refuses."""
    for _ in range(_TRIES):
        alive = recorder.alive()
        chain.update(folder)
        shot = Snapshot([*chain.links], None, alive and chain.end is None)
        _open_tails(folder, chain, shot)
        # A tail may have been exchanged for its segment while we looked; then look again.
        if not shot.alive or not chain.update(folder):
            break
        shot.close()
    shot.damage[:0] = chain.damage
    _check_begin(chain, manifest, shot)
    if chain.cut_short:
        shot.damage.append("chain.jsonl has become shorter since it was read.")
    if chain.end is not None:
        if chain.unfinished:
            shot.damage.append("Behind the end of chain.jsonl there is more.")
        shot.end = read_end(folder, chain.end, shot)
        if shot.end is not None and shot.end.error:
            shot.missing.append(f"The recording ended because of an error: {shot.end.error}")
        if shot.end is not None and shot.end.unsaved:
            shot.missing.append(
                f"{shot.end.unsaved} records came from the kernel but could not be stored."
            )
        return shot
    if chain.unfinished and not alive:
        shot.missing.append(
            "The last line of chain.jsonl is unfinished; its segment is taken from the tail."
        )
    shot.missing.append(ALIVE if alive else KILLED)
    if not alive and folder.has(END):
        shot.missing.append(
            f"{END} is there, and the chain does not vouch for it: it is not believed."
        )
    return shot


def _open_tails(folder: Folder, chain: Chain, shot: Snapshot) -> None:
    first = shot.next_number
    numbers = [*range(first, first + _IN_FLIGHT)] if chain.end is None else tail_numbers(chain.end)
    try:
        for number in numbers:
            try:
                tail = open_tail(folder, number, chain)
            except Damaged as error:
                shot.damage.append(str(error))
                continue
            if tail is not None:
                shot.tails[number] = tail
    except BaseException:
        shot.close()
        raise


def tail_numbers(end: Link) -> list[int]:
    """The tails that the last line names, in their order."""
    names = (path.removeprefix(f"{TAIL_FOLDER}/") for path in end.files)
    return sorted(number for name in names if (number := tail_number(name)) is not None)


def _check_begin(chain: Chain, manifest: bytes, shot: Snapshot) -> None:
    if chain.begin is not None:
        if wrong(manifest, MANIFEST, chain.begin.files[MANIFEST]):
            shot.damage.append(f"{MANIFEST} is not the one that the recording started with.")
    elif chain.links or chain.end is not None:
        shot.damage.append(f"chain.jsonl does not say which {MANIFEST} the recording started with.")


def read_end(folder: Folder, line: Link, shot: Snapshot) -> End | None:
    """``end.json`` if it is the one that the chain's last line names, and has our types."""
    try:
        data = folder.contents(END, DOCUMENT_BYTES)
        fault = wrong(data, END, line.files[END])
        if fault is None:
            return End.of(json_object(data, END))
        shot.damage.append(fault)
    except FileNotFoundError:
        shot.damage.append(f"{END} is missing.")
    except Damaged as error:
        shot.damage.append(str(error))
    return None


KEY = ["dev", "ino", "gen"]


def tail_tables(shot: Snapshot) -> Iterator[dict[str, pa.Table]]:
    """The tables of each tail; what turns out to be missing is added to ``shot.missing``.

    Behind records that are missing nothing is taken: what is read of a recording that was cut off
    is what its recorder got, from the first on.
    """
    expected = shot.next_number
    lacking = ""
    for number, tail in sorted(shot.tails.items()):
        if number != expected:
            lacking = f"Segment {expected} was not finished"
        if lacking:
            shot.missing.append(
                f"{lacking}: records are missing, and what is in the tail of segment {number}, "
                "which comes behind them, is left out."
            )
            return
        for records in _joined(tail):
            yield tables_of(records)
        if tail.damaged or (tail.unread and not shot.alive):
            shot.missing.append(
                f"The tail of segment {number} ends with {tail.unread} bytes of an unfinished "
                "block: its records are missing."
            )
        if not tail.complete:
            lacking = f"The end of segment {number} was not written"
        expected = number + 1


def _joined(tail: TailReader) -> Iterator[Records]:
    """The records of a tail in few pieces: a block may be a few records only."""
    held: list[Records] = []
    for block in tail.read():
        held.append(block.view(f"V{RECORD_SIZE}"))
        if sum(map(len, held)) >= PIECE_ROWS:
            yield np.concatenate(held).view(HEAD)
            held.clear()
    if held:
        yield np.concatenate(held).view(HEAD)


def pieces(part: PartFile, columns: Sequence[str]) -> Iterator[pa.Table]:
    """The rows of a part; small row groups come together. Damaged."""
    held: list[int] = []
    rows = 0
    for number, more in enumerate([*part.groups, PIECE_ROWS]):
        if held and rows + more > PIECE_ROWS:
            table = part.read(held, columns)
            for start in range(0, rows, PIECE_ROWS):
                yield table.slice(start, PIECE_ROWS)
            held, rows = [], 0
        held.append(number)
        rows += more


class Recording:
    """An open recording. Each call looks again, so a growing one shows its growth."""

    def __init__(self, folder: Folder, path: str) -> None:
        self.path = path
        self.folder = folder
        self.manifest, self.manifest_bytes = read_manifest(folder, path)
        """What was recorded, by what and where."""
        self.recorder = Recorder(folder, self.manifest.boot_id)
        self.end: End | None = None
        """``end.json``: why it stopped; None while it is written or if the recorder was killed."""
        self.chain = Chain()
        self._now: list[str] = []
        self._found: dict[str, None] = {}
        self.snapshot().close()

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> Self:
        """Opens a recording, finished or still being written.

        :param path: a ``NAME.seal`` folder; a symbolic link is not followed.
        :return: a context manager; :meth:`close` gives its descriptor back.
        :raises NotARecording: there is none, or it is older than the first release.
        :raises FutureSchema: a newer sealsnoop wrote it.
        :raises NoPermission: this user may not read it.
        :raises Damaged: its manifest has values of other types than a recorder writes.
        """
        try:
            folder = Folder.open(path)
        except OSError as error:
            raise from_os(error, f"opening the recording {os.fspath(path)}") from error
        try:
            return cls(folder, os.fspath(path))
        except BaseException:
            folder.close()
            raise

    def snapshot(self) -> Snapshot:
        """What there is now: segments of the chain and the tails behind them.

        :return: to be closed.
        :raises StoreError: the system does not let us read it.
        """
        try:
            shot = take(self.folder, self.manifest_bytes, self.chain, self.recorder)
        except OSError as error:
            raise from_os(error, f"reading {self.path}") from error
        self.end = shot.end
        self._now = [*shot.damage, *shot.missing]
        return shot

    @property
    def files(self) -> dict[str, PartInfo]:
        """What the chain says of every file of the recording, by its path inside."""
        lines = [self.chain.begin, *self.chain.links, self.chain.end]
        return {path: info for one in lines if one is not None for path, info in one.files.items()}

    @property
    def problems(self) -> list[str]:
        """What is missing and why, in sentences: at the last look, and all that reading found."""
        return list(dict.fromkeys([*self._now, *self._found]))

    def note(self, problem: str) -> None:
        """Takes a sentence of :attr:`problems` that another reader of it found."""
        self._found[problem] = None

    @property
    def alive(self) -> bool:
        """Whether a recorder is writing it now, on this machine or on another."""
        shot = self.snapshot()
        shot.close()
        return shot.alive

    def tables(
        self, name: str, columns: Sequence[str] | None = None, segments: range = EVERY
    ) -> Iterator[pa.Table]:
        """The rows of a table as they are now, in the order of arrival.

        :param name: a key of :data:`tracer.recording.format.TABLES`, for example ``events``.
        :param columns: those wanted, in this order; None: all (docs/schema.md).
        :param segments: of these alone; tails belong to the first that is not in the chain.
        :return: pieces of at most 65,536 rows; ``objects`` in one piece, so that names cut apart
            by a segment's end are whole. What cannot be read is left out and named in
            :attr:`problems`.
        :raises StoreError: no such table or column, or the system does not let us read.
        """
        if name not in TABLES:
            raise StoreError(f"no table {name!r} in a recording; there are {', '.join(TABLES)}")
        if columns is not None and (wrong := set(columns) - set(TABLES[name].names)):
            raise StoreError(
                f"no column {min(wrong)!r} in {name}; there are {', '.join(TABLES[name].names)}"
            )
        if name == "objects":
            yield self._objects(columns)
            return
        yield from self._pieces(name, columns, segments)

    def _pieces(
        self, name: str, columns: Sequence[str] | None, segments: range = EVERY
    ) -> Iterator[pa.Table]:
        shot = self.snapshot()
        known = len(shot.missing)
        try:
            for link in shot.links:
                if link.number in segments:
                    yield from self.part(link, name, columns)
            for found in tail_tables(shot) if shot.next_number in segments else ():
                if name in found:
                    yield found[name] if columns is None else found[name].select(list(columns))
        finally:
            for problem in shot.missing[known:]:
                self.note(problem)
            shot.close()

    def part(
        self, link: Link, table: str, columns: Sequence[str] | None = None
    ) -> Iterator[pa.Table]:
        """The rows of one segment in ``table``, as :meth:`tables` gives them.

        :param link: a line of :attr:`chain`.
        :return: nothing where the segment has no such rows.
        """
        path = link.part(table)
        if path is None:
            return
        try:
            part = self.open_part(link, path)
            yield from pieces(part, TABLES[table].names if columns is None else columns)
        except FileNotFoundError:
            self.note(f"{path} is in the chain but not there: its rows are missing.")
        except Damaged as error:
            self.note(f"{error} Its rows are missing.")
        except OSError as error:
            self.note(f"{path} cannot be read ({error.strerror}): its rows are missing.")

    def open_part(self, link: Link, path: str) -> PartFile:
        """A part as the chain vouches for it, read once.

        :param path: as ``link.files`` names it.
        :raises Damaged: its digest or its rows are not those in the chain, or Parquet is not ours.
        :raises OSError: as the system gives it.
        """
        data = self.folder.contents(path, PART_BYTES)
        named = link.files[path]
        if fault := wrong(data, path, named):
            raise Damaged(fault)
        part = PartFile(data, path)
        if sum(part.groups) != named.rows:
            raise Damaged(f"{path} has {sum(part.groups)} rows where the chain says {named.rows}.")
        return part

    def _objects(self, columns: Sequence[str] | None) -> pa.Table:
        table = pa.concat_tables([empty(TABLES["objects"]), *self._pieces("objects", None)])
        incomplete = table.column("name_complete").to_pylist().count(False)
        if incomplete:
            pieces = pa.concat_tables([empty(TABLES["names"]), *self._pieces("names", None)])
            table = names_of.joined(table, pieces)
        return table if columns is None else table.select(list(columns))

    def frame(
        self, name: str, columns: Sequence[str] | None = None, *, names: bool = False
    ) -> "pd.DataFrame":
        """A table as one DataFrame.

        :param name: as for :meth:`tables`.
        :param columns: those wanted, in this order; None: all, and ``time``: ``time_ns`` by the
            wall clock, ``datetime64[ns, UTC]``.
        :param names: adds a column ``name``: the last that was announced for the row's
            (dev, ino, gen), null where none was.
        :raises StoreError: no such table or column, or the system does not let us read.
        """
        if columns is None and name in TABLES:
            frame = self.frame(name, TABLES[name].names, names=names)
            when = self.clock().column(frame["time_ns"].to_numpy())
            frame.insert(list(frame).index("time_ns"), "time", when)
            return frame
        wanted = [c for c in columns or () if c != "name" or not names]
        read = [*dict.fromkeys([*wanted, *KEY])] if names else wanted
        if name == "objects" and names:
            raise StoreError("objects have their names already")
        pieces = list(self.tables(name, read))
        schema = pa.schema([TABLES[name].field(column) for column in read])
        table = pa.concat_tables([empty(schema), *pieces])
        found: pd.DataFrame = table.to_pandas()
        if not names:
            return found
        known = self._objects([*KEY, "name"]).to_pandas().drop_duplicates(KEY, keep="last")
        found = found.merge(known, on=KEY, how="left")
        return found[[*wanted, "name"]]

    def clock(self) -> WallClock:
        """Which time it was when, by the clocks that the recorder read. StoreError."""
        found = WallClock()
        for table in self.tables("clocks", ["time_ns", "realtime_ns"]):
            boots, walls = (names_of.values(table, name) for name in ("time_ns", "realtime_ns"))
            found.extend(zip(boots, walls, strict=True))
        return found

    def last_ns(self) -> int | None:
        """The last moment of which it knows, boot clock, ns. StoreError.

        A killed recorder read no clock at its end: the events are looked through.
        """
        times = [one.boot_ns for one in self.clock().anchors]
        for table in self.tables("events", ["time_ns"]):
            if table.num_rows:
                times.append(int(pc.max(table.column("time_ns")).as_py()))
        return max(times, default=None)

    def follow(self, poll_s: float = 0.1) -> Iterator[pa.Table]:
        """Events of a recording that is being written, until it ends or its recorder dies.

        :param poll_s: seconds between two looks at the folder.
        :return: tables of ``events``, those there already first; each row once.
        :raises StoreError: the system does not let us read.
        """
        from tracer.recording.follow import follow

        return follow(self, poll_s)

    def close(self) -> None:
        """Gives the descriptor back; a second call does nothing."""
        self.folder.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
