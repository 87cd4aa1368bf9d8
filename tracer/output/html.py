"""Reports and comparisons as one HTML file that needs nothing else: no network, no font.

The templates escape all text; the security policy in the file allows its own style and script by
their digests and nothing more, so that nothing else could run. Charts are SVG in the file, their
colours classes of style.css.
"""

import base64
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from html import escape
from math import ceil, floor, log10
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from tracer.analysis import strip
from tracer.escape import cells, printable
from tracer.output import tables as layout
from tracer.output.coverage import Coverage
from tracer.output.names import shortened
from tracer.output.tables import ALARMS, WORST_FIRST, Column, Row, file, phrase

if TYPE_CHECKING:
    import pandas as pd

    from tracer.output.report import Report

_TEMPLATES = Path(__file__).parent / "templates"
STYLE = (_TEMPLATES / "style.css").read_text("utf-8")
SCRIPT = (_TEMPLATES / "tables.js").read_text("utf-8")
"""Sorts and filters tables."""
TONES = {
    "breach": "bad",
    "unexplained": "bad",
    "known-holes": "known",
    "uncertain": "unsure",
    "different": "unsure",
    "nothing": "plain",
    "fine": "fine",
    "same": "fine",
}
"""By :attr:`tracer.output.summary.Summary.result`."""
_BARS = 12
_HOLE = "known hole"


def _digest(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def security_policy(style: str = STYLE, script: str = SCRIPT) -> str:
    """The content security policy of a page."""
    return (
        f"default-src 'none'; style-src {_digest(style)}; script-src {_digest(script)}; "
        "base-uri 'none'; form-action 'none'"
    )


@cache
def _environment() -> Environment:
    found = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.filters["thousands"] = "{:,}".format
    return found


def render(
    template: str,
    tone: str,
    result: str,
    todo: Sequence[str],
    style: str = STYLE,
    script: str = SCRIPT,
    **context: Any,
) -> Iterator[str]:
    """A whole page in pieces.

    :param template: a file in templates/ that extends base.html.
    :param tone: of the result: ``bad``, ``known``, ``unsure``, ``plain`` or ``fine``.
    :param result: the first line.
    :param todo: what to do about it.
    :param style: all of the page's.
    :param script: likewise.
    :param context: what the template names.
    """
    return (
        _environment()
        .get_template(template)
        .generate(
            policy=security_policy(style, script),
            style=Markup(style),
            script=Markup(script),
            tone=tone,
            result=result,
            todo=todo,
            **context,
        )
    )


def table_of(
    name: str,
    frame: "pd.DataFrame",
    columns: Sequence[Column],
    boots: Mapping[str, layout.Boot],
    top: int,
) -> dict[str, Any]:
    """A table for the macro ``table`` of parts.html.

    :param name: of :data:`tracer.output.tables.COLUMNS`; else as it likes.
    :param columns: what is shown of ``frame``.
    :param boots: by boot id (:func:`tracer.output.tables.boots`).
    :param top: so many rows.
    """
    entries, there = layout.entries(name, frame, boots, top)
    return {
        "columns": [(column.title, _css(column)) for column in columns],
        "rows": [[_cell(column, row) for column in columns] for row in entries],
        "total": there,
        "more": there - len(entries),
    }


_ONE_LINE = 40  # cells of a name that stay on one line


def _css(column: Column) -> str:
    return "r" if column.right else "wrap" if column.wraps else ""


def _cell(column: Column, row: dict[str, Any]) -> tuple[str, str, str]:
    """Its text, what it is sorted by, its classes."""
    text, key = column.text(row), column.key(row)
    word = column.verdict or (text if text in WORST_FIRST else None)
    css = f"{_css(column)} c-{word}".strip() if word else _css(column)
    if not css and cells(text) > _ONE_LINE:
        css = "long"
    return text, "" if key is None else str(key), css


def card(one: Coverage) -> dict[str, Any]:
    """What a recording could see and lost, for the macro ``recording`` of parts.html."""
    tested = list(one.self_test.sentences())
    return {
        "title": one.title,
        "name": one.file_name,
        "brief": one.brief,
        "command": one.command,
        "alarms": [
            *one.alarms(),
            *(text for text, alarm in tested if alarm),
            *(f"UNSEEN: {family.sentence}" for family in one.failed),
        ],
        "facts": [
            one.summary,
            *(text for text, alarm in tested if not alarm),
            *one.remarks(),
            *(f"UNSEEN: {text}" for text, gap in one.gaps() if gap),
        ],
        "untold": [
            *(f"not recorded: {text}" for text, gap in one.gaps() if not gap),
            *(f"never seen by this version: {spot}" for spot in one.blind_spots),
        ],
    }


def page(report: "Report", top: int) -> Iterator[str]:
    """The report in pieces; each table has at most ``top`` rows."""
    boots, several = layout.boots(report.coverage, report.clocks), report.several
    frames = {
        "origins": report.refused_from,
        "executed": report.executed,
        "machines": report.machines,
        "late": report.late,
        **report.tables,
        "seals": report.seals,
    }
    charts: dict[str, Any] = {"times": [], "matrix": "", "bars": ""}
    if report.decisions:
        sums = report.tables["op"].groupby("op", sort=False, observed=True)[list(WORST_FIRST)].sum()
        objects = layout.rows(report.tables["object"], _BARS)
        charts = {
            "times": list(_over_time(report, boots)),
            "matrix": Markup(matrix(layout.rows(sums.reset_index()))),
            "bars": Markup(bars(objects, "memory files", several)),
        }
    summary = report.summary
    listed = list(_listed(report, boots, top))

    def table(name: str, frame: "pd.DataFrame") -> Iterator[tuple[str, dict[str, Any]]]:
        if not frame.empty:
            columns = layout.telling(frame, layout.present(frame, name, several))
            yield layout.TITLES[name], table_of(name, frame, columns, boots, top)

    return render(
        "report.html",
        TONES[summary.result],
        summary.text,
        summary.todo,
        machines=list(_machines(report, boots)),
        states=Markup(memory_legend()),
        names=", ".join(one.file_name for one in report.coverage),
        letters=layout.LEGEND,
        recordings=[card(one) for one in report.coverage],
        unread=report.unread,
        verdicts={word: report.verdicts.get(word, 0) for word in WORST_FIRST},
        notes=list(report.notes()),
        several=several,
        legend=Markup(legend(report.verdicts)),
        **charts,
        alarming=[one for one in listed if one["verdict"] in ALARMS],
        listings=[one for one in listed if one["verdict"] not in ALARMS],
        busy=table("busy", report.busy),
        tables=(one for name, frame in frames.items() for one in table(name, frame)),
    )


def _over_time(report: "Report", boots: Mapping[str, layout.Boot]) -> Iterator[tuple[str, Markup]]:
    """Each boot's host and its chart."""
    for boot, found in report.over_time.groupby("boot_id", sort=False, observed=True):
        steps = layout.rows(found)
        times = [int(one["time_ns"]) for one in steps]
        step = int(steps[0]["step_ns"])
        known = boots[str(boot)].start_ns if str(boot) in boots else None
        start = times[0] if known is None else min(known, times[0])
        host = str(steps[0].get("host") or "")
        chart = over_time(steps, step, start, times[-1] + step, f"over time {host}")
        yield host, Markup(chart)


def _machines(report: "Report", boots: Mapping[str, layout.Boot]) -> Iterator[tuple[str, Markup]]:
    """Virtual machines, each with a picture of its memory over time."""
    told = {(row["boot_id"], row["vm"]): row for row in layout.rows(report.machines)}
    for one in report.pictures:
        start = boots[one.boot_id].start_ns if one.boot_id in boots else None
        name = f"vm {one.vm} of {layout.who(told.get((one.boot_id, one.vm), {}))}"
        if report.several:
            name += f" on {printable(one.host)}"
        yield name, Markup(memory(one.strip, start or one.strip.from_ns, name))


_LISTED_MORE: tuple[Column, ...] = (
    Column("answer", layout.answer_and_expected, lambda row: row.get("answer"), wraps=True),
    phrase("reason", "reason"),
    phrase("hole", _HOLE),
    phrase("rule", "rule"),
)


def _listed(
    report: "Report", boots: Mapping[str, layout.Boot], top: int
) -> Iterator[dict[str, Any]]:
    """The decisions of each verdict that is listed one by one."""
    for one in report.listings():
        holes = one.rows["hole"].notna().any()
        columns = [
            *layout.present(one.rows, "listed", report.several),
            *(column for column in _LISTED_MORE if holes or column.title != _HOLE),
        ]
        yield {
            "verdict": one.verdict,
            "heading": one.heading,
            "table": table_of("listed", one.rows, columns, boots, top),
            "unlisted": one.more,
        }


# ---- charts -------------------------------------------------------------------------------------

_WIDTH = 1200
_LEAST_PX = 2.0  # so that one breach among thousands of allowed can be seen
_MARKED = ("breach", "unexplained")


def _svg(height: int, label: str, body: Sequence[str]) -> str:
    return (
        f'<svg viewBox="0 0 {_WIDTH} {height}" role="img" aria-label="{escape(label)}">'
        f"{''.join(body)}</svg>"
    )


def _text(x: float, y: float, text: str, kind: str = "", anchor: str = "start") -> str:
    css = f' class="{kind}"' if kind else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{css}>{escape(text)}</text>'


def _bar(x: float, y: float, w: float, h: float, word: str, title: str) -> str:
    return (
        f'<rect x="{x:.2f}" y="{y:.2f}" width="{max(w, 0.5):.2f}" height="{max(h, 0.5):.2f}" '
        f'class="v-{word}"><title>{escape(title)}</title></rect>'
    )


def _mark(x: float, row: int, word: str, title: str) -> str:
    return (
        f'<circle cx="{x:.1f}" cy="{6 + 11 * row}" r="4.5" class="v-{word}">'
        f"<title>{escape(title)}</title></circle>"
    )


def ticks(top: float, most: int = 5) -> list[float]:
    """Round numbers from 0 up to at most ``top``, at most about ``most`` of them."""
    if top <= 0:
        return [0.0]
    raw = top / most
    scale = 10.0 ** floor(log10(raw))
    step = next(factor * scale for factor in (1, 2, 5, 10) if factor * scale >= raw)
    return [step * place for place in range(floor(top / step + 1e-9) + 1)]


def _short(number: float) -> str:
    for scale, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= scale:
            return f"{number / scale:g}{unit}"
    return f"{number:g}"


def _stack(counts: Row, room: float, most: float) -> list[tuple[str, int, float]]:
    """``(verdict, count, length)`` for each that occurs, the worst first."""
    found = []
    for word in WORST_FIRST:
        count = int(counts.get(word) or 0)
        if count:
            found.append((word, count, max(_LEAST_PX, room * count / most)))
    return found


def over_time(steps: Sequence[Row], step_ns: int, start_ns: int, end_ns: int, label: str) -> str:
    """Decisions in each step as one stacked bar, the worst at the bottom and marked above.

    ``steps`` have ``time_ns`` (start of a step, boot clock) and counts by verdict.
    """
    left, right, top, bottom, height = 52, 8, 28, 26, 220
    room, wide = height - top - bottom, _WIDTH - left - right
    most = max((sum(int(one.get(word) or 0) for word in WORST_FIRST) for one in steps), default=0)
    span = max(end_ns - start_ns, step_ns, 1)
    body = []
    for mark in ticks(most, 4):
        y = top + room - room * mark / max(most, 1)
        body.append(f'<line x1="{left}" x2="{_WIDTH - right}" y1="{y:.1f}" y2="{y:.1f}"/>')
        body.append(_text(left - 6, y + 4, _short(mark), "tick", "end"))
    for mark in ticks(span / 1e9, 8):
        x = left + wide * mark * 1e9 / span
        body.append(_text(x, height - 8, f"{mark:g} s", "tick", "middle" if mark else "start"))
    bar = max(1.0, wide * step_ns / span - 1)
    for one in steps:
        x = left + wide * (int(one["time_ns"]) - start_ns) / span
        y = float(top + room)
        at = (int(one["time_ns"]) - start_ns) / 1e9
        for word, count, length in _stack(one, room, max(most, 1)):
            y -= length
            title = f"{at:.3f} s: {count:,} {word}"
            body.append(_bar(x, y, bar, length, word, title))
            if word in _MARKED:
                body.append(_mark(x + bar / 2, _MARKED.index(word), word, title))
    return _svg(height, label, body)


def matrix(rows: Sequence[Row]) -> str:
    """Operation x verdict: the count in each field, the stronger its colour the more there are."""
    left, top, line = 120, 30, 30
    column = (_WIDTH - left - 10) / len(WORST_FIRST)
    most = max((int(row.get(word) or 0) for row in rows for word in WORST_FIRST), default=0)
    body = [
        _text(left + column * (place + 0.5), top - 10, word, "head", "middle")
        for place, word in enumerate(WORST_FIRST)
    ]
    for number, row in enumerate(rows):
        y = top + line * number
        body.append(_text(left - 10, y + line / 2 + 4, str(row.get("op")), "head", "end"))
        for place, word in enumerate(WORST_FIRST):
            count = int(row.get(word) or 0)
            x = left + column * place
            shade = ceil(4 * log10(1 + count) / log10(1 + most)) if count else 0
            body.append(
                f'<rect x="{x + 1:.1f}" y="{y + 1}" width="{column - 2:.1f}" height="{line - 2}" '
                f'rx="3" class="v-{word if count else "none"} s{shade}"/>'
            )
            if count:
                dark = " on" if shade >= 3 else ""
                body.append(
                    _text(x + column / 2, y + line / 2 + 5, f"{count:,}", f"cell{dark}", "middle")
                )
    return _svg(top + line * len(rows) + 4, "decisions by operation and verdict", body)


def bars(rows: Sequence[Row], label: str, hosts: bool = False) -> str:
    """One line an object: its name, a stacked bar of its decisions, and their number."""
    left, right, line = 340, 70, 26
    totals = [sum(int(row.get(word) or 0) for word in WORST_FIRST) for row in rows]
    most = max([*totals, 1])
    body = []
    for number, (row, total) in enumerate(zip(rows, totals, strict=True)):
        y = 4 + line * number
        name = f"{file(row)} ({row.get('host')})" if hosts else file(row)
        shown = _text(left - 10, y + line / 2 + 4, shortened(name, 38), "head", "end")
        body.append(f"<g><title>{escape(name)}</title>{shown}</g>")
        x = float(left)
        for word, count, length in _stack(row, _WIDTH - left - right, most):
            body.append(_bar(x, y + 4, length, line - 8, word, f"{name}: {count:,} {word}"))
            x += length
        body.append(_text(x + 6, y + line / 2 + 4, f"{total:,}", "tick"))
    return _svg(8 + line * len(rows), label, body)


_ROWS, _STEPS = 32, 128
_STATES = ("g0", "g1", "g2", "g3", "gu")


def memory(found: strip.Strip, start_ns: int, label: str) -> str:
    """A virtual machine's memory from top to bottom, time from left to right: a path for each
    thing that fields say, however many conversions there were."""
    left, right, bottom, line = 130, 8, 26, 8
    fields = found.fields(_ROWS, _STEPS)
    wide, room = (_WIDTH - left - right) / len(fields[0]), line * len(fields)
    body = ['<defs><pattern id="gu" width="6" height="6" patternUnits="userSpaceOnUse">'
            '<path d="M0,6 L6,0"/></pattern></defs>']  # fmt: skip
    paths: dict[int, list[str]] = {}
    for number, row in enumerate(fields):
        y = line * number
        if number % 4 == 0:
            address = f"{found.address(number / len(fields)):#x}"
            body.append(_text(left - 8, y + 9, address, "tick", "end"))
        for first, end, field in strip.runs(row):
            x, width = left + wide * first, wide * (end - first)
            paths.setdefault(field, []).append(f"M{x:.1f},{y}h{width:.1f}v{line}h-{width:.1f}z")
    body += [
        f'<path d="{"".join(drawn)}" class="{_STATES[field]}"><title>{strip.word(field)}</title>'
        "</path>"
        for field, drawn in sorted(paths.items())
    ]
    since, span = (found.from_ns - start_ns) / 1e9, (found.until_ns - found.from_ns) / 1e9
    for mark in ticks(span, 8):
        x = left + (_WIDTH - left - right) * mark / max(span, 1e-9)
        shown = f"{since + mark:.3f} s"
        body.append(_text(x, room + 18, shown, "tick", "middle" if mark else "start"))
    return _svg(room + bottom, f"memory of {label}: private and shared over time", body)


def memory_legend() -> str:
    """What the fields of :func:`memory` say."""
    words = ((0, "shared"), (1, "mostly shared"), (2, "mostly private"), (3, "private"))
    keys = "".join(f'<span class="key"><i class="k{at}"></i>{word}</span>' for at, word in words)
    return f'{keys}<span class="key"><i class="ku"></i>not known (hatched)</span>'


def legend(verdicts: Mapping[str, Any]) -> str:
    """The colours of the verdicts that occur."""
    return "".join(
        f'<span class="key"><i class="v-{word}"></i>{word}</span>'
        for word in WORST_FIRST
        if verdicts.get(word)
    )
