"""Decisions by verdict over time, in steps that become wider as the time gets longer."""

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

FIRST_STEP_NS = 1_000_000
_GROWTH = 10
MOST = 50_000
"""Steps; then each becomes ten times as wide."""


class TimeBins:
    """Counts ``(steps, kinds)``; step ``i`` begins at ``(first + i) * step_ns`` of the boot clock.

    The width depends on nothing but the earliest and the latest time, so batches may come in any
    order.
    """

    def __init__(self, kinds: int) -> None:
        self.step_ns = FIRST_STEP_NS
        self.first = 0
        self.counts = np.zeros((0, kinds), np.int64)

    def add(self, when: Array, kind: Array) -> None:
        """Counts rows: their times (ns) and their kinds."""
        if not len(when):
            return
        low, high = int(when.min()), int(when.max())
        self._reach(low, high)
        low, high = low // self.step_ns, high // self.step_ns
        kinds = self.counts.shape[1]
        steps = when // self.step_ns
        steps -= low
        steps *= kinds
        steps += kind
        counts = np.bincount(steps, minlength=(high - low + 1) * kinds).reshape(-1, kinds)
        self.counts[low - self.first : high - self.first + 1] += counts

    def copy(self) -> "TimeBins":
        """One that shares nothing with this."""
        other = TimeBins(self.counts.shape[1])
        other.step_ns, other.first, other.counts = self.step_ns, self.first, self.counts.copy()
        return other

    def _reach(self, low: int, high: int) -> None:
        if len(self.counts):
            low = min(low, self.first * self.step_ns)
            high = max(high, (self.first + len(self.counts)) * self.step_ns - 1)
        step = self.step_ns
        while high // step - low // step >= MOST:
            step *= _GROWTH
        if step != self.step_ns:
            self._widen(step)
        first, last = low // step, high // step
        if first < self.first or last >= self.first + len(self.counts) or not len(self.counts):
            counts = np.zeros((last - first + 1, self.counts.shape[1]), np.int64)
            if len(self.counts):
                counts[self.first - first :][: len(self.counts)] = self.counts
            self.first, self.counts = first, counts

    def _widen(self, step: int) -> None:
        factor = step // self.step_ns
        self.step_ns = step
        if len(self.counts):
            self.counts, self.first = summed(self.counts, self.first, factor)


def summed(counts: Array, first: int, factor: int) -> tuple[Array, int]:
    """``factor`` steps as one, and the number of the first of the wider steps."""
    lead = first % factor
    rows = -(-(lead + len(counts)) // factor) * factor
    padded = np.zeros((rows, counts.shape[1]), np.int64)
    padded[lead : lead + len(counts)] = counts
    return padded.reshape(-1, factor, counts.shape[1]).sum(axis=1), first // factor
