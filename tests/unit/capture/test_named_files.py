"""``--file``: what a path, another one's descriptor or numbers lead to, and what they do not."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tracer.capture.memory_files import generation, look
from tracer.capture.named_files import held
from tracer.errors import UserError


@pytest.fixture
def memfd() -> Iterator[int]:
    fd = os.memfd_create("named", os.MFD_ALLOW_SEALING)
    yield fd
    os.close(fd)


def numbers(fd: int) -> tuple[int, int, int]:
    found = look(fd)
    return found.dev, found.ino, generation(fd)


def test_by_the_path_of_a_descriptor(memfd: int) -> None:
    with held([f"/proc/{os.getpid()}/fd/{memfd}"]) as [one]:
        assert (one.dev, one.ino, one.gen) == numbers(memfd)
        assert one.sealable
        assert os.get_inheritable(one.fd) is False
        assert one.key == f"{one.dev >> 20}:{one.dev & 0xFFFFF}/{one.ino}/{one.gen}"
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(one.fd)


def test_it_is_held_when_its_owner_lets_it_go() -> None:
    fd = os.memfd_create("short", os.MFD_ALLOW_SEALING)
    with held([f"/proc/{os.getpid()}/fd/{fd}"]) as [one]:
        before = numbers(fd)
        os.close(fd)
        assert numbers(one.fd) == before, "no other file can get its number now"


def test_what_nobody_can_seal_is_told() -> None:
    fd = os.memfd_create("never")
    with held([f"/proc/{os.getpid()}/fd/{fd}"]) as [one]:
        assert not one.sealable
    os.close(fd)


def test_by_numbers_as_they_are_shown(memfd: int) -> None:
    dev, ino, gen = numbers(memfd)
    shown = f"{dev >> 20}:{dev & 0xFFFFF}/{ino}"
    for text in (shown, f"memfd:{shown}", f"{shown}/{gen}", f"{dev}:{ino}", f"{dev}:{ino}:{gen}"):
        with held([text]) as [one]:
            assert (one.dev, one.ino, one.gen) == (dev, ino, gen)


def test_numbers_of_another_generation_are_another_file(memfd: int) -> None:
    dev, ino, gen = numbers(memfd)
    with (
        pytest.raises(UserError, match="nobody has a memory file"),
        held([f"{dev}:{ino}:{gen + 1}"]),
    ):
        pass


def test_several_and_none(memfd: int) -> None:
    path = f"/proc/self/fd/{memfd}"
    with held([path, path]) as found:
        assert len({one.fd for one in found}) == 2
    with held([]) as found:
        assert found == []


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("/etc/passwd", "/etc/passwd is no memory file"),
        ("/nothing\x1b[31m", r"there is no /nothing\\x1b"),
        ("/dev/null", "/dev/null is no memory file"),
        ("/proc/self/fd/9999", "there is no /proc/self/fd/9999"),
        ("a\0b", "--file: "),
        ("0:1/999999999999", "nobody has a memory file 0:1/999999999999 open or mapped"),
    ],
)
def test_what_leads_nowhere(text: str, why: str) -> None:
    with pytest.raises(UserError, match=why), held([text]):
        pass


def test_a_folder_on_tmpfs_is_no_file() -> None:
    if not os.path.ismount("/dev/shm"):
        pytest.fail("no /dev/shm here")
    with pytest.raises(UserError, match="is no file that could be mapped"), held(["/dev/shm"]):
        pass


def test_a_pipe_is_neither_opened_nor_waited_for(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    code = f"from tracer.capture.named_files import held\nwith held([{str(fifo)!r}]): pass"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=False,
        cwd=Path(__file__).resolve().parents[3],
    )  # fmt: skip
    assert "no memory file" in done.stderr or "is no file that could be mapped" in done.stderr
