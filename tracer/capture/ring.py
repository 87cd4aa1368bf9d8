"""The BPF ring buffer, read as one array: every record has the same size.

Layout of a mapped ring (kernel/bpf/ringbuf.c, Documentation/bpf/ringbuf.rst): a writable page
with the consumer position, a page with the producer position, then the data area twice in a row,
so that what wraps around is still contiguous. Each record has a header of 8 bytes, whose first
word is its length with bit 31 while it is being written and bit 30 if it was discarded.
"""

import mmap
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from tracer.record import HEAD, RECORD_SIZE

HEADER_SIZE = 8
BUSY = np.uint32(1 << 31)
DISCARDED = np.uint32(1 << 30)
STRIDE = HEADER_SIZE + RECORD_SIZE
"""Bytes from record to record: lengths are rounded up to 8, and RECORD_SIZE is a multiple of 8."""
BATCH = 1 << 13
"""Records of one poll at most: few enough to stay in the processor's cache until they are encoded,
and the kernel has their space back before the next ones are looked at (tests/bench/ring)."""


def _framed(record: np.dtype[np.void]) -> np.dtype[np.void]:
    """A record with its header before it."""
    return np.dtype(
        {
            "names": ["length", "record"],
            "formats": ["<u4", record],
            "offsets": [0, HEADER_SIZE],
            "itemsize": HEADER_SIZE + record.itemsize,
        }
    )


Records = NDArray[np.void]


class Source(Protocol):
    """Where batches of records come from: the kernel's ring, or a fake in a test."""

    def poll(self) -> Records:
        """Some whole records that are ready, as HEAD; a view that is valid until `release`."""
        ...

    def release(self) -> None:
        """Gives the space of the last batch back."""
        ...

    @property
    def fill(self) -> float:
        """From 0, nothing is left (not even a record that is still being written), to 1."""
        ...


class RingReader:
    """Reads a ring through its three areas.

    ``consumer`` is a writable buffer with the consumer position at its start, ``producer`` one
    with the producer position, ``data`` the data area mapped twice in a row.
    """

    def __init__(
        self,
        consumer: memoryview | mmap.mmap,
        producer: memoryview,
        data: memoryview,
        record: np.dtype[np.void] = HEAD,
    ) -> None:
        self._consumer = np.frombuffer(consumer, "<u8", 1)
        self._producer = np.frombuffer(producer, "<u8", 1)
        self._data = np.frombuffer(data, "u1")
        self._size = len(data) // 2
        self._taken = 0
        self._frame = _framed(record)

    def poll(self, most: int | None = None) -> Records:
        start = int(self._consumer[0])
        # A position is only moved after what lies before it is reserved, so
        # what lies between the two is whole frames, the last of them perhaps
        # still being written.
        stride = self._frame.itemsize
        count = min((int(self._producer[0]) - start) // stride, most or BATCH)
        offset = start % self._size
        frames = self._data[offset : offset + count * stride].view(self._frame)
        if (frames["length"] != stride - HEADER_SIZE).any():
            return self._ready(frames)
        self._taken = len(frames) * stride
        return frames["record"]

    def _ready(self, frames: Records) -> Records:
        """Of frames that are not all good ones: those before the first busy one, not discarded."""
        lengths = frames["length"].copy()  # the kernel goes on changing them
        busy = (lengths & BUSY) != 0
        count = int(busy.argmax()) if busy.any() else len(frames)
        self._taken = count * self._frame.itemsize
        ready: Records = frames["record"][:count]
        kept: Records = ready[(lengths[:count] & DISCARDED) == 0]
        return kept

    def release(self) -> None:
        self._consumer[0] += np.uint64(self._taken)
        self._taken = 0

    @property
    def fill(self) -> float:
        """How full the ring is, from 0 to 1."""
        return (int(self._producer[0]) - int(self._consumer[0])) / self._size


def map_ring(fd: int, size: int, record: np.dtype[np.void] = HEAD) -> RingReader:
    """Maps the ring buffer map behind ``fd``, whose data area has ``size`` bytes.

    ``record``: what all of its records are, of a size that is a multiple of 8.

    Raises OSError if the kernel does not let it be mapped.
    """
    page = mmap.PAGESIZE
    consumer = mmap.mmap(fd, page, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE)
    rest = mmap.mmap(fd, page + 2 * size, mmap.MAP_SHARED, mmap.PROT_READ, offset=page)
    view = memoryview(rest)
    return RingReader(consumer, view[:page], view[page:], record)
