"""Tables without pandas have what those with it have."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from tracer.analysis import columns, load, plain
from tracer.analysis.by_object import by_object
from tracer.analysis.by_who import by_fd, by_process
from tracer.analysis.fold import Fold
from tracer.analysis.source import Source
from tracer.analysis.view import View
from tracer.model.verdicts import words
from tracer.query.columns import Coded, Numbers
from tracer.store.reader import Recording

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
        for objects in recording.tables("objects"):
            fold.objects(objects.to_pandas(), source)
        batches = list(load.batches(recording, source=source))
    half = len(batches[0]) // 2
    pieces = [batches[0].take(slice(0, half)), batches[0].take(slice(half, None)), *batches[1:]]
    for piece in (*pieces, None):  # the last time nothing has changed
        if piece is not None:
            fold.add(piece)
        state = fold.state()
        before = View(state, plain, before)
        found = make(before)
        frame = pd.DataFrame(make(View(state, columns)))
        assert list(found) == list(frame)
        assert len(frame) > 2
        for name in frame:
            want = [None if pd.isna(value) else value for value in frame[name]]
            got = _values(found[name])
            if name == "worst":
                got = [None if number < 0 else words()[number] for number in got]
            assert got == want, name
