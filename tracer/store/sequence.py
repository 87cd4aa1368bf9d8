"""Sequence numbers: each CPU counts its records from 0, so what is missing can be named."""

import numpy as np
import numpy.typing as npt

Counts = dict[int, tuple[int, int, int]]


def count_by_cpu(
    cpus: npt.NDArray[np.uint16], seqs: npt.NDArray[np.uint64], into: Counts
) -> None:
    """Adds to ``into[cpu]``: lowest and highest sequence number, and how many records."""
    for cpu, run in by_cpu(cpus, seqs).items():
        first, last, count = into.get(cpu, (2**64, -1, 0))
        into[cpu] = (min(first, int(run.min())), max(last, int(run.max())), count + len(run))


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
