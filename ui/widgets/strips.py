"""The one sentence that says whether anything is wrong.

Two lines on top: which host, what is seen, how much comes in, what was lost.

One line of tabs; the chosen one is bright and has brackets.

The keys that matter here, in one line; a click presses one.

Textual's Footer is a widget for each key and makes all of them anew whenever the focus moves.

What must not be missed stays on the screen until somebody says that he has seen it.

Is anything wrong? One sentence, and for each verdict its count and how it went.

One object in one line.

Where a replay stands, and its keys.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from rich.text import Text
from textual import events
from textual.message import Message

from tracer.live import cells
from tracer.live.cells import SYMBOLS, WORST_FIRST, sparkline
from tracer.live.snapshot import Alert, Now, Snapshot, State
from tracer.rules.verdicts import Verdict
from ui.bindings import key_name
from ui.widgets.lines import Lines, fields, sides, styled


class Summary(NamedTuple):
    """A style's name (a verdict's word, ``dim``) and what to say."""

    style: str
    text: str


def _doubts(shot: Snapshot) -> list[str]:
    doubts = []
    if shot.now.lost:
        doubts.append(f"{shot.now.lost:,} events lost")
    unknown = shot.verdicts.of(Verdict.INDETERMINATE)
    if unknown:
        doubts.append(f"{unknown:,} indeterminate")
    blind = [hook.family for hook in shot.coverage.hooks if hook.essential and not hook.method]
    if blind:
        doubts.append(f"not seen: {', '.join(blind)}")
    if shot.facts.self_test_ok is False:
        doubts.append(f"self-test: {shot.facts.self_test}")
    elif shot.facts.self_test_ok is None and shot.facts.hooks:
        doubts.append("self-test not run")
    if shot.now.state in (State.GONE, State.BROKEN):
        doubts.append(shot.now.state.value)
    return doubts


def _broken(shot: Snapshot) -> str:
    """What the audit found, empty where it found nothing."""
    count = shot.audited.broken if shot.audited is not None else 0
    return f"{count:,} broken claim{'s' if count > 1 else ''}" if count else ""


def summary(shot: Snapshot) -> Summary:
    """What a person should know first."""
    count = shot.verdicts
    breaches, odd = count.of(Verdict.BREACH), count.of(Verdict.UNEXPLAINED)
    broken = _broken(shot)
    if breaches:
        noun = "BREACH" if breaches == 1 else "BREACHES"
        more = f", {odd:,} unexplained denials" if odd else ""
        return Summary(
            "breach",
            f"{SYMBOLS[Verdict.BREACH]} {breaches:,} {noun}: "
            f"let through what a seal forbids{more}{broken and f', {broken}'}. Press n to see",
        )
    if broken:
        return Summary(
            "breach", f"{SYMBOLS[Verdict.BREACH]} AUDIT FAILED: {broken}. Press 6 to see"
        )
    if odd:
        noun = "DENIAL" if odd == 1 else "DENIALS"
        return Summary(
            "unexplained",
            f"{SYMBOLS[Verdict.UNEXPLAINED]} {odd:,} UNEXPLAINED {noun}: "
            "no seal and no rule says so. Press n to see",
        )
    if not count.total:
        if shot.now.state in (State.OPENING, State.READING):
            return Summary("dim", "… reading the recording")
        if shot.now.state is State.LIVE:
            return Summary("dim", "… no decision yet: waiting for the first")
        if shot.now.share is not None and shot.now.share < 1:
            return Summary("dim", "… no decision yet: k plays, > goes to the next violation")
        return Summary("dim", "no decision in this recording")
    doubts = _doubts(shot)
    if doubts:
        return Summary(
            "indeterminate",
            f"{SYMBOLS[Verdict.INDETERMINATE]} No breach in {count.total:,} decisions, "
            f"but not sure: {'; '.join(doubts)}",
        )
    blocked = count.of(Verdict.BLOCKED)
    return Summary(
        "allowed",
        f"{SYMBOLS[Verdict.ALLOWED]} All {count.total:,} decisions are as the seals demand"
        + (f"; {blocked:,} blocked" if blocked else ""),
    )


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


class TabBar(Lines):
    """Tabs by name; a click chooses one."""

    class Chosen(Message):
        """A click on a tab."""

        def __init__(self, bar: "TabBar", name: str) -> None:
            super().__init__()
            self.bar = bar
            self.name = name

    def __init__(self, titles: Mapping[str, str], *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._titles = titles
        self._counts: Mapping[str, str] = {}
        self._note = Text()
        self.active = next(iter(titles))
        self._places: list[tuple[int, int, str]] = []

    def show(
        self,
        active: str,
        counts: Mapping[str, str],
        note: Text | None = None,
        titles: Mapping[str, str] | None = None,
    ) -> None:
        """Chooses ``active``; ``counts`` stand behind titles, ``note`` at the right.

        ``titles``: other tabs than before.
        """
        self._titles = titles or self._titles
        self.active, self._counts, self._note = active, counts, note or Text()
        self._draw()

    def on_resize(self) -> None:
        self._draw()

    def _draw(self) -> None:
        width = max(1, self.size.width)
        line = self._line(width, with_counts=True)
        if line.cell_len + self._note.cell_len > width:
            line = self._line(width, with_counts=False)
        room = width - line.cell_len - self._note.cell_len
        if self._note.cell_len and room >= 1:
            line.append(" " * room).append_text(self._note)
        line.truncate(width, overflow="ellipsis", pad=True)
        self.put(line)

    def _line(self, width: int, with_counts: bool) -> Text:
        line = Text()
        self._places = []
        quiet = self.style_of("quiet")
        for number, (name, title) in enumerate(self._titles.items(), 1):
            count = self._counts.get(name, "") if with_counts else ""
            body = f"{number} {title}{f' {count}' if count else ''}"
            start = line.cell_len
            if name == self.active:
                line.append(f"[{body}]", f"bold reverse {self.style_of('primary')}")
            else:
                line.append(f" {body} ", quiet)
            self._places.append((start, line.cell_len, name))
        return line

    def on_click(self, event: events.Click) -> None:
        for start, end, name in self._places:
            if start <= event.x < end:
                self.post_message(self.Chosen(self, name))


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


_SHORT = {Verdict.INDETERMINATE: "indet.", Verdict.UNEXPLAINED: "unexpl."}
_ALARMING = (Verdict.BREACH, Verdict.UNEXPLAINED)


class VerdictStrip(Lines):
    """The sentence, then a tile for each verdict, the worst first."""

    def __init__(self) -> None:
        super().__init__()
        self._shot = Snapshot()

    def show(self, shot: Snapshot) -> None:
        """Draws what ``shot`` says."""
        self._shot = shot
        self._draw()

    def on_resize(self) -> None:
        self._draw()

    def _draw(self) -> None:
        width = max(1, self.size.width)
        lines = [self._sentence(width)]
        tile = max(6, width // len(WORST_FIRST))
        for row in range(3):
            line = Text()
            for place, verdict in enumerate(WORST_FIRST):
                last = place == len(WORST_FIRST) - 1
                line.append_text(self._tile(verdict, width - tile * place if last else tile, row))
            lines.append(line)
        self.put(Text("\n").join(lines))

    def _sentence(self, width: int) -> Text:
        style, text = summary(self._shot)
        line = Text(f" {cells.text(text)}")
        line.truncate(width, overflow="ellipsis", pad=True)
        colour = self.style_of("quiet" if style == "dim" else style)
        if style in ("breach", "unexplained"):
            line.stylize(f"bold reverse {colour}")
        else:
            line.stylize(colour if style == "dim" else f"bold {colour}")
        return line

    def _tile(self, verdict: Verdict, width: int, row: int) -> Text:
        count = self._shot.verdicts.of(verdict)
        colour = self.style_of(verdict.word)
        quiet = self.style_of("quiet")
        alarm = bool(count) and verdict in _ALARMING
        inner = width - 2
        if row == 0:
            word = verdict.word if len(verdict.word) + 2 <= inner else _SHORT.get(verdict, "")
            text = Text(f"{SYMBOLS[verdict]} {word or verdict.word}", colour if count else quiet)
        elif row == 1:
            text = Text(cells.count(count, inner - 1) if count else "0",
                        f"bold {colour}" if count else quiet)  # fmt: skip
        else:
            verdicts = self._shot.verdicts
            history = verdicts.history[verdict].tolist()
            text = Text(sparkline(history, inner, verdicts.whole), colour)
        text.truncate(inner, overflow="ellipsis", pad=True)
        if alarm:
            edge = Text(" ", colour).append_text(text)
            edge.stylize("reverse")
        else:
            edge = Text("▌", colour if count else self.style_of("edge")).append_text(text)
        return edge.append(" ")


class ObjectTitle(Lines):
    """Its worst verdict, its name, its seals and what else has room."""

    def __init__(self) -> None:
        super().__init__(id="title")
        self._record: Mapping[str, Any] | None = None

    def show(self, record: Mapping[str, Any]) -> None:
        """Draws an object; ``record`` has the columns of the table of objects."""
        self._record = record
        self._draw()

    def on_resize(self) -> None:
        self._draw()

    def _draw(self) -> None:
        if self._record is None:
            return
        get = self._record.get
        verdict = Verdict(max(0, get("worst") or 0))
        quiet = self.style_of("quiet")
        name = cells.name_of(get("kind"), get("name"), get("dev"), get("ino"))
        mark = (f" {SYMBOLS[verdict]} {verdict.word} ", f"bold {self.style_of(verdict.word)}")
        seals = styled(("seals ", quiet), (cells.seals(get("seals")), "bold"))
        gone = get("evicted_ns") is not None

        def part(label: str, value: str) -> Text:
            return styled((f"{label} ", quiet), (value, ""))

        maps = cells.text(get("mappings") or 0)
        if get("writable"):
            maps += f" ({get('writable')} writable)"
        parts = [
            (0, styled(mark, (name, "bold"))),
            (1, seals),
            (2, part("size", f"{cells.size(get('size'))}")),
            (3, part("mapped", maps)),
            (4, part("kind", cells.text(get("kind")))),
            (5, part("owner", cells.text(get("owner_uid")))),
            (7, part("object", f"{get('dev')}:{get('ino')}:{get('gen')}")),
            (
                1,
                Text("never sealable: its further calls were not recorded", quiet)
                if get("left_out")
                else Text(),
            ),
            (6, Text("gone", self.style_of("unexplained")) if gone else Text()),
        ]
        self.put(fields(parts, max(8, self.size.width)))


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
