"""What has to be known of an ELF file before anything else looks into it: its build id, its place.

The file may be anybody's: whatever it claims is read with a limit, and a file that makes no sense
is ValueError.
"""

import os
import struct
from typing import NamedTuple

_HEADER = struct.Struct("<16sHHIQQQIHHHHHH")
_SEGMENT = struct.Struct("<IIQQQQQQ")
_SECTION = struct.Struct("<IIQQQQIIQQ")
_NOTE = struct.Struct("<III")
_MAGIC = b"\x7fELF\x02\x01"  # 64 bits, little-endian
_PT_LOAD, _PT_NOTE, _SHT_NOTE = 1, 4, 7
_NT_GNU_BUILD_ID = 3
_MOST = 1 << 12
"""Segments, and sections, that are looked at."""
_NOTE_BYTES = 1 << 16
_ID_BYTES = 64


class Layout(NamedTuple):
    """Where an ELF file wants to lie, and which it is."""

    low: int
    high: int
    build_id: str
    """In hex; empty: it has none."""


def _read(fd: int, count: int, offset: int) -> bytes:
    try:
        return os.pread(fd, count, offset) if 0 <= offset < 1 << 62 else b""
    except OSError as error:
        raise ValueError(f"cannot be read: {error.strerror}") from error


def _entries(fd: int, shape: struct.Struct, offset: int, size: int, count: int) -> list[tuple]:  # type: ignore[type-arg]
    if size != shape.size or not 0 < count <= _MOST:
        return []
    data = _read(fd, size * count, offset)
    return list(shape.iter_unpack(data[: len(data) // size * size]))


def layout(fd: int) -> Layout:
    """Of an open file. ValueError: it is no ELF file of a 64-bit machine, or not a sound one."""
    head = _read(fd, _HEADER.size, 0)
    if len(head) < _HEADER.size or not head.startswith(_MAGIC):
        raise ValueError("is no 64-bit ELF file")
    _, _, _, _, _, phoff, shoff, _, _, phsize, phnum, shsize, shnum, _ = _HEADER.unpack(head)
    segments = _entries(fd, _SEGMENT, phoff, phsize, phnum)
    loads = [(one[3], one[6], one[7]) for one in segments if one[0] == _PT_LOAD]
    if not loads:
        raise ValueError("has nothing to be loaded")
    address, _, align = loads[0]
    low = address & -align if align and not align & (align - 1) else address
    high = max(start + size for start, size, _ in loads)
    if not low < high < 1 << 63:
        raise ValueError("has no place in memory")
    # What strip leaves for debuggers (--only-keep-debug) has its notes by section alone.
    notes = [(one[4], one[5]) for one in _entries(fd, _SECTION, shoff, shsize, shnum)
             if one[1] == _SHT_NOTE]  # fmt: skip
    notes += [(one[2], one[5]) for one in segments if one[0] == _PT_NOTE]
    found = (_build_id(_read(fd, min(size, _NOTE_BYTES), offset)) for offset, size in notes)
    return Layout(low, high, next(filter(None, found), ""))


def _build_id(notes: bytes) -> str:
    place = 0
    while place + _NOTE.size <= len(notes):
        name_size, size, kind = _NOTE.unpack_from(notes, place)
        name = place + _NOTE.size
        start = name + (name_size + 3 & ~3)
        if kind == _NT_GNU_BUILD_ID and notes[name : name + name_size] == b"GNU\0":
            return notes[start : start + min(size, _ID_BYTES)].hex()
        place = start + (size + 3 & ~3)
    return ""
