"""Reader of BTF, the kernel's own description of its types and functions.

Struct offsets and argument places come from here, so that no kernel version is ever looked at.
The reader takes ``/sys/kernel/btf/vmlinux`` and the split BTF of a module
(``/sys/kernel/btf/MODULE``, whose type ids and string offsets go on where vmlinux's end).

Format: ``Documentation/bpf/btf.rst`` and ``include/uapi/linux/btf.h`` of the kernel tree. The
files may come from anywhere (a recording's host, a broken extraction), so whatever is wrong with
one ends in `BtfError`.
"""

from __future__ import annotations

import functools
import hashlib
import struct
import sys
from array import array
from bisect import bisect_left
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

MAGIC = 0xEB9F
MAGIC_SWAPPED = 0x9FEB
POINTER_BYTES = 8

_HEADER = struct.Struct("<HBBIIIII")
# vmlinux BTF is 5 to 8 MB; the bound only keeps a wrong path (a disk, /dev/zero) from eating memory
_MAX_FILE_BYTES = 512 << 20
# The kernel itself gives up at 32 (MAX_RESOLVE_DEPTH in kernel/bpf/btf.c)
_MAX_CHAIN = 64
# KSYM_NAME_LEN of include/linux/kallsyms.h: the kernel refuses BTF with longer names
_MAX_NAME_BYTES = 512
# Only broken files reach these two. They keep the work of one lookup bounded.
_MAX_PARAMS = 64
_MAX_NAMESAKES = 64


class BtfError(Exception):
    """The BTF is broken, or cannot answer the question; the message says why."""


class BtfMissing(BtfError):
    """The BTF is sound and has no such type, member, function or enumerator."""


# BTF_KIND_* of include/uapi/linux/btf.h. Plain ints, as the walk over all types is the hot loop
# and an enum member costs several times a constant there. Kinds 14, 15 and 17 (VAR, DATASEC,
# DECL_TAG) are only stepped over.
_INT, _PTR, _ARRAY, _STRUCT, _UNION, _ENUM, _FWD, _TYPEDEF = 1, 2, 3, 4, 5, 6, 7, 8
_VOLATILE, _CONST, _RESTRICT, _FUNC, _FUNC_PROTO = 9, 10, 11, 12, 13
_FLOAT, _TYPE_TAG, _ENUM64 = 16, 18, 19

_KIND_COUNT = 20
# Words a type takes: fixed part (the three common words included) and words per vlen item.
# 0 marks a kind that may not occur.
_FIXED_WORDS = (0, 4, 3, 6, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 4, 3, 3, 4, 3, 3)
_ITEM_WORDS = (0, 0, 0, 0, 3, 3, 2, 0, 0, 0, 0, 0, 0, 2, 0, 3, 0, 0, 0, 3)

_MODIFIERS = frozenset((_VOLATILE, _CONST, _RESTRICT, _TYPE_TAG))
_TRANSPARENT = _MODIFIERS | {_TYPEDEF}
_QUALIFIER_TEXT = {_CONST: "const", _VOLATILE: "volatile", _RESTRICT: "restrict"}
_TAGGED_TEXT = {_STRUCT: "struct", _UNION: "union", _ENUM: "enum", _ENUM64: "enum"}
# name lookups keep these apart, as C does ("struct x" and "enum x" share a space in C, but a
# caller says which one it wants)
_SPACE_OF_KIND = {
    _FUNC: "func",
    _STRUCT: "struct",
    _UNION: "union",
    _ENUM: "enum",
    _ENUM64: "enum",
    _TYPEDEF: "typedef",
    _INT: "base",
    _FLOAT: "base",
}
_SPACES = ("func", "struct", "union", "enum", "typedef", "base")


@dataclass(frozen=True, slots=True)
class Param:
    """One parameter of a function.

    ``pointee_struct`` is S for a ``struct S *`` (const, volatile and typedef taken off on both
    sides of the star), else None. ``size`` is in bytes, None for a type of no known size.
    """

    name: str
    type_text: str
    pointee_struct: str | None
    size: int | None


@dataclass(frozen=True, slots=True)
class Prototype:
    """A function as BTF describes it.

    ``ambiguous`` means that functions of this name with different prototypes exist: the kernel
    takes the first one it finds, so a trampoline program may be checked against one and attached
    to another.
    """

    name: str
    params: tuple[Param, ...]
    returns: str
    variadic: bool
    ambiguous: bool

    def find_pointer(self, struct_name: str) -> int | None:
        """Place (from 0) of the first ``struct struct_name *`` parameter, or None."""
        for place, param in enumerate(self.params):
            if param.pointee_struct == struct_name:
                return place
        return None

    def index_of_pointer(self, struct_name: str) -> int:
        """As `find_pointer`; raises BtfMissing when there is no such parameter."""
        place = self.find_pointer(struct_name)
        if place is None:
            raise BtfMissing(f"{self} has no parameter of type struct {struct_name} *")
        return place

    def __str__(self) -> str:
        items = [_declared(param.type_text, param.name) for param in self.params]
        if self.variadic:
            items.append("...")
        return f"{_declared(self.returns, self.name)}({', '.join(items) or 'void'})"


@dataclass(frozen=True, slots=True)
class _Member:
    """A member found in a struct: where it starts, its type, its width if it is a bitfield."""

    bit_offset: int
    type_id: int
    bitfield_bits: int


@dataclass(frozen=True, slots=True)
class _Sections:
    """The two sections of a BTF file, cut out and bounds-checked."""

    words: array[int]
    strings: bytes


class Btf:
    """The types and functions of one kernel (or of one module on top of its kernel).

    Build it with `from_file` or `from_bytes`. Every method raises BtfError when the file is broken
    at the place it has to read, and BtfMissing when the thing asked for is not there.
    """

    def __init__(self, sections: _Sections, raw: bytes, base: Btf | None) -> None:
        self._words = sections.words
        self._strings = sections.strings
        self._raw = raw
        self._base = base
        self._first_id = base.type_count if base else 1
        self._first_string = base._end_string if base else 0
        self._end_string: int = self._first_string + len(self._strings)
        self._starts: list[int] = []
        self._names: dict[str, dict[bytes, list[int]]] = {space: {} for space in _SPACES}
        self._index()

    # ---- building -------------------------------------------------------------------------

    @classmethod
    def from_file(cls, path: str | Path, base: Btf | None = None) -> Btf:
        """Read a BTF file; `base` is the vmlinux Btf when the file is a module's.

        Raises BtfError when the file cannot be read or is broken.
        """
        try:
            with Path(path).open("rb") as file:
                data = file.read(_MAX_FILE_BYTES + 1)
        except OSError as error:
            raise BtfError(f"cannot read {path}: {error.strerror or error}") from error
        if len(data) > _MAX_FILE_BYTES:
            raise BtfError(f"{path}: larger than {_MAX_FILE_BYTES} bytes, not a kernel's BTF")
        try:
            return cls.from_bytes(data, base)
        except BtfError as error:
            raise BtfError(f"{path}: {error}") from error

    @classmethod
    def from_bytes(cls, data: bytes, base: Btf | None = None) -> Btf:
        """As `from_file`, for bytes already in memory."""
        return cls(_cut(data, split=base is not None), data, base)

    def _index(self) -> None:
        """Find where each type starts, and index the named ones by name.

        Raises BtfError for a type of unknown kind, one that runs past its section, and a name
        outside the strings.
        """
        words = self._words
        total = len(words)
        starts = self._starts
        by_kind: list[list[int] | None] = [
            [] if kind in _SPACE_OF_KIND else None for kind in range(_KIND_COUNT)
        ]
        fixed_words, item_words = _FIXED_WORDS, _ITEM_WORDS
        append = starts.append
        place = 0
        while place + 3 <= total:
            info = words[place + 1]
            # Bits 16-23 and 29-30 are unused and zero so far. Taken in, they make a future
            # meaning show as an unknown kind or a type past the end instead of a wrong reading.
            kind = info >> 24 & 0x7F
            if not 0 < kind < _KIND_COUNT:
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
            names = self._names[_SPACE_OF_KIND[kind]]
            for place in places:
                offset = words[place]
                if offset == 0:
                    continue
                if offset < first_string:
                    name = self._name_bytes(offset)
                else:
                    offset -= first_string
                    try:
                        name = strings[offset : find(0, offset, offset + _MAX_NAME_BYTES)]
                    except ValueError:
                        raise self._bad_name(words[place]) from None
                if name in names:
                    names[name].append(place)
                else:
                    names[name] = [place]

    # ---- raw access -----------------------------------------------------------------------

    @property
    def type_count(self) -> int:
        """One more than the highest type id (void and the base's types are counted)."""
        return self._first_id + len(self._starts)

    @functools.cached_property
    def digest(self) -> str:
        """SHA-256 of the file as lower-case hexadecimal: names this very kernel build."""
        return hashlib.sha256(self._raw).hexdigest()

    def _name_bytes(self, offset: int) -> bytes:
        owner: Btf = self
        while offset < owner._first_string and owner._base is not None:
            owner = owner._base
        start = offset - owner._first_string
        end = owner._strings.find(0, start, start + _MAX_NAME_BYTES)
        if end < 0:
            raise owner._bad_name(offset)
        return owner._strings[start:end]

    def _bad_name(self, offset: int) -> BtfError:
        if offset >= self._end_string:
            return BtfError(
                f"string offset {offset} is out of bounds ({self._end_string} bytes of strings)"
            )
        return BtfError(f"the name at string offset {offset} is over {_MAX_NAME_BYTES} bytes long")

    def _name(self, offset: int) -> str:
        return self._name_bytes(offset).decode("utf-8", "backslashreplace")

    def _locate(self, type_id: int) -> tuple[array[int], int]:
        """The words a type is in and the place of its first; not for void."""
        owner: Btf = self
        if not 0 < type_id < owner.type_count:
            raise BtfError(f"type id {type_id} is out of range (types 1 to {self.type_count - 1})")
        while type_id < owner._first_id:
            assert owner._base is not None  # only a split Btf starts above 1
            owner = owner._base
        return owner._words, owner._starts[type_id - owner._first_id]

    def _strip(self, type_id: int, kinds: frozenset[int] = _TRANSPARENT) -> int:
        """Follow types of these kinds to the type behind them; 0 is void.

        Raises BtfError for a cycle.
        """
        for _ in range(_MAX_CHAIN):
            if type_id == 0:
                return 0
            words, place = self._locate(type_id)
            if words[place + 1] >> 24 & 0x7F not in kinds:
                return type_id
            type_id = words[place + 2]
        raise BtfError(f"cycle (or more than {_MAX_CHAIN} links) of typedefs at type {type_id}")

    def _kind(self, type_id: int) -> int:
        if type_id == 0:
            return 0
        words, place = self._locate(type_id)
        return words[place + 1] >> 24 & 0x7F

    def _owners(self) -> Iterator[Btf]:
        owner: Btf | None = self
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

    # ---- types and members ----------------------------------------------------------------

    def has_type(self, name: str) -> bool:
        """True when the type exists; `name` as in `size_of`."""
        return bool(self._candidates(name))

    def _candidates(self, name: str) -> list[int]:
        word, _, rest = name.partition(" ")
        if word in ("struct", "union", "enum") and rest:
            return self._ids(word, rest)
        for space in ("struct", "union", "typedef", "enum", "base"):
            found = self._ids(space, name)
            if found:
                return found
        return []

    def _types_named(self, name: str) -> list[int]:
        found = self._candidates(name)
        if not found:
            raise BtfMissing(f"this kernel's BTF has no type {name}")
        if len(found) > _MAX_NAMESAKES:
            raise BtfError(f"{name} is ambiguous: {len(found)} types have this name")
        return found

    def size_of(self, name: str) -> int:
        """Size in bytes of "struct x", "union x", "enum x", or of a bare name.

        A bare name is looked for as struct, union, typedef, enum and base type, in this order.
        Raises BtfMissing when there is none, BtfError when several differ in size.
        """
        sizes = {self._size(type_id) for type_id in self._types_named(name)}
        if len(sizes) > 1:
            raise BtfError(f"{name} is ambiguous: sizes {_listed(sizes)} occur in this kernel")
        size = sizes.pop()
        if size is None:
            raise BtfError(f"{name} is a type without a size")
        return size

    def _size(self, type_id: int) -> int | None:
        """Bytes of a type, None for void, functions and forward declarations."""
        count = 1
        for _ in range(_MAX_CHAIN):
            type_id = self._strip(type_id)
            if type_id == 0:
                return None
            words, place = self._locate(type_id)
            kind = words[place + 1] >> 24 & 0x7F
            if kind == _PTR:
                return count * POINTER_BYTES
            if kind in (_INT, _STRUCT, _UNION, _ENUM, _ENUM64, _FLOAT):
                return count * words[place + 2]
            if kind != _ARRAY:
                return None
            count *= words[place + 5]
            type_id = words[place + 3]
        raise BtfError(f"cycle (or more than {_MAX_CHAIN} links) of arrays at type {type_id}")

    def has_member(self, struct_name: str, member: str) -> bool:
        """True when `offset_of` (or a bitfield) would be found; BtfError only if broken."""
        try:
            self._find(struct_name, member)
        except BtfMissing:
            return False
        return True

    def offset_of(self, struct_name: str, member: str) -> int:
        """Byte offset of a member, e.g. ``offset_of("file", "f_path.dentry")``.

        `struct_name` is "x", "struct x", "union x" or a typedef of one. Members of anonymous
        structs and unions are found under their own name; dots walk into embedded structs (not
        through pointers or array items).

        Raises BtfMissing when struct or member is not there, BtfError for a bitfield and when
        several structs of this name disagree.
        """
        found = self._find(struct_name, member)
        if found.bitfield_bits or found.bit_offset % 8:
            raise BtfError(f"{struct_name}.{member} is a bitfield, it has no byte offset")
        return found.bit_offset // 8

    def member_size(self, struct_name: str, member: str) -> int:
        """Size in bytes of a member; names and errors as in `offset_of`."""
        found = self._find(struct_name, member)
        size = self._size(found.type_id)
        if found.bitfield_bits or size is None:
            raise BtfError(f"{struct_name}.{member} is a bitfield or has no size")
        return size

    def _find(self, struct_name: str, path: str) -> _Member:
        parts = path.split(".")
        if not all(parts):
            raise BtfMissing(f"{path!r} is not a member path")
        answers: list[_Member] = []
        missing: BtfMissing | None = None
        for type_id in self._types_named(struct_name):
            try:
                answers.append(self._walk(struct_name, type_id, parts))
            except BtfMissing as error:
                missing = missing or error
        if missing and not answers:
            raise missing
        # Copies that failed to be merged differ in type ids only; what counts is the place.
        places = {(answer.bit_offset, answer.bitfield_bits) for answer in answers}
        if missing or len(places) > 1:
            raise BtfError(
                f"{struct_name}.{path} is ambiguous: this kernel has several types "
                f"{struct_name} and they disagree"
            )
        return answers[0]

    def _walk(self, struct_name: str, type_id: int, parts: list[str]) -> _Member:
        bits = 0
        where = struct_name
        outer_bits: int | None = None
        found = _Member(0, type_id, 0)
        for part in parts:
            struct_id = self._strip(found.type_id)
            if self._kind(struct_id) not in (_STRUCT, _UNION):
                raise BtfMissing(f"{where} is no struct or union, so it has no member {part}")
            if outer_bits is None:
                outer_bits = 8 * (self._size(struct_id) or 0)
            inner = self._member(struct_id, part)
            if inner is None:
                detail = f" (nothing named {part} in {where})" if len(parts) > 1 else ""
                raise BtfMissing(f"{_tagged(struct_name)} has no member {'.'.join(parts)}{detail}")
            found = inner
            bits += found.bit_offset
            where = f"{where}.{part}"
        if outer_bits is not None and bits > outer_bits:
            raise BtfError(f"{where} lies past the end of its struct: the BTF is broken")
        return _Member(bits, found.type_id, found.bitfield_bits)

    def _member(self, struct_id: int, name: str) -> _Member | None:
        """Find a member by name, in anonymous members too. None when there is none."""
        key = name.encode("utf-8", "surrogateescape")
        # A type is searched once: a second visit can find nothing new, and a broken file may nest
        # a struct in itself.
        seen = {struct_id}
        waiting = [(struct_id, 0)]
        while waiting:
            current, start_bits = waiting.pop()
            words, place = self._locate(current)
            info = words[place + 1]
            has_widths = bool(info >> 31)
            for item in range(place + 3, place + 3 + 3 * (info & 0xFFFFFF), 3):
                name_offset, type_id, offset = words[item], words[item + 1], words[item + 2]
                width = offset >> 24 if has_widths else 0
                bits = start_bits + (offset & 0xFFFFFF if has_widths else offset)
                if name_offset:
                    if self._name_bytes(name_offset) == key:
                        return _Member(bits, type_id, width or self._int_width(type_id))
                    continue
                inner = self._strip(type_id, _MODIFIERS)
                if inner not in seen and self._kind(inner) in (_STRUCT, _UNION):
                    seen.add(inner)
                    waiting.append((inner, bits))
        return None

    def _int_width(self, type_id: int) -> int:
        """Bits of an int that does not fill its bytes (the older way to write a bitfield), or 0."""
        stripped = self._strip(type_id)
        if self._kind(stripped) != _INT:
            return 0
        words, place = self._locate(stripped)
        encoding = words[place + 3]
        bits, shift = encoding & 0xFF, encoding >> 16 & 0xFF
        return bits if shift or bits != 8 * words[place + 2] else 0

    def enum_value(self, name: str) -> int:
        """Value of an enumerator, e.g. ``enum_value("BPF_MAP_TYPE_RINGBUF")``.

        Raises BtfMissing when there is none, BtfError when several enums give it other values.
        """
        key = name.encode("utf-8", "surrogateescape")
        values: set[int] = set()
        for owner in self._owners():
            values.update(owner._enumerators.get(key, ()))
        if not values:
            raise BtfMissing(f"this kernel's BTF has no enumerator {name}")
        if len(values) > 1:
            raise BtfError(f"enumerator {name} is ambiguous: values {_listed(values)} occur")
        return values.pop()

    @functools.cached_property
    def _enumerators(self) -> dict[bytes, set[int]]:
        # Seldom asked for, so not part of the index that every start pays for
        found: dict[bytes, set[int]] = {}
        words = self._words
        for place in self._starts:
            info = words[place + 1]
            kind = info >> 24 & 0x7F
            if kind not in (_ENUM, _ENUM64):
                continue
            step = _ITEM_WORDS[kind]
            signed = bool(info >> 31)
            for item in range(place + 3, place + 3 + step * (info & 0xFFFFFF), step):
                value = words[item + 1]
                if kind == _ENUM64:
                    value |= words[item + 2] << 32
                bits = 64 if kind == _ENUM64 else 32
                if signed and value >> (bits - 1):
                    value -= 1 << bits
                found.setdefault(self._name_bytes(words[item]), set()).add(value)
        return found

    # ---- functions ------------------------------------------------------------------------

    def function_id(self, name: str) -> int:
        """BTF id of the first function of this name, as bpf(2) takes it in attach_btf_id.

        Raises BtfMissing when BTF does not list it.
        """
        ids = self._ids("func", name)
        if not ids:
            raise BtfMissing(f"this kernel's BTF has no function {name}")
        return ids[0]

    def has_function(self, name: str) -> bool:
        """True when BTF lists a function of this name (which does not make it traceable)."""
        return bool(self._ids("func", name))

    def function(self, name: str) -> Prototype:
        """The prototype of a function; a module's own comes before vmlinux's.

        Raises BtfMissing when BTF does not list it.
        """
        ids = self._ids("func", name)
        if not ids:
            raise BtfMissing(f"this kernel's BTF has no function {name}")
        # Copies of one prototype mostly share its type, so few are left to compare
        proto_ids = list(dict.fromkeys(self._prototype_id(name, type_id) for type_id in ids))
        first = self._prototype(name, proto_ids[0])
        shape = _shape(first)
        if len(proto_ids) <= _MAX_NAMESAKES and all(
            _shape(self._prototype(name, proto_id)) == shape for proto_id in proto_ids[1:]
        ):
            return first
        return replace(first, ambiguous=True)

    def _prototype_id(self, name: str, func_id: int) -> int:
        words, place = self._locate(func_id)
        proto_id = words[place + 2]
        if self._kind(proto_id) != _FUNC_PROTO:
            raise BtfError(f"function {name} refers to type {proto_id}, which is no prototype")
        return proto_id

    def _prototype(self, name: str, proto_id: int) -> Prototype:
        words, place = self._locate(proto_id)
        params: list[Param] = []
        variadic = False
        count = _param_count(words[place + 1], proto_id)
        for number in range(count):
            item = place + 3 + 2 * number
            name_offset, type_id = words[item], words[item + 1]
            if type_id == 0 and name_offset == 0 and number == count - 1:
                variadic = True
                continue
            params.append(
                Param(
                    self._name(name_offset),
                    self._text(type_id),
                    self._pointee_struct(type_id),
                    self._size(type_id),
                )
            )
        return Prototype(name, tuple(params), self._text(words[place + 2]), variadic, False)

    def _pointee_struct(self, type_id: int) -> str | None:
        pointer = self._strip(type_id)
        if self._kind(pointer) != _PTR:
            return None
        words, place = self._locate(pointer)
        target = self._strip(words[place + 2])
        kind = self._kind(target)
        if kind not in (_STRUCT, _FWD):
            return None
        words, place = self._locate(target)
        if kind == _FWD and words[place + 1] >> 31:  # kind_flag of a FWD says union
            return None
        return self._name(words[place]) or None

    def _text(self, type_id: int, nested: bool = False) -> str:
        """The type as C would write it; a function pointer inside another one is cut short."""
        stars = ""
        qualifiers: list[str] = []
        arrays = ""
        for _ in range(_MAX_CHAIN):
            if type_id == 0:
                return _joined(qualifiers, "void", stars, arrays)
            words, place = self._locate(type_id)
            info = words[place + 1]
            kind = info >> 24 & 0x7F
            name = self._name(words[place])
            if kind == _PTR:
                # a qualifier seen so far belongs to this pointer: "T *const"
                stars = "*" + " ".join(qualifiers) + (" " if qualifiers and stars else "") + stars
                qualifiers = []
            elif kind in _QUALIFIER_TEXT:
                qualifiers.append(_QUALIFIER_TEXT[kind])
            elif kind == _ARRAY:
                arrays += f"[{words[place + 5]}]"
                type_id = words[place + 3]
                continue
            elif kind == _FUNC_PROTO:
                return self._function_text(type_id, stars, nested)
            elif kind != _TYPE_TAG:
                tag = (
                    ("union" if info >> 31 else "struct")
                    if kind == _FWD
                    else (_TAGGED_TEXT.get(kind, ""))
                )
                return _joined(qualifiers, f"{tag} {name or '{...}'}".strip(), stars, arrays)
            type_id = words[place + 2]
        raise BtfError(f"cycle (or more than {_MAX_CHAIN} links) of types at type {type_id}")

    def _function_text(self, proto_id: int, stars: str, nested: bool) -> str:
        words, place = self._locate(proto_id)
        if nested:
            return f"... ({stars})(...)"
        items = []
        count = _param_count(words[place + 1], proto_id)
        for item in range(place + 3, place + 3 + 2 * count, 2):
            variadic = words[item + 1] == 0 and words[item] == 0
            items.append("..." if variadic else self._text(words[item + 1], nested=True))
        returns = self._text(words[place + 2], nested=True)
        return f"{returns} ({stars})({', '.join(items) or 'void'})"


def module_btfs(base: Btf, modules: Collection[str], root: str | Path = "/") -> dict[str, Btf]:
    """The BTF of those of the modules that are loaded and have one. Raises BtfError."""
    folder = Path(root) / "sys/kernel/btf"
    return {
        name: Btf.from_file(folder / name, base) for name in modules if (folder / name).exists()
    }


def _cut(data: bytes, split: bool) -> _Sections:
    """Check the header and cut out both sections. Raises BtfError."""
    if len(data) < 4:
        raise BtfError(f"truncated: {len(data)} bytes, no BTF header")
    magic = int.from_bytes(data[:2], "little")
    if magic == MAGIC_SWAPPED:
        raise BtfError("big-endian BTF; only little-endian kernels are supported")
    if magic != MAGIC:
        raise BtfError(f"not BTF: it begins with {magic:#06x} instead of {MAGIC:#06x}")
    if len(data) < _HEADER.size:
        raise BtfError(f"truncated: {len(data)} bytes, the header alone takes {_HEADER.size}")
    _, version, _, header, type_off, type_len, str_off, str_len = _HEADER.unpack_from(data)
    if version != 1:
        raise BtfError(f"BTF version {version}; only version 1 is known")
    # A longer header is fine: fields are only ever added at its end
    if not _HEADER.size <= header <= len(data):
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
    return _Sections(words, strings)


def _shape(prototype: Prototype) -> tuple[str, bool, tuple[str, ...]]:
    """What two functions must share to be attached to alike; parameter names do not count."""
    types = tuple(param.type_text for param in prototype.params)
    return prototype.returns, prototype.variadic, types


def _param_count(info: int, proto_id: int) -> int:
    count = info & 0xFFFFFF
    if count > _MAX_PARAMS:
        raise BtfError(f"prototype {proto_id} has {count} parameters: the BTF is broken")
    return count


def _declared(type_text: str, name: str) -> str:
    blank = "" if type_text.endswith("*") or not name else " "
    return f"{type_text}{blank}{name}"


def _tagged(name: str) -> str:
    return name if " " in name else f"struct {name}"


def _joined(qualifiers: list[str], core: str, stars: str, arrays: str) -> str:
    text = " ".join([*qualifiers, core])
    if stars and arrays:
        return f"{text} ({stars}){arrays}"
    return text + (f" {stars}" if stars else "") + arrays


def _listed(values: set[int] | set[int | None]) -> str:
    return ", ".join(sorted(str(value) for value in values))
