"""Reports and comparisons as one HTML file that needs nothing else: no network, no font.

The templates escape all text; the security policy in the file allows its own style and script by
their digests and nothing more, so that nothing else could run.
"""

import base64
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from tracer.output import report as sentences
from tracer.output import tables as layout
from tracer.output.charts import bars, legend, matrix, over_time
from tracer.output.report import LISTED, WORST_FIRST, Coverage, Report
from tracer.output.tables import Column, phrase, value

_TEMPLATES = Path(__file__).parent / "templates"
STYLE = (_TEMPLATES / "style.css").read_text("utf-8")
SCRIPT = (_TEMPLATES / "sort.js").read_text("utf-8")
"""Sorts tables."""
_BARS = 12
_HOLE = "known hole"


def _digest(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def security_policy(script: bool) -> str:
    """The content security policy of a page, with or without :data:`SCRIPT`."""
    scripts = f"script-src {_digest(SCRIPT)}; " if script else ""
    return (
        f"default-src 'none'; style-src {_digest(STYLE)}; {scripts}"
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


def render(template: str, script: bool = True, **context: Any) -> Iterator[str]:
    """A whole page in pieces. ``template``: a file in templates/ that extends base.html."""
    return (
        _environment()
        .get_template(template)
        .generate(
            policy=security_policy(script),
            style=Markup(STYLE),
            script=Markup(SCRIPT) if script else "",
            **context,
        )
    )


def table_of(
    frame: pd.DataFrame, columns: Sequence[Column], boots: Mapping[str, layout.Boot], top: int
) -> dict[str, Any]:
    """The first ``top`` rows of ``frame``, for the macro ``table`` of parts.html."""
    entries = layout.with_boot(layout.rows(frame, top), boots)
    return {
        "columns": [(column.title, _css(column)) for column in columns],
        "rows": [[_cell(column, row) for column in columns] for row in entries],
        "total": len(frame),
        "more": len(frame) - len(entries),
    }


def _css(column: Column) -> str:
    return "r" if column.right else "wrap" if column.least else ""


def _cell(column: Column, row: dict[str, Any]) -> tuple[str, str, str]:
    """Its text, what it is sorted by, its classes."""
    text, key = column.text(row), column.key(row)
    word = column.verdict or (text if text in WORST_FIRST else None)
    css = f"{_css(column)} c-{word}".strip() if word else _css(column)
    return text, "" if key is None else str(key), css


def card(one: Coverage) -> dict[str, Any]:
    """What a recording could see and lost, for the macro ``recording`` of parts.html."""
    tested = list(sentences.self_test(one.self_test))
    unseen = list(sentences.unseen(one))
    return {
        "title": sentences.title(one),
        "command": one.command,
        "alarms": [*sentences.alarms(one), *(said for said, alarm in tested if alarm)],
        "facts": [
            sentences.summary(one),
            *(said for said, alarm in tested if not alarm),
            *sentences.remarks(one),
            *(f"UNSEEN: {said}" for said, gap in unseen if gap),
        ],
        "untold": [
            *(f"not recorded: {said}" for said, gap in unseen if not gap),
            *(f"never seen by this version: {spot}" for spot in one.blind_spots),
        ],
    }


def page(report: Report, top: int) -> Iterator[str]:
    """The report in pieces; each table has at most ``top`` rows."""
    boots, several = layout.boots(report.coverage), report.several
    frames = {**report.tables, "late": report.late, "busy": report.busy, "seals": report.seals}
    charts: dict[str, Any] = {"times": [], "matrix": "", "bars": ""}
    if report.decisions:
        objects = layout.rows(report.tables["object"], _BARS)
        charts = {
            "times": list(_over_time(report, boots)),
            "matrix": Markup(matrix(_by_op(report.tables["op"]))),
            "bars": Markup(bars(objects, "memory files", several)),
        }
    return render(
        "report.html",
        names=", ".join(sentences.file_name(one) for one in report.coverage),
        question=sentences.question(report.question),
        recordings=[card(one) for one in report.coverage],
        verdicts={word: report.verdicts.get(word, 0) for word in WORST_FIRST},
        notes=list(sentences.notes(report)),
        several=several,
        legend=Markup(legend(report.verdicts)),
        **charts,
        listed=_listed(report, boots, top),
        tables=(
            (
                layout.TITLES[name],
                table_of(frame, layout.present(frame, name, several), boots, top),
            )
            for name, frame in frames.items()
            if not frame.empty
        ),
    )


def _over_time(report: Report, boots: Mapping[str, layout.Boot]) -> Iterator[tuple[str, Markup]]:
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


def _by_op(frame: pd.DataFrame) -> list[dict[str, Any]]:
    sums = frame.groupby("op", sort=False, observed=True)[list(WORST_FIRST)].sum()
    return layout.rows(sums.reset_index())


_LISTED_MORE: tuple[Column, ...] = (
    Column("answer", layout.answer_and_marks, lambda row: row.get("answer")),
    value("expected", "expected"),
    phrase("reason", "reason"),
    phrase("hole", _HOLE),
    value("rule", "rule"),
)


def _listed(report: Report, boots: Mapping[str, layout.Boot], top: int) -> Iterator[dict[str, Any]]:
    """The decisions of each verdict that is listed one by one."""
    for verdict in LISTED:
        found = report.listed[report.listed["verdict"] == verdict]
        if found.empty:
            continue
        holes = found["hole"].notna().any()
        columns = [
            *layout.present(found, "listed", report.several),
            *(one for one in _LISTED_MORE if holes or one.title != _HOLE),
        ]
        unlisted = report.unlisted.get(verdict)
        yield {
            "verdict": verdict,
            "heading": sentences.listed(verdict, report.verdicts.get(verdict, 0), len(found)),
            "table": table_of(found, columns, boots, top),
            "unlisted": sentences.unlisted(unlisted) if unlisted else "",
        }
