"""Values of ``seals:`` as conditions on the bit set."""

import re

from tracer.model.args import SEALS_UNKNOWN
from tracer.model.bit5 import EXEC, INACCESSIBLE, UNKNOWN
from tracer.model.seals import BY_NAME, LETTERS
from tracer.model.seals import names as seal_names
from tracer.query.conditions import All, Alternative, Bits, In
from tracer.query.errors import hint, nearest
from tracer.query.lexer import Part

_NAMES = {name.lower(): bit for name, bit in BY_NAME.items()}
_PLACES = re.compile("".join(f"[{letter}-]" for letter in LETTERS))
_LETTERS = re.compile(f"[{LETTERS}]+")
_NUMBER = re.compile(r"0x[0-9a-f]{1,8}|[0-9]{1,10}", re.I)
_MOST = 0xFFFFFFFF


def _bits_of_letters(letters: str) -> int:
    return sum(1 << LETTERS.index(letter) for letter in set(letters) - {"-"})


def _set(part: Part, word: str, places: bool) -> int:
    """The bits of ``SHRINK|GROW``, ``sg``, ``0x6`` or (``places``) ``-sg---``."""
    if places and _PLACES.fullmatch(word):
        return _bits_of_letters(word)
    bits = 0
    for name in word.split("|"):
        known = _NAMES.get(name.lower().removeprefix("f_seal_"))
        if known is not None:
            bits |= known
        elif _LETTERS.fullmatch(name):
            bits |= _bits_of_letters(name)
        elif _NUMBER.fullmatch(name) and int(name, 0 if "x" in name.lower() else 10) <= _MOST:
            bits |= int(name, 0 if "x" in name.lower() else 10)
        else:
            raise _unknown(part, word, name)
    return bits


def _unknown(part: Part, word: str, name: str) -> Exception:
    if not name:
        return part.error("here is no seal; seals are joined by |, for example +SHRINK|GROW")
    if _PLACES.fullmatch(part.plain):
        return part.error(f"as script shows them, seals need a =: ={part.plain}", f"={part.plain}")
    known = [one.upper() for one in _NAMES]
    near = nearest(name, [*known, "none", "any", "unknown"])
    told = hint(near, [*known, f"the letters {LETTERS}"])
    return part.error(f"there is no seal {name!r}; {told}", near)


def _names(word: str, bits: int) -> str:
    """The set in the filter's canonical text, where 0x20 keeps the name that was typed for it.

    A filter is read before any recording is: it cannot know which of the names is right, and both
    mean the bit.
    """
    typed = {name.removeprefix("f_seal_") for name in word.lower().split("|")}
    either = next((one for one in (EXEC, INACCESSIBLE) if one.seal.lower() in typed), UNKNOWN)
    return seal_names(bits, either)


def alternative(part: Part, column: str) -> Alternative:
    """``+SET`` has all, ``-SET`` has none, ``=SET`` has just these; ``none any unknown``.

    Seals that could not be read match ``unknown`` only. QueryError for an unknown seal.
    """
    word = part.plain
    sign, rest = (word[0], word[1:]) if word[:1] in ("+", "-", "=") and word else ("", word)
    plain = word.lower()
    if plain == "unknown":
        return Alternative(plain, ((In(column, ((SEALS_UNKNOWN, SEALS_UNKNOWN),)),),))
    if plain == "any":
        return Alternative(plain, ((In(column, ((1, SEALS_UNKNOWN - 1),)),),))
    if plain == "none" or rest.lower() == "none":
        if sign not in ("", "="):
            raise part.error("no seals at all is seals:none")
        return Alternative("none", ((In(column, ((0, 0),)),),))
    bits = _set(part, rest, places=sign == "=")
    if sign == "=":
        text = f"={_names(rest, bits)}" if bits else "none"
        return Alternative(text, ((In(column, ((bits, bits),)),),))
    if not bits:
        raise part.error("no seals at all is seals:none")
    known = In(column, ((0, SEALS_UNKNOWN - 1),))
    tests: All = (Bits(column, bits, 0 if sign == "-" else bits), known)
    return Alternative(f"{sign or '+'}{_names(rest, bits)}", (tests,))


def check_signs(parts: tuple[Part, ...]) -> None:
    """QueryError for ``=SHRINK,GROW``: that would be "just SHRINK, or GROW beside others"."""
    first, *others = (part.plain for part in parts)
    words = ("none", "any", "unknown")
    for part, word in zip(parts[1:], others, strict=True):
        if first[:1] in ("+", "-", "=") and word[:1] not in ("+", "-", "="):
            if word.lower() in words:
                continue
            both, either = f"{first}|{word}", f"{first},{first[0]}{word}"
            raise part.error(f"a comma means 'or': write {both} for both, {either} for either")
