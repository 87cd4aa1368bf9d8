"""Follows everything in a recording: all its tables, each row once, without ever waiting.

Like :meth:`tracer.store.reader.Recording.follow`, which gives events alone and sleeps in between.
A segment's rows are first in its tail and later in its part, in the same order; a count of the rows
already given is all that is needed to go on in the part.
"""

import os
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa

from tracer.store import lock, snapshot
from tracer.store.chain import CHAIN, Chain
from tracer.store.errors import from_os
from tracer.store.objects import objects_tables
from tracer.store.reader import Recording
from tracer.store.replace import MANIFEST
from tracer.store.tables import build, split
from tracer.store.tail import TailReader
from ui.feed.names import Naming

Piece = tuple[str, pa.Table]
MISSING = "missing"
"""Instead of a table's name: so many events (the table's rows) are there and cannot be read."""
_SILENCE_S = 5.0
"""A recorder whose lock cannot be seen (another machine) is dead after so long without a sign."""
_MANY = 1 << 14
"""Events given at once: whoever waits for a key waits for those."""
_ORDER = ("objects", "mappings", "clocks", "losses", "totals", "events")
"""An object's announcement before its events."""


@dataclass
class _Cursor:
    tail: TailReader
    given: Counter[str] = field(default_factory=Counter)


class Tail:
    """Where a recording has been read to."""

    def __init__(self, recording: Recording) -> None:
        self._recording = recording
        self._folder = recording.folder
        self._segment = 0  # the first one that is not given whole
        self._cursors: dict[int, _Cursor] = {}
        self._naming = Naming()
        self._beat = 0
        self._heard_s = time.monotonic()
        self._chain = Chain()
        self._chain_size = -1
        self._stored = 0
        self.rows = 0
        """Events of all finished segments, for telling how far reading has come."""
        self.boot_id = _boot_id()
        """Of this machine."""
        self.ended = False
        """Its recorder stopped it."""
        self.over = False
        """Nobody writes it any more, and everything was given."""

    # What goes on

    def alive(self) -> bool:
        """Whether a recorder is writing it, on this machine or, as its beats tell, on another."""
        if lock.held(self._folder):
            return True
        boot = self._recording.manifest.get("boot_id")
        if boot is None or boot == self.boot_id:
            return False
        beat = lock.beat(self._folder)
        if beat != self._beat:
            self._beat = beat
            self._heard_s = time.monotonic()
        return time.monotonic() - self._heard_s < _SILENCE_S

    def trouble(self) -> str:
        """What somebody did to the recording under us, in a sentence; empty: nothing."""
        try:
            if os.fstat(self._folder.fd).st_nlink == 0 or not self._folder.has(MANIFEST):
                return "The recording was deleted; what was read of it stays on the screen."
            if len(self._chain.links) < self._segment:
                return "The recording was cut short; what was read of it stays on the screen."
            if not os.path.isdir(self._recording.path):
                return "The recording was moved or renamed; it is still followed."
        except OSError as error:
            return f"The recording cannot be read any more: {error.strerror}."
        return ""

    # Reading

    def step(self) -> Iterator[Piece]:
        """What is new, in pieces that take some milliseconds to count. StoreError.

        Sets :attr:`over` when there will be nothing more.
        """
        try:
            # In this order: whatever was written before the end is seen by the step behind it.
            self.ended = snapshot.read_end(self._folder) is not None
            last = self.ended or not self.alive()
            yield from self._new(last)
            if last:
                self.over = True
        except OSError as error:
            raise from_os(error, f"following {self._recording.path}") from error

    def _new(self, last: bool) -> Iterator[Piece]:
        chain = self._read_chain()
        for link in chain.links[self._segment :]:
            given = self._drop(self._segment)
            for name in ("names", *_ORDER):
                path = link.part(name)
                if path is None:
                    continue
                skip = given[name]
                if skip >= link.files[path].rows:
                    continue  # all of it came from the tail; reading a part is dear
                read = 0
                for table in self._recording.part(path):
                    read += table.num_rows
                    if skip < table.num_rows:
                        yield from self._piece(name, table.slice(skip))
                    skip = max(0, skip - table.num_rows)
                lost = link.files[path].rows - max(read, given[name])
                if name == "events" and lost > 0:
                    # Events keep their numbers, whatever becomes of some of them.
                    yield MISSING, pa.table({"row": np.arange(lost)})
            self._naming.next()
            self._segment += 1
        yield from self._tails(last)

    def _read_chain(self) -> Chain:
        try:
            size = os.stat(CHAIN, dir_fd=self._folder.fd, follow_symlinks=False).st_size
        except FileNotFoundError:
            size = 0  # killed between the manifest and the chain
        if size != self._chain_size:
            self._chain = snapshot.read_chain(self._folder, self._recording.manifest_bytes)
            self._chain_size = size
            files = [
                (path, part) for link in self._chain.links for path, part in link.files.items()
            ]
            self.rows = sum(part.rows for path, part in files if path.startswith("events/"))
            self._stored = sum(part.size for _, part in files)
        return self._chain

    @property
    def damage(self) -> list[str]:
        """What no accident of the recorder explains, in sentences."""
        return self._chain.damage

    @property
    def bytes(self) -> int:
        """Size of the recording, tails included."""
        fds = [cursor.tail.fd for cursor in self._cursors.values()]
        return self._stored + sum(os.fstat(fd).st_size for fd in fds if fd >= 0)

    def _drop(self, number: int) -> Counter[str]:
        cursor = self._cursors.pop(number, None)
        if cursor is None:
            return Counter()
        cursor.tail.close()
        return cursor.given

    def _tails(self, last: bool) -> Iterator[Piece]:
        number = self._segment
        misses = 0
        while misses < 3:
            if number not in self._cursors:
                tail = snapshot.open_tail(self._folder, number)
                if tail is not None:
                    self._cursors[number] = _Cursor(tail)
            cursor = self._cursors.get(number)
            if cursor is not None:
                yield from self._of_tail(cursor)
            if not last and (cursor is None or not cursor.tail.complete):
                return  # the rest of this segment comes in its part, before the next segment
            misses = misses + 1 if cursor is None else 0
            number += 1

    def _of_tail(self, cursor: _Cursor) -> Iterator[Piece]:
        for batch in cursor.tail.read():
            found, announced, _ = split(batch)
            tables = {name: build(name, rows) for name, rows in found.items()}
            if len(announced):
                tables["objects"], tables["names"] = objects_tables(announced)
            for name in ("names", *_ORDER):
                table = tables.get(name)
                if table is not None and table.num_rows:
                    cursor.given[name] += table.num_rows
                    yield from self._piece(name, table)
            self._naming.next()

    def _piece(self, name: str, table: pa.Table) -> Iterator[Piece]:
        if name == "names":
            for objects in self._naming.names(table):
                yield "objects", objects
        elif name == "events":
            for start in range(0, table.num_rows, _MANY):
                yield name, table.slice(start, _MANY)
        else:
            yield name, self._naming.objects(table) if name == "objects" else table

    def close(self) -> None:
        """Gives its descriptors back."""
        for cursor in self._cursors.values():
            cursor.tail.close()
        self._cursors.clear()


def _boot_id() -> str | None:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return None
