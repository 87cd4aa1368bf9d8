"""Follows a recording that another process is writing: each row once, without ever waiting.

A segment's rows are first in its tail and later in its part, in the same order. So a count of the
rows already given is all that is needed to go on in the part where the tail was left.
"""

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from tracer.recording import reader as snapshot
from tracer.recording.chain import Link
from tracer.recording.errors import Damaged, from_os
from tracer.recording.reader import Recorder
from tracer.recording.tables import Naming, tables
from tracer.recording.tail import TailReader

if TYPE_CHECKING:
    from tracer.recording.reader import Recording

Piece = tuple[str, pa.Table]
MISSING = "missing"
"""Instead of a table's name: so many events (the table's rows) are there and cannot be read."""
EVERYTHING = (
    "cgroups",
    "modules",
    "stacks",
    "callers",
    "tasks",
    "names",
    "objects",
    "mappings",
    "clocks",
    "losses",
    "totals",
    "events",
)
"""All tables, an object's announcement before its events and its name before both."""


@dataclass
class _Cursor:
    """How far one segment's tail has been given."""

    tail: TailReader
    given: Counter[str] = field(default_factory=Counter)


class Follower:
    """Where a recording has been read to."""

    def __init__(self, recording: "Recording", names: Sequence[str]) -> None:
        """``names``: the tables wanted; those that came together are given in this order."""
        self._recording = recording
        self._folder = recording.folder
        self._names = names
        self._recorder = Recorder(self._folder, recording.manifest.boot_id, watches=True)
        self._segment = 0  # the first one that is not given whole
        self._cursors: dict[int, _Cursor] = {}
        self._naming = Naming()
        self._chain = recording.chain
        self._summed = 0
        self._damage: list[str] = []
        self._stored = 0
        self.rows = 0
        """Events of all finished segments, for telling how far reading has come."""
        self.ended = False
        """Its recorder stopped it."""
        self.over = False
        """Nobody writes it any more, and everything was given."""
        self.sure = False
        """That is certain; else a recorder elsewhere is silent, and may be heard again."""

    def step(self) -> Iterator[Piece]:
        """What is new, by table: ``objects`` with their names, or :data:`MISSING`. StoreError.

        An object comes again when more of its name has come; ``names`` never come by themselves.
        Sets :attr:`over` when there will be nothing more.
        """
        try:
            # In this order: whatever was written before the end is seen by the step behind it.
            alive = self._recorder.alive()
            self._read_chain()
            self.ended = self._chain.end is not None
            last = self.ended or not alive
            yield from self._parts()
            yield from self._tails()
            self.over = last
            self.sure = last and (self.ended or self._recorder.local)
        except OSError as error:
            raise from_os(error, f"following {self._recording.path}") from error

    def close(self) -> None:
        """Gives its descriptors back."""
        for cursor in self._cursors.values():
            cursor.tail.close()
        self._cursors.clear()

    # What is known of the recording

    @property
    def bytes(self) -> int:
        """Size of the recording, tails included."""
        return self._stored + sum(cursor.tail.size for cursor in self._cursors.values())

    @property
    def damage(self) -> list[str]:
        """What no accident of the recorder explains, in sentences."""
        return [*self._chain.damage, *self._damage]

    @property
    def cut_short(self) -> bool:
        """The chain has lost lines that were read."""
        return self._chain.cut_short

    # Reading

    def _read_chain(self) -> None:
        self._chain.update(self._folder)
        new = self._chain.links[self._summed :]
        files = [file for link in new for file in link.files.items()]
        self.rows += sum(part.rows for path, part in files if path.startswith("events/"))
        self._stored += sum(part.size for _, part in files)
        self._summed += len(new)

    def _parts(self) -> Iterator[Piece]:
        for link in self._chain.links[self._segment :]:
            cursor = self._cursors.pop(self._segment, None)
            if cursor is not None:
                cursor.tail.close()
            given = Counter[str]() if cursor is None else cursor.given
            for name in self._names:
                yield from self._part(link, name, given[name])
            self._naming.next()
            self._segment += 1

    def _part(self, link: Link, name: str, given: int) -> Iterator[Piece]:
        path = link.part(name)
        if path is None or link.files[path].rows <= given:
            return  # reading a part is expensive
        read = 0
        for table in self._recording.part(link, name):
            if given < read + table.num_rows:
                yield from self._named(name, table.slice(max(0, given - read)))
            read += table.num_rows
        lost = link.files[path].rows - max(read, given)
        if name == "events" and lost > 0:
            # Events keep their numbers, whatever becomes of some of them.
            yield MISSING, pa.table({"row": np.arange(lost)})

    def _tails(self) -> Iterator[Piece]:
        """Of segments that are not in the chain, as far as nothing before is missing."""
        number = self._segment
        while True:
            if number not in self._cursors:
                try:
                    tail = snapshot.open_tail(self._folder, number, self._chain)
                except Damaged as error:
                    self._damage.append(str(error))
                    return
                if tail is None:
                    return
                self._cursors[number] = _Cursor(tail)
            yield from self._tail(self._cursors[number])
            if not self._cursors[number].tail.complete:
                return  # the rest of this segment comes in its part, before the next segment
            number += 1

    def _tail(self, cursor: _Cursor) -> Iterator[Piece]:
        for batch in cursor.tail.read():
            found = tables(batch, self._names)
            for name in filter(found.__contains__, self._names):
                cursor.given[name] += found[name].num_rows
                yield from self._named(name, found[name])
            self._naming.next()

    def _named(self, name: str, table: pa.Table) -> Iterator[Piece]:
        if name == "names":
            for objects in self._naming.names(table):
                yield "objects", objects
        else:
            yield name, self._naming.objects(table) if name == "objects" else table


def follow(recording: "Recording", poll_s: float) -> Iterator[pa.Table]:
    """See :meth:`tracer.recording.reader.Recording.follow`."""
    follower = Follower(recording, ("events",))
    try:
        while not follower.over:
            yield from (table for name, table in follower.step() if name == "events")
            if not follower.over:
                time.sleep(poll_s)
    finally:
        follower.close()
