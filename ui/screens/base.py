"""The frame of every full screen, and the two dialogs: one line of text, and the help."""

from collections.abc import Iterator, Mapping
from itertools import chain, zip_longest
from textwrap import wrap
from typing import TYPE_CHECKING, ClassVar, cast

from rich.text import Text
from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen, Screen
from textual.widgets import Input

from tracer.filter.query import KEYS
from tracer.live.cells import SYMBOLS, WORST_FIRST
from tracer.live.snapshot import Snapshot
from tracer.words import LETTERS
from ui.bindings import Entry
from ui.themes import colour_of
from ui.widgets.grid import Grid
from ui.widgets.lines import Lines, Page, styled
from ui.widgets.strips import Bar, Status, StatusLine

if TYPE_CHECKING:
    from ui.app import SealsnoopApp

LEAST_WIDTH, LEAST_HEIGHT = 50, 14
NARROW = 100
WIDE = 160
"""Cells from which on two things stand beside each other."""
LOW = 30
FLAT = 22
"""Below so many lines a table stands alone."""


class TooSmall(Lines):
    """Says how large the terminal has to be."""

    folds = True

    def draw(self, width: int) -> Text:
        width, height = self.app.size
        least = f"{LEAST_WIDTH}x{LEAST_HEIGHT}"
        return Text(f"terminal too small: {width}x{height}, sealsnoop needs {least}; q quits")


class Base(Screen[None]):
    """A screen that shows each new snapshot: a line of status, and its own ``body``."""

    AUTO_FOCUS = ""

    def compose(self) -> ComposeResult:
        yield StatusLine()
        yield from self.body()
        yield TooSmall()

    def body(self) -> ComposeResult:
        """What is below: a line about what is shown, tabs and keys, and the rest."""
        raise NotImplementedError

    @property
    def view(self) -> "SealsnoopApp":
        """The application, by its own type."""
        return cast("SealsnoopApp", self.app)

    def show(self, shot: Snapshot) -> None:
        for line in self.query(StatusLine):
            line.show(Status(shot, self.view.paused, self.view.open_alerts))

    def settle_focus(self) -> None:
        """Gives the focus to what the screen is about."""

    def on_resize(self, event: events.Resize) -> None:
        width, height = event.size
        if self.has_class("-tiny"):
            # What was hidden lost the focus.
            self.call_after_refresh(self.settle_focus)
        self.set_class(width < LEAST_WIDTH or height < LEAST_HEIGHT, "-tiny")
        self.set_class(width < NARROW, "-narrow")
        self.set_class(width >= WIDE, "-wide")
        self.set_class(height < LOW, "-low")
        self.set_class(height < FLAT, "-flat")
        self.call_after_refresh(lambda: self.show(self.view.shot))

    def on_screen_resume(self) -> None:
        self.show(self.view.shot)

    def on_status_line_clicked(self) -> None:
        self.view.action_show_alert()

    def action_back(self) -> None:
        self.dismiss()

    def action_copy(self) -> None:
        grid = self.focused
        if isinstance(grid, Grid) and grid.place is not None:
            self.view.copy_row(grid.line)


class Paned(Base):
    """A full screen of panes, one of which has the keys; without room it stands alone."""

    panes: ClassVar[Mapping[str, str]]
    """Their titles by id, in the order of their numbers."""
    beside: ClassVar[Mapping[str, str]] = {}
    """Panels that are shown with a pane: its id by theirs."""

    def __init__(self) -> None:
        super().__init__()
        self._pane = next(iter(self.panes))

    def action_pane(self, name: str) -> None:
        self._pane = name
        for panel in self.query(".panel"):
            panel.set_class(name in (panel.id, self.beside.get(panel.id or "")), "-chosen")
        self.settle_focus()
        self.show(self.view.shot)

    def settle_focus(self) -> None:
        self.query_one(f"#{self._pane}").focus()

    def action_turn(self, step: int) -> None:
        names = list(self.panes)
        self.action_pane(names[(names.index(self._pane) + step) % len(names)])

    def on_bar_chosen(self, event: Bar.Chosen) -> None:
        self.action_pane(event.name)


class _Note(Lines):
    folds = True


class AskScreen(ModalScreen[str | None]):
    """Returns what was typed, None where the user left."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "leave", "Leave it"),
    ]

    def __init__(self, title: str, note: str, value: str = "", placeholder: str = "") -> None:
        super().__init__()
        self._title, self._note = title, note
        self._value, self._placeholder = value, placeholder

    def compose(self) -> ComposeResult:
        with Vertical(id="ask"):
            yield Input(self._value, placeholder=self._placeholder, id="answer", max_length=1000)
            yield _Note(id="note")

    def on_mount(self) -> None:
        box = self.query_one("#ask")
        box.border_title = self._title
        box.border_subtitle = "enter: do it, esc: leave it"
        self.query_one("#note", _Note).put(Text(self._note))
        self.query_one(Input).focus()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        event.stop()
        self.dismiss(event.value.strip() or None)

    def action_leave(self) -> None:
        self.dismiss(None)


_KEY = 13


class HelpScreen(ModalScreen[None]):
    """The help; ``groups`` are headings and the keys below them.

    It hides what is behind it: Textual would redraw all of that with each change of it.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,question_mark,q", "dismiss", "Close"),
    ]

    def __init__(self, groups: list[tuple[str, list[Entry]]]) -> None:
        super().__init__()
        self._groups = groups

    def compose(self) -> ComposeResult:
        yield Page(self._lines, id="help")

    def on_mount(self) -> None:
        box = self.query_one(Page)
        box.border_title = "Keys and signs"
        box.border_subtitle = "esc closes, ↑ ↓ scroll"
        box.focus()

    def _lines(self, whole: int) -> list[Text]:
        columns = 2 if whole >= 100 else 1
        width = max(20, whole // columns - 2)
        blocks = [*(self._keys(*group, width) for group in self._groups), *self._words(width)]
        if columns == 1:
            return [line for block in blocks for line in (*block, Text())][:-1]
        sides: list[list[Text]] = [[], []]
        for block in blocks:
            side = min(sides, key=len)
            side += [*block, Text()]
        rows = []
        for left, right in zip_longest(*sides, fillvalue=Text()):
            line = left.copy()
            line.truncate(width, overflow="ellipsis", pad=True)
            rows.append(line.append("  ").append_text(right))
        return rows

    def _heading(self, title: str) -> Text:
        return styled((title, f"bold {colour_of(self, 'primary')}"))

    def _keys(self, title: str, keys: list[Entry], width: int) -> list[Text]:
        lines = [self._heading(title)]
        for key in keys:
            line = styled((f"{key.key:>{_KEY}}  ", "bold"), (key.text, ""))
            line.truncate(width, overflow="ellipsis")
            lines.append(line)
        return lines

    def _words(self, width: int) -> Iterator[list[Text]]:
        """What is no key: signs, and the filter's words."""
        signs = [
            (f"{SYMBOLS[one]} {one.word:<13} ", colour_of(self, one.word), one.meaning)
            for one in WORST_FIRST
        ]
        seals = "seal, shrink, grow, write, future write, exec (or inaccessible); - is not set"
        words = "all words must hold; a comma between values is 'or', ! before a word is 'not'"
        keys = [(f"{key.example:<24} ", "bold", key.help) for key in KEYS]
        for title, entries in (
            ("Verdicts and seals", [*signs, (f"{LETTERS:<15} ", "bold", seals)]),
            ("Filter", [("", "", words), *keys]),
        ):
            lines = [_wrapped(styled((head, style)), text, width) for head, style, text in entries]
            yield [self._heading(title), *chain(*lines)]


def _wrapped(head: Text, text: str, width: int) -> list[Text]:
    """``text`` behind ``head``, its further lines below its first."""
    room = max(10, width - head.cell_len)
    first, *rest = wrap(text, room, break_long_words=False, break_on_hyphens=False)
    return [head.copy().append(first), *(Text(" " * head.cell_len + line) for line in rest)]
