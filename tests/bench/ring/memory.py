"""A ring buffer in memory as the kernel lays it out (BPF_MAP_TYPE_RINGBUF), and its producer."""

import ctypes
import mmap
import os
from collections.abc import Callable

import numpy as np

from tracer.capture.ring import HEADER_SIZE, STRIDE, RingReader
from tracer.record import EVENT, RECORD_SIZE

_PAGE = mmap.PAGESIZE
_FRAME = np.dtype(
    {
        "names": ["length", "pgoff", "record"],
        "formats": ["<u4", "<u4", EVENT],
        "offsets": [0, 4, HEADER_SIZE],
        "itemsize": STRIDE,
    }
)


def _map_twice(fd: int, offset: int, size: int) -> memoryview:
    """``size`` bytes of the file twice in a row."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mmap.restype = ctypes.c_void_p
    libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
    both = mmap.PROT_READ | mmap.PROT_WRITE
    base = libc.mmap(None, 2 * size, 0, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, -1, 0)
    fixed = mmap.MAP_SHARED | 0x10  # MAP_FIXED
    for half in range(2):
        got = libc.mmap(base + half * size, size, both, fixed, fd, offset)
        if got != base + half * size:
            raise OSError(ctypes.get_errno(), "mmap")
    return memoryview((ctypes.c_char * (2 * size)).from_address(base)).cast("B")


class FakeRing:
    """``size`` bytes (a power of two) of data area, a reader for them, and what fills them."""

    def __init__(self, size: int, template: int, events: Callable[[int], np.ndarray]) -> None:
        fd = os.memfd_create("ring")
        os.ftruncate(fd, 2 * _PAGE + size)
        self._consumer = mmap.mmap(fd, _PAGE)
        self._producer = mmap.mmap(fd, _PAGE, offset=_PAGE)
        self._data = _map_twice(fd, 2 * _PAGE, size)
        os.close(fd)
        self._size = size
        self._position = np.frombuffer(self._producer, "<u8", 1)
        self._taken = np.frombuffer(self._consumer, "<u8", 1)
        self._bytes = np.frombuffer(self._data, "u1")
        self._next = 0
        self._frames = np.zeros(template, _FRAME)
        self._frames["length"] = RECORD_SIZE
        records = self._frames["record"]
        records[:] = events(template)
        counts = np.bincount(records["cpu"])
        self._step = counts[records["cpu"]].astype("<u8")
        self._span = np.uint64(int(records["time_ns"].max() - records["time_ns"].min()))
        self.reader = RingReader(self._consumer, memoryview(self._producer), self._data)

    def produce(self, most: int) -> int:
        """Writes up to ``most`` records as the kernel would; how many found room."""
        free = self._size - int(self._position[0] - self._taken[0])
        count = min(most, free // STRIDE, len(self._frames) - self._next)
        frames = self._frames[self._next : self._next + count]
        start = int(self._position[0]) % self._size
        self._bytes[start : start + count * STRIDE] = frames.view("u1")
        # The next time round these records are later ones.
        frames["record"]["seq"] += self._step[self._next : self._next + count]
        frames["record"]["time_ns"] += self._span
        self._next = (self._next + count) % len(self._frames)
        self._position[0] += np.uint64(count * STRIDE)
        return count
