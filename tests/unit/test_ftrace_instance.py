"""Whose corner of tracefs is whose: told by locks, which the kernel takes from the dead."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tracer.capture.ftrace.tracefs import events_of, find_tracefs, leftovers, put

HOLDER = """
import fcntl, os, sys
fd = os.open(sys.argv[1], os.O_RDONLY)
fcntl.flock(fd, fcntl.LOCK_EX)
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def tracefs(tmp_path: Path) -> Path:
    (tmp_path / "instances").mkdir()
    (tmp_path / "kprobe_events").touch()
    return tmp_path


def test_only_the_instances_of_the_dead_are_left_over(tracefs: Path) -> None:
    for name in ("sealsnoop-7-0", "sealsnoop-8-0", "sealsnoop-x", "foo", "sealsnoop-7-0-old"):
        (tracefs / "instances" / name).mkdir()
    command = [sys.executable, "-c", HOLDER, str(tracefs / "instances" / "sealsnoop-8-0")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout
        holder.stdout.readline()
        assert leftovers(tracefs) == ["7-0"]
        holder.send_signal(signal.SIGKILL)
        holder.wait()
    assert leftovers(tracefs) == ["7-0", "8-0"]


def test_groups_without_an_instance_are_left_over(tracefs: Path) -> None:
    (tracefs / "instances" / "sealsnoop-8-0").mkdir()
    lock = os.open(tracefs / "instances" / "sealsnoop-8-0", os.O_RDONLY)
    import fcntl

    fcntl.flock(lock, fcntl.LOCK_EX)
    (tracefs / "kprobe_events").write_text(
        "p:sealsnoop_8_0/mmap_8_0 vm_mmap_pgoff file=%di:x64\n"
        "r1024:sealsnoop_9_1/mmap_ret_9_1 vm_mmap_pgoff ret=$retval:s64\n"
        "p:sealsnoop_foreign/exit do_exit\n"
        "p:kprobes/sealsnoop_5_0 do_exit\n"
    )
    try:
        assert leftovers(tracefs) == ["9-1"]
    finally:
        os.close(lock)


def test_events_of_a_group(tracefs: Path) -> None:
    (tracefs / "kprobe_events").write_text(
        "p:a_1/one f x=%di\nr12:a_1/two f\np:a_12/three f\nr:b/four a_1/f\n"
    )
    assert events_of(tracefs, "a_1") == ["one", "two"]
    assert events_of(tracefs, "a") == []


def test_control_files_are_never_cut(tracefs: Path) -> None:
    """Opening kprobe_events for writing from its start would remove everybody's probes."""
    path = tracefs / "kprobe_events"
    path.write_text("p:others/x f\n")
    put(path, "p:ours/y f\n")
    assert path.read_text() == "p:others/x f\np:ours/y f\n"


def test_where_tracefs_is(tmp_path: Path) -> None:
    assert find_tracefs(tmp_path) is None
    (tmp_path / "sys/kernel/debug/tracing/instances").mkdir(parents=True)
    assert find_tracefs(tmp_path) == tmp_path / "sys/kernel/debug/tracing"
    (tmp_path / "sys/kernel/tracing/instances").mkdir(parents=True)
    assert find_tracefs(tmp_path) == tmp_path / "sys/kernel/tracing"
