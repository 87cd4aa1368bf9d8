"""The terminal view: shows what a feed reads, and asks it for what the user wants to see.

The feed works in a thread of its own and publishes immutable snapshots; this application looks a
few times a second whether there is a newer one, and draws.
"""

import asyncio
import contextlib
import signal
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, ClassVar

from textual.app import App, SystemCommand
from textual.binding import Binding, BindingType
from textual.screen import Screen
from textual.widget import Widget

from tracer.model.verdicts import Verdict
from ui import bindings, themes
from ui.feed.protocol import Feed
from ui.replaying import Replaying
from ui.request import Find, Request
from ui.saving import Keeper
from ui.screens.base import Base
from ui.screens.event import EventScreen
from ui.screens.help import HelpScreen
from ui.screens.main import MainScreen
from ui.screens.object import ObjectScreen
from ui.snapshot import Alert, Snapshot
from ui.widgets.grid import Grid

_SWITCH_S = 0.001
"""How long the reader's thread may keep the interpreter while a key waits; Python's own is five
times that, and a key needs it several times until it is drawn."""
POLL_S = 0.02
"""How often it is looked for a newer snapshot; the feed publishes four to five a second, and at
once after a request."""


class SealsnoopApp(Replaying):
    """One application for live and replay."""

    TITLE = "sealsnoop"
    CSS_PATH = "sealsnoop.tcss"
    ENABLE_COMMAND_PALETTE = True
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("question_mark", "help", "Help", key_display="?"),
        Binding("q", "quit", "Quit"),
        Binding("ctrl+c", "quit", "Quit", show=False, priority=True),
        Binding("p", "pause", "Pause"),
        Binding("a", "acknowledge", "Acknowledge alerts", show=False),
        Binding("v", "show_alert", "Show the alert's event", show=False),
        Binding("r", "record", "Keep as recording", show=False),
        Binding("ctrl+s", "picture", "Screenshot (SVG)", show=False),
        Binding("t", "change_theme", "Theme", show=False),
        Binding("k", "play", "Replay: play or pause", show=False),
        Binding("full_stop", "step", "Replay: one event on", show=False),
        Binding("greater_than_sign", "next_violation", "Replay: to the next violation", show=False),
        Binding("g", "seek", "Replay: go to a time", show=False),
        Binding("plus,equals_sign", "speed(1)", "Replay: faster", show=False),
        Binding("minus", "speed(-1)", "Replay: slower", show=False),
        Binding("ctrl+z", "suspend_process", "To the background", show=False),
    ]

    def __init__(
        self,
        feed: Feed,
        *,
        bell: bool = True,
        theme: str = themes.DEFAULT,
        keeper: Keeper | None = None,
        frozen: bool = False,
        read_only: bool = False,
    ) -> None:
        """``frozen``: nothing is drawn until :meth:`poll` is called.

        ``read_only``: no key writes anything (in a browser). UserError: no such theme.
        """
        super().__init__(feed, keeper, read_only)
        for own in themes.OWN:
            self.register_theme(own)
        self.theme = themes.check(theme, self.available_themes)
        self.request = Request()
        self.shot = Snapshot()
        self.paused = False
        self._bell = bell
        self._frozen = frozen
        self._acknowledged = 0
        self._rung = 0
        self._searches = 0

    def get_css_variables(self) -> dict[str, str]:
        variables = super().get_css_variables()
        variables |= themes.colours(variables)
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
        if not self._frozen:
            self.set_interval(POLL_S, self.poll, name="poll")

    def _catch_signals(self) -> None:
        """The terminal must be itself again, whoever ends us."""
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
        # What lies behind a dialog stands still: each change would draw the dialog anew too.
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
        if alerts and "claim" in alerts[-1].event:
            self._show_audit()
        elif alerts and alerts[-1].event:
            self.push_screen(EventScreen(alerts[-1].event, self.shot.now.start_ns))

    def _show_audit(self) -> None:
        while not isinstance(self.screen, MainScreen):
            self.pop_screen()
        self.screen.action_tab("audit")

    def _redraw(self) -> None:
        screen = self.screen
        if isinstance(screen, Base):
            screen.show(self.shot)

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
            ("One event", bindings.of(EventScreen)),
        ]

    def get_system_commands(self, screen: Screen[Any]) -> Iterable[SystemCommand]:
        for owner in (type(screen), SealsnoopApp):
            node = screen if owner is type(screen) else self
            for entry in bindings.of(owner):
                yield SystemCommand(entry.text, f"key {entry.key}", self._runner(entry, node))

    def _runner(self, entry: bindings.Entry, node: Any) -> Callable[[], Any]:
        async def run() -> None:
            await self.run_action(entry.action, default_namespace=node)

        return lambda: self.call_later(run)
