"""A part: one table of one segment, a Parquet file; written in pieces and digested on the way.

A part that is read was perhaps written by somebody else. Arrow gets to see its bytes (they are read
once, see `tracer.recording.folder`) only when footer and pages are of a size that a part can have:
a page's header says how much memory it wants, and Arrow believes it, two gigabytes for a page of a
few bytes. So these headers are read here first (Thrift's compact protocol). What Arrow made of
them is given on only when types, nulls, dictionaries and texts are those of the schema.
"""

import hashlib
import os
import re
import struct
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tracer.escape import escape_bytes, printable, unescape
from tracer.record import EVENT, FRAME, NAME, TASK
from tracer.recording import folder as disk
from tracer.recording.chain import PartInfo, part_name
from tracer.recording.errors import Damaged
from tracer.recording.folder import Folder
from tracer.recording.format import (
    DICTIONARY,
    FOOTER_BYTES,
    MOST_COLUMNS,
    PAGES,
    ROW_GROUPS,
    SEGMENT_ROWS,
    TABLES,
    UNPACKED_BYTES,
    WORD,
    WORDS,
    Limits,
)
from tracer.recording.tables import plain

_AT_ONCE = 1 << 18  # bytes; pages and their headers come one by one


class Sink:
    """A new file under a temporary name. Also what Arrow's writer takes for a file."""

    def __init__(self, where: Folder, name: str) -> None:
        self.digest = hashlib.sha256()
        self.closed = False  # Arrow looks at it
        self._where = where
        self._name = name
        self._temporary = f".{name}.tmp"
        self._fd = where.create(self._temporary)
        self.size = 0
        """Bytes in the file."""
        self._small: list[bytes] = []
        self._waiting = 0

    def write(self, data: bytes) -> int:
        """Takes bytes; they are written when there are enough of them."""
        self._small.append(data)
        self._waiting += len(data)
        if self._waiting >= _AT_ONCE:
            self.push()
        return len(data)

    def push(self) -> None:
        """Writes what was taken."""
        data = b"".join(self._small)
        self._small.clear()
        self._waiting = 0
        if self._fd < 0:  # the writer of a discarded part wants to end its file
            return
        self.digest.update(data)
        self.size += disk.write_all(self._fd, data)

    def tell(self) -> int:
        """Bytes so far."""
        return self.size + self._waiting

    def flush(self) -> None:
        """For Arrow; nothing to do before the end."""

    def close(self) -> None:
        """For Arrow; the file stays open for :meth:`publish`."""
        self.closed = True

    def publish(self) -> None:
        """Waits until the file is on the device and gives it its name."""
        disk.sync(self._fd)
        os.close(self._fd)
        self._fd = -1
        self._where.rename(self._temporary, self._name)

    def discard(self) -> None:
        """Takes the unfinished file away, which may make room for others."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
        self._where.unlink(self._temporary, missing_ok=True)


_PLAIN = {"answer"}
"""Addresses, counts and errors mixed: compression takes longer than it saves."""


def _options(name: str) -> dict[str, Any]:
    """How table ``name`` is written; only of events are there so many that it matters.

    Words and comms have their dictionary already, so nothing is hashed and their codes need no
    compression. Of a number, the bytes of one weight side by side (BYTE_STREAM_SPLIT) are mostly
    runs, which LZ4 takes at memory speed; a hash dictionary costs twice as much a value.
    Statistics only where a reader would skip by them. Measured: tests/bench/ring.
    """
    if name != "events":
        return {"compression": "zstd"}
    schema = TABLES[name]
    words = [field.name for field in schema if not pa.types.is_integer(field.type)]
    numbers = [field.name for field in schema if pa.types.is_integer(field.type)]
    split = [number for number in numbers if number not in _PLAIN]
    return {
        "use_dictionary": words,
        "column_encoding": dict.fromkeys(split, "BYTE_STREAM_SPLIT")
        | dict.fromkeys(_PLAIN, "PLAIN"),
        "compression": dict.fromkeys([*words, *_PLAIN], "none") | dict.fromkeys(split, "lz4"),
        "write_statistics": ["time_ns"],
        # At once what is gathered at once: by 1024 rows, the default, takes 4 % longer.
        "write_batch_size": Limits.group_rows,
        # BYTE_STREAM_SPLIT of integers is of the format's version 2.11; readers tell it by page.
        "version": "2.6",
    }


class Part:
    """A part that is being written under a temporary name in the folder of its table."""

    def __init__(self, where: Folder, table: str, number: int) -> None:
        self.path = f"{table}/{part_name(number)}"
        self.sink = Sink(where, part_name(number))
        self._rows = 0
        self._writer = pq.ParquetWriter(self.sink, TABLES[table], **_options(table))

    def add(self, table: pa.Table) -> None:
        """Appends a row group."""
        self._writer.write_table(table)
        self._rows += table.num_rows

    def finish(self) -> PartInfo:
        """Writes the end of the file; nothing can be added then."""
        self._writer.close()
        self.sink.push()
        return PartInfo(self.sink.digest.hexdigest(), self.sink.tell(), self._rows)


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


_ERRORS = (pa.ArrowException, OSError, ValueError, KeyError, TypeError, OverflowError)
"""What Arrow raises for a file that is none of ours: its own and, by the same calls, Python's."""
_WORD = re.compile(r"[a-z0-9_]{1,40}")
_NAME_PARTS = 2
"""bpf/objects.h, NAME_PARTS: a memfd_create that was refused has the name that was requested, which
may be longer than any file's."""
_NAME_MAX = 4 * _NAME_PARTS * NAME["text"].itemsize
"""Characters of an escaped name: each byte of it is at most four."""
_BUILD_ID = re.compile(r"[0-9a-f]{0,64}")
_COMM_MAX = 4 * EVENT["comm"].itemsize


class PartFile:
    """The rows of one part."""

    def __init__(self, data: bytes, path: str) -> None:
        """``path``: as the chain names it, ``TABLE/NNNNNN.parquet``. Damaged."""
        self.path = path
        self._schema = TABLES[path.partition("/")[0]]
        texts = [field.name for field in self._schema if not _is_number(field.type)]
        try:
            check_footer(data)
            # First as it stands: columns that it lacks cannot be read as dictionaries.
            self._metadata = _opened(data).metadata
            self.groups = self._groups()
            """Rows of each row group."""
            places = self._places()
            check_pages(data, self._metadata, places)
            self._parquet = _opened(data, read_dictionary=texts, metadata=self._metadata)
            self._check_types()
        except _ERRORS as error:
            raise self._damaged(error) from None

    def _damaged(self, error: Exception) -> Damaged:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        return Damaged(f"{self.path} cannot be read: {printable(reason[:200]).rstrip('.')}.")

    def _groups(self) -> list[int]:
        metadata = self._metadata
        if metadata.num_row_groups > ROW_GROUPS:
            raise ValueError(f"it has {metadata.num_row_groups} row groups")
        rows = [metadata.row_group(number).num_rows for number in range(metadata.num_row_groups)]
        if min(rows, default=0) < 0 or sum(rows) != metadata.num_rows:
            raise ValueError("its row groups have other rows than it says")
        if sum(rows) > SEGMENT_ROWS:
            raise ValueError(f"it has {sum(rows)} rows")
        return rows

    def _places(self) -> list[int]:
        """Where the columns of our schema are, each of which must be there once."""
        if self._metadata.num_columns > MOST_COLUMNS:
            raise ValueError(f"it has {self._metadata.num_columns} columns")
        there = [self._metadata.schema.column(n) for n in range(self._metadata.num_columns)]
        paths = [column.path for column in there]
        places = []
        for name in self._schema.names:
            if paths.count(name) != 1:
                raise ValueError(f"column {name!r} is not there just once")
            column = there[paths.index(name)]
            if column.max_repetition_level or column.max_definition_level > 1:
                raise ValueError(f"column {name!r} is nested")
            places.append(paths.index(name))
        return places

    def _check_types(self) -> None:
        arrow = self._parquet.schema_arrow
        for field in self._schema:
            found = arrow.field(field.name).type
            wanted = field.type if _is_number(field.type) else _values(field.type)
            if not _is_number(field.type):
                found = _values(found)
            if found != wanted:
                raise ValueError(f"column {field.name!r} is {found}, not {wanted}")

    def read(self, groups: Sequence[int], columns: Sequence[str]) -> pa.Table:
        """Some row groups, their columns of the schema's types. Damaged."""
        try:
            table = self._parquet.read_row_groups(list(groups), list(columns), use_threads=False)
            if table.num_rows != sum(self.groups[number] for number in groups):
                raise ValueError("a row group has other rows than it says")
            fields = [self._schema.field(name) for name in columns]
            arrays = [_fitted(table.column(field.name), field) for field in fields]
        except _ERRORS as error:
            raise self._damaged(error) from None
        return pa.Table.from_arrays(arrays, schema=pa.schema(fields))


def _opened(data: bytes, **options: Any) -> pq.ParquetFile:
    return pq.ParquetFile(
        pa.BufferReader(data),
        pre_buffer=False,
        thrift_string_size_limit=FOOTER_BYTES,
        thrift_container_size_limit=FOOTER_BYTES,
        **options,
    )


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_boolean(kind))


def _values(kind: pa.DataType) -> pa.DataType:
    return kind.value_type if pa.types.is_dictionary(kind) else kind


def _fitted(column: pa.ChunkedArray, field: pa.Field) -> pa.ChunkedArray:
    """The column as the schema has it. ValueError: something in it is not as it should be."""
    if column.null_count and not field.nullable:
        raise ValueError(f"column {field.name!r} has nulls")
    if _is_number(field.type):
        return column
    room = UNPACKED_BYTES
    chunks = []
    for chunk in column.chunks:
        chunk.validate(full=True)
        room -= _check_texts(chunk, field)
        if room < 0:
            raise ValueError(f"the texts of column {field.name!r} are too long together")
        if pa.types.is_dictionary(field.type):
            codes = chunk.indices.cast(field.type.index_type)
            chunks.append(pa.DictionaryArray.from_arrays(codes, chunk.dictionary))
        else:
            chunks.append(chunk.dictionary_decode())
    return pa.chunked_array(chunks, field.type)


def _check_texts(chunk: pa.DictionaryArray, field: pa.Field) -> int:
    """Checks each entry of the dictionary; how long all rows are together. ValueError."""
    entries = chunk.dictionary.to_pylist()
    if field.type == WORD and len(entries) > WORDS:
        raise ValueError(f"column {field.name!r} has {len(entries)} words")
    check = _CHECKS.get(field.name, _check_word)
    for entry in entries:
        if not check(entry):
            raise ValueError(f"column {field.name!r} has {_shown(entry)}")
    if pa.types.is_dictionary(field.type) or not entries:
        return 0
    lengths = np.array([len(entry) for entry in entries], np.int64)
    codes = plain(chunk.indices.drop_null() if chunk.null_count else chunk.indices)
    return int(np.take(lengths, codes).sum())


def _shown(entry: str | bytes) -> str:
    return f"{entry[:40]!r}" + ("..." if len(entry) > 40 else "")


def _check_word(text: str) -> bool:
    return _WORD.fullmatch(text) is not None


def _escaped(most: int) -> Callable[[str], bool]:
    def check(text: str) -> bool:
        if len(text) > most:
            return False
        if text.isascii() and text.isprintable() and "\\" not in text:
            return True
        with suppress(ValueError):
            return escape_bytes(unescape(text)) == text
        return False

    return check


_CHECKS: dict[str, Callable[..., bool]] = {
    "comm": _escaped(_COMM_MAX),
    "name": _escaped(_NAME_MAX),
    "build_id": lambda text: _BUILD_ID.fullmatch(text) is not None,
    "text": lambda piece: len(piece) <= NAME["text"].itemsize,
    "function": lambda name: len(name) <= FRAME["name"].itemsize,
    "exe": lambda piece: len(piece) <= TASK["text"].itemsize,
    "cmdline": lambda piece: len(piece) <= TASK["text"].itemsize,
}
"""What is no word: texts of traced processes, digits, and the raw pieces of names."""
