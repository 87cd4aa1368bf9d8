"""What stands beside the tables: all that is known at once about the row under the cursor."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.text import Text

from tracer import labels
from tracer.live import cells, wording
from tracer.live.cells import SYMBOLS
from tracer.live.snapshot import Detail, Row, Rows
from tracer.live.tables import moment, worst_of
from tracer.rules.verdicts import Verdict
from ui.explain import Line, fields, program, why
from ui.themes import colour_of
from ui.widgets.lines import Page, facts, styled

_MOST = 14
"""Lines of a timeline, the newest ones."""
_HELD = 6
_COLUMNS = (
    "verdict", "op", "kind", "name", "dev", "ino", "gen", "comm", "pid", "arg", "offset", "length",
    "size", "answer", "flags", "expected", "reason", "rule", "hole", "last_ns", "count", "place",
)  # fmt: skip


Section = tuple[str, list[Line]]
"""A heading, and what is below it."""


def worst_event(row: Row) -> dict[str, Any]:
    """The worst decision of a row, as far as its table tells."""
    get = worst_of(row)
    return {name: get(name) for name in _COLUMNS}


class Preview(Page, can_focus=False):
    """Why, where in the kernel, what came before and after, who holds it."""

    def __init__(self) -> None:
        super().__init__(self._made, id="preview")
        self._row: Row | None = None
        self._detail: Detail | None = None
        self._callers: list[Line] = []
        self._of = ""
        self._shown: tuple[object, list[Section]] = (None, [])

    def show(
        self, row: Row | None, detail: Detail | None, callers: Sequence[str] = (), of: str = ""
    ) -> None:
        """``detail``: of its object, None: it is not known yet.

        ``callers``: who called, a line a function; ``of``: which event, where that is not the row.
        """
        self._row, self._detail = row, detail
        self._callers = [Line("", one) for one in callers]
        self._of = of
        told = self._told()
        if told != self._shown:
            if told[0] != self._shown[0]:
                self.scroll_to(y=0, animate=False, immediate=True)
            self._shown = told
            self.renew()

    def _told(self) -> tuple[object, list[Section]]:
        """What it is about, and all that it says."""
        if self._row is None:
            return None, []
        rows, place = self._row.rows, self._row.place
        return (rows.table, int(rows.ids[place])), list(self._sections(self._row, self._detail))

    def _made(self, width: int) -> Sequence[Text]:
        lines: list[Text] = []
        for title, entries in self._shown[1]:
            if title:
                style = f"bold {colour_of(self, 'primary')}"
                lines += [Text(), styled((title, style))] if lines else [styled((title, style))]
            lines += facts(self, entries, width)
        return lines

    def _sections(self, row: Row, detail: Detail | None) -> Iterator[Section]:
        rows = row.rows
        if rows.table == "events":
            event = rows.record(row.place)
            yield self._headline(event.get, rows), why(event)
            yield from self._called()
            known = fields(event, rows.start_ns, rows.bit5, rows.wall)
            yield "All of it", known[: known.index(Line("", ""))]
            return
        event = worst_event(row)
        yield self._headline(event.get, rows, row), self._why(row, event)
        yield from self._called()
        if rows.table == "processes":
            return
        if detail is None:
            yield "Timeline", [Line("", "reading …", "quiet")]
            return
        title = "Timeline" if detail.whole else "Timeline of the newest events (⏎ reads all)"
        title += "" if detail.busy is None else f" (reading {detail.busy:.0%})"
        yield title, list(_timeline(detail, rows)) or [Line("", "nothing", "quiet")]
        gone = detail.object.get("evicted_ns") is not None
        yield "Was held by" if gone else "Held by", list(_holders(detail.holders))
        if len(detail.mappers):
            yield "Mapped by", list(_mappers(detail.mappers))

    def _called(self) -> Iterator[Section]:
        if self._callers:
            yield f"Called by{self._of and f' ({self._of})'}", self._callers

    def _headline(self, get: Any, rows: Rows, row: Row | None = None) -> str:
        name = cells.name_of(*(get(part) for part in ("kind", "name", "dev", "ino")))
        number = get("verdict")
        mark = "" if number is None or number < 0 else f"{SYMBOLS[Verdict(number)]} "
        if row is not None and rows.table == "processes":
            name = cells.who(row("comm"), row("pid"), row("ns_pid"))
        return f"{mark}{name}"

    def _why(self, row: Row, event: Mapping[str, Any]) -> list[Line]:
        number = event["verdict"]
        if number is None or number < 0:
            return [Line("", "nothing was requested of it", "quiet")]
        verdict = Verdict(number)
        if event["op"] is None:
            count = row(verdict.word) or 0
            told = f"{count:,} decisions: {verdict.word}, {verdict.meaning}"
            return [Line("", told, verdict.word)]
        said = next(iter(wording.forms(event.get, row.rows.bit5)), "")
        times = f", {event['count']:,} times" if (event["count"] or 0) > 1 else ""
        when = moment(row.rows, event["last_ns"])
        who = cells.who(event["comm"], event["pid"])
        who += f" ({cells.text(event['place'])})" if event["place"] else ""
        if row.rows.table == "processes":
            file = (event[part] for part in ("kind", "name", "dev", "ino"))
            where = f" in {cells.text(event['place'])}" if event["place"] else ""
            who = f"on {cells.name_of(*file)}{where}"
        lines = [Line("what", said, verdict.word), Line("who", f"{who} at {when}{times}")]
        if row.rows.table == "processes":
            lines += program(row)
        # The verdict and what was expected are said already.
        return lines + [line for line in why(event)[2:] if line.label != "because"]


def newest_callers(detail: Detail) -> tuple[int, str]:
    """Of the newest event that was not simply allowed: its ``user_stack``, and which it is."""
    for event in reversed(detail.timeline):
        sample = int(event.get("user_stack") or 0)
        if sample and (event["verdict"] or 0) > Verdict.ALLOWED:
            who = cells.who(event["comm"], event["pid"])
            return sample, f"the newest that was refused: {cells.text(event['op'])} by {who}"
    return 0, ""


def _timeline(detail: Detail, rows: Rows) -> Iterator[Line]:
    """What was not simply allowed, and how it was sealed; equal ones in a row are one line.

    ``rows`` knows the clock.
    """
    notes = {call["time_ns"]: call["notes"] for call in detail.seals}
    entries: list[tuple[str, str, str, int]] = []
    for event in detail.timeline:
        verdict = Verdict(max(0, event["verdict"]))
        said = next(iter(wording.forms(event.get, rows.bit5)), "")
        time_ns, word = event["time_ns"], verdict.word
        text = f"{SYMBOLS[verdict]} {cells.who(event['comm'], event['pid'])} {said}"
        text += "".join(f"; {cells.text(note)}" for note in notes.get(time_ns) or ())
        if entries and entries[-1][1:3] == (text, word):
            entries[-1] = (*entries[-1][:3], entries[-1][3] + 1)
        else:
            entries.append((moment(rows, time_ns), text, word, 1))
    for when, text, word, count in entries[-_MOST:]:
        style = "" if word in (Verdict.ALLOWED.word, Verdict.ERROR.word) else word
        yield Line(when, text + (f" (x{count})" if count > 1 else ""), style)


def _holders(rows: Rows) -> Iterator[Line]:
    access = {1: "reads", 2: "writes", 3: "reads and writes"}
    if not len(rows):
        yield Line("", "nobody was seen to hold it", "quiet")
    for place in rows.order.tolist()[:_HELD]:
        row = rows.row(place)
        how = access.get(row("fmode") or 0, "not known how")
        yield Line(cells.who(row("comm"), row("pid")), f"fd {row('fd')}, {how}")
    if len(rows) > _HELD:
        yield Line("", f"and {len(rows) - _HELD:,} more", "quiet")


def _mappers(rows: Rows) -> Iterator[Line]:
    for place in rows.order.tolist()[:_HELD]:
        row = rows.row(place)
        shared = "shared" if row("shared") else "private"
        style = "unexplained" if row("writable") else ""
        how = "writable" if row("writable") else "to read"
        told = f"{shared}, {how}, {labels.size(row('length'))}"
        yield Line(cells.who(row("comm"), row("pid")), told, style)
    if len(rows) > _HELD:
        yield Line("", f"and {len(rows) - _HELD:,} more", "quiet")
