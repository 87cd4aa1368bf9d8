"""The running kernel's own type information (BTF): members, sizes, enumerators and prototypes.

`tracer.kernel.btf_file` finds where each type stands; here is what is asked about types by name.
Sources: ``include/uapi/linux/btf.h`` and ``kernel/bpf/btf.c`` of the kernel tree.
"""

from __future__ import annotations

import functools
from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path

from tracer.kernel.btf_file import (
    ARRAY,
    ENUM,
    ENUM64,
    FLOAT,
    FUNC_PROTO,
    FWD,
    INT,
    ITEM_WORDS,
    MAX_CHAIN,
    MAX_FILE_BYTES,
    MAX_NAMESAKES,
    MAX_PARAMS,
    MODIFIERS,
    POINTER_BYTES,
    PTR,
    QUALIFIER_TEXT,
    STRUCT,
    TAGGED_TEXT,
    TYPE_TAG,
    UNION,
    BtfError,
    BtfMissing,
    Index,
    cut,
)


@dataclass(frozen=True, slots=True)
class _Member:
    """A member found in a struct: where it starts, its type, its width if it is a bitfield."""

    bit_offset: int
    type_id: int
    bitfield_bits: int


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

    def index_of_pointer(self, struct_name: str) -> int:
        """Position (from 0) of the first ``struct struct_name *`` parameter.

        Raises BtfMissing when there is none.
        """
        for place, param in enumerate(self.params):
            if param.pointee_struct == struct_name:
                return place
        raise BtfMissing(f"{self} has no parameter of type struct {struct_name} *")

    def __str__(self) -> str:
        items = [declared(param.type_text, param.name) for param in self.params]
        if self.variadic:
            items.append("...")
        return f"{declared(self.returns, self.name)}({', '.join(items) or 'void'})"


def shape(prototype: Prototype) -> tuple[str, bool, tuple[str, ...]]:
    """What two functions must share to be attached to alike; parameter names do not count."""
    types = tuple(param.type_text for param in prototype.params)
    return prototype.returns, prototype.variadic, types


def declared(type_text: str, name: str) -> str:
    blank = "" if type_text.endswith("*") or not name else " "
    return f"{type_text}{blank}{name}"


class Btf(Index):
    """The types and functions of one kernel (or of one module on top of its kernel).

    Build it with `from_file` or `from_bytes`. Every method raises BtfError when the file is broken
    at the place it has to read, and BtfMissing when the thing asked for is not there.
    """

    @classmethod
    def from_file(cls, path: str | Path, base: Btf | None = None) -> Btf:
        """Read a BTF file; `base` is the vmlinux Btf when the file is a module's.

        Raises BtfError when the file cannot be read or is broken.
        """
        try:
            with Path(path).open("rb") as file:
                data = file.read(MAX_FILE_BYTES + 1)
        except OSError as error:
            raise BtfError(f"cannot read {path}: {error.strerror or error}") from error
        if len(data) > MAX_FILE_BYTES:
            raise BtfError(f"{path}: larger than {MAX_FILE_BYTES} bytes, not a kernel's BTF")
        try:
            return cls.from_bytes(data, base)
        except BtfError as error:
            raise BtfError(f"{path}: {error}") from error

    @classmethod
    def from_bytes(cls, data: bytes, base: Btf | None = None) -> Btf:
        """As `from_file`, for bytes already in memory."""
        return cls(cut(data, split=base is not None), data, base)

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
        if len(found) > MAX_NAMESAKES:
            raise BtfError(f"{name} is ambiguous: {len(found)} types have this name")
        return found

    def size_of(self, name: str) -> int:
        """Size in bytes of "struct x", "union x", "enum x", or of a bare name.

        A bare name is looked for as struct, union, typedef, enum and base type, in this order.
        Raises BtfMissing when there is none, BtfError when several differ in size.
        """
        sizes = {self._size(type_id) for type_id in self._types_named(name)}
        if len(sizes) > 1:
            raise BtfError(f"{name} is ambiguous: sizes {listed(sizes)} occur in this kernel")
        size = sizes.pop()
        if size is None:
            raise BtfError(f"{name} is a type without a size")
        return size

    def size_of_member(self, struct_name: str, member: str) -> int:
        """Size in bytes of what ``member`` is, a whole array; as :meth:`offset_of` else."""
        size = self._size(self._find(struct_name, member).type_id)
        if size is None:
            raise BtfError(f"{struct_name}.{member} is of a type without a size")
        return size

    def _size(self, type_id: int) -> int | None:
        """Bytes of a type, None for void, functions and forward declarations."""
        count = 1
        for _ in range(MAX_CHAIN):
            type_id = self._strip(type_id)
            if type_id == 0:
                return None
            words, place = self._locate(type_id)
            kind = words[place + 1] >> 24 & 0x7F
            if kind == PTR:
                return count * POINTER_BYTES
            if kind in (INT, STRUCT, UNION, ENUM, ENUM64, FLOAT):
                return count * words[place + 2]
            if kind != ARRAY:
                return None
            count *= words[place + 5]
            type_id = words[place + 3]
        raise BtfError(f"cycle (or more than {MAX_CHAIN} links) of arrays at type {type_id}")

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
            if self._kind(struct_id) not in (STRUCT, UNION):
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
                inner = self._strip(type_id, MODIFIERS)
                if inner not in seen and self._kind(inner) in (STRUCT, UNION):
                    seen.add(inner)
                    waiting.append((inner, bits))
        return None

    def _int_width(self, type_id: int) -> int:
        """Bits of an int that does not fill its bytes (the older way to write a bitfield), or 0."""
        stripped = self._strip(type_id)
        if self._kind(stripped) != INT:
            return 0
        words, place = self._locate(stripped)
        encoding = words[place + 3]
        bits, shift = encoding & 0xFF, encoding >> 16 & 0xFF
        return bits if shift or bits != 8 * words[place + 2] else 0

    def find_enumerator(self, name: str) -> int | None:
        """Value of an enumerator, e.g. ``"BPF_MAP_TYPE_RINGBUF"``; None when there is none.

        Raises BtfError when several enums give it other values.
        """
        key = name.encode("utf-8", "surrogateescape")
        values: set[int] = set()
        for owner in self._owners():
            values.update(owner._enumerators.get(key, ()))
        if len(values) > 1:
            raise BtfError(f"enumerator {name} is ambiguous: values {listed(values)} occur")
        return values.pop() if values else None

    @functools.cached_property
    def _enumerators(self) -> dict[bytes, set[int]]:
        # Seldom asked for, so not part of the index that every start pays for
        found: dict[bytes, set[int]] = {}
        words = self._words
        for place in self._starts:
            info = words[place + 1]
            kind = info >> 24 & 0x7F
            if kind not in (ENUM, ENUM64):
                continue
            step = ITEM_WORDS[kind]
            signed = bool(info >> 31)
            for item in range(place + 3, place + 3 + step * (info & 0xFFFFFF), step):
                value = words[item + 1]
                if kind == ENUM64:
                    value |= words[item + 2] << 32
                bits = 64 if kind == ENUM64 else 32
                if signed and value >> (bits - 1):
                    value -= 1 << bits
                found.setdefault(self._name_bytes(words[item]), set()).add(value)
        return found

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
        wanted = shape(first)
        if len(proto_ids) <= MAX_NAMESAKES and all(
            shape(self._prototype(name, proto_id)) == wanted for proto_id in proto_ids[1:]
        ):
            return first
        return replace(first, ambiguous=True)

    def _prototype_id(self, name: str, func_id: int) -> int:
        words, place = self._locate(func_id)
        proto_id = words[place + 2]
        if self._kind(proto_id) != FUNC_PROTO:
            raise BtfError(f"function {name} refers to type {proto_id}, which is no prototype")
        return proto_id

    def _prototype(self, name: str, proto_id: int) -> Prototype:
        words, place = self._locate(proto_id)
        params: list[Param] = []
        variadic = False
        count = param_count(words[place + 1], proto_id)
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
        if self._kind(pointer) != PTR:
            return None
        words, place = self._locate(pointer)
        target = self._strip(words[place + 2])
        kind = self._kind(target)
        if kind not in (STRUCT, FWD):
            return None
        words, place = self._locate(target)
        if kind == FWD and words[place + 1] >> 31:  # kind_flag of a FWD says union
            return None
        return self._name(words[place]) or None

    def _text(self, type_id: int, nested: bool = False) -> str:
        """The type as C would write it; a function pointer inside another one is cut short."""
        stars = ""
        qualifiers: list[str] = []
        arrays = ""
        for _ in range(MAX_CHAIN):
            if type_id == 0:
                return _joined(qualifiers, "void", stars, arrays)
            words, place = self._locate(type_id)
            info = words[place + 1]
            kind = info >> 24 & 0x7F
            name = self._name(words[place])
            if kind == PTR:
                # a qualifier seen so far belongs to this pointer: "T *const"
                stars = "*" + " ".join(qualifiers) + (" " if qualifiers and stars else "") + stars
                qualifiers = []
            elif kind in QUALIFIER_TEXT:
                qualifiers.append(QUALIFIER_TEXT[kind])
            elif kind == ARRAY:
                arrays += f"[{words[place + 5]}]"
                type_id = words[place + 3]
                continue
            elif kind == FUNC_PROTO:
                return self._function_text(type_id, stars, nested)
            elif kind != TYPE_TAG:
                tag = (
                    ("union" if info >> 31 else "struct")
                    if kind == FWD
                    else (TAGGED_TEXT.get(kind, ""))
                )
                return _joined(qualifiers, f"{tag} {name or '{...}'}".strip(), stars, arrays)
            type_id = words[place + 2]
        raise BtfError(f"cycle (or more than {MAX_CHAIN} links) of types at type {type_id}")

    def _function_text(self, proto_id: int, stars: str, nested: bool) -> str:
        words, place = self._locate(proto_id)
        if nested:
            return f"... ({stars})(...)"
        items = []
        count = param_count(words[place + 1], proto_id)
        for item in range(place + 3, place + 3 + 2 * count, 2):
            variadic = words[item + 1] == 0 and words[item] == 0
            items.append("..." if variadic else self._text(words[item + 1], nested=True))
        returns = self._text(words[place + 2], nested=True)
        return f"{returns} ({stars})({', '.join(items) or 'void'})"


def listed(values: set[int] | set[int | None]) -> str:
    return ", ".join(sorted(str(value) for value in values))


def _tagged(name: str) -> str:
    return name if " " in name else f"struct {name}"


def param_count(info: int, proto_id: int) -> int:
    count = info & 0xFFFFFF
    if count > MAX_PARAMS:
        raise BtfError(f"prototype {proto_id} has {count} parameters: the BTF is broken")
    return count


def _joined(qualifiers: list[str], core: str, stars: str, arrays: str) -> str:
    text = " ".join([*qualifiers, core])
    if stars and arrays:
        return f"{text} ({stars}){arrays}"
    return text + (f" {stars}" if stars else "") + arrays


@functools.cache
def running_btf() -> Btf:
    """The running kernel's, read once for all who ask. Raises BtfError."""
    return Btf.from_file("/sys/kernel/btf/vmlinux")


def module_btfs(base: Btf, modules: Collection[str], root: str | Path = "/") -> dict[str, Btf]:
    """The BTF of those of the modules that are loaded and have one. Raises BtfError."""
    folder = Path(root) / "sys/kernel/btf"
    return {
        name: Btf.from_file(folder / name, base) for name in modules if (folder / name).exists()
    }
