"""Keys from columns: what a verdict can depend on, of all rows at once.

Few passes over few bytes: the parts that every decision has are made for all rows, the parts of one
operation only for its own rows, and those not even where neither a seal nor an error is in play.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from tracer.analysis.judging.cases import (
    AFTER_SHIFT,
    ALT_SHIFT,
    ANSWER_SHIFT,
    ANSWERS,
    BEYOND_SIX,
    CODES,
    KIND_SHIFT,
    NO_DECISION,
    OP_SHIFT,
    OTHER,
    SEALS_SHIFT,
    UNKNOWN_OP,
)
from tracer.analysis.judging.rowfacts import DETAILS, SIZE_DETAILS
from tracer.analysis.judging.rows import U64, Rows
from tracer.labels import ERRNOS, MAX_ERRNO
from tracer.rules import is_decision
from tracer.rules.rule import SIZE_FACTS, Fact
from tracer.words import Flag, Kind, Op, Seal

Columns = Mapping[str, npt.NDArray[Any]]

COLUMNS: tuple[str, ...] = (
    "op",  # numbers of tracer.words.Op
    "kind",  # numbers of tracer.words.Kind
    "uid",
    "seals",
    "seals_after",
    "size",
    "size_after",
    "offset",
    "length",
    "arg",
    "answer",
    "duration_ns",
    "flags",
    "writable",
    "mode",
    "fmode",
    "check_answer",
    "folio_order_max",  # of the object; 255: never announced
    "owner_uid",  # of the object; 0xffffffff: unknown
)
"""The columns that judging needs: those of a recording's events, and two of its objects."""

_DECIDES = int(Seal.SHRINK | Seal.GROW | Seal.WRITE | Seal.FUTURE_WRITE | Seal.EXEC)
"""Without one of these a success is no matter, whatever was asked."""
_ALWAYS = (Op.ADD_SEALS, Op.CREATE)
"""Operations whose success can be wrong on a file without seals."""
_RACED_SIZE = int(Flag.RACED_SIZE)
_FLAGS = 0x3F
"""Flags that are facts as they stand: the lowest six."""
_PROTECTED = int(Flag.APPEND_ONLY | Flag.IMMUTABLE)
_FMODE = int(Fact.FD_READ).bit_length() - 1


def _table(size: int, number: Callable[[int], int], shift: int) -> U64:
    return np.array([number(place) << shift for place in range(size)], np.uint64)


def _op_code(pair: int) -> int:
    op, kind = divmod(pair, len(_KINDS))
    if is_decision(op, kind if kind in set(Kind) else Kind.UNKNOWN):
        return CODES[Op(op)]
    return NO_DECISION if op in set(Op) else UNKNOWN_OP


def _answer_codes() -> list[int]:
    codes = [0, *[ANSWERS.index(OTHER)] * MAX_ERRNO, 0]
    for code, name in enumerate(ANSWERS):
        if name in ERRNOS:
            codes[ERRNOS[name]] = code
    return codes


# Looked up with clipping: the last entry stands for all that is larger, the first for the smaller.
_KINDS = _table(8, lambda number: number if number in set(Kind) else 0, KIND_SHIFT)
_OPS = _table(256 * len(_KINDS), _op_code, OP_SHIFT)
_ANSWERS = _table(MAX_ERRNO + 2, _answer_codes().__getitem__, ANSWER_SHIFT)


def keys_of(columns: Columns) -> U64:
    """One key a row (:mod:`tracer.analysis.judging.cases`). KeyError: a column is missing."""
    op, flags = columns["op"], columns["flags"]
    seals, after = _seven(columns["seals"]), _seven(columns["seals_after"])
    answer: U64 = _ANSWERS.take(np.negative(columns["answer"], dtype=np.int64), mode="clip")
    kind = np.clip(columns["kind"], 0, len(_KINDS) - 1).astype(np.uint16)
    pair = np.clip(op, 0, 255).astype(np.uint16) * np.uint16(len(_KINDS)) + kind
    keys: U64 = _OPS.take(pair)
    keys |= _KINDS.take(kind)
    keys |= answer
    keys |= np.left_shift(seals, SEALS_SHIFT, dtype=np.uint64)
    keys |= np.left_shift(after, AFTER_SHIFT, dtype=np.uint64)
    keys |= _of_any(columns)
    seals |= after
    matters = (seals & _DECIDES).astype(bool)
    matters |= answer != 0
    _add_protected(keys, op, flags)
    raced = bool((flags & _RACED_SIZE).any())
    for number, detail in DETAILS.items():
        mine = op == number
        if number not in _ALWAYS:
            mine &= matters
        places = np.flatnonzero(mine)
        if len(places):
            rows = Rows(columns, places, seals)
            keys[places] |= detail(rows)
            if raced and number in SIZE_DETAILS:
                _at_return(keys, rows, SIZE_DETAILS[number])
    return keys


def _add_protected(keys: U64, op: npt.NDArray[Any], flags: npt.NDArray[Any]) -> None:
    """Of refused calls alone, and of few of these."""
    marked = np.flatnonzero(flags & np.uint32(_PROTECTED))
    immutable = flags[marked] & np.uint32(_PROTECTED) == Flag.IMMUTABLE
    keys[marked[~((op[marked] == Op.MMAP) & immutable)]] |= np.uint64(Fact.PROTECTED)


def _at_return(keys: U64, rows: Rows, detail: Callable[[Rows, str], U64]) -> None:
    """The size facts a second time, with the size at return, where the size raced."""
    raced = rows.where(rows.get("flags", np.uint32) & np.uint32(_RACED_SIZE) != 0)
    facts = detail(raced, "size_after") & np.uint64(SIZE_FACTS)
    keys[raced.places] |= facts << np.uint64(ALT_SHIFT)


def _seven(column: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    """Six bits of seals, and a seventh where there were others."""
    seven = column.astype(np.uint8)
    if len(column) and column.max() > 0x3F:
        seven &= np.uint8(0x3F)
        seven[column > 0x3F] |= np.uint8(BEYOND_SIX)
    return seven


def _of_any(columns: Columns) -> npt.NDArray[np.uint16]:
    """The facts that any operation has: flags, open mode, check and writable mappings."""
    facts: npt.NDArray[np.uint16] = columns["flags"].astype(np.uint16)
    facts &= np.uint16(_FLAGS)
    facts |= (columns["fmode"].astype(np.uint16) & np.uint16(3)) << np.uint16(_FMODE)
    for name, holds, fact in (
        ("check_answer", np.less, Fact.CHECK_DENIED),
        ("writable", np.greater, Fact.MAPPED_WRITABLE),
    ):
        bits = holds(columns[name], 0).astype(np.uint16)
        facts |= bits << np.uint16(int(fact).bit_length() - 1)
    return facts
