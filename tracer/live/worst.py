"""The worst decision of each row of a table, in further columns: who asked for what, when and why.

They come from the cases that the sums keep (tracer.analysis.sums), so that no event is read again.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from tracer.analysis.frames import enum
from tracer.analysis.grouping import BEFORE
from tracer.analysis.totals import Tables
from tracer.filter.mask import ACTOR, Coded, Numbers
from tracer.live.snapshot import Column, Taken

PREFIX = "worst_"
Places = npt.NDArray[np.int64]
Ids = Callable[[str, Mapping[str, Column]], Places]
_NUMBERS = (
    "count", "first_ns", "last_ns", "pid", "tid", "uid", "fd", "seals", "seals_after", "size",
    "size_after", "offset", "length", "arg", "answer", "duration_ns", "flags", "writable",
)  # fmt: skip


def columns(
    tables: Tables, table: str, rows: Places, ids: Ids, last_ns: Numbers
) -> dict[str, Column]:
    """The worst decision of each row that is not simply allowed: ``worst_op``, ``worst_arg`` …

    Of several equally bad ones it is the latest. ``rows``: the id of each row, ``ids`` gives them.
    Without one (or where there was no room to keep it) all are null but ``worst_last_ns``, and of
    an object ``worst_pid``, ``worst_comm`` and ``worst_place``: these are of its last decision, at
    ``last_ns``.
    """
    cases, groups = tables.sums["cases"].columns(), tables.sums["groups"]
    for name in ("object", "pid", "fd", "uid", "comm", "cgroup", *ACTOR):
        cases[name] = groups[name][cases["group"]]
    of_case = ids(table, _keys(tables, cases))
    at = _best(of_case, np.lexsort((cases["last_ns"], cases["verdict"])), rows)
    plain: dict[str, npt.NDArray[Any] | Coded] = {name: cases[name] for name in _NUMBERS}
    plain["op"], plain["comm"] = enum("op", cases["op"]), tables.comms(cases["comm"])
    plain["place"] = _place(tables, cases)
    for name in ("expected", "reason", "rule", "hole"):
        texts = [getattr(outcome, name) for outcome in tables.words.outcomes]
        plain[name] = Coded(cases["outcome"], texts)
    if table == "processes":
        files = tables.file_columns(tables.same_as[cases["object"]])
        plain |= {name: files[name] for name in ("kind", "name", "dev", "ino", "gen")}
    found: dict[str, Column] = {name: Taken(column, at) for name, column in plain.items()}
    valid = at >= 0
    when = np.array(last_ns.values)
    when[valid] = cases["last_ns"][at[valid]]
    found["last_ns"] = Numbers(when, None if last_ns.valid is None else valid | last_ns.valid)
    if table == "objects":
        last = _last(tables, rows, ids)
        either = np.where(valid, at, np.where(last >= 0, last + len(cases["pid"]), -1))
        both = {
            name: np.concatenate([cases[name], tables.groups[name]])
            for name in ("object", "comm", "cgroup", *ACTOR)
        }
        found["pid"] = Taken(both["pid"], either)
        found["comm"] = Taken(tables.comms(both["comm"]), either)
        found["place"] = Taken(_place(tables, both), either)
    return {f"{PREFIX}{name}": column for name, column in found.items()}


def _place(tables: Tables, rows: Mapping[str, Any]) -> Coded:
    """Where each of cases or groups was: its unit, container or virtual machine."""
    found = tables.who(tables.objects["boot"][rows["object"]], rows).get("place")
    return found if isinstance(found, Coded) else Coded(np.full(len(rows["pid"]), -1), [])


def _keys(tables: Tables, rows: Mapping[str, Any]) -> dict[str, Column]:
    """What names the rows of tables to which cases or groups belong."""
    objects = tables.same_as[rows["object"]]
    files: dict[str, Column] = {
        name: tables.objects[name][objects] for name in ("dev", "ino", "gen")
    }
    return {**files, "pid": rows["pid"], "fd": rows["fd"]}


def _best(found: Places, order: Places, rows: Places) -> Places:
    """For each of ``rows`` the last one in ``order`` that belongs to it (``found``), or -1."""
    best = np.full(max([0, *(int(ids.max()) + 1 for ids in (found, rows) if len(ids))]), -1)
    best[found[order]] = order  # of several values for one place the last stays
    return best[rows]


def _last(tables: Tables, rows: Places, ids: Ids) -> Places:
    """Of each object the group (pid, fd …) that asked last, -1: none."""
    groups = tables.groups
    objects, when = groups["object"], groups["last_ns"]
    latest = np.full(len(tables.same_as), BEFORE)
    np.maximum.at(latest, objects, when)
    last = np.flatnonzero(when == latest[objects])
    keys = _keys(tables, {name: groups[name][last] for name in ("object", "pid", "fd")})
    at = _best(ids("objects", keys), np.arange(len(last)), rows)
    return np.where(at >= 0, last[at] if len(last) else -1, -1)
