"""Charts as inline SVG: no script, no font, no network. Colours are classes of style.css."""

from collections.abc import Mapping, Sequence
from html import escape
from math import ceil, floor, log10
from typing import Any

from tracer.output.report import WORST_FIRST
from tracer.output.tables import Row, file, shortened

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
