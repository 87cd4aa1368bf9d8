"""Reads a recording, finished, cut off or still growing.

Everything is taken from what the chain names; files beside it were never finished and are ignored.
What the chain said once stays said as long as the recording is open, and every part is read whole
and held against its digest there: whoever can write to the folder meanwhile changes no answer.
"""

import os
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import pyarrow as pa

from tracer.model.record import HEAD, RECORD_SIZE
from tracer.store import gate, snapshot
from tracer.store import objects as names_of
from tracer.store.alive import Recorder
from tracer.store.arrays import empty
from tracer.store.chain import Chain, Link, PartInfo, wrong
from tracer.store.errors import Damaged, StoreError, from_os
from tracer.store.folder import Folder
from tracer.store.limits import PART_BYTES, PIECE_ROWS
from tracer.store.partfile import PartFile
from tracer.store.schema import TABLES
from tracer.store.snapshot import Snapshot
from tracer.store.tables import tables as tables_of
from tracer.store.tail import Records, TailReader

if TYPE_CHECKING:
    import pandas as pd

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
    """An open recording. Each call of a method looks anew, so a growing one shows its growth."""

    def __init__(self, folder: Folder, path: str) -> None:
        self.path = path
        self.folder = folder
        self.manifest, self.manifest_bytes = snapshot.read_manifest(folder, path)
        """What was recorded, by what and where: the recorder's own dict plus format and version."""
        self.recorder = Recorder(folder, self.manifest.get("boot_id"))
        self.end: dict[str, Any] | None = None
        """``end.json``: why it stopped; None while it is written or if the recorder was killed."""
        self.chain = Chain()
        self._now: list[str] = []
        self._found: dict[str, None] = {}
        self.snapshot().close()

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> Self:
        """Opens ``path``. NotARecording, FutureSchema, NoPermission."""
        folder = snapshot.open_folder(path)
        try:
            return cls(folder, os.fspath(path))
        except BaseException:
            folder.close()
            raise

    def snapshot(self) -> Snapshot:
        """What there is now; to be closed. StoreError."""
        try:
            shot = snapshot.take(self.folder, self.manifest_bytes, self.chain, self.recorder)
        except OSError as error:
            raise from_os(error, f"reading {self.path}") from error
        self.end = shot.end
        self._now = [*shot.damage, *shot.missing]
        return shot

    @property
    def files(self) -> dict[str, PartInfo]:
        """What the chain says of every file of the recording, by its path inside."""
        lines = [self.chain.begin, *self.chain.links, self.chain.end]
        return {path: said for one in lines if one is not None for path, said in one.files.items()}

    @property
    def problems(self) -> list[str]:
        """What is missing and why, in sentences: at the last look, and all that reading found."""
        return list(dict.fromkeys([*self._now, *self._found]))

    def _note(self, problem: str) -> None:
        self._found[problem] = None

    @property
    def alive(self) -> bool:
        """Whether a recorder is writing it now, on this machine or on another."""
        shot = self.snapshot()
        shot.close()
        return shot.alive

    def tables(self, name: str, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
        """The rows of table ``name`` as they are now, in the order of arrival, in several pieces.

        A piece has at most 65536 rows. ``objects`` come in one piece, so that names cut apart by a
        segment's end are whole.
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
        yield from self._pieces(name, columns)

    def _pieces(self, name: str, columns: Sequence[str] | None) -> Iterator[pa.Table]:
        shot = self.snapshot()
        known = len(shot.missing)
        try:
            for link in shot.links:
                yield from self.part(link, name, columns)
            for found in tail_tables(shot):
                if name in found:
                    yield found[name] if columns is None else found[name].select(list(columns))
        finally:
            for problem in shot.missing[known:]:
                self._note(problem)
            shot.close()

    def part(
        self, link: Link, table: str, columns: Sequence[str] | None = None
    ) -> Iterator[pa.Table]:
        """The rows of one segment in ``table``; what cannot be read becomes a problem."""
        path = link.part(table)
        if path is None:
            return
        try:
            part = self.open_part(link, path)
            yield from pieces(part, TABLES[table].names if columns is None else columns)
        except FileNotFoundError:
            self._note(f"{path} is in the chain but not there: its rows are missing.")
        except Damaged as error:
            self._note(f"{error} Its rows are missing.")
        except OSError as error:
            self._note(f"{path} cannot be read ({error.strerror}): its rows are missing.")

    def open_part(self, link: Link, path: str) -> PartFile:
        """A part as the chain vouches for it, read once. Damaged, OSError."""
        data = gate.contents(self.folder, path, PART_BYTES)
        said = link.files[path]
        if fault := wrong(data, path, said):
            raise Damaged(fault)
        part = PartFile(data, path)
        if sum(part.groups) != said.rows:
            raise Damaged(f"{path} has {sum(part.groups)} rows where the chain says {said.rows}.")
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
        """Table ``name`` as one DataFrame; ``names`` adds the object's ``name`` (null: unknown).

        The name is the last one announced for the row's (dev, ino, gen).
        """
        wanted = None if columns is None else [c for c in columns if c != "name" or not names]
        read = wanted if not names or wanted is None else [*dict.fromkeys([*wanted, *KEY])]
        if name == "objects" and names:
            raise StoreError("objects have their names already")
        pieces = list(self.tables(name, read))
        schema = TABLES[name]
        if read is not None:
            schema = pa.schema([schema.field(column) for column in read])
        table = pa.concat_tables([empty(schema), *pieces])
        frame: pd.DataFrame = table.to_pandas()
        if not names:
            return frame
        known = self._objects([*KEY, "name"]).to_pandas().drop_duplicates(KEY, keep="last")
        frame = frame.merge(known, on=KEY, how="left")
        return frame if wanted is None else frame[[*wanted, "name"]]

    def follow(self, poll_s: float = 0.1) -> Iterator[pa.Table]:
        """Event tables, those there already first, until the recording ends or its writer dies."""
        from tracer.store.follow import follow

        return follow(self, poll_s)

    def close(self) -> None:
        """Gives the descriptor back; a second call does nothing."""
        self.folder.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
