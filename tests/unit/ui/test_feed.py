"""The reader in its thread, whatever happens to the recording."""

import shutil
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from tests.unit.recording.store_records import SMALL, doomed, mixed, numbered
from tests.unit.ui.still import Still
from tracer.analysis.decisions import summarize
from tracer.live.feed import LiveFeed
from tracer.live.snapshot import Request, State, Window
from tracer.recording.reader import Recording
from tracer.recording.writer import RecordingWriter


def until(feed: LiveFeed, what: Callable[[], bool], seconds: float = 60) -> None:
    """Waits for something that the thread does."""
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, feed.snapshot.now
        time.sleep(0.01)


def test_a_growing_recording_is_followed_to_its_end(tmp_path: Path) -> None:
    records = mixed(500, seed=5, types=(1, 1, 1, 1, 2, 5))
    writer = RecordingWriter(tmp_path / "r.seal", {}, limits=SMALL)
    feed = LiveFeed(tmp_path / "r.seal")
    feed.start()
    seen = 0
    for turn, start in enumerate(range(0, len(records), 50)):
        part = records[start : start + 50]
        writer.append(part)
        writer.tick(turn * 0.3)
        seen += int(np.count_nonzero(part["type"] == 1))
        if turn == 5:
            until(feed, lambda: feed.snapshot.now.state is State.LIVE)
    writer.close("done")
    until(feed, lambda: feed.snapshot.now.state is State.ENDED)
    until(feed, lambda: feed.snapshot.totals.get("processes", 0) > 0)
    shot = feed.snapshot
    assert shot.now.events == seen
    with Recording.open(tmp_path / "r.seal") as recording:
        tables = summarize([recording])
    assert shot.verdicts.counts.tolist() == list(tables.verdicts.values())
    assert shot.totals["objects"] == len(tables.by_object)
    assert shot.totals["fds"] == len(tables.by_fd)
    feed.stop()


def test_the_recorder_is_gone_and_the_data_stay(tmp_path: Path) -> None:
    path = tmp_path / "r.seal"
    with doomed(path) as kill:
        feed = LiveFeed(path)
        feed.start()
        until(feed, lambda: feed.snapshot.now.events == 9)
        until(feed, lambda: feed.snapshot.now.state is State.LIVE)
        kill()
    until(feed, lambda: feed.snapshot.now.state is State.GONE)
    assert feed.snapshot.now.message.startswith("RECORDER GONE")
    assert feed.snapshot.now.events == 9
    feed.ask(Request("events"))
    until(feed, lambda: feed.snapshot.rows.table == "events")
    assert len(feed.snapshot.rows) == 9
    feed.stop()


def test_deleted_under_the_viewer(tmp_path: Path) -> None:
    writer = RecordingWriter(tmp_path / "r.seal", {}, limits=SMALL)
    writer.append(numbered(100))
    writer.tick(0)
    writer.tick(1)
    feed = LiveFeed(tmp_path / "r.seal")
    feed.start()
    until(feed, lambda: feed.snapshot.now.events == 100)
    shutil.rmtree(tmp_path / "r.seal")
    until(feed, lambda: "was deleted" in feed.snapshot.now.message)
    assert feed.snapshot.now.state is State.GONE
    assert feed.snapshot.now.events == 100
    feed.ask(Request("events"))
    until(feed, lambda: len(feed.snapshot.rows) == 100)
    feed.stop()


def test_cut_short_under_the_viewer(tmp_path: Path) -> None:
    path = tmp_path / "r.seal"
    writer = RecordingWriter(path, {}, limits=SMALL)
    for start in range(0, 200, 40):
        writer.append(numbered(40, first=start))
    writer.tick(1)
    feed = LiveFeed(path)
    feed.start()
    until(feed, lambda: feed.snapshot.now.events == 200)
    (path / "chain.jsonl").write_bytes(b"")
    until(feed, lambda: "was cut short" in feed.snapshot.now.message)
    assert feed.snapshot.now.state is State.GONE
    assert feed.snapshot.now.events == 200
    feed.ask(Request("events"))
    until(feed, lambda: len(feed.snapshot.rows) == 200)
    feed.stop()


def test_moved_away_under_the_viewer_and_another_in_its_place(tmp_path: Path) -> None:
    """It goes on with the one that it has opened."""
    path = tmp_path / "r.seal"
    writer = RecordingWriter(path, {}, limits=SMALL)
    writer.append(numbered(100))
    writer.tick(0)
    writer.tick(1)
    feed = LiveFeed(path)
    feed.start()
    until(feed, lambda: feed.snapshot.now.events == 100)
    path.rename(tmp_path / "old.seal")
    until(feed, lambda: "was moved or renamed" in feed.snapshot.now.message)
    with RecordingWriter(path, {}, limits=SMALL) as other:
        other.append(numbered(7))
        other.close("done")
    feed.ask(Request("events"))
    until(feed, lambda: len(feed.snapshot.rows) == 100)
    assert feed.snapshot.now.events == 100
    feed.stop()


def test_a_part_that_cannot_be_read(tmp_path: Path) -> None:
    with RecordingWriter(tmp_path / "r.seal", {}, limits=SMALL) as writer:
        for start in range(0, 200, 40):
            writer.append(numbered(40, first=start))
        writer.close("done")
    parts = sorted((tmp_path / "r.seal" / "events").iterdir())
    assert len(parts) == 5
    parts[2].write_bytes(parts[2].read_bytes()[:100])
    feed = Still(tmp_path / "r.seal")
    feed.answer(Request("events"))
    shot = feed.snapshot
    assert shot.now.events == 200
    assert any(parts[2].name in problem for problem in shot.coverage.problems)
    feed.answer(Request("events", window=Window(first=True)))
    ids = feed.snapshot.rows.ids.tolist()
    assert ids == [*range(80), *range(120, 200)]
