"""A recorder without a kernel: ``python -m tests.tty.writer -o S [options] [-- CMD]``.

Writes what the real store writer writes, event by event as time goes on, until SIGINT (then it ends
the recording in order), the end of CMD or ``--events``. Its options are few of ``record``'s.
"""

import argparse
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from tests.bench.analysis import synthetic
from tracer.record import HEAD, RECORD_SIZE
from tracer.recording.writer import RecordingWriter
from tracer.steps import StartStep, Steps

_TICK_S = 0.05


def manifest() -> dict[str, object]:
    boot_id = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return {
        "host": "writer",
        "boot_id": boot_id,
        "kernel": {"release": "none"},
        "command": [],
        "hooks": [],
        "self_test": {"ran": True, "variants": synthetic.VARIANTS},
    }


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("-o", required=True)
    parser.add_argument("--quiet", action="store_true")
    parser.add_argument("--steps", help="where its steps are told")
    parser.add_argument("--objects", type=int, default=40)
    parser.add_argument("--rate", type=int, default=2000, help="events a second")
    parser.add_argument("--events", type=int, help="end after so many")
    parser.add_argument("--fail", help="say this and end with 1 before there is a recording")
    parser.add_argument("--stacks", help="taken by the real one alone")
    parser.add_argument("command", nargs="*")
    args = parser.parse_args()
    if args.fail:
        print(f"sealsnoop: {args.fail}", file=sys.stderr)
        return 1
    steps = Steps(args.steps)
    for number in range(3):
        steps(StartStep("attaching hooks", number, 3))
    interrupted: list[int] = []

    def on_signal(number: int, frame: object) -> None:
        if number != signal.SIGHUP or number not in interrupted:
            interrupted.append(number)

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, on_signal)
    rng = np.random.default_rng(1)
    seals = rng.choice(np.array(synthetic.SEALS, np.uint32), args.objects)
    with RecordingWriter(args.o, manifest()) as writer:
        steps.close()
        writer.append(synthetic.announcements(seals))
        command = subprocess.Popen(args.command) if args.command else None
        done, began = 0, time.monotonic()
        reason = ""
        while not reason:
            now_s = time.monotonic()
            count = min(int((now_s - began) * args.rate), args.events or 1 << 62) - done
            if count > 0:
                rows = synthetic.events(rng, done, count, seals)
                # Numbers of their own clock would be in the future or the past.
                late = np.arange(count)[::-1] * (10**9 // args.rate)
                rows["time_ns"] = time.clock_gettime_ns(time.CLOCK_BOOTTIME) - late
                writer.append(rows.view(f"V{RECORD_SIZE}").view(HEAD))
                done += count
            writer.tick(now_s)
            # As record has it: with a command the first SIGINT is the command's alone.
            patient = command is not None and signal.SIGTERM not in interrupted
            if len(interrupted) > (1 if patient else 0):
                reason = f"interrupted by {signal.Signals(interrupted[-1]).name}"
            elif command is not None and command.poll() is not None:
                reason = f"command exited with {command.returncode}"
            elif args.events is not None and done >= args.events:
                reason = "enough"
            time.sleep(_TICK_S)
        writer.close(reason)
    if command is not None and command.poll() is None:
        command.terminate()
        command.wait()
    if not args.quiet:
        print(f"sealsnoop: {done:,} events, 0 lost: {args.o}", file=sys.stderr)
    return command.returncode if command is not None else 0


if __name__ == "__main__":
    if os.environ.get("SEALSNOOP_WRITER_PIDFILE"):
        Path(os.environ["SEALSNOOP_WRITER_PIDFILE"]).write_text(str(os.getpid()))
    sys.exit(main())
