"""Entries and returns put together, thread by thread: one call each, with what happened inside.

A thread has at most one operation in flight, as in bpf/calls.h: an entry opens it, the first
return of the same hook closes it, and what comes between belongs to it. Returns of calls whose
entry the kernel's filter kept back find none open and are nobody's.
"""

from dataclasses import dataclass

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


def pair(rows: Rows) -> Paired:
    """Pairs a batch whose rows are in the order of time."""
    order = np.argsort(rows["tid"], kind="stable")
    what, tid, hook = rows["what"][order], rows["tid"][order], rows["hook"][order]
    begins = (what == What.ENTRY) | (what == What.EXIT)
    at = np.arange(len(order))
    owner = np.maximum.accumulate(np.where(begins, at, NOWHERE)) if len(at) else at
    # An entry of the thread before is nobody's here.
    foreign = (owner >= 0) & (tid[owner] != tid)
    owner[foreign] = NOWHERE

    inode = rows["inode"][order]
    returns = np.flatnonzero((what == What.RETURN) & (owner >= 0))
    mine = owner[returns]
    matching = (hook[mine] == hook[returns]) & (what[mine] == What.ENTRY)
    # Where a return tells its file, that is the entry's.
    other = (inode[returns] != 0) & (inode[mine] != 0) & (inode[returns] != inode[mine])
    returns = returns[matching & ~other]
    closed = np.full(len(order), NOWHERE)
    closed[owner[returns][::-1]] = returns[::-1]

    entries = np.flatnonzero(what == What.ENTRY)
    done = entries[closed[entries] >= 0]
    lacking = entries[closed[entries] < 0]
    last = np.ones(len(lacking), bool)
    if len(at):
        # Superseded by another begin of the same thread, the thread's end among them.
        begin_places = np.flatnonzero(begins)
        following = np.searchsorted(begin_places, lacking, side="right")
        has = following < len(begin_places)
        next_begin = begin_places[np.minimum(following, len(begin_places) - 1)]
        last = ~(has & (tid[next_begin] == tid[lacking]))

    inside = np.flatnonzero(np.isin(what, _INSIDE) & (owner >= 0))
    end = closed[owner[inside]]
    inside = inside[(end > inside) & (_OUTER_OF[hook[inside]] == hook[owner[inside]])]
    whose = owner[inside]

    def pick(kind: What, first: bool = False, same_file: bool = False) -> Places:
        chosen = what[inside] == kind
        if same_file:
            chosen &= inode[inside] == inode[whose]
        places, found = inside[chosen], np.full(len(order), NOWHERE)
        if first:
            places = places[::-1]
        found[owner[places]] = places  # of several, the last one stays
        found = found[done]
        return np.where(found >= 0, order[found], NOWHERE)

    checks = np.bincount(whose[what[inside] == What.CHECK], minlength=len(order))[done]
    still = np.zeros(len(order), bool)
    still[lacking[last]] = True
    # Only what may still be asked for: an entry whose return was lost stays open for long.
    useful = np.isin(what, _INSIDE) & (_OUTER_OF[hook] == hook[owner]) | (what == What.ENTRY)
    open_rows = np.zeros(len(rows), bool)
    open_rows[order[(owner >= 0) & still[owner] & useful]] = True
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
        abandoned=order[lacking[~last]],
    )
