"""Parts of recordings, counted by anybody in any order, add up to what one process counts."""

import os
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest

from tests.unit.analysis.analysis_data import announcements, baseline, events
from tests.unit.analysis.test_fold import same
from tests.unit.recording.store_records import SMALL
from tracer.filter.query import parse
from tracer.analysis.decisions import Decisions, Window, summarize
from tracer.analysis.parts import Asked, Counted, Part, count, counted, parts, processes
from tracer.analysis.totals import Tables
from tracer.errors import UserError
from tracer.record import EVENT, HEAD, LOSS, OBJECT, USER_CPU, LossCause, RecordType
from tracer.recording.format import Limits
from tracer.recording.reader import Recording
from tracer.recording.writer import RecordingWriter
from tracer.rules import verdicts
from tracer.words import Hook, Kind, Op, words

SAMPLES = sorted((Path(__file__).parents[3] / "samples" / "recordings").glob("*.seal"))
_NUMBERS = {word: number for number, word in {**words(Op), **words(Kind)}.items()}


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
    lost = np.zeros(1, LOSS)
    lost["cause"], lost["hook"], lost["count"], lost["cpu"] = LossCause.RING_FULL, Hook.MMAP, 3, 0
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
    paths: list[Path], executor: Executor, rows: int, asked: Asked = Asked(), ahead: int = 3
) -> Tables:
    found = Decisions()
    with ExitStack() as stack:
        recordings = [stack.enter_context(Recording.open(path)) for path in paths]
        from tracer.analysis.batches import Source

        sources = [Source.of(one) for one in recordings]
        for source in sources:
            found.window(source, asked.window)
        cut = [(source, part) for source, one in zip(sources, recordings, strict=True)
               for part in parts(one, rows)]  # fmt: skip
        got = counted(executor, [(part, asked) for _, part in cut], ahead)
        for (source, part), one in zip(cut, got, strict=True):
            assert (one.told is not None) == (part.segments.start == 0)
            if one.told is not None:
                found.losses(one.told.losses, source)
            found.add_counted(one, source)
    return found.tables()


def in_one_go(paths: list[Path], asked: Asked = Asked()) -> Tables:
    with ExitStack() as stack:
        recordings = [stack.enter_context(Recording.open(path)) for path in paths]
        return summarize(
            recordings, keep=asked.keep, columns=asked.columns,
            windows=[asked.window] * len(paths),
        )  # fmt: skip


@pytest.mark.parametrize("seed", range(200))
def test_any_cuts_and_any_order_are_the_whole(tmp_path: Path, seed: int) -> None:
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
    rows, ahead = random.choice([1, 20, 10**6]), random.randint(1, 9)
    found = by_parts(paths, AnyOrder(random), rows, asked, ahead)
    same(found, in_one_go(paths, asked))
