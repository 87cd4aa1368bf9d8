"""The lines around a table: header, alert, verdicts, tabs, an object's title, replay, keys."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from rich.text import Text
from textual import events
from textual.message import Message

from tracer import labels
from tracer.escape import printable
from tracer.live import cells
from tracer.live.cells import SYMBOLS, VIOLATIONS, WORST_FIRST, sparkline
from tracer.live.coverage import self_test
from tracer.live.snapshot import Alert, Now, Snapshot, State, Verdicts
from tracer.rules.verdicts import Verdict
from tracer.walltime import time_of_day
from ui.bindings import key_name
from ui.widgets.lines import Buttons, Drawn, fields, sides, styled


class Summary(NamedTuple):
    """A style's name (a verdict's word, ``dim``) and what to say."""

    style: str
    text: str


def _doubts(shot: Snapshot) -> list[str]:
    doubts = []
    if shot.now.lost:
        doubts.append(f"{shot.now.lost:,} events lost")
    if unknown := shot.verdicts.of(Verdict.INDETERMINATE):
        doubts.append(f"{unknown:,} indeterminate")
    if blind := shot.coverage.blind:
        doubts.append(f"not seen: {', '.join(blind)}")
    found, fine = self_test(shot.manifest.tested)
    if fine is False:
        doubts.append(f"self-test: {found}")
    elif fine is None and shot.manifest.hooks:
        doubts.append("self-test not run")
    if shot.now.state in (State.GONE, State.BROKEN):
        doubts.append(shot.now.state.value)
    return doubts


def _judged(verdict: Verdict, text: str) -> Summary:
    return Summary(verdict.word, f"{SYMBOLS[verdict]} {text}")


def _nothing_yet(now: Now) -> str:
    if now.state in (State.OPENING, State.READING):
        return "… reading the recording"
    if now.state is State.LIVE:
        return "… no decision yet: waiting for the first"
    if now.share is not None and now.share < 1:
        return "… no decision yet: k plays, > goes to the next violation"
    return "no decision in this recording"


def summary(shot: Snapshot) -> Summary:
    """The one sentence that says whether anything is wrong."""
    count = shot.verdicts
    total, breaches, odd = count.total, count.of(Verdict.BREACH), count.of(Verdict.UNEXPLAINED)
    failed = shot.audited.broken if shot.audited is not None else 0
    broken = f"{failed:,} broken claim{'s' if failed > 1 else ''}" if failed else ""
    if breaches:
        noun = "BREACH" if breaches == 1 else "BREACHES"
        more = f", {odd:,} unexplained denials" if odd else ""
        more += f", {broken}" if broken else ""
        text = f"{breaches:,} {noun}: let through what a seal forbids{more}. Press n to see"
        return _judged(Verdict.BREACH, text)
    if broken:
        return _judged(Verdict.BREACH, f"AUDIT FAILED: {broken}. Press 6 to see")
    if odd:
        noun = "DENIAL" if odd == 1 else "DENIALS"
        text = f"{odd:,} UNEXPLAINED {noun}: no seal and no rule says so. Press n to see"
        return _judged(Verdict.UNEXPLAINED, text)
    if not total:
        return Summary("dim", _nothing_yet(shot.now))
    if doubts := _doubts(shot):
        text = f"No breach in {total:,} decisions, but not sure: {'; '.join(doubts)}"
        return _judged(Verdict.INDETERMINATE, text)
    blocked = count.of(Verdict.BLOCKED)
    text = f"All {total:,} decisions are as the seals demand"
    return _judged(Verdict.ALLOWED, text + (f"; {blocked:,} blocked" if blocked else ""))


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


class Header(Drawn[tuple[Snapshot, bool]]):
    """Two lines on top: which host, what is seen, how much comes in, what was lost.

    It is given a snapshot, and whether rows stand still.
    """

    def draw(self, width: int) -> Text:
        shot, paused = self.shown or (Snapshot(), False)
        return Text("\n").join([self._first(shot, paused, width), self._second(shot, width)])

    def _state(self, now: Now, paused: bool) -> Text:
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
        if paused:
            line.append(" ‖ PAUSED ", f"bold reverse {self.style_of('unexplained')}").append(" ")
        return line.append(f"{_SYMBOLS[now.state]} {word}", f"bold {colour}")

    def _first(self, shot: Snapshot, paused: bool, width: int) -> Text:
        manifest, now = shot.manifest, shot.now
        dim = self.style_of("quiet")
        host = Text(printable(manifest.host_name), "bold")
        kernel = Text(printable(manifest.kernel.release), dim)
        hooks = Text()
        if manifest.hooks:
            style = self.style_of("breach") if shot.coverage.blind else ""
            live = f"{shot.hooks_live}/{len(manifest.hooks)}"
            hooks = styled(("hooks ", dim), (live, style))
        colours = {True: "allowed", None: "unexplained", False: "breach"}
        found, fine = self_test(manifest.tested)
        test = styled(("self-test ", dim), (found, self.style_of(colours[fine])))
        left = [
            (1, Text("sealsnoop", f"bold {self.style_of('primary')}")),
            (2, host),
            (5, kernel),
            (3, hooks),
            (4, test),
        ]
        right = self._state(now, paused)
        right.append(f"  {cells.clock(now.seconds).partition('.')[0]}s", dim)
        if now.wall_ns is not None and width >= 100:
            right.append(f"  {time_of_day(now.wall_ns, 0)}", dim)
        room = max(8, width - right.cell_len - 2)
        return sides(fields(left, room), right, width)

    def _second(self, shot: Snapshot, width: int) -> Text:
        now, command = shot.now, " ".join(map(printable, shot.manifest.command))
        dim, bad = self.style_of("quiet"), self.style_of("breach")
        lost = styled(("lost ", dim), ("0", self.style_of("allowed")))
        if now.lost:
            lost = styled((f" LOST {now.lost:,} ", f"bold reverse {bad}"))
        path = shot.path.rstrip("/").rpartition("/")[2]
        message = cells.text(now.message) if now.message else ""
        stored = labels.size(now.bytes) if now.bytes else ""
        parts = [
            (0, styled((message, f"bold {bad}"))),
            (3, styled((f"{now.rate:,.0f}", "bold"), (" events/s", dim))),
            (4, styled((f"{now.events:,}", ""), (" events", dim))),
            (1, lost),
            (5, styled((stored, ""), (" on disk" if stored else "", dim))),
            (6, styled((cells.text(path) if path else "", dim))),
            (7, styled((f"$ {command}" if command else "", dim))),
        ]
        return fields(parts, width)


class TabBar(Buttons):
    """One line of tabs by name; the chosen one is bright and has brackets."""

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
        self.redraw()

    def draw(self, width: int) -> Text:
        line = self._line(with_counts=True)
        if line.cell_len + self._note.cell_len > width:
            line = self._line(with_counts=False)
        room = width - line.cell_len - self._note.cell_len
        if self._note.cell_len and room >= 1:
            line.append(" " * room).append_text(self._note)
        line.truncate(width, overflow="ellipsis", pad=True)
        return line

    def _line(self, with_counts: bool) -> Text:
        line = Text()
        self.buttons = []
        quiet = self.style_of("quiet")
        for number, (name, title) in enumerate(self._titles.items(), 1):
            count = self._counts.get(name, "") if with_counts else ""
            body = f"{number} {title}{f' {count}' if count else ''}"
            start = line.cell_len
            if name == self.active:
                line.append(f"[{body}]", f"bold reverse {self.style_of('primary')}")
            else:
                line.append(f" {body} ", quiet)
            self.buttons.append((start, line.cell_len, name))
        return line

    def press(self, name: str) -> None:
        self.post_message(self.Chosen(self, name))


class KeyLine(Buttons):
    """The keys that matter here, in one line; a click presses one.

    Textual's Footer is a widget for each key, and rebuilds all of them whenever the focus moves.
    """

    def on_mount(self) -> None:
        self.screen.bindings_updated_signal.subscribe(self, lambda _: self.redraw())

    def draw(self, width: int) -> Text | None:
        if not self.is_attached or not self.screen.is_active:
            return None
        line = Text()
        self.buttons = []
        key_style = f"bold {self.style_of('accent')}"
        seen = set()
        for active in self.screen.active_bindings.values():
            binding = active.binding
            if not binding.show or binding.action in seen:
                continue
            seen.add(binding.action)
            start = line.cell_len
            line.append(f" {key_name(binding.key)} ", key_style)
            line.append(f"{binding.description} ")
            self.buttons.append((start, line.cell_len, binding.key))
        return line

    def press(self, name: str) -> None:
        self.app.simulate_key(name)


class Banner(Drawn[Sequence[Alert]]):
    """The newest alert that nobody acknowledged: it stays until somebody does."""

    class Clicked(Message):
        """A click on it: show the event."""

    def show(self, shown: Sequence[Alert]) -> None:
        """Shows the alerts that are still open, oldest first."""
        self.set_class(bool(shown), "-shown")
        super().show(shown)

    def draw(self, width: int) -> Text | None:
        if not self.shown:
            return None
        newest, count = self.shown[-1], len(self.shown)
        more = f" (and {count - 1:,} more)" if count > 1 else ""
        left = Text(f" ✗ {newest.verdict.upper()}{more}: {cells.text(newest.text)}")
        right = Text("v show  a acknowledge ")
        line = sides(left, right, width)
        line.stylize("bold")
        return line

    def on_click(self, event: events.Click) -> None:
        event.stop()
        self.post_message(self.Clicked())


_SHORT = {Verdict.INDETERMINATE: "indet.", Verdict.UNEXPLAINED: "unexpl."}


class VerdictStrip(Drawn[Snapshot]):
    """Is anything wrong? One sentence, and for each verdict its count and its history."""

    def draw(self, width: int) -> Text:
        shot = self.shown or Snapshot()
        lines = [self._sentence(shot, width)]
        tile = max(6, width // len(WORST_FIRST))
        for row in range(3):
            line = Text()
            for place, verdict in enumerate(WORST_FIRST):
                last = place == len(WORST_FIRST) - 1
                room = width - tile * place if last else tile
                line.append_text(self._tile(shot.verdicts, verdict, room, row))
            lines.append(line)
        return Text("\n").join(lines)

    def _sentence(self, shot: Snapshot, width: int) -> Text:
        style, text = summary(shot)
        line = Text(f" {cells.text(text)}")
        line.truncate(width, overflow="ellipsis", pad=True)
        colour = self.style_of("quiet" if style == "dim" else style)
        if style in ("breach", "unexplained"):
            line.stylize(f"bold reverse {colour}")
        else:
            line.stylize(colour if style == "dim" else f"bold {colour}")
        return line

    def _tile(self, verdicts: Verdicts, verdict: Verdict, width: int, row: int) -> Text:
        count = verdicts.of(verdict)
        colour = self.style_of(verdict.word)
        quiet = self.style_of("quiet")
        inner = width - 2
        if row == 0:
            word = verdict.word if len(verdict.word) + 2 <= inner else _SHORT.get(verdict, "")
            text = Text(f"{SYMBOLS[verdict]} {word or verdict.word}", colour if count else quiet)
        elif row == 1:
            text = Text(cells.count(count, inner - 1) if count else "0",
                        f"bold {colour}" if count else quiet)  # fmt: skip
        else:
            history = verdicts.history[verdict].tolist()
            text = Text(sparkline(history, inner, verdicts.whole), colour)
        text.truncate(inner, overflow="ellipsis", pad=True)
        if count and verdict in VIOLATIONS:
            edge = Text(" ", colour).append_text(text)
            edge.stylize("reverse")
        else:
            edge = Text("▌", colour if count else self.style_of("edge")).append_text(text)
        return edge.append(" ")


class ObjectTitle(Drawn[Mapping[str, Any]]):
    """An object's worst verdict, its name, its seals and what else has room.

    It is given the columns that the table of objects has.
    """

    def draw(self, width: int) -> Text | None:
        if self.shown is None:
            return None
        get = self.shown.get
        verdict = Verdict(max(0, get("worst") or 0))
        quiet = self.style_of("quiet")
        name = cells.name_of(get("kind"), get("name"), get("dev"), get("ino"))
        mark = (f" {SYMBOLS[verdict]} {verdict.word} ", f"bold {self.style_of(verdict.word)}")
        gone = "gone" if get("evicted_ns") is not None else ""
        left_out = "never sealable: its further calls were not recorded"

        def part(label: str, value: str, style: str = "") -> Text:
            return styled((f"{label} ", quiet), (value, style))

        maps = cells.text(get("mappings") or 0)
        if get("writable"):
            maps += f" ({get('writable')} writable)"
        parts = [
            (0, styled(mark, (name, "bold"))),
            (1, part("seals", cells.seals(get("seals")), "bold")),
            (2, part("size", labels.size(get("size")))),
            (3, part("mapped", maps)),
            (4, part("kind", cells.text(get("kind")))),
            (5, part("owner", cells.text(get("owner_uid")))),
            (7, part("object", f"{get('dev')}:{get('ino')}:{get('gen')}")),
            (1, Text(left_out if get("left_out") else "", quiet)),
            (6, Text(gone, self.style_of("unexplained"))),
        ]
        return fields(parts, max(8, width))


_KEYS = (
    "k play/pause  . step  > next violation  g go to  +/- speed",
    "k play  . step  > next  g go  +/-",
)


class ReplayBar(Drawn[Now]):
    """Where a replay stands, and its keys; hidden where nothing is replayed."""

    class Sought(Message):
        """A click on the line: go to this share of the recording."""

        def __init__(self, share: float) -> None:
            super().__init__()
            self.share = share

    track = (0, 1)
    """First cell and width of the line that can be clicked."""

    def show(self, shown: Now) -> None:
        """Draws the place."""
        self.set_class(shown.share is not None, "-shown")
        super().show(shown)

    def draw(self, width: int) -> Text | None:
        now = self.shown
        if now is None or now.share is None:
            return None
        playing = now.state is State.PLAYING
        speed = "max" if now.speed == float("inf") else f"{now.speed or 1:g}x"
        left = styled((f" {'▶' if playing else '‖'} {speed:<5}", "bold"))
        right = Text(f" {cells.clock(now.seconds)}s")
        for text in _KEYS:
            keys = styled((f"  {text} ", self.style_of("quiet")))
            if width >= left.cell_len + right.cell_len + keys.cell_len + 20:
                right.append_text(keys)
                break
        room = max(4, width - left.cell_len - right.cell_len)
        done = round(room * now.share)
        self.track = (left.cell_len, room)
        colour = self.style_of("primary")
        left.append("━" * done, colour).append("─" * (room - done), self.style_of("edge"))
        return left.append_text(right)

    def on_click(self, event: events.Click) -> None:
        start, room = self.track
        if start <= event.x <= start + room:
            self.post_message(self.Sought((event.x - start) / room))
