"""The ring of our instance as a source of records (`tracer.capture.ring.Source`)."""

import time
from collections.abc import Callable, Iterable

import numpy as np
from numpy.typing import NDArray

from tracer.capture.ftrace.barrier import wait_for_writers
from tracer.capture.ftrace.decode import Decoder, Kinded
from tracer.capture.ftrace.instance import Instance
from tracer.capture.ftrace.pages import missed
from tracer.capture.ftrace.records import Maker
from tracer.capture.ftrace.rows import ROW, Rows
from tracer.model.record import HEAD
from tracer.model.words import Hook, LossCause

_LAG_NS = 50_000_000
"""So long after its time an event is thought to be in the ring, where that cannot be made sure."""
_EVER = np.uint64(2**64 - 1)
_FULL_PAGES = 8
"""Where a ring dropped something it was full, and so gives more than this at the next reading."""
_MOST_PAGES = 4096
"""Of one CPU at a time: what is read is held in memory."""


def boot_ns() -> int:
    """The clock of the ring."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


class FtraceSource:
    """Reads all CPUs, waits until the order in time is certain, and makes records."""

    def __init__(
        self,
        instance: Instance,
        page_bytes: int,
        kinds: Iterable[Kinded],
        alias: int,
        maker: Maker,
        now_ns: Callable[[], int] = boot_ns,
    ) -> None:
        self._instance = instance
        self._page_bytes = page_bytes
        self._decoder = Decoder(kinds, alias)
        self._maker = maker
        self._pending: Rows = np.zeros(0, ROW)
        self._now_ns = now_ns
        self._looked_ns = now_ns()
        self._dropped: dict[int, int] = {}
        self._dropped_before = 0
        self._full: set[int] = set()
        self._misses: dict[str, int] = {}
        self._more = False
        self._read_until = _EVER

    def poll(self) -> NDArray[np.void]:
        """Records of what happened until a moment ago, some milliseconds long."""
        looking_ns = self._now_ns()
        first = self._read()
        if not len(first) and not len(self._pending):
            self._look_for_losses(looking_ns)
            return np.zeros(0, HEAD)
        self._pending = self._merged(self._pending, first)
        begun_ns = self._now_ns()
        if not wait_for_writers():
            begun_ns -= _LAG_NS
        self._pending = self._merged(self._pending, self._read())
        # Only behind the reading: what was dropped before an event that was read is then counted.
        self._look_for_losses(begun_ns)
        until = np.uint64(max(begun_ns, 0))
        count = int(np.searchsorted(self._pending["time_ns"], until, side="right"))
        if self._more:
            # A CPU was not read to its end: only what is older than its last page is certain.
            count = min(count, int(np.searchsorted(self._pending["time_ns"], self._read_until)))
        ready, self._pending = self._pending[:count], self._pending[count:]
        if not count:
            return np.zeros(0, HEAD)
        return self._maker.make(ready)

    def release(self) -> None:
        """Nothing to give back: records are copies."""

    @property
    def fill(self) -> float:
        """0 when nothing is on its way."""
        return 0.5 if len(self._pending) or self._more else 0.0

    def _read(self) -> Rows:
        pages: list[bytes] = []
        cpus: list[int] = []
        self._more, self._read_until = False, _EVER
        for cpu in self._instance.cpus:
            count = 0
            while count < _MOST_PAGES and (page := self._instance.read(cpu, self._page_bytes)):
                pages.append(page.ljust(self._page_bytes, b"\0"))
                cpus.append(cpu)
                count += 1
            if count >= _FULL_PAGES:
                self._full.add(cpu)
            if count == _MOST_PAGES:
                last = np.uint64(int.from_bytes(pages[-1][:8], "little"))
                self._more, self._read_until = True, min(self._read_until, last)
        if not pages:
            return np.zeros(0, ROW)
        raw = np.frombuffer(bytearray(b"".join(pages)), np.uint8).reshape(-1, self._page_bytes)
        if missed(raw).gaps:
            self._full.update(cpus)
        rows, seen = self._decoder.rows(raw, np.array(cpus, np.uint16))
        self._maker.objects.learn(seen)
        return rows

    @staticmethod
    def _merged(old: Rows, new: Rows) -> Rows:
        if not len(old):
            return new
        both = np.concatenate([old, new])
        return both[np.argsort(both["time_ns"], kind="stable")]

    def _look_for_losses(self, complete_ns: int) -> None:
        """What the ring dropped and what probes missed since the last look.

        ``complete_ns``: where no ring was full, nothing was dropped until then. What was dropped
        in between makes the decisions of that time doubtful.
        """
        misses = dict(self._instance.misses())
        found = {cpu: self._instance.dropped(cpu) for cpu in self._full}
        more = any(count > self._dropped.get(cpu, 0) for cpu, count in found.items())
        more |= any(times > self._misses.get(event, 0) for event, times in misses.items())
        if more:
            self._maker.doubts.append((self._looked_ns, self._now_ns()))
        self._dropped.update(found)
        self._full.clear()
        self._misses = misses
        dropped = sum(self._dropped.values())
        self._maker.lost[Hook.NONE, LossCause.RING_FULL] = dropped - self._dropped_before
        self._looked_ns = complete_ns

    def forget(self) -> None:
        """Throws away what was there until now, and the counts of it."""
        self._read()
        self._pending = self._pending[:0]
        self._look_for_losses(self._now_ns())
        self._dropped_before = sum(self._dropped.values())
        self._maker.doubts.clear()

    @property
    def misses(self) -> dict[str, int]:
        """``{event: times}`` that a probe was skipped."""
        return dict(self._misses)
