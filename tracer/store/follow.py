"""Follows a recording that another process is writing, each event once.

A segment's events are first in its tail and later in its part, in the same order. So a count of the
events already given is all that is needed to go on in the part where the tail was left.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa

from tracer.store import lock, snapshot
from tracer.store.errors import from_os
from tracer.store.tables import build, split
from tracer.store.tail import TailReader

if TYPE_CHECKING:
    from tracer.store.reader import Recording

_SILENCE_S = 5.0
"""A recorder whose lock cannot be seen (another machine) is dead after so long without a sign."""


@dataclass
class _Cursor:
    """How far one segment's tail has been given."""

    tail: TailReader
    events: int = 0


class _Follower:
    def __init__(self, recording: "Recording") -> None:
        self._recording = recording
        self._folder = recording.folder
        self._segment = 0  # the first one that is not given whole
        self._cursors: dict[int, _Cursor] = {}
        self._beat = 0
        self._heard_s = time.monotonic()

    def alive(self) -> bool:
        if lock.held(self._folder):
            return True
        if self._local():
            return False
        beat = lock.beat(self._folder)
        if beat != self._beat:
            self._beat = beat
            self._heard_s = time.monotonic()
        return time.monotonic() - self._heard_s < _SILENCE_S

    def _local(self) -> bool:
        """Whether the recorder runs on this very boot, so that its lock can be seen."""
        boot = self._recording.manifest.get("boot_id")
        return boot is None or boot == _boot_id()

    def step(self, last: bool) -> Iterator[pa.Table]:
        """What is new; ``last``: nobody is writing any more."""
        chain = snapshot.read_chain(self._folder, self._recording.manifest_bytes)
        for link in chain.links[self._segment :]:
            skip = self._drop(self._segment)
            path = link.part("events")
            if path is not None:
                yield from _without(skip, self._recording.part(path))
            self._segment += 1
        yield from self._tails(last)

    def _drop(self, number: int) -> int:
        cursor = self._cursors.pop(number, None)
        if cursor is None:
            return 0
        cursor.tail.close()
        return cursor.events

    def _tails(self, last: bool) -> Iterator[pa.Table]:
        number = self._segment
        misses = 0
        while misses < 3:
            if number not in self._cursors:
                tail = snapshot.open_tail(self._folder, number)
                if tail is not None:
                    self._cursors[number] = _Cursor(tail)
            cursor = self._cursors.get(number)
            if cursor is not None:
                for batch in cursor.tail.read():
                    rows = split(batch)[0].get("events")
                    if rows is not None:
                        cursor.events += len(rows)
                        yield build("events", rows)
            if not last and (cursor is None or not cursor.tail.complete):
                return  # the rest of this segment comes in its part, before the next segment
            misses = misses + 1 if cursor is None else 0
            number += 1

    def close(self) -> None:
        for cursor in self._cursors.values():
            cursor.tail.close()


def _without(skip: int, parts: Iterator[pa.Table]) -> Iterator[pa.Table]:
    for table in parts:
        if skip < table.num_rows:
            yield table.slice(skip) if skip else table
        skip = max(0, skip - table.num_rows)


def _boot_id() -> str | None:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return None


def follow(recording: "Recording", poll_s: float) -> Iterator[pa.Table]:
    """See :meth:`tracer.store.reader.Recording.follow`."""
    follower = _Follower(recording)
    try:
        while True:
            # In this order: whatever was written before the end is seen by the step behind it.
            last = snapshot.read_end(recording.folder) is not None or not follower.alive()
            yield from follower.step(last)
            if last:
                break
            time.sleep(poll_s)
    except OSError as error:
        raise from_os(error, f"following {recording.path}") from error
    finally:
        follower.close()
