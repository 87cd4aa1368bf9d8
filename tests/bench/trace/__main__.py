"""``python -m tests.bench.trace``: what printing costs when a host makes 100,000 writes a second.

Half of them are denied. A recording of so many is printed from its start, so that nothing waits:
the share of a core is the processor time of ``trace`` by the time in which the writes were made.
A booted guest is emulated here and makes no 100,000 writes a second.
"""

import argparse
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from tests.bench.analysis import synthetic
from tests.tty.writer import manifest
from tracer.record import HEAD, RECORD_SIZE
from tracer.recording.writer import RecordingWriter
from tracer.words import Flag, Hook, Op, Seal

RATE = 100_000
_OBJECTS = 1000
_AT_ONCE = 1 << 17
_EPERM = 1
WAYS = {
    "the denied half printed": ((), 1.0),
    "all of them printed (--all)": (("--all",), 1.0),
    "the denied filtered out": (("--filter", "!ret:EPERM"), 0.3),
}
"""Options, and the share of a core that they may take."""


def write(path: Path, count: int) -> None:
    """Writes of 8 bytes to sealed and unsealed files in turn, ``RATE`` a second."""
    rng = np.random.default_rng(1)
    seals = np.where(np.arange(_OBJECTS) % 2, Seal.WRITE, 0).astype(np.uint32)
    with RecordingWriter(path, manifest(), force=True) as writer:
        writer.append(synthetic.announcements(seals))
        for start in range(0, count, _AT_ONCE):
            rows = synthetic.events(rng, start, min(_AT_ONCE, count - start), seals)
            numbers = start + np.arange(len(rows))
            rows["time_ns"] = synthetic.START_NS + numbers * (10**9 // RATE)
            rows["op"], rows["hook"] = Op.WRITE, Hook.WRITE
            rows["arg"], rows["offset"], rows["length"], rows["checks"] = 0, 0, 8, 1
            rows["flags"], rows["mode"] = Flag.CHECK_REACHED, 0
            rows["size"] = rows["size_after"] = synthetic.SIZE
            denied = rows["seals"] != 0
            rows["seals_after"] = rows["seals"]
            rows["answer"] = np.where(denied, -_EPERM, 8)
            rows["check_answer"] = np.where(denied, -_EPERM, 0)
            writer.append(rows.view(f"V{RECORD_SIZE}").view(HEAD))
            writer.tick(start / RATE)
        writer.close("done")


def cpu_s() -> float:
    """Of all children that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=20, help="of 100,000 writes each")
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    count = args.seconds * RATE
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:
        path, printed = Path(folder) / "r.seal", Path(folder) / "printed"
        write(path, count)
        print(f"{count:,} writes, half of them denied (load {os.getloadavg()[0]:.1f})")
        for what, (options, most) in WAYS.items():
            times = []
            for _ in range(args.rounds):
                before = cpu_s()
                with printed.open("wb") as out:
                    words = [sys.executable, "-m", "sealsnoop", "trace", str(path), *options]
                    subprocess.run(words, check=True, stdout=out)
                times.append(cpu_s() - before)
            with printed.open("rb") as lines:
                found = sum(1 for _ in lines)
            share = min(times) / args.seconds
            print(f"  {what:30}{found:>12,} lines{share:>8.0%} of a core   <= {most:.0%}")


if __name__ == "__main__":
    main()
