"""A program on a terminal of ours: what it draws and when, and what it costs."""

import contextlib
import fcntl
import os
import pty
import re
import signal
import struct
import termios
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Self

_ESCAPES = re.compile(rb"\x1b(\[[0-9;?<>=]*[A-Za-z]|\].*?(\x07|\x1b\\)|[^\[\]])")
_TICKS = os.sysconf("SC_CLK_TCK")


class Watched:
    """Runs ``argv`` in 120x40 cells and reads all that it draws, in a thread."""

    def __init__(self, argv: Sequence[str], width: int = 120, height: int = 40) -> None:
        self.began_s = time.monotonic()
        self.pid, self._fd = pty.fork()
        if self.pid == 0:
            os.environ["TERM"] = "xterm-256color"
            fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", height, width, 0, 0))
            os.execv(argv[0], list(argv))
        self._drawn = b""
        self._change = threading.Condition()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        with contextlib.suppress(OSError):
            while data := os.read(self._fd, 1 << 16):
                with self._change:
                    self._drawn = (self._drawn + data)[-(1 << 20) :]
                    self._change.notify_all()

    def wait_for(self, word: bytes, timeout_s: float = 120) -> float:
        """The moment at which ``word`` was drawn, since the last :meth:`forget`."""

        def there() -> bool:
            return word in _ESCAPES.sub(b"", self._drawn)

        with self._change:
            if not self._change.wait_for(there, timeout_s):
                shown = _ESCAPES.sub(b"", self._drawn)[-1000:].decode(errors="replace")
                raise TimeoutError(f"{word!r} was not drawn: {shown}")
        return time.monotonic()

    def forget(self) -> None:
        """What was drawn until now does not count."""
        with self._change:
            self._drawn = b""

    def press(self, keys: bytes) -> float:
        """Types; the moment."""
        os.write(self._fd, keys)
        return time.monotonic()

    def cpu_s(self) -> float:
        """Processor time of it and its threads."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS

    def rss_mb(self) -> float:
        """Memory of its own in use."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        found = re.search(r"^RssAnon:\s+(\d+) kB$", status, re.MULTILINE)
        return int(found[1]) / 1024 if found else 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGTERM)
        os.waitpid(self.pid, 0)
        os.close(self._fd)
