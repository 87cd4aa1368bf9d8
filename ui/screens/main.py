"""The main screen: is anything wrong, and the tables of objects, fds, processes, events, hooks."""

from typing import Any, ClassVar

import numpy as np
from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType

from ui import cells
from ui.columns import Column
from ui.request import TABLES, Key, Window
from ui.screens.base import TooSmall
from ui.screens.event import EventScreen
from ui.screens.jumps import Jumps
from ui.screens.object import ObjectScreen
from ui.snapshot import Snapshot
from ui.tables import COLUMNS
from ui.widgets.auditnotes import AuditNotes
from ui.widgets.banner import Banner
from ui.widgets.coverage import CoverageNotes
from ui.widgets.filterline import FilterLine
from ui.widgets.grid import Grid
from ui.widgets.header import Header
from ui.widgets.keyline import KeyLine
from ui.widgets.replaybar import ReplayBar
from ui.widgets.tabs import TabBar
from ui.widgets.verdicts import VerdictStrip

_TITLES = {
    "objects": "Objects",
    "fds": "Fds",
    "processes": "Processes",
    "events": "Events",
    "hooks": "Hooks",
}
_UNFILTERED = ("hooks", "audit")


class MainScreen(Jumps):
    """What the application begins with."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("1", "tab('objects')", "Objects", show=False),
        Binding("2", "tab('fds')", "File descriptors", show=False),
        Binding("3", "tab('processes')", "Processes", show=False),
        Binding("4", "tab('events')", "Events", show=False),
        Binding("5", "tab('hooks')", "Hooks: coverage and loss", show=False),
        Binding("6", "tab('audit')", "Audit: claims and evidence", show=False),
        Binding("tab", "turn(1)", "Next table", show=False, priority=False),
        Binding("shift+tab", "turn(-1)", "Table before", show=False),
        Binding("slash", "filter", "Filter", key_display="/"),
        Binding("F", "cell_filter", "Cell as filter", show=False, key_display="F"),
        Binding("escape", "clear", "Clear filter, then marks", show=False),
        Binding("s", "sort(1)", "Sort"),
        Binding("S", "reverse", "Reverse the order", show=False, key_display="S"),
        Binding("n", "jump('violation', 1)", "Next breach"),
        Binding("N", "jump('violation', -1)", "Breach before", show=False, key_display="N"),
        Binding("b", "jump('blocked', 1)", "Next blocked", show=False),
        Binding("B", "jump('blocked', -1)", "Blocked before", show=False, key_display="B"),
        Binding("space", "mark", "Mark", show=False),
        Binding("e", "export", "Export", show=False),
        Binding("y", "copy", "Copy row", show=False),
    ]

    def compose(self) -> ComposeResult:
        yield Header()
        yield VerdictStrip()
        yield Banner()
        yield TabBar(_TITLES, id="tables")
        yield FilterLine()
        yield Grid(COLUMNS["objects"], id="grid")
        yield CoverageNotes()
        yield AuditNotes()
        yield ReplayBar()
        yield KeyLine()
        yield TooSmall()

    def on_mount(self) -> None:
        self.settle_focus()

    def settle_focus(self) -> None:
        self.grid.focus()

    # Drawing

    def show(self, shot: Snapshot) -> None:
        super().show(shot)
        self.query_one(VerdictStrip).show(shot)
        if self.table == "hooks":
            self.query_one(CoverageNotes).show(shot)
        counts = {name: _short(shot.totals.get(name)) for name in TABLES}
        facts = shot.facts
        counts["hooks"] = f"{shot.hooks_live}/{facts.hooks}" if facts.hooks else ""
        if shot.audited is not None:
            counts["audit"] = shot.audited.result or "…"
        titles = {**_TITLES, "audit": "Audit"} if shot.audited is not None else _TITLES
        self.query_one(TabBar).show(self.table, counts, self._order(), titles)
        self.grid.set_present(frozenset(np.flatnonzero(shot.verdicts.counts).tolist()))
        if shot.rows.table == self.table:
            self.grid.sort = self.sorts[self.table]
            self.grid.show(shot.rows, COLUMNS[self.table], log=self.table == "events")
            self._say(shot)
            self._show_audit()
        self.arrive(shot)

    def _show_audit(self) -> None:
        audited = self.view.shot.audited
        if self.table == "audit" and audited is not None:
            row = tuple(self.grid.value(name) for name in ("claim", "dev", "ino", "gen"))
            self.query_one(AuditNotes).show(audited, row, self.view.shot.now.start_ns)

    def on_grid_moved(self) -> None:
        self._show_audit()

    def _order(self) -> Text:
        """What the rows are sorted by, for the right end of the tabs."""
        name, _ = self.sorts[self.table]
        if self.table in ("events", "hooks") or name is not None:
            return Text()
        return Text("worst first ", self.query_one(TabBar).style_of("quiet"))

    def _say(self, shot: Snapshot) -> None:
        rows = shot.rows
        note = rows.problem
        if self.view.request.query and rows.table in _UNFILTERED:
            note = "this table is not filtered"
        elif self.view.request.query and not note:
            note = f"{len(rows):,} of {rows.total:,}"
            if rows.busy is not None:
                note += f" … {rows.busy:.0%} read"
        self.query_one(FilterLine).say(note)
        self.grid.empty = self._nothing(shot)

    def _nothing(self, shot: Snapshot) -> str:
        if self.view.request.query:
            return "Nothing matches the filter. Esc drops it."
        if self.table == "audit":
            return "No audit yet." if shot.audited is None or not shot.audited.result else ""
        return "Nothing here yet." if shot.now.events == 0 else "Nothing of this kind."

    # Tables

    def action_tab(self, name: str) -> None:
        if name == "audit" and self.view.shot.audited is None:
            self.notify("Nothing is audited; start the view with --audit POLICY for that.")
            return
        grid = self.grid
        grid.unmark()
        sort, reverse = self.sorts[name]
        self.set_class(name == "hooks", "-hooks")
        self.set_class(name == "audit", "-audit")
        self.view.ask(table=name, sort=sort, reverse=reverse, window=Window())
        self.show(self.view.shot)
        grid.focus()

    def action_turn(self, step: int) -> None:
        tables = TABLES if self.view.shot.audited is not None else TABLES[:-1]
        self.action_tab(tables[(tables.index(self.table) + step) % len(tables)])

    def on_tab_bar_chosen(self, event: TabBar.Chosen) -> None:
        self.action_tab(event.name)

    def on_grid_edge(self, event: Grid.Edge) -> None:
        if self.table == "events":
            self.view.ask(window=event.window)

    # One row

    def on_grid_opened(self, event: Grid.Opened) -> None:
        place = event.grid.place
        if place is None:
            return
        rows = event.grid.rows
        if self.table == "events":
            self.app.push_screen(EventScreen(rows.record(place), rows.start_ns))
        elif self.table == "processes":
            self.filter(
                self.view.request.query.without(["pid"]).plus("pid", rows.value("pid", place))
            )
            self.action_tab("fds")
        elif self.table in ("objects", "fds", "audit") and rows.value("ino", place):
            self.app.push_screen(ObjectScreen(_key(rows.record(place))))

    def action_mark(self) -> None:
        self.grid.mark()

    def action_copy(self) -> None:
        grid = self.grid
        if grid.place is not None:
            self.view.copy_row(_shown(grid.columns, grid, grid.place))

    def action_export(self) -> None:
        self.view.export(self.grid.rows, self.grid.marked)


def _key(record: dict[str, Any]) -> Key:
    return int(record["dev"]), int(record["ino"]), int(record["gen"])


def _shown(columns: Any, grid: Grid, place: int) -> str:
    """A row as tab-separated text, all its columns."""
    texts = [column.text(grid.rows, place) for column in columns if isinstance(column, Column)]
    return "\t".join(texts)


def _short(count: int | None) -> str:
    if count is None:
        return ""
    return cells.count(count, 7) if count else "0"
