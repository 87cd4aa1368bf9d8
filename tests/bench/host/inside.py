"""Runs in the booted kernel: what a host does all day, untraced and beside a recorder.

Prints a JSON line a measurement, as tests/bench/capture/inside.py.
"""

import argparse
import json
import os
import subprocess
import tempfile
from pathlib import Path

from tests.bench.capture.load import tell
from tests.bench.capture.tracers import recorded

PROGRAM = Path(__file__).with_name("host.c")
LOADS = {
    "fork+exec+exit": 1,
    "open+close": 20,
    "mmap+munmap": 20,
    "page fault": 50,
    "pipe": 50,
    "socket": 20,
}
"""How many times each, for a count of one: they differ in what one takes."""
METHODS = ("fexit", "kprobe")


def measure(program: Path, loads: list[str], count: int, rounds: int, end: str = "") -> None:
    for load in loads:
        times = LOADS[load]
        command = [str(program), load, str(count * times), str(program)]
        found = [
            float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
            for _ in range(rounds)
        ]
        tell(f"{load}{end}", found)


def main() -> None:
    options = argparse.ArgumentParser()
    options.add_argument("--count", type=int, default=500)
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--held", action="store_true", help="the recorder sleeps meanwhile")
    options.add_argument("--ops", help="record only these operations")
    options.add_argument("--load", choices=[*LOADS], help="only this one")
    args = options.parse_args()
    loads = [args.load] if args.load else [*LOADS]
    only = ["--ops", args.ops] if args.ops else []
    facts = {"kernel": os.uname().release, "cpus": os.cpu_count()}
    print(json.dumps(facts | {"count": args.count, "rounds": args.rounds}), flush=True)
    with tempfile.TemporaryDirectory(dir="/tmp", ignore_cleanup_errors=True) as folder:
        work = Path(folder)
        # The guest's own files come from its host, for which a process would wait; and those of a
        # tmpfs are memory files.
        (work / "plain").mkdir()
        subprocess.run(["mount", "-t", "ramfs", "ramfs", work / "plain"], check=True)
        program = work / "plain" / "host"
        subprocess.run(["gcc", "-O2", "-static", "-o", program, PROGRAM], check=True)
        measure(program, loads, args.count, args.rounds)
        for method in METHODS:
            with recorded(work / f"{method}.seal", method, args.held, *only):
                measure(program, loads, args.count, args.rounds, f", {method}")
            measure(program, loads, args.count, args.rounds)


if __name__ == "__main__":
    main()
