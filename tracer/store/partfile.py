"""A part that somebody wrote, as rows of one of our tables: whatever does not fit is said.

Of the bytes of one file, which are in memory: see `tracer.store.gate`. Arrow gets to see them only
when their footer and pages are of a size that a part can have, and nobody gets to see what Arrow
made of them before types, nulls, dictionaries and texts are those of the schema.
"""

import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tracer.model.escape import escape_bytes, printable, unescape
from tracer.model.record import EVENT, NAME
from tracer.store.arrays import plain
from tracer.store.errors import Damaged
from tracer.store.limits import (
    COLUMNS,
    FOOTER_BYTES,
    ROW_GROUPS,
    SEGMENT_ROWS,
    UNPACKED_BYTES,
    WORDS,
)
from tracer.store.pages import check_footer, check_pages
from tracer.store.schema import TABLES, WORD

_ERRORS = (pa.ArrowException, OSError, ValueError, KeyError, TypeError, OverflowError)
"""What Arrow raises for a file that is none of ours: its own and, by the same calls, Python's."""
_WORD = re.compile(r"[a-z0-9_]{1,40}")
_NAME_MAX = 4 * 255
"""Characters of an escaped name: each byte of it is at most four."""
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
            # First as it stands: columns that it has not cannot be asked for as dictionaries.
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
        if self._metadata.num_columns > COLUMNS:
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
    "text": lambda piece: len(piece) <= NAME["text"].itemsize,
}
"""What is no word: texts of traced processes, and the raw pieces of names."""
