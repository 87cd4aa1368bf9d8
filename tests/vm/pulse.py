"""Whether each CPU of a guest still runs anything, by a line that it writes to the console.

QEMU's software emulation can let a CPU of a guest run a breakpoint for ever that the kernel has
taken away again (tests/kernel/booting.py). The guest may not notice, for that CPU's interrupts are
off; and without this, a test would wait for the end of its time.
"""

from __future__ import annotations

import json
import math
import re
import shlex
import socket
import time
from collections import Counter
from collections.abc import Callable, Collection
from itertools import pairwise
from pathlib import Path

EVERY_S = 5
LIMIT_S = 120.0
"""Without a beat. Emulated, on a busy machine, the longest pause seen is a few seconds."""
_LINE = "sealsnoop: beat"
_BEAT = re.compile(rf"^\[ *([0-9.]+)\] {_LINE} of CPU (\d+)\r?$", re.MULTILINE)
_PLACE = "sealsnoop: CPU"
STANDSTILL = rf"{_PLACE} \d+ is silent, interrupts off"
"""What :func:`provoke` says of a CPU that runs without end where nothing gets in."""
_REGISTERS = re.compile(r"^CPU#(\d+)(?:\r?\n(?!CPU#).*)*?\r?\nRIP=(\w+) RFL=(\w+)", re.MULTILINE)
_LOOKS, _BETWEEN_S = 3, 1.0
_INTERRUPTS = 0x200  # the flag IF
KERNEL_OPTIONS = ("printk.time=1", "unknown_nmi_panic")
"""So that a beat has its time, and :func:`provoke` makes the kernel say where it is, and end."""


def script(cpus: int) -> list[str]:
    """Lines for the guest's first shell: each CPU has a beat of its own."""
    each = f"while sleep {EVERY_S}; do echo '<6>{_LINE} of CPU '$0 >/dev/kmsg; done"
    return [
        f"taskset -c {cpu} sh -c {shlex.quote(each)} {cpu} >/dev/null 2>&1 &" for cpu in range(cpus)
    ]


class Pulse:
    """Watches the console's file; ask often."""

    def __init__(self, console: Path, cpus: int, limit_s: float = LIMIT_S) -> None:
        self._console, self._limit_s = console, limit_s
        self._beats = Counter[int]()
        self._since = dict.fromkeys(range(cpus), 0.0)
        self._size, self._asked = 0, -math.inf

    def stopped(self, now: float | None = None) -> list[int]:
        """The CPUs of which nothing came for so long, while we looked."""
        now = time.monotonic() if now is None else now
        if now - self._asked > self._limit_s / 2:  # we stood still
            self._since = dict.fromkeys(self._since, now)
        self._asked = now
        size = self._console.stat().st_size if self._console.exists() else 0
        if size != self._size:
            self._size = size
            text = self._console.read_text(errors="replace")
            beats = Counter(int(beat[2]) for beat in _BEAT.finditer(text))
            self._since |= {cpu: now for cpu in beats if beats[cpu] != self._beats[cpu]}
            self._beats = beats
        return [cpu for cpu, since in self._since.items() if now - since > self._limit_s]


def leap_s(console: str) -> float | None:
    """How far the guest's clock went between two beats, in seconds, if that is more than `LIMIT_S`.

    By our clock it was less, or the guest would have been ended. Its clock is this machine's
    counter of cycles (clocksource=tsc), which the host of a virtual machine may set.
    """
    beats = [float(beat[1]) for beat in _BEAT.finditer(console)]
    longest = max((after - before for before, after in pairwise(beats)), default=0.0)
    return longest if longest > LIMIT_S else None


def without_beats(console: str) -> list[str]:
    """The lines that say something."""
    return [line for line in console.splitlines() if _LINE not in line]


def qemu_options(control: Path) -> list[str]:
    """QEMU's: a socket for :func:`provoke`."""
    return ["-qmp", f"unix:{control},server=on,wait=off"]


def provoke(
    control: Path, silent: Collection[int], sleep: Callable[[float], None] = time.sleep
) -> list[str]:
    """Where each CPU is, a line each; then sends them a non-maskable interrupt.

    OSError: QEMU does not listen.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(5)
        connection.connect(str(control))
        answers = connection.makefile("rb")
        answers.readline()  # its greeting

        def ask(command: str, **arguments: str) -> str:
            question = {"execute": command, "arguments": arguments}
            connection.sendall(json.dumps(question).encode() + b"\n")
            for line in answers:
                if "event" not in (answer := json.loads(line)):
                    return str(answer.get("return", ""))
            raise ConnectionError("QEMU is gone")

        ask("qmp_capabilities")
        looks = []
        for _ in range(_LOOKS):
            looks.append(ask("human-monitor-command", **{"command-line": "info registers -a"}))
            sleep(_BETWEEN_S)
        ask("inject-nmi")
    return [
        f"{_PLACE} {cpu}{' is silent' * (cpu in silent)}, "
        + f"interrupts {'on' if on else 'off'}, at {' '.join(dict.fromkeys(where))}"
        for cpu, (on, where) in _places(looks).items()
    ]


def _places(looks: list[str]) -> dict[int, tuple[bool, list[str]]]:
    """Of QEMU's ``info registers -a``: whether a CPU ever let interrupts in, and its places."""
    places: dict[int, tuple[bool, list[str]]] = {}
    for look in looks:
        for cpu, rip, flags in _REGISTERS.findall(look):
            on, where = places.get(int(cpu), (False, []))
            on |= bool(int(flags, 16) & _INTERRUPTS)
            places[int(cpu)] = (on, [*where, rip])
    return places
