"""Following a growing recording: every event once, across cuts, until its end or its death."""

import os
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from tests.unit.recording.store_records import (
    SMALL,
    Records,
    doomed,
    killed,
    mixed,
    numbered,
    rows_of,
    seqs,
    write,
)
from tracer.recording.chain import Chain, ChainWriter
from tracer.recording.folder import Folder
from tracer.recording.follow import Follower
from tracer.recording.reader import Recorder, Recording, boot_id
from tracer.recording.tables import tables
from tracer.recording.tail import TailWriter
from tracer.recording.writer import RecordingWriter, Segment


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
    assert (tmp_path / "r.seal" / "chain.jsonl").read_bytes().count(b"\n") == 1
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


def test_its_end_is_the_end_of_following(tmp_path: Path) -> None:
    """At once, though its recorder, on another machine, may be alive for all that is seen here."""
    with RecordingWriter(tmp_path / "r.seal", {"boot_id": "another"}, limits=SMALL) as writer:
        writer.append(numbered(100))
    with Recording.open(tmp_path / "r.seal") as recording:
        follower = Follower(recording, ("events",))
        found = [n for _, table in follower.step() for n in table["seq"].to_pylist()]
        assert found == list(range(100))
        assert follower.ended
        assert follower.over
        follower.close()


def test_what_came_while_it_looked_is_given_before_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = RecordingWriter(tmp_path / "r.seal", {}, limits=SMALL)
    writer.append(numbered(50))  # a segment, and ten that are in no file
    look = Chain.update

    def too_early(chain: Chain, folder: Folder) -> bool:
        found = look(chain, folder)
        writer.close("done")
        return found

    with Recording.open(tmp_path / "r.seal") as recording:
        monkeypatch.setattr(Chain, "update", too_early)
        found = [n for table in recording.follow(poll_s=0) for n in table["seq"].to_pylist()]
    assert found == list(range(50))


@pytest.mark.parametrize(
    ("left", "found"),
    [("0", "0"), ("1", ""), ("2", ""), ("0+", "0"), ("0 1", "0"), ("0+1", "01"), ("0+2", "0"),
     ("1+2", ""), ("0+1+2", "012"), ("0+1 2", "01")],
)  # fmt: skip
def test_the_tails_that_a_dead_recorder_left_are_given_as_far_as_none_is_missing(
    tmp_path: Path, left: str, found: str
) -> None:
    """``+``: the tail says that it has all of its segment. Behind a hole nothing is taken."""
    path = killed(write(tmp_path / "r.seal", numbered(0)))
    for place, number in enumerate(left):
        if number.isdigit():
            with Folder.open(path / "tail") as where:
                tail = TailWriter(where, int(number))
                tail.append(numbered(2, first=2 * int(number)))
                if left[place + 1 : place + 2] == "+":
                    tail.complete()
                tail.close()
    with Recording.open(path) as recording:
        followed = [n for table in recording.follow() for n in table["seq"].to_pylist()]
        assert followed == seqs(recording) == list(range(2 * len(found)))
        said = [text for text in recording.problems if "left out" in text]
    assert len(said) == (len(left.replace("+", "").replace(" ", "")) > len(found))


def test_no_tail_begins_behind_a_segment_that_is_nowhere_yet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a recorder that is killed now leaves a hole, and all behind it counts for nothing."""
    commit, arrived = Segment.commit, threading.Event()

    def slow(segment: Segment, chain: ChainWriter) -> int:
        arrived.wait()
        return commit(segment, chain)

    monkeypatch.setattr(Segment, "commit", slow)
    path = tmp_path / "r.seal"
    writer = RecordingWriter(path, {}, limits=replace(SMALL, threads=True))
    writer.append(numbered(45))  # a segment on its way to a slow disk, and a part of the next
    writer.tick(0)
    assert os.listdir(path / "tail") == []
    arrived.set()
    writer._finisher.wait()
    writer.tick(0.01)
    assert os.listdir(path / "tail") == ["000001.records"]
    writer.close("done")
    with Recording.open(path) as recording:
        assert seqs(recording) == list(range(45))


@pytest.mark.parametrize("here", [True, False])
def test_a_recorder_without_a_lock_is_dead_here_and_perhaps_alive_elsewhere(
    tmp_path: Path, here: bool
) -> None:
    """Whoever waits for a sign of a process on this machine waits for nothing."""
    path = tmp_path / "r.seal"
    with RecordingWriter(path, {}), Folder.open(path) as where:
        boots = [None, boot_id()] if here else ["of another machine"]
        recorders = [Recorder(where, boot) for boot in boots]
        assert all(one.alive() for one in recorders)
    with Folder.open(path) as where:
        recorders = [Recorder(where, boot) for boot in boots]
        assert [one.alive() for one in recorders] == [not here] * len(boots)


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
    from tracer.recording import reader as alive

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
