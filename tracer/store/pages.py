"""Parquet column chunks whose dictionary and codes are there already.

Arrow's writer would look up every value again and pack codes one by one; here a column of few
values costs a table look-up in C and a few shifts. The format: dictionary page with the values
plain, then one data page of codes in one bit-packed run (or one repeated run for a single value).
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tracer.store.thrift import I32, Struct, struct, varint

PLAIN, RLE, DELTA, RLE_DICTIONARY = 0, 3, 5, 8
_DATA_PAGE, _DICTIONARY_PAGE = 0, 2

U8 = npt.NDArray[np.uint8]


@dataclass
class Chunk:
    """A column's part of a row group."""

    data: bytes
    dictionary_size: int
    """Bytes of the dictionary page, header included; 0: there is none."""
    plain_size: int
    """Bytes before compression."""
    codec: int
    encodings: list[int]


def pack(codes: U8, width: int) -> bytes:
    """Codes in ``width`` (1, 2, 4 or 8) bits each, lowest bits first, filled up to 8 codes."""
    if len(codes) % 8:
        codes = np.concatenate([codes, np.zeros(-len(codes) % 8, np.uint8)])
    if width == 1:
        return np.packbits(codes, bitorder="little").tobytes()
    if width == 2:
        four: npt.NDArray[np.uint32] = codes.view("<u4")
        codes = (four | four >> 6 | four >> 12 | four >> 18).astype(np.uint8)
    if width == 4:
        two: npt.NDArray[np.uint16] = codes.view("<u2")
        codes = (two | two >> 4).astype(np.uint8)
    return codes.tobytes()


def _width(count: int) -> int:
    return next(width for width in (1, 2, 4, 8) if count <= 1 << width)


def _page(kind: int, body: bytes, more: Struct) -> bytes:
    size = I32(len(body))
    return struct({1: I32(kind), 2: size, 3: size, **more}) + body


def data_page(body: bytes, rows: int, encoding: int) -> bytes:
    """A page of ``rows`` values, none of them null."""
    head: Struct = {5: {1: I32(rows), 2: I32(encoding), 3: I32(RLE), 4: I32(RLE)}}
    return _page(_DATA_PAGE, body, head)


def dictionary_chunk(values: bytes, count: int, codes: U8, rows: int) -> Chunk:
    """A column with ``count`` (up to 256) different plain ``values`` and a code for each row.

    With one value the codes are not looked at.
    """
    head: Struct = {7: {1: I32(count), 2: I32(PLAIN)}}
    dictionary = _page(_DICTIONARY_PAGE, values, head)
    if count == 1:
        runs = b"\1" + varint(rows << 1) + b"\0"  # width 1; code 0, `rows` times
    else:
        width = _width(count)
        runs = bytes([width]) + varint(-(-rows // 8) << 1 | 1) + pack(codes, width)
    data = dictionary + data_page(runs, rows, RLE_DICTIONARY)
    return Chunk(data, len(dictionary), len(data), 0, [PLAIN, RLE, RLE_DICTIONARY])


def recode(codes: U8, new: U8) -> U8:
    """``new[codes]``, faster: ``new`` has an entry for each code that occurs."""
    table = new.tobytes().ljust(256, b"\0")
    return np.frombuffer(codes.tobytes().translate(table), np.uint8)
