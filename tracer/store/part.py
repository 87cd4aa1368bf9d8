"""One Parquet file of a segment: written in pieces, digested on the way, renamed at the end."""

import hashlib
import os

import pyarrow as pa
import pyarrow.parquet as pq

from tracer.store import folder as disk
from tracer.store.chain import PartInfo, part_name
from tracer.store.folder import Folder
from tracer.store.schema import TABLES

_VERSION = "2.6"
_AT_ONCE = 1 << 18  # bytes
_RAW = {"answer"}
"""Addresses, counts and errors mixed: compression takes longer than it saves."""


class _Sink:
    """The file as Arrow sees it: bytes go to the disk and into the digest."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self.size = 0
        self.digest = hashlib.sha256()
        self.closed = False
        self._small: list[bytes] = []  # Arrow writes each page and its header by itself
        self._waiting = 0

    def write(self, data: bytes) -> int:
        self._small.append(data)
        self._waiting += len(data)
        if self._waiting >= _AT_ONCE:
            self.push()
        return len(data)

    def push(self) -> None:
        """Hands over what was gathered."""
        data = b"".join(self._small)
        self._small.clear()
        self._waiting = 0
        if self.fd < 0:  # the writer of a discarded part wants to end its file
            return
        self.digest.update(data)
        self.size += disk.write_all(self.fd, data)

    def tell(self) -> int:
        return self.size + self._waiting

    def flush(self) -> None:
        pass

    def close(self) -> None:
        self.closed = True


def encoding_options(name: str) -> dict[str, object]:
    """How the columns of table ``name`` are written (measured: tests/bench/ring.py).

    Words and comms have their dictionary already, so nothing is hashed and their codes need no
    compression. Of a number, the bytes of one weight side by side (BYTE_STREAM_SPLIT) are mostly
    runs, which LZ4 takes at memory speed; a hash dictionary costs twice as much per value.
    Statistics only where a reader would skip by them.
    """
    words = [f.name for f in TABLES[name] if not pa.types.is_integer(f.type)]
    numbers = [f.name for f in TABLES[name] if pa.types.is_integer(f.type)]
    raw = [name for name in numbers if name in _RAW]
    numbers = [name for name in numbers if name not in _RAW]
    return {
        "use_dictionary": words,
        "column_encoding": dict.fromkeys(numbers, "BYTE_STREAM_SPLIT")
        | dict.fromkeys(raw, "PLAIN"),
        "compression": dict.fromkeys([*words, *raw], "none") | dict.fromkeys(numbers, "lz4"),
        "write_statistics": ["time_ns"],
        "version": _VERSION,
    }


class Part:
    """A part that is being written under a temporary name in the folder of its table."""

    def __init__(self, where: Folder, table: str, number: int) -> None:
        self.path = f"{table}/{part_name(number)}"
        self._where = where
        self._name = part_name(number)
        self._temporary = f".{self._name}.tmp"
        self._rows = 0
        self._sink = _Sink(where.create(self._temporary))
        self._writer = pq.ParquetWriter(self._sink, TABLES[table], **encoding_options(table))

    def add(self, table: pa.Table) -> None:
        """Appends a row group."""
        self._writer.write_table(table)
        self._rows += table.num_rows

    def finish(self) -> PartInfo:
        """Writes the end of the file; nothing can be added then."""
        self._writer.close()
        self._sink.push()
        return PartInfo(self._sink.digest.hexdigest(), self._sink.size, self._rows)

    def publish(self) -> None:
        """Waits until the file is on the device and gives it its name."""
        disk.sync(self._sink.fd)
        os.close(self._sink.fd)
        self._sink.fd = -1
        self._where.rename(self._temporary, self._name)

    def discard(self) -> None:
        """Takes the unfinished file away, which may make room for others."""
        if self._sink.fd >= 0:
            os.close(self._sink.fd)
            self._sink.fd = -1
        self._where.unlink(self._temporary, missing_ok=True)
