"""Whether a recorder that writes on another machine lives: one answer, wherever it is asked."""

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.recording.store_records import SMALL, killed, numbered
from tracer.audit.doubts import of_recording
from tracer.output.coverage import coverage
from tracer.output.text import narration
from tracer.recording import reader as alive
from tracer.recording.folder import Folder
from tracer.recording.follow import Follower
from tracer.recording.reader import ALIVE, KILLED, Recorder, Recording, boot_id
from tracer.recording.verify import verify
from tracer.recording.writer import RecordingWriter

ELSEWHERE = {"boot_id": "of another machine"}


@pytest.fixture
def recording(tmp_path: Path) -> Iterator[Path]:
    """What a virtual machine writes to a shared folder: its lock is not seen from here."""
    path = tmp_path / "r.seal"
    writer = RecordingWriter(path, ELSEWHERE, limits=SMALL)
    writer.append(numbered(5))
    writer.tick(1.0)
    os.close(writer._lock)
    writer._lock = os.open(path / "lock", os.O_RDWR)
    yield path
    writer.close("done")


def silent(path: Path, seconds: float) -> None:
    """As if the last sign were so old."""
    then = time.time() - seconds
    os.utime(path / "lock", (then, then))


def answers(path: Path) -> set[bool]:
    """What script, report, verify and audit say."""
    with Recording.open(path) as one:
        told = narration(one)
        assert (ALIVE in told) != (KILLED in told)
        checked = verify(path)
        state = coverage(one, host="", boot_id="", last_ns=None).state
        doubts = " ".join(doubt.text for doubt in of_recording(one)[0])
        return {
            ALIVE in told,
            one.alive,
            {"alive": True, "killed": False}[state],
            checked.alive,
            KILLED not in checked.incomplete,
            "still being written" in doubts,
            "was killed" not in doubts,
        }


def test_while_it_gives_signs(recording: Path) -> None:
    silent(recording, 1)
    assert answers(recording) == {True}


def test_when_it_has_been_silent(recording: Path) -> None:
    silent(recording, alive._SILENCE_S + alive._CLOCKS_S + 1)
    assert answers(recording) == {False}


def test_on_this_machine_its_lock_alone_counts(tmp_path: Path) -> None:
    path = tmp_path / "r.seal"
    with RecordingWriter(path, {"boot_id": boot_id()}, limits=SMALL) as writer:
        writer.append(numbered(5))
        writer.tick(1.0)
        silent(path, 1e6)
        assert answers(path) == {True}
    killed(path)
    silent(path, 0)
    assert answers(path) == {False}


def test_who_watches_waits_for_a_sign(recording: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The clocks of two machines may differ; and silence is noticed without any clock."""
    now_s = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now_s)
    silent(recording, 1e6)
    with Folder.open(recording) as folder:
        watching = Recorder(folder, ELSEWHERE["boot_id"], watches=True)
        assert watching.alive()
        now_s += alive._SILENCE_S - 1
        assert watching.alive()
        silent(recording, 1e6 - 1)
        assert watching.alive()
        now_s += alive._SILENCE_S - 1
        assert watching.alive()
        now_s += 2
        assert not watching.alive()


def test_following_watches(recording: Path) -> None:
    silent(recording, 1e6)
    with Recording.open(recording) as one:
        follower = Follower(one, ("events",))
        assert sum(table.num_rows for _, table in follower.step()) == 5
        assert not follower.over
        follower.close()
