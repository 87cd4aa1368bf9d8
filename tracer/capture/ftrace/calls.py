"""Entries and returns put together, thread by thread: one call each, and what it left behind.

Calls may be nested (a write on a set-uid file changes its mode on the way), so a thread has a stack
of them, as in bpf/calls.h. What belongs together is told by the kernel stack's pointer: at a return
it is just above what it was at the entry. A call of which the return was lost is over as soon as
its thread is seen as high up as its entry was. Returns of calls whose entry the kernel's filter
kept back find none open and are nobody's.

What a call left behind (seals and size at its return) is told by kernels that keep a call's
arguments for its return (6.9). On others it follows from what the call did and answered, and from
the F_ADD_SEALS calls of everybody, which are all seen: seals change by nothing else. So a change
by another thread in between is known, and flagged as a race.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tracer.capture.ftrace.pages import Rows, What
from tracer.words import Flag, Hook, Kind, Op

Places = NDArray[np.int64]

NOWHERE = -1
_INSIDE = (What.CHECK, What.FILE_MMAP, What.CHUNK, What.INSTALL, What.FACT)
_OUTER_OF = np.zeros(max(Hook) + 1, np.uint8)
_OUTER_OF[Hook.MMAP_CHECK] = _OUTER_OF[Hook.FILE_MMAP] = _OUTER_OF[Hook.MAP] = Hook.MMAP
_OUTER_OF[Hook.WRITE_CHECK] = Hook.WRITE
_OUTER_OF[Hook.CREATE] = Hook.CREATE


@dataclass(frozen=True, slots=True)
class Paired:
    """Finished calls of a batch, as places in its rows; NOWHERE where there is none."""

    entry: Places
    exit: Places
    checks: Places
    """How many checks were asked, not a place."""
    last_check: Places
    file_mmap: Places
    first_chunk: Places
    install: Places
    mapped: Places
    """The last mapping of the call's own file that began inside."""
    open: NDArray[np.bool_]
    """Rows of calls that are still open: to be put in front of the next batch."""
    abandoned: Places
    """Entries whose return never came."""


_TOP = 2**64
_ABOVE = 16
"""At most so many bytes is a return's stack pointer above its entry's: it was 8 on all kernels."""


class _Batch(NamedTuple):
    """What pairing looks at, of rows by thread."""

    what: NDArray[np.uint8]
    hook: NDArray[np.uint8]
    tid: NDArray[np.uint32]
    inode: NDArray[np.uint64]
    sp: NDArray[np.uint64]


def pair(rows: Rows) -> Paired:
    """Pairs a batch whose rows are in the order of time."""
    order = np.argsort(rows["tid"], kind="stable")
    batch = _Batch(*(rows[name][order] for name in _Batch._fields))
    closed, whose, nested = _by_last_begin(batch)
    lost = np.zeros(len(order), bool)
    for tid in np.unique(batch.tid[nested]).tolist():
        begin, end = np.searchsorted(batch.tid, (tid, tid + 1)).tolist()
        _by_stack(batch, slice(begin, end), closed, whose, lost)

    what, inode = batch.what, batch.inode
    entries = np.flatnonzero(what == What.ENTRY)
    done = entries[closed[entries] != NOWHERE]
    still = np.zeros(len(order), bool)
    still[entries] = (closed[entries] == NOWHERE) & ~lost[entries]
    inside = np.flatnonzero(whose != NOWHERE)
    open_rows = np.zeros(len(rows), bool)
    open_rows[order[still]] = True
    open_rows[order[inside[still[whose[inside]]]]] = True
    inside = inside[closed[whose[inside]] > inside]
    outer = whose[inside]

    def pick(kind: What, first: bool = False, same_file: bool = False) -> Places:
        chosen = what[inside] == kind
        if same_file:
            chosen &= inode[inside] == inode[outer]
        places, found = inside[chosen], np.full(len(order), NOWHERE)
        if first:
            places = places[::-1]
        found[whose[places]] = places  # of several, the last one stays
        found = found[done]
        return np.where(found >= 0, order[found], NOWHERE)

    checks = np.bincount(outer[what[inside] == What.CHECK], minlength=len(order))[done]
    return Paired(
        entry=order[done],
        exit=order[closed[done]],
        checks=checks,
        last_check=pick(What.CHECK),
        file_mmap=pick(What.FILE_MMAP),
        first_chunk=pick(What.CHUNK, first=True),
        install=pick(What.INSTALL),
        mapped=pick(What.FACT, same_file=True),
        open=open_rows,
        abandoned=order[lost],
    )


def _by_last_begin(batch: _Batch) -> tuple[Places, Places, NDArray[np.bool_]]:
    """Each entry's return, whose each row inside is, and where it is not so simple.

    As if no call were nested: whatever comes belongs to the entry before it. Where another entry,
    or the thread's end, comes before the return, `_by_stack` has to look.
    """
    what, hook, tid, inode, sp = batch
    at = np.arange(len(what))
    begins = (what == What.ENTRY) | (what == What.EXIT)
    owner = np.maximum.accumulate(np.where(begins, at, NOWHERE)) if len(at) else at
    # An entry of the thread before is nobody's here.
    owner[(owner >= 0) & ((tid[owner] != tid) | (what[owner] != What.ENTRY))] = NOWHERE

    closed = np.full(len(what), NOWHERE)
    returns = np.flatnonzero((what == What.RETURN) & (owner >= 0))
    mine = owner[returns]
    # Where a return tells its file, that is the entry's.
    other = (inode[returns] != 0) & (inode[mine] != 0) & (inode[returns] != inode[mine])
    above = sp[returns] - sp[mine]  # unsigned: below is far above
    returns = returns[(hook[mine] == hook[returns]) & (above <= _ABOVE) & ~other]
    closed[owner[returns][::-1]] = returns[::-1]

    whose = np.full(len(what), NOWHERE)
    inside = np.flatnonzero(np.isin(what, _INSIDE) & (owner >= 0))
    inside = inside[_OUTER_OF[hook[inside]] == hook[owner[inside]]]
    whose[inside] = owner[inside]

    nested = np.zeros(len(what), bool)
    places = np.flatnonzero(begins)
    before, after = places[:-1], places[1:]
    lacking = (what[before] == What.ENTRY) & (tid[before] == tid[after])
    returned = (closed[before] != NOWHERE) & (closed[before] < after)
    nested[before[lacking & ~returned]] = True
    return closed, whose, nested


def _by_stack(
    batch: _Batch, thread: slice, closed: Places, whose: Places, lost: NDArray[np.bool_]
) -> None:
    """The same for one thread, whose calls are nested or lost their return, row by row."""
    columns = zip(*(column[thread].tolist() for column in batch), strict=True)
    returned, owners, over = {}, {}, []
    open_: list[tuple[int, int, int, int]] = []  # place, hook, inode, stack pointer

    def leave(pointer: int) -> None:
        """The stack is not in use up to there: what began below is over, its return lost."""
        while open_ and open_[-1][3] <= pointer:
            over.append(open_.pop()[0])

    for place, (what, hook, _, inode, sp) in enumerate(columns, thread.start):
        if what == What.ENTRY:
            leave(sp)
            open_.append((place, hook, inode, sp))
        elif what == What.RETURN:
            leave(sp - _ABOVE - 1)
            if open_ and hook == open_[-1][1] and sp >= open_[-1][3]:
                if inode and open_[-1][2] and inode != open_[-1][2]:
                    continue
                returned[open_.pop()[0]] = place
        elif what == What.EXIT:
            leave(_TOP)
        elif what in _INSIDE:
            outer = int(_OUTER_OF[hook])
            found = next((one[0] for one in reversed(open_) if one[1] == outer), None)
            if found is not None:
                owners[place] = found
    closed[thread] = whose[thread] = NOWHERE
    closed[list(returned)] = list(returned.values())
    whose[list(owners)] = list(owners.values())
    lost[over] = True


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
        """Those that calls of this batch may overlap. ``oldest_ns``: start of the oldest open."""
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
    requested = np.where(entries["arg"] >> np.uint64(32) == 0, entries["arg"], 0).astype(np.uint32)
    executable = (entries["mode"] & 0o111 != 0) & (requested & _EXEC != 0)
    found: NDArray[np.uint32] = requested | np.where(executable, _BY_EXEC, np.uint32(0))
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
    reread = np.where(huge, exits["number"].astype(np.uint32), exits["seals"])
    seals = np.where(later, reread, seals)
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
    races(found, entries, exits, sealings, later)
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


def races(
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
