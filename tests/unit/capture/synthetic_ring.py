"""A BPF ring buffer as the kernel maps it, made of a memfd: the producer is the test."""

import ctypes
import mmap
import os

import numpy as np

from tracer.capture.ring import BUSY, DISCARDED, HEADER_SIZE, STRIDE, Records, RingReader
from tracer.record import HEAD, RECORD_SIZE

SIZE = 1 << 16
_RESERVE = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
_MAP_FIXED = 0x10
_libc = ctypes.CDLL(None, use_errno=True)
_libc.mmap.restype = ctypes.c_void_p
_libc.mmap.argtypes = [
    ctypes.c_void_p,
    ctypes.c_size_t,
    ctypes.c_int,
    ctypes.c_int,
    ctypes.c_int,
    ctypes.c_long,
]


def _map(where: int | None, size: int, protection: int, flags: int, fd: int) -> int:
    address = _libc.mmap(where, size, protection, flags, fd, 0)
    if address in (None, ctypes.c_void_p(-1).value):
        raise OSError(ctypes.get_errno(), "mmap")
    return int(address)


def _twice(size: int) -> memoryview:
    """The same ``size`` bytes twice in a row, as ringbuf_map_mmap of the kernel shows them."""
    fd = os.memfd_create("ring")
    os.ftruncate(fd, size)
    start = _map(None, 2 * size, 0, _RESERVE, -1)
    for place in (start, start + size):
        both = mmap.PROT_READ | mmap.PROT_WRITE
        assert _map(place, size, both, mmap.MAP_SHARED | _MAP_FIXED, fd) == place
    os.close(fd)
    return memoryview((ctypes.c_ubyte * (2 * size)).from_address(start)).cast("B")


class SyntheticRing:
    """Does what bpf_ringbuf_reserve, _submit and _discard do to the three areas."""

    def __init__(self, start: int = 0, size: int = SIZE) -> None:
        self.size = size
        self.data = _twice(size)
        self.consumer = mmap.mmap(-1, mmap.PAGESIZE)
        self.producer = memoryview(bytearray(mmap.PAGESIZE))
        self.positions = (
            np.frombuffer(self.consumer, "<u8", 1),
            np.frombuffer(self.producer, "<u8", 1),
        )
        for position in self.positions:
            position[0] = start
        self.reader = RingReader(self.consumer, self.producer, self.data)

    @property
    def room(self) -> int:
        """Records that still fit."""
        consumer, producer = (int(position[0]) for position in self.positions)
        return (self.size - (producer - consumer)) // STRIDE

    def reserve(self, record: Records) -> int:
        """Puts a record in that is still busy; its place."""
        assert self.room > 0
        place = int(self.positions[1][0])
        offset = place % self.size
        frame = (RECORD_SIZE | int(BUSY)).to_bytes(4, "little") + bytes(HEADER_SIZE - 4)
        self.data[offset : offset + STRIDE] = frame + record.tobytes()
        self.positions[1][0] += np.uint64(STRIDE)
        return place

    def submit(self, place: int, discard: bool = False) -> None:
        length = RECORD_SIZE | (int(DISCARDED) if discard else 0)
        offset = place % self.size
        self.data[offset : offset + 4] = length.to_bytes(4, "little")

    def put(self, records: Records) -> None:
        for record in records:
            self.submit(self.reserve(record))


def numbered(*numbers: int) -> Records:
    """Records with these sequence numbers, whose bodies are told apart as well."""
    rows = np.zeros(len(numbers), HEAD)
    rows["type"] = 1
    rows["seq"] = numbers
    for row, number in zip(rows, numbers, strict=True):
        row["body"] = np.void(bytes([number % 251 + 1]) * HEAD["body"].itemsize)
    return rows
