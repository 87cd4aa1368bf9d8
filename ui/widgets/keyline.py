"""The keys that matter here, in one line; a click presses one.

Textual's Footer is a widget for each key and makes all of them anew whenever the focus moves.
"""

from rich.text import Text
from textual import events

from ui.bindings import key_name
from ui.widgets.lines import Lines


class KeyLine(Lines):
    """The bindings of the focused widget, the screen and the application that are to be shown."""

    def __init__(self) -> None:
        super().__init__()
        self._places: list[tuple[int, int, str]] = []

    def on_mount(self) -> None:
        self.screen.bindings_updated_signal.subscribe(self, lambda _: self._draw())

    def on_resize(self) -> None:
        self._draw()

    def _draw(self) -> None:
        if not self.is_attached or not self.screen.is_active:
            return
        line = Text()
        self._places = []
        key_style = f"bold {self.style_of('accent')}"
        seen = set()
        for active in self.screen.active_bindings.values():
            binding = active.binding
            if not binding.show or binding.action in seen:
                continue
            seen.add(binding.action)
            start = line.cell_len
            line.append(f" {binding.key_display or key_name(binding.key)} ", key_style)
            line.append(f"{binding.description} ")
            self._places.append((start, line.cell_len, binding.key))
        self.put(line)

    def on_click(self, event: events.Click) -> None:
        for start, end, key in self._places:
            if start <= event.x < end:
                self.app.simulate_key(key)
