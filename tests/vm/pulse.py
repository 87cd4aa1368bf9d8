"""Whether a guest's kernel still runs anything, by a line that it writes to its console.

QEMU's software emulation can let both CPUs of a guest run a breakpoint for ever that the kernel has
taken away again (tests/kernel/booting.py). Nothing in the guest can tell then, for its interrupts
are off; and without this, a test would wait for the end of its time.
"""

from __future__ import annotations

import json
import re
import socket
import time
from itertools import pairwise
from pathlib import Path

EVERY_S = 5
LIMIT_S = 120.0
"""Without a beat. Emulated, on a busy machine, the longest pause seen is a few seconds."""
_LINE = "sealsnoop: beat"
SCRIPT = f"(while sleep {EVERY_S}; do echo '<6>{_LINE}' >/dev/kmsg; done) >/dev/null 2>&1 &"
"""For the guest's first shell."""
KERNEL_OPTION = "unknown_nmi_panic"
"""So that :func:`provoke` makes the kernel say where it is, and end."""


class Pulse:
    """Watches the console's file; ask often."""

    def __init__(self, console: Path, limit_s: float = LIMIT_S) -> None:
        self._console, self._limit_s = console, limit_s
        self._size = -1
        self._since = self._asked = 0.0

    def stopped(self, now: float | None = None) -> bool:
        """Whether nothing came for so long, while we looked."""
        now = time.monotonic() if now is None else now
        size = self._console.stat().st_size if self._console.exists() else 0
        we_stood_still = now - self._asked > self._limit_s / 2
        self._asked = now
        if size != self._size or we_stood_still:
            self._size, self._since = size, now
        return now - self._since > self._limit_s


def leap_s(console: str) -> float | None:
    """How far the guest's clock went between two beats, in seconds, if that is more than `LIMIT_S`.

    By our clock it was less, or the guest would have been ended. Its clock is this machine's
    counter of cycles (clocksource=tsc), which the host of a virtual machine may set.
    """
    beats = [float(at) for at in re.findall(rf"^\[ *([0-9.]+)\] {_LINE}$", console, re.MULTILINE)]
    longest = max((after - before for before, after in pairwise(beats)), default=0.0)
    return longest if longest > LIMIT_S else None


def without_beats(console: str) -> list[str]:
    """The lines that say something."""
    return [line for line in console.splitlines() if _LINE not in line]


def qemu_options(control: Path) -> list[str]:
    """QEMU's: a socket for :func:`provoke`."""
    return ["-qmp", f"unix:{control},server=on,wait=off"]


def provoke(control: Path) -> None:
    """Sends the guest a non-maskable interrupt. OSError: QEMU does not listen."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(5)
        connection.connect(str(control))
        answers = connection.makefile("rb")
        answers.readline()  # its greeting
        for command in ("qmp_capabilities", "inject-nmi"):
            connection.sendall(json.dumps({"execute": command}).encode() + b"\n")
            answers.readline()
