"""Arrow arrays from numpy and Python values, by their buffers.

``pa.array`` would do all this, but it imports pandas to ask whether it was given a Series: a fifth
of a second and 30 MB, in the middle of a capture.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

_ARROW = {
    "i1": pa.int8(),
    "i2": pa.int16(),
    "i4": pa.int32(),
    "i8": pa.int64(),
    "u1": pa.uint8(),
    "u2": pa.uint16(),
    "u4": pa.uint32(),
    "u8": pa.uint64(),
}


def _bits(values: npt.NDArray[np.bool_]) -> pa.Buffer:
    return pa.py_buffer(np.packbits(values, bitorder="little"))


def integers(
    values: npt.NDArray[np.generic], null: npt.NDArray[np.bool_] | None = None
) -> pa.Array:
    """Integers, without a copy where they are contiguous; ``null`` marks those that are not."""
    values = np.ascontiguousarray(values)
    valid = None if null is None else _bits(~null)
    kind = _ARROW[values.dtype.str[1:]]
    return pa.Array.from_buffers(kind, len(values), [valid, pa.py_buffer(values)])


def booleans(values: npt.NDArray[np.bool_]) -> pa.Array:
    """Truth values."""
    return pa.Array.from_buffers(pa.bool_(), len(values), [None, _bits(values)])


def binaries(values: Sequence[bytes | None], kind: pa.DataType | None = None) -> pa.Array:
    """Byte strings, or whatever ``kind`` has the same layout."""
    lengths = np.array([0, *(len(value or b"") for value in values)], np.int64)
    ends = np.cumsum(lengths)
    if ends[-1] > np.iinfo(np.int32).max:
        raise OverflowError("more than 2 GiB of text in one array")
    missing = np.array([value is None for value in values], bool)
    valid = _bits(~missing) if missing.any() else None
    data = pa.py_buffer(b"".join(value or b"" for value in values))
    offsets = pa.py_buffer(ends.astype(np.int32))
    return pa.Array.from_buffers(kind or pa.binary(), len(values), [valid, offsets, data])


def texts(values: Sequence[str | None]) -> pa.Array:
    """Strings."""
    return binaries([None if v is None else v.encode() for v in values], pa.string())


def coded(codes: npt.NDArray[np.signedinteger], dictionary: pa.Array) -> pa.DictionaryArray:
    """A dictionary column: entry ``codes[row]`` of ``dictionary`` in each row."""
    return pa.DictionaryArray.from_arrays(integers(codes), dictionary)


def plain(array: pa.Array) -> npt.NDArray[Any]:
    """Integers without nulls as numpy, read-only and without a copy.

    ``to_numpy`` imports pandas too. ValueError, TypeError: there are nulls, or no integers.
    """
    return np.from_dlpack(array)


def empty(schema: pa.Schema) -> pa.Table:
    """A table without rows; ``schema.empty_table()`` imports pandas as well."""
    return pa.Table.from_batches([], schema)
