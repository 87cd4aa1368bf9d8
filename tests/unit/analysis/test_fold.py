"""Tables from batches: what plain counting gives, however the events come."""

import itertools
from random import Random
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pandas.testing import assert_frame_equal

from tests.unit.analysis.analysis_data import (
    HOSTS,
    Counted,
    announcements,
    baseline,
    decided,
    events,
    rows_of,
)
from tracer.analysis.batches import Source
from tracer.analysis.decisions import Decisions, Judged
from tracer.analysis.frames import batch_of
from tracer.analysis.judge import Judge
from tracer.analysis.sums import Sums, Words, merge
from tracer.analysis.tables import judge
from tracer.analysis.totals import Tables
from tracer.words import Flag

pytestmark = pytest.mark.slow

NAMES = ("recordings", "by_object", "by_fd", "by_process", "by_op", "by_rule", "listed", "seals",
         "late_seals", "busy")  # fmt: skip
seeds = st.integers(0, 2**32 - 1)


def same(one: Tables, other: Tables) -> None:
    """Every table equal, rows and their order, dtypes and all."""
    for name in NAMES:
        assert_frame_equal(getattr(one, name), getattr(other, name), obj=name)
    assert_frame_equal(one.over_time(), other.over_time(), obj="over_time")
    assert one.verdicts == other.verdicts
    assert one.unannounced == other.unannounced


def in_one_go(given: list[tuple[Source, pd.DataFrame, pd.DataFrame, pd.DataFrame]]) -> Tables:
    fold = Decisions()
    for source, rows, objects, mapped in given:
        fold.objects(objects, source, complete=True)
        fold.mappings(mapped, source)
        fold.add(batch_of(rows, source))
    return fold.tables()


@settings(max_examples=15, deadline=None)
@given(seeds, st.integers(0, 120), st.lists(st.integers(0, 120), max_size=6), st.booleans())
def test_batches_of_any_size_and_late_announcements(
    seed: int, count: int, cuts: list[int], two: bool
) -> None:
    rng = np.random.default_rng(seed)
    given_ = []
    for host, source in enumerate(HOSTS[: 1 + two]):
        rows = events(seed + host, count).assign(row=np.arange(count))
        objects = announcements(rows, seed + host)
        given_.append((source, rows, objects, baseline(seed + host, 4)))
    fold = Decisions()
    bounds = [0, *sorted(min(cut, count) for cut in cuts), count]
    told = {source: 0 for source, *_ in given_}
    for source, _, objects, _ in given_:
        fold.objects(objects.head(0), source)  # recordings come in the order they are met
    for start, end in itertools.pairwise(bounds):
        for source, rows, objects, mapped in given_:
            fold.add(batch_of(rows.iloc[start:end], source))
            objects = objects.sort_values("time_ns")
            if rng.random() < 0.5:
                # Announcements come later than the events, in pieces that overlap.
                told[source] = int(rng.integers(told[source], len(objects) + 1))
                fold.objects(objects.iloc[: told[source]], source)
            if rng.random() < 0.5:
                fold.mappings(mapped, source)
            if rng.random() < 0.3:
                fold.tables()  # looking changes nothing
    for source, _, objects, mapped in given_:
        fold.objects(objects, source)
        fold.mappings(mapped, source)
    same(fold.tables(), in_one_go(given_))


@settings(max_examples=25, deadline=None)
@given(
    seeds,
    st.integers(0, 90),
    st.lists(st.integers(0, 90), max_size=6),
    st.randoms(use_true_random=False),
)
@example(0, 0, [], Random(1))
def test_any_cut_and_any_order_of_batches_adds_up_to_the_whole(
    seed: int, count: int, cuts: list[int], random: Any
) -> None:
    """merge is one function for folding, for several workers and for a cluster."""
    words = Words()
    pieces, ready = [], []
    for host, source in enumerate(HOSTS):
        found = events(seed + host, count).assign(row=np.arange(count))
        bounds = [0, *sorted(min(cut, count) for cut in cuts), count]
        judge = Judge(source.variants)
        parts = [found.iloc[start:end] for start, end in itertools.pairwise(bounds)]
        for part in (found, *parts):
            batch = batch_of(part, source)
            unknown: dict[str, Any] = {"folio_order_max": np.full(len(part), 255, np.uint8)}
            unknown["owner_uid"] = np.full(len(part), 0xFFFFFFFF, np.uint32)
            codes = judge.codes({**batch.columns, **unknown})
            ids = np.append(words.outcome_ids(judge.outcomes), np.int32(-1))[codes]
            sums = Sums(words)
            if len(part):
                rows = sums.rows(batch)
                sums.observe(rows)
                sums.count(rows, ids)
                ready.append((part is found, batch, ids))
            pieces.append((part is found, sums))
    whole = [made for is_whole, made in pieces if is_whole]
    parts_ = [made for is_whole, made in pieces if not is_whole]
    random.shuffle(parts_)
    middle = random.randint(0, len(parts_))
    nested = merge(words, merge(words, *parts_[:middle]), merge(words, *parts_[middle:]))
    running = Sums(words)
    random.shuffle(ready)
    for is_whole, batch, ids in ready:
        if not is_whole:
            rows = running.rows(batch)
            running.observe(rows)
            running.count(rows, ids)
    want = Tables(merge(words, *whole))
    same(Tables(merge(words, *parts_)), want)
    same(Tables(nested), want)
    same(Tables(running), want)


@settings(max_examples=15, deadline=None)
@given(seeds, st.integers(0, 150))
def test_tables_are_what_plain_counting_gives(seed: int, count: int) -> None:
    source = HOSTS[0]
    rows = events(seed, count)
    objects = announcements(rows, seed)
    tables = in_one_go([(source, rows, objects, baseline(seed, 0))])
    # The scan of /proc knows no folio order: only the kernel side's announcements judge.
    judged = judge(rows, _as_judged(objects), source.variants)
    judged = judged[decided(judged)]
    by = {name: Counted() for name in ("object", "fd", "process", "op", "rule")}
    steps: dict[int, int] = {}
    pids: dict[tuple[int, ...], set[int]] = {}
    for place, named in enumerate(judged.astype(object).to_dict("records")):
        row = {str(name): value for name, value in named.items()}
        what = row["dev"], row["ino"], row["gen"]
        if row["ino"]:
            by["object"].add(what, row, place)
            by["fd"].add((row["pid"], row["fd"], *what), row, place)
            pids.setdefault(what, set()).add(row["pid"])
        by["process"].add((row["pid"],), row, place)
        by["op"].add((row["op"],), row, place)
        rule = tuple(row[name] for name in ("verdict", "op", "expected", "reason", "rule"))
        hole = None if pd.isna(row["hole"]) else row["hole"]
        by["rule"].add((*rule, hole), row, place)
        steps[row["time_ns"] // 10**6] = steps.get(row["time_ns"] // 10**6, 0) + 1

    key = ["dev", "ino", "gen"]
    counted = next(iter(by["op"].rows().values())).keys() if count and len(judged) else []
    found = rows_of(tables.by_object, key, [*counted, "processes"])
    asked = {place: row for place, row in found.items() if row.get("decisions")}
    want = {
        place: row | {"processes": len(pids[place])} for place, row in by["object"].rows().items()
    }
    assert asked == want
    assert rows_of(tables.by_fd, ["pid", "fd", *key], list(counted)) == by["fd"].rows()
    assert rows_of(tables.by_process, ["pid"], list(counted)) == by["process"].rows()
    bare = [name for name in counted if not name.startswith("last_") or name == "last_ns"]
    assert rows_of(tables.by_op, ["op"], bare) == by["op"].rows(last=False)
    rules = rows_of(tables.by_rule, ["verdict", "op", "expected", "reason", "rule", "hole"],
                    ["decisions", "first_ns", "last_ns"])  # fmt: skip
    assert rules == {
        place: {name: row[name] for name in ("decisions", "first_ns", "last_ns")}
        for place, row in by["rule"].rows(last=False).items()
    }
    over_time = tables.over_time(10**6)
    times, numbers = over_time["time_ns"].tolist(), over_time["decisions"].tolist()
    at = {when // 10**6: number for when, number in zip(times, numbers, strict=True) if number}
    assert at == steps
    assert tables.decisions == len(judged)


def _as_judged(objects: pd.DataFrame) -> pd.DataFrame:
    """What the fold takes of announcements: the earliest of the kernel, the earliest owner."""
    rows = objects.sort_values(["time_ns", "cpu", "seq"], kind="stable")
    key = ["dev", "ino", "gen"]
    from_kernel = rows[rows["cpu"] != 0xFFFF].drop_duplicates(key)
    owned = rows[rows["mode"] != 0].drop_duplicates(key)
    found = rows.drop_duplicates(key)[key]
    found = found.merge(from_kernel[[*key, "folio_order_max"]], on=key, how="left")
    return found.merge(owned[[*key, "owner_uid"]], on=key, how="left")


def test_by_object_as_it_is_now() -> None:
    """Seals, size, owner, age and counts of one object's life, told out of order."""
    source = HOSTS[0]
    rows = events(0, 6).assign(
        time_ns=[100, 300, 200, 400, 500, 600],
        duration_ns=[0, 10, 250, 0, 0, 0],
        op=["create", "write", "truncate", "add_seals", "write", "evict"],
        dev=1, ino=5, gen=9, kind="memfd", pid=[7, 7, 7, 7, 8, 7], fd=[3, 3, 3, 3, 4, -1],
        uid=1000, comm=["make", "make", "make", "make", "use", "make"], flags=0,
        seals=[0, 0, 0, 0, 8, 8], seals_after=[0, 0, 0, 8, 8, 8],
        size=[0, 0, 0, 8192, 8192, 8192], size_after=[0, 4096, 8192, 8192, 8192, 8192],
        length=[0, 10, 8192, 0, 10, 0], arg=[2, 0, 8, 8, 0, 0], answer=[3, 10, 0, 0, -1, 0],
        writable=0, mode=0o100777, fmode=3,
    )  # fmt: skip
    objects = announcements(rows, 0, 1.0).head(1).assign(
        time_ns=99, cpu=0, kind="memfd", name="memfd:box", owner_uid=1000, create_flags=2,
        mode=0o100777, size=0, seals=0, folio_order_max=0,
    )  # fmt: skip
    tables = in_one_go([(source, rows, objects, baseline(0, 0))])
    (found,) = rows_of(tables.by_object, ["boot_id"]).values()
    assert found == {
        "host": "alpha", "kind": "memfd", "name": "memfd:box", "dev": 1, "ino": 5, "gen": 9,
        "seals": 8, "size": 8192, "owner_uid": 1000, "processes": 2, "fds": 2, "mappings": 0,
        "writable": 0, "allowed": 4, "error": 0, "blocked": 1, "indeterminate": 0,
        "unexplained": 0, "breach": 0, "decisions": 5, "worst": "blocked", "first_ns": 100,
        "last_ns": 500, "last_op": "write", "last_answer": -1, "last_errno": "EPERM",
        "created_ns": 99, "evicted_ns": 600, "age_ns": 501,
    }  # fmt: skip


def test_the_size_now_is_that_of_the_last_return_not_of_the_last_entry() -> None:
    """A slow truncate began before a fast write and returned after it."""
    rows = events(0, 2).assign(
        op=["write", "truncate"], time_ns=[200, 100], duration_ns=[10, 500], ino=5, dev=1, gen=1,
        flags=0, size_after=[4096, 64],
    )  # fmt: skip
    tables = in_one_go([(HOSTS[0], rows, announcements(rows, 0, 0), baseline(0, 0))])
    assert tables.by_object["size"].tolist() == [64]
    missing = rows.assign(flags=8)
    tables = in_one_go([(HOSTS[0], missing, announcements(rows, 0, 0), baseline(0, 0))])
    assert tables.by_object["size"].isna().tolist() == [True]


def test_hosts_with_the_same_numbers_are_apart() -> None:
    rows = events(3, 60)
    objects = announcements(rows, 3)
    both = in_one_go([(source, rows, objects, baseline(3, 3)) for source in HOSTS])
    for name in ("by_object", "by_fd", "by_process", "by_op"):
        table = getattr(both, name)
        sizes = table.groupby("boot_id", observed=True)["decisions"].agg(["size", "sum"])
        assert sizes.loc["boot-a"].tolist() == sizes.loc["boot-b"].tolist()
    assert both.recordings["decisions"].tolist() == [both.decisions // 2] * 2


def test_two_recordings_of_one_boot_are_one_host() -> None:
    rows = events(4, 60)
    objects = announcements(rows, 4)
    halves = [rows.iloc[:30], rows.iloc[30:]]
    sources = [Source(f"{place}.seal", "boot", "h", "6.1") for place in range(2)]
    both = in_one_go(
        [(sources[0], halves[0], objects, baseline(4, 0)),
         (sources[1], halves[1], objects, baseline(4, 0))]
    )  # fmt: skip
    whole = in_one_go([(Source("w", "boot", "h", "6.1"), rows, objects, baseline(4, 0))])
    for name in NAMES[1:]:
        assert_frame_equal(getattr(both, name), getattr(whole, name), obj=name)


def test_never_announced_objects_are_counted_and_told() -> None:
    rows = events(5, 50)
    tables = in_one_go([(HOSTS[0], rows, announcements(rows, 5, 0), baseline(5, 0))])
    real = decided(rows) & (rows["ino"] > 0)
    assert tables.unannounced == int(real.sum())
    assert tables.decisions == int(decided(rows).sum())
    assert tables.by_object["name"].isna().all()
    assert tables.by_object["owner_uid"].isna().all()


def test_more_waiting_than_there_is_room_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest are judged without their announcement; none is lost and none counted twice."""
    monkeypatch.setattr("tracer.analysis.decisions.WAITING", 7)
    rows = events(6, 80).assign(row=np.arange(80))
    fold = Decisions()
    for start in range(0, 80, 5):
        fold.add(batch_of(rows.iloc[start : start + 5], HOSTS[0]))
    assert fold.tables().decisions == int(decided(rows).sum())
    fold.objects(announcements(rows, 6, 1.0), HOSTS[0])
    assert fold.tables().decisions == int(decided(rows).sum())


def test_a_baseline_without_generation_is_the_object_that_was_there() -> None:
    """It lends its name and mappings to the first object of that number not made meanwhile."""
    rows = events(0, 2).assign(
        op="write", time_ns=[10, 20], duration_ns=0, dev=1, ino=5, gen=[7, 8], flags=0, answer=1
    )
    scanned = (
        announcements(rows, 0, 1.0)
        .head(1)
        .assign(cpu=0xFFFF, gen=0, name="memfd:old", time_ns=1, mode=0, create_flags=None)
    )
    mapped = baseline(0, 1).assign(op="map", dev=1, ino=5, gen=0, arg=8 | 2, pid=3, answer=4096,
                                   time_ns=1)  # fmt: skip
    fold = Decisions()
    fold.objects(scanned, HOSTS[0])
    fold.mappings(mapped, HOSTS[0])
    fold.add(batch_of(rows, HOSTS[0]))
    table = fold.tables().by_object
    assert rows_of(table, ["gen"], ["name", "mappings", "writable"]) == {
        (7,): {"name": "memfd:old", "mappings": 1, "writable": 1},
        (8,): {"name": None, "mappings": 0, "writable": 0},
    }
    made = scanned.assign(cpu=0, gen=7, name="memfd:new", time_ns=5, create_flags=3)
    fold.objects(made, HOSTS[0])
    # Now gen 7 is known to be new: the old one was another, and gone before.
    assert rows_of(fold.tables().by_object, ["gen"], ["name", "mappings"]) == {
        (0,): {"name": "memfd:old", "mappings": 1},
        (7,): {"name": "memfd:new", "mappings": 0},
        (8,): {"name": None, "mappings": 0},
    }


SWEPT = (100, 50)
"""When the sweep began, and how long it took."""


@pytest.mark.parametrize(
    ("created", "evicted", "rows"),
    [
        (90, None, 1),
        (100, None, 1),
        (130, None, 1),  # while the sweep went on
        (150, None, 1),
        (151, None, 2),  # the sweep saw another one
        (90, 99, 2),  # gone before the sweep began
        (90, 120, 1),
    ],
)
def test_an_object_made_during_the_trace_that_the_sweep_saw_too_is_one(
    created: int, evicted: int | None, rows: int
) -> None:
    ops = ["create"] if evicted is None else ["create", "evict"]
    times = [created] if evicted is None else [created, evicted]
    made = events(0, len(ops)).assign(
        op=ops, time_ns=times, duration_ns=0, dev=1, ino=5, gen=7, flags=0, answer=3
    )
    swept = baseline(0, 1).assign(
        op="open", dev=1, ino=5, gen=0, pid=3, time_ns=SWEPT[0], duration_ns=SWEPT[1]
    )
    announced = (
        announcements(made, 0, 1.0)
        .head(1)
        .assign(cpu=0xFFFF, gen=0, name="memfd:x", time_ns=SWEPT[0], create_flags=None)
    )
    fold = Decisions()
    fold.add(batch_of(made, HOSTS[0]))
    fold.objects(announced, HOSTS[0])
    fold.mappings(swept, HOSTS[0])
    table = rows_of(fold.tables().by_object, ["gen"], ["name"])
    assert len(table) == rows
    assert table[(7 if rows == 1 else 0,)]["name"] == "memfd:x"


def test_the_one_that_was_there_is_chosen_of_several() -> None:
    """An inode number that was used again: the sweep came between the two ends."""
    made = events(0, 4).assign(
        op=["create", "evict", "create", "write"], time_ns=[10, 20, 30, 40], duration_ns=0, dev=1,
        ino=5, gen=[7, 7, 8, 9], flags=0, answer=3,
    )  # fmt: skip
    swept = baseline(0, 1).assign(op="map", dev=1, ino=5, gen=0, time_ns=25, duration_ns=6,
                                  pid=3, answer=4096, arg=8 | 2)  # fmt: skip
    fold = Decisions()
    fold.add(batch_of(made, HOSTS[0]))
    fold.mappings(swept, HOSTS[0])
    found = rows_of(fold.tables().by_object, ["gen"], ["mappings"])
    assert found == {(7,): {"mappings": 0}, (8,): {"mappings": 1}, (9,): {"mappings": 0}}


def test_what_an_audit_asks_at_the_end_is_no_baseline() -> None:
    rows = baseline(0, 4).assign(
        op=["open", "open", "mapped", "attach"], ino=[5, 6, 6, 6], gen=7, dev=1,
        flags=[0, int(Flag.FINAL), 0, 0],
    )  # fmt: skip
    fold = Decisions()
    fold.mappings(rows, HOSTS[0])
    assert fold.tables().by_object["ino"].tolist() == [5]


def test_what_the_scan_could_not_read_is_not_known() -> None:
    """Without permission it says 0 for the size and has no mode."""
    mapped = baseline(0, 2).assign(op="open", ino=[5, 6], mode=[0, 0o100600], size=[0, 77])
    mapped = mapped.assign(size_after=mapped["size"])
    fold = Decisions()
    fold.mappings(mapped, HOSTS[0])
    found = rows_of(fold.tables().by_object, ["ino"], ["size", "seals", "owner_uid"])
    assert found == {
        (5,): {"size": None, "seals": None, "owner_uid": None},
        (6,): {"size": 77, "seals": None, "owner_uid": None},
    }


def test_announcements_may_come_again_and_the_last_name_counts() -> None:
    rows = events(0, 1).assign(op="write", dev=1, ino=5, gen=7, flags=0)
    first = (
        announcements(rows, 0, 1.0)
        .head(1)
        .assign(time_ns=10, cpu=0, name="memfd:a", owner_uid=5, mode=0o100600)
    )
    second = first.assign(time_ns=20, name="memfd:b", owner_uid=6)
    for order in ([first, second], [second, first], [first, second, first, second]):
        fold = Decisions()
        for frame in order:
            fold.objects(frame, HOSTS[0])
        fold.add(batch_of(rows, HOSTS[0]))
        (found,) = rows_of(fold.tables().by_object, ["gen"], ["name", "owner_uid"]).values()
        assert found == {"name": "memfd:b", "owner_uid": 5}


def test_an_empty_recording_has_all_tables_with_all_columns() -> None:
    rows = events(0, 40)
    objects = announcements(rows, 0)
    full = in_one_go([(HOSTS[0], rows, objects, baseline(0, 2))])
    empty = in_one_go([(HOSTS[0], rows.head(0), objects.head(0), baseline(0, 0))])
    for name in NAMES:
        assert list(getattr(empty, name).columns) == list(getattr(full, name).columns), name
    assert len(empty.by_object) == len(empty.listed) == 0
    assert list(empty.over_time().columns) == list(full.over_time().columns)
    assert empty.verdicts == dict.fromkeys(full.verdicts, 0)
    none = Decisions().tables()
    assert none.decisions == 0
    assert len(none.by_fd) == len(none.recordings) == len(none.losses) == 0


def test_what_is_kept_is_asked_of_judged_columns() -> None:
    rows = events(7, 100)
    objects = announcements(rows, 7)
    seen: list[str] = []

    def keep(judged: Judged) -> np.ndarray:
        assert judged.rows == len(judged["op"]) == len(judged["reason"].codes)
        assert judged.source is HOSTS[0]
        words = judged["comm"].words
        seen.extend(words[code] for code in judged["comm"].codes)
        return np.asarray((judged["verdict"] == 2) | (judged["severity"] > 1))

    fold = Decisions(keep=keep)
    fold.objects(objects, HOSTS[0], complete=True)
    fold.add(batch_of(rows, HOSTS[0]))
    whole = in_one_go([(HOSTS[0], rows, objects, baseline(7, 0))])
    found = fold.tables()
    assert seen == rows.loc[decided(rows), "comm"].tolist()
    for word in ("blocked", "unexplained", "breach"):
        assert found.verdicts[word] == whole.verdicts[word]
    assert found.verdicts["allowed"] == found.verdicts["error"] == 0
    # Objects are as they are, whatever was asked for.
    now = ["dev", "ino", "gen"], ["seals", "size", "mappings", "age_ns"]
    assert rows_of(found.by_object, *now) == rows_of(whole.by_object, *now)


def test_judged_rows_as_a_frame() -> None:
    """What is shown is judged as what is counted is, facts too; and looking counts nothing."""
    rows = events(7, 60)
    found = Decisions()
    frame = found.judge(batch_of(rows, HOSTS[0])).frame()
    want = judge(rows, None, HOSTS[0].variants)
    for name in ("verdict", "expected", "reason", "rule", "hole"):
        pairs = zip(frame[name], want[name], strict=True)
        assert all(pd.isna(one) if pd.isna(other) else one == other for one, other in pairs), name
    assert frame["severity"].tolist() == want["severity"].tolist()
    assert frame["op"].tolist() == rows["op"].tolist()
    assert frame["errno"].notna().any()
    assert found.tables().decisions == 0


def test_rows_come_worst_first() -> None:
    rows = events(8, 150)
    tables = in_one_go([(HOSTS[0], rows, announcements(rows, 8), baseline(8, 0))])
    for name in ("by_object", "by_fd", "by_process", "by_op"):
        table = getattr(tables, name)
        worst = [-1 if code < 0 else code for code in table["worst"].cat.codes]
        assert worst == sorted(worst, reverse=True), name
        for _, some in table.groupby("worst", observed=True):
            most = some[str(some["worst"].iloc[0])].tolist()
            assert most == sorted(most, reverse=True), name


def test_extreme_numbers() -> None:
    """A recording may be somebody else's."""
    big = 2**63 - 1
    rows = events(9, 4).assign(
        op="write", time_ns=[-big - 1, big, 0, 5], duration_ns=[big, big, 0, 0],
        pid=0xFFFFFFFF, uid=0xFFFFFFFF, ino=np.array([2**64 - 1] * 4, np.uint64), dev=0xFFFFFFFF,
        gen=0xFFFFFFFF, fd=[-(2**31), 2**31 - 1, -1, 0], size=np.array([2**64 - 1] * 4, np.uint64),
        seals=SEALS, seals_after=SEALS, answer=[-big - 1, big, -4096, -4095], flags=0xFFFF,
    )  # fmt: skip
    tables = in_one_go([(HOSTS[0], rows, announcements(rows, 9), baseline(9, 0))])
    assert tables.by_object["decisions"].tolist() == [4]
    assert sorted(tables.by_fd["fd"].tolist()) == [-(2**31), -1, 0, 2**31 - 1]
    assert tables.by_object["fds"].tolist() == [3]
    assert tables.by_process["pid"].tolist() == [0xFFFFFFFF]
    assert tables.over_time()["decisions"].sum() == 4


SEALS = 0x7FFFFFFF
