"""Replay: the same sums as reading, at any pace and from any place."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.unit.recording.store_records import SMALL, numbered
from tests.unit.ui.still import DEBIAN_6_1, StillReplay, still
from tracer.errors import UserError
from tracer.live.replay import MAX, SPEEDS, ReplayFeed, place_of
from tracer.live.snapshot import Snapshot, State
from tracer.recording.writer import RecordingWriter


def whole() -> Snapshot:
    """What reading the recording gives."""
    still().start()
    return still().snapshot


def test_places() -> None:
    assert place_of("12.5", 100) == 12.5
    assert place_of("1:30", 100) == 90
    assert place_of(" 40% ", 50) == 20
    assert place_of("400", 100) == 100
    assert place_of("120%", 100) == 100
    for wrong in ("", "x", "1:2:3", "1:30%", "-5", "1e3", "١٢"):
        with pytest.raises(UserError, match="is no place"):
            place_of(wrong, 100)
    with pytest.raises(UserError):
        ReplayFeed(DEBIAN_6_1, start="soon")


def test_played_to_the_end_it_is_what_reading_gives() -> None:
    feed = StillReplay(DEBIAN_6_1, speed=MAX)
    feed.start()
    shot = feed.snapshot
    assert shot.now.state is State.HELD
    assert shot.now.share == 1
    assert shot.verdicts.counts.tolist() == whole().verdicts.counts.tolist()
    assert shot.rows.record(0) == whole().rows.record(0)
    assert shot.totals == whole().totals
    assert len(shot.alerts) == len(whole().alerts)


def test_time_passes_at_the_speed_that_is_set() -> None:
    feed = StillReplay(DEBIAN_6_1)
    feed.start()
    seen = [feed.snapshot.now.events]
    for _ in range(6):
        feed.pass_time(0.3)
        shot = feed.snapshot
        seen.append(shot.now.events)
        times = feed.book.log.take(np.arange(shot.now.events))
        assert shot.now.now_ns is not None
        assert times is None or times["time_ns"].max() <= shot.now.now_ns
    assert seen == sorted(seen)
    assert seen[-1] == whole().now.events
    states = []
    for _ in range(2):
        feed.toggle()
        feed.settle()
        states.append(feed.snapshot.now.state)
    assert states == [State.HELD, State.PLAYING]


def test_back_and_forth_gives_the_same_moment() -> None:
    raised: list[Any] = []
    feed = StillReplay(DEBIAN_6_1, playing=False, on_alert=raised.extend)
    feed.start()

    def at(where: str) -> tuple[int, list[int], list[Any]]:
        feed.seek(where)
        feed.settle()
        shot = feed.snapshot
        first = shot.rows.record(int(shot.rows.order[0])) if len(shot.rows) else {}
        return shot.now.events, shot.verdicts.counts.tolist(), [first.get("name"), len(shot.rows)]

    once = {where: at(where) for where in ("12%", "15%", "20%", "100%")}
    for where in ("20%", "12%", "100%", "15%"):
        assert at(where) == once[where]
    assert once["12%"][0] < once["15%"][0] < once["100%"][0] == whole().now.events
    count = int(whole().verdicts.counts[5])
    assert [alert.number for alert in raised] == list(range(1, count + 1))


def test_steps_and_violations() -> None:
    feed = StillReplay(DEBIAN_6_1)
    feed.start()
    for number in range(1, 4):
        feed.step()
        feed.settle()
        assert feed.snapshot.now.events == number
        assert feed.snapshot.now.state is State.HELD
    rows = [alert.event["row"] for alert in whole().alerts]
    for row in rows:
        feed.to_violation()
        feed.settle()
        assert feed.snapshot.now.events == row + 1
    feed.to_violation()
    feed.settle()
    assert feed.snapshot.now.events == whole().now.events
    assert feed.snapshot.now.share == 1


def test_speeds_have_ends() -> None:
    feed = StillReplay(DEBIAN_6_1, playing=False)
    feed.start()
    for _ in SPEEDS:
        feed.faster(1)
    assert feed.now().speed == MAX
    for _ in SPEEDS:
        feed.faster(-1)
    assert feed.now().speed == SPEEDS[0] == 0.1
    feed.faster(1)
    assert feed.now().speed == 0.2


def test_events_of_a_recording_that_was_cut_off_are_played_too(tmp_path: Path) -> None:
    writer = RecordingWriter(tmp_path / "r.seal", {}, limits=SMALL)
    for start in range(0, 100, 10):  # two whole segments, and a tail
        writer.append(numbered(10, first=start))
        writer.tick(start / 10)
    feed = StillReplay(tmp_path / "r.seal", speed=MAX)
    feed.start()
    assert feed.snapshot.now.events == 100
    assert feed.book.pager.rows < 100
    feed.seek("0")
    feed.settle()
    assert feed.snapshot.now.events == 1
    feed.step()
    feed.settle()
    assert feed.snapshot.now.events == 2
    writer.close("done")


def test_a_recording_without_events(tmp_path: Path) -> None:
    with RecordingWriter(tmp_path / "r.seal", {}, limits=SMALL) as writer:
        writer.close("done")
    feed = StillReplay(tmp_path / "r.seal")
    feed.start()
    for act in (feed.step, feed.to_violation, feed.toggle, feed.toggle):
        act()
        feed.settle()
        assert feed.snapshot.now.events == 0
    assert feed.snapshot.now.share == 1
