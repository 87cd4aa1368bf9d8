"""What a thread gives away is gone; in processes of their own, since nothing brings it back."""

import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tracer.kernel import privileges
from tracer.kernel.privileges import Cap
from tracer.recording.writer import Worker

ROOT = Path(__file__).parents[3]
PROGRAM = """
import os, re, threading
from pathlib import Path
from tracer.kernel import privileges
from tracer.kernel.privileges import Cap

def now(task="thread-self"):
    status = Path(f"/proc/{task}/status").read_text()
    return [int(re.search(rf"^{key}:\\s*(\\w+)", status, re.M)[1], 16)
            for key in ("CapPrm", "CapEff", "CapInh", "CapBnd", "CapAmb", "NoNewPrivs")]

before = now()
wanted = {Cap.BPF, Cap.KILL, Cap.SETPCAP}
over = threading.Event()
early = threading.Thread(target=over.wait, daemon=True)
early.start()
privileges.keep(wanted, {Cap.BPF})
assert privileges.held() == now()[0]
bits = sum(1 << cap for cap in wanted)
root = before[1] >> Cap.SETPCAP & 1
assert now() == [before[0] & bits, before[0] & bits, 0,
                 before[3] & 1 << Cap.BPF if root else before[3], 0, 1], (before, now())
more = privileges.more_than(wanted)
assert len(more) == bool(before[0] & ~bits), more
over.set()
early.join()
assert privileges.more_than(wanted) == []
late = []
thread = threading.Thread(target=lambda: late.extend(now()))
thread.start()
thread.join()
assert late == now()
privileges.keep(())
assert now()[:2] == [0, 0]
"""
PLACES = """
import os
from tracer.cli.verb import import_without_threads
before = dict(os.environ)
import_without_threads()
import tracer.recording.writer, pandas
print(len(os.listdir("/proc/self/task")), dict(os.environ) == before)
"""


def run(program: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_what_is_not_wanted_is_gone() -> None:
    run(PROGRAM)


def test_nothing_that_a_recorder_imports_starts_a_thread() -> None:
    """It would keep all privileges: nobody can take them from another thread."""
    assert run(PLACES).split() == ["1", "True"]


def test_numbers() -> None:
    """As the kernel's own header has them."""
    header = Path("/usr/include/linux/capability.h").read_text()
    found = dict(re.findall(r"#define\s+CAP_(\w+)\s+(\d+)", header))
    assert {cap.name: int(found[cap.name]) for cap in Cap} == {cap.name: cap for cap in Cap}


@pytest.mark.parametrize(("paranoid", "kprobes", "takes"), [
    ("2", True, False), ("3", True, True), ("2", False, True), ("", True, False),
])  # fmt: skip
def test_what_a_late_hook_takes(tmp_path: Path, paranoid: str, kprobes: bool, takes: bool) -> None:
    """Above 2 Debian's kernels want CAP_SYS_ADMIN for every perf event, and so for a kprobe."""
    (tmp_path / "proc/sys/kernel").mkdir(parents=True)
    (tmp_path / "proc/sys/kernel/perf_event_paranoid").write_text(f"{paranoid}\n")
    assert privileges.late_takes_admin(kprobes, tmp_path) is takes


def test_a_worker_has_no_privileges_as_soon_as_it_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who looks then must not find it, however slow the machine."""
    given_away = []

    def keep(wanted: tuple[Cap, ...]) -> None:
        time.sleep(0.1)
        given_away.append(wanted)

    monkeypatch.setattr(privileges, "keep", keep)
    worker = Worker("disk", inline=False)
    assert given_away == [()]
    worker.stop()
