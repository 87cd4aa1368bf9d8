"""The tables of processes and of their file descriptors."""

import numpy as np

from tracer.analysis.batch import Array
from tracer.analysis.rollup import I64, distinct, halves, pair
from tracer.analysis.view import NO_FD, Frame, View


def by_fd(view: View) -> Frame:
    """See :attr:`tracer.analysis.snapshot.Tables.by_fd`."""
    state = view.state
    ids, table = view.fds
    objects = table.key(0).astype(np.int64)
    pids, fds = halves(table.key(1))
    found = view.sums(ids, len(table))
    host, (dev, gen) = state.host[objects], halves(state.dev_gen[objects])
    rows = np.flatnonzero(state.ino[objects] != 0)
    keys = (host, pids, fds, dev, state.ino[objects], gen)
    rows = rows[found.some(rows).order(*(key[rows] for key in keys))]
    found = found.some(rows)
    return {
        **view.whence(host[rows]),
        "pid": pids[rows].astype(np.uint32),
        **view.who(found.last),
        "fd": fds[rows].astype(np.uint32).view(np.int32),
        **view.what(objects[rows]),
        **view.counted(found),
    }


def by_process(view: View) -> Frame:
    """See :attr:`tracer.analysis.snapshot.Tables.by_process`."""
    ids, table = distinct(pair(view.host, view.pid))
    count = len(table)
    host, pids = halves(table.key(0))
    found = view.sums(ids, count)
    rows = found.order(host, pids)
    files = np.flatnonzero(view.state.ino[view.object] != 0)
    numbered = files[view.fd[files] != NO_FD]

    def how_many(of: Array, among: I64) -> I64:
        owners = halves(np.unique(pair(ids[among], of[among])))[0]
        return np.bincount(owners, minlength=count)[rows]

    every = np.arange(len(ids))
    return {
        **view.whence(host[rows]),
        "pid": pids[rows].astype(np.uint32),
        **view.who(found.last[rows]),
        "comms": how_many(view.code, every),
        "uids": how_many(view.uid, every),
        "objects": how_many(view.object, files),
        "fds": how_many(view.fd, numbered),
        **view.counted(found.some(rows)),
    }
