"""Who called, of all decisions at once: as folded stacks, and drawn as a flame graph.

A folded stack is a line as Brendan Gregg's flamegraph.pl, speedscope and inferno read it::

    prog;_start;main;map_ring;mmap [blocked] 31
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

from markupsafe import Markup

from tracer.escape import clip, printable
from tracer.labels import counted
from tracer.output import html
from tracer.output import tables as layout

if TYPE_CHECKING:
    from tracer.analysis.origins import Way
    from tracer.output.report import Report

_DEEPEST = 512
"""Names of one line: a frame may be several inlined functions."""
_WIDTH, _ROW = 1200, 20
_CELL = 7.3
"""Width of a letter."""
_LEAST = 0.4
"""What is narrower is not drawn …"""
_MOST = 20_000
"""… nor what would be more than this."""
_TOP = 500
_TEMPLATES = Path(__file__).parent / "templates"
_STYLE = (_TEMPLATES / "flame.css").read_text("utf-8")
_SCRIPT = (_TEMPLATES / "flame.js").read_text("utf-8")
"""Makes a function as wide as the drawing."""


def _labels(path: "Way") -> tuple[str, ...]:
    """The names of a way, outermost first, then what was decided."""
    calls = [call.label for call in path.calls[:_DEEPEST]]
    if all(call.frame.what == "kernel" for call in path.calls):
        calls.append("not known")  # who called into the kernel
    return (path.comm or "?", *reversed(calls), f"{path.op} [{path.verdict}]")


def _sums(paths: Iterable["Way"]) -> dict[tuple[str, ...], int]:
    sums: dict[tuple[str, ...], int] = {}
    for path in paths:
        labels = _labels(path)
        sums[labels] = sums.get(labels, 0) + path.times
    return sums


def folded(paths: Iterable["Way"]) -> Iterator[str]:
    """A line for each way that decisions came."""
    for labels, count in sorted(_sums(paths).items()):
        # A semicolon is ours, and so is the last blank.
        yield ";".join(printable(one).replace(";", ":") for one in labels) + f" {count}\n"


@dataclass
class _Node:
    label: str
    count: int = 0
    below: dict[str, "_Node"] = field(default_factory=dict)
    verdict: str = ""
    """Of what was decided there; empty: it is a function."""


def _tree(paths: Iterable["Way"]) -> _Node:
    root = _Node("all")
    for path in paths:
        labels = _labels(path)
        root.count += path.times
        node = root
        for at, label in enumerate(labels):
            node = node.below.setdefault(label, _Node(label))
            node.count += path.times
            if at == len(labels) - 1:
                node.verdict = path.verdict
    return root


def _boxes(root: _Node) -> Iterator[tuple[_Node, float, float, int]]:
    """Each node that can be seen: left, width, depth."""
    scale = _WIDTH / max(1, root.count)
    waiting = [(root, 0.0, 0)]
    drawn = 0
    while waiting and drawn < _MOST:
        node, left, depth = waiting.pop()
        width = node.count * scale
        if width < _LEAST:
            continue
        drawn += 1
        yield node, left, width, depth
        for one in sorted(node.below.values(), key=lambda child: (-child.count, child.label)):
            waiting.append((one, left, depth + 1))
            left += one.count * scale


def _box(node: _Node, left: float, width: float, depth: int, whole: int) -> str:
    y = depth * _ROW
    share = f"{node.count / max(1, whole):.1%}"
    title = f"{printable(node.label)}: {counted(node.count, 'decision')}, {share}"
    css = f"v-{node.verdict}" if node.verdict else "fn"
    room = int((width - 6) / _CELL)
    text = ""
    if room > 1:
        shown = escape(clip(printable(node.label), room))
        on = ' class="on"' if node.verdict else ""
        text = f'<text x="{left + 4:.1f}" y="{y + 14}"{on}>{shown}</text>'
    name = escape(printable(node.label))
    return (
        f'<g data-name="{name}"><title>{escape(title)}</title><rect x="{left:.2f}" y="{y}" '
        f'width="{max(0.3, width - 0.5):.2f}" height="{_ROW - 1}" rx="2" class="{css}"/>{text}</g>'
    )


def flame(paths: Iterable["Way"]) -> str:
    """SVG: callers above what they called, as wide as many decisions came through them."""
    root = _tree(paths)
    boxes = list(_boxes(root))
    height = _ROW * (1 + max((depth for *_, depth in boxes), default=0))
    body = "".join(_box(*one, root.count) for one in boxes)
    return (
        f'<svg viewBox="0 0 {_WIDTH} {height}" class="flame" role="img" '
        f'aria-label="who called">{body}</svg>'
    )


def page(report: "Report") -> Iterator[str]:
    """One HTML file that needs nothing else."""
    summary, origins = report.summary, report.origins
    tables = []
    if not origins.empty:
        boots = layout.boots(report.coverage, report.clocks)
        columns = layout.present(origins, "origins", report.several)
        table = html.table_of("origins", origins, columns, boots, _TOP)
        tables.append((layout.TITLES["origins"], table))
    there = {path.verdict for path in report.ways}
    return html.render(
        "flame.html",
        html.TONES[summary.result],
        summary.text,
        summary.todo,
        html.STYLE + _STYLE,
        html.SCRIPT + _SCRIPT,
        names=", ".join(one.file_name for one in report.coverage),
        recordings=[html.card(one) for one in report.coverage],
        legend=Markup(html.legend(dict.fromkeys(there, 1))),
        drawing=Markup(flame(report.ways)) if report.ways else "",
        count=sum(path.times for path in report.ways),
        tables=tables,
    )
