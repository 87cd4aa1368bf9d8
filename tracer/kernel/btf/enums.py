"""Enumerators and their values."""

import functools

from tracer.kernel.btf.errors import BtfError, BtfMissing
from tracer.kernel.btf.format import ENUM, ENUM64, ITEM_WORDS
from tracer.kernel.btf.members import Members
from tracer.kernel.btf.types import listed


class Enums(Members):
    """What is asked about enumerators."""

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
            raise BtfError(f"enumerator {name} is ambiguous: values {listed(values)} occur")
        return values.pop()

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
