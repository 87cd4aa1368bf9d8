"""The load and how it is timed: writer.c tells nanoseconds a write from inside its own loop."""

import json
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

WARM_UP = 2000
"""Writes before the clock starts; tracers see them too. As in writer.c."""
PAUSE_S = 1.0
"""After each round, in which every tracer can write down what it has."""
MEMFD = "memfd"


@dataclass
class Load:
    writer: Path
    count: int
    rounds: int

    @property
    def writes(self) -> int:
        """What a tracer that stands through all rounds should see."""
        return self.rounds * (self.count + WARM_UP)

    def run(self, target: str, pause_s: float = PAUSE_S) -> list[float]:
        """Nanoseconds a write, of each round, to a sealable memfd or to the file ``target``."""
        command = [str(self.writer), target, str(self.count)]
        times = []
        for _ in range(self.rounds):
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            times.append(float(done.stdout))
            time.sleep(pause_s)
        return times

    def measure(self, name: str, target: str = MEMFD) -> None:
        """Where nothing is written down that would take time after the writes."""
        tell(name, self.run(target, 0))


def tell(name: str, times: list[float], kept: float | None = None) -> None:
    """One measurement as a JSON line: the least disturbed round counts."""
    print(json.dumps({"name": name, "ns": min(times), "all_ns": times, "kept": kept}), flush=True)


def wait_for(ready: Callable[[], bool], process: "subprocess.Popen[Any]") -> None:
    """Waits until a tracer has attached; ends the benchmark if it gives up instead."""
    until = time.monotonic() + 240
    while not ready():
        if process.poll() is not None:
            said = process.stderr.read() if process.stderr else ""
            raise SystemExit(f"a tracer ended before it began: {process.args!r}\n{said}")
        if time.monotonic() > until:
            raise SystemExit(f"a tracer did not begin in 240 s: {process.args!r}")
        time.sleep(0.2)
    time.sleep(2)
