"""The table of decisions that a user may have to look at."""

from typing import Any

import numpy as np
import pandas as pd

from tracer.analysis import columns
from tracer.analysis.cases import SHOWN
from tracer.analysis.rollup import halves
from tracer.analysis.view import View
from tracer.labels import cause
from tracer.rules.verdicts import Verdict

_ORDER = [
    "host", "boot_id", "verdict", "count", "first_ns", "last_ns", "pid", "tid", "uid", "comm", "op",
    "kind", "dev", "ino", "gen", "name", "fd", "seals", "seals_after", "size", "size_after",
    "offset", "length", "arg", "answer", "errno", "duration_ns", "flags", "writable", "expected",
    "reason", "rule", "hole", "severity",
]  # fmt: skip


def listed(view: View) -> pd.DataFrame:
    """See :attr:`tracer.analysis.tables.Tables.listed`."""
    state = view.state
    key: list[list[Any]] = [[], [], []]
    rows: dict[str, list[Any]] = {
        name: [] for name in ("verdict", "count", "first_ns", "last_ns", "rank", *SHOWN)
    }
    for verdict, cases in state.totals.cases.items():
        which = np.flatnonzero(cases.rows["count"])
        for place, part in enumerate(key):
            part.append(state.keys.cases[verdict].key(place)[which])
        rows["verdict"].append(np.full(len(which), int(verdict)))
        for name in rows.keys() - {"verdict"}:
            rows[name].append(cases.rows[name][which])
    group, outcome = halves(np.concatenate(key[0]))
    op = halves(np.concatenate(key[1]))[0]
    arg = np.concatenate(key[2])
    found = {name: np.concatenate(parts) for name, parts in rows.items()}
    order = np.lexsort((found["rank"], -found["count"], -found["verdict"]))
    found = {name: column[order] for name, column in found.items()}
    group, outcome, op, arg = group[order], outcome[order], op[order], arg[order]
    objects = state.same_as[state.keys.objects_of[group]]
    del found["rank"]
    frame = pd.DataFrame(
        {
            **found,
            **view.whence(state.host[objects]),
            **view.what(objects),
            **view.who(group),
            **columns.outcomes(outcome, state.keys.outcomes),
            "verdict": columns.verdicts(found["verdict"]),
            **view.which_fd(group),
            "op": columns.enum("op", op),
            "arg": arg,
            "errno": columns.errnos(found["answer"]),
        }
    )
    return frame.assign(reason=_with_causes(frame))[_ORDER]


def _with_causes(frame: pd.DataFrame) -> Any:
    """The reasons; where no rule is the reason of an error, what its errno means."""
    texts = [
        cause(op, answer) if verdict == Verdict.ERROR.word and not reason else reason
        for verdict, reason, op, answer in zip(
            *(frame[name] for name in ("verdict", "reason", "op", "answer")), strict=True
        )
    ]
    known = {text: code for code, text in enumerate(dict.fromkeys(texts))}
    return columns.words(np.array([known[text] for text in texts], np.int64), list(known))
