"""Members of structs and unions: where they are and how large."""

from dataclasses import dataclass

from tracer.kernel.btf.errors import BtfError, BtfMissing
from tracer.kernel.btf.format import INT, MODIFIERS, STRUCT, UNION
from tracer.kernel.btf.types import Types


@dataclass(frozen=True, slots=True)
class _Member:
    """A member found in a struct: where it starts, its type, its width if it is a bitfield."""

    bit_offset: int
    type_id: int
    bitfield_bits: int


class Members(Types):
    """What is asked about the members of a struct or union."""

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


def _tagged(name: str) -> str:
    return name if " " in name else f"struct {name}"
