"""A dialog that asks for one line of text."""

from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Input

from ui.widgets.lines import Lines


class _Note(Lines):
    folds = True


class AskScreen(ModalScreen[str | None]):
    """Returns what was typed, None where the user left."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "leave", "Leave it", key_display="esc"),
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
