"""What must not be missed stays on the screen until somebody says that he has seen it."""

from collections.abc import Sequence

from rich.text import Text
from textual import events
from textual.message import Message

from ui import cells
from ui.snapshot import Alert
from ui.widgets.lines import Lines, sides


class Banner(Lines):
    """The newest alert that was not acknowledged; hidden where there is none."""

    class Clicked(Message):
        """A click on it: show the event."""

    def __init__(self) -> None:
        super().__init__()
        self._alerts: Sequence[Alert] = ()

    def show(self, alerts: Sequence[Alert]) -> None:
        """Shows the alerts that are still open, oldest first."""
        self._alerts = alerts
        self.set_class(bool(alerts), "-shown")
        self._draw()

    def on_resize(self) -> None:
        self._draw()

    def _draw(self) -> None:
        if not self._alerts:
            return
        width = max(1, self.size.width)
        newest = self._alerts[-1]
        count = len(self._alerts)
        more = f" (and {count - 1:,} more)" if count > 1 else ""
        left = Text(f" ✗ {newest.verdict.upper()}{more}: {cells.text(newest.text)}")
        right = Text("v show  a acknowledge ")
        line = sides(left, right, width)
        line.stylize("bold")
        self.put(line)

    def on_click(self, event: events.Click) -> None:
        event.stop()
        self.post_message(self.Clicked())
