"""We and our peers, each around the same load: what a write costs, and how many were kept."""

import contextlib
import mmap
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

from tests.bench.capture.load import MEMFD, Load, tell, wait_for

HOOK = "shmem_write_begin"
FORMAT = r'"W %d %s %lld %d %d\n", pid, comm'
COUNT = f"kprobe:{HOOK} {{ @e = count(); }} kretprobe:{HOOK} {{ @n = count(); }}"
PRINT_KPROBE = (
    f"kprobe:{HOOK} {{ @pos[tid] = arg2; @len[tid] = arg3; }} "
    f"kretprobe:{HOOK} {{ printf({FORMAT}, @pos[tid], @len[tid], retval); "
    "delete(@pos[tid]); delete(@len[tid]); } END { clear(@pos); clear(@len); }"
)
PRINT_FEXIT = f"kretfunc:{HOOK} {{ printf({FORMAT}, args->pos, args->len, retval); }}"
OUR_BUFFER = (32 << 20) // mmap.PAGESIZE
"""Pages of our own default ring: of what is lost in a small buffer the rest is never paid for."""


@contextlib.contextmanager
def recorded(recording: Path, method: str, held: bool, *options: str) -> Iterator[None]:
    """Records meanwhile.

    ``held``: the recorder sleeps, so that only what its programs cost is measured.
    """
    words = ["--method", method, "--no-baseline", "-o", str(recording), *options]
    recorder = subprocess.Popen(["sealsnoop", "record", *words], stderr=subprocess.PIPE, text=True)
    wait_for(lambda: _sends(recording), recorder)
    if held:
        recorder.send_signal(signal.SIGSTOP)
    yield
    recorder.send_signal(signal.SIGCONT)
    recorder.send_signal(signal.SIGTERM)
    said = recorder.communicate()[1]
    if recorder.returncode not in (0, 128 + signal.SIGTERM):  # that of a command that we ended
        raise SystemExit(f"sealsnoop record failed: {said}")


def sealsnoop(
    load: Load, work: Path, method: str, target: str, name: str, held: bool, *options: str
) -> None:
    """As `recorded`, around the load."""
    recording = work / f"{len(list(work.iterdir()))}.seal"
    with recorded(recording, method, held, *options):
        times = load.run(target)
    tell(name, times, _recorded_writes(recording) / load.writes)


def _sends(recording: Path) -> bool:
    """Its hooks are switched on: the tail has its first records, or they are in a part already."""
    with contextlib.suppress(FileNotFoundError):  # not there yet, or cut just now
        if any(place.stat().st_size for place in (recording / "tail").glob("*")):
            return True
        # Its first line is there before the hooks send.
        return (recording / "chain.jsonl").read_bytes().count(b"\n") > 1
    return False


def _recorded_writes(recording: Path) -> int:
    import pyarrow.compute as pc
    import pyarrow.dataset as ds

    if not list((recording / "events").iterdir()):
        return 0
    ops = ds.dataset(recording / "events").to_table(columns=["op"])["op"]
    return int(pc.sum(pc.equal(ops.cast("string"), "write")).as_py() or 0)


def bpftrace(
    load: Load, work: Path, name: str, program: str, printing: bool, pages: int | None
) -> None:
    """``pages``: of its perf buffer on each CPU, None: as many as it takes by itself."""
    output = work / "bpftrace.out"
    with output.open("w") as file:
        command = ["bpftrace", "-e", f'BEGIN {{ printf("ready\\n"); }} {program}']
        more = {} if pages is None else {"BPFTRACE_PERF_RB_PAGES": str(pages)}
        tracer = subprocess.Popen(
            command, stdout=file, stderr=subprocess.STDOUT, env=os.environ | more
        )
        wait_for(lambda: "ready" in output.read_text(errors="replace"), tracer)
        times = load.run(MEMFD)
        tracer.send_signal(signal.SIGINT)
        tracer.wait()
    text = output.read_text(errors="replace")
    counted = sum(int(line.split(":")[1]) for line in text.splitlines() if line.startswith("@n:"))
    tell(name, times, (text.count("\nW ") if printing else counted) / load.writes)
