"""The end of a Parquet file: its schema, and where each column of each row group lies."""

import base64
import struct as bits
from dataclasses import dataclass, field

import pyarrow as pa

from tracer.store.pages import Chunk
from tracer.store.thrift import I32, I64, Struct, Value, struct

MAGIC = b"PAR1"
_INT32, _INT64, _BYTE_ARRAY = 1, 2, 6
_REQUIRED = 0
_UTF8 = 0
_UNSIGNED = {16: 12, 32: 13, 64: 14}  # ConvertedType of UINT_16 …


def physical(kind: pa.DataType) -> int:
    """Parquet's storage type of an Arrow type (integers and dictionaries of strings)."""
    if pa.types.is_dictionary(kind):
        return _BYTE_ARRAY
    return _INT64 if kind.bit_width == 64 else _INT32


def _element(column: pa.Field) -> Struct:
    kind = column.type
    element: Struct = {1: I32(physical(kind)), 3: I32(_REQUIRED), 4: column.name}
    if pa.types.is_dictionary(kind):
        element[6] = I32(_UTF8)
    elif pa.types.is_unsigned_integer(kind):
        element[6] = I32(_UNSIGNED[kind.bit_width])
    return element


@dataclass
class FileShape:
    """Collects what the footer has to say."""

    schema: pa.Schema
    rows: int = 0
    _groups: list[Value] = field(default_factory=list)

    def add_group(
        self, rows: int, at: int, chunks: list[Chunk], ranges: dict[str, tuple[int, int]]
    ) -> None:
        """A row group whose chunks lie one behind the other from byte ``at``.

        ``ranges``: lowest and highest value of 64-bit columns where a reader would skip by them.
        """
        columns: list[Value] = []
        begin = at
        for column, chunk in zip(self.schema, chunks, strict=True):
            meta: Struct = {
                1: I32(physical(column.type)),
                2: [I32(encoding) for encoding in chunk.encodings],
                3: [column.name],
                4: I32(chunk.codec),
                5: I64(rows),
                6: I64(chunk.plain_size),
                7: I64(len(chunk.data)),
                9: I64(at + chunk.dictionary_size),
            }
            if chunk.dictionary_size:
                meta[11] = I64(at)
            if column.name in ranges:
                low, high = ranges[column.name]
                meta[12] = {5: bits.pack("<q", high), 6: bits.pack("<q", low)}
            columns.append({2: I64(at), 3: meta})
            at += len(chunk.data)
        self._groups.append({1: columns, 2: I64(at - begin), 3: I64(rows)})
        self.rows += rows

    def footer(self) -> bytes:
        """Everything behind the last row group."""
        root: Struct = {4: "schema", 5: I32(len(self.schema))}
        arrow = base64.b64encode(self.schema.serialize().to_pybytes())
        meta = struct(
            {
                1: I32(2),
                2: [root, *(_element(column) for column in self.schema)],
                3: I64(self.rows),
                4: self._groups,
                5: [{1: "ARROW:schema", 2: arrow}],
                6: "sealsnoop",
                7: [{1: {}} for _ in self.schema],  # values compare as their type says
            }
        )
        return meta + bits.pack("<I", len(meta)) + MAGIC
