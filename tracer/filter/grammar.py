"""The grammar of filters: how a text becomes words, and a value patterns, numbers or sets of seals.

What comes out is plain data (:class:`Term`), evaluated by ``tracer/filter/mask.py``. Every error
names the word, where it stands, and what was probably meant.
"""

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from itertools import pairwise
from math import ceil, floor
from typing import NamedTuple

from tracer.errors import UserError, hint, nearest
from tracer.escape import cells, escape_bytes, printable, unescape
from tracer.labels import SEALS_UNKNOWN
from tracer.words import BY_NAME, EXEC, INACCESSIBLE, LETTERS, UNKNOWN
from tracer.words import names as seal_names

_SHOWN = 72  # characters of the filter around the bad word


class QueryError(UserError):
    """``text[start:end]`` is what is wrong; ``near`` is the known word that comes closest.

    The message has the filter itself below, with carets under the bad word.
    """

    def __init__(
        self, problem: str, text: str, start: int, end: int, near: str | None = None
    ) -> None:
        self.problem = problem
        self.text = text
        self.start = min(start, len(text))
        self.end = max(self.start, min(end, len(text)))
        self.near = near
        super().__init__(f"filter: {printable(problem)}\n{_pointed(text, self.start, self.end)}")

    @property
    def word(self) -> str:
        """The bad word as it was written."""
        return self.text[self.start : self.end]


def _pointed(text: str, start: int, end: int) -> str:
    """Two lines: the filter, cut where it is long, and carets below ``text[start:end]``."""
    left = 0 if end <= _SHOWN else max(0, min(start, end - _SHOWN // 2) - 8)
    right = min(len(text), left + _SHOWN)
    end = max(start, min(end, right))
    before = ("…" if left else "") + printable(text[left:start])
    bad = printable(text[start:end])
    behind = printable(text[end:right]) + ("…" if right < len(text) else "")
    return f"  {before}{bad}{behind}\n  {' ' * cells(before)}{'^' * max(1, cells(bad))}"


Range = tuple[int | None, int | None]
"""Smallest and largest number that match; None: no limit."""


@dataclass(frozen=True)
class Like:
    """The whole text matches ``regex``; a null does where ``null`` says so."""

    column: str
    regex: str
    ignore_case: bool = False
    null: bool = False


@dataclass(frozen=True)
class In:
    """The number lies in one of ``ranges``; a null in none."""

    column: str
    ranges: tuple[Range, ...]


@dataclass(frozen=True)
class Bits:
    """``number & mask == value``; a null never."""

    column: str
    mask: int
    value: int


Test = Like | In | Bits
All = tuple[Test, ...]
"""Tests that must all hold."""


@dataclass(frozen=True)
class Alternative:
    """One value, as it is written canonically; it matches where any of ``any_of`` holds."""

    text: str
    any_of: tuple[All, ...]


@dataclass(frozen=True)
class Term:
    """One word of a filter: the rows that match an alternative, or (``negated``) all others."""

    key: str | None
    """The key's first name, None for a bare word."""
    alternatives: tuple[Alternative, ...]
    negated: bool = False

    def __str__(self) -> str:
        values = ",".join(one.text for one in self.alternatives)
        key = "" if self.key is None else f"{self.key}:"
        return f"{'!' if self.negated else ''}{key}{values}"

    def columns(self) -> frozenset[str]:
        """The columns that it looks at."""
        return frozenset(
            test.column for one in self.alternatives for tests in one.any_of for test in tests
        )


class Char(NamedTuple):
    """One character of a value; ``""`` stands for a pair of quotes with nothing in it.

    It was written as ``text[start:end]``, which for a quoted one is all that stands in the quotes.
    """

    text: str
    quoted: bool
    start: int
    end: int


@dataclass(frozen=True)
class Part:
    """One alternative of a word: ``text[start:end]`` of the filter."""

    chars: tuple[Char, ...]
    text: str
    start: int
    end: int

    @property
    def plain(self) -> str:
        """The value without its quotes."""
        return "".join(char.text for char in self.chars)

    @property
    def quoted(self) -> bool:
        """Whether any of it stood in quotes."""
        return any(char.quoted for char in self.chars)

    def unknown(self, what: str, word: str, known: Collection[str]) -> QueryError:
        """To be raised: there is no such ``what``."""
        near = nearest(word, known)
        return self.error(f"there is no {what} {word!r}; {hint(near, known)}", near)

    def error(self, problem: str, near: str | None = None) -> QueryError:
        """To be raised: ``problem`` with this alternative."""
        return QueryError(problem, self.text, self.start, self.end, near)


@dataclass(frozen=True)
class Word:
    """``!key:part,part``; ``key`` is None for a bare word, else as it was written."""

    negated: bool
    key: Part | None
    parts: tuple[Part, ...]
    whole: Part


_TOKEN = re.compile(r'"((?:[^"]|"")*+)"|(\s+)|(.)', re.S)
"""Quotes with what stands in them, blanks, or any other character.

Within quotes ``""`` is one quote, as in CSV and SQL: a backslash is data here.
"""


def _cut(text: str) -> list[list[Char]]:
    """The characters of each word. QueryError: a quote that is never closed."""
    words: list[list[Char]] = [[]]
    for found in _TOKEN.finditer(text):
        content, blanks, char = found.groups()
        if blanks:
            words.append([])
        elif char == '"':
            raise QueryError('the quote " is never closed', text, found.start(), len(text))
        elif char:
            words[-1].append(Char(char, False, *found.span()))
        else:  # an empty pair of quotes is a value too
            inside = content.replace('""', '"') or [""]
            words[-1] += [Char(one, True, *found.span()) for one in inside]
    return [word for word in words if word]


def _part(chars: Sequence[Char], text: str, at: int) -> Part:
    """``at`` is where it would stand if it is empty."""
    start, end = (chars[0].start, chars[-1].end) if chars else (at, at)
    return Part(tuple(chars), text, start, end)


def _split(chars: Sequence[Char], text: str, start: int) -> tuple[Part, ...]:
    """What commas part; ``start`` is where the first would stand if it is empty."""
    commas = [place for place, one in enumerate(chars) if one.text == "," and not one.quoted]
    return tuple(
        _part(chars[before + 1 : behind], text, start if before < 0 else chars[before].end)
        for before, behind in pairwise([-1, *commas, len(chars)])
    )


def words(text: str) -> list[Word]:
    """The words of a filter, in order. QueryError for what cannot be cut into words."""
    found = []
    for chars in _cut(text):
        whole = _part(chars, text, 0)
        negated = chars[0].text == "!" and not chars[0].quoted
        rest = chars[1:] if negated else chars
        if not rest or (negated and rest[0].text == "!" and not rest[0].quoted):
            raise whole.error("one ! stands before a word: !op:mmap")
        # The colon that ends a key: nothing before it may be in quotes.
        place = next((n for n, one in enumerate(rest) if one.quoted or one.text == ":"), None)
        if place is None or rest[place].quoted:
            key, values, start = None, rest, rest[0].start
        else:
            key = _part(rest[:place], text, rest[place].start)
            values, start = rest[place + 1 :], rest[place].end
        found.append(Word(negated, key, _split(values, text, start), whole))
    return found


_SAFE = re.compile(r"[\w./@+%=:\\()\[\]{}#$^&;'|<>~!-]*")
"""What needs no quotes behind a key; ``~`` in front does, as it means "contains"."""
_SAFE_BARE = re.compile(r"\w[\w./@+%-]*")
RESERVED = frozenset({"and", "or", "not"})
"""Bare words that people write between words; to search for them they are quoted."""


def quote(text: str, bare: bool = False) -> str:
    """``text`` so that it is read as just these characters."""
    if bare:
        plain = bool(_SAFE_BARE.fullmatch(text)) and text.lower() not in RESERVED
    else:
        plain = text != "" and bool(_SAFE.fullmatch(text)) and not text.startswith("~")
    return text if plain else '"' + text.replace('"', '""') + '"'


def label(text: str, known: Sequence[str]) -> str:
    """``text`` as a word of the rules; ``known`` are those that need no quotes, if there are any.

    ``none`` and ``any`` mean something else without quotes.
    """
    lower = text.lower()
    foreign = known and lower not in {word.lower() for word in known}
    written = quote(text)
    if written == text and (foreign or lower in ("none", "any")):
        return f'"{text}"'
    return written


COMM_BYTES = 15
"""Of a command's name the kernel keeps no more (include/linux/sched.h: TASK_COMM_LEN - 1)."""


def comm_problem(literals: Sequence[str]) -> str:
    """Why no command can have a name with these texts in it; empty where one can.

    ``literals``: in the escaped form that names are compared in.
    """
    kept = b""
    for text in literals:
        try:
            kept += unescape(text)
        except ValueError:  # the other half of an escape is what a wildcard stands for
            continue
    if len(kept) <= COMM_BYTES:
        return ""
    shown = escape_bytes(kept[:COMM_BYTES])
    return (
        f"the kernel keeps {COMM_BYTES} bytes of a command's name, so that nothing longer matches; "
        f"of this one it keeps {shown!r}"
    )


@dataclass(frozen=True)
class Pattern:
    """``pieces``: literal text and the wildcards ``*`` and ``?`` in turn."""

    pieces: tuple[tuple[str, bool], ...]
    """``(text, whether it is a wildcard)``; no two literal texts in a row."""
    contains: bool = False

    @property
    def literal(self) -> str | None:
        """The one text it matches; None where there are more."""
        if self.contains or any(wild for _, wild in self.pieces):
            return None
        return "".join(text for text, _ in self.pieces)

    def lower(self) -> "Pattern":
        """In lower case."""
        return Pattern(tuple((text.lower(), wild) for text, wild in self.pieces), self.contains)

    def written(self, bare: bool = False) -> str:
        """As a filter has it; ``bare``: without a key, where "contains" goes without saying."""
        body = "".join(text if wild else quote(text, bare) for text, wild in self.pieces)
        return f"~{body}" if self.contains and not bare else body

    def regex(self) -> str:
        """For ``re.fullmatch`` with DOTALL, in time linear in the text for each ``*``."""
        segments = [""]
        for text, wild in self.pieces:
            if text == "*" and wild:
                segments.append("")
            else:
                segments[-1] += "." if wild else re.escape(text)
        if self.contains:
            segments = ["", *segments, ""]
        if len(segments) == 1:
            return segments[0]
        # What lies between two stars matches at its first place or nowhere: atomic groups keep
        # a hostile name from making the search try all others (as fnmatch.translate does).
        middle = "".join(f"(?>.*?{segment})" for segment in segments[1:-1] if segment)
        return f"{segments[0]}{middle}.*{segments[-1]}"


def glob(text: str) -> Pattern:
    """The pattern of a text in which ``*`` and ``?`` are wildcards and all else is what it is."""
    pieces = re.split(r"([*?])", text)
    return Pattern(tuple((piece, piece in ("*", "?")) for piece in pieces if piece))


@lru_cache(maxsize=4096)
def _matcher(text: str) -> re.Pattern[str]:
    return re.compile(glob(text).regex(), re.DOTALL)


def matches(text: str, name: str) -> bool:
    """Whether all of ``name`` is as the glob ``text`` says; upper and lower case differ."""
    return _matcher(text).fullmatch(name) is not None


def _pieces(chars: tuple[Char, ...]) -> tuple[tuple[str, bool], ...]:
    pieces: list[tuple[str, bool]] = []
    for char in chars:
        wild = char.text in ("*", "?") and not char.quoted
        if not wild and pieces and not pieces[-1][1]:
            pieces[-1] = (pieces[-1][0] + char.text, False)
        elif char.text or len(chars) == 1:
            pieces.append((char.text, wild))
    return tuple(pieces)


def pattern(part: Part, bare: bool = False) -> Pattern:
    """The pattern that ``part`` stands for. QueryError where there is nothing to look for."""
    chars = part.chars
    contains = bare
    if chars and chars[0].text == "~" and not chars[0].quoted:
        contains, chars = True, chars[1:]
    pieces = _pieces(chars)
    if not pieces or (contains and pieces == (("", False),)):
        raise part.error("here is no text to look for")
    return Pattern(pieces, contains)


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
        known = f"; units are {units}" if units else "; it has no units"
        example = f"(example: {self._example}{known})"
        return part.error(f"{self._key}: {word!r} is not a number {example}")

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
        first, dots, last = word.partition("..")
        if dots:
            low, low_text = self._number(part, first) if first else (None, "")
            high, high_text = self._number(part, last) if last else (None, "")
            if low is None and high is None:
                raise self._problem(part, word)
            if low is not None and high is not None and low > high:
                raise part.error(f"{self._key}: {word} ends before it starts")
            between = (None if low is None else ceil(low), None if high is None else floor(high))
            return f"{low_text}..{high_text}", (between,)
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


_NAMES = {name.lower(): bit for name, bit in BY_NAME.items()}
_PLACES = re.compile("".join(f"[{letter}-]" for letter in LETTERS))
_LETTERS = re.compile(f"[{LETTERS}]+")
_SEALS_NUMBER = re.compile(r"0x[0-9a-f]{1,8}|[0-9]{1,10}", re.I)
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
        elif _SEALS_NUMBER.fullmatch(name) and int(name, 0 if "x" in name.lower() else 10) <= _MOST:
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
    shown = hint(near, [*known, f"the letters {LETTERS}"])
    return part.error(f"there is no seal {name!r}; {shown}", near)


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
