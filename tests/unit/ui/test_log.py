"""The log of events: windows, filters, searches, older events read back."""

from pathlib import Path

import numpy as np
import pytest

from tests.unit.recording.store_records import SMALL, numbered
from tests.unit.ui.still import Still, still
from tracer.filter.query import parse
from tracer.live.log import WINDOW, Log, LogView
from tracer.live.snapshot import Find, Request, Rows, Window
from tracer.recording.writer import RecordingWriter

QUERIES = ("", "op:mmap", "verdict:blocked,breach", "comm:holes name:~merge", "ret:EPERM !op:write")


@pytest.mark.parametrize("text", QUERIES)
def test_windows_of_a_log_are_what_the_filter_says(text: str) -> None:
    feed = still()
    feed.start()
    log = feed.book.log
    query = parse(text)
    everything = log.take(np.arange(log.rows))
    assert everything is not None
    judged = log.judged(0)
    assert judged is not None
    want = np.flatnonzero(query.mask(judged)) if query else np.arange(log.rows)
    view = LogView(log, query)
    for window in (
        Window(),
        Window(first=True),
        *(Window(around=row) for row in (0, 700, log.rows - 1)),
    ):
        while view.wants_more(window):
            view.search_back()
        view.catch_up()
        rows = view.rows(window, None, None)
        shown = rows.ids.tolist()
        assert len(shown) == min(WINDOW, len(want))
        at = int(np.searchsorted(want, shown[0])) if shown else 0
        assert shown == want[at : at + len(shown)].tolist()
        assert rows.before == (at > 0)
        assert rows.after == (at + len(shown) < len(want))
        if window.around is not None and len(want):
            nearest = int(want[min(int(np.searchsorted(want, window.around)), len(want) - 1)])
            assert nearest in shown
        for place in range(0, len(shown), 97):
            row = int(rows.ids[place])
            wanted = Rows("", everything, rows.ids, rows.order, 0).record(row)
            assert rows.record(place) == wanted


def test_a_filter_begins_anew_behind_what_was_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tracer.live.log.KEPT", 200)
    feed = still()
    feed.start()
    whole = feed.book.log.batch(0)
    assert whole is not None
    log = Log(feed.book.decisions, None)
    query = parse("op:mmap")
    view = LogView(log, query)
    for start in range(0, 600, 200):
        log.add(whole.take(np.arange(start, start + 200)))
        if not start:
            view.catch_up()
    assert log.first == 400  # the second batch was never looked at
    view.catch_up()
    judged = log.judged(400)
    assert judged is not None
    want = (400 + np.flatnonzero(query.mask(judged))).tolist()
    assert want
    assert view.rows(Window(), None, None).ids.tolist() == want
    assert not view.wants_more(Window())


def test_searches_keep_to_the_filter() -> None:
    feed = still()
    feed.start()
    for text in ("", "kind:hugetlb", "op:write"):
        query = parse(text)
        judged = feed.book.log.judged(0)
        assert judged is not None
        blocked = judged["verdict"] == 2
        want = np.flatnonzero(blocked & query.mask(judged)) if query else np.flatnonzero(blocked)
        found, start = [], 0
        for number in range(1, len(want) + 2):
            feed.answer(Request("events", query, find=Find(number, (2,), start)))
            row = feed.snapshot.found[1]
            if row is None:
                break
            found.append(row)
            start = row + 1
        assert found == want.tolist()
        feed.answer(Request("events", query, find=Find(0, (2,), int(want[-1]) - 1, False)))
        feed.answer(Request("events", query, find=Find(999, (2,), int(want[-1]) - 1, False)))
        assert feed.snapshot.found == (999, want[-2])


def test_older_events_are_read_back_from_the_recording(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tracer.live.log.KEPT", 40)
    monkeypatch.setattr("tracer.live.feed.MANY", 40)
    with RecordingWriter(tmp_path / "r.seal", {}, limits=SMALL) as writer:
        for start in range(0, 1200, 40):
            writer.append(numbered(40, first=start))
        writer.close("done")
    feed = Still(tmp_path / "r.seal")
    feed.answer(Request("events"))
    log = feed.book.log
    assert log.first > 1100
    feed.answer(Request("events", window=Window(around=600)))
    assert feed.snapshot.rows.ids.tolist() == list(range(300, 900))
    feed.answer(Request("events", parse("seq:10..20,1000..1010"), window=Window(first=True)))
    assert feed.snapshot.rows.ids.tolist() == [*range(10, 21), *range(1000, 1011)]
    feed.answer(Request("events", find=Find(1, (5,), 0)))
    assert feed.snapshot.found == (1, None)
