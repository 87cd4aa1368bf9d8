"""Columns of verdicts: the symbol of one, counts of many."""

from typing import Any

from tracer.model.verdicts import Verdict
from ui import cells
from ui.columns import Column
from ui.marks import SYMBOLS
from ui.rows import Rows


def verdict_of(rows: Rows, place: int, name: str) -> Verdict | None:
    """The verdict in column ``name``, None where there is none."""
    value = rows.value(name, place)
    return Verdict(value) if value is not None and 0 <= value < len(Verdict) else None


def mark(name: str, title: str = "") -> Column:
    """The symbol of a verdict, one cell."""

    def shown(rows: Rows, place: int) -> str:
        verdict = verdict_of(rows, place, name)
        return " " if verdict is None else SYMBOLS[verdict]

    def style(rows: Rows, place: int) -> str | None:
        verdict = verdict_of(rows, place, name)
        return None if verdict is None else verdict.word

    def ask(rows: Rows, place: int) -> tuple[str, Any] | None:
        verdict = verdict_of(rows, place, name)
        return None if verdict is None else ("verdict", verdict.word)

    return Column(name, title, 2, shown, style=style, ask=ask, right=True, falling=True)


def number(
    name: str,
    title: str,
    width: int,
    *,
    rank: int = 0,
    most: int = 0,
    style: str | None = None,
    ask: str | None = None,
    only: Verdict | None = None,
) -> Column:
    """A count; ``style`` where it is not 0; ``only`` where there is such a verdict at all."""

    def styled(rows: Rows, place: int) -> str | None:
        return style if rows.value(name, place) else "dim"

    return Column(
        name,
        title,
        width,
        lambda rows, place: cells.count(rows.value(name, place), max(width, 7)),
        right=True,
        rank=rank,
        most=most,
        style=styled,
        ask=(lambda rows, place: ("verdict", ask)) if ask else None,
        falling=True,
        only=only,
    )
