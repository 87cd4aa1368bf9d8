"""The main screen: is anything wrong, and the tables of objects, fds, processes, events, hooks."""

import time
from typing import ClassVar

import numpy as np
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container, Horizontal
from textual.timer import Timer

from tracer.filter.grammar import QueryError
from tracer.filter.query import Query
from tracer.live import cells
from tracer.live.cells import JUMPS
from tracer.live.snapshot import TABLES, Key, Snapshot, Window
from tracer.live.tables import COLUMNS, Column
from tracer.rules.verdicts import Verdict
from ui.screens.base import Base
from ui.screens.machine import MachineScreen
from ui.screens.object import EventScreen, EvidenceScreen, ObjectScreen
from ui.widgets.details import AuditNotes, CoverageNotes
from ui.widgets.filterline import FilterLine
from ui.widgets.grid import Grid
from ui.widgets.preview import Preview, newest_callers
from ui.widgets.strips import Bar, VerdictLine

_TITLES = {
    "objects": "Objects",
    "fds": "Fds",
    "processes": "Processes",
    "events": "Events",
    "hooks": "Hooks",
}
_UNFILTERED = ("hooks", "audit")
_OF_OBJECTS = ("objects", "fds")
"""Tables whose preview has more to say about the row's object."""
_REST_S = 0.25
"""The cursor stays so long before the recording is read for the row's object."""
_CALM_S = 2.0
"""The same where rows moved and the user did not."""


class MainScreen(Base):
    """What the application starts with."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("1", "tab('objects')", "Objects", show=False),
        Binding("2", "tab('fds')", "File descriptors", show=False),
        Binding("3", "tab('processes')", "Processes", show=False),
        Binding("4", "tab('events')", "Events", show=False),
        Binding("5", "tab('hooks')", "Hooks: coverage and loss", show=False),
        Binding("6", "tab('audit')", "Audit: claims and evidence", show=False),
        Binding("tab", "turn(1)", "Next table", show=False, priority=False),
        Binding("shift+tab", "turn(-1)", "Table before", show=False),
        Binding("slash", "filter", "filter"),
        Binding("F", "cell_filter", "Cell as filter", show=False),
        Binding("escape", "clear", "Clear filter, then marks", show=False),
        Binding("s", "sort", "sort"),
        Binding("S", "reverse", "Reverse the order", show=False),
        Binding("n", "jump('violation', 1)", "next breach"),
        Binding("N", "jump('violation', -1)", "Breach before", show=False),
        Binding("b", "jump('blocked', 1)", "Next blocked", show=False),
        Binding("B", "jump('blocked', -1)", "Blocked before", show=False),
        Binding("space", "mark", "Mark", show=False),
        Binding("e", "export", "Export", show=False),
        Binding("y", "copy", "Copy row", show=False),
        Binding("m", "machine", "Virtual machine of the row's file", show=False),
        Binding("J", "scroll_preview(4)", "Preview down", show=False),
        Binding("K", "scroll_preview(-4)", "Preview up", show=False),
    ]

    def __init__(self) -> None:
        super().__init__()
        self.sorts: dict[str, tuple[str | None, bool]] = dict.fromkeys(TABLES, (None, False))
        """By table: the column that it is sorted by, and whether backwards."""
        self._searched = 0  # number of the search whose answer is awaited
        self._awaited: int | None = None  # the event that the cursor goes to when it is shown
        self._wanted: Key | None = None  # the object that the preview is to tell about
        self._timer: Timer | None = None
        self._sample = 0  # of the event whose callers the preview is to tell
        self._callers_timer: Timer | None = None
        self._moved_s = 0.0  # when the user moved the cursor

    def body(self) -> ComposeResult:
        yield VerdictLine()
        with Horizontal(id="bar"):
            yield Bar(_TITLES, id="tables")
            yield FilterLine()
        with Container(id="board"):
            yield Grid(COLUMNS["objects"], id="grid")
            yield Preview()
            yield CoverageNotes()
            yield AuditNotes()

    def on_mount(self) -> None:
        self.query_one(FilterLine).put(self.view.request.query)
        self.settle_focus()

    def settle_focus(self) -> None:
        self.grid.focus()

    # Order and filter

    @property
    def grid(self) -> Grid:
        return self.query_one("#grid", Grid)

    @property
    def table(self) -> str:
        return self.view.request.table

    def action_sort(self) -> None:
        """By the column of the cell cursor, again: backwards; without one, by the next column."""
        if self.table == "events":
            self.notify("Events stay in the order of their arrival; filter them with /.")
            return
        grid = self.grid
        if grid.column is not None:
            self._sort_by(grid.column)
            return
        columns = [placed.column for placed in grid.placed if placed.column.title]
        names = [column.name for column in columns]
        at = names.index(grid.sorted_by) if grid.sorted_by in names else -1
        self._sort_by(columns[(at + 1) % len(columns)])

    def _sort_by(self, column: Column) -> None:
        """By a column; one that it is sorted by already: the other way round."""
        _, reverse = self.sorts[self.table]
        again = column.name == self.grid.sorted_by
        self._sort(
            None if column.default else column.name, not reverse if again else column.falling
        )

    def action_reverse(self) -> None:
        name, reverse = self.sorts[self.table]
        self._sort(name, not reverse)

    def on_grid_title(self, event: Grid.Title) -> None:
        self._sort_by(event.column)

    def _sort(self, name: str | None, reverse: bool) -> None:
        if self.table != "events":
            self.sorts[self.table] = (name, reverse)
            self.grid.set_sort((name, reverse))
            self.view.ask(sort=name, reverse=reverse)

    def action_filter(self) -> None:
        self.query_one(FilterLine).edit()

    def on_filter_line_changed(self, event: FilterLine.Changed) -> None:
        self.view.ask(query=event.query, window=Window())

    def on_filter_line_left(self) -> None:
        self.grid.focus()

    def _filter(self, query: Query) -> None:
        """Another filter, as if it had been typed."""
        self.query_one(FilterLine).put(query)
        self.view.ask(query=query, window=Window())

    def action_cell_filter(self) -> None:
        grid = self.grid
        column = grid.column or next((c for c in grid.columns if c.name == "name"), None)
        place = grid.place
        if column is None or not column.ask or place is None:
            self.notify("Choose a cell with ← and → first; this one cannot be a filter.")
            return
        requested = column.filter_of(grid.rows.row(place))
        if requested is None:
            self.notify("This cell cannot be a filter.")
            return
        try:
            bit5 = self.view.shot.manifest.bit5
            self._filter(self.view.request.query.plus(*requested, bit5=bit5))
        except (QueryError, ValueError) as error:
            self.notify(cells.text(str(error).splitlines()[0]), markup=False, severity="warning")

    def action_clear(self) -> None:
        if self.view.request.query:
            self._filter(Query())
        else:
            self.grid.unmark()

    # To the next breach or blocked decision: in a table, or far back in the log

    def action_jump(self, what: str, step: int) -> None:
        verdicts = JUMPS[what]
        if self.table == "hooks":
            self.action_tab("objects")
            return
        if self.table == "events":
            self._search(verdicts, step)
            return
        words = [verdict.word for verdict in verdicts]
        rows = self.grid.rows
        if not self.grid.jump(step, lambda at: any(rows.value(word, at) for word in words)):
            self.notify(f"No {' and no '.join(words)} here.")

    def _search(self, verdicts: tuple[Verdict, ...], step: int) -> None:
        row = self.grid.cursor_id
        start = 0 if row is None else row + step
        if start < 0:
            self.notify("No further one.")
        else:
            self._searched = self.view.search(verdicts, start, forward=step > 0)

    def _arrive(self, shot: Snapshot) -> None:
        """Goes to what a search has found."""
        number, row = shot.found
        if number and number == self._searched:
            self._searched = 0
            if row is None:
                self.notify("No further one.")
            else:
                self._awaited = row
                self.view.ask(window=Window(around=row))
        if self._awaited is not None and self.table == "events" and self.grid.select(self._awaited):
            self._awaited = None

    # Drawing

    def show(self, shot: Snapshot) -> None:
        super().show(shot)
        self.query_one(VerdictLine).show(shot)
        if self.table == "hooks":
            self.query_one(CoverageNotes).show(shot)
        counts = {name: _short(shot.totals.get(name)) for name in TABLES}
        hooks = len(shot.manifest.hooks)
        counts["hooks"] = f"{shot.hooks_live}/{hooks}" if hooks else ""
        if shot.audited is not None:
            counts["audit"] = shot.audited.result or "…"
        titles = {**_TITLES, "audit": "Audit"} if shot.audited is not None else _TITLES
        self.query_one(Bar).show(self.table, counts, titles=titles)
        self.grid.set_present(frozenset(np.flatnonzero(shot.verdicts.counts).tolist()))
        if shot.rows.table == self.table:
            self.grid.show(shot.rows, COLUMNS[self.table], log=self.table == "events")
            self.grid.set_sort(self.sorts[self.table])
            self._note(shot)
            self._show_audit()
        self._arrive(shot)
        self._preview(shot)

    # Beside the table

    def _preview(self, shot: Snapshot) -> None:
        preview, place = self.query_one(Preview), self.grid.place
        if not preview.display:
            self._want(None)
            self._want_callers(0)
            return
        if place is None or self.grid.rows.table != self.table:
            preview.show(None, None)
            self._want(None)
            self._want_callers(0)
            return
        row = self.grid.rows.row(place)
        key = None
        if self.table in _OF_OBJECTS:
            key = (int(row("dev")), int(row("ino")), int(row("gen")))
        self._want(key)
        known = key is not None and shot.request.object == key
        detail = shot.detail if known else None
        sample, of = int(row("user_stack") or 0), ""
        if not sample and detail is not None:
            sample, of = newest_callers(detail)
        self._want_callers(sample)
        callers = shot.callers[1] if sample and shot.callers[0] == sample else ()
        preview.show(row, detail, callers, of)

    def _want_callers(self, sample: int) -> None:
        """Has it looked up who called, once the cursor rests."""
        if sample == self._sample:
            return
        self._sample = sample
        if self._callers_timer is not None:
            self._callers_timer.stop()
        self._callers_timer = self.set_timer(_REST_S, self._ask_callers)

    def _ask_callers(self) -> None:
        self._callers_timer = None
        if self.is_current and self.view.request.sample != self._sample:
            self.view.ask(sample=self._sample)

    def _want(self, key: Key | None) -> None:
        """Has the recording read for an object, once the cursor rests."""
        if key == self._wanted and (self._timer is not None or self.view.request.object == key):
            return
        self._wanted = key
        if self._timer is not None:
            self._timer.stop()
            self._timer = None
        if key is None or self.view.frozen:
            self._ask_detail()
            return
        moved = time.monotonic() - self._moved_s < 1
        self._timer = self.set_timer(_REST_S if moved else _CALM_S, self._ask_detail)

    def _ask_detail(self) -> None:
        self._timer = None
        if self.is_current and self.view.request.object != self._wanted:
            self.view.ask(object=self._wanted, brief=True, object_window=Window())

    def action_scroll_preview(self, lines: int) -> None:
        self.query_one(Preview).scroll_relative(y=lines, animate=False)

    def _show_audit(self) -> None:
        audited = self.view.shot.audited
        if self.table == "audit" and audited is not None:
            place = self.grid.place
            row = None if place is None else self.grid.rows.row(place)
            self.query_one(AuditNotes).show(audited, row)

    def on_grid_moved(self) -> None:
        self._moved_s = time.monotonic()
        self._show_audit()
        self._preview(self.view.shot)

    def _note(self, shot: Snapshot) -> None:
        rows = shot.rows
        note = rows.problem
        if self.view.request.query and rows.table in _UNFILTERED:
            note = "this table is not filtered"
        elif self.view.request.query and not note:
            note = f"{len(rows):,} of {rows.total:,}"
            if rows.busy is not None:
                note += f" … {rows.busy:.0%} read"
        self.query_one(FilterLine).note(note)
        self.grid.empty = self._nothing(shot)

    def _nothing(self, shot: Snapshot) -> str:
        if self.view.request.query:
            return "Nothing matches the filter. Esc drops it."
        if self.table == "audit":
            return "No audit yet." if shot.audited is None or not shot.audited.result else ""
        if self.table == "hooks":
            return "This recording does not tell its hooks."
        if shot.verdicts.total:
            return "Decisions are being added up …"
        return "No decision yet." if shot.now.events else "Nothing here yet."

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
        self._moved_s = time.monotonic()
        self.view.ask(table=name, sort=sort, reverse=reverse, window=Window())
        self.show(self.view.shot)
        grid.focus()

    def action_turn(self, step: int) -> None:
        tables = TABLES if self.view.shot.audited is not None else TABLES[:-1]
        self.action_tab(tables[(tables.index(self.table) + step) % len(tables)])

    def on_bar_chosen(self, event: Bar.Chosen) -> None:
        self.action_tab(event.name)

    def on_verdict_line_chosen(self, event: VerdictLine.Chosen) -> None:
        """A count: the rows that have such decisions; again: these decisions."""
        if event.name == "audit":
            self.action_tab("audit")
            return
        query = self.view.request.query
        chosen = query.without(["verdict"]).plus("verdict", event.name)
        if query != chosen:
            self._filter(chosen)
            if self.table in _UNFILTERED:
                self.action_tab("objects")
        elif self.table != "events":
            self.action_tab("events")
        else:
            self.grid.action_open()

    def on_verdict_line_sought(self, event: VerdictLine.Sought) -> None:
        self.view.seek_share(event.share)

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
            query = self.view.request.query.without(["pid"])
            self._filter(query.plus("pid", rows.value("pid", place)))
            self.action_tab("fds")
        elif self.table == "audit" and rows.value("state", place) == "fail":
            if self.view.shot.audited is not None:
                self.app.push_screen(EvidenceScreen(self.view.shot.audited, rows.row(place)))
        elif self.table in ("objects", "fds", "audit") and rows.value("ino", place):
            dev, ino, gen = (int(rows.value(part, place)) for part in ("dev", "ino", "gen"))
            self.app.push_screen(ObjectScreen((dev, ino, gen)))

    def action_machine(self) -> None:
        place, rows = self.grid.place, self.grid.rows
        key = None
        if place is not None and rows.value("ino", place):
            dev, ino, gen = (int(rows.value(part, place) or 0) for part in ("dev", "ino", "gen"))
            key = (dev, ino, gen)
        self.app.push_screen(MachineScreen(key))

    def action_mark(self) -> None:
        self.grid.mark()

    def action_export(self) -> None:
        self.view.export(self.grid.rows, self.grid.marked)


def _short(count: int | None) -> str:
    if count is None:
        return ""
    return cells.count(count, 7) if count else "0"
