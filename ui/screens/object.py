"""The screens behind a row: all about one event, one object, one claim of an audit."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll

from tracer.live import cells
from tracer.live.cells import JUMPS, SYMBOLS
from tracer.live.snapshot import Audited, Key, Row, Snapshot, Window
from tracer.live.tables import HOLDERS, MAPPERS, OF_OBJECT
from tracer.rules.verdicts import Verdict
from ui.explain import Line, fields, why
from ui.screens.base import Base, Paned
from ui.screens.machine import MachineScreen
from ui.widgets.details import AuditNotes, Matrix, SealLine
from ui.widgets.grid import Grid
from ui.widgets.lines import FactList, Lines
from ui.widgets.strips import Bar, ObjectTitle


class EventScreen(Base):
    """One event: why it got its verdict, and every field."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,backspace", "back", "back"),
        Binding("o", "object", "its object"),
        Binding("y", "copy", "copy"),
    ]

    def __init__(self, event: Mapping[str, Any], start_ns: int | None) -> None:
        super().__init__()
        self.event = event
        self._start_ns = start_ns
        self._sample = 0
        self._callers: Sequence[str] = ()

    def body(self) -> ComposeResult:
        yield Lines(id="title")
        yield Bar({})
        yield FactList(id="why")
        yield FactList(id="fields")

    def on_mount(self) -> None:
        get = self.event.get
        title = self.query_one("#title", Lines)
        name = cells.name_of(get("kind"), get("name"), get("dev"), get("ino"))
        who = cells.who(get("comm"), get("pid"))
        text = Text(f" {cells.text(get('op'))} on {name} by {who}", "bold")
        number = get("verdict")
        if number is not None and number >= 0:
            verdict = Verdict(number)
            style = f"bold {title.style_of(verdict.word)}"
            text = Text(f" {SYMBOLS[verdict]} {verdict.word} ", style).append_text(text)
        title.put(text)
        self._sample = int(self.event.get("user_stack") or 0)
        if self._sample:
            self.view.ask(sample=self._sample)
        self.query_one("#why", FactList).show(self._why())
        self.query_one("#fields", FactList).show(self._fields())
        self.settle_focus()

    def show(self, shot: Snapshot) -> None:
        super().show(shot)
        if self._sample and shot.callers[0] == self._sample:
            self._callers = shot.callers[1]
            self.query_one("#why", FactList).show(self._why())

    def _why(self) -> list[Line]:
        called = [Line("" if at else "called by", one) for at, one in enumerate(self._callers)]
        return [*why(self.event), *called]

    def _fields(self) -> list[Line]:
        shot = self.view.shot
        return fields(self.event, self._start_ns, shot.manifest.bit5, shot.wall)

    def settle_focus(self) -> None:
        self.query_one("#fields").focus()

    def action_object(self) -> None:
        dev, ino, gen = (int(self.event.get(part) or 0) for part in ("dev", "ino", "gen"))
        self.app.switch_screen(ObjectScreen((dev, ino, gen)))

    def action_copy(self) -> None:
        lines = [*self._why(), *self._fields()]
        self.view.copy_row("\n".join(f"{line.label}: {line.value}" for line in lines if line.value))


class EvidenceScreen(Base):
    """A claim of an audit that does not hold: what broke it."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,backspace", "back", "back"),
        Binding("o", "object", "its object"),
        Binding("y", "copy", "copy"),
    ]

    def __init__(self, audited: Audited, row: Row) -> None:
        """``row``: of the audit's table."""
        super().__init__()
        self._audited, self._row = audited, row

    def body(self) -> ComposeResult:
        yield Lines(id="title")
        yield Bar({})
        yield AuditNotes()

    def on_mount(self) -> None:
        title, get = self.query_one("#title", Lines), self._row
        name = cells.name_of(get("kind"), get("name"), get("dev"), get("ino"))
        style = f"bold {title.style_of(Verdict.BREACH.word)}"
        text = Text(f" {SYMBOLS[Verdict.BREACH]} FAIL ", style)
        title.put(text.append(f" {cells.text(get('claim'))} of {name}", "bold"))
        notes = self.query_one(AuditNotes)
        notes.can_focus = True
        notes.show(self._audited, self._row)
        self.settle_focus()

    def settle_focus(self) -> None:
        self.query_one(AuditNotes).focus()

    def action_object(self) -> None:
        dev, ino, gen = (int(self._row(part) or 0) for part in ("dev", "ino", "gen"))
        if ino:
            self.app.switch_screen(ObjectScreen((dev, ino, gen)))

    def action_copy(self) -> None:
        self.view.copy_row(self.query_one(AuditNotes).body.text)


_PANES = {
    "decisions": "Decisions",
    "seals": "Seals",
    "matrix": "Matrix",
    "holders": "Held by",
    "mappers": "Mapped by",
}
_OF_GONE = {**_PANES, "holders": "Was held"}


class ObjectScreen(Paned):
    """One memory file: its decisions, seals over time, what they stopped, who holds and maps it."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,backspace", "back", "back"),
        Binding("1", "pane('decisions')", "Decisions", show=False),
        Binding("2", "pane('seals')", "Seals over time", show=False),
        Binding("3", "pane('matrix')", "Seal x operation", show=False),
        Binding("4", "pane('holders')", "Who holds it", show=False),
        Binding("5", "pane('mappers')", "Who maps it", show=False),
        Binding("tab", "turn(1)", "Next pane", show=False),
        Binding("shift+tab", "turn(-1)", "Pane before", show=False),
        Binding("n", "jump('violation', 1)", "next breach"),
        Binding("N", "jump('violation', -1)", "Breach before", show=False),
        Binding("b", "jump('blocked', 1)", "next blocked"),
        Binding("B", "jump('blocked', -1)", "Blocked before", show=False),
        Binding("m", "machine", "Virtual machine", show=False),
        Binding("y", "copy", "Copy row", show=False),
    ]
    panes = _PANES
    beside: ClassVar = {"why": "decisions"}

    def __init__(self, key: Key) -> None:
        super().__init__()
        self.key = key
        self._was_at_worst = False

    def body(self) -> ComposeResult:
        yield ObjectTitle(id="title")
        yield Bar(_PANES, id="panes")
        with Vertical(id="panels"):
            yield Grid(OF_OBJECT, id="decisions", classes="panel", log=True)
            yield FactList(id="why", classes="panel")
            with VerticalScroll(id="seals", classes="panel"):
                yield SealLine()
            yield Grid(HOLDERS, id="holders", classes="panel", empty="Nobody was seen to hold it.")
            yield Grid(MAPPERS, id="mappers", classes="panel", empty="Nobody maps it now.")
            with VerticalScroll(id="matrix", classes="panel"):
                yield Matrix()

    def on_mount(self) -> None:
        titles = {**_PANES, "why": "Why", "matrix": "Seals x operations"}
        for panel in self.query(".panel"):
            panel.border_title = titles[panel.id or ""]
        self.view.ask(object=self.key, brief=False, object_window=Window())
        self.action_pane("decisions")

    def on_screen_resume(self) -> None:
        if self.view.request.object != self.key or self.view.request.brief:
            self.view.ask(object=self.key, brief=False, object_window=Window())
        super().on_screen_resume()

    def on_unmount(self) -> None:
        if not any(isinstance(screen, ObjectScreen) for screen in self.app.screen_stack):
            self.view.ask(object=None)

    # Drawing

    def show(self, shot: Snapshot) -> None:
        super().show(shot)
        detail = shot.detail
        if detail is None or shot.request.object != self.key or shot.request.brief:
            return
        self.query_one(ObjectTitle).show(detail.object)
        counts = {
            "decisions": f"{detail.decisions.total:,}",
            "seals": f"{len(detail.seals):,}",
            "holders": f"{len(detail.holders):,}",
            "mappers": f"{len(detail.mappers):,}",
        }
        note = "" if detail.busy is None else f"reading {detail.busy:.0%}"
        titles = _PANES if detail.object.get("evicted_ns") is None else _OF_GONE
        self.query_one(Bar).show(self._pane, counts, note, titles)
        self.query_one("#holders").border_title = titles["holders"]
        self.query_one(SealLine).show(detail.seals, detail.decisions)
        self.query_one(Matrix).show(detail.matrix)
        self.query_one("#holders", Grid).show(detail.holders)
        self.query_one("#mappers", Grid).show(detail.mappers)
        decisions = self.query_one("#decisions", Grid)
        decisions.show(detail.decisions)
        if not self._was_at_worst and detail.busy is None and len(detail.decisions):
            # The reader came here for what is wrong: start there.
            self._was_at_worst = True
            self._go_to_worst(decisions)
        self._explain(decisions)

    def _go_to_worst(self, grid: Grid) -> None:
        places = grid.rows.order.tolist()
        # The last one of the worst.
        worst = max(reversed(places), key=lambda at: grid.rows.value("verdict", at))
        if grid.rows.value("verdict", worst) >= Verdict.BLOCKED:
            grid.select(int(grid.rows.ids[worst]))

    def _explain(self, grid: Grid) -> None:
        facts = self.query_one("#why", FactList)
        facts.show(why(grid.rows.record(grid.place)) if grid.place is not None else [])

    # Rows

    def on_grid_moved(self, event: Grid.Moved) -> None:
        if event.grid.id == "decisions":
            self._explain(event.grid)

    def on_grid_edge(self, event: Grid.Edge) -> None:
        if event.grid.id == "decisions":
            self.view.ask(object_window=event.window)

    def on_grid_opened(self, event: Grid.Opened) -> None:
        grid = event.grid
        if grid.id == "decisions" and grid.place is not None:
            self.app.push_screen(EventScreen(grid.rows.record(grid.place), grid.rows.start_ns))

    # Keys

    def action_machine(self) -> None:
        self.app.push_screen(MachineScreen(self.key))

    def action_jump(self, what: str, step: int) -> None:
        verdicts, grid = JUMPS[what], self.query_one("#decisions", Grid)
        if grid.jump(step, lambda at: grid.rows.value("verdict", at) in verdicts):
            self.action_pane("decisions")
        else:
            self.notify(f"No {' and no '.join(verdict.word for verdict in verdicts)} here.")
