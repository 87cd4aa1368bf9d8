"""Following a growing recording: every event once, across cuts, until its end or its death."""

import os
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from tests.unit.store_records import SMALL, Records, doomed, mixed, numbered, rows_of
from tracer.store.reader import Recording
from tracer.store.tables import tables
from tracer.store.writer import RecordingWriter


class _Follower(threading.Thread):
    def __init__(self, path: Path) -> None:
        super().__init__(daemon=True)
        self.recording = Recording.open(path)
        self.found: list[int] = []
        self.rows: list[dict[str, object]] = []

    def run(self) -> None:
        for table in self.recording.follow(poll_s=0.001):
            self.found += table["seq"].to_pylist()
            self.rows += table.to_pylist()

    def done(self) -> None:
        self.join(20)
        assert not self.is_alive()
        self.recording.close()


@pytest.mark.slow
@pytest.mark.parametrize("threads", [False, True])
@pytest.mark.parametrize("batch", [1, 7, 33, 100])
def test_every_row_once_across_cuts(tmp_path: Path, batch: int, threads: bool) -> None:
    limits = replace(SMALL, threads=threads, group_rows=64)
    records: Records = mixed(600 if batch > 1 else 150, types=(1, 1, 1, 5, 2))
    writer = RecordingWriter(tmp_path / "r.seal", {}, limits=limits)
    follower = _Follower(tmp_path / "r.seal")
    follower.start()
    for turn, start in enumerate(range(0, len(records), batch)):
        writer.append(records[start : start + batch])
        writer.tick(turn * 0.3)
        time.sleep(0.001)
    writer.close("done")
    follower.done()
    want = rows_of([tables(records)["events"]], "events")
    assert follower.rows == want


def test_what_is_in_the_tail_is_seen_before_any_cut(tmp_path: Path) -> None:
    writer = RecordingWriter(tmp_path / "r.seal", {})
    follower = _Follower(tmp_path / "r.seal")
    follower.start()
    writer.tick(0)
    writer.append(numbered(5))
    writer.tick(1)
    until = time.monotonic() + 60
    while len(follower.found) < 5 and time.monotonic() < until:
        time.sleep(0.01)
    assert follower.found == [0, 1, 2, 3, 4]
    assert not (tmp_path / "r.seal" / "chain.jsonl").read_bytes()
    writer.close("done")
    follower.done()
    assert follower.found == [0, 1, 2, 3, 4]


def test_ends_when_the_writer_dies(tmp_path: Path) -> None:
    path = tmp_path / "r.seal"
    with doomed(path) as kill:
        follower = _Follower(path)
        follower.start()
        time.sleep(0.1)
        assert follower.is_alive()
        assert follower.recording.alive
        kill()
        follower.done()
    assert follower.found == list(range(9))


def test_a_finished_recording_is_given_once(tmp_path: Path) -> None:
    with RecordingWriter(tmp_path / "r.seal", {}, limits=SMALL) as writer:
        writer.append(numbered(100))
    with Recording.open(tmp_path / "r.seal") as recording:
        found = [n for table in recording.follow() for n in table["seq"].to_pylist()]
    assert found == list(range(100))


@pytest.mark.slow
def test_a_recorder_on_another_machine_is_heard_by_its_beat(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tracer.store import alive

    monkeypatch.setattr(alive, "_SILENCE_S", 3.0)
    writer = RecordingWriter(tmp_path / "r.seal", {"boot_id": "of another machine"}, limits=SMALL)
    writer.append(numbered(2))
    os.close(writer._lock)  # as if its lock could not be seen from here
    writer._lock = os.open(tmp_path / "r.seal" / "lock", os.O_RDWR)
    follower = _Follower(tmp_path / "r.seal")
    follower.start()
    for turn in range(8):
        writer.tick(2.0 * turn)
        time.sleep(0.5)
        assert follower.is_alive()
    follower.done()
    assert follower.found == [0, 1]
    writer.close("done")
