"""The tables of operations and of the rules behind verdicts."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from tracer.analysis import columns
from tracer.analysis.batch import Array
from tracer.analysis.latest import BEFORE, NEVER
from tracer.analysis.rollup import I64, Sums, distinct, halves, pair
from tracer.analysis.totals import VERDICTS
from tracer.analysis.view import View


@dataclass(frozen=True)
class _Reasons:
    """One row for each (host, op, outcome) that was counted."""

    host: I64
    op: I64
    outcome: I64
    verdict: I64
    count: I64
    first_ns: I64
    last_ns: I64


def _reasons(view: View) -> _Reasons:
    pieces = []
    for host, rows in view.state.totals.reasons.items():
        which = np.flatnonzero(rows["count"])
        outcome, op = which >> 8, which & 0xFF
        verdict = view.state.keys.verdicts[outcome]
        counted = (rows[name][which] for name in ("count", "first_ns", "last_ns"))
        pieces.append([np.full(len(which), host), op, outcome, verdict, *counted])
    if not pieces:
        return _Reasons(*np.empty((7, 0), np.int64))
    return _Reasons(*map(np.concatenate, zip(*pieces, strict=True)))


def by_op(view: View) -> pd.DataFrame:
    """See :attr:`tracer.analysis.tables.Tables.by_op`."""
    reasons = _reasons(view)
    ids, table = distinct(pair(reasons.host, reasons.op))
    counts = np.zeros((len(table), VERDICTS), np.int64)
    np.add.at(counts, (ids, reasons.verdict), reasons.count)
    first, last = np.full(len(table), NEVER), np.full(len(table), BEFORE)
    np.minimum.at(first, ids, reasons.first_ns)
    np.maximum.at(last, ids, reasons.last_ns)
    found = Sums(counts, first, last, np.full(len(table), -1))
    host, op = halves(table.key(0))
    rows = found.order(host, op)
    frame = {
        **view.whence(host[rows]),
        "op": columns.enum("op", op[rows]),
        **view.counted(found.some(rows), last=False),
    }
    return pd.DataFrame(frame)


def by_rule(view: View) -> pd.DataFrame:
    """See :attr:`tracer.analysis.tables.Tables.by_rule`."""
    reasons = _reasons(view)
    known = view.state.keys.outcomes
    told = np.array([repr(tuple(outcome)) for outcome in known], object)
    by: list[Array] = [
        np.argsort(np.argsort(told, kind="stable"), kind="stable")[reasons.outcome],
        reasons.op,
        reasons.host,
        -reasons.count,
        -reasons.verdict,
    ]
    rows = np.lexsort(by)
    frame = {
        **view.whence(reasons.host[rows]),
        "verdict": columns.verdicts(reasons.verdict[rows]),
        "op": columns.enum("op", reasons.op[rows]),
        **columns.outcomes(reasons.outcome[rows], known),
        "decisions": reasons.count[rows],
        "first_ns": reasons.first_ns[rows],
        "last_ns": reasons.last_ns[rows],
    }
    return pd.DataFrame(frame)
