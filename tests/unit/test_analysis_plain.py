"""Tables without pandas have what those with it have."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tracer.analysis import columns, load, plain
from tracer.analysis.by_object import by_object
from tracer.analysis.by_who import by_fd, by_process
from tracer.analysis.fold import Fold
from tracer.analysis.source import Source
from tracer.analysis.view import View
from tracer.filter.mask import Coded, Numbers
from tracer.recording.reader import Recording
from tracer.rules.verdicts import words

SAMPLE = Path(__file__).parents[2] / "samples" / "recordings" / "debian-6.1.seal"


def _values(column: Any) -> list[Any]:
    if isinstance(column, Coded):
        return [None if code < 0 else column.words[code] for code in column.codes.tolist()]
    if isinstance(column, Numbers):
        valid = [True] * len(column.values) if column.valid is None else column.valid.tolist()
        pairs = zip(column.values.tolist(), valid, strict=True)
        return [value if known else None for value, known in pairs]
    found: list[Any] = column.tolist()
    return found


@pytest.mark.parametrize("make", [by_object, by_fd, by_process])
def test_both_makers_make_the_same(make: Any) -> None:
    fold = Fold()
    before: View | None = None
    with Recording.open(SAMPLE) as recording:
        source = Source.of(recording)
        objects = recording.frame("objects")
        batches = list(load.batches(recording, source=source))
    halves = np.array_split(np.arange(len(batches[0])), 2)
    steps: list[Callable[[], object]] = [
        lambda: None,
        lambda: fold.objects(objects, source),  # more objects, no more groups
        *(lambda half=half: fold.add(batches[0].take(half)) for half in halves),
        lambda: None,
    ]
    for step in steps:
        step()
        state = fold.state()
        before = View(state, plain, before)
        found = make(before)
        frame = pd.DataFrame(make(View(state, columns)))
        assert list(found) == list(frame)
        for name in frame:
            want = [None if pd.isna(value) else value for value in frame[name]]
            got = _values(found[name])
            if name == "worst":
                got = [None if number < 0 else words()[number] for number in got]
            assert got == want, name
    assert before is not None
    assert len(make(before)["decisions"]) > 2
