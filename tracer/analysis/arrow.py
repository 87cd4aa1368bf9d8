"""Arrow columns of a recording to numpy, whatever somebody wrote into the file."""

import re
from collections.abc import Iterable, Sequence
from enum import IntEnum
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from tracer.analysis.batch import Vocabulary
from tracer.labels import SEALS_UNKNOWN
from tracer.recording.format import EVENTS, TEXT
from tracer.recording.tables import plain
from tracer.words import Flag, Hook, Kind, Op, words

Array = npt.NDArray[Any]

ENUMS: dict[str, type[IntEnum]] = {"op": Op, "kind": Kind, "hook": Hook}
_KNOWN = {
    name: {word: number for number, word in words(enum).items()} for name, enum in ENUMS.items()
}
_NUMBERED = re.compile(r"[a-z]+_([0-9]{1,3})", re.ASCII)
_UNKNOWN = {"seals": SEALS_UNKNOWN, "seals_after": SEALS_UNKNOWN, "uid": 0xFFFFFFFF, "fd": -1}
"""What stands for a number that is not there; elsewhere 0."""
_OF_RETURN = frozenset({"answer", "seals_after", "size_after", "duration_ns"})


def _as(column: pa.ChunkedArray, kind: pa.DataType) -> pa.ChunkedArray:
    """``column`` as ``kind``; what does not fit is null."""
    if column.type == kind:
        return column
    try:
        return column.cast(kind)
    except pa.ArrowException:
        return pa.chunked_array([pa.nulls(len(column), kind)])


def _joined(parts: Sequence[Array], dtype: npt.DTypeLike) -> Array:
    return parts[0] if len(parts) == 1 else np.concatenate([np.empty(0, dtype), *parts])


def numbers(column: pa.ChunkedArray, kind: pa.DataType, unknown: int) -> tuple[Array, Array | None]:
    """Integers of type ``kind``, without a copy where possible, and where they were null.

    ``unknown`` stands for null; None for the mask where nothing is.
    """
    column = _as(column, kind)
    null = None
    if column.null_count:
        null = column.is_null().to_numpy()
        column = pc.fill_null(column, pa.scalar(unknown, kind))
    # By name, as both libraries call them: to_pandas_dtype() of an older pyarrow imports pandas.
    return _joined([plain(chunk) for chunk in column.chunks], np.dtype(str(kind))), null


def _dictionaries(column: pa.ChunkedArray) -> Iterable[tuple[list[str | None], Array]]:
    """Each chunk's texts, None as the last, and the place of each row's text among them."""
    if not pa.types.is_dictionary(column.type):
        column = _as(column, pa.string()).dictionary_encode()
    for chunk in column.chunks:
        texts = _as(pa.chunked_array([chunk.dictionary]), pa.string()).to_pylist()
        places = chunk.indices
        if places.null_count:
            places = pc.fill_null(places.cast(pa.int64()), len(texts))
        yield [*texts, None], plain(places)


def _number(name: str, word: str | None) -> int:
    """``op_77`` is how the store writes a number that has no word."""
    known = _KNOWN[name].get(word or "")
    if known is not None:
        return known
    match = _NUMBERED.fullmatch(word or "")
    return min(int(match[1]), 255) if match else 0


def codes(name: str, column: pa.ChunkedArray) -> npt.NDArray[np.uint8]:
    """Words of the dictionary column ``name`` (op, kind) as numbers; 0 for what is no word."""
    parts = [
        np.array([_number(name, text) for text in texts], np.uint8)[places]
        for texts, places in _dictionaries(column)
    ]
    return _joined(parts, np.uint8)


def texts(column: pa.ChunkedArray, vocabulary: Vocabulary) -> npt.NDArray[np.int32]:
    """Texts as codes of ``vocabulary``; null is the empty text."""
    parts = [
        vocabulary.codes(text or "" for text in texts)[places]
        for texts, places in _dictionaries(column)
    ]
    return _joined(parts, np.int32)


def columns(table: pa.Table, names: Sequence[str], comms: Vocabulary) -> dict[str, Array]:
    """The columns ``names`` of an events table as a Batch has them.

    A value that is not there is unknown, and the row's ``flags`` say so: RETURN_MISSING for what
    is read at the return of an operation, else ENTRY_MISSING. Then no verdict will rest on it.
    """
    found: dict[str, Array] = {}
    missing: dict[Flag, Array] = {}
    for name in names:
        kind = EVENTS.field(name).type
        if name in table.column_names:
            column = table.column(name)
        else:
            column = pa.chunked_array([pa.nulls(table.num_rows, kind)])
        if name in ENUMS:
            found[name] = codes(name, column)
        elif kind == TEXT:
            found[name] = texts(column, comms)
        else:
            found[name], null = numbers(column, kind, _UNKNOWN.get(name, 0))
            if null is not None:
                flag = Flag.RETURN_MISSING if name in _OF_RETURN else Flag.ENTRY_MISSING
                missing[flag] = missing.get(flag, False) | null
    for flag, rows in missing.items():
        if "flags" in found:
            found["flags"] = found["flags"] | np.where(rows, np.uint32(flag), np.uint32(0))
    return found
