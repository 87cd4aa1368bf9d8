"""A recorder in a virtual machine that is slow to end: its silence is taken back in the end."""

import os
import time
from pathlib import Path

import numpy as np
import pytest

from tests.bench.analysis import synthetic
from tracer.live.feed import LiveFeed
from tracer.live.snapshot import State
from tracer.record import HEAD, RECORD_SIZE
from tracer.recording import reader
from tracer.recording.writer import RecordingWriter


def test_silence_is_taken_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "_SILENCE_S", 0.2)
    path = tmp_path / "r.seal"
    writer = RecordingWriter(path, {"boot_id": "of another machine"})
    seals = np.array([1], np.uint32)
    writer.append(synthetic.announcements(seals))
    rows = synthetic.events(np.random.default_rng(1), 0, 5, seals)
    writer.append(rows.view(f"V{RECORD_SIZE}").view(HEAD))
    writer.tick(0.0)
    os.close(writer._lock)  # its lock cannot be seen from here
    writer._lock = os.open(path / "lock", os.O_RDWR)
    feed = LiveFeed(path)
    feed.open(None)

    def state() -> State:
        feed.read(float("inf"))
        return feed.now().state

    assert state() is State.LIVE
    time.sleep(0.5)
    assert state() is State.GONE
    writer.close("done", {0: 5})
    until_s = time.monotonic() + 30
    while (found := state()) is State.GONE and time.monotonic() < until_s:
        time.sleep(0.1)
    assert found is State.ENDED
    assert feed.now().events == 5
    assert feed.book.watch.counts.sum() == 5
    feed.stop()
