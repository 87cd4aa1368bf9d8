"""One line on a terminal's stderr that is drawn over and over; nothing anywhere else."""

import shutil
import sys
import time

from tracer.capture.session import Progress
from tracer.text.outlet import status


def size_text(count: int) -> str:
    """Bytes for people: ``1.4 MB``."""
    size = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000 or unit == "GB":
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    raise AssertionError("unreachable")


class ProgressLine:
    """Shows how a recording goes."""

    def __init__(self, quiet: bool) -> None:
        self._on = sys.stderr.isatty() and not quiet
        self._last = (time.monotonic(), 0)
        self._rate = 0.0

    def show(self, progress: Progress) -> None:
        if not self._on:
            return
        now_s = time.monotonic()
        before_s, before = self._last
        if now_s - before_s >= 0.5:
            self._rate = (progress.events - before) / (now_s - before_s)
            self._last = (now_s, progress.events)
        lost = f"lost {progress.lost:,}"
        text = (
            f"recording {progress.seconds:.0f} s  {progress.events:,} events  "
            f"{self._rate:,.0f}/s  {lost}  {size_text(progress.bytes)}  (Ctrl-C ends it)"
        )
        status(text[: shutil.get_terminal_size().columns - 1], red=lost if progress.lost else "")

    def clear(self) -> None:
        if self._on:
            status()
