"""Columns that several tables share."""

from typing import Any

from ui import cells
from ui.columns import Array, Column, rank_of
from ui.marks import VIOLATIONS
from ui.rows import Rows
from ui.tables.verdicts import verdict_of


def plain(
    name: str,
    title: str,
    width: int,
    most: int = 0,
    *,
    rank: int = 0,
    right: bool = False,
    ask: str | None = None,
) -> Column:
    """A number or a text as it is; ``most`` as in Column; ``ask`` is the filter's key for it."""
    return Column(
        name,
        title,
        width,
        lambda rows, place: cells.text(rows.value(name, place)),
        right=right,
        rank=rank,
        most=most,
        ask=(lambda rows, place: (ask, rows.value(name, place))) if ask else None,
    )


def file(width: int, most: int, title: str = "name", verdict_column: str = "worst") -> Column:
    """The name of the object of a row; it has the colour of a violation."""

    def shown(rows: Rows, place: int) -> str:
        get = rows.value
        return cells.name_of(
            get("kind", place), get("name", place), get("dev", place), get("ino", place)
        )

    def ask(rows: Rows, place: int) -> tuple[str, Any]:
        name = rows.value("name", place)
        if name is not None:
            return "name", name
        key = (rows.value(part, place) for part in ("dev", "ino", "gen"))
        return "object", ":".join(map(str, key))

    def style(rows: Rows, place: int) -> str | None:
        verdict = verdict_of(rows, place, verdict_column)
        return verdict.word if verdict in VIOLATIONS else None

    return Column("name", title, width, shown, most=most, style=style, ask=ask)


def seals(name: str = "seals", title: str = "seals", *, rank: int = 0) -> Column:
    """Seals letter by letter."""
    return Column(
        name,
        title,
        6,
        lambda rows, place: cells.seals(rows.value(name, place)),
        rank=rank,
        style=lambda rows, place: "strong" if rows.value(name, place) else "dim",
        ask=lambda rows, place: ("seals", rows.value(name, place)),
        falling=True,
    )


def size(name: str = "size", title: str = "size", *, rank: int = 0) -> Column:
    """Bytes."""
    return Column(
        name,
        title,
        5,
        lambda rows, place: cells.size(rows.value(name, place)),
        right=True,
        rank=rank,
        ask=lambda rows, place: (name, rows.value(name, place)),
        falling=True,
    )


def last(rank: int = 0) -> Column:
    """The last operation and what it was answered."""

    def shown(rows: Rows, place: int) -> str:
        op = rows.value("last_op", place)
        if op is None:
            return cells.NONE
        return f"{cells.text(op)} {cells.short_answer(rows.value('last_answer', place))}"

    def style(rows: Rows, place: int) -> str | None:
        return "strong" if (rows.value("last_answer", place) or 0) < 0 else None

    def ask(rows: Rows, place: int) -> tuple[str, Any] | None:
        op = rows.value("last_op", place)
        return None if op is None else ("op", op)

    def keys(rows: Rows) -> Array:
        return rank_of(rows.columns["last_op"])

    return Column("last_op", "last", 16, shown, keys, rank=rank, most=21, style=style, ask=ask)


def ago(rank: int = 0) -> Column:
    """How long since the last decision."""
    return _since("last_ns", "ago", rank)


def age(rank: int = 0) -> Column:
    """How long ago the thing was first seen."""
    return _since("first_ns", "age", rank)


def _since(name: str, title: str, rank: int) -> Column:
    def keys(rows: Rows) -> Array:
        return -rank_of(rows.columns[name])

    def shown(rows: Rows, place: int) -> str:
        when = rows.value(name, place)
        if when is None or rows.now_ns is None:
            return cells.NONE
        return cells.span(max(0, rows.now_ns - when))

    return Column(name, title, 5, shown, keys, right=True, rank=rank)


def who(rank: int = 0) -> Column:
    """Command and process."""
    return plain("comm", "command", 7, 20, rank=rank, ask="comm")


def pid(title: str = "pid", name: str = "pid") -> Column:
    """Process id."""
    return plain(name, title, 7, right=True, ask=name)


def fd(width: int, rank: int = 0) -> Column:
    """File descriptor."""

    def shown(rows: Rows, place: int) -> str:
        number = rows.value("fd", place)
        return cells.NONE if number is None or number < 0 else str(number)

    return Column(
        "fd",
        "fd",
        width,
        shown,
        right=True,
        rank=rank,
        ask=lambda rows, place: ("fd", rows.value("fd", place)),
    )
