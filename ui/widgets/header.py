"""Two lines on top: which host, what is seen, how much comes in, what was lost."""

from rich.text import Text

from ui import cells
from ui.snapshot import Snapshot, State
from ui.widgets.lines import Lines, fields, sides, styled

_SYMBOLS = {
    State.OPENING: "…",
    State.READING: "…",
    State.LIVE: "●",
    State.ENDED: "■",
    State.GONE: "✗",
    State.BROKEN: "✗",
    State.PLAYING: "▶",
    State.HELD: "‖",
}
_COLOURS = {
    State.LIVE: "allowed",
    State.PLAYING: "allowed",
    State.GONE: "breach",
    State.BROKEN: "breach",
    State.HELD: "unexplained",
}


class Header(Lines):
    """The header strip."""

    def __init__(self) -> None:
        super().__init__()
        self._shot = Snapshot()
        self._paused = False

    def show(self, shot: Snapshot, paused: bool) -> None:
        """Draws what ``shot`` says; ``paused``: rows stand still."""
        self._shot, self._paused = shot, paused
        self._draw()

    def on_resize(self) -> None:
        self._draw()

    def _draw(self) -> None:
        width = max(1, self.size.width)
        self.put(Text("\n").join([self._first(width), self._second(width)]))

    def _state(self) -> Text:
        now = self._shot.now
        colour = self.style_of(_COLOURS.get(now.state, "foreground"))
        word = now.state.value.upper()
        if now.progress is not None and now.progress < 1:
            word += f" {now.progress:.0%}"
        if now.speed is not None:
            speed = "max" if now.speed == float("inf") else f"{now.speed:g}x"
            word += f" {speed}"
        if now.share is not None:
            word += f" {now.share:.0%}"
        line = Text()
        if self._paused:
            line.append(" ‖ PAUSED ", f"bold reverse {self.style_of('unexplained')}").append(" ")
        return line.append(f"{_SYMBOLS[now.state]} {word}", f"bold {colour}")

    def _first(self, width: int) -> Text:
        facts, now = self._shot.facts, self._shot.now
        dim = self.style_of("quiet")
        host = Text(cells.text(facts.host) if facts.host else "", "bold")
        kernel = Text(cells.text(facts.kernel) if facts.kernel else "", dim)
        hooks = Text()
        if facts.hooks:
            dead = any(hook.essential and not hook.method for hook in self._shot.coverage.hooks)
            style = self.style_of("breach") if dead else ""
            hooks.append("hooks ", dim).append(f"{self._shot.hooks_live}/{facts.hooks}", style)
        colours = {True: "allowed", None: "unexplained", False: "breach"}
        colour = self.style_of(colours[facts.self_test_ok])
        test = styled(("self-test ", dim), (cells.text(facts.self_test), colour))
        left = [
            (1, Text("sealsnoop", f"bold {self.style_of('primary')}")),
            (2, host),
            (5, kernel),
            (3, hooks),
            (4, test),
        ]
        right = self._state()
        right.append(f"  {cells.clock(now.seconds).partition('.')[0]}s", dim)
        if now.wall_ns is not None and width >= 100:
            right.append(f"  {cells.wall(now.wall_ns)}", dim)
        room = max(8, width - right.cell_len - 2)
        return sides(fields(left, room), right, width)

    def _second(self, width: int) -> Text:
        facts, now = self._shot.facts, self._shot.now
        dim, bad = self.style_of("quiet"), self.style_of("breach")
        lost = styled(("lost ", dim), ("0", self.style_of("allowed")))
        if now.lost:
            lost = styled((f" LOST {now.lost:,} ", f"bold reverse {bad}"))
        path = facts.path.rstrip("/").rpartition("/")[2]
        message = cells.text(now.message) if now.message else ""
        stored = cells.size(now.bytes) if now.bytes else ""
        parts = [
            (0, styled((message, f"bold {bad}"))),
            (3, styled((f"{now.rate:,.0f}", "bold"), (" events/s", dim))),
            (4, styled((f"{now.events:,}", ""), (" events", dim))),
            (1, lost),
            (5, styled((stored, ""), (" on disk" if stored else "", dim))),
            (6, styled((cells.text(path) if path else "", dim))),
            (7, styled((f"$ {cells.text(facts.command)}" if facts.command else "", dim))),
        ]
        return fields(parts, width)
