"""Columns of DataFrames, and batches as such.

While tables are made, a text is a code (``tracer.filter.mask.Coded``) and a number that may be
unknown has a mask (``Numbers``); :func:`shown` makes DataFrames of these, with words as
categoricals and NA for what is not known.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from enum import IntEnum
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
from pandas.api.types import union_categoricals

from tracer.analysis.batches import ENUMS, Array, Batch, Source, Vocabulary, columns_of, joined
from tracer.analysis.features import COLUMNS
from tracer.filter.mask import Coded, Numbers
from tracer.labels import (
    ARGUMENTS,
    MAX_ERRNO,
    SEALS_UNKNOWN,
    arguments,
    errno_name,
    flag_words,
    seal_list,
)
from tracer.recording.format import EVENTS
from tracer.rules.verdicts import Outcome
from tracer.rules.verdicts import words as verdict_words
from tracer.walltime import WallClock
from tracer.words import Bit5, Flag
from tracer.words import words as enum_words

Frame = dict[str, Any]
"""Columns by name: ``Coded``, ``Numbers``, or plain arrays."""
_VERDICT_COLUMNS = ("verdict", "worst")
_NULLABLE: dict[str, Any] = {"int64": "Int64", "uint32": "UInt32", "uint64": "UInt64"}
_TEXT: Any = pd.Series([""]).dtype
"""What this pandas takes text for: its own type since 3, any object before."""


def shown(frame: Mapping[str, Any], texts: Collection[str] = ("name",)) -> pd.DataFrame:
    """As a DataFrame; ``texts``: columns whose texts are no categories."""
    made = {
        name: _text(column)
        if name in texts and isinstance(column, Coded)
        else _column(name, column)
        for name, column in frame.items()
    }
    # There may be millions of rows: they need not be there twice.
    return pd.DataFrame(made, copy=False)


def _column(name: str, column: Any) -> Any:
    if isinstance(column, Coded):
        return words(column)
    if isinstance(column, Numbers):
        array: Any = pd.array(column.values.copy(), dtype=_NULLABLE[column.values.dtype.name])
        if column.valid is not None:
            array[~column.valid] = pd.NA
        return array
    return verdicts(column) if name in _VERDICT_COLUMNS else column


def _text(column: Coded) -> Any:
    """Texts as such; NA for none."""
    known = pd.array([*column.words, None], dtype=_TEXT)
    return known.take(np.asarray(column.codes))


def words(column: Coded) -> "pd.Categorical[object]":
    """The words of each row, NA for -1; only those that are there are categories, sorted."""
    codes, texts = np.asarray(column.codes), column.words
    used = np.unique(codes[codes >= 0]).tolist()
    there = sorted({text for code in used if (text := texts[code]) is not None})
    place = {text: number for number, text in enumerate(there)}
    places = np.full(len(texts) + 1, -1)
    places[used] = [-1 if (text := texts[code]) is None else place[text] for code in used]
    categories = pd.CategoricalDtype(there)
    found: pd.Categorical[object] = pd.Categorical.from_codes(places[codes], dtype=categories)
    return found


@lru_cache
def _enum(name: str) -> list[str]:
    known = enum_words(ENUMS[name])
    return [known.get(number, f"{name}_{number}") for number in range(256)]


def enum(name: str, codes: Array) -> Coded:
    """Numbers of ``op``, ``kind`` or ``hook`` as words; -1: none."""
    return Coded(np.asarray(codes), _enum(name))


def verdicts(codes: Array) -> "pd.Categorical[object]":
    """Verdicts by their numbers, ordered: the greater is the worse; -1: none."""
    categories = pd.CategoricalDtype(list(verdict_words()), ordered=True)
    found: pd.Categorical[object] = pd.Categorical.from_codes(np.asarray(codes), dtype=categories)
    return found


def outcome_columns(codes: Array, known: Sequence[Outcome]) -> Frame:
    """``expected``, ``reason``, ``rule``, ``hole`` and ``severity`` (int8)."""
    found: Frame = {}
    for name in ("expected", "reason", "rule", "hole"):
        texts = [getattr(outcome, name) for outcome in known]
        distinct = list(dict.fromkeys(text for text in texts if text is not None))
        place = {text: code for code, text in enumerate(distinct)}
        codes_of = np.array([place.get(text, -1) for text in texts], np.int64)
        found[name] = Coded(codes_of[codes] if len(texts) else codes, distinct)
    severity = np.array([outcome.severity for outcome in known], np.int8)
    found["severity"] = severity[codes] if len(known) else np.empty(0, np.int8)
    return found


@lru_cache(maxsize=1)
def _errnos() -> list[str]:
    return [errno_name(-number) or "" for number in range(MAX_ERRNO + 1)]


def errno_codes(answers: Array) -> Coded:
    """The symbol of each error, none for answers that are none."""
    failed = (answers < 0) & (answers >= -MAX_ERRNO)
    return Coded(np.where(failed, -answers, -1), _errnos())


def errnos(answers: Array) -> "pd.Categorical[object]":
    """:func:`errno_codes` as words."""
    return words(errno_codes(answers))


# Batches


def batch_of(frame: pd.DataFrame, source: Source, comms: Vocabulary | None = None) -> Batch:
    """Events (or the table ``mappings``) as a batch; columns that are missing are unknown.

    A column ``row`` is kept, else rows are numbered from 0.
    """
    there = [name for name in EVENTS.names if name in frame]
    table = pa.table({name: _arrow(frame[name], EVENTS.field(name).type) for name in there})
    if not there:
        table = EVENTS.empty_table()
    comms = comms or Vocabulary()
    found = columns_of(table, EVENTS.names, comms)
    known = "row" in frame
    found["row"] = frame["row"].to_numpy(np.int64) if known else np.arange(len(frame))
    return Batch(source, found, comms)


def _arrow(column: "pd.Series[Any]", kind: pa.DataType) -> pa.Array:
    if pa.types.is_integer(kind) and column.dtype.kind == "f":
        column = column.astype("Float64").astype("Int64")  # integers that met a NaN
    return pa.array(column, from_pandas=True)


def frame_of(batch: Batch, names: Iterable[str] | None = None) -> pd.DataFrame:
    """A batch as a DataFrame with words for numbers, and ``errno`` where there is ``answer``."""
    made: dict[str, Any] = {}
    for name in batch.columns if names is None else names:
        made[name] = _shown(batch, name, batch[name])
        if name == "answer":
            made["errno"] = errnos(batch["answer"])
    return pd.DataFrame(made)


def _shown(batch: Batch, name: str, values: Array) -> Any:
    if name in ENUMS:
        return words(enum(name, values))
    return words(Coded(values, batch.comms.texts)) if name == "comm" else values


def concat(batches: Iterable[Batch], names: Sequence[str]) -> pd.DataFrame:
    """Batches of one source as one DataFrame: host, boot_id, the columns ``names``, and ``row``."""
    parts = list(batches)
    whole = joined(parts) if parts else batch_of(pd.DataFrame(), Source())
    frame = frame_of(whole, [*names, "row"])
    frame.insert(0, "boot_id", whole.source.boot_id)
    frame.insert(0, "host", whole.source.host)
    return frame


def stacked(pieces: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """DataFrames with the same columns, one below the other; categoricals stay such."""
    made: dict[str, Any] = {}
    for name in pieces[0].columns:
        parts = [piece[name] for piece in pieces]
        words = all(isinstance(part.dtype, pd.CategoricalDtype) for part in parts)
        # Verdicts are ordered, and have the same categories everywhere.
        if words and not parts[0].cat.ordered:
            made[name] = union_categoricals(_alike(parts))
        else:
            made[name] = pd.concat(parts, ignore_index=True)
    return pd.DataFrame(made)


def _alike(parts: Sequence[pd.Series]) -> list[pd.Series]:
    """With one type of categories: pandas 3 gives those of an empty column another one."""
    kinds = [part.cat.categories.dtype for part in parts if len(part.cat.categories)]
    return [
        part.astype(pd.CategoricalDtype(part.cat.categories.astype(kind)))
        for part in parts
        for kind in (kinds or [part.cat.categories.dtype])[:1]
    ]


# For people


def with_meanings(frame: pd.DataFrame, clock: WallClock, bit5: Bit5) -> pd.DataFrame:
    """Events with the wall clock, and what their numbers mean.

    :param frame: as :func:`concat` makes them.
    :param bit5: what the recorded kernel calls seal 0x20.
    :return: ``time`` (``datetime64[ns, UTC]``) before ``time_ns``; behind the others categoricals
        of texts, sets of flags joined by ``|`` (:func:`tracer.labels.arguments`): NA where the
        operation has none.
    """
    made: dict[str, Any] = {}
    for name in frame:
        if name == "time_ns":
            made["time"] = clock.column(frame["time_ns"].to_numpy())
        made[str(name)] = frame[name].array
    codes, requests = _distinct(frame, ["op", "kind", "arg"])
    lists = [arguments(*(*one, bit5)) for one in requests]
    for name in ARGUMENTS:
        made[name] = _joined_texts(codes, [one.get(name) for one in lists])
    for name, column in (("seal_list", "seals"), ("seal_list_after", "seals_after")):
        codes, sets = _distinct(frame, [column])
        made[name] = _joined_texts(codes, [seal_list(seals, bit5) for (seals,) in sets])
    codes, sets = _distinct(frame, ["flags"])
    made["flag_list"] = _joined_texts(codes, [flag_words(flags) for (flags,) in sets])
    return pd.DataFrame(made, frame.index)


def _distinct(frame: pd.DataFrame, names: list[str]) -> tuple[Array, list[Any]]:
    """The place of each row's values among the different ones, and these."""
    groups = frame.groupby(names, sort=False, observed=True, dropna=False)
    codes = groups.ngroup().to_numpy()
    first = np.unique(codes, return_index=True)[1]
    rows = frame[names].iloc[first]
    return codes, list(zip(*(rows[name].tolist() for name in names), strict=True))


def _joined_texts(codes: Array, lists: Sequence[list[str] | None]) -> "pd.Categorical[object]":
    texts = [None if one is None else "|".join(one) for one in lists]
    return words(Coded(codes, texts))


# What the judge takes and gives

_KEY = ("dev", "ino", "gen")
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


def judged_columns(
    events: pd.DataFrame, objects: pd.DataFrame | None
) -> dict[str, npt.NDArray[np.generic]]:
    """The columns that tracer.analysis.judge.Judge takes, from a recording's tables."""
    joined = _with_objects(events, objects)
    return {name: _judge_column(joined, name) for name in COLUMNS}


def _with_objects(events: pd.DataFrame, objects: pd.DataFrame | None) -> pd.DataFrame:
    missing = [name for name in _OF_OBJECT if name not in events.columns]
    if objects is None or not missing or not set(_KEY) <= set(events.columns):
        return events
    boot = [c for c in ("boot_id",) if c in events.columns and c in objects.columns]
    key, have = [*boot, *_KEY], [name for name in missing if name in objects.columns]
    latest = objects[[*key, *have]].drop_duplicates(key, keep="last")
    return events[[c for c in events.columns if c in COLUMNS or c in key]].merge(
        latest, how="left", on=key
    )


def _judge_column(frame: pd.DataFrame, name: str) -> npt.NDArray[np.generic]:
    kind = np.int64 if name in _SIGNED or name in ("op", "kind") else np.uint64
    if name in ("op", "kind") and name in frame.columns:
        return _word_numbers(frame[name], ENUMS[name])
    default = _OF_OBJECT.get(name, _WITHOUT.get(name, 0))
    if name not in frame.columns:
        return np.full(len(frame), default, kind)
    column = frame[name]
    if column.isna().any():
        column = column.astype(object).where(column.notna(), default)
    return column.to_numpy(kind)


def _word_numbers(column: "pd.Series[str]", enum: type[IntEnum]) -> npt.NDArray[np.generic]:
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
