"""Where a replay stands, and its keys."""

from rich.text import Text
from textual import events
from textual.message import Message

from ui import cells
from ui.snapshot import Now, State
from ui.widgets.lines import Lines, styled

_KEYS = (
    "k play/pause  . step  > next violation  g go to  +/- speed",
    "k play  . step  > next  g go  +/-",
)


class ReplayBar(Lines):
    """A line with the place in the recording; hidden where nothing is replayed."""

    class Sought(Message):
        """A click on the line: go to this share of the recording."""

        def __init__(self, share: float) -> None:
            super().__init__()
            self.share = share

    def __init__(self) -> None:
        super().__init__()
        self._now = Now()
        self._track = (0, 1)

    def show(self, now: Now) -> None:
        """Draws the place."""
        self._now = now
        self.set_class(now.share is not None, "-shown")
        self._draw()

    def on_resize(self) -> None:
        self._draw()

    def _draw(self) -> None:
        now = self._now
        if now.share is None:
            return
        width = max(1, self.size.width)
        playing = now.state is State.PLAYING
        speed = "max" if now.speed == float("inf") else f"{now.speed or 1:g}x"
        left = styled((f" {'▶' if playing else '‖'} {speed:<5}", "bold"))
        right = Text(f" {cells.clock(now.seconds)}s")
        for said in _KEYS:
            keys = styled((f"  {said} ", self.style_of("quiet")))
            if width >= left.cell_len + right.cell_len + keys.cell_len + 20:
                right.append_text(keys)
                break
        room = max(4, width - left.cell_len - right.cell_len)
        done = round(room * now.share)
        self._track = (left.cell_len, room)
        colour = self.style_of("primary")
        left.append("━" * done, colour).append("─" * (room - done), self.style_of("edge"))
        self.put(left.append_text(right))

    def on_click(self, event: events.Click) -> None:
        start, room = self._track
        if start <= event.x <= start + room:
            self.post_message(self.Sought((event.x - start) / room))
