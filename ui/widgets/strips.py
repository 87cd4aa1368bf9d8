"""The three lines above a table: status, verdicts with a chart of time, tabs with keys; titles."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

from rich.text import Text
from textual import events
from textual.message import Message

from tracer import labels
from tracer.escape import printable
from tracer.live import cells
from tracer.live.cells import BARS, SYMBOLS, VIOLATIONS, WORST_FIRST
from tracer.live.coverage import self_test
from tracer.live.snapshot import Alert, Now, Snapshot, State, Verdicts
from tracer.rules.verdicts import Verdict
from tracer.walltime import time_of_day
from ui.bindings import FIRST, key_name
from ui.widgets.lines import SEPARATOR, Buttons, Drawn, fields, sides, styled


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


def _count(number: int, noun: str, nouns: str) -> str:
    return f"{number:,} {noun if number == 1 else nouns}"


def summary(shot: Snapshot) -> Summary:
    """What says whether anything is wrong, news before what is known of this kernel."""
    count = shot.verdicts
    odd, known = count.of(Verdict.UNEXPLAINED), count.in_holes
    failed = shot.audited.broken if shot.audited is not None else 0
    told = []
    if count.new:
        told.append(_count(count.new, "NEW BREACH", "NEW BREACHES"))
    if failed:
        told.append(f"AUDIT FAILED: {_count(failed, 'claim', 'claims')}")
    if odd:
        told.append(_count(odd, "UNEXPLAINED DENIAL", "UNEXPLAINED DENIALS"))
    if known:
        told.append(_count(known, "breach by a known hole", "breaches by known holes"))
    if told:
        worst = Verdict.UNEXPLAINED if odd and not (count.new or failed) else Verdict.BREACH
        return _judged(worst, ", ".join(told))
    if not count.total:
        return Summary("dim", _nothing_yet(shot.now))
    if doubts := _doubts(shot):
        return _judged(Verdict.INDETERMINATE, f"no breach seen, not certain: {'; '.join(doubts)}")
    return _judged(Verdict.ALLOWED, "all as the seals demand")


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


class Status(NamedTuple):
    """What the line of status is made of."""

    shot: Snapshot
    paused: bool
    alerts: Sequence[Alert]
    """Those that nobody acknowledged, oldest first."""


class StatusLine(Drawn[Status]):
    """One line: state and time, then the alert that is open or, while there is none, the facts."""

    class Clicked(Message):
        """A click on an alert: show its event."""

    def draw(self, width: int) -> Text:
        shot, paused, alerts = self.shown or Status(Snapshot(), False, ())
        self.set_class(bool(alerts), "-alert")
        left = self._state(shot.now, paused).append(SEPARATOR)
        lost, seen = self._lost(shot.now), Text(f"{shot.now.events:,} events")
        if shot.now.message:
            message = cells.text(shot.now.message)
            told = styled((message, f"bold {self.style_of('breach')}"))
            parts = [(0, told), (1, lost), (2, seen)]
        elif alerts:
            left.append_text(fields([(1, lost), (2, seen)], width - left.cell_len - _LEAST_ALERT))
            return self._alert(left.append(SEPARATOR), alerts, width)
        else:
            parts = [(1, lost), (2, seen), *self._facts(shot)]
        return left.append_text(fields(parts, max(8, width - left.cell_len)))

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
        line = Text(" ")
        if paused:
            line.append(" ‖ PAUSED ", f"bold reverse {self.style_of('unexplained')}").append(" ")
        line.append(f"{_SYMBOLS[now.state]} {word}", f"bold {colour}")
        clock = f"{cells.clock(now.seconds).partition('.')[0]}s"
        if now.wall_ns is not None:
            clock = time_of_day(now.wall_ns, 0)
        return line.append(f" {clock}", self.style_of("quiet"))

    def _lost(self, now: Now) -> Text:
        if now.lost:
            return styled((f" LOST {now.lost:,} ", f"bold reverse {self.style_of('breach')}"))
        return styled(("lost ", self.style_of("quiet")), ("0", self.style_of("allowed")))

    def _facts(self, shot: Snapshot) -> list[tuple[int, Text]]:
        manifest, now = shot.manifest, shot.now
        dim = self.style_of("quiet")
        command = " ".join(map(printable, manifest.command))
        hooks = Text()
        if manifest.hooks:
            blind = len(shot.coverage.blind)
            hooks = styled((f"{shot.hooks_live} hooks", dim))
            if blind:
                hooks = styled((f"BLIND: {blind} of {len(manifest.hooks)} hooks",
                                f"bold {self.style_of('breach')}"))  # fmt: skip
        colours = {True: "quiet", None: "unexplained", False: "breach"}
        found, fine = self_test(manifest.tested)
        stored = f"{labels.size(now.bytes)} on disk" if now.bytes else ""
        path = shot.path.rstrip("/").rpartition("/")[2]
        host = " ".join(filter(None, (manifest.host_name, manifest.kernel.release)))
        return [
            (4, styled((f"{now.rate:,.0f}", "bold"), ("/s", dim))),
            (2 if shot.coverage.blind else 5, hooks),
            (2 if fine is False else 6,
             styled((f"self-test {found}", self.style_of(colours[fine])))),
            (7, styled((printable(host), dim))),
            (8, styled((cells.text(path) if path else "", dim))),
            (9, styled((stored, dim))),
            (10, styled((f"$ {command}" if command else "", dim))),
        ]  # fmt: skip

    def _alert(self, left: Text, alerts: Sequence[Alert], width: int) -> Text:
        """The newest one that is news; else the newest."""
        chosen = foremost(alerts)
        more = f" (and {len(alerts) - 1:,} more)" if len(alerts) > 1 else ""
        word = "KNOWN HOLE" if chosen.known else chosen.verdict.upper()
        colour = self.style_of("breach")
        left.append(f"✗ {word}{more}: ", f"bold {colour}")
        left.append(cells.text(chosen.text), colour if chosen.known else f"bold {colour}")
        return sides(left, Text("v show  a acknowledge " if width >= _ROOMY else "v a "), width)

    def on_click(self, event: events.Click) -> None:
        if self.shown is not None and self.shown.alerts:
            event.stop()
            self.post_message(self.Clicked())


_LEAST_ALERT = 32
"""Cells of an alert, at least."""
_ROOMY = 100
"""Cells from which on keys of an alert stand with their words."""


def foremost(alerts: Sequence[Alert]) -> Alert:
    """The newest alert that no known hole explains; where all are known, the newest."""
    return next((one for one in reversed(alerts) if not one.known), alerts[-1])


class VerdictLine(Buttons):
    """One line: is anything wrong, how many decisions of each verdict, and when.

    A click on a count filters by it; a click on the chart of a replay goes there.
    """

    class Chosen(Message):
        """A click on the count of ``verdict``, or on a failed ``audit``."""

        def __init__(self, name: str) -> None:
            super().__init__()
            self.name = name

    class Sought(Message):
        """A click on the chart of a replay: go to this share of the recording."""

        def __init__(self, share: float) -> None:
            super().__init__()
            self.share = share

    def __init__(self) -> None:
        super().__init__()
        self.shown = Snapshot()
        self.track = (0, 0)
        """First cell and width of the chart."""

    def show(self, shot: Snapshot) -> None:
        self.shown = shot
        self.redraw()

    def draw(self, width: int) -> Text:
        shot = self.shown
        said = summary(shot)
        line, least = self._counts(shot, said, long=True), _LEAST_CHART
        if width - line.cell_len < least + 8:
            line = self._counts(shot, said, long=False)
        room = width - line.cell_len - 2
        if shot.verdicts.total or shot.now.share is not None:
            if room >= least:
                line.append(" " * 2)
                self._chart(line, shot, room - 1)
            elif room < 0:
                line.truncate(width, overflow="ellipsis")
        return line

    def _counts(self, shot: Snapshot, said: Summary, *, long: bool) -> Text:
        """The sentence, and the counts of verdicts that it does not tell."""
        self.buttons = []
        self.track = (0, 0)
        news = shot.verdicts.new or shot.verdicts.of(Verdict.UNEXPLAINED)
        broken = shot.audited is not None and shot.audited.broken
        colour = self.style_of("quiet" if said.style == "dim" else said.style)
        told = said.style in (Verdict.BREACH.word, Verdict.UNEXPLAINED.word)
        style = f"bold reverse {colour}" if told and (news or broken) else f"bold {colour}"
        style = colour if said.style == "dim" else style
        line = Text(" ").append(f" {cells.text(said.text)} ", style)
        if told:
            audit = broken and not shot.verdicts.of(Verdict.BREACH)
            self.buttons.append((1, line.cell_len, "audit" if audit else said.style))
        for verdict in WORST_FIRST:
            count = shot.verdicts.of(verdict)
            if not count or verdict in VIOLATIONS:
                continue
            word = f" {verdict.word}" if long else ""
            line.append(" " if not long else SEPARATOR)
            start = line.cell_len
            style = self.style_of(verdict.word)
            line.append(f"{SYMBOLS[verdict]} {cells.count(count, 9 if long else 6)}{word}", style)
            self.buttons.append((start, line.cell_len, verdict.word))
        return line

    def _chart(self, line: Text, shot: Snapshot, room: int) -> None:
        """Decisions over time between two times of day; where there are violations, their sign."""
        now, verdicts, quiet = shot.now, shot.verdicts, self.style_of("quiet")
        first, last = _axis(now, verdicts)
        bars = room - len(first) - len(last) - 2
        if bars < 4:
            return
        line.append(f"{first} ", quiet)
        self.track = (line.cell_len, bars)
        done = bars if now.share is None else round(bars * now.share)
        for glyph, verdict in chart(verdicts.history, done):
            line.append(glyph, self.style_of(verdict.word) if verdict is not None else quiet)
        line.append("─" * (bars - done), self.style_of("edge")).append(f" {last}", quiet)

    def press(self, name: str) -> None:
        self.post_message(self.Chosen(name))

    def on_click(self, event: events.Click) -> None:
        start, room = self.track
        if self.shown.now.share is not None and room and start <= event.x <= start + room:
            self.post_message(self.Sought((event.x - start) / room))
            event.prevent_default()  # a button's click would be looked for, too


_LEAST_CHART = 26
"""Cells of a chart with its axis, at least."""


def _axis(now: Now, verdicts: Verdicts) -> tuple[str, str]:
    """Time of day at both ends of the chart; seconds since the start where no clock tells."""
    start = now.start_ns if verdicts.first_ns is None else verdicts.first_ns
    ends = [start, now.now_ns]
    if now.share and now.start_ns is not None and now.now_ns is not None:
        ends = [now.start_ns, now.start_ns + round((now.now_ns - now.start_ns) / now.share)]
    shown = []
    for when in ends:
        if when is None or now.now_ns is None:
            shown.append("")
        elif now.wall_ns is None:
            shown.append(f"{max(0, when - (now.start_ns or 0)) / 1e9:.0f}s")
        else:
            shown.append(time_of_day(now.wall_ns + when - now.now_ns, 0))
    return shown[0], shown[1]


def chart(history: Any, width: int) -> list[tuple[str, Verdict | None]]:
    """``width`` bars of decisions (verdicts x time), each with its worst verdict.

    A bar that has violations shows their sign, so that they are seen without colours, too.
    """
    steps = history.shape[1]
    edges = [place * steps // width for place in range(width + 1)] if width else [0]
    found: list[tuple[str, Verdict | None]] = []
    slots = [
        history[:, first : max(last, first + 1)].sum(axis=1) for first, last in pairwise(edges)
    ]
    top = max((int(slot.sum()) for slot in slots), default=0)
    for slot in slots:
        total = int(slot.sum())
        worst = next((one for one in WORST_FIRST if slot[one]), None)
        if worst in VIOLATIONS and worst is not None:
            found.append((SYMBOLS[worst], worst))
        else:
            level = max(1, round(total * (len(BARS) - 1) / top)) if total else 0
            found.append((BARS[level], worst))
    return found


class Bar(Buttons):
    """One line: tabs by name, of which the chosen one is bright, and the keys that matter here.

    Textual's Footer is a widget for each key, and rebuilds all of them whenever the focus moves.
    """

    class Chosen(Message):
        """A click on a tab."""

        def __init__(self, bar: "Bar", name: str) -> None:
            super().__init__()
            self.bar = bar
            self.name = name

    def __init__(self, titles: Mapping[str, str], *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._titles = titles
        self._counts: Mapping[str, str] = {}
        self._note = ""
        self.active = next(iter(titles), "")

    def on_mount(self) -> None:
        self.screen.bindings_updated_signal.subscribe(self, lambda _: self.redraw())

    def show(
        self,
        active: str,
        counts: Mapping[str, str],
        note: str = "",
        titles: Mapping[str, str] | None = None,
    ) -> None:
        """Chooses ``active``; ``counts`` stand behind titles, ``note`` behind them.

        ``titles``: other tabs than before.
        """
        self._titles = titles or self._titles
        self.active, self._counts, self._note = active, counts, note
        self.redraw()

    def draw(self, width: int) -> Text | None:
        if not self.is_attached or not self.screen.is_active:
            return None
        keys = self._keys()
        # Counts of tabs give way to the first keys, then names of tabs to fewer.
        for counts, names, wanted in ((True, True, _FIRST), (False, True, 1), (False, False, 0)):
            line = self._tabs(counts, names)
            if self._note:
                line.append(f" {self._note}", self.style_of("quiet"))
            if width - line.cell_len > sum(len(text) for text, _ in keys[:wanted]):
                break
        if line.cell_len > width:
            line.truncate(width, overflow="ellipsis")
            return line
        return self._with_keys(line, keys, width)

    def _tabs(self, with_counts: bool, with_names: bool) -> Text:
        line = Text()
        self.buttons = []
        quiet = self.style_of("quiet")
        for number, (name, title) in enumerate(self._titles.items(), 1):
            count = self._counts.get(name, "") if with_counts else ""
            body = f"{number} {title}{f' {count}' if count else ''}"
            if not with_names and name != self.active:
                body = str(number)
            start = line.cell_len
            if name == self.active:
                line.append(f"[{body}]", f"bold reverse {self.style_of('primary')}")
            else:
                line.append(f" {body} ", quiet)
            self.buttons.append((start, line.cell_len, f"tab {name}"))
        return line

    def _keys(self) -> list[tuple[str, str]]:
        """Text and name of the keys that are shown, those that matter most first."""
        found: dict[str, tuple[str, str]] = {}
        for active in self.screen.active_bindings.values():
            binding = active.binding
            if binding.show and binding.action not in found:
                text = f" {key_name(binding.key)} {binding.description}"
                found[binding.action] = (text, binding.key)
        order = {key: place for place, key in enumerate(FIRST)}
        return sorted(found.values(), key=lambda one: order.get(one[1], len(order)))

    def _with_keys(self, line: Text, keys: Sequence[tuple[str, str]], width: int) -> Text:
        room, shown = width - line.cell_len - 1, []
        for text, key in keys:
            if len(text) <= room:
                shown.append((text, key))
                room -= len(text)
        line.append(" " * (room + 1))
        style = f"bold {self.style_of('accent')}"
        # Help has its room first, and stands last.
        for text, key in [*shown[1:], *shown[:1]]:
            start = line.cell_len
            name, _, words = text.lstrip().partition(" ")
            line.append(f" {name} ", style).append(words)
            self.buttons.append((start, line.cell_len, key))
        return line

    def press(self, name: str) -> None:
        if name.startswith("tab "):
            self.post_message(self.Chosen(self, name.removeprefix("tab ")))
        else:
            self.app.simulate_key(name)


_FIRST = 4
"""Keys that have room before the counts of tabs."""


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
