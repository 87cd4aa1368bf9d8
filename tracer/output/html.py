"""Style and script of the HTML report; both are named by their digest in its security policy.

Charts as inline SVG, drawn by hand: no script, no font, no network. Colours are CSS classes.

The report as one HTML file that needs nothing else: no network, no other file, no font.

Everything from a recording goes through ``html.escape``; the security policy in the file allows
this file's own style and script by digest and nothing more, so that nothing else could run.
"""

import base64
import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from html import escape
from math import ceil, floor, log10
from typing import Any

import pandas as pd

from tracer.output import report as sentences
from tracer.output import tables as cells
from tracer.output import tables as layout
from tracer.output.report import LISTED, WORST_FIRST, Coverage, Question, Report
from tracer.output.tables import Column, Row, file, phrase, shortened, value

STYLE = """
:root{color-scheme:light dark;--bg:#fff;--fg:#1c2128;--dim:#5c6773;--line:#d9dee4;--card:#f5f7f9;
--breach:#c62828;--unexplained:#8e24aa;--indeterminate:#b26a00;--blocked:#1565c0;--error:#6b7480;
--allowed:#2e7d32;--on:#fff}
@media(prefers-color-scheme:dark){:root{--bg:#14181d;--fg:#e3e8ee;--dim:#98a4b1;--line:#303842;
--card:#1c2229;--breach:#ff6b6b;--unexplained:#d59ae6;--indeterminate:#f5b83d;--blocked:#63aef5;
--error:#8e99a5;--allowed:#74c27a;--on:#14181d}}
*{box-sizing:border-box}
body{margin:0 auto;padding:24px;max-width:1320px;background:var(--bg);color:var(--fg);
font:15px/1.5 system-ui,sans-serif}
h1{font-size:24px;margin:0 0 4px}h2{font-size:18px;margin:32px 0 8px}h3{font-size:15px;margin:0}
p{margin:4px 0}.dim{color:var(--dim)}
code,td,.mono{font-family:ui-monospace,"DejaVu Sans Mono",monospace;font-size:13px}
.alarm{border-left:5px solid var(--breach);background:var(--card);padding:8px 14px;margin:8px 0;
color:var(--breach);font-weight:600}
.card{background:var(--card);border:1px solid var(--line);border-radius:8px;padding:12px 16px;
margin:10px 0;overflow-wrap:anywhere}
.card ul{margin:6px 0;padding-left:20px}summary{cursor:pointer;color:var(--dim)}
.tiles{display:flex;flex-wrap:wrap;gap:10px;margin:14px 0}
.tile{flex:1 1 130px;border:1px solid var(--line);border-top:4px solid;border-radius:8px;
padding:8px 12px;color:var(--dim)}
.tile b{display:block;font-size:24px;line-height:1.3;color:var(--fg)}.tile.none{opacity:.55}
.t-breach{border-top-color:var(--breach)}.t-unexplained{border-top-color:var(--unexplained)}
.t-indeterminate{border-top-color:var(--indeterminate)}.t-blocked{border-top-color:var(--blocked)}
.t-error{border-top-color:var(--error)}.t-allowed{border-top-color:var(--allowed)}
.t-breach.some b,.c-breach{color:var(--breach)}.c-unexplained{color:var(--unexplained)}
.c-indeterminate{color:var(--indeterminate)}.c-blocked{color:var(--blocked)}
.c-error{color:var(--error)}.c-allowed{color:var(--allowed)}
.c-breach,.c-unexplained,.c-indeterminate{font-weight:700}
.v-breach{fill:var(--breach);background:var(--breach)}
.v-unexplained{fill:var(--unexplained);background:var(--unexplained)}
.v-indeterminate{fill:var(--indeterminate);background:var(--indeterminate)}
.v-blocked{fill:var(--blocked);background:var(--blocked)}
.v-error{fill:var(--error);background:var(--error)}
.v-allowed{fill:var(--allowed);background:var(--allowed)}
.v-none{fill:var(--card)}.s1{fill-opacity:.25}.s2{fill-opacity:.45}.s3{fill-opacity:.75}
svg{display:block;width:100%;height:auto}svg text{fill:var(--fg);font:13px system-ui,sans-serif}
svg .tick{fill:var(--dim);font-size:12px}svg .on{fill:var(--on)}svg line{stroke:var(--line)}
.key{display:inline-flex;align-items:center;gap:6px;margin-right:16px;color:var(--dim)}
.key i{width:12px;height:12px;border-radius:3px}
.scroll{overflow-x:auto;border:1px solid var(--line);border-radius:8px}
table{border-collapse:collapse;width:100%}
th,td{padding:5px 10px;text-align:left;border-bottom:1px solid var(--line);vertical-align:top}
tr:last-child td{border-bottom:0}tbody tr:hover{background:var(--card)}
td{white-space:nowrap}td.wrap{white-space:normal;overflow-wrap:anywhere;min-width:140px}
th{background:var(--card);white-space:nowrap}.r{text-align:right}
th button{all:unset;cursor:pointer;font:600 13px system-ui,sans-serif}
th button:focus-visible{outline:2px solid var(--blocked)}
th[aria-sort=ascending] button::after{content:" \\2191"}
th[aria-sort=descending] button::after{content:" \\2193"}
@media print{body{max-width:none}.scroll{overflow:visible}td{white-space:normal}}
"""

SCRIPT = """
for (const button of document.querySelectorAll("th button")) {
  button.addEventListener("click", () => {
    const th = button.parentElement, table = th.closest("table"), body = table.tBodies[0];
    const place = th.cellIndex, now = th.getAttribute("aria-sort");
    const down = now ? now !== "descending" : th.classList.contains("r");  // numbers: most first
    const key = row => {
      const text = row.cells[place].dataset.k ?? "";
      return text !== "" && !isNaN(text) ? Number(text) : text;
    };
    const rows = [...body.rows].map(row => [key(row), row]);
    rows.sort(([a], [b]) => {
      if (typeof a !== typeof b) return typeof a === "number" ? -1 : 1;
      const way = a < b ? -1 : a > b ? 1 : 0;
      return down ? -way : way;
    });
    for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
    th.setAttribute("aria-sort", down ? "descending" : "ascending");
    body.append(...rows.map(([, row]) => row));
  });
}
"""

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

    ``steps`` have ``time_ns`` (begin of a step, boot clock) and counts by verdict.
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
    left, right, line = 300, 70, 26
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


def legend(verdicts: Mapping[str, Any]) -> str:
    """The colours of the verdicts that occur."""
    return "".join(
        f'<span class="key"><i class="v-{word}"></i>{word}</span>'
        for word in WORST_FIRST
        if verdicts.get(word)
    )


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
    yield "<h2>Decisions over time</h2>" + legend(report.verdicts)
    first = layout.boots(report.coverage)
    for boot, found in report.over_time.groupby("boot_id", sort=False, observed=True):
        steps = cells.rows(found)
        times = [int(one["time_ns"]) for one in steps]
        step = int(steps[0]["step_ns"])
        known = first[str(boot)].start_ns if str(boot) in first else None
        start = times[0] if known is None else min(known, times[0])
        host = str(steps[0].get("host") or "")
        yield f'<p class="dim">{escape(host)}</p>' if report.several else ""
        yield over_time(steps, step, start, times[-1] + step, f"over time {host}")
    yield "<h2>Operation and verdict</h2>" + matrix(cells.rows(_by_op(report)))
    yield "<h2>Memory files with the worst verdicts, then the most decisions</h2>"
    most = cells.rows(report.tables["object"], _BARS)
    yield bars(most, "memory files", report.several)


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
