"""Who has memory files when a trace starts, by /proc."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tracer.capture import tasks
from tracer.capture.processes import who
from tracer.recording.tables import tables
from tracer.recording.tasks import CUT, Actor, Task, Tasks

PROC = Path("/proc")


def told(pid: int, *, cmdlines: bool = True, start_ns: int | None = None) -> tuple[Task, int]:
    start = who(PROC, pid).start_ns if start_ns is None else start_ns
    records = tasks.task_records([(pid, start, 0)], cmdlines=cmdlines)
    found = Tasks.of_tables(tables(records).values())
    return found.of(Actor(pid, start, 0)), len(records)


@pytest.fixture
def sleeper() -> Iterator["subprocess.Popen[bytes]"]:
    child = subprocess.Popen([sys.executable, "-c", "input()", "a b", "x" * 3000], stdin=-1)
    exe, until_s = os.path.realpath(sys.executable), time.monotonic() + 10
    # Popen returns before the kernel has mapped the program.
    while exe not in Path(f"/proc/{child.pid}/maps").read_text() and time.monotonic() < until_s:
        time.sleep(0.01)
    yield child
    child.kill()
    child.wait()


def test_a_process_that_is_there(sleeper: "subprocess.Popen[bytes]") -> None:
    found, rows = told(sleeper.pid)
    exe = os.path.realpath(sys.executable)
    assert found.exe == exe
    assert found.ino == os.stat(exe).st_ino
    assert (found.parent, found.ns_pid) == (os.getpid(), sleeper.pid)
    assert found.parent_start_ns == who(PROC, os.getpid()).start_ns
    assert found.cmdline.startswith(f"{sys.executable} -c 'input()' 'a b' xxx")
    assert found.cmdline.endswith(CUT)
    assert rows > 10


def test_without_command_lines(sleeper: "subprocess.Popen[bytes]") -> None:
    found, rows = told(sleeper.pid, cmdlines=False)
    assert found.exe
    assert (found.cmdline, rows) == ("", 1)


def test_another_process_of_its_number_is_not_told(sleeper: "subprocess.Popen[bytes]") -> None:
    assert told(sleeper.pid, start_ns=10_000_000)[1] == 0
    assert told((1 << 22) - 1, start_ns=10_000_000)[1] == 0


def test_a_command_line_that_never_comes_is_left(
    sleeper: "subprocess.Popen[bytes]", monkeypatch: pytest.MonkeyPatch
) -> None:
    read, wait = tasks._read, os.pipe()

    def stuck(fd: int, name: str, most: int = 1 << 20) -> bytes:
        return os.read(wait[0], 1) if name == "cmdline" else read(fd, name, most)

    monkeypatch.setattr(tasks, "_read", stuck)
    monkeypatch.setattr(tasks, "_PATIENCE_S", 0.05)
    try:
        found, _ = told(sleeper.pid)
        assert found.exe
        assert found.cmdline == ""
    finally:
        os.write(wait[1], b"x")
        for fd in wait:
            os.close(fd)
