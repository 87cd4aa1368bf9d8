"""The few things of an ELF file that say where its code lies. Every byte is the traced program's.

Read with pread alone: a file that is cut while it is looked at gives short reads, no signal.
"""

import os
import struct
from dataclasses import dataclass

PAGE_MASK = 0xFFF
_PT_LOAD, _PT_NOTE, _PF_X = 1, 4, 1
_NT_GNU_BUILD_ID = 3
_MOST_HEADERS = 512
_NOTE_BYTES = 1 << 16
_BUILD_ID = 32
_TOP = 1 << 64


class NotElf(Exception):
    """No file that the kernel maps as a 64-bit x86 program or library."""


@dataclass(frozen=True, slots=True)
class Segment:
    """A PT_LOAD."""

    offset: int
    address: int
    in_file: int
    in_memory: int
    executable: bool


@dataclass(frozen=True, slots=True)
class Elf:
    """What of a file is mapped where, and its build id (empty: none)."""

    segments: tuple[Segment, ...]
    build_id: bytes

    def bias(self, start: int, pgoff: int) -> int:
        """What was added to its addresses, by where the part at ``pgoff`` was mapped. NotElf."""
        for one in self.segments:
            first = one.offset & ~PAGE_MASK
            if one.executable and first <= pgoff < one.offset + one.in_file:
                return (start - ((one.address & ~PAGE_MASK) + pgoff - first)) % _TOP
        raise NotElf("no executable part of it is there")

    @property
    def span(self) -> tuple[int, int]:
        """From where to where it wants to be mapped."""
        low = min(one.address & ~PAGE_MASK for one in self.segments)
        return low, max(one.address + one.in_memory for one in self.segments)


def read(fd: int) -> Elf:
    """NotElf, OSError."""
    head = os.pread(fd, 64, 0)
    if len(head) < 64 or head[:6] != b"\x7fELF\x02\x01":
        raise NotElf("no 64-bit ELF file")
    (place,) = struct.unpack_from("<Q", head, 32)
    size, count = struct.unpack_from("<HH", head, 54)
    if size != 56 or not 0 < count <= _MOST_HEADERS or place >= 1 << 62:
        raise NotElf("its program headers are none")
    raw = os.pread(fd, size * count, place)
    segments, build_id = [], b""
    for at in range(0, len(raw) - size + 1, size):
        kind, flags, offset, address, _, in_file, in_memory, _ = struct.unpack_from(
            "<IIQQQQQQ", raw, at
        )
        if kind == _PT_LOAD and address + in_memory < _TOP and offset + in_file < 1 << 63:
            segments.append(Segment(offset, address, in_file, in_memory, bool(flags & _PF_X)))
        elif kind == _PT_NOTE and not build_id and offset < 1 << 62:
            build_id = _build_id(os.pread(fd, min(in_file, _NOTE_BYTES), offset))
    if not segments:
        raise NotElf("nothing of it is loaded")
    return Elf(tuple(segments), build_id)


def _build_id(notes: bytes) -> bytes:
    at = 0
    while at + 12 <= len(notes):
        name, size, kind = struct.unpack_from("<III", notes, at)
        data = at + 12 + (name + 3 & ~3)
        if kind == _NT_GNU_BUILD_ID and notes[at + 12 : at + 12 + name] == b"GNU\0":
            found = notes[data : data + size]
            return found if len(found) == size <= _BUILD_ID else b""
        at = data + (size + 3 & ~3)
    return b""
