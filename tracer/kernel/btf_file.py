"""A BTF file: the numbers of its format, and where each type stands, by number and by name.

Every bound is checked, as the file may be anything. `tracer.kernel.btf` builds on this.
Sources: ``include/uapi/linux/btf.h`` and ``kernel/bpf/btf.c`` of the kernel tree.
"""

from __future__ import annotations

import functools
import hashlib
import struct
import sys
from array import array
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self


class BtfError(Exception):
    """The BTF is broken, or cannot answer the question; the message says why."""


class BtfMissing(BtfError):
    """The BTF is sound and has no such type, member, function or enumerator."""


MAGIC = 0xEB9F
MAGIC_SWAPPED = 0x9FEB
POINTER_BYTES = 8

HEADER = struct.Struct("<HBBIIIII")
# vmlinux BTF is 5 to 8 MB; the bound only keeps a wrong path (a disk, /dev/zero) from eating memory
MAX_FILE_BYTES = 512 << 20
# The kernel itself gives up at 32 (MAX_RESOLVE_DEPTH in kernel/bpf/btf.c)
MAX_CHAIN = 64
# KSYM_NAME_LEN of include/linux/kallsyms.h: the kernel refuses BTF with longer names
MAX_NAME_BYTES = 512
# Only broken files reach these two. They keep the work of one lookup bounded.
MAX_PARAMS = 64
MAX_NAMESAKES = 64


# BTF_KIND_* of include/uapi/linux/btf.h. Plain ints, as the walk over all types is the hot loop
# and an enum member costs several times a constant there. Kinds 14, 15 and 17 (VAR, DATASEC,
# DECL_TAG) are only stepped over.
INT, PTR, ARRAY, STRUCT, UNION, ENUM, FWD, TYPEDEF = 1, 2, 3, 4, 5, 6, 7, 8
VOLATILE, CONST, RESTRICT, FUNC, FUNC_PROTO = 9, 10, 11, 12, 13
FLOAT, TYPE_TAG, ENUM64 = 16, 18, 19

KIND_COUNT = 20
# Words a type takes: fixed part (the three common words included) and words per vlen item.
# 0 marks a kind that may not occur.
FIXED_WORDS = (0, 4, 3, 6, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 4, 3, 3, 4, 3, 3)
ITEM_WORDS = (0, 0, 0, 0, 3, 3, 2, 0, 0, 0, 0, 0, 0, 2, 0, 3, 0, 0, 0, 3)

MODIFIERS = frozenset((VOLATILE, CONST, RESTRICT, TYPE_TAG))
TRANSPARENT = MODIFIERS | {TYPEDEF}
QUALIFIER_TEXT = {CONST: "const", VOLATILE: "volatile", RESTRICT: "restrict"}
TAGGED_TEXT = {STRUCT: "struct", UNION: "union", ENUM: "enum", ENUM64: "enum"}
# name lookups keep these apart, as C does ("struct x" and "enum x" share a space in C, but a
# caller says which one it wants)
SPACE_OF_KIND = {
    FUNC: "func",
    STRUCT: "struct",
    UNION: "union",
    ENUM: "enum",
    ENUM64: "enum",
    TYPEDEF: "typedef",
    INT: "base",
    FLOAT: "base",
}
SPACES = ("func", "struct", "union", "enum", "typedef", "base")


@dataclass(frozen=True, slots=True)
class Sections:
    """The two sections of a BTF file, cut out and bounds-checked."""

    words: array[int]
    strings: bytes


def cut(data: bytes, split: bool) -> Sections:
    """Check the header and cut out both sections. Raises BtfError."""
    if len(data) < 4:
        raise BtfError(f"truncated: {len(data)} bytes, no BTF header")
    magic = int.from_bytes(data[:2], "little")
    if magic == MAGIC_SWAPPED:
        raise BtfError("big-endian BTF; only little-endian kernels are supported")
    if magic != MAGIC:
        raise BtfError(f"not BTF: it begins with {magic:#06x} instead of {MAGIC:#06x}")
    if len(data) < HEADER.size:
        raise BtfError(f"truncated: {len(data)} bytes, the header alone takes {HEADER.size}")
    _, version, _, header, type_off, type_len, str_off, str_len = HEADER.unpack_from(data)
    if version != 1:
        raise BtfError(f"BTF version {version}; only version 1 is known")
    # A longer header is fine: fields are only ever added at its end
    if not HEADER.size <= header <= len(data):
        raise BtfError(f"header length {header} does not fit a file of {len(data)} bytes")
    body = len(data) - header
    for what, start, length in (("type", type_off, type_len), ("string", str_off, str_len)):
        if start + length > body:
            raise BtfError(
                f"truncated: the {what} section needs bytes {start} to {start + length} after the "
                f"header, {body} are there"
            )
    if type_off % 4 or type_len % 4:
        raise BtfError("the type section is not aligned to 4 bytes")
    strings = data[header + str_off : header + str_off + str_len]
    if not strings and not split:
        raise BtfError("there are no strings")
    if strings and strings[-1]:
        raise BtfError("the string section does not end with a NUL")
    if strings and strings[0] and not split:
        raise BtfError("the string section does not begin with the empty string")
    words = array("I")
    assert words.itemsize == 4
    words.frombytes(data[header + type_off : header + type_off + type_len])
    if sys.byteorder == "big":
        words.byteswap()
    return Sections(words, strings)


class Index:
    """The types of one BTF file, on top of its base's. Use `Btf`."""

    def __init__(self, sections: Sections, raw: bytes, base: Self | None) -> None:
        self._words = sections.words
        self._strings = sections.strings
        self._raw = raw
        self._base = base
        self._first_id = base.type_count if base else 1
        self._first_string = base._end_string if base else 0
        self._end_string: int = self._first_string + len(self._strings)
        self._starts: list[int] = []
        self._names: dict[str, dict[bytes, list[int]]] = {space: {} for space in SPACES}
        self._index()

    def _index(self) -> None:
        """Find where each type starts, and index the named ones by name.

        Raises BtfError for a type of unknown kind, one that runs past its section, and a name
        outside the strings.
        """
        words = self._words
        total = len(words)
        starts = self._starts
        by_kind: list[list[int] | None] = [
            [] if kind in SPACE_OF_KIND else None for kind in range(KIND_COUNT)
        ]
        fixed_words, item_words = FIXED_WORDS, ITEM_WORDS
        append = starts.append
        place = 0
        while place + 3 <= total:
            info = words[place + 1]
            # Bits 16-23 and 29-30 are unused and zero so far. Taken in, they make a future
            # meaning show as an unknown kind or a type past the end instead of a wrong reading.
            kind = info >> 24 & 0x7F
            if not 0 < kind < KIND_COUNT:
                raise BtfError(f"type {self._first_id + len(starts)} is of unknown kind {kind}")
            append(place)
            named = by_kind[kind]
            if named is not None:
                named.append(place)
            step = item_words[kind]
            place += fixed_words[kind] + step * (info & 0xFFFFFF) if step else fixed_words[kind]
        if place != total:
            last = self._first_id + len(starts) - 1
            raise BtfError(f"type section ends in the middle of a type (after or in type {last})")
        self._index_names(by_kind)

    def _index_names(self, by_kind: list[list[int] | None]) -> None:
        words, strings, first_string = self._words, self._strings, self._first_string
        find = strings.index
        for kind, places in enumerate(by_kind):
            if not places:
                continue
            names = self._names[SPACE_OF_KIND[kind]]
            for place in places:
                offset = words[place]
                if offset == 0:
                    continue
                if offset < first_string:
                    name = self._name_bytes(offset)
                else:
                    offset -= first_string
                    try:
                        name = strings[offset : find(0, offset, offset + MAX_NAME_BYTES)]
                    except ValueError:
                        raise self._bad_name(words[place]) from None
                if name in names:
                    names[name].append(place)
                else:
                    names[name] = [place]

    @property
    def type_count(self) -> int:
        """One more than the highest type id (void and the base's types are counted)."""
        return self._first_id + len(self._starts)

    @functools.cached_property
    def digest(self) -> str:
        """SHA-256 of the file as lower-case hexadecimal: names this very kernel build."""
        return hashlib.sha256(self._raw).hexdigest()

    def _name_bytes(self, offset: int) -> bytes:
        owner = self
        while offset < owner._first_string and owner._base is not None:
            owner = owner._base
        start = offset - owner._first_string
        end = owner._strings.find(0, start, start + MAX_NAME_BYTES)
        if end < 0:
            raise owner._bad_name(offset)
        return owner._strings[start:end]

    def _bad_name(self, offset: int) -> BtfError:
        if offset >= self._end_string:
            return BtfError(
                f"string offset {offset} is out of bounds ({self._end_string} bytes of strings)"
            )
        return BtfError(f"the name at string offset {offset} is over {MAX_NAME_BYTES} bytes long")

    def _name(self, offset: int) -> str:
        return self._name_bytes(offset).decode("utf-8", "backslashreplace")

    def _locate(self, type_id: int) -> tuple[array[int], int]:
        """The words a type is in and the place of its first; not for void."""
        owner = self
        if not 0 < type_id < owner.type_count:
            raise BtfError(f"type id {type_id} is out of range (types 1 to {self.type_count - 1})")
        while type_id < owner._first_id:
            assert owner._base is not None  # only a split Btf starts above 1
            owner = owner._base
        return owner._words, owner._starts[type_id - owner._first_id]

    def _strip(self, type_id: int, kinds: frozenset[int] = TRANSPARENT) -> int:
        """Follow types of these kinds to the type behind them; 0 is void.

        Raises BtfError for a cycle.
        """
        for _ in range(MAX_CHAIN):
            if type_id == 0:
                return 0
            words, place = self._locate(type_id)
            if words[place + 1] >> 24 & 0x7F not in kinds:
                return type_id
            type_id = words[place + 2]
        raise BtfError(f"cycle (or more than {MAX_CHAIN} links) of typedefs at type {type_id}")

    def _kind(self, type_id: int) -> int:
        if type_id == 0:
            return 0
        words, place = self._locate(type_id)
        return words[place + 1] >> 24 & 0x7F

    def _owners(self) -> Iterator[Self]:
        owner: Self | None = self
        while owner is not None:
            yield owner
            owner = owner._base

    def _ids(self, space: str, name: str) -> list[int]:
        """Ids of all types of this name; a module's own come first."""
        key = name.encode("utf-8", "surrogateescape")
        found = []
        for owner in self._owners():
            for place in owner._names[space].get(key, ()):
                found.append(owner._id_at(place))
        return found

    def _id_at(self, place: int) -> int:
        # The places are sorted: a search saves a second table of 126,000 ids
        return self._first_id + bisect_left(self._starts, place)
