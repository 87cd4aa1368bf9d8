"""Numbers with units, comparisons and ranges, as closed ranges of whole numbers."""

import re
from fractions import Fraction
from math import ceil, floor

from tracer.query.conditions import Range
from tracer.query.lexer import Part

BYTES = {"": 1, "B": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
NANOSECONDS = {"": 1, "ns": 1, "us": 1000, "ms": 1_000_000, "s": 1_000_000_000}
PLAIN = {"": 1}
_SPELLED = {"µs": "us", "μs": "us"}  # the micro sign and the Greek letter

_NUMBER = re.compile(
    r"([+-]?)(?:0x([0-9a-f]{1,16})|([0-9]{1,20})(?:\.([0-9]{1,9}))?([a-zµμ]*))", re.I
)
_COMPARE = re.compile(r">=|<=|>|<|=|")


class Numbers:
    """Reads the numbers of one key. ``units``: unit → how much it is; ``named``: words."""

    def __init__(
        self, key: str, example: str, units: dict[str, int], named: dict[str, int] | None = None
    ) -> None:
        self._key = key
        self._example = example
        self._units = {unit.lower(): (unit, much) for unit, much in units.items()}
        self._named = named or {}

    def _problem(self, part: Part, word: str) -> Exception:
        units = ", ".join(unit for unit, _ in self._units.values() if unit)
        told = f"; units are {units}" if units else "; it has no units"
        return part.error(f"{self._key}: {word!r} is not a number (example: {self._example}{told})")

    def _number(self, part: Part, word: str) -> tuple[Fraction, str]:
        """The value and its canonical spelling."""
        named = self._named.get(word.lower())
        if named is not None:
            return Fraction(named), word.lower()
        found = _NUMBER.fullmatch(word)
        if found is None:
            raise self._problem(part, word)
        sign, hexadecimal, whole, decimals, unit = found.groups()
        minus = "-" if sign == "-" else ""
        if hexadecimal is not None:
            value = Fraction(int(hexadecimal, 16))
            return (-value if minus else value), f"{minus}{int(value):#x}"
        known = self._units.get(self._unit(unit))
        if known is None:
            raise self._problem(part, word)
        decimals = (decimals or "").rstrip("0")
        digits = f"{int(whole)}.{decimals}" if decimals else str(int(whole))
        value = Fraction(digits) * known[1]
        return (-value if minus else value), f"{minus}{digits}{known[0]}"

    def _unit(self, unit: str) -> str:
        unit = _SPELLED.get(unit.lower(), unit.lower())
        for tail in ("ib", "b") if "b" in self._units else ():  # KiB and KB are what K is
            if unit.endswith(tail) and unit.removesuffix(tail) in self._units and unit != tail:
                return unit.removesuffix(tail)
        return unit

    def ranges(self, part: Part) -> tuple[str, tuple[Range, ...]]:
        """Canonical text and what it means. QueryError for what is no number."""
        word = part.plain
        if ".." in word:
            return self._between(part, word)
        sign = _COMPARE.match(word)
        compare = sign[0] if sign else ""
        value, text = self._number(part, word[len(compare) :])
        if compare in ("", "="):
            if value.denominator != 1:
                raise part.error(f"{self._key}: {word} is not a whole number")
            return text, ((int(value), int(value)),)
        limits: dict[str, Range] = {
            ">": (floor(value) + 1, None),
            ">=": (ceil(value), None),
            "<": (None, ceil(value) - 1),
            "<=": (None, floor(value)),
        }
        return compare + text, (limits[compare],)

    def _between(self, part: Part, word: str) -> tuple[str, tuple[Range, ...]]:
        first, _, last = word.partition("..")
        low, low_text = self._number(part, first) if first else (None, "")
        high, high_text = self._number(part, last) if last else (None, "")
        if low is None and high is None:
            raise self._problem(part, word)
        if low is not None and high is not None and low > high:
            raise part.error(f"{self._key}: {word} ends before it begins")
        between = (None if low is None else ceil(low), None if high is None else floor(high))
        return f"{low_text}..{high_text}", (between,)
