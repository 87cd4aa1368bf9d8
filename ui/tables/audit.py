"""Columns of the audit: a claim about one object each."""

from collections.abc import Sequence

from ui import cells
from ui.columns import Column
from ui.rows import Rows
from ui.tables import common, verdicts


def _state(rows: Rows, place: int) -> str:
    return cells.text(rows.value("state", place)).upper()


def _style(rows: Rows, place: int) -> str | None:
    verdict = verdicts.verdict_of(rows, place, "worst")
    return None if verdict is None else verdict.word


def _time(rows: Rows, place: int) -> str:
    when = rows.value("time_ns", place)
    return cells.NONE if when is None else cells.clock((when - (rows.start_ns or 0)) / 1e9)


AUDIT: Sequence[Column] = (
    verdicts.mark("worst"),
    Column("state", "result", 14, _state, style=_style),
    common.plain("claim", "claim", 12, 20),
    common.file(16, 28, "object"),
    common.seals(rank=3),
    verdicts.number("breach", "broken", 6, style="breach"),
    Column("time_ns", "time s", 9, _time, right=True, rank=4),
    common.plain("evidence", "evidence", 16, 200, rank=1),
)
