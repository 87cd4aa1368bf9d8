"""One event: why its verdict, then every field."""

from collections.abc import Mapping
from typing import Any, ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType

from ui import cells
from ui.explain import Line, fields, why
from ui.screens.base import Base, TooSmall
from ui.widgets.banner import Banner
from ui.widgets.facts import FactList
from ui.widgets.header import Header
from ui.widgets.keyline import KeyLine
from ui.widgets.lines import Lines
from ui.widgets.replaybar import ReplayBar


class EventScreen(Base):
    """Everything about one event."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,backspace", "back", "Back", key_display="esc"),
        Binding("o", "object", "Its object"),
        Binding("y", "copy", "Copy"),
    ]

    def __init__(self, event: Mapping[str, Any], start_ns: int | None) -> None:
        super().__init__()
        self.event = event
        self._start_ns = start_ns

    def compose(self) -> ComposeResult:
        yield Header()
        yield Banner()
        yield Lines(id="title")
        yield FactList(id="why")
        yield FactList(id="fields")
        yield ReplayBar()
        yield KeyLine()
        yield TooSmall()

    def on_mount(self) -> None:
        get = self.event.get
        title = self.query_one("#title", Lines)
        name = cells.name_of(get("kind"), get("name"), get("dev"), get("ino"))
        text = Text(f" {cells.text(get('op'))} on {name} by {cells.who(get('comm'), get('pid'))}")
        text.stylize("bold")
        title.put(text)
        self.query_one("#why", FactList).show(why(self.event))
        body = self.query_one("#fields", FactList)
        body.show(self._fields())
        self.settle_focus()

    def _fields(self) -> list[Line]:
        return fields(self.event, self._start_ns, self.view.shot.facts.bit5)

    def settle_focus(self) -> None:
        self.query_one("#fields").focus()

    def action_back(self) -> None:
        self.dismiss()

    def action_object(self) -> None:
        from ui.screens.object import ObjectScreen

        key = tuple(int(self.event.get(part) or 0) for part in ("dev", "ino", "gen"))
        self.app.switch_screen(ObjectScreen((key[0], key[1], key[2])))

    def action_copy(self) -> None:
        lines = [*why(self.event), *self._fields()]
        self.view.copy_row("\n".join(f"{line.label}: {line.value}" for line in lines if line.value))
