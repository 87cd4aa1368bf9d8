"""Tables of objects, descriptors and processes: the sums of the report, in any order."""

from pathlib import Path
from typing import Any

import pytest

from tests.unit.recording.store_records import SMALL, numbered
from tests.unit.ui.still import DEBIAN_6_1, DEBIAN_7_3, Still, still
from tracer.analysis.decisions import summarize
from tracer.filter.query import parse
from tracer.live.snapshot import Request
from tracer.live.tables import COLUMNS
from tracer.recording.reader import Recording
from tracer.recording.writer import RecordingWriter


@pytest.mark.parametrize("path", [DEBIAN_6_1, DEBIAN_7_3])
def test_the_same_sums_as_the_report(path: Path) -> None:
    feed = still(path)
    with Recording.open(path) as recording:
        tables = summarize([recording])
        blocked = summarize([recording], keep=parse("verdict:blocked op:write,mmap").mask)
    for table, frame in (
        ("objects", tables.by_object),
        ("fds", tables.by_fd),
        ("processes", tables.by_process),
    ):
        feed.answer(Request(table))
        rows = feed.snapshot.rows
        assert len(rows) == len(frame)
        for name in ("decisions", "breach", "blocked", "first_ns"):
            shown = [rows.value(name, place) for place in rows.order.tolist()]
            assert shown == frame[name].astype(object).where(frame[name].notna(), None).tolist()
        feed.answer(Request(table, parse("verdict:blocked op:write,mmap")))
        rows = feed.snapshot.rows
        other = getattr(blocked, {"objects": "by_object", "fds": "by_fd"}.get(table, "by_process"))
        other = other[other["decisions"] > 0]
        shown = [rows.value("decisions", place) for place in rows.order.tolist()]
        assert shown == other["decisions"].tolist()
        assert rows.total == len(frame)
        assert rows.busy is None


def test_sorting_keeps_equal_rows_in_their_order() -> None:
    feed = still()
    feed.answer(Request())
    plain = feed.snapshot.rows
    place_of = {int(one): at for at, one in enumerate(plain.ids[plain.order])}
    for column, reverse in (("blocked", True), ("blocked", False), ("name", False), ("kind", True)):
        feed.answer(Request(sort=column, reverse=reverse))
        rows = feed.snapshot.rows
        values = [rows.value(column, place) for place in rows.order.tolist()]
        assert values == sorted(values, reverse=reverse)
        places = [place_of[int(one)] for one in rows.ids[rows.order]]
        pairs = list(zip(values, values[1:], places, places[1:], strict=False))
        wrong = [pair for pair in pairs if pair[0] == pair[1] and pair[2] >= pair[3]]
        assert not wrong, (column, reverse)


def test_every_column_can_be_sorted_by() -> None:
    feed = still()
    for table in ("objects", "fds", "processes", "hooks"):
        for column in COLUMNS[table]:
            for reverse in (False, True):
                feed.answer(Request(table, sort=column.name, reverse=reverse))
                rows = feed.snapshot.rows
                keys = column.sort_keys(rows)[rows.order]
                assert sorted(rows.order.tolist()) == list(range(len(rows.ids)))
                assert keys.tolist() == sorted(keys.tolist(), reverse=reverse)


def test_alerts_once_each_and_in_order() -> None:
    raised: list[Any] = []
    feed = Still(DEBIAN_6_1, on_alert=raised.extend)
    feed.start()
    assert [alert.number for alert in raised] == list(range(1, len(raised) + 1))
    with Recording.open(DEBIAN_6_1) as recording:
        assert len(raised) == summarize([recording]).verdicts["breach"] > 1
    assert {alert.event["hole"] for alert in raised} == {
        "future-write-merge", "hugetlb-grow", "future-write-mremap",
    }  # fmt: skip
    times = [alert.event["time_ns"] for alert in raised]
    assert times == sorted(times)
    assert list(feed.snapshot.alerts) == raised


def test_rows_stand_still_while_counts_go_on(tmp_path: Path) -> None:
    writer = RecordingWriter(tmp_path / "r.seal", {}, limits=SMALL)
    feed = Still(tmp_path / "r.seal")
    writer.append(numbered(50))
    writer.tick(0)
    for table in ("events", "objects"):
        frozen = Request(table, frozen=True)
        feed.answer(Request(table))
        before = feed.answer(frozen)
        writer.append(numbered(50, first=feed.book.rows))
        writer.tick(len(table))
        after = feed.answer(frozen)
        assert after.now.events == before.now.events + 50
        assert after.rows.ids.tolist() == before.rows.ids.tolist()
        live = feed.answer(Request(table))
        assert live.now.events == after.now.events
        assert len(live.rows) == live.totals[table]
    writer.close("done")


def test_beside_a_live_table_only_the_newest_events_are_looked_at() -> None:
    feed = Still(DEBIAN_6_1)
    feed.answer(Request())
    rows = feed.snapshot.rows
    place = int(rows.order[0])
    dev, ino, gen = (int(rows.value(part, place)) for part in ("dev", "ino", "gen"))
    key = dev, ino, gen
    feed.answer(Request(object=key, brief=True))
    whole = feed.snapshot.detail
    assert whole is not None
    assert whole.whole
    assert [event["op"] for event in whole.timeline] == ["create", "add_seals", "mmap"]
    assert len(whole.holders)
    feed.book.is_complete = False  # as if it were still written
    feed.book.log.skip(0)  # and nothing of it were in memory any more
    feed.answer(Request())
    feed.answer(Request(object=key, brief=True))
    newest = feed.snapshot.detail
    assert newest is not None
    assert not newest.whole
    assert not newest.timeline
    feed.answer(Request(object=key))
    again = feed.snapshot.detail
    assert again is not None
    assert again.whole, "its own page reads all of it"
    assert len(again.timeline) == 3
    assert len(again.decisions)
