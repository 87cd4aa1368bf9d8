"""The tail: raw records that are in no finished segment yet, as an Arrow IPC stream.

One column of fixed-size bytes, so that a batch is one memory copy to write and none to read. A
stream that was cut anywhere gives all whole batches; the end mark is there only where the tail
holds everything of its segment.
"""

import os

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tracer.model.record import HEAD, RECORD_SIZE
from tracer.store import folder as disk
from tracer.store.folder import Folder
from tracer.store.schema import TAIL

TAIL_FOLDER = "tail"
_END = b"\xff\xff\xff\xff\0\0\0\0"
_AT_ONCE = 32 << 20  # bytes read at a time; a batch is at most one buffer of the writer

Records = npt.NDArray[np.void]


def tail_name(number: int) -> str:
    """File name of segment ``number``'s tail."""
    return f"{number:06d}.arrow"


class TailWriter:
    """The tail of one segment. The file begins with its first batch."""

    def __init__(self, where: Folder, number: int) -> None:
        self.begun = False
        self.rows = 0
        self.size = 0
        """Bytes."""
        self._where = where
        self.name = tail_name(number)
        self._fd = -1

    def append(self, records: Records) -> None:
        """Hands ``records`` (HEAD, contiguous) to the system."""
        if not len(records):
            return
        raw = pa.py_buffer(records.view(f"V{RECORD_SIZE}").view("u1"))
        column = pa.Array.from_buffers(pa.binary(RECORD_SIZE), len(records), [None, raw])
        message = pa.record_batch([column], schema=TAIL).serialize()
        if not self.begun:
            self._fd = self._where.create(self.name)
            self.begun = True
            self.size += disk.write_all(self._fd, memoryview(TAIL.serialize()))
        self.size += disk.write_all(self._fd, memoryview(message))
        self.rows += len(records)

    def complete(self) -> None:
        """Says that the tail holds every record of its segment."""
        if self.begun:
            self.size += disk.write_all(self._fd, _END)

    def close(self) -> None:
        """Closes the file; a second call does nothing."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


class TailReader:
    """Reads a tail that may still grow; keeps the file open, so it may be unlinked meanwhile."""

    def __init__(self, where: Folder, number: int) -> None:
        self.fd = where.open_file(tail_name(number))
        self.complete = False
        """The end mark was read: the tail holds everything of its segment."""
        self.damaged = False
        """What is there is no tail of ours from some place on."""
        self._offset = 0
        self._schema_read = False

    @property
    def unread(self) -> int:
        """Bytes behind the last whole batch (of one that is being written, or was cut off)."""
        return 0 if self.complete else max(0, os.fstat(self.fd).st_size - self._offset)

    def read(self) -> list[Records]:
        """The whole batches that have come since the last call, as HEAD arrays."""
        batches: list[Records] = []
        while not (self.complete or self.damaged):
            before = self._offset
            batches += self._read_some()
            if self._offset == before:
                break
        return batches

    def _read_some(self) -> list[Records]:
        data = os.pread(self.fd, _AT_ONCE, self._offset)
        source = pa.BufferReader(data)
        batches: list[Records] = []
        place = 0
        while place < len(data) and not self.complete:
            try:
                message = pa.ipc.read_message(source)
            except EOFError:
                # Arrow takes zeros for an end too: they stand where data of a file got lost.
                if not data.startswith(_END, place):
                    break
                self.complete = True
            except (pa.ArrowInvalid, OSError):
                # Cut off, or more than we read at once (then the next call begins here).
                self.damaged = place == 0 and len(data) == _AT_ONCE
                break
            else:
                batch = self._batch(message)
                if self.damaged:
                    break
                if batch is not None:
                    batches.append(batch)
            place = source.tell()
        self._offset += place
        return batches

    def _batch(self, message: pa.Message) -> Records | None:
        try:
            if not self._schema_read:
                self.damaged = not pa.ipc.read_schema(message).equals(TAIL)
                self._schema_read = True
                return None
            batch = pa.ipc.read_record_batch(message, TAIL)
            # ValueError where it has fewer bytes than it says to have rows.
            return np.frombuffer(batch.column(0).buffers()[1], HEAD, len(batch))
        except (pa.ArrowException, OSError, ValueError, TypeError):
            self.damaged = True
            return None

    def close(self) -> None:
        """Closes the file; a second call does nothing."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1
