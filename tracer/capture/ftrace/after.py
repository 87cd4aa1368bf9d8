"""What a call left behind: seals and size at its return, and whether something came between.

Kernels that keep a call's arguments for its return (6.9) tell it. On others it follows from what
the call did and answered, and from the F_ADD_SEALS calls of everybody, which are all seen: seals
change by nothing else. So a change by another thread in between is known, and flagged as a race.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tracer.capture.ftrace.pair import NOWHERE, Paired
from tracer.capture.ftrace.what import What
from tracer.model.words import Flag, Hook, Kind, Op

Rows = NDArray[np.void]

_EPERM = -1
_WRITE = np.uint32(0x8)
_KEEP_SIZE = 1
_BY_EXEC, _EXEC = np.uint32(0x3E), np.uint32(0x20)
"""F_SEAL_EXEC on an executable file brings others (bpf/calls.h)."""
_NO_WRITE = np.uint32(0x18)
_EVER = np.uint64(2**64 - 1)
_HIGHEST_ERROR = -4095


@dataclass(slots=True)
class After:
    """Of each call."""

    seals: NDArray[np.uint32]
    size: NDArray[np.uint64]
    offset: NDArray[np.int64]
    flags: NDArray[np.uint32]
    writable: NDArray[np.int32]


def is_error(answer: NDArray[np.int64]) -> NDArray[np.bool_]:
    found: NDArray[np.bool_] = (answer < 0) & (answer >= _HIGHEST_ERROR)
    return found


class Sealings:
    """F_ADD_SEALS calls that others may overlap: inode, begin, end, what they add, how it ended."""

    DTYPE = np.dtype(
        [
            ("inode", "<u8"),
            ("tid", "<u4"),
            ("begin", "<u8"),
            ("end", "<u8"),
            ("adds", "<u4"),
            ("done", "?"),  # it succeeded, or may still
        ]
    )

    def __init__(self) -> None:
        self._known = np.zeros(0, self.DTYPE)

    def take(self, rows: Rows, paired: Paired, oldest_ns: int) -> Rows:
        """Those that calls of this batch may overlap. ``oldest_ns``: begin of the oldest open."""
        entries, exits = rows[paired.entry], rows[paired.exit]
        mine = entries["op"] == Op.ADD_SEALS
        ended = _sealing(entries[mine])
        ended["end"] = exits["time_ns"][mine]
        ended["done"] = exits["ret"][mine] == 0
        waiting = rows[paired.open]
        waiting = waiting[(waiting["op"] == Op.ADD_SEALS) & (waiting["what"] == What.ENTRY)]
        still = _sealing(waiting)
        still["end"], still["done"] = _EVER, True
        known = np.concatenate([self._known, ended])
        self._known = known[known["end"] >= oldest_ns]
        return np.concatenate([known, still])


def _sealing(entries: Rows) -> Rows:
    found = np.zeros(len(entries), Sealings.DTYPE)
    found["inode"], found["tid"] = entries["inode"], entries["tid"]
    found["begin"], found["adds"] = entries["time_ns"], added(entries)
    return found


def added(entries: Rows) -> NDArray[np.uint32]:
    """The seals that F_ADD_SEALS calls add if they succeed."""
    # A kernel that takes more than 32 bits refuses them (mm/memfd.c:memfd_fcntl).
    asked = np.where(entries["arg"] >> np.uint64(32) == 0, entries["arg"], 0).astype(np.uint32)
    executable = (entries["mode"] & 0o111 != 0) & (asked & _EXEC != 0)
    found: NDArray[np.uint32] = asked | np.where(executable, _BY_EXEC, np.uint32(0))
    return found


def after(rows: Rows, paired: Paired, sealings: Rows) -> After:
    """``sealings``: `Sealings.take` of the same batch."""
    entries, exits = rows[paired.entry], rows[paired.exit]
    answer, op = exits["ret"], entries["op"]
    flags = entries["flags"].copy()
    has_chunk = paired.first_chunk != NOWHERE
    chunk = rows[np.maximum(paired.first_chunk, 0)] if len(rows) else rows
    offset = entries["offset"].copy()
    offset[has_chunk] = chunk["offset"][has_chunk]  # where an O_APPEND write really begins
    size = _size(rows, paired, entries, answer, offset)
    succeeded = (op == Op.ADD_SEALS) & (answer == 0)
    seals = entries["seals"] | np.where(succeeded, added(entries), np.uint32(0))
    expected = seals.copy()
    writable = _writable(rows, entries, exits, succeeded)

    later = exits["later"] != 0
    later &= exits["inode"] == entries["inode"]
    huge = entries["kind"] == Kind.HUGETLB
    told = np.where(huge, exits["number"].astype(np.uint32), exits["seals"])
    seals = np.where(later, told, seals)
    size = np.where(later, exits["size"], size)
    writable = np.where(later & succeeded, exits["writable"], writable)
    moved = later & np.isin(entries["hook"], (Hook.WRITE, Hook.READ))
    offset = np.where(moved, exits["offset"] - np.maximum(answer, 0), offset)

    before = has_chunk & (chunk["size"] != entries["size"]) & is_error(answer)
    flags[before] |= np.uint32(Flag.RACED_SIZE)
    quiet = is_error(answer) | np.isin(op, (Op.READ, Op.CHMOD, Op.ADD_SEALS, Op.PUNCH_HOLE))
    flags[quiet & (size != entries["size"])] |= np.uint32(Flag.RACED_SIZE)
    sealed_meanwhile = has_chunk & (chunk["seals"] != entries["seals"])
    seals = np.where(sealed_meanwhile, seals | chunk["seals"], seals)
    found = After(seals.astype(np.uint32), size, offset, flags, writable)
    _races(found, entries, exits, sealings, later)
    found.flags[found.seals != expected] |= np.uint32(Flag.RACED_SEALS)
    refused = (op == Op.MMAP) & (answer == _EPERM) & (found.seals & _NO_WRITE == 0)
    found.flags[refused & (entries["writable"] < 0)] |= np.uint32(Flag.RACED_SEALS)
    return found


def _size(
    rows: Rows, paired: Paired, entries: Rows, answer: NDArray[np.int64], offset: NDArray[np.int64]
) -> NDArray[np.uint64]:
    """The size that follows from what was done."""
    op, size = entries["op"], entries["size"].copy()
    has = paired.mapped != NOWHERE
    # A hugetlb mapping may raise the size before it begins (fs/hugetlbfs/inode.c).
    size[has] = rows["size"][paired.mapped[has]]
    cut = (op == Op.TRUNCATE) & (answer == 0)
    size[cut] = entries["length"][cut]
    wrote = (op == Op.WRITE) & (answer > 0)
    size[wrote] = np.maximum(size[wrote], (offset[wrote] + answer[wrote]).astype(np.uint64))
    grown = (op == Op.ALLOCATE) & (answer == 0) & (entries["arg"] & np.uint64(_KEEP_SIZE) == 0)
    end = offset[grown].astype(np.uint64) + entries["length"][grown]
    size[grown] = np.maximum(size[grown], end)
    result: NDArray[np.uint64] = size
    return result


def _writable(
    rows: Rows, entries: Rows, exits: Rows, sealed: NDArray[np.bool_]
) -> NDArray[np.int32]:
    """How many writable mappings there are; where seals were added, at the return.

    Adding F_SEAL_WRITE forbids them for good, if there is none (mm/memfd.c:memfd_add_seals).
    """
    found = entries["writable"].copy()
    gone = rows[(rows["what"] == What.FACT) & (rows["op"] == Op.UNMAP)]
    for place in np.flatnonzero(sealed & (found > 0)):
        # A mapping that went while the call waited did not hinder it.
        meanwhile = (gone["inode"] == entries["inode"][place]) & (
            (gone["time_ns"] >= entries["time_ns"][place])
            & (gone["time_ns"] <= exits["time_ns"][place])
        )
        found[place] -= min(int(meanwhile.sum()), int(found[place]))
    now = added(entries) & ~entries["seals"] & _WRITE != 0
    found[sealed & now & (found == 0)] = -1
    result: NDArray[np.int32] = found
    return result


def _races(
    found: After, entries: Rows, exits: Rows, sealings: Rows, later: NDArray[np.bool_]
) -> None:
    """Calls that an F_ADD_SEALS of another thread on the same file overlaps."""
    for one in sealings[np.isin(sealings["inode"], _shared(entries, sealings))]:
        overlap = (
            (entries["inode"] == one["inode"])
            & (entries["tid"] != one["tid"])
            & (entries["time_ns"] <= one["end"])
            & (exits["time_ns"] >= one["begin"])
        )
        # While F_SEAL_WRITE is being added, writable mappings are forbidden, come what may.
        refused = overlap & (entries["op"] == Op.MMAP) & (exits["ret"] == _EPERM)
        found.flags[refused & (found.seals & _NO_WRITE == 0)] |= np.uint32(Flag.RACED_SEALS)
        if one["done"]:
            found.seals[overlap & ~later] |= one["adds"]


def _shared(entries: Rows, sealings: Rows) -> NDArray[np.uint64]:
    """Inodes that several threads are busy with here: only those can have races."""
    inode = np.concatenate([entries["inode"], sealings["inode"]])
    tid = np.concatenate([entries["tid"], sealings["tid"]])
    wanted = np.isin(inode, sealings["inode"])
    pairs = np.unique(np.stack([inode[wanted], tid[wanted].astype(np.uint64)], axis=1), axis=0)
    different, count = np.unique(pairs[:, 0], return_counts=True)
    found: NDArray[np.uint64] = different[count > 1]
    return found
