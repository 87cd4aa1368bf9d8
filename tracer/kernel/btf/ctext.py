"""Types as C would write them."""

from tracer.kernel.btf.enums import Enums
from tracer.kernel.btf.errors import BtfError
from tracer.kernel.btf.format import (
    ARRAY,
    FUNC_PROTO,
    FWD,
    MAX_CHAIN,
    MAX_PARAMS,
    PTR,
    QUALIFIER_TEXT,
    TAGGED_TEXT,
    TYPE_TAG,
)


class Texts(Enums):
    """The text of a type."""

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
