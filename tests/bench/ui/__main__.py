"""``python -m tests.bench.ui``: what the live view costs while a busy host is recorded.

A feeder writes a recording of 100,000 events a second over 20,000 objects; the real view follows it
on a terminal of ours. Keys are pressed at random moments; the time to what they draw is taken on
that terminal. Then the first screen on a large finished recording, and the same rows in Textual's
DataTable. It wants a quiet machine.
"""

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from tests.bench.ui.watched import Watched

_VIEW = ("-m", "sealsnoop", "live", "--no-bell")
_PEER = ("-m", "tests.bench.ui.peer")
_KEYS = (
    (b"p", b"PAUSED", b"p"),
    (b"?", b"Everywhere", b"\x1b"),
    (b"4", b"requested", b"1"),
)
"""A key, what it draws, and the key that takes it back."""
_SETTLE_S = 0.5


@contextmanager
def feeding(path: Path, rate: int, objects: int) -> "Iterator[subprocess.Popen[str]]":
    command = [sys.executable, "-m", "tests.bench.ui.feeder", str(path), str(rate), str(objects)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as feeder:
        while not (path / "chain.jsonl").exists():
            time.sleep(0.05)
        yield feeder
        feeder.send_signal(signal.SIGINT)


def keys(view: Watched, until_s: float) -> dict[str, list[float]]:
    """Milliseconds from each press to what it draws."""
    found: dict[str, list[float]] = {key.decode(): [] for key, _, _ in _KEYS}
    while time.monotonic() < until_s:
        for key, drawn, back in _KEYS:
            time.sleep(_SETTLE_S + random.random() * 0.25)
            view.forget()
            pressed = view.press(key)
            found[key.decode()].append((view.wait_for(drawn, 30) - pressed) * 1000)
            time.sleep(_SETTLE_S)
            view.press(back)
    return found


def row(what: str, value: str, target: str = "") -> None:
    print(f"  {what:<58} {value:>10}   {target}")


def busy(folder: Path, args: argparse.Namespace) -> None:
    path = folder / "busy.seal"
    title = f"{args.rate:,} events/s over {args.objects:,} objects for {args.seconds} s"
    print(f"{title} (load {os.getloadavg()[0]:.1f})")
    with feeding(path, args.rate, args.objects) as feeder:
        with Watched([sys.executable, *_VIEW, str(path)]) as view:
            view.wait_for(b"LIVE")
            time.sleep(5)
            began, cpu = time.monotonic(), view.cpu_s()
            time.sleep(args.seconds / 3)
            quiet = (view.cpu_s() - cpu) / (time.monotonic() - began)
            early = view.rss_mb()
            times = keys(view, began + args.seconds)
            spent, wall = view.cpu_s() - cpu, time.monotonic() - began
            row("processor of the view, nobody types (of one core)", f"{quiet:.0%}", "<= 35 %")
            row("processor of the view, someone types", f"{spent / wall:.0%}")
            for key, values in times.items():
                p95 = np.percentile(values, 95)
                what = f"{key!r} to its repaint, 95th percentile of {len(values)}"
                row(what, f"{p95:.0f} ms", "< 100 ms")
            row(f"memory after {args.seconds / 3:.0f} s", f"{early:.0f} MB")
            row(f"memory after {args.seconds} s", f"{view.rss_mb():.0f} MB", "flat")
        if args.peer:
            count = folder / "count"
            count.touch()
            with Watched([sys.executable, *_PEER, str(path), str(count)]) as peer:
                time.sleep(15)
                cpu, began, before = peer.cpu_s(), time.monotonic(), count.stat().st_size
                time.sleep(args.peer)
                wall = time.monotonic() - began
                share, updates = (peer.cpu_s() - cpu) / wall, count.stat().st_size - before
                row("processor of the same rows in a DataTable", f"{share:.0%}")
                row("updates a second there (the view has four)", f"{updates / wall:.1f}")
                row("memory of it", f"{peer.rss_mb():.0f} MB")
        feeder.send_signal(signal.SIGINT)
        assert feeder.stdout
        row("events a second that the feeder really wrote", feeder.stdout.read().strip())


def large(folder: Path, args: argparse.Namespace) -> None:
    path = args.recording or folder / "large.seal"
    if not path.exists():
        from tests.bench.analysis import synthetic

        synthetic.write(path, args.events, args.objects)
    print(f"first look at {args.events:,} events")
    first, whole = [], []
    for _ in range(args.rounds):
        with Watched([sys.executable, *_VIEW, str(path)]) as view:
            first.append(view.wait_for(b"ram-") - view.began_s)
            whole.append(view.wait_for(b"ENDED", 600) - view.began_s)
    row("first screen with rows, from the command's start", f"{min(first):.2f} s", "<= 1 s")
    row("all of it read and judged", f"{min(whole):.1f} s")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rate", type=int, default=100_000)
    parser.add_argument("--objects", type=int, default=20_000)
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--peer", type=int, default=15, help="seconds; 0: without it")
    parser.add_argument("--events", type=int, default=10_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--recording", type=Path, help="keep the large recording here")
    parser.add_argument("--only", choices=("busy", "large"))
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:
        if args.only != "large":
            busy(Path(folder), args)
        if args.only != "busy":
            large(Path(folder), args)
    return 0


if __name__ == "__main__":
    sys.exit(main())
