"""The reader: every row once, the same sums as the report, and whatever happens to a recording."""

import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.unit.store_records import SMALL, Records, mixed, numbered, rows_of, stored
from tests.unit.ui.still import DEBIAN_6_1, DEBIAN_7_3, Still, finish, still
from tracer.analysis.summary import summarize
from tracer.model.record import HEAD, NAME, OBJECT, RecordType
from tracer.query import parse
from tracer.store.reader import Recording
from tracer.store.schema import TABLES
from tracer.store.writer import RecordingWriter
from ui.feed.live import LiveFeed
from ui.feed.log import WINDOW, LogView
from ui.feed.tail import MISSING, Tail
from ui.request import Find, Request, Window
from ui.rows import Rows
from ui.snapshot import State
from ui.tables import COLUMNS


def announced(objects: int, seed: int) -> Records:
    """Objects with their names behind them, as BPF sends them, among rows of other tables."""
    rng = np.random.default_rng(seed)
    parts: list[Records] = []
    for number in range(objects):
        one = np.zeros(1, OBJECT)
        name = bytes(rng.integers(33, 126, int(rng.integers(0, 250)), np.uint8))
        one["type"], one["ino"], one["name_len"] = RecordType.OBJECT, number, len(name)
        pieces = np.zeros(-(-len(name) // 124), NAME)
        pieces["type"], pieces["ino"] = RecordType.NAME, number
        for part in range(len(pieces)):
            text = name[part * 124 : (part + 1) * 124]
            pieces["part"][part], pieces["length"][part] = part, len(text)
            pieces["text"][part] = text
        others = mixed(int(rng.integers(0, 6)), number, (1, 4, 5, 6, 7))
        others["cpu"] = 1
        raw = f"V{HEAD.itemsize}"
        parts += [one.view(raw), pieces.view(raw), others.view(raw)]
    records = np.concatenate(parts).view(HEAD)
    records["seq"] = np.arange(len(records))
    return records


@pytest.mark.parametrize("batch", [1, 7, 60])
def test_every_row_of_every_table_once(tmp_path: Path, batch: int) -> None:
    limits = replace(SMALL, group_rows=64)
    records = announced(70 if batch > 1 else 25, seed=batch)
    writer = RecordingWriter(tmp_path / "r.seal", {}, limits=limits)
    found: dict[str, list[Any]] = {name: [] for name in TABLES}
    with Recording.open(tmp_path / "r.seal") as recording:
        tail = Tail(recording)

        def read() -> None:
            for name, table in tail.step():
                found[name].append(table)

        for turn, start in enumerate(range(0, len(records), batch)):
            writer.append(records[start : start + batch])
            writer.tick(turn * 0.3)
            read()
            assert not tail.over
        writer.close("done")
        read()
        assert tail.over
        assert tail.ended
        tail.close()
        want = stored(recording)
    for name in TABLES:
        rows = rows_of(found[name], name)
        if name == "objects":  # an object is told again when the rest of its name has come
            rows = list({(row["cpu"], row["seq"]): row for row in rows}.values())
            want[name].sort(key=lambda row: (row["cpu"], row["seq"]))
            rows.sort(key=lambda row: (row["cpu"], row["seq"]))
        if name != "names":
            assert rows == want[name], name


def until(feed: LiveFeed, what: Callable[[], bool], seconds: float = 20) -> None:
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


_DOOMED = """
import os, sys
from tests.unit.store_records import numbered
from tracer.store.writer import RecordingWriter
writer = RecordingWriter(sys.argv[1], {})
writer.tick(0)
writer.append(numbered(9))
writer.tick(1)
print("ready", flush=True)
sys.stdin.read()
os._exit(9)
"""


def test_the_recorder_is_gone_and_the_data_stay(tmp_path: Path) -> None:
    path = tmp_path / "r.seal"
    with subprocess.Popen(
        [sys.executable, "-c", _DOOMED, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdin
        assert process.stdout
        process.stdout.readline()
        feed = LiveFeed(path)
        feed.start()
        until(feed, lambda: feed.snapshot.now.events == 9)
        until(feed, lambda: feed.snapshot.now.state is State.LIVE)
        process.stdin.close()
        process.wait()
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


def test_a_part_that_cannot_be_read(tmp_path: Path) -> None:
    with RecordingWriter(tmp_path / "r.seal", {}, limits=SMALL) as writer:
        for start in range(0, 200, 40):
            writer.append(numbered(40, first=start))
        writer.close("done")
    parts = sorted((tmp_path / "r.seal" / "events").iterdir())
    assert len(parts) == 5
    parts[2].write_bytes(parts[2].read_bytes()[:100])
    feed = Still(tmp_path / "r.seal")
    finish(feed, Request("events"))
    shot = feed.snapshot
    assert shot.now.events == 200
    assert any(parts[2].name in problem for problem in shot.coverage.problems)
    finish(feed, Request("events", window=Window(first=True)))
    ids = feed.snapshot.rows.ids.tolist()
    assert ids == [*range(80), *range(120, 200)]


def test_missing_rows_keep_the_numbers_of_the_others(tmp_path: Path) -> None:
    with RecordingWriter(tmp_path / "r.seal", {}, limits=SMALL) as writer:
        writer.append(numbered(120))
        writer.close("done")
    (tmp_path / "r.seal" / "events" / "000001.parquet").unlink()
    with Recording.open(tmp_path / "r.seal") as recording:
        found = [(name, table.num_rows) for name, table in Tail(recording).step()]
    assert (MISSING, 40) in found
    assert sum(rows for _, rows in found) == 120


# The log

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
            finish(feed, Request("events", query, find=Find(number, (2,), start)))
            row = feed.snapshot.found[1]
            if row is None:
                break
            found.append(row)
            start = row + 1
        assert found == want.tolist()
        finish(feed, Request("events", query, find=Find(0, (2,), int(want[-1]) - 1, False)))
        finish(feed, Request("events", query, find=Find(999, (2,), int(want[-1]) - 1, False)))
        assert feed.snapshot.found == (999, want[-2])


def test_older_events_are_read_back_from_the_recording(tmp_path: Path) -> None:
    with RecordingWriter(tmp_path / "r.seal", {}, limits=SMALL) as writer:
        for start in range(0, 1200, 40):
            writer.append(numbered(40, first=start))
        writer.close("done")
    feed = Still(tmp_path / "r.seal")
    finish(feed, Request("events"))
    log = feed.book.log
    while len(log._batches) > 1:  # as if there had been too many
        log._batches.popleft()
    assert log.first > 1100
    finish(feed, Request("events", window=Window(around=600)))
    assert feed.snapshot.rows.ids.tolist() == list(range(300, 900))
    finish(feed, Request("events", parse("seq:10..20,1000..1010"), window=Window(first=True)))
    assert feed.snapshot.rows.ids.tolist() == [*range(10, 21), *range(1000, 1011)]
    finish(feed, Request("events", find=Find(1, (5,), 0)))
    assert feed.snapshot.found == (1, None)


# Tables


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
        finish(feed, Request(table))
        rows = feed.snapshot.rows
        assert len(rows) == len(frame)
        for name in ("decisions", "breach", "blocked", "first_ns"):
            shown = [rows.value(name, place) for place in rows.order.tolist()]
            assert shown == frame[name].astype(object).where(frame[name].notna(), None).tolist()
        finish(feed, Request(table, parse("verdict:blocked op:write,mmap")))
        rows = feed.snapshot.rows
        other = getattr(blocked, {"objects": "by_object", "fds": "by_fd"}.get(table, "by_process"))
        other = other[other["decisions"] > 0]
        shown = [rows.value("decisions", place) for place in rows.order.tolist()]
        assert shown == other["decisions"].tolist()
        assert rows.total == len(frame)
        assert rows.busy is None


def test_sorting_keeps_equal_rows_in_their_order() -> None:
    feed = still()
    finish(feed, Request())
    plain = feed.snapshot.rows
    place_of = {int(one): at for at, one in enumerate(plain.ids[plain.order])}
    for column, reverse in (("blocked", True), ("blocked", False), ("name", False), ("kind", True)):
        finish(feed, Request(sort=column, reverse=reverse))
        rows = feed.snapshot.rows
        values = [rows.value(column, place) for place in rows.order.tolist()]
        assert values == sorted(values, reverse=reverse)
        places = [place_of[int(one)] for one in rows.ids[rows.order]]
        pairs = list(zip(values, values[1:], places, places[1:], strict=False))
        assert all(a < b for x, y, a, b in pairs if x == y)


def test_every_column_can_be_sorted_by() -> None:
    feed = still()
    for table in ("objects", "fds", "processes", "hooks"):
        for column in COLUMNS[table]:
            for reverse in (False, True):
                finish(feed, Request(table, sort=column.name, reverse=reverse))
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
    assert {alert.event["hole"] for alert in raised} == {"future-write-merge", "hugetlb-grow"}
    times = [alert.event["time_ns"] for alert in raised]
    assert times == sorted(times)
    assert list(feed.snapshot.alerts) == raised


def test_rows_stand_still_while_counts_go_on(tmp_path: Path) -> None:
    writer = RecordingWriter(tmp_path / "r.seal", {}, limits=SMALL)
    feed = Still(tmp_path / "r.seal")
    writer.append(numbered(50))
    writer.tick(0)
    for table in ("events", "objects"):
        feed.read(float("inf"))
        frozen = Request(table, frozen=True)
        feed._composer.snapshot(Request(table), feed.now(), [], None)
        before = feed._composer.snapshot(frozen, feed.now(), [], None)
        writer.append(numbered(50, first=feed.book.rows))
        writer.tick(len(table))
        feed.read(float("inf"))
        after = feed._composer.snapshot(frozen, feed.now(), [], None)
        assert after.now.events == before.now.events + 50
        assert after.rows.ids.tolist() == before.rows.ids.tolist()
        live = feed._composer.snapshot(Request(table), feed.now(), [], None)
        assert live.now.events == after.now.events
    writer.close("done")
