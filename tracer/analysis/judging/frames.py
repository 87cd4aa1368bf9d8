"""DataFrames in and out of the judge: columns with numbers for words, outcomes as columns."""

from collections.abc import Sequence
from enum import IntEnum

import numpy as np
import numpy.typing as npt
import pandas as pd

from tracer.analysis.features import COLUMNS
from tracer.labels import SEALS_UNKNOWN
from tracer.rules.verdicts import Outcome
from tracer.rules.verdicts import words as verdict_words
from tracer.words import Flag, Kind, Op

KEY = ("dev", "ino", "gen")
"""What names an object within one boot."""
_WORDS: dict[str, type[IntEnum]] = {"op": Op, "kind": Kind}
_UNKNOWN_WORD = 255
_OF_OBJECT = {"folio_order_max": 255, "owner_uid": 0xFFFFFFFF}
_WITHOUT = {
    "op": _UNKNOWN_WORD,
    "kind": _UNKNOWN_WORD,
    "seals": SEALS_UNKNOWN,
    "seals_after": SEALS_UNKNOWN,
    "flags": int(Flag.ENTRY_MISSING),
}
"""Without these nothing can be judged; anything else counts as 0."""
_SIGNED = ("answer", "offset", "duration_ns", "writable", "check_answer")


def columns_of(
    events: pd.DataFrame, objects: pd.DataFrame | None
) -> dict[str, npt.NDArray[np.generic]]:
    """The columns that :class:`tracer.analysis.judge.Judge` takes, from a recording's tables."""
    joined = _with_objects(events, objects)
    return {name: _column(joined, name) for name in COLUMNS}


def _with_objects(events: pd.DataFrame, objects: pd.DataFrame | None) -> pd.DataFrame:
    missing = [name for name in _OF_OBJECT if name not in events.columns]
    if objects is None or not missing or not set(KEY) <= set(events.columns):
        return events
    boot = [c for c in ("boot_id",) if c in events.columns and c in objects.columns]
    key, have = [*boot, *KEY], [name for name in missing if name in objects.columns]
    latest = objects[[*key, *have]].drop_duplicates(key, keep="last")
    return events[[c for c in events.columns if c in COLUMNS or c in key]].merge(
        latest, how="left", on=key
    )


def _column(frame: pd.DataFrame, name: str) -> npt.NDArray[np.generic]:
    kind = np.int64 if name in _SIGNED or name in _WORDS else np.uint64
    if name in _WORDS and name in frame.columns:
        return _numbers(frame[name], _WORDS[name])
    default = _OF_OBJECT.get(name, _WITHOUT.get(name, 0))
    if name not in frame.columns:
        return np.full(len(frame), default, kind)
    column = frame[name]
    if column.isna().any():
        column = column.astype(object).where(column.notna(), default)
    return column.to_numpy(kind)


def _numbers(column: "pd.Series[str]", enum: type[IntEnum]) -> npt.NDArray[np.generic]:
    """Numbers of a column of words, or the column itself if it is numbers already."""
    if pd.api.types.is_integer_dtype(column.dtype):
        return column.astype("Int64").fillna(_UNKNOWN_WORD).to_numpy(np.int64)
    codes = {member.name.lower(): member.value for member in enum}
    words = column.astype("category")
    numbers = [codes.get(str(word), _UNKNOWN_WORD) for word in words.cat.categories]
    table = np.array([*numbers, _UNKNOWN_WORD], np.uint8)  # the last is null's: its code is -1
    return table[words.cat.codes.to_numpy()]


def with_outcomes(
    events: pd.DataFrame, codes: npt.NDArray[np.int32], outcomes: Sequence[Outcome]
) -> pd.DataFrame:
    """``events`` with one column for each field of :class:`Outcome`."""
    judged = events.copy()
    for field in ("expected", "reason", "rule", "hole"):
        values: list[str | None] = [getattr(one, field) for one in outcomes]
        judged[field] = _categories(codes, values)
    order = list(verdict_words())
    verdicts: list[str | None] = [one.verdict.word for one in outcomes]
    judged["verdict"] = _categories(codes, verdicts, order)
    severity = np.array([*(one.severity for one in outcomes), 0], np.int8)
    judged["severity"] = severity[codes]
    return judged


def _categories(
    codes: npt.NDArray[np.int32], values: Sequence[str | None], order: list[str] | None = None
) -> pd.Categorical:
    """Categories by code; null for -1, and for the code of a null value."""
    names = order or sorted({value for value in values if value is not None})
    places = {name: place for place, name in enumerate(names)}
    table = np.array([*(places.get(v, -1) if v is not None else -1 for v in values), -1], np.int32)
    dtype = pd.CategoricalDtype(names, ordered=order is not None)
    return pd.Categorical.from_codes(table[codes], dtype=dtype)
