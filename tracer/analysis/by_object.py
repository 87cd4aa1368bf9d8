"""The table of memory files."""

import numpy as np

from tracer.analysis.latest import BEFORE, NEVER
from tracer.analysis.objects import OWNER_UNKNOWN
from tracer.analysis.rollup import halves
from tracer.analysis.view import Frame, View


def by_object(view: View) -> Frame:
    """See :attr:`tracer.analysis.snapshot.Tables.by_object`."""
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
    maybe = view.make.maybe
    return {
        **view.whence(state.host[rows]),
        **view.what(rows),
        "seals": maybe(known["seals"][rows].astype(np.uint32), known["seals"][rows] >= 0, "UInt32"),
        "size": maybe(known["size"][rows], known["size_ns"][rows] != BEFORE, "UInt64"),
        "owner_uid": maybe(known["owner"][rows], known["owner"][rows] != OWNER_UNKNOWN, "UInt32"),
        "processes": view.processes_of[rows],
        "fds": view.fds_of[rows],
        "mappings": state.mappings[rows],
        "writable": state.writable[rows],
        **view.counted(found.some(rows)),
        "created_ns": maybe(known["created_ns"][rows], known["created_ns"][rows] != NEVER),
        "evicted_ns": maybe(known["evicted_ns"][rows], gone[rows]),
        "age_ns": (end - known["first_ns"])[rows],
    }
