"""A problem that reading found is told from then on, whatever is read afterwards."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.unit.output.report_recordings import USUAL, announcement, events
from tests.unit.recording.store_records import SMALL, killed, numbered, seqs, write
from tracer.analysis import api, decisions
from tracer.output.report import Request, build
from tracer.record import HEAD, RECORD_SIZE
from tracer.recording.reader import ALIVE, Recording
from tracer.recording.writer import RecordingWriter
from tracer.words import Op

LOOKS: list[Callable[[Recording], object]] = [
    lambda recording: recording.alive,
    lambda recording: recording.frame("losses"),
    lambda recording: recording.frame("objects"),
    lambda recording: list(recording.tables("clocks")),
]


def told(recording: Recording) -> list[str]:
    return [problem for problem in recording.problems if "000000.parquet" in problem]


@pytest.mark.parametrize("look", LOOKS)
def test_a_later_look_forgets_nothing(tmp_path: Path, look: Callable[[Recording], object]) -> None:
    path = write(tmp_path / "r.seal", numbered(100))
    (path / "events" / "000000.parquet").unlink()
    with Recording.open(path) as recording:
        assert seqs(recording) == list(range(40, 100))
        look(recording)
        assert len(told(recording)) == 1


def test_a_tail_cut_short_is_told_of_once(tmp_path: Path) -> None:
    writer = RecordingWriter(tmp_path / "r.seal", {}, limits=SMALL)
    for first in (0, 5):
        writer.append(numbered(5, first=first))
        writer.tick(1 + first / 5)
    [tail] = (tmp_path / "r.seal" / "tail").iterdir()
    left = tail.read_bytes()
    writer.close("done")
    killed(tmp_path / "r.seal")
    (tmp_path / "r.seal" / "chain.jsonl").unlink()
    tail.write_bytes(left[:-100])
    with Recording.open(tmp_path / "r.seal") as recording:
        for _ in range(2):
            assert 0 < len(seqs(recording)) < 10
            recording.frame("losses")
            assert len([one for one in recording.problems if "unfinished block" in one]) == 1


def test_what_is_over_is_not_told_any_more(tmp_path: Path) -> None:
    """That it is being written was no damage."""
    writer = RecordingWriter(tmp_path / "r.seal", {}, limits=SMALL)
    writer.append(numbered(100))
    writer.tick(1)
    with Recording.open(tmp_path / "r.seal") as recording:
        assert seqs(recording) == list(range(100))
        assert recording.problems == [ALIVE]
        writer.close("done")
        assert seqs(recording) == list(range(100))
        assert recording.problems == []


def refused(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An F_ADD_SEALS that failed EBUSY, and a second part of events that goes away meanwhile."""
    busy = USUAL | {"op": int(Op.ADD_SEALS), "arg": 8, "answer": -16, "writable": 1}
    records = [*announcement(7, b"memfd:ram", 1), events([busy] * 60)]
    with RecordingWriter(path, {"boot_id": "b"}, limits=SMALL) as writer:
        for one in records:
            writer.append(one.view(f"V{RECORD_SIZE}").view(HEAD))
            writer.tick(0)
        writer.close("done")
    usual = decisions.batches

    def later(*args: Any, **options: Any) -> Any:
        if "ops" in options or len(args) > 2:  # the second reading, for holders
            last = sorted((path / "events").iterdir())
            if len(last) > 1:
                last[0].unlink()
        return usual(*args, **options)

    monkeypatch.setattr(decisions, "batches", later)


def test_what_the_second_reading_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "r.seal"
    refused(path, monkeypatch)
    with api.load(path) as found:
        assert found.tables.problems == found.problems == []
        assert found.busy["held"].tolist() == [0] * 60
        assert any("000000.parquet" in problem for problem in found.problems)


def test_and_it_is_in_the_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "r.seal"
    refused(path, monkeypatch)
    report = build([str(path)], Request(), lambda _path, _rows: None, lambda _sentence: None)
    [coverage] = report.coverage
    assert coverage.decisions == 60
    assert any("000000.parquet" in problem for problem in coverage.problems)
