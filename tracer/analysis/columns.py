"""Columns of DataFrames: words as categoricals, what is unknown as NA."""

from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any, Literal

import numpy as np
import pandas as pd

from tracer.analysis.batch import Array
from tracer.labels import MAX_ERRNO, errno_name
from tracer.rules.verdicts import Outcome
from tracer.rules.verdicts import words as verdict_words
from tracer.words import Hook, Kind, Op
from tracer.words import words as enum_words

VERDICT_WORDS = verdict_words()
Whole = Literal["Int64", "UInt32", "UInt64"]
_ENUMS = {"op": Op, "kind": Kind, "hook": Hook}


def words(codes: Array, texts: Sequence[str]) -> "pd.Categorical[object]":
    """``texts[code]`` in each row, NA for -1; only texts that are there are categories, sorted."""
    codes = np.asarray(codes)
    used = sorted(np.unique(codes[codes >= 0]).tolist(), key=texts.__getitem__)
    places = np.full(len(texts) + 1, -1)
    places[used] = np.arange(len(used))
    categories = pd.CategoricalDtype([texts[code] for code in used])
    found: pd.Categorical[object] = pd.Categorical.from_codes(places[codes], dtype=categories)
    return found


def enum(name: str, codes: Array) -> "pd.Categorical[object]":
    """Numbers of ``op``, ``kind`` or ``hook`` as words; -1: none."""
    known = enum_words(_ENUMS[name])
    return words(codes, [known.get(number, f"{name}_{number}") for number in range(256)])


def verdicts(codes: Array) -> "pd.Categorical[object]":
    """Verdicts by their numbers, ordered: the greater is the worse; -1: none."""
    categories = pd.CategoricalDtype(list(VERDICT_WORDS), ordered=True)
    found: pd.Categorical[object] = pd.Categorical.from_codes(np.asarray(codes), dtype=categories)
    return found


def outcomes(codes: Array, known: Sequence[Outcome]) -> dict[str, Any]:
    """``expected``, ``reason``, ``rule``, ``hole`` (categoricals) and ``severity`` (int8)."""
    found: dict[str, Any] = {}
    for name in ("expected", "reason", "rule", "hole"):
        texts = [getattr(outcome, name) for outcome in known]
        distinct = list(dict.fromkeys(text for text in texts if text is not None))
        place = {text: code for code, text in enumerate(distinct)}
        codes_of = np.array([place.get(text, -1) for text in texts], np.int64)
        found[name] = words(codes_of[codes] if len(texts) else codes, distinct)
    severity = np.array([outcome.severity for outcome in known], np.int8)
    found["severity"] = severity[codes] if len(known) else np.empty(0, np.int8)
    return found


def maybe(values: Array, known: Array, kind: Whole = "Int64") -> Any:
    """Numbers with NA where they are not known."""
    array: Any = pd.array(values.copy(), dtype=kind)
    array[~known] = pd.NA
    return array


@lru_cache(maxsize=1)
def _errnos() -> list[str]:
    return [errno_name(-number) or "" for number in range(MAX_ERRNO + 1)]


def errnos(answers: Array) -> "pd.Categorical[object]":
    """The symbol of each error, NA for answers that are none."""
    failed = (answers < 0) & (answers >= -MAX_ERRNO)
    return words(np.where(failed, -answers, -1), _errnos())


_TEXT: Any = pd.Series([""]).dtype
"""What this pandas takes text for: its own type since 3, any object before."""


def texts(values: Iterable[str | None]) -> Any:
    """Texts that do not repeat; NA for None."""
    return pd.array(list(values), dtype=_TEXT)


def taken(texts: Any, rows: Array) -> Any:
    """Some of :func:`texts`."""
    return texts.take(rows)
