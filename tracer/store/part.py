"""One Parquet file of a segment: written by Arrow in pieces, digested on the way."""

from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tracer.store.chain import PartInfo, part_name
from tracer.store.folder import Folder
from tracer.store.limits import Limits
from tracer.store.schema import TABLES
from tracer.store.sink import Sink

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
