"""A comparison of two recordings as one HTML file, with the means of tracer.report.page."""

from collections.abc import Iterator, Sequence
from html import escape

import pandas as pd

from tracer.report import cells
from tracer.report.columns import Column, derived, phrase, value
from tracer.report.diff import CHANGES, Diff
from tracer.report.diffview import HEADINGS, counts, outcomes
from tracer.report.model import WORST_FIRST
from tracer.report.page import coverage_card, document, rows_of

_VERDICTS = (
    value("verdict", "verdict"),
    value("a", "A", right=True),
    value("b", "B", right=True),
)
_VARIANTS = (phrase("question", "question"), phrase("a", "A"), phrase("b", "B"))
_DECISIONS = (
    value("op", "op"),
    value("kind", "kind"),
    value("seals", "seals", cells.seals),
    phrase("request", "asked"),
    derived("A", lambda row: outcomes(row["a"])),
    derived("B", lambda row: outcomes(row["b"])),
)
_OBJECTS = (
    derived("file", cells.file),
    derived("A", lambda row: counts(row["a"])),
    derived("B", lambda row: counts(row["b"])),
)


def diff_page(diff: Diff, top: int) -> Iterator[str]:
    """The file in pieces; each table has at most ``top`` rows."""
    names = [one.path.rstrip("/").rsplit("/", 1)[-1] for one in (diff.a, diff.b)]
    return document(" / ".join(names), "Two recordings compared", diff.question, _body(diff, top))


def _body(diff: Diff, top: int) -> Iterator[str]:
    yield coverage_card(diff.a, "A: ") + coverage_card(diff.b, "B: ")
    sides = [
        {"verdict": word, "a": diff.verdicts[0].get(word, 0), "b": diff.verdicts[1].get(word, 0)}
        for word in WORST_FIRST
    ]
    yield from _table("Verdicts", pd.DataFrame(sides), _VERDICTS, top)
    yield from _table("What these kernels do differently", diff.variants, _VARIANTS, top)
    for change in CHANGES:
        found = diff.decisions[diff.decisions["change"] == change]
        yield from _table(HEADINGS[change], found, _DECISIONS, top)
    yield from _table("Files that differ, by name", diff.objects, _OBJECTS, top)
    yield f'<p class="dim">{diff.same:,} classes of calls are answered the same, as often.</p>'


def _table(title: str, frame: pd.DataFrame, columns: Sequence[Column], top: int) -> Iterator[str]:
    if not frame.empty:
        yield f"<h2>{escape(title)}</h2>"
        yield from rows_of(frame, columns, {}, top)
