"""What differs between two recordings: the same calls on files sealed the same, answered otherwise.

Calls are compared by op, kind of file, seals at entry and class of the request
(tracer.report.request), files by name. Nothing is matched call by call: two runs need not be equal.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from tracer.model.bit5 import UNKNOWN, Bit5
from tracer.model.errnos import MAX_ERRNO, errno_name
from tracer.model.verdicts import words
from tracer.model.words import Op
from tracer.report import request
from tracer.report.model import WORST_FIRST, Coverage, Question

CHANGES = ("answer", "only A", "only B", "count")
"""How a class differs: other answers or verdicts; seen on one side; the same, but not as often."""

_KEY = ["class", "seals"]
_FILE = ["kind", "name"]


@dataclass(frozen=True)
class Diff:
    """Two recordings side by side."""

    question: Question
    a: Coverage
    b: Coverage
    verdicts: tuple[Mapping[str, int], Mapping[str, int]]
    same: int
    """Classes of calls that both have, with the same answers as often."""
    variants: pd.DataFrame
    """Columns question, a, b: what the self-tests chose, where that differs (null: not known)."""
    decisions: pd.DataFrame
    """Columns change, op, kind, seals, request, a, b: outcomes as lists of verdict, answer and
    count, the worst first."""
    objects: pd.DataFrame
    """Columns change, kind, name, a, b: counts by verdict of the files with that name."""


class Tally:
    """Counts decisions by class, seals, answer and verdict."""

    def __init__(self) -> None:
        self._parts: list[pd.DataFrame] = []

    def add(self, columns: request.Columns, verdicts: npt.NDArray[np.int8]) -> None:
        """``columns``: request.COLUMNS, seals and answer; ``verdicts``: -1 where it is none."""
        rows = verdicts >= 0
        some = {name: columns[name][rows] for name in (*request.COLUMNS, "seals", "answer")}
        answer = some["answer"].astype(np.int64)
        seals = some["seals"].astype(np.int64)
        frame = pd.DataFrame(
            {
                "class": request.classes(some),
                # A new file's seals are a part of the answer.
                "seals": np.where(some["op"] == Op.CREATE, 0, seals),
                "errno": np.where((answer < 0) & (answer >= -MAX_ERRNO), answer, 0),
                "verdict": verdicts[rows].astype(np.int64),
            }
        )
        self._parts.append(frame.groupby([*frame], as_index=False).size())
        if len(self._parts) > 64:
            self._parts = [self.frame()]

    def frame(self) -> pd.DataFrame:
        """Columns class, seals, errno (0 or -errno), verdict (a number) and size (the count)."""
        names = ["class", "seals", "errno", "verdict", "size"]
        empty = pd.DataFrame({name: np.empty(0, np.int64) for name in names})
        every = pd.concat([empty, *self._parts], ignore_index=True)
        return every.groupby(names[:-1]).sum().reset_index()


def _outcomes(found: pd.DataFrame) -> dict[tuple[int, int], list[dict[str, Any]]]:
    """By class and seals: the outcomes, the worst first."""
    shown: dict[tuple[int, int], list[dict[str, Any]]] = {}
    ordered = found.sort_values(["verdict", "errno"], ascending=False)
    for row in ordered.itertuples(index=False):
        key, seals, errno, verdict, size = (int(value) for value in row)
        said = {"verdict": words()[verdict], "answer": errno_name(errno) or "ok", "count": size}
        shown.setdefault((key, seals), []).append(said)
    return shown


def change(a: Sequence[Mapping[str, Any]], b: Sequence[Mapping[str, Any]]) -> str | None:
    """One of :data:`CHANGES`; None where both are equal."""
    if not a or not b:
        return "only A" if a else "only B"
    kinds = [{(one["verdict"], one["answer"]) for one in side} for side in (a, b)]
    if kinds[0] != kinds[1]:
        return "answer"
    return None if list(a) == list(b) else "count"


def _order(row: Mapping[str, Any]) -> tuple[int, int]:
    worst = min(WORST_FIRST.index(one["verdict"]) for one in [*row["a"], *row["b"]])
    return CHANGES.index(row["change"]), worst


def common_bit5(a: Coverage, b: Coverage) -> Bit5:
    """What both kernels call seal 0x20. The same call may ask two for different things."""
    known = {a.self_test.bit5, b.self_test.bit5}
    return known.pop() if len(known) == 1 else UNKNOWN


def compare(a: pd.DataFrame, b: pd.DataFrame, bit5: Bit5 = UNKNOWN) -> tuple[pd.DataFrame, int]:
    """:attr:`Diff.decisions` and :attr:`Diff.same` of two frames of :class:`Tally`.

    ``bit5``: what both kernels call seal 0x20.
    """
    sides = (_outcomes(a), _outcomes(b))
    rows: list[dict[str, Any]] = []
    same = 0
    for key in sorted(sides[0].keys() | sides[1].keys()):
        one, other = (side.get(key, []) for side in sides)
        how = change(one, other)
        if how is None:
            same += 1
            continue
        op, kind, asked = request.described(key[0], bit5)
        rows.append(
            {"change": how, "op": op, "kind": kind, "seals": key[1], "request": asked,
             "a": one, "b": other}
        )  # fmt: skip
    rows.sort(key=_order)
    columns = ["change", "op", "kind", "seals", "request", "a", "b"]
    return pd.DataFrame(rows, columns=columns), same


def _by_name(objects: pd.DataFrame) -> dict[tuple[str, str], list[dict[str, Any]]]:
    named = objects.dropna(subset=["name"]).astype(dict.fromkeys(_FILE, object))
    sums = named.groupby(_FILE, sort=False)[list(WORST_FIRST)].sum()
    return {
        (str(key[0]), str(key[1])): [
            {"verdict": word, "answer": "", "count": int(count)}
            for word, count in zip(WORST_FIRST, counts, strict=True)
            if count
        ]
        for key, counts in zip(sums.index, sums.to_numpy().tolist(), strict=True)
    }


def objects(a: pd.DataFrame, b: pd.DataFrame) -> pd.DataFrame:
    """:attr:`Diff.objects` of two object tables; files without a name cannot be compared."""
    sides = (_by_name(a), _by_name(b))
    rows = []
    for key in dict.fromkeys([*sides[0], *sides[1]]):
        one, other = (side.get(key) for side in sides)
        if one == other:
            continue
        how = "only B" if one is None else "only A" if other is None else change(one, other)
        counts = [{each["verdict"]: each["count"] for each in side or ()} for side in (one, other)]
        rows.append(
            {"change": how, "kind": key[0], "name": key[1], "a": counts[0], "b": counts[1]}
        )  # fmt: skip
    rows.sort(key=lambda row: CHANGES.index(str(row["change"])))
    return pd.DataFrame(rows, columns=["change", *_FILE, "a", "b"])


def variants(a: Coverage, b: Coverage) -> pd.DataFrame:
    """:attr:`Diff.variants`."""
    known = (a.self_test.variants, b.self_test.variants)
    rows = [
        {"question": asked, "a": known[0].get(asked), "b": known[1].get(asked)}
        for asked in sorted(known[0].keys() | known[1].keys())
        if known[0].get(asked) != known[1].get(asked)
    ]
    return pd.DataFrame(rows, columns=["question", "a", "b"])
