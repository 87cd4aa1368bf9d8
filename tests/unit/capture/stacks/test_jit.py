"""Perf maps: what a process says of its own code, and nothing that is not its own file."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tracer.capture.stacks.jit import PerfMaps
from tracer.capture.stacks.maps import Space, started

AT = 0x7F0000001000


@pytest.fixture
def space() -> Iterator[Space]:
    """Of a process that has no map yet."""
    with subprocess.Popen(["sleep", "60"]) as process:
        yield Space(process.pid, started(Path(f"/proc/{process.pid}")))
        process.kill()
    with suppress(FileNotFoundError):
        place(process.pid).unlink()


def place(pid: int) -> Path:
    return Path(f"/tmp/perf-{pid}.map")


def name(space: Space, address: int = AT) -> bytes:
    return PerfMaps().name(space, address)


def test_the_last_that_covers_an_address_counts(space: Space) -> None:
    text = f"{AT:x} 20 old\n{AT + 0x100:x} 8 py::f:/a b.py\n{AT + 8:x} 10 new\n"
    place(space.pid).write_text(text)
    found = {at: name(space, AT + at) for at in (-1, 0, 7, 8, 0x17, 0x18, 0x20, 0x100, 0x108)}
    assert found == {
        -1: b"", 0: b"old", 7: b"old", 8: b"new", 0x17: b"new", 0x18: b"old", 0x20: b"",
        0x100: b"py::f:/a b.py", 0x108: b"",
    }  # fmt: skip


def test_lines_that_are_none(space: Space) -> None:
    wild = b"x\n\n-1 5 a\nffffffffffffffffff 1 b\n" + b"f" * 16 + b" ffffffff c\n\xff\xfe 1\n"
    place(space.pid).write_bytes(wild + f"0x{AT:X} 5 right \xff".encode() + b"\n" + b"1" * 5000)
    assert name(space).startswith(b"right")
    assert name(space, (1 << 64) - 1) == b"c"


def test_another_process_by_the_same_number(space: Space) -> None:
    place(space.pid).write_text(f"{AT:x} 20 f\n")
    assert name(space) == b"f"
    assert name(Space(space.pid, space.start_ns - 10**10)) == b""


@pytest.mark.parametrize("kind", ["link", "fifo", "folder", "large", "none"])
def test_what_is_no_file_of_its_own(space: Space, tmp_path: Path, kind: str) -> None:
    text = f"{AT:x} 20 f\n"
    if kind == "link":
        (tmp_path / "map").write_text(text)
        place(space.pid).symlink_to(tmp_path / "map")
    elif kind == "fifo":
        os.mkfifo(place(space.pid))
    elif kind == "folder":
        place(space.pid).mkdir()
    elif kind == "large":
        with place(space.pid).open("w") as file:
            file.write(text)
            file.truncate(1 << 30)
    try:
        assert name(space) == b""
    finally:
        if kind == "folder":
            place(space.pid).rmdir()


@pytest.mark.skipif(os.geteuid() != 0, reason="another user's file takes root")
def test_a_file_of_another_user(space: Space) -> None:
    place(space.pid).write_text(f"{AT:x} 20 f\n")
    os.chown(place(space.pid), 65534, 65534)
    assert name(space) == b""


def test_its_own_tmp_and_number(tmp_path: Path) -> None:
    """A process of other namespaces: what lies in our /tmp is not its own."""
    script = f"mount -t tmpfs t /tmp; echo '{AT:x} 20 inner' > /tmp/perf-1.map; sleep 60"
    own = ["--map-root-user"] if os.geteuid() else []
    words = ["unshare", *own, "--mount", "--pid", "--fork", "--kill-child", "sh", "-c", script]
    with subprocess.Popen(words) as outer:
        try:
            inner = child(outer.pid)
            path = Path(f"/proc/{inner}/root/tmp/perf-1.map")
            for _ in range(200):
                if path.exists() and path.stat().st_size:
                    break
                subprocess.run(["sleep", "0.02"], check=True)
            assert name(Space(inner, started(Path(f"/proc/{inner}")))) == b"inner"
        finally:
            outer.kill()


def child(pid: int) -> int:
    for _ in range(200):
        found = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        if found:
            return int(found[0])
        subprocess.run(["sleep", "0.02"], check=True)
    raise AssertionError("it has no child")


def test_a_file_system_that_may_not_answer(space: Space, monkeypatch: pytest.MonkeyPatch) -> None:
    place(space.pid).write_text(f"{AT:x} 20 f\n")
    monkeypatch.setattr("tracer.capture.stacks.jit.answers_by_itself", lambda kind: False)
    assert name(space) == b"", "not even that of /, which is another's"
