"""Pictures of what ``report`` and ``audit`` print, and of their pages, for ``docs/gallery.md``.

All are of recordings that come with us. Those of text are SVG, made with the other documents
(``python -m docs.make``); those of pages want a browser: ``python -m docs.make.pictures``.
"""

import io
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console
from rich.text import Text

from docs.make.moving import beside_the_recording
from tracer import shipped
from tracer.audit.evaluate import audit
from tracer.audit.policy import load
from tracer.cli.main import main
from tracer.output.audit import Terminal as AuditTerminal
from tracer.output.report import Request, build
from tracer.output.terminal import Terminal
from tracer.recording.reader import Recording

FOLDER = Path(__file__).resolve().parents[1] / "pictures"
RECORDING, POLICY = "debian-7.3.seal", "sealed-buffer"
_WIDTH = 110
_FONT = re.compile(r"@font-face \{\{.*?\}\}", re.DOTALL)
_FORMAT = _FONT.sub("", CONSOLE_SVG_FORMAT).replace("Fira Code", "monospace")
"""A picture that asks nobody for a font."""
PAGES = {
    "report": ("report", "debian-6.1.seal", "--html"),
    "diff": ("report", "--diff", "debian-6.1.seal", "debian-7.3.seal", "--html"),
    "audit": ("audit", POLICY, RECORDING, "--html"),
}
"""Commands, without the file that they write."""


def _drawn(title: str, name: str, lines: int, show: Callable[[Console], None]) -> str:
    """The first lines of what ``show`` prints, as SVG."""
    out = io.StringIO()
    show(Console(file=out, width=_WIDTH, force_terminal=True, color_system="standard",
                 highlight=False, markup=False))  # fmt: skip
    printed = out.getvalue().splitlines()[:lines]
    while not Text.from_ansi(printed[-1]).plain.strip():
        printed.pop()  # some versions of rich draw an empty last line, others do not
    console = Console(file=io.StringIO(), width=_WIDTH, record=True, highlight=False, markup=False)
    console.print(Text.from_ansi("\n".join(printed)))
    return console.export_svg(title=title, code_format=_FORMAT, unique_id=name)


def _nothing(*_: object) -> None:
    """Says nothing."""


def drawn() -> dict[Path, str]:
    """Path → content of each picture of text."""

    def report(console: Console) -> None:
        found = build(["debian-6.1.seal"], Request(), _nothing, _nothing)
        Terminal(console, 6).show(found, ("object",))

    def audited(console: Console) -> None:
        with Recording.open(RECORDING) as recording:
            found = audit(load(str(shipped.policies()[POLICY])), [recording], "sealsnoop")
        AuditTerminal(console, None, POLICY).show(found)

    with beside_the_recording():
        return {
            FOLDER / "report.svg": _drawn("sealsnoop report debian-6.1.seal", "report", 46, report),
            FOLDER / "audit.svg": _drawn(
                f"sealsnoop audit {POLICY} {RECORDING}", "audit", 34, audited
            ),
        }


def photograph(page: Path, picture: Path, dark: bool, size: Sequence[int] = (1280, 860)) -> None:
    """Writes what Chromium shows of a page. OSError, CalledProcessError."""
    scheme = 0 if dark else 1
    subprocess.run(
        ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars",
         f"--blink-settings=preferredColorScheme={scheme}", f"--window-size={size[0]},{size[1]}",
         f"--screenshot={picture}", page.as_uri()],
        check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip


def write() -> int:
    """Draws the pages."""
    with tempfile.TemporaryDirectory() as folder, beside_the_recording():
        for name, words in PAGES.items():
            page = Path(folder, f"{name}.html")
            main([*words, str(page)])
            picture = FOLDER / f"{name}-page.png"
            photograph(page, picture, dark=name == "audit")
            print(f"{picture.name}: {picture.stat().st_size:,} bytes", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(write())
