"""The report as one HTML file that needs nothing else: no network, no other file, no font.

Everything from a recording goes through ``html.escape``; the security policy in the file allows
this file's own style and script by digest and nothing more, so that nothing else could run.
"""

import base64
import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from html import escape
from typing import Any

import pandas as pd

from tracer.report import cells, charts, layout, sentences
from tracer.report.assets import SCRIPT, STYLE
from tracer.report.columns import Column, phrase, value
from tracer.report.model import LISTED, WORST_FIRST, Coverage, Question, Report

_BARS = 12


def _digest(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


POLICY = (
    f"default-src 'none'; style-src {_digest(STYLE)}; script-src {_digest(SCRIPT)}; "
    "base-uri 'none'; form-action 'none'"
)

_HOLE = "known hole"
_LISTED_MORE: tuple[Column, ...] = (
    Column("answer", lambda row: _answer(row), lambda row: row.get("answer")),
    value("expected", "expected"),
    phrase("reason", "reason"),
    phrase("hole", _HOLE),
    value("rule", "rule"),
)


def _answer(row: cells.Row) -> str:
    flags = int(row.get("flags") or 0)
    return (
        f"{cells.answer(str(row.get('op')), row.get('answer'), flags)} {cells.marks(row)}".strip()
    )


def document(name: str, heading: str, question: Question, body: Iterable[str]) -> Iterator[str]:
    """A whole file around ``body``, in pieces."""
    yield (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{escape(POLICY)}">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>sealsnoop: {escape(name)}</title><style>{STYLE}</style></head><body>"
        f"<h1>{escape(heading)}</h1>"
    )
    asked = sentences.question(question)
    yield f'<p class="dim">{escape(asked)}</p>' if asked else ""
    yield from body
    yield f"<script>{SCRIPT}</script></body></html>\n"


def page(report: Report, top: int) -> Iterator[str]:
    """The file in pieces; each table has at most ``top`` rows."""
    name = ", ".join(one.path.rstrip("/").rsplit("/", 1)[-1] for one in report.coverage)
    return document(name, "Seal decisions", report.question, _body(report, top))


def _body(report: Report, top: int) -> Iterator[str]:
    for one in report.coverage:
        yield coverage_card(one)
    yield _tiles(report)
    for note in sentences.notes(report):
        yield f"<p>{escape(note)}</p>"
    yield from _charts(report)
    for verdict in LISTED:
        yield from _listed(report, verdict, top)
    timeline = [("late", report.late), ("busy", report.busy), ("seals", report.seals)]
    tables = [*report.tables.items(), *timeline]
    for key, frame in tables:
        if not frame.empty:
            yield f"<h2>{escape(layout.TITLES[key])}</h2>"
            columns = layout.present(frame, key, report.several)
            yield from rows_of(frame, columns, layout.boots(report.coverage), top)


def coverage_card(one: Coverage, letter: str = "") -> str:
    """What a recording could see and lost; ``letter`` stands before it."""
    tested = list(sentences.self_test(one.self_test))
    loud = [*sentences.alarms(one), *(said for said, alarm in tested if alarm)]
    alarms = "".join(f'<p class="alarm">{escape(said)}</p>' for said in loud)
    state = f"stopped: {one.reason}" if one.reason else one.state
    facts = [f"{one.decisions:,} decisions", sentences.hooks(one), sentences.lost(one), state]
    facts = [
        ", ".join(facts),
        *(said for said, alarm in tested if not alarm),
        *sentences.remarks(one),
    ]
    gaps = [f"UNSEEN: {said}" for said, gap in sentences.unseen(one) if gap]
    more = [f"not told: {said}" for said, gap in sentences.unseen(one) if not gap]
    more += [f"never seen by this version: {spot}" for spot in one.blind_spots]
    items = "".join(f"<li>{escape(said)}</li>" for said in [*facts, *gaps])
    rest = "".join(f"<li>{escape(said)}</li>" for said in more)
    folded = f"<details><summary>what it cannot tell</summary><ul>{rest}</ul></details>"
    command = f"<p><code>{escape(one.command)}</code></p>" if one.command else ""
    return (
        f'{alarms}<section class="card"><h3>{escape(letter + sentences.title(one))}</h3>{command}'
        f"<ul>{items}</ul>{folded if rest else ''}</section>"
    )


def _tiles(report: Report) -> str:
    shown = []
    for word in WORST_FIRST:
        count = report.verdicts.get(word, 0)
        some = "some" if count else "none"
        shown.append(f'<div class="tile t-{word} {some}"><b>{count:,}</b>{word}</div>')
    return f'<div class="tiles">{"".join(shown)}</div>'


def _charts(report: Report) -> Iterator[str]:
    if not report.decisions:
        yield "<p>No decision matches.</p>"
        return
    yield "<h2>Decisions over time</h2>" + charts.legend(report.verdicts)
    first = layout.boots(report.coverage)
    for boot, found in report.over_time.groupby("boot_id", sort=False, observed=True):
        steps = cells.rows(found)
        times = [int(one["time_ns"]) for one in steps]
        step = int(steps[0]["step_ns"])
        known = first[str(boot)].start_ns if str(boot) in first else None
        start = times[0] if known is None else min(known, times[0])
        host = str(steps[0].get("host") or "")
        yield f'<p class="dim">{escape(host)}</p>' if report.several else ""
        yield charts.over_time(steps, step, start, times[-1] + step, f"over time {host}")
    yield "<h2>Operation and verdict</h2>" + charts.matrix(cells.rows(_by_op(report)))
    yield "<h2>Memory files with the worst verdicts, then the most decisions</h2>"
    most = cells.rows(report.tables["object"], _BARS)
    yield charts.bars(most, "memory files", report.several)


def _by_op(report: Report) -> pd.DataFrame:
    frame = report.tables["op"]
    return frame.groupby("op", sort=False, observed=True)[list(WORST_FIRST)].sum().reset_index()


def _listed(report: Report, verdict: str, top: int) -> Iterator[str]:
    found = report.listed[report.listed["verdict"] == verdict]
    if found.empty:
        return
    more = [one for one in _LISTED_MORE if one.title != _HOLE or found["hole"].notna().any()]
    columns = [*layout.present(found, "listed", report.several), *more]
    count = report.verdicts.get(verdict, 0)
    said = escape(sentences.listed(verdict, count, len(found)))
    yield f'<h2 class="c-{verdict}">{said}</h2>'
    yield from rows_of(found, columns, layout.boots(report.coverage), top)
    if report.unlisted.get(verdict):
        yield f"<p>{escape(sentences.unlisted(report.unlisted[verdict]))}</p>"


def rows_of(
    frame: pd.DataFrame, columns: Sequence[Column], boots: Mapping[str, layout.Boot], top: int
) -> Iterator[str]:
    """A table that can be sorted, with at most ``top`` rows."""
    heads = "".join(
        f"<th{_css(column)}><button>{escape(column.title or 'n')}</button></th>"
        for column in columns
    )
    yield f'<div class="scroll"><table><thead><tr>{heads}</tr></thead><tbody>'
    for row in layout.with_boot(cells.rows(frame, top), boots):
        yield f"<tr>{''.join(_cell(column, row) for column in columns)}</tr>\n"
    yield "</tbody></table></div>"
    if len(frame) > top:
        yield f'<p class="dim">and {len(frame) - top:,} more (--top {len(frame)})</p>'


def _css(column: Column, *more: str) -> str:
    classes = ["r"] if column.right else ["wrap"] if column.least else []
    classes += more
    return f' class="{" ".join(classes)}"' if classes else ""


def _cell(column: Column, row: dict[str, Any]) -> str:
    text, key = column.text(row), column.key(row)
    word = column.verdict or (text if text in WORST_FIRST else None)
    css = _css(column, f"c-{word}") if word else _css(column)
    shown = "" if key is None else str(key)
    return f'<td{css} data-k="{escape(shown)}">{escape(text)}</td>'
