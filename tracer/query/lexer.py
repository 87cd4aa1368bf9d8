"""Cuts the text of a filter into words, keys and alternatives; knows nothing of their meaning."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from tracer.query.errors import QueryError


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


def _cut(text: str) -> list[list[Char]]:
    """The characters of each word. QueryError: a quote that is never closed."""
    words: list[list[Char]] = [[]]
    place = 0
    while place < len(text):
        char = text[place]
        if char == '"':
            content, end = _quoted(text, place)
            # An empty pair of quotes is a value too.
            words[-1] += [Char(one, True, place, end) for one in content or [""]]
            place = end
            continue
        if char.isspace():
            words.append([])
        else:
            words[-1].append(Char(char, False, place, place + 1))
        place += 1
    return [word for word in words if word]


def _quoted(text: str, start: int) -> tuple[str, int]:
    """What stands in the quotes that open at ``start``, and the place behind them."""
    content = ""
    place = start + 1
    while (end := text.find('"', place)) >= 0:
        content += text[place:end]
        if text[end + 1 : end + 2] != '"':
            return content, end + 1
        content += '"'  # "" is one quote, as in CSV and SQL: a backslash is data here
        place = end + 2
    raise QueryError('the quote " is never closed', text, start, len(text))


def _part(chars: Sequence[Char], text: str, at: int) -> Part:
    """``at`` is where it would stand if it is empty."""
    start, end = (chars[0].start, chars[-1].end) if chars else (at, at)
    return Part(tuple(chars), text, start, end)


def _split(chars: Sequence[Char], text: str, start: int) -> tuple[Part, ...]:
    parts = []
    held: list[Char] = []
    at = start
    for char in chars:
        if char.text == "," and not char.quoted:
            parts.append(_part(held, text, at))
            held, at = [], char.end
        else:
            held.append(char)
    return (*parts, _part(held, text, at))


def _colon(chars: Sequence[Char]) -> int | None:
    """Place of the colon that ends a key: nothing before it may be in quotes."""
    for place, char in enumerate(chars):
        if char.quoted:
            return None
        if char.text == ":":
            return place
    return None


def words(text: str) -> list[Word]:
    """The words of a filter, in order. QueryError for what cannot be cut into words."""
    found = []
    for chars in _cut(text):
        whole = _part(chars, text, 0)
        negated = chars[0].text == "!" and not chars[0].quoted
        rest = chars[1:] if negated else chars
        if not rest or (negated and rest[0].text == "!" and not rest[0].quoted):
            raise whole.error("one ! stands before a word: !op:mmap")
        place = _colon(rest)
        if place is None:
            key, values, start = None, rest, rest[0].start
        else:
            key = _part(rest[:place], text, rest[place].start)
            values, start = rest[place + 1 :], rest[place].end
        found.append(Word(negated, key, _split(values, text, start), whole))
    return found
