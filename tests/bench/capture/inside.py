"""Runs in the booted kernel: one load under each tracer, one after the other, in one boot.

Prints JSON lines, one a measurement: name, nanoseconds a write (the least disturbed of the rounds), and
the share of the writes that the tracer kept.
"""

import argparse
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
TRACEFS = Path("/sys/kernel/tracing")
WARM_UP = 2000


class Bench:
    def __init__(self, writer: Path, count: int, rounds: int, work: Path) -> None:
        self.writer, self.count, self.rounds, self.work = writer, count, rounds, work

    def load(self, target: str) -> float:
        done = subprocess.run(
            [self.writer, target, str(self.count)], check=True, capture_output=True, text=True
        )
        return float(done.stdout)

    def measure(self, name: str, target: str, kept: Callable[[], float] | None = None) -> None:
        times = [self.load(target) for _ in range(self.rounds)]
        share = kept() if kept else None
        self.tell(name, times, share)

    def tell(self, name: str, times: list[float], share: float | None) -> None:
        row = {"name": name, "ns": min(times), "all_ns": times, "kept": share}
        print(json.dumps(row), flush=True)

    @property
    def writes(self) -> int:
        """What a tracer that stands through all rounds should have seen."""
        return self.rounds * (self.count + WARM_UP)

    def floors(self, tmpfs: str) -> None:
        from empty import Floor

        for method in ("fexit", "kprobe"):
            for both in (False, True):
                floor = Floor(method, both)
                where = "both write hooks" if both else "shmem_write_begin"
                self.measure(f"empty {method}, {where}", "memfd")
                self.measure(f"empty {method}, {where}, tmpfs file", tmpfs)
                floor.detach()

    def ours(self, method: str, target: str, name: str) -> None:
        recording = self.work / f"{method}-{'memfd' if target == 'memfd' else 'tmpfs'}.seal"
        recorder = subprocess.Popen(
            ["sealsnoop", "record", "--method", method, "--no-baseline", "-o", recording],
            stderr=subprocess.PIPE,
            text=True,
        )
        self._wait_for(lambda: (recording / "tail").exists(), recorder)
        time.sleep(2)
        times = [self.load(target) for _ in range(self.rounds)]
        recorder.send_signal(signal.SIGINT)
        said = recorder.communicate()[1]
        if recorder.returncode != 0:
            raise SystemExit(f"sealsnoop record failed: {said}")
        print(said, file=sys.stderr)
        self.tell(name, times, self._kept(recording))

    def _kept(self, recording: Path) -> float:
        import pyarrow.dataset as ds

        if not list((recording / "events").iterdir()):
            return 0.0
        table = ds.dataset(recording / "events").to_table(columns=["op"])
        return table["op"].to_pylist().count("write") / self.writes

    def _wait_for(self, ready: Callable[[], bool], process: subprocess.Popen[str]) -> None:
        until = time.monotonic() + 240
        while not ready():
            if process.poll() is not None:
                raise SystemExit(f"a tracer ended before it began: {process.args}")
            if time.monotonic() > until:
                raise SystemExit(f"a tracer did not begin in 240 s: {process.args}")
            time.sleep(0.2)

    def bpftrace(self, name: str, program: str, printing: bool) -> None:
        output = self.work / "bpftrace.out"
        with output.open("w") as file:
            begin = 'BEGIN { printf("ready\\n"); } '
            tracer = subprocess.Popen(
                ["bpftrace", "-e", begin + program], stdout=file, stderr=subprocess.STDOUT, text=True
            )
            self._wait_for(lambda: "ready" in output.read_text(errors="replace"), tracer)
            time.sleep(2)
            times = [self.load("memfd") for _ in range(self.rounds)]
            time.sleep(1)
            tracer.send_signal(signal.SIGINT)
            tracer.wait()
        text = output.read_text(errors="replace")
        if printing:
            seen = text.count("\nW ")
        else:
            seen = sum(int(line.split(":")[1]) for line in text.splitlines() if "@n" in line)
        self.tell(name, times, seen / self.writes)

    def trace_cmd(self) -> None:
        events = TRACEFS / "kprobe_events"
        probes = "p:bench/wb shmem_write_begin pos=%dx:s64 len=%cx:u32\nr:bench/wr shmem_write_begin ret=$retval:s32\n"
        with events.open("a") as file:
            file.write(probes)
        try:
            data = self.work / "trace.dat"
            recorder = subprocess.Popen(
                ["trace-cmd", "record", "-q", "-e", "bench", "-o", data, "sleep", "600"],
                stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
            )  # fmt: skip
            self._wait_for(lambda: (TRACEFS / "events/bench/wr/enable").read_text()[0] == "1", recorder)
            time.sleep(3)
            times = [self.load("memfd") for _ in range(self.rounds)]
            subprocess.run(["pkill", "-INT", "-x", "sleep"], check=False)
            recorder.wait()
            report = subprocess.run(
                ["trace-cmd", "report", "-i", data, "-F", "bench/wr"],
                capture_output=True, check=True,
            )  # fmt: skip
            self.tell("trace-cmd record, kprobe pair", times, report.stdout.count(b" wr:") / self.writes)
        finally:
            with contextlib.suppress(OSError), events.open("a") as file:
                file.write("-:bench/wb\n-:bench/wr\n")


PRINTING = (
    'printf("W %d %s %lld %d %d\\n", pid, comm, {pos}, {len}, retval);'
)
K_ENTRY = "kprobe:shmem_write_begin { @pos[tid] = arg2; @len[tid] = arg3; } "
K_PRINT = (
    'kretprobe:shmem_write_begin { printf("W %d %s %lld %d %d\\n", pid, comm, @pos[tid], '
    "@len[tid], retval); delete(@pos[tid]); delete(@len[tid]); } "
    "END { clear(@pos); clear(@len); }"
)
F_PRINT = 'kretfunc:shmem_write_begin { printf("W %d %s %lld %d %d\\n", pid, comm, args->pos, args->len, retval); }'


@contextlib.contextmanager
def scratch() -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix="bench", dir="/tmp"))
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def main() -> None:
    options = argparse.ArgumentParser()
    options.add_argument("--count", type=int, default=100_000)
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--only", choices=("ours", "all"), default="all")
    args = options.parse_args()
    print(json.dumps({"kernel": os.uname().release, "cpus": os.cpu_count()}), flush=True)
    with scratch() as work:
        writer = work / "writer"
        subprocess.run(["gcc", "-O2", "-o", writer, HERE / "writer.c"], check=True)
        tmpfs = str(work / "ordinary")
        bench = Bench(writer, args.count, args.rounds, work)
        bench.measure("untraced", "memfd")
        bench.measure("untraced, tmpfs file", tmpfs)
        bench.floors(tmpfs)
        for method in ("fexit", "kprobe"):
            bench.ours(method, "memfd", f"sealsnoop {method}")
            bench.ours(method, tmpfs, f"sealsnoop {method}, tmpfs file")
        if args.only == "all":
            bench.bpftrace("bpftrace kprobe pair, counting",
                "kprobe:shmem_write_begin { @e = count(); } kretprobe:shmem_write_begin { @n = count(); }", False)  # fmt: skip
            bench.bpftrace("bpftrace kprobe pair, printing", K_ENTRY + K_PRINT, True)
            bench.bpftrace("bpftrace fexit, printing", F_PRINT, True)
            bench.trace_cmd()
        bench.measure("untraced, again", "memfd")


if __name__ == "__main__":
    main()
