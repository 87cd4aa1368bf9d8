"""Whose corner of tracefs is whose: told by locks, which the kernel takes from the dead."""

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tracer.capture.ftrace.tracefs import Instance, events_of, find_tracefs, leftovers, put

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


class Kernel(Instance):
    """Skips probes as a test says; nothing of it is in tracefs."""

    def __init__(self, profile: Path, faults: int) -> None:
        self.tracefs, self.folder = profile.parent, profile.parent
        self.group, self.suffix = "sealsnoop_7_0", "_7_0"
        self._misses, self._uncounted = {}, set()
        self._profile, self._faults = profile, faults
        self.said: list[str] = []

    def define(self, definition: str) -> None:
        self.said.append(definition)

    def enable(self, group: str, event: str, condition: str = "") -> None:
        self.said.append(condition)

    def run(self) -> None:
        self.said.append("on")

    def pause(self) -> None:
        self.said.append("off")

    def drop(self, event: str) -> None:
        self.said.append(f"drop {event}")

    def call(self) -> None:
        assert self.said[-1] == "on"
        others = "mmap_3_0 5 7\n"  # another recorder's
        self._profile.write_text(f"{others}fault_7_0 1 {self._faults}\n")


@pytest.mark.parametrize("faults", [0, 1])
def test_whether_faults_count_as_misses_is_tried(tmp_path: Path, faults: int) -> None:
    kernel = Kernel(tmp_path / "kprobe_profile", faults)
    assert kernel.counts_faults(lambda name: f"p:{name}", kernel.call) == bool(faults)
    assert kernel.said == ["p:fault_7_0", "common_pid == 0", "on", "off", "drop fault_7_0"]


def test_what_others_stand_for_is_not_counted(tmp_path: Path) -> None:
    kernel = Kernel(tmp_path / "kprobe_profile", 0)
    kernel.leave_uncounted("mmap_7_0")
    profile = "mmap_7_0 9 18\nmmap_seen_7_0 9 1\nwrite_7_0 3 2\nmmap_17_0 9 9\n"
    (tmp_path / "kprobe_profile").write_text(profile)
    assert kernel.misses() == {"mmap_seen_7_0": 1, "write_7_0": 2}


@pytest.mark.parametrize("number", [errno.EAGAIN, errno.ENODEV])
def test_a_cpu_with_nothing_and_one_that_is_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """tracefs has a file for each possible CPU; only those that run can be read."""

    def read(fd: int, size: int) -> bytes:
        raise OSError(number, os.strerror(number))

    kernel = Kernel(tmp_path / "kprobe_profile", 0)
    kernel._pipes = {3: 0}
    monkeypatch.setattr(os, "read", read)
    assert kernel.read(3, 4096) == b""


def test_what_else_fails_is_not_hidden(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = Kernel(tmp_path / "kprobe_profile", 0)
    kernel._pipes = {3: -1}
    with pytest.raises(OSError, match="Bad file"):
        kernel.read(3, 4096)
