"""Parts of recordings, counted by anybody in any order, add up to what one process counts."""

import os
import signal
from collections.abc import Callable
from concurrent.futures import Executor, Future
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest

from tests.unit.analysis.analysis_data import announcements, baseline, events
from tests.unit.analysis.test_fold import same
from tests.unit.recording.store_records import SMALL
from tracer.analysis import api
from tracer.analysis.batches import Source
from tracer.analysis.decisions import Decisions, Window, summarize
from tracer.analysis.parts import Asked, Counted, Part, count_all, parts, processes
from tracer.analysis.totals import Tables
from tracer.errors import UserError
from tracer.filter.query import parse
from tracer.record import EVENT, HEAD, OBJECT, RecordType
from tracer.recording.reader import Recording
from tracer.recording.writer import RecordingWriter
from tracer.words import Kind, Op, words

SAMPLES = sorted((Path(__file__).parents[3] / "samples" / "recordings").glob("*.seal"))
_NUMBERS = {word: number for number, word in {**words(Op), **words(Kind)}.items()}


EVERYTHING = Asked()


class AnyOrder(Executor):
    """Does all that it was given when a result is wanted, in an order of its own."""

    def __init__(self, random: Random) -> None:
        self._random = random
        self._given: list[tuple[Future[Any], Callable[[], Any]]] = []

    def submit(self, what: Any, /, *args: Any, **more: Any) -> Future[Any]:
        found = _Later(self)
        self._given.append((found, lambda: what(*args, **more)))
        return found

    def work(self) -> None:
        self._random.shuffle(self._given)
        for found, made in self._given:
            found.set_result(made())
        self._given.clear()


class _Later(Future[Any]):
    def __init__(self, executor: AnyOrder) -> None:
        super().__init__()
        self._executor = executor

    def result(self, timeout: float | None = None) -> Any:
        self._executor.work()
        return super().result(timeout)


def _records(frame: Any, layout: Any, kind: RecordType) -> Any:
    found = np.zeros(len(frame), layout)
    for name in {*layout.names} & {*frame} - {"create_flags", "name", "hook"}:
        column = frame[name]
        if name in ("op", "kind"):
            column = [_NUMBERS.get(word, 77) for word in column]
        elif name == "comm":
            column = [word.encode() for word in column]
        found[name] = column
    found["type"] = kind
    return found.view(f"V{HEAD.itemsize}").view(HEAD)


def written(path: Path, seed: int, rows: int, boot: str) -> Path:
    """A recording of all that meets in the tests of sums, in segments of about ``rows``."""
    rng = np.random.default_rng(seed)
    made = events(seed, int(rng.integers(1, 300)))
    made["cpu"] = rng.integers(0, 2, len(made))
    told = announcements(made, seed)
    swept = baseline(seed, 4).assign(seq=np.arange(4))
    told["seq"] = np.arange(4, 4 + len(told))
    parts_ = [
        _records(swept, EVENT, RecordType.BASELINE),
        _records(told, OBJECT, RecordType.OBJECT),
        *np.array_split(_records(made, EVENT, RecordType.EVENT), 5),
    ]
    for cpu in (0, 1):
        at = 0
        for part in parts_[2:]:
            mine = part["cpu"] == cpu
            part["seq"][mine] = np.arange(at, at + mine.sum())
            at += int(mine.sum())
    limits = replace(SMALL, rows=rows, direct_rows=max(1, rows // 2), group_rows=max(4, rows // 4))
    manifest = {"host": f"host {boot}", "boot_id": boot}
    with RecordingWriter(path, manifest, limits=limits) as writer:
        for part in parts_:
            writer.append(part)
            writer.tick(0)
        writer.close("done")
    return path


def by_parts(
    paths: list[Path], executor: Executor, asked: Asked = EVERYTHING, ahead: int = 3
) -> Tables:
    found = Decisions()
    with ExitStack() as stack:
        recordings = [stack.enter_context(Recording.open(path)) for path in paths]
        count_all(
            executor, [(one, Source.of(one), asked) for one in recordings], found, None, ahead
        )
    return found.tables()


def in_one_go(paths: list[Path], asked: Asked = EVERYTHING) -> Tables:
    with ExitStack() as stack:
        recordings = [stack.enter_context(Recording.open(path)) for path in paths]
        return summarize(
            recordings, keep=asked.keep, columns=asked.columns,
            windows=[asked.window] * len(paths),
        )  # fmt: skip


LITTLE = 20
"""Cuts in the fast tests."""


@pytest.mark.parametrize("seed", [pytest.param(seed, marks=[pytest.mark.slow][seed < LITTLE :])
                                  for seed in range(200)])  # fmt: skip
def test_any_cuts_and_any_order_are_the_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    random = Random(seed)
    boots = random.choice([["a"], ["a", "b"], ["a", "a"], ["a", "b", "a"]])
    paths = [
        written(tmp_path / f"{place}.seal", seed * 7 + place, random.choice([3, 17, 60, 900]), boot)
        for place, boot in enumerate(boots)
    ]
    asked = random.choice(
        [
            Asked(),
            Asked(Window(10**9 + 2 * 10**6, 10**9 + 30 * 10**6)),
            Asked(keep=parse("op:mmap,write verdict:blocked,breach").mask),
        ]
    )
    monkeypatch.setattr("tracer.analysis.parts.ROWS", random.choice([1, 20, 10**6]))
    found = by_parts(paths, AnyOrder(random), asked, random.randint(1, 9))
    same(found, in_one_go(paths, asked))


def test_each_event_is_in_one_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tracer.analysis.parts.ROWS", 20)
    path = written(tmp_path / "r.seal", 5, 17, "a")
    with Recording.open(path) as recording:
        cut = parts(recording)
        assert len(cut) > 3
        rows = [sum(one.num_rows for one in recording.tables("events", ["seq"], part.segments))
                for part in cut]  # fmt: skip
        assert [part.first for part in cut] == [sum(rows[:place]) for place in range(len(rows))]
        assert sum(rows) == sum(one.num_rows for one in recording.tables("events", ["seq"]))


@pytest.mark.usefixtures("servers_end")
def test_real_recordings_by_real_processes() -> None:
    with processes(2) as executor:
        same(by_parts(SAMPLES, executor), in_one_go(SAMPLES))
        with api.load(*SAMPLES) as alone, api.load(*SAMPLES, executor=executor) as together:
            same(together.tables, alone.tables)


def test_cases_for_which_there_is_no_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Which are the first is known at the end alone, and each is counted with all its decisions."""
    monkeypatch.setattr("tracer.analysis.sums.MOST_CASES", 3)
    monkeypatch.setattr("tracer.analysis.sums.MOST_BUSY", 2)
    monkeypatch.setattr("tracer.analysis.parts.ROWS", 20)
    paths = [written(tmp_path / "r.seal", 3, 17, "a")]
    found, whole = by_parts(paths, AnyOrder(Random(1))), in_one_go(paths)
    assert whole.unlisted
    same(found, whole)
    assert found.unlisted == whole.unlisted


def _damaged(path: Path) -> Path:
    part = sorted((path / "events").iterdir())[1]
    part.write_bytes(part.read_bytes()[:-3])
    return path


def test_what_cannot_be_read_is_told_by_whoever_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tracer.analysis.parts.ROWS", 20)
    paths = [_damaged(written(tmp_path / "r.seal", 5, 17, "a"))]
    found, whole = by_parts(paths, AnyOrder(Random(1))), in_one_go(paths)
    same(found, whole)
    assert found.problems == whole.problems
    assert any("Its rows are missing" in one for one in found.problems)


def _killed(part: Part, asked: Asked) -> Counted:
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError


@pytest.mark.usefixtures("servers_end")
def test_a_process_that_is_killed_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tracer.analysis.parts.count", _killed)
    with pytest.raises(UserError, match="was killed"), processes(1) as executor:
        by_parts([written(tmp_path / "r.seal", 5, 900, "a")], executor)
