"""Seals over time: when each object was sealed, whether too late, and who stood in the way.

Every table has ``host``, ``boot_id``, the object's ``kind``, ``name``, ``dev``, ``ino``, ``gen``,
and ``time_ns`` (boot clock), ``pid`` and ``comm`` of the call.
"""

import numpy as np
import pandas as pd

from tracer.analysis.latest import BEFORE, NEVER
from tracer.analysis.lifetimes import OBJECT
from tracer.analysis.rollup import I64, distinct, halves, pair
from tracer.analysis.sealing import EBUSY
from tracer.analysis.view import View
from tracer.words import Op, Seal, names

_NO_MORE_WRITES = int(Seal.WRITE | Seal.FUTURE_WRITE)
_SHOWN = 5  # holders by name


def _frame(view: View, rows: I64) -> pd.DataFrame:
    """Who did what when, of rows of the sealing table."""
    sealing = view.state.sealing
    group = sealing["group"][rows].astype(np.int64)
    objects = view.state.same_as[view.state.keys.objects_of[group]]
    return pd.DataFrame(
        {
            **view.whence(view.state.host[objects]),
            **view.what(objects),
            "time_ns": sealing["time_ns"][rows],
            **view.which_fd(group),
            **view.who(group),
        }
    ).drop(columns=["fd", "uid"])


def _added(view: View) -> tuple[I64, I64]:
    """Seals before and seals added, of each row of the sealing table."""
    sealing = view.state.sealing
    before = np.where(sealing["op"] == Op.CREATE, 0, sealing["seals"]).astype(np.int64)
    return before, sealing["seals_after"].astype(np.int64) & ~before


def seals(view: View) -> pd.DataFrame:
    """See :attr:`tracer.analysis.snapshot.Tables.seals`."""
    sealing = view.state.sealing
    rows = np.flatnonzero(sealing["answer"] != EBUSY)
    rows = rows[np.lexsort((sealing["rank"][rows], sealing["time_ns"][rows]))]
    before, added = _added(view)
    frame = _frame(view, rows).assign(
        op=np.where(sealing["op"][rows] == Op.CREATE, "create", "add_seals"),
        seals=before[rows].astype(np.uint32),
        added=added[rows].astype(np.uint32),
        seals_after=sealing["seals_after"][rows],
    )
    return frame.sort_values(OBJECT, kind="stable", ignore_index=True)


def late_seals(view: View) -> pd.DataFrame:
    """See :attr:`tracer.analysis.snapshot.Tables.late_seals`."""
    state, sealing = view.state, view.state.sealing
    _, added = _added(view)
    asked = (sealing["op"] == Op.ADD_SEALS) & (sealing["answer"] == 0)
    rows = np.flatnonzero(asked & ((added & _NO_MORE_WRITES) != 0))
    rows = rows[np.lexsort((sealing["rank"][rows], sealing["time_ns"][rows]))]
    group, when = sealing["group"][rows], sealing["time_ns"][rows]
    objects = state.same_as[state.keys.objects_of[group]]
    writable = np.maximum(sealing["writable"][rows], 0)
    before = state.known["mapped_ns"][objects] < when
    pids = halves(state.keys.groups.key(2))[0]
    others = _others(view, objects, pids[group], when)
    late = (writable > 0) | (others > 0)
    columns = (column[late].tolist() for column in (writable, others))
    return (
        _frame(view, rows[late])
        .assign(
            seal=[names(bits & _NO_MORE_WRITES) for bits in added[rows[late]].tolist()],
            writable=writable[late],
            mapped=before[late],
            others=others[late],
            why=[_why(*values) for values in zip(*columns, strict=True)],
        )
        .reset_index(drop=True)
    )


def _others(view: View, objects: I64, pids: I64, when: I64) -> I64:
    """Processes that had to do with an object before ``when``, beside the one that asked."""
    state = view.state
    count = len(state.used_ns)
    shown = state.same_as[state.keys.objects_of[:count]]
    used_ns = np.where(state.held, BEFORE, state.used_ns)
    of_any = np.flatnonzero(np.isin(shown, objects) & (used_ns != NEVER))
    users, table = distinct(
        pair(shown[of_any], halves(state.keys.groups.key(2)[:count])[0][of_any])
    )
    first = np.full(len(table), NEVER)
    np.minimum.at(first, users, used_ns[of_any])
    used, pid = halves(table.key(0))
    asked = pd.DataFrame({"object": objects, "pid": pids, "when": when, "row": range(len(when))})
    uses = pd.DataFrame({"object": used, "user": pid, "first": first})
    both = asked.merge(uses, on="object")
    both = both[(both["user"] != both["pid"]) & (both["first"] < both["when"])]
    return np.bincount(both["row"], minlength=len(when))


def _why(writable: int, others: int) -> str:
    parts = []
    if writable:
        parts.append(f"{writable} shared writable mapping{'' if writable == 1 else 's'} then")
    if others:
        parts.append(f"used by {others} other process{'' if others == 1 else 'es'} before")
    return ", ".join(parts)


def busy(view: View) -> pd.DataFrame:
    """See :attr:`tracer.analysis.snapshot.Tables.busy`."""
    sealing = view.state.sealing
    rows = np.flatnonzero(sealing["answer"] == EBUSY)
    rows = rows[np.lexsort((sealing["rank"][rows], sealing["time_ns"][rows]))]
    return _frame(view, rows).assign(
        added=sealing["arg"][rows].astype(np.uint32), writable=sealing["writable"][rows]
    )


def with_holders(busy: pd.DataFrame, lives: pd.DataFrame) -> pd.DataFrame:
    """``busy`` with who held shared writable mappings at that moment.

    ``lives``: tracer.analysis.lifetimes.lifetimes of these objects' events and baseline. Added are
    ``held``, how many mappings are known, and ``holders``, whose they are: ``comm/pid``, the one
    with the most first (``comm/pid fork``: a child of that process, not known by its own id).
    Empty where ``writable`` is not 0: the holders mapped it unseen. Where it is 0, pages were
    pinned, or a mapping went away meanwhile.
    """
    lives = lives[lives["writable"].astype(bool)]
    asked = busy[[*OBJECT, "time_ns"]].assign(row=range(len(busy)))
    asked["boot_id"] = asked["boot_id"].astype(object)
    then = asked.merge(lives.assign(boot_id=lives["boot_id"].astype(object)), on=OBJECT)
    then = then[(then["begin_ns"] <= then["time_ns"]) & (then["end_ns"] > then["time_ns"])]
    whose = then["comm"].astype(str) + "/" + then["pid"].astype(str)
    whose = whose.where(~then["forked"].astype(bool), whose + " fork")
    counts = then.assign(whose=whose).groupby(["row", "whose"], sort=True).size()
    found: dict[int, list[str]] = {}
    for row, one in counts.sort_values(ascending=False, kind="stable").index:
        found.setdefault(row, []).append(one)
    return busy.assign(
        held=np.bincount(then["row"], minlength=len(busy)),
        holders=[_listed(found.get(row, [])) for row in range(len(busy))],
    )


def _listed(holders: list[str]) -> str:
    more = len(holders) - _SHOWN
    return " ".join([*holders[:_SHOWN], *([f"+{more} more"] if more > 0 else [])])
