"""The screen of one virtual machine: its memory over time, memslots, who maps it; all others."""

from collections.abc import Mapping
from typing import Any, ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical

from tracer.live.snapshot import Guest, Guests, Key, Snapshot, no_rows
from tracer.live.tables import BACKERS, MACHINES, MEMSLOTS
from ui.screens.base import Paned
from ui.widgets.grid import Grid
from ui.widgets.memory import MachineTitle, Memory, MemoryStrip
from ui.widgets.strips import Bar

_PANES = {
    "strip": "Memory",
    "slots": "Memslots",
    "mapped": "Mapped by",
    "machines": "Machines",
}
_TITLES = {
    "strip": "Private and shared over time",
    "slots": "Memslots",
    "mapped": "Who maps what backs it",
    "machines": "Virtual machines",
}


class MachineScreen(Paned):
    """A virtual machine: its memory over time, its memslots and what backs them, who maps that."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,backspace", "back", "back"),
        Binding("1", "pane('strip')", "Memory over time", show=False),
        Binding("2", "pane('slots')", "Memslots", show=False),
        Binding("3", "pane('mapped')", "Who maps it", show=False),
        Binding("4", "pane('machines')", "All machines", show=False),
        Binding("tab", "turn(1)", "Next pane", show=False),
        Binding("shift+tab", "turn(-1)", "Pane before", show=False),
        Binding("m", "machine(1)", "next machine"),
        Binding("M", "machine(-1)", "Machine before", show=False),
        Binding("y", "copy", "Copy row", show=False),
    ]
    panes = _PANES

    def __init__(self, key: Key | None = None) -> None:
        """``key``: the machine that this file is memory of; None: the first one."""
        super().__init__()
        self._key = key

    def body(self) -> ComposeResult:
        yield MachineTitle(id="title")
        yield Bar(_PANES, id="panes")
        with Vertical(id="panels"):
            yield MemoryStrip(id="strip", classes="panel")
            yield Grid(MEMSLOTS, id="slots", classes="panel", empty="It has no memslots.")
            yield Grid(BACKERS, id="mapped", classes="panel", empty="Nobody maps what backs it.")
            yield Grid(MACHINES, id="machines", classes="panel", empty="None was seen.")

    def on_mount(self) -> None:
        for panel in self.query(".panel"):
            panel.border_title = _TITLES[panel.id or ""]
        self.view.ask(guests=True)
        self.action_pane("strip")

    def on_screen_resume(self) -> None:
        if not self.view.request.guests:
            self.view.ask(guests=True)
        super().on_screen_resume()

    def on_unmount(self) -> None:
        if not any(isinstance(screen, MachineScreen) for screen in self.app.screen_stack):
            self.view.ask(guests=False)

    # Drawing

    def show(self, shot: Snapshot) -> None:
        super().show(shot)
        found = shot.guests or Guests()
        machines = self.query_one("#machines", Grid)
        if found.made:
            machines.show(found.rows)
            self._find(machines, found)
        vm = machines.cursor_id
        guest = None if vm is None else found.guests.get(vm)
        slots, mapped = (self.query_one(f"#{name}", Grid) for name in ("slots", "mapped"))
        slots.show(no_rows("slots") if guest is None else guest.slots)
        mapped.show(no_rows("mapped") if guest is None else guest.mappers)
        place = machines.place
        record: Mapping[str, Any] | None = None if place is None else machines.rows.record(place)
        self.query_one(MachineTitle).show(record)
        note = self._note(found, vm, guest)
        picture = None if guest is None else guest.strip
        self.query_one(MemoryStrip).show(Memory(picture, found.rows, note))
        counts = {
            "slots": f"{len(slots.rows):,}",
            "mapped": f"{len(mapped.rows):,}",
            "machines": f"{len(machines.rows):,}",
        }
        self.query_one(Bar).show(self._pane, counts)

    def _find(self, machines: Grid, found: Guests) -> None:
        """Puts the cursor on the machine of the file that it was opened from."""
        if self._key is None:
            return
        (dev, ino, _), self._key = self._key, None
        mine = [vm for vm, one in found.guests.items() if (dev, ino) in one.files]
        if mine:
            machines.select(mine[0])
        elif len(machines.rows):
            self.notify("No virtual machine was seen to have this file; here are all of them.")
            self.action_pane("machines")

    def _note(self, found: Guests, vm: int | None, guest: Guest | None) -> str:
        if found.problem:
            return found.problem
        if not found.made:
            return "The recording is being read for virtual machines …"
        if vm is None:
            audit = self.view.shot.manifest.audit
            return "No virtual machine was seen." if audit else (
                "Virtual machines are recorded with --audit.")  # fmt: skip
        if guest is None:
            return f"Only the first {len(found.guests)} machines are drawn."
        return "It has no memslots."

    # Rows

    def on_grid_moved(self, event: Grid.Moved) -> None:
        if event.grid.id == "machines":
            self.show(self.view.shot)

    def on_grid_opened(self, event: Grid.Opened) -> None:
        from ui.screens.object import ObjectScreen

        grid = event.grid
        if grid.id == "machines":
            self.action_pane("strip")
        elif grid.value("ino"):
            dev, ino, gen = (int(grid.value(part)) for part in ("dev", "ino", "gen"))
            self.app.push_screen(ObjectScreen((dev, ino, gen)))

    # Keys

    def action_machine(self, step: int) -> None:
        machines = self.query_one("#machines", Grid)
        if len(machines.rows) > 1:
            machines.jump(step, lambda _: True)
        else:
            self.notify("There is no other one.")
