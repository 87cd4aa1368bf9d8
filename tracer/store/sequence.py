"""Sequence numbers: each CPU counts its records from 0, so what is missing can be named."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Counts = dict[int, tuple[int, int, int]]


def count_by_cpu(cpus: npt.NDArray[np.uint16], seqs: npt.NDArray[np.uint64], into: Counts) -> None:
    """Adds to ``into[cpu]``: lowest and highest sequence number, and how many records."""
    if not len(cpus):
        return
    index = cpus.astype(np.intp)
    counts = np.bincount(index)
    low = np.full(len(counts), 2**64 - 1, np.uint64)
    high = np.zeros(len(counts), np.uint64)
    np.minimum.at(low, index, seqs)
    np.maximum.at(high, index, seqs)
    for cpu in np.flatnonzero(counts).tolist():
        first, last, count = into.get(cpu, (2**64, -1, 0))
        into[cpu] = (
            min(first, int(low[cpu])),
            max(last, int(high[cpu])),
            count + int(counts[cpu]),
        )


def by_cpu(
    cpus: npt.NDArray[np.uint16], seqs: npt.NDArray[np.uint64]
) -> dict[int, npt.NDArray[np.uint64]]:
    """The sequence numbers of each CPU, in the order of arrival."""
    if not len(cpus):
        return {}
    cpus = np.ascontiguousarray(cpus)  # 16 bits: numpy sorts that by radix
    order = np.argsort(cpus, kind="stable")
    counts = np.bincount(cpus)
    present = np.flatnonzero(counts)
    pieces = np.split(seqs[order], np.cumsum(counts[present])[:-1])
    return {int(cpu): piece for cpu, piece in zip(present, pieces, strict=True)}


class Hole(NamedTuple):
    """Sequence numbers ``first`` … ``last`` of ``cpu`` that are nowhere in the recording."""

    cpu: int
    first: int
    last: int

    @property
    def size(self) -> int:
        """How many numbers."""
        return self.last - self.first + 1


class Sequences:
    """Collects sequence numbers in any order, in memory that grows only with the holes."""

    def __init__(self) -> None:
        self._runs: dict[int, list[npt.NDArray[np.uint64]]] = {}
        self.repeated = 0
        """Records whose sequence number was there before; known after :meth:`holes`."""

    def add(self, cpus: npt.NDArray[np.uint16], seqs: npt.NDArray[np.uint64]) -> None:
        """Takes the numbers of some records."""
        for cpu, run in by_cpu(cpus, seqs).items():
            found = np.sort(run)
            steps = np.diff(found)
            self.repeated += int(np.count_nonzero(steps == 0))
            breaks = np.flatnonzero(steps > 1)
            starts = found[np.concatenate([[0], breaks + 1])]
            ends = found[np.concatenate([breaks, [len(found) - 1]])]
            self._runs.setdefault(cpu, []).append(np.stack([starts, ends], axis=1))

    def highest(self) -> dict[int, int]:
        """The highest number of each CPU."""
        return {
            cpu: int(max(runs[:, 1].max() for runs in all_)) for cpu, all_ in self._runs.items()
        }

    def holes(self, final: dict[int, int]) -> list[Hole]:
        """What is missing; ``final``: how many numbers each CPU gave out, as far as is known."""
        holes: list[Hole] = []
        for cpu in sorted({*self._runs, *final}):
            expected = 0
            runs = np.concatenate([*self._runs.get(cpu, []), np.empty((0, 2), np.uint64)])
            for first, last in runs[np.argsort(runs[:, 0], kind="stable")].tolist():
                if first > expected:
                    holes.append(Hole(cpu, expected, first - 1))
                elif first < expected:
                    self.repeated += min(expected - 1, last) - first + 1
                expected = max(expected, last + 1)
            if final.get(cpu, 0) > expected:
                holes.append(Hole(cpu, expected, final[cpu] - 1))
        return holes
