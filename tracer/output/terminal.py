"""The report on a terminal or in a pipe: loss first, then the worst. Colour only repeats words.

Nothing from a recording is ever markup: everything printed is a rich Text.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from rich.console import Console
from rich.text import Text

from tracer.output import tables as layout
from tracer.output.coverage import Coverage
from tracer.output.tables import GAP, LEGEND, LISTED, WORST_FIRST, Column, fitted, widths

if TYPE_CHECKING:
    import pandas as pd

    from tracer.output.report import Report

STYLES = {
    "breach": "bold red",
    "unexplained": "bold magenta",
    "indeterminate": "yellow",
    "blocked": "cyan",
    "error": "",
    "allowed": "green",
}
_ALARM = "bold red"
_INDENT = "  "


class Terminal:
    """Prints reports on ``console``, whose width they keep; ``top`` rows of each table."""

    def __init__(self, console: Console, top: int) -> None:
        self.console = console
        self.top = top
        self._boots: dict[str, layout.Boot] = {}

    def show(self, report: "Report", tables: Sequence[str]) -> None:
        """Prints everything; ``tables`` are those of :attr:`Report.tables` that are wanted."""
        self._boots = layout.boots(report.coverage)
        for one in report.coverage:
            self.coverage(one)
        self._verdicts(report)
        for verdict in LISTED:
            self._listed(report, verdict)
        for name in tables:
            self._table(name, report.tables[name], report.several)
        self._table("late", report.late, report.several)
        self._table("busy", report.busy, report.several)
        if report.decisions:
            self.console.print()
            self.line(LEGEND, "dim")

    def line(self, text: str, style: str = "", indent: str = "") -> None:
        """A sentence, wrapped at the width; the second line stands under the first."""
        room = max(20, self.console.width - len(indent))
        for piece in Text(text, style).wrap(self.console, room):
            piece.rstrip()
            self.console.print(Text(indent), piece, sep="", no_wrap=True, overflow="ellipsis")

    def heading(self, text: str) -> None:
        """Starts a section."""
        self.console.print()
        self.line(text, "bold")

    def coverage(self, one: Coverage, letter: str = "") -> None:
        """What a recording could see and lost; ``letter`` stands before it."""
        self.line(letter + one.title, "bold")
        for sentence in one.alarms():
            self.line(f"! {sentence}", _ALARM, _INDENT)
        self.line(one.summary, "", _INDENT)
        for sentence, alarm in one.self_test.sentences():
            self.line(sentence, _ALARM if alarm else "", _INDENT)
        for sentence in one.remarks():
            self.line(sentence, "", _INDENT)
        for sentence, gap in one.gaps():
            word, style = ("UNSEEN", "bold") if gap else ("not recorded", "dim")
            self.line(f"{word}: {sentence}", style, _INDENT)
        if one.blind_spots:
            self.line(
                f"blind spots of this version: {len(one.blind_spots)} ('sealsnoop doctor' and "
                "--json list them)", "dim", _INDENT,
            )  # fmt: skip

    def _verdicts(self, report: "Report") -> None:
        question = str(report.question)
        self.heading(f"Verdicts ({question})" if question else "Verdicts")
        if not report.decisions:
            self.line(
                "no decision matches" if question else "no decision was recorded", "", _INDENT
            )
            return
        for word in WORST_FIRST:
            count = report.verdicts.get(word, 0)
            line = Text(f"{_INDENT}{word:<14}{count:>12,}{count / report.decisions:>9.1%}")
            line.stylize(STYLES[word] if count else "dim")
            self.console.print(line)
        for note in report.notes():
            self.line(note, "", _INDENT)

    def _listed(self, report: "Report", verdict: str) -> None:
        if not report.verdicts.get(verdict, 0):
            return
        heading, found, unlisted = report.listing(verdict)
        self.console.print()
        self.line(heading, STYLES[verdict])
        self._rows("listed", found, report.several, layout.detail, STYLES[verdict])
        if unlisted:
            self.line(unlisted, "", _INDENT)

    def more(self, there: int) -> None:
        """Says how many of ``there`` rows were left out."""
        if there > self.top:
            self.line(f"and {there - self.top:,} more (--top {there})", "dim", _INDENT)

    def _table(self, name: str, frame: "pd.DataFrame", several: bool) -> None:
        if not frame.empty:
            self.heading(layout.TITLES[name])
            self._rows(name, frame, several)

    def _rows(
        self,
        name: str,
        frame: "pd.DataFrame",
        several: bool,
        below: Callable[[layout.Row], str] | None = None,
        style: str = "",
    ) -> None:
        """The first rows of a table; ``below`` gives a sentence in ``style`` under each."""
        columns = layout.present(frame, name, several)
        entries = layout.with_boot(layout.rows(frame, self.top), self._boots)
        grid = [[column.text(row) for column in columns] for row in entries]
        given = widths(columns, grid, self.console.width - len(_INDENT))
        shown = [(column, width) for column, width in zip(columns, given, strict=True) if width]
        self._cells(shown, [column.title for column, _ in shown], "dim")
        left_out = layout.REQUEST in columns and not any(one is layout.REQUEST for one, _ in shown)
        for row in entries:
            self._cells(shown, [column.text(row) for column, _ in shown], None)
            if below is not None:
                request = f"{layout.request(row)}: " if left_out else ""
                self.line(request + below(row), style, _INDENT * 3)
        self.more(len(frame))

    def _cells(
        self, shown: Sequence[tuple[Column, int]], texts: Sequence[str], style: str | None
    ) -> None:
        line = Text(_INDENT)
        for (column, width), text in zip(shown, texts, strict=True):
            own = STYLES.get(column.verdict or text, "") if style is None else style
            line.append(fitted(column, text, width), own).append(" " * GAP)
        line.rstrip()
        self.console.print(line, no_wrap=True, overflow="crop")
