"""Looks at the pages of a Parquet file before Arrow unpacks them.

A page's header says how much memory it wants, and Arrow believes it: two gigabytes for a page of a
few bytes, a dictionary of a hundred million empty texts. Here the headers are read first (Thrift's
compact protocol) and held against what a part of a recording can have.
"""

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tracer.store.limits import DICTIONARY, FOOTER_BYTES, PAGES, UNPACKED_BYTES

if TYPE_CHECKING:
    import pyarrow.parquet as pq

_MAGIC = b"PAR1"
_HEADER_BYTES = 1 << 16
_DEPTH = 16
_DATA, _DICTIONARY, _DATA_V2 = 0, 2, 3
_INNER = {_DATA: 5, _DICTIONARY: 7, _DATA_V2: 8}
"""Page type → which field of the header tells more of it."""
_ENCODING = {_DATA: 2, _DICTIONARY: 2, _DATA_V2: 4}
_PREFIXES = 7
"""DELTA_BYTE_ARRAY: texts that repeat the one before, so that few bytes become any number."""

# Types of Thrift's compact protocol.
_STOP, _TRUE, _FALSE, _BYTE, _INTEGERS, _DOUBLE, _BINARY = 0, 1, 2, 3, (4, 5, 6), 7, 8
_LISTS, _MAP, _STRUCT = (9, 10), 11, 12

Numbers = dict[int, int]


class _Compact:
    """Reads one Thrift structure out of ``data``. ValueError: it is none, or is too long."""

    def __init__(self, data: memoryview) -> None:
        self._data = data
        self.place = 0

    def _byte(self) -> int:
        if self.place >= len(self._data):
            raise ValueError("a page header ends too early")
        self.place += 1
        return self._data[self.place - 1]

    def _varint(self) -> int:
        value = shift = 0
        while True:
            byte = self._byte()
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
            shift += 7
            if shift > 63:
                raise ValueError("a page header has an endless number")

    def _i32(self) -> int:
        value = self._varint() & 0xFFFFFFFF
        value = value >> 1 ^ -(value & 1)
        return value - (1 << 32) if value >= 1 << 31 else value

    def struct(self, deeper: frozenset[int] = frozenset()) -> tuple[Numbers, dict[int, Numbers]]:
        """Its 32-bit numbers by field; and those of the structures in the fields ``deeper``."""
        numbers: Numbers = {}
        inner: dict[int, Numbers] = {}
        field = 0
        while (head := self._byte()) & 0x0F != _STOP:
            kind = head & 0x0F
            step = head >> 4
            if step:
                field += step
            else:
                raw = self._varint()
                field = raw >> 1 ^ -(raw & 1)
            if kind == 5:
                numbers[field] = self._i32()
            elif kind == _STRUCT and field in deeper:
                inner[field] = self.struct()[0]
            else:
                self._skip(kind, 0)
        return numbers, inner

    def _skip(self, kind: int, depth: int) -> None:
        if depth > _DEPTH:
            raise ValueError("a page header is nested too deeply")
        if kind in (_TRUE, _FALSE):
            return
        if kind == _BYTE:
            self._byte()
        elif kind in _INTEGERS:
            self._varint()
        elif kind == _DOUBLE:
            self.place += 8
        elif kind == _BINARY:
            length = self._varint()
            self.place += length
        elif kind in _LISTS:
            head = self._byte()
            count = head >> 4 if head >> 4 != 15 else self._varint()
            for _ in range(count):
                self._skip_element(head & 0x0F, depth)
        elif kind == _MAP:
            if count := self._varint():
                kinds = self._byte()
                for _ in range(count):
                    self._skip_element(kinds >> 4, depth)
                    self._skip_element(kinds & 0x0F, depth)
        elif kind == _STRUCT:
            while (head := self._byte()) & 0x0F != _STOP:
                if not head >> 4:
                    self._varint()
                self._skip(head & 0x0F, depth + 1)
        else:
            raise ValueError("a page header has a field of no known type")

    def _skip_element(self, kind: int, depth: int) -> None:
        if kind in (_TRUE, _FALSE):  # inside of lists and maps a truth value takes a byte
            kind = _BYTE
        self._skip(kind, depth + 1)


@dataclass
class _Budget:
    """What is left of the limits of one part."""

    bytes: int = UNPACKED_BYTES
    pages: int = PAGES

    def take(self, size: int) -> None:
        self.bytes -= size
        self.pages -= 1
        if self.bytes < 0:
            raise ValueError(f"it unpacks to more than {UNPACKED_BYTES >> 20} MiB")
        if self.pages < 0:
            raise ValueError(f"it has more than {PAGES} pages")


def check_footer(data: bytes) -> None:
    """ValueError: no Parquet file, or one with a longer footer than a part has."""
    if len(data) < 12 or data[:4] != _MAGIC or data[-4:] != _MAGIC:
        raise ValueError("it is no Parquet file")
    (length,) = struct.unpack_from("<I", data, len(data) - 8)
    if length > min(FOOTER_BYTES, len(data) - 12):
        raise ValueError(f"its footer has {length} bytes")


def check_pages(data: bytes, metadata: "pq.FileMetaData", columns: list[int]) -> None:
    """Walks the pages of ``columns`` (by their place) in all row groups. ValueError."""
    view, budget = memoryview(data), _Budget()
    for number in range(metadata.num_row_groups):
        group = metadata.row_group(number)
        for column in columns:
            _chunk(view, group.column(column), group.num_rows, budget)


def _chunk(data: memoryview, chunk: "pq.ColumnChunkMetaData", rows: int, budget: _Budget) -> None:
    if chunk.num_values != rows:
        raise ValueError(f"column {chunk.path_in_schema!r} has {chunk.num_values} of {rows} values")
    start = chunk.data_page_offset
    if chunk.has_dictionary_page and 0 < chunk.dictionary_page_offset < start:
        start = chunk.dictionary_page_offset
    end = start + chunk.total_compressed_size
    if not 4 <= start <= end <= len(data):
        raise ValueError(f"column {chunk.path_in_schema!r} lies outside of the file")
    seen = 0
    while seen < rows:
        header = _Compact(data[start : min(end, start + _HEADER_BYTES)])
        numbers, inner = header.struct(frozenset(_INNER.values()))
        kind, unpacked, packed = (numbers.get(field, -1) for field in (1, 2, 3))
        if min(unpacked, packed) < 0 or header.place + packed > end - start:
            raise ValueError(f"a page of column {chunk.path_in_schema!r} is longer than the column")
        budget.take(unpacked)
        start += header.place + packed
        if kind not in _INNER:
            continue
        more = inner.get(_INNER[kind], {})
        values = more.get(1, -1)
        if not 0 <= values <= (DICTIONARY if kind == _DICTIONARY else rows - seen):
            raise ValueError(f"a page of column {chunk.path_in_schema!r} has {values} values")
        if more.get(_ENCODING[kind]) == _PREFIXES:
            raise ValueError(f"column {chunk.path_in_schema!r} is encoded as no recorder does")
        if kind != _DICTIONARY:
            seen += values
