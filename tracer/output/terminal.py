"""The report on a terminal or in a pipe: the result, what to do, what it rests on, coverage last.

Colour only repeats words.

Nothing from a recording is ever markup: everything printed is a rich Text.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from rich.console import Console
from rich.text import Text

from tracer.output import tables as layout
from tracer.output.coverage import Coverage
from tracer.output.summary import Summary
from tracer.output.tables import ALARMS, GAP, LEGEND, WORST_FIRST, Column, fitted, widths

if TYPE_CHECKING:
    import pandas as pd

    from tracer.output.report import Listing, Report

STYLES = {
    "breach": "bold red",
    "unexplained": "bold magenta",
    "indeterminate": "yellow",
    "blocked": "cyan",
    "error": "",
    "allowed": "green",
}
RESULTS = {
    "breach": "bold red",
    "unexplained": "bold magenta",
    "uncertain": "bold yellow",
    "different": "bold yellow",
    "known-holes": "bold yellow",
    "nothing": "bold",
    "fine": "bold green",
    "same": "bold green",
}
"""Styles of the first line, by :attr:`tracer.output.summary.Summary.result`."""
_ALARM = "bold red"
_INDENT = "  "


class Terminal:
    """Prints reports on ``console``, whose width they keep; ``top`` rows of each table.

    :param long: what each recording could see at length, not in one line.
    """

    def __init__(self, console: Console, top: int, long: bool = False) -> None:
        self.console = console
        self.top = top
        self.long = long
        self._boots: dict[str, layout.Boot] = {}

    def show(self, report: "Report", tables: Sequence[str]) -> None:
        """Prints everything; ``tables`` are those of :attr:`Report.tables` that are wanted."""
        self._boots = layout.boots(report.coverage, report.clocks)
        self.result(report.summary)
        self._verdicts(report)
        for one in report.coverage:
            self.recorded(one)
        for missing in report.unread:
            self.line(f"not read: {missing.path}: {missing.problem}", _ALARM, "", _INDENT)
        listings = list(report.listings())
        for listing in listings:
            if listing.verdict in ALARMS:
                self._listed(listing, report.several)
        self._table("busy", report.busy, report.several)
        for listing in listings:
            if listing.verdict not in ALARMS:
                self._listed(listing, report.several)
        self._table("origins", report.refused_from, report.several)
        self._table("executed", report.executed, report.several)
        self._table("machines", report.machines, report.several)
        self._table("late", report.late, report.several)
        for name in tables:
            self._table(name, report.tables[name], report.several)
        self.console.print()
        if report.decisions:
            self.line(LEGEND, "dim")
        for note in report.notes():
            self.line(note, "dim")
        for one in report.coverage:
            self.coverage(one, f"{one.file_name}: " if len(report.coverage) > 1 else "")

    def result(self, summary: Summary) -> None:
        """The first line, and what to do about it."""
        self.line(summary.text, RESULTS[summary.result])
        for sentence in summary.todo:
            self.line(f"→ {sentence}", "", _INDENT, _INDENT)

    def line(self, text: str | Text, style: str = "", indent: str = "", hang: str = "") -> None:
        """A sentence, wrapped at the width; the second line stands under the first.

        :param hang: what further lines are indented by beyond that.
        """
        room = max(20, self.console.width - len(indent) - len(hang))
        whole = Text(text, style) if isinstance(text, str) else text
        for place, piece in enumerate(whole.wrap(self.console, room)):
            piece.rstrip()
            before = Text(indent + (hang if place else ""))
            self.console.print(before, piece, sep="", no_wrap=True, overflow="ellipsis")

    def heading(self, text: str) -> None:
        """Starts a section."""
        self.console.print()
        self.line(text, "bold")

    def recorded(self, one: Coverage, letter: str = "") -> None:
        """Which recording, when and of what, and what is missing from it; ``letter`` before it."""
        self.line(letter + one.title, "")
        for sentence in one.alarms():
            self.line(f"! {sentence}", _ALARM, _INDENT)
        for sentence, alarm in one.self_test.sentences():
            if alarm:
                self.line(f"! {sentence}", _ALARM, _INDENT)
        for family in one.failed:
            self.line(f"! UNSEEN: {family.sentence}", _ALARM, _INDENT)

    def coverage(self, one: Coverage, letter: str = "") -> None:
        """What a recording could see; ``letter`` stands before it."""
        if not self.long:
            self.line(f"coverage: {letter}{one.brief} (--coverage shows all)", "dim")
            return
        self.heading(f"Coverage: {letter.removesuffix(': ') or one.file_name}")
        self.line(one.summary, "", _INDENT)
        for sentence, alarm in one.self_test.sentences():
            self.line(sentence, _ALARM if alarm else "", _INDENT)
        for sentence in one.remarks():
            self.line(sentence, "", _INDENT)
        for sentence, gap in one.gaps():
            word, style = ("UNSEEN", "bold") if gap else ("not recorded", "dim")
            self.line(f"{word}: {sentence}", style, _INDENT)
        for sentence in one.blind_spots:
            self.line(f"never seen by this version: {sentence}", "dim", _INDENT)

    def _verdicts(self, report: "Report") -> None:
        if not report.decisions:
            return
        line = Text(
            f"{report.decisions:,} {'decision' if report.decisions == 1 else 'decisions'}: "
        )
        there = [word for word in WORST_FIRST if report.verdicts.get(word)]
        for place, word in enumerate(there):
            line.append(", " if place else "").append(
                f"{report.verdicts[word]:,} {word}", STYLES[word]
            )
        self.line(line)

    def _listed(self, one: "Listing", several: bool) -> None:
        self.console.print()
        self.line(one.heading, STYLES[one.verdict])
        self._rows("listed", one.rows, several, layout.detail, STYLES[one.verdict])
        if one.more:
            self.line(one.more, "", _INDENT)

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
        entries, there = layout.entries(name, frame, self._boots, self.top)
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
        self.more(there)

    def _cells(
        self, shown: Sequence[tuple[Column, int]], texts: Sequence[str], style: str | None
    ) -> None:
        line = Text(_INDENT)
        for (column, width), text in zip(shown, texts, strict=True):
            own = STYLES.get(column.verdict or text, "") if style is None else style
            line.append(fitted(column, text, width), own).append(" " * GAP)
        line.rstrip()
        self.console.print(line, no_wrap=True, overflow="crop")
