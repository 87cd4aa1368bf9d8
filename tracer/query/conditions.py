"""What a parsed filter consists of: plain data, evaluated by ``tracer/query/evaluate.py``."""

from dataclasses import dataclass

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
