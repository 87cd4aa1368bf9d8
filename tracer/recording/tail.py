"""The tail: raw records that are in no finished segment yet, in blocks with a checksum each.

A block is a head of 32 bytes and the records as they are in the ring buffer, of all types, in the
order of arrival. Its head says where in which tail it stands, so that a file that was cut anywhere,
or of which the power took some bytes, gives exactly what stood before. A head without records is
the end mark: there only where the tail holds everything of its segment.

Each CPU counts its records from 0, so what is missing can be named: :class:`Sequences`.
"""

import os
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tracer.record import HEAD, RECORD_SIZE
from tracer.recording import folder as disk
from tracer.recording.chain import TAIL_FOLDER, PartInfo, info, tail_name, wrong
from tracer.recording.errors import Damaged
from tracer.recording.folder import Folder
from tracer.recording.format import BLOCK_ROWS, SEGMENT_ROWS, TAIL_BYTES

Counts = dict[int, tuple[int, int, int]]


def count_by_cpu(cpus: npt.NDArray[np.uint16], seqs: npt.NDArray[np.uint64], into: Counts) -> None:
    """Adds to ``into[cpu]``: lowest and highest sequence number, and how many records."""
    if not len(cpus):
        return
    index = cpus.astype(np.intp)
    counts = np.bincount(index)
    low = np.full(len(counts), 2**64 - 1, np.uint64)
    high = np.zeros(len(counts), np.uint64)
    np.minimum.at(low, index, seqs)
    np.maximum.at(high, index, seqs)
    for cpu in np.flatnonzero(counts).tolist():
        first, last, count = into.get(cpu, (2**64, -1, 0))
        into[cpu] = (
            min(first, int(low[cpu])),
            max(last, int(high[cpu])),
            count + int(counts[cpu]),
        )


class Hole(NamedTuple):
    """Sequence numbers ``first`` … ``last`` of ``cpu`` that are nowhere in the recording."""

    cpu: int
    first: int
    last: int

    @property
    def size(self) -> int:
        """How many numbers."""
        return self.last - self.first + 1


class Sequences:
    """Collects sequence numbers in any order, in memory that grows only with the holes."""

    def __init__(self) -> None:
        self._runs = [np.empty((0, 3), np.uint64)]
        """Rows of CPU, first and last number, without a hole between."""
        self.repeated = 0
        """Records whose sequence number was there before; known after :meth:`holes`."""

    def add(self, cpus: npt.NDArray[np.uint16], seqs: npt.NDArray[np.uint64]) -> None:
        """Takes the numbers of some records."""
        if not len(cpus):
            return
        order = np.lexsort((seqs, cpus))
        cpus, seqs = cpus[order], seqs[order]
        same = cpus[1:] == cpus[:-1]
        steps = np.diff(seqs)
        self.repeated += int(np.count_nonzero(same & (steps == 0)))
        breaks = np.flatnonzero(~same | (steps > 1))
        starts, ends = np.append(0, breaks + 1), np.append(breaks, len(seqs) - 1)
        self._runs.append(np.stack([cpus[starts], seqs[starts], seqs[ends]], axis=1))

    def _sorted(self) -> list[list[int]]:
        runs = np.concatenate(self._runs)
        found: list[list[int]] = runs[np.lexsort((runs[:, 1], runs[:, 0]))].tolist()
        return found

    def highest(self) -> dict[int, int]:
        """The highest number of each CPU."""
        found: dict[int, int] = {}
        for cpu, _, last in self._sorted():
            found[cpu] = max(last, found.get(cpu, 0))
        return found

    def holes(self, final: dict[int, int]) -> list[Hole]:
        """What is missing; ``final``: how many numbers each CPU gave out, as far as is known."""
        holes: list[Hole] = []
        expected: dict[int, int] = {}
        for cpu, first, last in self._sorted():
            next_ = expected.get(cpu, 0)
            if first > next_:
                holes.append(Hole(cpu, next_, first - 1))
            elif first < next_:
                self.repeated += min(next_ - 1, last) - first + 1
            expected[cpu] = max(next_, last + 1)
        ends = ((cpu, expected.get(cpu, 0), count) for cpu, count in final.items())
        holes += [Hole(cpu, next_, count - 1) for cpu, next_, count in ends if count > next_]
        return sorted(holes)


Records = npt.NDArray[np.void]

_HEAD = struct.Struct("<4sIIIQQ")
_MAGIC = b"SEAL"


@dataclass(frozen=True)
class _Block:
    rows: int
    checksum: int
    segment: int
    first: int
    """How many records stand before it in its tail."""

    def pack(self) -> bytes:
        """The head of the block."""
        return _HEAD.pack(_MAGIC, RECORD_SIZE, self.rows, self.checksum, self.segment, self.first)


def _block(segment: int, first: int, records: bytes | memoryview, rows: int) -> _Block:
    """A block with the right checksum, which is over the head (without it) and the records."""
    seed = zlib.crc32(_Block(rows, 0, segment, first).pack())
    return _Block(rows, zlib.crc32(records, seed), segment, first)


def _unpack(data: bytes) -> _Block | None:
    magic, size, rows, checksum, segment, first = _HEAD.unpack_from(data)
    ours = magic == _MAGIC and size == RECORD_SIZE and rows <= BLOCK_ROWS
    return _Block(rows, checksum, segment, first) if ours else None


class TailWriter:
    """The tail of one segment. The file is made with its first block."""

    def __init__(self, where: Folder, number: int) -> None:
        self.started = False
        self.whole = False
        """It has every record of its segment, and says so."""
        self.rows = 0
        self.size = 0
        """Bytes."""
        self._where = where
        self._number = number
        self.name = tail_name(number)
        self._fd = -1

    def append(self, records: Records) -> None:
        """Hands ``records`` (HEAD, contiguous) to the system."""
        for start in range(0, len(records), BLOCK_ROWS):
            piece = records[start : start + BLOCK_ROWS]
            self._write(piece.view(f"V{RECORD_SIZE}").view("u1").data, len(piece))
            self.rows += len(piece)

    def _write(self, raw: bytes | memoryview, rows: int) -> None:
        if not self.started:
            self._fd = self._where.create(self.name)
            self.started = True
        self.size += disk.write_all(self._fd, _block(self._number, self.rows, raw, rows).pack())
        if rows:
            self.size += disk.write_all(self._fd, raw)

    def complete(self) -> None:
        """Says that the tail holds every record of its segment."""
        if self.started:
            self._write(b"", 0)
            self.whole = True

    def left(self) -> PartInfo:
        """What the chain's last line has to say of it; waits until it is on the device. OSError."""
        fd = self._where.open_file(self.name)
        try:
            disk.sync(fd)
        finally:
            os.close(fd)
        return info(self._where.contents(self.name, TAIL_BYTES), self.rows)

    def close(self) -> None:
        """Closes the file; a second call does nothing."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


class TailReader:
    """Reads a tail that may still grow; keeps the file open, so it may be unlinked meanwhile."""

    def __init__(self, where: Folder, number: int, named: PartInfo | None = None) -> None:
        """``named``: what the chain says of it, and so of the bytes that are read. Damaged."""
        self.complete = False
        """The end mark was read: the tail holds everything of its segment."""
        self.damaged = False
        """What comes next is no block of this tail. One that grows may still get it."""
        self.rows = 0
        self._number = number
        self._offset = 0
        self._whole: bytes | None = None
        self._fd = -1
        if named is None:
            self._fd = where.open_file(tail_name(number))
            return
        self._whole = where.contents(tail_name(number), TAIL_BYTES)
        fault = wrong(self._whole, f"{TAIL_FOLDER}/{tail_name(number)}", named)
        if fault is not None:
            raise Damaged(fault)

    @property
    def size(self) -> int:
        """Bytes of the file now."""
        if self._whole is not None:
            return len(self._whole)
        return os.fstat(self._fd).st_size if self._fd >= 0 else 0

    @property
    def unread(self) -> int:
        """Bytes behind the last whole block (of one that is being written, or was cut off)."""
        return 0 if self.complete else max(0, self.size - self._offset)

    @property
    def offset(self) -> int:
        """Bytes of the whole blocks that were read."""
        return self._offset

    def read(self) -> Iterator[Records]:
        """The whole blocks that have come since the last call, as HEAD arrays."""
        self.damaged = False
        while not self.complete and (block := self._next()) is not None:
            if len(block):
                yield block

    def _bytes(self, count: int) -> bytes:
        if self._whole is not None:
            return self._whole[self._offset : self._offset + count]
        return os.pread(self._fd, count, self._offset)

    def _next(self) -> Records | None:
        """The next block, the end mark as an empty one; None: it is not there, or not whole."""
        head = self._bytes(_HEAD.size)
        if len(head) < _HEAD.size:
            return None
        block = _unpack(head)
        if block is None:
            self.damaged = True
            return None
        length = _HEAD.size + block.rows * RECORD_SIZE
        data = self._bytes(length)
        if len(data) < length:
            return None
        raw = memoryview(data)[_HEAD.size :]
        if block != _block(self._number, self.rows, raw, block.rows) or (
            self.rows + block.rows > SEGMENT_ROWS
        ):
            self.damaged = True
            return None
        self.complete = not block.rows
        self.rows += block.rows
        self._offset += length
        return np.frombuffer(raw, HEAD, block.rows)

    def close(self) -> None:
        """Closes the file; a second call does nothing."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
