"""The few things of an ELF file that say which it is, and where its code lies.

The file may be anybody's, also a traced program's: whatever it claims is read with a limit, and
with pread alone: a file that is cut while it is looked at gives short reads, no signal.
"""

import os
import struct
from dataclasses import dataclass

PAGE_MASK = 0xFFF
_HEADER = struct.Struct("<16sHHIQQQIHHHHHH")
_SEGMENT = struct.Struct("<IIQQQQQQ")
_SECTION = struct.Struct("<IIQQQQIIQQ")
_NOTE = struct.Struct("<III")
_MAGIC = b"\x7fELF\x02\x01"  # 64 bits, little-endian
_SYMBOL = struct.Struct("<IBBHQQ")
_PT_LOAD, _PT_NOTE, _SHT_NOTE, _PF_X = 1, 4, 7, 1
_SHT_DYNSYM, _STT_FUNC = 11, 2
_NT_GNU_BUILD_ID = 3
_MOST_SEGMENTS, _MOST_SECTIONS, _MOST_NOTES = 512, 1 << 12, 64
_NOTE_BYTES = 1 << 16
_BUILD_ID = 32
_TOP = 1 << 63


class NotElf(ValueError):
    """No file that the kernel maps as a 64-bit little-endian program or library."""


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
    """What of a file is mapped where, and its build id in hex (empty: none)."""

    segments: tuple[Segment, ...]
    build_id: str

    def bias(self, start: int, pgoff: int) -> int:
        """What was added to its addresses, by where the part at ``pgoff`` was mapped. NotElf."""
        for one in self.segments:
            first = one.offset & ~PAGE_MASK
            if one.executable and first <= pgoff < one.offset + one.in_file:
                return (start - ((one.address & ~PAGE_MASK) + pgoff - first)) % (1 << 64)
        raise NotElf("no executable part of it is there")

    @property
    def span(self) -> tuple[int, int]:
        """From where to where it wants to be mapped."""
        low = min(one.address & ~PAGE_MASK for one in self.segments)
        return low, max(one.address + one.in_memory for one in self.segments)


def _read(fd: int, count: int, offset: int) -> bytes:
    return os.pread(fd, count, offset) if offset < 1 << 62 else b""


def _entries(
    fd: int, shape: struct.Struct, offset: int, size: int, count: int, most: int
) -> list[tuple[int, ...]]:
    if size != shape.size or not 0 < count <= most:
        return []
    data = _read(fd, size * count, offset)
    return list(shape.iter_unpack(data[: len(data) // size * size]))


def read(fd: int) -> Elf:
    """NotElf, OSError."""
    head = os.pread(fd, _HEADER.size, 0)
    if len(head) < _HEADER.size or not head.startswith(_MAGIC):
        raise NotElf("no 64-bit ELF file")
    _, _, _, _, _, phoff, shoff, _, _, phsize, phnum, shsize, shnum, _ = _HEADER.unpack(head)
    segments = []
    # What strip leaves for debuggers (--only-keep-debug) has its notes by section alone.
    notes = [(one[4], one[5])
             for one in _entries(fd, _SECTION, shoff, shsize, shnum, _MOST_SECTIONS)
             if one[1] == _SHT_NOTE][:_MOST_NOTES]  # fmt: skip
    for kind, flags, offset, address, _, in_file, in_memory, _ in _entries(
        fd, _SEGMENT, phoff, phsize, phnum, _MOST_SEGMENTS
    ):
        fits = 0 < in_memory < _TOP - address and in_file < _TOP - offset
        if kind == _PT_LOAD and fits:
            segments.append(Segment(offset, address, in_file, in_memory, bool(flags & _PF_X)))
        elif kind == _PT_NOTE:
            notes.append((offset, in_file))
    if not segments:
        raise NotElf("nothing of it is loaded")
    found = (_build_id(_read(fd, min(size, _NOTE_BYTES), at)) for at, size in notes[:_MOST_NOTES])
    return Elf(tuple(segments), next(filter(None, found), ""))


def functions(fd: int) -> list[tuple[int, int, bytes]]:
    """Address, size and name of what it exports, for small files alone. OSError, NotElf."""
    head = _read(fd, _HEADER.size, 0)
    if len(head) < _HEADER.size or not head.startswith(_MAGIC):
        raise NotElf("no 64-bit ELF file")
    *_, shsize, shnum, _ = _HEADER.unpack(head)
    sections = _entries(fd, _SECTION, _HEADER.unpack(head)[6], shsize, shnum, _MOST_SECTIONS)
    found = []
    for kind, offset, size, link in ((one[1], one[4], one[5], one[6]) for one in sections):
        if kind != _SHT_DYNSYM or link >= len(sections):
            continue
        texts = _read(fd, min(sections[link][5], _NOTE_BYTES), sections[link][4])
        data = _read(fd, min(size, _NOTE_BYTES), offset)
        whole = data[: len(data) // _SYMBOL.size * _SYMBOL.size]
        for name, info, _, place, address, length in _SYMBOL.iter_unpack(whole):
            if info & 15 == _STT_FUNC and place:
                found.append((address, length, texts[name:].partition(b"\0")[0]))
    return found


def _build_id(notes: bytes) -> str:
    at = 0
    while at + _NOTE.size <= len(notes):
        name_size, size, kind = _NOTE.unpack_from(notes, at)
        name = at + _NOTE.size
        data = name + (name_size + 3 & ~3)
        if kind == _NT_GNU_BUILD_ID and notes[name : name + name_size] == b"GNU\0":
            found = notes[data : data + size]
            return found.hex() if len(found) == size <= _BUILD_ID else ""
        at = data + (size + 3 & ~3)
    return ""
