"""Columns of the log of events, and of the hooks."""

from collections.abc import Sequence
from typing import Any

from tracer.model.errnos import MAX_ERRNO
from tracer.model.words import Flag
from ui import cells
from ui.columns import Array, Column, rank_of
from ui.rows import Rows
from ui.tables import common, verdicts

_MARKS = {
    int(Flag.RACED_SEALS): "raced",
    int(Flag.RACED_SIZE): "raced-size",
    int(Flag.ENTRY_MISSING): "no-entry",
    int(Flag.RETURN_MISSING): "no-return",
    int(Flag.KERNEL_TASK): "kernel",
}


def _time(rows: Rows, place: int) -> str:
    start = rows.start_ns or 0
    return f"{(rows.value('time_ns', place) - start) / 1e9:.6f}"


def _asked(rows: Rows, place: int) -> str:
    return cells.asked(lambda name: rows.value(name, place), rows.bit5)


def _answer(rows: Rows, place: int) -> str:
    op, value, flags = (rows.value(name, place) for name in ("op", "answer", "flags"))
    shown = cells.answer(op, value, flags)
    # Where a mapping lies says little in a log; the event's own screen has it.
    return "= ok" if shown.startswith("= 0x") else shown


def _answer_style(rows: Rows, place: int) -> str | None:
    return "strong" if -MAX_ERRNO <= (rows.value("answer", place) or 0) < 0 else None


def _ask_answer(rows: Rows, place: int) -> tuple[str, Any]:
    value = rows.value("answer", place)
    return "ret", value if -MAX_ERRNO <= value < 0 else "ok"


def _why(rows: Rows, place: int) -> str:
    because = cells.because(lambda name: rows.value(name, place))
    parts = [rows.value("hole", place), because]
    flags = rows.value("flags", place) or 0
    parts += [word for bit, word in _MARKS.items() if flags & bit]
    return "; ".join(cells.text(part) for part in parts if part)


def _expected(rows: Rows, place: int) -> str:
    return cells.text(rows.value("expected", place) or " ")


def _by_op(rows: Rows) -> Array:
    return rank_of(rows.columns["op"])


def decisions(with_file: bool = True) -> Sequence[Column]:
    """Columns of events; without the file's name where all are of one file."""
    named = [common.file(14, 32, "file", "verdict")] if with_file else []
    return (
        verdicts.mark("verdict"),
        Column("time_ns", "time s", 10, _time, right=True, rank=2),
        common.who(),
        common.plain("pid", "pid", 6, right=True, rank=4, ask="pid"),
        Column("op", "op", 10, lambda rows, place: cells.text(rows.value("op", place)), _by_op,
               ask=lambda rows, place: ("op", rows.value("op", place))),
        *named,
        common.seals(),
        Column("arg", "asked", 12, _asked, most=34, rank=1),
        common.fd(3, rank=6),
        Column("answer", "answer", 8, _answer, most=12, style=_answer_style, ask=_ask_answer),
        Column("expected", "expected", 8, _expected, rank=7, most=9,
               ask=lambda rows, place: ("expected", rows.value("expected", place))),
        Column("reason", "why", 12, _why, rank=3, most=60,
               ask=lambda rows, place: ("reason", rows.value("reason", place))),
        Column("duration_ns", "took", 6, lambda r, p: cells.span(r.value("duration_ns", p) or None),
               right=True, rank=8, falling=True),
    )  # fmt: skip


EVENTS = decisions()
OF_OBJECT = decisions(with_file=False)


def _hook_style(rows: Rows, place: int) -> str | None:
    state = rows.value("state", place)
    return {"LIVE": "allowed", "ABSENT": "dim", "WAITS": "dim"}.get(state, "breach")


def _test_style(rows: Rows, place: int) -> str | None:
    seen, _, expected = str(rows.value("self_test", place) or "").partition("/")
    return None if seen == expected else "breach"


HOOKS: Sequence[Column] = (
    Column("state", "state", 6, lambda r, p: cells.text(r.value("state", p)), style=_hook_style),
    common.plain("family", "family", 13, 18),
    common.plain("symbol", "kernel function", 18, 30),
    common.plain("method", "method", 7, rank=2),
    Column("self_test", "self-test", 9, lambda r, p: cells.text(r.value("self_test", p)),
           style=_test_style, rank=1),
    verdicts.number("decided", "decided", 8, rank=3),
    common.plain("note", "what it sees, or why not", 16, 90, rank=0),
)  # fmt: skip
