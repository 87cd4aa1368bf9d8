"""Runs in the booted kernel: ``record`` from enter to the first decision, by the steps it tells.

Prints a JSON line a measurement, as tests/bench/capture/inside.py.
"""

import argparse
import json
import os
import select
import subprocess
import sys
import tempfile
import time
from pathlib import Path

METHODS = ("fexit", "kprobe")
FIRST = "python and the verb"
WHOLE = "in all"
_PATIENCE_MS = 900_000


def steps(work: Path, *options: str) -> dict[str, int]:
    """Nanoseconds of each step of one recorder, in their order; it records ``true``."""
    pipe = work / "steps"
    pipe.unlink(missing_ok=True)
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    began = last = time.monotonic_ns()
    command = [sys.executable, "-m", "sealsnoop", "record", "--quiet", "--force", *options]
    record = subprocess.Popen(
        [*command, "--steps", str(pipe), "-o", str(work / "start.seal"), "--", "true"]
    )
    what, found = FIRST, dict[str, int]()
    poll = select.poll()
    poll.register(reader)
    received = b""
    # Its end of the pipe is closed when nothing stands before the first decision any more.
    while poll.poll(_PATIENCE_MS) and (piece := os.read(reader, 1 << 16)):
        now = time.monotonic_ns()
        *lines, received = (received + piece).split(b"\n")
        for line in lines:
            if (new := json.loads(line)[0]) != what:
                found[what] = found.get(what, 0) + now - last
                what, last = new, now
    now = time.monotonic_ns()
    found[what] = found.get(what, 0) + now - last
    os.close(reader)
    if record.wait(timeout=_PATIENCE_MS / 1000):
        raise SystemExit(f"record {' '.join(options)} ended with {record.returncode}")
    return found | {WHOLE: now - began}


def main() -> None:
    options = argparse.ArgumentParser()
    options.add_argument("--rounds", type=int, default=3)
    args, rest = options.parse_known_args()
    facts = {"kernel": os.uname().release, "cpus": os.cpu_count(), "rounds": args.rounds}
    print(json.dumps(facts), flush=True)
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        for method in METHODS:
            steps(Path(folder), "--method", method, *rest)  # what comes from the disk is there then
            for _ in range(args.rounds):
                for what, ns in steps(Path(folder), "--method", method, *rest).items():
                    print(json.dumps({"name": f"{what}, {method}", "ns": ns}), flush=True)


if __name__ == "__main__":
    main()
