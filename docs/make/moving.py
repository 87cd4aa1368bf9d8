"""``docs/pictures/trace.svg``: a terminal in which sealsnoop answers, as a moving picture.

What it shows is what the command prints for a recording that comes with us: nothing is drawn that
was not run. One file without a script, a font or an address; where a reader wants no motion
(``prefers-reduced-motion``), it stands still with the last scene shown.
"""

import contextlib
import functools
import io
import os
import re
import shlex
import textwrap
import time
from collections.abc import Iterator
from dataclasses import dataclass
from html import escape
from unittest import mock

from tracer import shipped
from tracer.cli.main import main

COLUMNS, ROWS = 112, 27
_CELL, _LINE, _MARGIN, _BAR = 8.4, 20, 14, 34
_TYPING_S, _LINE_S, _HOLD_S = 1.4, 0.45, 4.5
_COLOURS = (
    (re.compile(r"BREACH|\b[1-9]\d* breaches"), "bad"),
    (re.compile(r"-> E[A-Z]+"), "refused"),
    (re.compile(r"F_SEAL_[A-Z_|F]+|set \S+ before by \S+"), "why"),
    (re.compile(r"\(a known hole: \S+\)|^\S+:\d\d\.\d{3}"), "dim"),
)


@dataclass(frozen=True)
class Scene:
    """One command, and how many lines of what it prints are shown."""

    words: tuple[str, ...]
    lines: int

    @property
    def command(self) -> str:
        """As it is typed."""
        cut = f" | head -{self.lines}" if self.lines < ROWS else ""
        return f"sealsnoop {shlex.join(self.words)}{cut}"


SCENES = (
    Scene(
        ("trace", "debian-6.1.seal", "--filter", "comm:holes op:mmap verdict:blocked,breach"), ROWS
    ),
    Scene(("report", "debian-6.1.seal", "--filter", "comm:holes"), 13),
)


@contextlib.contextmanager
def beside_the_recording() -> Iterator[None]:
    """In the folder of the recordings that come with us, by the clock of UTC."""
    with (
        mock.patch.dict(os.environ, {"TZ": "UTC", "COLUMNS": str(COLUMNS)}),
        contextlib.chdir(shipped.recordings()["debian-6.1"].parent),
    ):
        time.tzset()
        yield
    time.tzset()


def printed(scene: Scene) -> list[str]:
    """What the command prints in a pipe, beside the recording, by the clock of UTC."""
    out = io.StringIO()
    with (
        beside_the_recording(),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(io.StringIO()),
    ):
        main(scene.words)
    return out.getvalue().splitlines()[: scene.lines]


@functools.cache
def picture() -> str:
    """The file."""
    rows, keyframes, start = [], [], 0.0
    total = sum(_seconds(scene) for scene in SCENES)
    for number, scene in enumerate(SCENES):
        end = start + _seconds(scene)
        lines = [f"$ {scene.command}", *_wrapped(printed(scene))]
        shown = lines[:ROWS]
        for place, text in enumerate(_blocks(shown)):
            begin = start if place == 0 else start + _TYPING_S + _LINE_S * place
            name = f"s{number}r{place}"
            keyframes.append(_visible(name, begin, end, total))
            rows.append(f'<g class="row" style="animation-name:{name}">{text}</g>')
        keyframes.append(_typed(f"t{number}", len(lines[0]), start, total))
        width = _CELL * len(lines[0])
        rows.append(
            f'<rect class="cover" style="animation-name:t{number}" x="{_MARGIN + 2 * _CELL:.1f}" '
            f'y="{_BAR - 2}" width="{width:.1f}" height="{_LINE + 4}"/>'
        )
        start = end
    return _svg("".join(keyframes), "\n".join(rows), total)


def _seconds(scene: Scene) -> float:
    count = sum(1 for _ in _blocks([f"$ {scene.command}", *_wrapped(printed(scene))][:ROWS]))
    return _TYPING_S + _LINE_S * count + _HOLD_S


def _wrapped(lines: list[str]) -> list[str]:
    """As a terminal of this width shows them; what goes on begins with a blank."""
    return [
        part
        for line in lines
        for part in textwrap.wrap(
            line, COLUMNS, subsequent_indent="    ", drop_whitespace=False, break_on_hyphens=False
        )
        or [""]
    ]


def _blocks(lines: list[str]) -> Iterator[str]:
    """The text elements that appear at once."""
    block: list[str] = []
    for row, line in enumerate(lines):
        if block and not line.startswith("    "):
            yield "".join(block)
            block = []
        block.append(_text(line, row))
    yield "".join(block)


def _text(line: str, row: int) -> str:
    y = _BAR + _LINE * row + 15
    marked, kinds = (
        [],
        ["dim" if line.startswith("$ ") and at < 2 else "" for at in range(len(line))],
    )
    for pattern, kind in _COLOURS:
        for found in pattern.finditer(line):
            kinds[found.start() : found.end()] = [kind] * (found.end() - found.start())
    at = 0
    while at < len(line):
        end = at
        while end < len(line) and kinds[end] == kinds[at]:
            end += 1
        piece = escape(line[at:end])
        marked.append(f'<tspan class="{kinds[at]}">{piece}</tspan>' if kinds[at] else piece)
        at = end
    length = f' textLength="{_CELL * len(line):.1f}"' if line else ""
    return f'<text x="{_MARGIN}" y="{y}"{length}>{"".join(marked)}</text>'


def _percent(seconds: float, total: float) -> str:
    return f"{100 * seconds / total:.2f}%"


def _visible(name: str, begin: float, end: float, total: float) -> str:
    hidden, shown = "visibility:hidden", "visibility:visible"
    first = f"0%{{{hidden}}}" if begin else ""
    last = f"{_percent(end, total)},100%{{{hidden}}}" if end < total else f"100%{{{shown}}}"
    return f"@keyframes {name}{{{first}{_percent(begin, total)}{{{shown}}}{last}}}\n"


def _typed(name: str, length: int, begin: float, total: float) -> str:
    """The cover of a command line moves to the right, a letter at a time, and then out of sight."""
    typed, gone = begin + _TYPING_S - 0.4, f"transform:translateX({_CELL * 2 * COLUMNS:.1f}px)"
    before = f"0%{{{gone};animation-timing-function:step-end}}" if begin else ""
    return (
        f"@keyframes {name}{{{before}{_percent(begin, total)}"
        f"{{transform:none;animation-timing-function:steps({length},end)}}"
        f"{_percent(typed, total)}{{transform:translateX({_CELL * length:.1f}px)}}"
        f"{_percent(typed + 0.1, total)},100%{{{gone}}}}}\n"
    )


def _svg(keyframes: str, rows: str, total: float) -> str:
    width = round(2 * _MARGIN + _CELL * COLUMNS)
    height = _BAR + _LINE * ROWS + _MARGIN
    last = len(SCENES) - 1
    title = "sealsnoop trace prints what seals refused, and what the kernel should have refused"
    dots = "".join(
        f'<circle cx="{18 + 18 * n}" cy="15" r="5" fill="{colour}"/>'
        for n, colour in enumerate(("#fe6b6b", "#e8b04a", "#5fb97c"))
    )
    return f"""\
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img">
<title>{title}</title>
<!-- Made by `make docs` from what the commands print (docs/make/moving.py). -->
<style>
text{{font:14px ui-monospace,"DejaVu Sans Mono",Menlo,Consolas,monospace}}
text{{fill:#d7dae0;white-space:pre}}
.dim{{fill:#8b949e}}.bad{{fill:#fe6b6b;font-weight:bold}}
.refused{{fill:#e8b04a}}.why{{fill:#6cb6ff}}
.row,.cover{{animation-duration:{total:.2f}s;animation-iteration-count:infinite}}
.row{{animation-timing-function:step-end}}
.cover{{fill:#12161c}}
{keyframes}@media (prefers-reduced-motion:reduce){{
.row{{animation:none;visibility:hidden}}.row[style*="s{last}r"]{{visibility:visible}}
.cover{{animation:none;visibility:hidden}}}}
</style>
<clipPath id="screen"><rect width="{width}" height="{height}" rx="8"/></clipPath>
<g clip-path="url(#screen)">
<rect width="{width}" height="{height}" fill="#12161c"/>
<rect width="{width}" height="28" fill="#222a35"/>{dots}
{rows}
</g>
</svg>
"""
