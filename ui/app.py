"""The terminal view: shows what a feed reads, and requests of it what the user wants to see.

The feed works in a thread of its own and publishes immutable snapshots; this application looks a
few times a second whether there is a newer one, and draws.
"""

import asyncio
import contextlib
import json
import signal
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, cast

from textual.app import App, SystemCommand
from textual.binding import Binding, BindingType
from textual.driver import Driver
from textual.screen import Screen
from textual.widget import Widget

from tracer.errors import UserError
from tracer.filter.query import Query
from tracer.live import cells
from tracer.live.feed import Worker
from tracer.live.snapshot import Alert, Find, Request, Rows, Snapshot
from tracer.output.data import csv_cell
from tracer.rules.verdicts import Verdict
from ui import bindings, themes
from ui.screens.base import AskScreen, Base, HelpScreen
from ui.screens.machine import MachineScreen
from ui.screens.main import MainScreen
from ui.screens.object import EventScreen, EvidenceScreen, ObjectScreen
from ui.widgets.grid import Grid
from ui.widgets.strips import foremost

if TYPE_CHECKING:
    from tracer.live.keep import Keeper
    from tracer.live.replay import ReplayFeed

ENDINGS = (".json", ".csv", ".parquet")


def records(rows: Rows, marked: Mapping[int, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The marked rows, or all that are shown, with every column; verdicts as words."""
    shown = {int(rows.ids[place]): place for place in rows.order.tolist()}
    found = [
        rows.record(shown[row]) if row in shown else dict(marked[row]) for row in marked or shown
    ]
    for record in found:
        for name in {"verdict", "worst"} & record.keys():
            number = record[name]
            record[name] = Verdict(number).word if number is not None and number >= 0 else None
    return found


def _encoded(ending: str, found: list[dict[str, Any]]) -> bytes:
    if ending == ".json":
        return "".join(json.dumps(record) + "\n" for record in found).encode()
    if ending == ".csv":
        names = list(found[0]) if found else []
        lines = [names, *([csv_cell(record[name]) for name in names] for record in found)]
        return "".join(",".join(line) + "\r\n" for line in lines).encode()
    import pyarrow as pa
    import pyarrow.parquet as pq

    file = BytesIO()
    pq.write_table(pa.Table.from_pylist(found), file)
    return file.getvalue()


def write(path: str, found: list[dict[str, Any]]) -> str:
    """Writes ``found`` to a new file and says so; JSON is one object a line.

    UserError: the ending says nothing, or the system refuses (an existing file is not replaced).
    """
    target = Path(path).expanduser()
    ending = target.suffix.lower()
    if ending not in ENDINGS:
        raise UserError(f"{path}: end the name with {', '.join(ENDINGS)}")
    try:
        with target.open("xb") as file:
            file.write(_encoded(ending, found))
    except FileExistsError:
        raise UserError(f"{path} is there already; choose another name") from None
    except OSError as error:
        raise UserError(f"{path}: {error.strerror or error}") from error
    return f"{len(found):,} rows written to {target}"


_SWITCH_S = 0.001
"""How long the reader's thread may keep the interpreter while a key waits; Python's own is five
times that, and a key needs it several times until it is drawn."""
POLL_S = 0.02
"""How often it is looked for a newer snapshot; the feed publishes four to five a second, and at
once after a request."""


_OF_REPLAY = ("play", "step", "next_violation", "seek", "speed")


class SealsnoopApp(App[None]):
    """One application for live and replay."""

    TITLE = "sealsnoop"
    CSS_PATH = "sealsnoop.tcss"
    ENABLE_COMMAND_PALETTE = True
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("question_mark", "help", "keys"),
        Binding("ctrl+p", "command_palette", "Choose from all commands", show=False, priority=True),
        Binding("q", "quit", "quit"),
        Binding("ctrl+c", "quit", "Quit", show=False, priority=True),
        Binding("p", "pause", "pause"),
        Binding("a", "acknowledge", "Acknowledge alerts", show=False),
        Binding("v", "show_alert", "Show the alert's event", show=False),
        Binding("r", "record", "Keep as recording", show=False),
        Binding("ctrl+s", "picture", "Screenshot (SVG)", show=False),
        Binding("t", "change_theme", "Theme", show=False),
        Binding("k", "play", "play"),
        Binding("full_stop", "step", "step"),
        Binding("greater_than_sign", "next_violation", "violation"),
        Binding("g", "seek", "go to"),
        Binding("plus,equals_sign", "speed(1)", "Replay: faster", show=False),
        Binding("minus", "speed(-1)", "Replay: slower", show=False),
        Binding("ctrl+z", "suspend_process", "To the background", show=False),
    ]

    def __init__(
        self,
        feed: Worker,
        *,
        bell: bool = True,
        theme: str = themes.DEFAULT,
        keeper: "Keeper | None" = None,
        frozen: bool = False,
        read_only: bool = False,
        query: Query | None = None,
    ) -> None:
        """``frozen``: nothing is drawn until :meth:`poll` is called.

        ``read_only``: no key writes anything (in a browser). UserError: no such theme.
        """
        super().__init__()
        self.feed = feed
        self._keeper = keeper
        self._read_only = read_only
        for own in themes.OWN:
            self.register_theme(own)
        self.theme = themes.check(theme, self.available_themes)
        self.request = Request(query=query or Query())
        self.shot = Snapshot()
        self.paused = False
        self._bell = bell
        self.frozen = frozen
        """Nothing is drawn, and nothing waits for a time, until :meth:`poll` is called."""
        self._acknowledged = 0
        self._rung = 0
        self._searches = 0

    def get_driver_class(self) -> type[Driver]:
        """Textual's choice; on a terminal our own, on which a closed window ends us."""
        chosen = super().get_driver_class()
        if chosen.__name__ == "LinuxDriver":
            from ui.terminal import Terminal

            return Terminal
        return chosen

    def get_css_variables(self) -> dict[str, str]:
        variables = super().get_css_variables()
        variables |= themes.colours(variables)
        if self.no_color:
            variables |= themes.shades(variables)
        self.theme_variables = variables
        return variables

    def get_default_screen(self) -> Screen[None]:
        return MainScreen()

    # Life

    def on_mount(self) -> None:
        self._catch_signals()
        self.app_resume_signal.subscribe(self, self._repaint)
        sys.setswitchinterval(_SWITCH_S)
        # The first screen is drawn before the reader imports what it needs.
        self.call_after_refresh(self._begin)

    def _begin(self) -> None:
        self.feed.start()
        self.ask()
        if not self.frozen:
            self.set_interval(POLL_S, self.poll, name="poll")

    def _catch_signals(self) -> None:
        """The terminal must be itself again, whatever ends us."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGHUP):
            # Not in the main thread (tests), or a system without it.
            with contextlib.suppress(ValueError, RuntimeError, NotImplementedError):
                loop.add_signal_handler(number, partial(self.exit, return_code=128 + number))

    def _repaint(self, _: App[Any]) -> None:
        """Back from the background the terminal is empty: draws all, changed or not."""
        for node in self.screen.walk_children(with_self=True):
            if isinstance(node, Widget):
                node.refresh()

    def on_unmount(self) -> None:
        self.feed.stop()

    def poll(self) -> None:
        """Draws the newest snapshot if it is another one than is shown."""
        shot = self.feed.snapshot
        if shot is self.shot:
            return
        self.shot = shot
        self._ring()
        # What lies behind a dialog stands still: each change would redraw the dialog too.
        self._redraw()

    def ask(self, **changes: Any) -> None:
        """Another request: the one of now with ``changes``."""
        self.request = replace(self.request, **changes)
        self.feed.ask(self.request)

    def search(self, verdicts: tuple[Verdict, ...], start: int, *, forward: bool) -> int:
        """Has the feed look for an event; the number that its answer will have."""
        self._searches += 1
        numbers = tuple(map(int, verdicts))
        self.ask(find=Find(self._searches, numbers, max(0, start), forward))
        return self._searches

    # Alerts

    @property
    def open_alerts(self) -> Sequence[Alert]:
        """Alerts that nobody acknowledged, oldest first."""
        return [alert for alert in self.shot.alerts if alert.number > self._acknowledged]

    def _ring(self) -> None:
        newest = self.shot.alerts[-1].number if self.shot.alerts else 0
        if newest > self._rung:
            self._rung = newest
            if self._bell:
                self.bell()

    def action_acknowledge(self) -> None:
        if self.shot.alerts:
            self._acknowledged = self.shot.alerts[-1].number
        self._redraw()

    def action_show_alert(self) -> None:
        alerts = self.open_alerts or self.shot.alerts
        event = foremost(alerts).event if alerts else {}
        if "claim" in event:
            self._show_audit()
        elif event:
            self.push_screen(EventScreen(event, self.shot.now.start_ns))

    def _show_audit(self) -> None:
        while not isinstance(self.screen, MainScreen):
            self.pop_screen()
        self.screen.action_tab("audit")

    def _redraw(self) -> None:
        screen = self.screen
        if isinstance(screen, Base):
            screen.show(self.shot)

    # What it writes

    def _refused(self) -> bool:
        if self._read_only:
            self.notify("Nothing is written from a browser; open the view in a terminal for that.")
        return self._read_only

    def action_picture(self) -> None:
        if self._refused():
            return
        try:
            where = Path(self.save_screenshot()).resolve()
        except OSError as error:
            self.notify(f"No screenshot: {error.strerror or error}", severity="error", markup=False)
        else:
            self.notify(f"Screenshot: {where}", markup=False)

    def copy_row(self, text: str) -> None:
        self.copy_to_clipboard(text)
        self.notify("Copied.")

    def export(self, rows: Rows, marked: Mapping[int, Mapping[str, Any]]) -> None:
        """Asks for a file name and writes the marked rows, or all that are shown."""
        if self._refused():
            return
        which = "marked" if marked else "shown"
        count = len(marked) if marked else len(rows)
        note = f"{count:,} {which} rows of {rows.table} with all their columns."
        if rows.table == "events" and not marked and count < rows.total:
            note += " Only those around the cursor; 'sealsnoop script' writes all."
        note += " The name's end chooses the form: .json (a line each), .csv, .parquet"
        found = records(rows, marked)
        dialog = AskScreen(f"Export {which} rows", note, f"{rows.table}.json")
        self._ask_for(dialog, lambda name: write(name, found))

    def action_record(self) -> None:
        if self._refused():
            return
        keeper = self._keeper
        if keeper is None:
            self.notify("This recording is kept already where it is.")
        elif keeper.name is not None:
            self._attempt(keeper.stop)
        else:
            note = "A folder; it gets what was recorded so far and what comes, "
            note += "until r is pressed again."
            dialog = AskScreen("Keep as a recording", note, placeholder="NAME.seal")
            self._ask_for(dialog, keeper.start)

    def _ask_for(self, dialog: AskScreen, work: Callable[[str], str]) -> None:
        """Does ``work`` with what the user types, unless the user leaves."""

        def done(answer: str | None) -> None:
            if answer is not None:
                self._attempt(lambda: work(answer))

        self.push_screen(dialog, done)

    def _attempt(self, work: Callable[[], str]) -> None:
        """Does ``work`` and shows what it returns, or why it could not be done."""
        try:
            text = work()
        except UserError as error:
            self.notify(cells.text(str(error)), severity="error", markup=False)
        else:
            self.notify(cells.text(text), markup=False)

    # Replay; a live view has none of these keys

    @property
    def _player(self) -> "ReplayFeed":
        return cast("ReplayFeed", self.feed)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        return self.feed.plays or action not in _OF_REPLAY

    def action_play(self) -> None:
        self._player.toggle()

    def action_step(self) -> None:
        self._player.step()

    def action_next_violation(self) -> None:
        self._player.to_violation()

    def action_speed(self, step: int) -> None:
        self._player.faster(step)

    def action_seek(self) -> None:
        note = "Seconds since the start (12.5), minutes (1:30), or a share (40%)."
        self._ask_for(AskScreen("Go to", note, placeholder="12.5"), self._player.seek)

    def seek_share(self, share: float) -> None:
        """Goes to a share of the recording."""
        self._attempt(lambda: self._player.seek(f"{share * 100:.2f}%"))

    # Keys of every screen

    def action_pause(self) -> None:
        self.paused = not self.paused
        self.ask(frozen=self.paused)
        self._redraw()

    def action_help(self) -> None:
        self.push_screen(HelpScreen(self.key_groups()))

    @staticmethod
    def key_groups() -> list[tuple[str, list[bindings.Entry]]]:
        """Headings and the keys below them, all there are."""
        from ui.widgets.filterline import Entry

        return [
            ("Everywhere", bindings.of(SealsnoopApp)),
            ("Tables", bindings.of(MainScreen)),
            ("Rows", bindings.of(Grid)),
            ("Filter line", bindings.of(Entry)),
            ("One object", bindings.of(ObjectScreen)),
            ("One machine", bindings.of(MachineScreen)),
            ("One event", bindings.of(EventScreen)),
            ("One claim", bindings.of(EvidenceScreen)),
        ]

    def get_system_commands(self, screen: Screen[Any]) -> Iterable[SystemCommand]:
        nodes: list[Any] = [screen, self]
        if grid := next((one for one in screen.query(Grid) if one.has_focus), None):
            nodes.insert(1, grid)
        for node in nodes:
            for entry in bindings.of(SealsnoopApp if node is self else type(node)):
                yield SystemCommand(entry.text, f"key {entry.key}", self._runner(entry, node))

    def _runner(self, entry: bindings.Entry, node: Any) -> Callable[[], Any]:
        async def run() -> None:
            await self.run_action(entry.action, default_namespace=node)

        return lambda: self.call_later(run)
