"""Types by name, and their sizes."""

from tracer.kernel.btf.errors import BtfError, BtfMissing
from tracer.kernel.btf.format import (
    ARRAY,
    ENUM,
    ENUM64,
    FLOAT,
    INT,
    MAX_CHAIN,
    MAX_NAMESAKES,
    POINTER_BYTES,
    PTR,
    STRUCT,
    UNION,
)
from tracer.kernel.btf.index import Index


class Types(Index):
    """What is asked about a type as a whole."""

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


def listed(values: set[int] | set[int | None]) -> str:
    return ", ".join(sorted(str(value) for value in values))
