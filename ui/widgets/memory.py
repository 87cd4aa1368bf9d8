"""A virtual machine's memory: its title, and a strip of what was private and shared when."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from rich.text import Text

from tracer import labels
from tracer.analysis import strip
from tracer.live import cells
from tracer.live.snapshot import Rows
from tracer.live.tables import moment
from ui.widgets.lines import Drawn, fields, styled

_COLOURS = ("quiet", "quiet", "blocked", "blocked")
_LEGEND = ((0, "shared"), (1, "mostly shared"), (2, "mostly private"), (3, "private"),
           (-1, "not known"))  # fmt: skip


class MachineTitle(Drawn[Mapping[str, Any] | None]):
    """Whose machine it is, how much of it is private, and what was converted."""

    def draw(self, width: int) -> Text:
        if self.shown is None:
            return Text()
        get, quiet = self.shown.get, self.style_of("quiet")

        def part(label: str, value: str, style: str = "") -> Text:
            return styled((f"{label} ", quiet), (value, style))

        unknown, refused = get("unknown"), int(get("refused") or 0)
        who = f"vm {get('vm')} of {cells.who(get('comm'), get('pid'))}"
        gone = "gone" if get("gone_ns") is not None else ""
        parts = [
            (0, styled((f" {who}", "bold"))),
            (6, Text(labels.machine_type(int(get("type") or 0)))),
            (5, part("memory", labels.size(get("memory")))),
            (1, part("private", labels.size(get("private")), f"bold {self.style_of('blocked')}")),
            (1, part("shared", labels.size(get("shared")))),
            (1 if unknown else 8, part("unknown", labels.size(unknown), self.style_of(
                "unexplained" if unknown else "quiet"))),
            (2, part("converted", f"{int(get('conversions') or 0):,}")),
            (3, part("refused", f"{refused:,}", self.style_of("blocked") if refused else "")),
            (4, part("in both copies", labels.twice(int(get("both") or 0), get("both_at_most")))),
            (2, Text(gone, self.style_of("unexplained"))),
        ]  # fmt: skip
        return fields(parts, max(8, width))


class Memory(NamedTuple):
    """What a strip shows."""

    strip: "strip.Strip | None"
    rows: Rows
    """Which know what time it was."""
    note: str = ""
    """Instead of a strip."""


_GUTTER = 14


class MemoryStrip(Drawn[Memory], can_focus=True):
    """Addresses from top to bottom, time from left to right; told apart by sign and by colour."""

    def draw(self, width: int) -> Text | None:
        height = self.size.height - 2
        if self.shown is None or height < 1:
            return None
        found, rows, note = self.shown
        quiet = self.style_of("quiet")
        if found is None:
            return Text(f" {note}", quiet)
        room = max(8, width - _GUTTER - 1)
        marks = found.fields(height, room)
        styles = [self.style_of(name) for name in (*_COLOURS, "unexplained")]
        text = self._legend(width)
        for number, row in enumerate(marks):
            address = f"{found.address(number / len(marks)):x}"
            text.append(f"\n{address:>{_GUTTER - 1}} ", quiet)
            # A picture has so many steps, a terminal may have more cells.
            cuts = [at * room // len(row) for at in range(len(row) + 1)]
            for first, end, field in strip.runs(row):
                text.append(strip.mark(field) * (cuts[end] - cuts[first]), styles[field])
        since, until = (moment(rows, when, 0) for when in (found.from_ns, found.until_ns))
        text.append(f"\n{'':{_GUTTER}}{since}", quiet)
        return text.append(f"{until:>{max(1, room - len(since))}}", quiet)

    def _legend(self, width: int) -> Text:
        words = [
            (place, styled((strip.mark(field) * 2, self.style_of(
                "unexplained" if field < 0 else _COLOURS[field])), (f" {word}", "")))
            for place, (field, word) in enumerate(_LEGEND)
        ]  # fmt: skip
        # The ends of the scale and what is not known have room first.
        ranks = (0, 4, 5, 1, 2)
        parts = [(rank, text) for rank, (_, text) in zip(ranks, words, strict=True)]
        head = (3, Text("guest-physical", self.style_of("quiet")))
        return fields([head, *parts], max(8, width))
