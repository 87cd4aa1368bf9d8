"""The table of memory files."""

import numpy as np
import pandas as pd

from tracer.analysis.columns import maybe
from tracer.analysis.latest import BEFORE, NEVER
from tracer.analysis.objects import OWNER_UNKNOWN
from tracer.analysis.rollup import halves, pair
from tracer.analysis.view import NO_FD, View


def by_object(view: View) -> pd.DataFrame:
    """See :attr:`tracer.analysis.tables.Tables.by_object`."""
    state, known = view.state, view.state.known
    count = len(state.ino)
    found = view.sums(view.object, count)
    dev, gen = halves(state.dev_gen)
    # Calls that made no file (ino 0) are about none.
    rows = np.flatnonzero((state.same_as == np.arange(count)) & (state.ino != 0))
    order = found.some(rows).order(state.host[rows], dev[rows], state.ino[rows], gen[rows])
    rows = rows[order]
    gone = known["evicted_ns"] != BEFORE
    end = np.where(gone, known["evicted_ns"], state.now[state.host])
    frame = {
        **view.whence(state.host[rows]),
        **view.what(rows),
        "seals": maybe(known["seals"][rows].astype(np.uint32), known["seals"][rows] >= 0, "UInt32"),
        "size": maybe(known["size"][rows], known["size_ns"][rows] != BEFORE, "UInt64"),
        "owner_uid": maybe(known["owner"][rows], known["owner"][rows] != OWNER_UNKNOWN, "UInt32"),
        "processes": _processes(view, count)[rows],
        "fds": _fds(view, count)[rows],
        "mappings": state.mappings[rows],
        "writable": state.writable[rows],
        **view.counted(found.some(rows)),
        "created_ns": maybe(known["created_ns"][rows], known["created_ns"][rows] != NEVER),
        "evicted_ns": maybe(known["evicted_ns"][rows], gone[rows]),
        "age_ns": (end - known["first_ns"])[rows],
    }
    return pd.DataFrame(frame)


def _processes(view: View, count: int) -> np.ndarray:
    pids = np.unique(pair(view.object, view.pid))
    return np.bincount(halves(pids)[0], minlength=count)


def _fds(view: View, count: int) -> np.ndarray:
    _, fds = view.fds
    known = halves(fds.key(1))[1] != NO_FD
    return np.bincount(fds.key(0)[known].astype(np.int64), minlength=count)
