"""Entries and returns put together, thread by thread: one call each, with what happened inside.

Calls may be nested (a write on a set-uid file changes its mode on the way), so a thread has a stack
of them, as in bpf/calls.h. What belongs together is told by the kernel stack's pointer: at a return
it is just above what it was at the entry. A call of which the return was lost is over as soon as
its thread is seen as high up as its entry was. Returns of calls whose entry the kernel's filter
kept back find none open and are nobody's.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tracer.capture.ftrace.what import What
from tracer.model.words import Hook

Rows = NDArray[np.void]
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


class _Told(NamedTuple):
    """What pairing looks at, of rows by thread."""

    what: NDArray[np.uint8]
    hook: NDArray[np.uint8]
    tid: NDArray[np.uint32]
    inode: NDArray[np.uint64]
    sp: NDArray[np.uint64]


def pair(rows: Rows) -> Paired:
    """Pairs a batch whose rows are in the order of time."""
    order = np.argsort(rows["tid"], kind="stable")
    told = _Told(*(rows[name][order] for name in _Told._fields))
    closed, whose, nested = _by_last_begin(told)
    lost = np.zeros(len(order), bool)
    for tid in np.unique(told.tid[nested]).tolist():
        begin, end = np.searchsorted(told.tid, (tid, tid + 1)).tolist()
        _by_stack(told, slice(begin, end), closed, whose, lost)

    what, inode = told.what, told.inode
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


def _by_last_begin(told: _Told) -> tuple[Places, Places, NDArray[np.bool_]]:
    """Each entry's return, whose each row inside is, and where it is not so simple.

    As if no call were nested: whatever comes belongs to the entry before it. Where another entry,
    or the thread's end, comes before the return, `_by_stack` has to look.
    """
    what, hook, tid, inode, sp = told
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
    told: _Told, thread: slice, closed: Places, whose: Places, lost: NDArray[np.bool_]
) -> None:
    """The same for one thread, whose calls are nested or lost their return, row by row."""
    columns = zip(*(column[thread].tolist() for column in told), strict=True)
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
