"""The screens behind a row: all about one event, and all about one object."""

from collections.abc import Mapping
from typing import Any, ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll

from tracer.live import cells
from tracer.live.cells import JUMPS
from tracer.live.snapshot import Key, Snapshot, Window
from tracer.live.tables import HOLDERS, MAPPERS, OF_OBJECT
from tracer.rules.verdicts import Verdict
from ui.explain import Line, fields, why
from ui.screens.base import Base
from ui.widgets.details import Matrix, SealLine
from ui.widgets.grid import Grid
from ui.widgets.lines import FactList, Lines
from ui.widgets.strips import Banner, ObjectTitle, TabBar


class EventScreen(Base):
    """One event: why it got its verdict, and every field."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,backspace", "back", "Back"),
        Binding("o", "object", "Its object"),
        Binding("y", "copy", "Copy"),
    ]

    def __init__(self, event: Mapping[str, Any], start_ns: int | None) -> None:
        super().__init__()
        self.event = event
        self._start_ns = start_ns

    def body(self) -> ComposeResult:
        yield Banner()
        yield Lines(id="title")
        yield FactList(id="why")
        yield FactList(id="fields")

    def on_mount(self) -> None:
        get = self.event.get
        title = self.query_one("#title", Lines)
        name = cells.name_of(get("kind"), get("name"), get("dev"), get("ino"))
        text = Text(f" {cells.text(get('op'))} on {name} by {cells.who(get('comm'), get('pid'))}")
        text.stylize("bold")
        title.put(text)
        self.query_one("#why", FactList).show(why(self.event))
        self.query_one("#fields", FactList).show(self._fields())
        self.settle_focus()

    def _fields(self) -> list[Line]:
        return fields(self.event, self._start_ns, self.view.shot.manifest.bit5)

    def settle_focus(self) -> None:
        self.query_one("#fields").focus()

    def action_object(self) -> None:
        dev, ino, gen = (int(self.event.get(part) or 0) for part in ("dev", "ino", "gen"))
        self.app.switch_screen(ObjectScreen((dev, ino, gen)))

    def action_copy(self) -> None:
        lines = [*why(self.event), *self._fields()]
        self.view.copy_row("\n".join(f"{line.label}: {line.value}" for line in lines if line.value))


_PANES = {
    "decisions": "Decisions",
    "seals": "Seals",
    "matrix": "Seal x op",
    "holders": "Held by",
    "mappers": "Mapped by",
}
_OF_GONE = {**_PANES, "holders": "Was held by"}


class ObjectScreen(Base):
    """One memory file: its decisions, seals over time, what they stopped, who holds and maps it."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,backspace", "back", "Back"),
        Binding("1", "pane('decisions')", "Decisions", show=False),
        Binding("2", "pane('seals')", "Seals over time", show=False),
        Binding("3", "pane('matrix')", "Seal x operation", show=False),
        Binding("4", "pane('holders')", "Who holds it", show=False),
        Binding("5", "pane('mappers')", "Who maps it", show=False),
        Binding("tab", "turn(1)", "Next pane", show=False),
        Binding("shift+tab", "turn(-1)", "Pane before", show=False),
        Binding("n", "jump('violation', 1)", "Next breach"),
        Binding("N", "jump('violation', -1)", "Breach before", show=False),
        Binding("b", "jump('blocked', 1)", "Next blocked"),
        Binding("B", "jump('blocked', -1)", "Blocked before", show=False),
        Binding("y", "copy", "Copy row", show=False),
    ]

    def __init__(self, key: Key) -> None:
        super().__init__()
        self.key = key
        self._pane = "decisions"
        self._was_at_worst = False

    def body(self) -> ComposeResult:
        yield Banner()
        yield ObjectTitle(id="title")
        yield TabBar(_PANES, id="panes")
        with Vertical(id="panels"):
            with VerticalScroll(id="seals", classes="panel"):
                yield SealLine()
            with VerticalScroll(id="matrix", classes="panel"):
                yield Matrix()
            yield Grid(HOLDERS, id="holders", classes="panel", empty="Nobody was seen to hold it.")
            yield Grid(MAPPERS, id="mappers", classes="panel", empty="Nobody maps it now.")
            yield Grid(OF_OBJECT, id="decisions", classes="panel", log=True)
            yield FactList(id="why", classes="panel")

    def on_mount(self) -> None:
        titles = {**_PANES, "why": "Why"}
        for panel in self.query(".panel"):
            panel.border_title = titles[panel.id or ""]
        self.view.ask(object=self.key, object_window=Window())
        self.action_pane("decisions")

    def on_screen_resume(self) -> None:
        if self.view.request.object != self.key:
            self.view.ask(object=self.key, object_window=Window())
        super().on_screen_resume()

    def on_unmount(self) -> None:
        if not any(isinstance(screen, ObjectScreen) for screen in self.app.screen_stack):
            self.view.ask(object=None)

    # Drawing

    def show(self, shot: Snapshot) -> None:
        super().show(shot)
        detail = shot.detail
        if detail is None or shot.request.object != self.key:
            return
        self.query_one(ObjectTitle).show(detail.object)
        counts = {
            "decisions": f"{detail.decisions.total:,}",
            "seals": f"{len(detail.seals):,}",
            "holders": f"{len(detail.holders):,}",
            "mappers": f"{len(detail.mappers):,}",
        }
        note = Text()
        if detail.busy is not None:
            note = Text(f"reading {detail.busy:.0%} ")
        titles = _PANES if detail.object.get("evicted_ns") is None else _OF_GONE
        self.query_one(TabBar).show(self._pane, counts, note, titles)
        self.query_one("#holders").border_title = titles["holders"]
        self.query_one(SealLine).show(detail.seals, shot.now.start_ns)
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

    # Panes

    def action_pane(self, name: str) -> None:
        self._pane = name
        for panel in self.query(".panel"):
            panel.set_class(
                panel.id == name or (name == "decisions" and panel.id == "why"), "-chosen"
            )
        self.settle_focus()
        self.show(self.view.shot)

    def settle_focus(self) -> None:
        self.query_one(f"#{self._pane}").focus()

    def action_turn(self, step: int) -> None:
        names = list(_PANES)
        self.action_pane(names[(names.index(self._pane) + step) % len(names)])

    def on_tab_bar_chosen(self, event: TabBar.Chosen) -> None:
        self.action_pane(event.name)

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

    def action_jump(self, what: str, step: int) -> None:
        verdicts, grid = JUMPS[what], self.query_one("#decisions", Grid)
        if grid.jump(step, lambda at: grid.rows.value("verdict", at) in verdicts):
            self.action_pane("decisions")
        else:
            self.notify(f"No {' and no '.join(verdict.word for verdict in verdicts)} here.")
