"""Labels and values below each other, values wrapped; more than fits can be scrolled."""

from collections.abc import Sequence

from rich.text import Text
from textual.app import ComposeResult
from textual.containers import VerticalScroll

from ui.explain import Line
from ui.widgets.lines import Lines, styled


class _Body(Lines):
    DEFAULT_CSS = "_Body { height: auto; width: 1fr; }"
    grows = True

    def __init__(self) -> None:
        super().__init__()
        self._lines: Sequence[Line] = ()

    def set(self, lines: Sequence[Line]) -> None:
        if list(lines) != list(self._lines):
            self._lines = lines
            self.draw()

    def on_resize(self) -> None:
        self.draw()

    def draw(self) -> None:
        width = max(20, self.size.width)
        labels = max([len(line.label) for line in self._lines], default=0)
        rows: list[Text] = []
        for line in self._lines:
            colour = self.style_of(line.style) if line.style not in ("", "strong") else ""
            style = f"bold {colour}".strip() if line.style in ("strong", "breach") else colour
            value = Text(line.value, style)
            pieces = value.wrap(self.app.console, width - labels - 1) or [Text()]
            for place, piece in enumerate(pieces):
                label = line.label if place == 0 else ""
                row = styled((label.rjust(labels) + " ", self.style_of("quiet")))
                piece.rstrip()
                rows.append(row.append_text(piece))
        self.put(Text("\n").join(rows))


class FactList(VerticalScroll):
    """A scrolling list of facts."""

    def compose(self) -> ComposeResult:
        yield _Body()

    def show(self, lines: Sequence[Line]) -> None:
        """Shows ``lines``."""
        self.query_one(_Body).set(lines)

    @property
    def text(self) -> str:
        """What it shows."""
        return self.query_one(_Body).text
