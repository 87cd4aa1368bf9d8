"""The process that looks at who acts."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.unit.recording.test_tasks import row as task
from tracer.capture import looker
from tracer.capture.looker import Looker, Looks
from tracer.capture.memory_files import look
from tracer.capture.processes import start_ns
from tracer.capture.ring import Records
from tracer.capture.stacks.files import Files
from tracer.record import EVENT, HEAD, TASK, RecordType, TaskText
from tracer.recording.tables import tables
from tracer.recording.tasks import Actor, Tasks
from tracer.stacks import elf


@pytest.fixture
def sleeper() -> Iterator[Actor]:
    """A program that sleeps."""
    with subprocess.Popen([sys.executable, "-c", "print(flush=True); input()"],
                          stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:  # fmt: skip
        assert child.stdout is not None
        child.stdout.readline()
        yield Actor(child.pid, start_ns(Path(f"/proc/{child.pid}/stat").read_bytes()), 4)
        child.kill()


def told(actor: Actor) -> Records:
    fd = os.open(f"/proc/{actor.pid}/exe", os.O_RDONLY)
    try:
        found = look(fd)
        link = os.fsencode(os.readlink(f"/proc/{actor.pid}/exe"))
        return task(text=link, actor=actor, dev=found.dev, ino=found.ino)
    finally:
        os.close(fd)


def build_id() -> str:
    with open(sys.executable, "rb") as file:
        return elf.read(file.fileno()).build_id


def known(records: Records) -> Tasks:
    return Tasks.of_tables([tables(records)["tasks"]])


def answers(of: Looker) -> Records:
    until = time.monotonic() + 20
    while time.monotonic() < until:
        if (found := of.take()) is not None:
            return found
        time.sleep(0.01)
    raise AssertionError("it says nothing")


def test_the_build_id_of_a_program_that_was_told(sleeper: Actor) -> None:
    of = Looker.start(whole=False, cmdlines=True)
    try:
        first = told(sleeper)
        of.see(first)
        found = answers(of)
        [row] = found.view(TASK)
        assert (row["what"], row["part"], row["type"]) == (
            TaskText.BUILD_ID, looker.NO_PIECE, RecordType.TASK,
        )  # fmt: skip
        task = known(np.concatenate([first, found])).of(sleeper)
        assert task.build_id == build_id() != ""
        assert task.exe == os.readlink(f"/proc/{sleeper.pid}/exe")
        of.see(first)
        assert of.finish() is not None
    finally:
        of.close()


def test_all_of_who_is_not_told(sleeper: Actor) -> None:
    """As where ftrace is the source."""
    of = Looker.start(whole=True, cmdlines=True)
    try:
        event = np.zeros(2, EVENT)
        event["type"] = RecordType.EVENT
        event["pid"], event["start_ns"], event["exec_id"] = sleeper
        of.see(event.view(HEAD))
        of.see(event.view(HEAD))  # once
        found = answers(of)
        of.see(found)  # as the recorder does with whatever it writes
        task = known(found).of(sleeper)
        assert task.exe == os.readlink(f"/proc/{sleeper.pid}/exe")
        assert task.cmdline.endswith("-c 'print(flush=True); input()'")
        assert (task.parent, task.build_id) == (os.getpid(), build_id())
        assert of.finish() is None
    finally:
        of.close()


@pytest.mark.parametrize(
    "other",
    [
        {"ino": 1},
        {"dev": (77 << 20) + 1},
        {"start_ns": 10_000_000},
        {"pid": 1 << 22},
    ],
)
def test_another_file_or_process_has_none(sleeper: Actor, other: dict[str, int]) -> None:
    row = told(sleeper)
    for name, value in other.items():
        row.view(TASK)[name] = value
    looks = Looks(Files(), cmdlines=True)
    assert looks.at(row.tobytes()) == b""
    assert looks.at(b"?") == b""
    assert looks.at(told(sleeper).tobytes())


def test_it_ends_with_us() -> None:
    of = Looker.start(whole=False, cmdlines=True)
    of.close()
    with pytest.raises(ChildProcessError):
        os.waitpid(of.pid, os.WNOHANG)


def test_one_that_stands_still_holds_up_nobody(sleeper: Actor) -> None:
    of = Looker.start(whole=False, cmdlines=True)
    try:
        os.kill(of.pid, 19)
        first = told(sleeper)
        for _ in range(2000):
            of.see(first)
        assert of.take() is None
        began = time.monotonic()
        assert of.finish() is None
        assert time.monotonic() - began < 5
    finally:
        os.kill(of.pid, 9)
        of.close()
