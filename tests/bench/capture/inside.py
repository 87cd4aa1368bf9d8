"""Runs in the booted kernel: one load under each tracer, one after the other, in one boot.

Prints a JSON line a measurement: nanoseconds a write, and the share of the writes that was kept.
"""

import argparse
import json
import os
import subprocess
import tempfile
from pathlib import Path

from tests.bench.capture.empty import Floor, write_call
from tests.bench.capture.load import MEMFD, Load
from tests.bench.capture.trace_cmd import PAIR, same_facts, trace_cmd
from tests.bench.capture.tracers import (
    COUNT,
    OUR_BUFFER,
    PRINT_FEXIT,
    PRINT_KPROBE,
    bpftrace,
    sealsnoop,
)

WRITER = Path(__file__).with_name("writer.c")
METHODS = ("fexit", "kprobe")
STACKS = ("denied",)
"""Of none of the load's writes, which are allowed: what asking costs."""


def untraced(load: Load, tmpfs: str) -> None:
    """Between all others: machines drift, and what is left over is compared with the least."""
    load.measure("untraced")
    load.measure("untraced, tmpfs", tmpfs)


def floors(load: Load, tmpfs: str) -> None:
    for method in METHODS:
        for both in (False, True):
            floor = Floor(method, both)
            where = "both hooks" if both else "one hook"
            load.measure(f"empty {method}, {where}")
            load.measure(f"empty {method}, {where}, tmpfs", tmpfs)
            floor.detach()
            untraced(load, tmpfs)


def with_stacks(load: Load, work: Path, tmpfs: str, held: bool, plain: bool = False) -> None:
    """``plain``: without them, too."""
    for method in METHODS:
        for stacks in (*(["off"] if plain else []), *STACKS):
            name = f"sealsnoop {method}" + (f", --stacks {stacks}" if stacks != "off" else "")
            sealsnoop(load, work, method, MEMFD, name, held, "--stacks", stacks)
            untraced(load, tmpfs)


def main() -> None:
    options = argparse.ArgumentParser()
    options.add_argument("--count", type=int, default=100_000)
    options.add_argument("--rounds", type=int, default=10)
    options.add_argument("--no-peers", action="store_true")
    options.add_argument("--held", action="store_true")
    options.add_argument("--stacks", action="store_true", help="nothing but what --stacks costs")
    args = options.parse_args()
    clock = Path("/sys/devices/system/clocksource/clocksource0/current_clocksource").read_text()
    facts = {"kernel": os.uname().release, "cpus": os.cpu_count(), "clock": clock.strip()}
    print(json.dumps(facts | {"count": args.count, "rounds": args.rounds}), flush=True)
    with tempfile.TemporaryDirectory(dir="/tmp", ignore_cleanup_errors=True) as folder:
        work = Path(folder)
        load = Load(work / "writer", args.count, args.rounds)
        subprocess.run(["gcc", "-O2", "-o", load.writer, WRITER], check=True)
        tmpfs = str(work / "ordinary")
        untraced(load, tmpfs)
        if args.stacks:
            with_stacks(load, work, tmpfs, args.held, plain=True)
            return
        floors(load, tmpfs)
        for method in METHODS:
            for target, end in ((MEMFD, ""), (tmpfs, ", tmpfs")):
                sealsnoop(load, work, method, target, f"sealsnoop {method}{end}", args.held)
                untraced(load, tmpfs)
            name = f"sealsnoop {method}, a command without files"
            sealsnoop(load, work, method, MEMFD, name, args.held, "--", "sleep", "99999")
            untraced(load, tmpfs)
        with_stacks(load, work, tmpfs, args.held)
        if not args.no_peers:
            bpftrace(load, work, "bpftrace kprobe pair, counting", COUNT, False, None)
            for buffer, end in ((None, ""), (OUR_BUFFER, ", 32 MiB")):
                for kind, program in (("kprobe pair", PRINT_KPROBE), ("fexit", PRINT_FEXIT)):
                    bpftrace(load, work, f"bpftrace {kind}, printing{end}", program, True, buffer)
            trace_cmd(load, work, "trace-cmd kprobe pair", PAIR)
            trace_cmd(load, work, "trace-cmd kprobes, same facts", *same_facts(write_call()))
            untraced(load, tmpfs)


if __name__ == "__main__":
    main()
