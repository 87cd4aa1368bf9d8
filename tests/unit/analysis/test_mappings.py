"""Mappings that exist, their lives, and who held them when sealing failed."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.analysis.analysis_data import HOSTS, baseline, events, rows_of
from tracer.analysis.decisions import Decisions
from tracer.analysis.frames import batch_of
from tracer.analysis.grouping import BEFORE, NEVER
from tracer.analysis.mappings import lifetimes
from tracer.analysis.timeline import with_holders, with_pins
from tracer.analysis.totals import Tables

pytestmark = pytest.mark.slow

MAY_WRITE, WRITE_NOW, READ_ONLY = 8 | 0x20, 8 | 2, 8
BOOT = HOSTS[0].boot_id


def mapped(*rows: dict[str, Any]) -> pd.DataFrame:
    """map and unmap events: ``op``, ``at`` (ns), ``pid``, ``mm``, ``address`` and what differs."""
    plain = {"dev": 1, "ino": 5, "gen": 7, "uid": 0, "comm": "vmm", "kind": "memfd", "fd": -1,
             "arg": WRITE_NOW, "flags": 0, "length": 4096, "seals": 0, "seals_after": 0,
             "duration_ns": 0, "size": 0, "size_after": 0}  # fmt: skip
    filled = [plain | {"time_ns": row.pop("at"), "answer": row.pop("address", 4096)} | row
              for row in map(dict, rows)]  # fmt: skip
    return events(0, len(rows)).assign(**pd.DataFrame(filled))


def folded(found: pd.DataFrame, scanned: pd.DataFrame | None = None) -> Tables:
    fold = Decisions()
    if scanned is not None:
        fold.mappings(scanned, HOSTS[0])
    fold.add(batch_of(found, HOSTS[0]))
    return fold.tables()


def live(tables: Tables) -> dict[tuple[Any, ...], dict[str, Any]]:
    found = rows_of(tables.by_object, ["ino"], ["mappings", "writable"])
    return {key: row for key, row in found.items() if row["mappings"]}


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(0, 60), st.integers(0, 6))
def test_what_is_left_is_what_plain_books_say(seed: int, count: int, scanned: int) -> None:
    """And the lives of mappings that last are just these."""
    rng = np.random.default_rng(seed)
    found = events(seed, count).assign(
        op=rng.choice(["map", "unmap"], count), dev=1, ino=rng.integers(1, 4, count), gen=7,
        flags=rng.choice([0, 64], count),
    )  # fmt: skip
    old = baseline(seed, scanned).assign(op="map", gen=7, dev=1)
    books: dict[tuple[Any, ...], int] = {}
    told = set()
    order = np.lexsort((np.arange(count), found["time_ns"]))
    for row in found.iloc[order].to_dict("records"):
        key = row["ino"], row["mm"], row["answer"]
        books.pop(key, None)
        if row["op"] == "map":
            books[key] = row["arg"]
        if row["op"] == "unmap" or not row["flags"]:
            told.add((row["pid"], row["answer"]))
    for row in old.to_dict("records"):
        if (row["pid"], row["answer"]) not in told:
            books[row["ino"], "scanned", row["pid"], row["answer"]] = row["arg"]
    want: dict[tuple[Any, ...], dict[str, int]] = {}
    for (ino, *_), arg in books.items():
        mine = want.setdefault((ino,), {"mappings": 0, "writable": 0})
        mine["mappings"] += 1
        mine["writable"] += bool(arg & 8) and bool(arg & 0x22)
    assert live(folded(found, old)) == want

    lives = lifetimes(found.assign(boot_id=BOOT), old.assign(boot_id=BOOT))
    lasting = lives[lives["end_ns"] == NEVER]
    assert lasting.groupby("ino").size().to_dict() == {
        ino: row["mappings"] for (ino,), row in want.items()
    }


def test_a_life() -> None:
    found = mapped(
        {"op": "map", "at": 10, "pid": 7, "mm": 1},
        {"op": "map", "at": 15, "pid": 7, "mm": 1, "address": 8192, "arg": READ_ONLY},
        {"op": "unmap", "at": 20, "pid": 7, "mm": 1},
        {"op": "map", "at": 30, "pid": 7, "mm": 1, "arg": MAY_WRITE},
        {"op": "unmap", "at": 5, "pid": 9, "mm": 2, "comm": "old"},
    )
    old = baseline(0, 1).assign(op="map", dev=1, ino=5, gen=7, pid=11, answer=4096, arg=WRITE_NOW,
                                comm="scanned")  # fmt: skip
    lives = lifetimes(found.assign(boot_id=BOOT), old.assign(boot_id=BOOT))
    key = ["pid", "address", "begin_ns"]
    assert rows_of(lives, key, ["comm", "writable", "end_ns", "forked"]) == {
        (7, 4096, 10): {"comm": "vmm", "writable": True, "end_ns": 20, "forked": False},
        (7, 4096, 30): {"comm": "vmm", "writable": True, "end_ns": NEVER, "forked": False},
        (7, 8192, 15): {"comm": "vmm", "writable": False, "end_ns": NEVER, "forked": False},
        # Its begin was before the trace.
        (9, 4096, BEFORE): {"comm": "old", "writable": True, "end_ns": 5, "forked": False},
        (11, 4096, BEFORE): {"comm": "scanned", "writable": True, "end_ns": NEVER, "forked": False},
    }


def test_a_lost_unmap_ends_where_the_next_mapping_begins() -> None:
    found = mapped(
        {"op": "map", "at": 10, "pid": 7, "mm": 1}, {"op": "map", "at": 30, "pid": 7, "mm": 1}
    )
    lives = lifetimes(found.assign(boot_id=BOOT), baseline(0, 0).assign(boot_id=BOOT))
    assert sorted(zip(lives["begin_ns"], lives["end_ns"], strict=True)) == [(10, 30), (30, NEVER)]
    assert live(folded(found)) == {(5,): {"mappings": 1, "writable": 1}}


def test_a_mapping_made_while_proc_was_read_counts_once() -> None:
    """And one that was there before and unmapped in between does not count."""
    found = mapped(
        {"op": "map", "at": 10, "pid": 7, "mm": 1},
        {"op": "unmap", "at": 11, "pid": 8, "mm": 2},
    )
    old = baseline(0, 2).assign(
        op="map", dev=1, ino=5, gen=7, pid=[7, 8], answer=4096, arg=WRITE_NOW, time_ns=[12, 9]
    )
    assert live(folded(found, old)) == {(5,): {"mappings": 1, "writable": 1}}


def test_a_fork_is_the_childs_as_soon_as_it_shows() -> None:
    fork = {"op": "map", "at": 20, "pid": 7, "mm": 2, "flags": 64}
    own = {"op": "map", "at": 10, "pid": 7, "mm": 1}
    found = mapped(own, fork)
    nobody = baseline(0, 0).assign(boot_id=BOOT)
    lives = lifetimes(found.assign(boot_id=BOOT), nobody)
    assert sorted(zip(lives["pid"], lives["forked"], strict=True)) == [(7, False), (7, True)]
    assert live(folded(found)) == {(5,): {"mappings": 2, "writable": 2}}
    # The child exits: the kernel takes its address space down in its own name.
    gone = {"op": "unmap", "at": 30, "pid": 8, "mm": 2, "flags": 64, "comm": "child"}
    lives = lifetimes(mapped(own, fork, gone).assign(boot_id=BOOT), nobody)
    assert rows_of(lives, ["pid"], ["comm", "forked", "end_ns"]) == {
        (7,): {"comm": "vmm", "forked": False, "end_ns": NEVER},
        (8,): {"comm": "child", "forked": False, "end_ns": 30},
    }
    assert live(folded(mapped(own, fork, gone))) == {(5,): {"mappings": 1, "writable": 1}}


def test_who_only_ended_it_is_not_its_holder() -> None:
    """Who looks into a process that is killed may run its exit, and is exiting itself."""
    own = {"op": "map", "at": 10, "pid": 7, "mm": 1, "own_mm": 1}
    gone = {"op": "unmap", "at": 30, "pid": 9, "mm": 1, "own_mm": 0, "comm": "reader"}
    lives = lifetimes(mapped(own, gone).assign(boot_id=BOOT), baseline(0, 0).assign(boot_id=BOOT))
    assert lives[["pid", "comm", "end_ns"]].to_numpy().tolist() == [[7, "vmm", 30]]


def test_nothing_is_left_of_what_is_gone() -> None:
    """An unmap was lost; when the object itself goes, it cannot be mapped any more."""
    found = mapped(
        {"op": "map", "at": 10, "pid": 7, "mm": 1}, {"op": "evict", "at": 30, "pid": 7, "mm": 0}
    )
    assert live(folded(found)) == {}


def test_mappings_that_ended_long_ago_are_forgotten(monkeypatch: Any) -> None:
    monkeypatch.setattr("tracer.analysis.sums.MOST_MAPPINGS", 4)
    fold = Decisions()
    old = baseline(0, 1).assign(op="map", dev=1, ino=5, gen=7, pid=7, answer=4096, arg=WRITE_NOW)
    fold.mappings(old, HOSTS[0])
    for turn in range(50):
        start = turn * 100 * 10**9
        rows = mapped(
            {"op": "map", "at": start, "pid": 7, "mm": 1, "address": 4096 * (1 + turn)},
            {"op": "unmap", "at": start + 5, "pid": 7, "mm": 1, "address": 4096 * (1 + turn)},
            {"op": "map", "at": start + 6, "pid": 7, "mm": 2, "address": 4096 * (turn % 3)},
        )
        fold.add(batch_of(rows.assign(row=np.arange(3) + 3 * turn), HOSTS[0]))
    assert len(fold.tables().sums["maps"]) < 12
    assert live(fold.tables()) == {(5,): {"mappings": 3, "writable": 3}}


def sealing(*rows: dict[str, Any]) -> pd.DataFrame:
    """create and add_seals events."""
    return mapped(*({"address": row.pop("answer", 0), "mm": 0, "writable": 0} | row
                    for row in map(dict, rows)))  # fmt: skip


def test_seals_in_time() -> None:
    found = sealing(
        {"op": "create", "at": 1, "pid": 7, "answer": 3, "seals_after": 0, "arg": 2},
        {"op": "add_seals", "at": 5, "pid": 7, "seals": 0, "seals_after": 6, "arg": 6},
        {"op": "add_seals", "at": 7, "pid": 7, "seals": 6, "seals_after": 6, "arg": 2},
        {"op": "add_seals", "at": 9, "pid": 8, "seals": 6, "seals_after": 14, "arg": 8},
        {"op": "add_seals", "at": 8, "pid": 8, "seals": 6, "seals_after": 6, "arg": 8,
         "answer": -16, "writable": 2},
    )  # fmt: skip
    tables = folded(found)
    columns = ["op", "pid", "seals", "added", "seals_after"]
    assert rows_of(tables.seals, ["time_ns"], columns) == {
        (1,): {"op": "create", "pid": 7, "seals": 0, "added": 0, "seals_after": 0},
        (5,): {"op": "add_seals", "pid": 7, "seals": 0, "added": 6, "seals_after": 6},
        (9,): {"op": "add_seals", "pid": 8, "seals": 6, "added": 8, "seals_after": 14},
    }
    (busy,) = rows_of(tables.busy, ["time_ns"]).values()
    assert (busy["pid"], busy["added"], busy["writable"]) == (8, 8, 2)


def test_late_seals() -> None:
    made = {"op": "create", "at": 1, "pid": 7, "answer": 3}
    seal = {"op": "add_seals", "at": 50, "pid": 7, "seals_after": 8, "arg": 8}
    use = {"op": "write", "at": 20, "pid": 9, "answer": 10}

    def late(*rows: dict[str, Any], scanned: pd.DataFrame | None = None) -> list[dict[str, Any]]:
        found = folded(sealing(*rows), scanned).late_seals
        return list(rows_of(found, ["time_ns"]).values())

    # Made, mapped, filled, unmapped and sealed by one process: that is how it is meant.
    own = {"op": "map", "at": 10, "pid": 7, "mm": 1, "answer": 4096, "arg": WRITE_NOW}
    end = own | {"op": "unmap", "at": 15}
    assert late(made, own, end, seal) == []
    # SHRINK says nothing about writing.
    assert late(made, use, seal | {"seals_after": 2, "arg": 2}) == []
    (found,) = late(made, use, own, end, seal)
    assert (found["seal"], found["mapped"], found["others"]) == ("WRITE", True, 1)
    assert found["why"] == "used by 1 other process before"
    # Used by another only afterwards.
    assert late(made, use | {"at": 60}, seal) == []
    # Who unmaps it had mapped it; but an address space may be let go of by anybody.
    (found,) = late(made, use | {"op": "unmap", "mm": 3, "answer": 4096}, seal)
    assert found["others"] == 1
    assert late(made, use | {"op": "unmap", "mm": 3, "answer": 4096, "flags": 64}, seal) == []
    future = seal | {"seals_after": 16, "arg": 16, "writable": 2}
    (found,) = late(made, own, future)
    assert (found["seal"], found["writable"], found["mapped"]) == ("FUTURE_WRITE", 2, True)
    assert found["why"] == "2 shared writable mappings then"
    # Held by another when the trace began.
    held = baseline(0, 1).assign(op="open", dev=1, ino=5, gen=0, pid=33)
    (found,) = late(seal, scanned=held)
    assert found["others"] == 1


def test_late_seals_after_exec_implied_them() -> None:
    """F_SEAL_EXEC alone was asked for; WRITE came with it (mm/memfd.c)."""
    seal = {"op": "add_seals", "at": 50, "pid": 7, "seals_after": 0x3E, "arg": 0x20, "writable": 1}
    (found,) = rows_of(folded(sealing(seal)).late_seals, ["time_ns"]).values()
    assert found["seal"] == "WRITE|FUTURE_WRITE"


def test_who_held_the_mappings() -> None:
    maps = mapped(
        {"op": "map", "at": 10, "pid": 7, "mm": 1},
        {"op": "map", "at": 11, "pid": 7, "mm": 1, "address": 8192},
        {"op": "map", "at": 12, "pid": 8, "mm": 2, "comm": "helper"},
        {"op": "map", "at": 13, "pid": 9, "mm": 3, "comm": "reader", "arg": READ_ONLY},
        {"op": "map", "at": 14, "pid": 10, "mm": 4, "comm": "gone"},
        {"op": "unmap", "at": 15, "pid": 10, "mm": 4, "comm": "gone"},
        {"op": "map", "at": 16, "pid": 8, "mm": 5, "flags": 64},
        {"op": "map", "at": 99, "pid": 11, "mm": 6, "comm": "later"},
        {"op": "map", "at": 10, "pid": 12, "mm": 7, "comm": "elsewhere", "ino": 6},
    ).assign(boot_id=BOOT)
    old = baseline(0, 1).assign(op="map", dev=1, ino=5, gen=7, pid=20, comm="before", answer=0,
                                arg=WRITE_NOW, boot_id=BOOT)  # fmt: skip
    tables = folded(
        sealing({"op": "add_seals", "at": 50, "pid": 7, "arg": 8, "answer": -16, "writable": 5})
    )
    found = with_holders(tables.busy, lifetimes(maps, old))
    assert found["held"].tolist() == [5]
    assert found["holders"].tolist() == ["vmm/7 before/20 helper/8 vmm/8 fork"]
    empty = with_holders(tables.busy, lifetimes(maps.head(0), old.head(0)))
    assert empty["holders"].tolist() == [""]
    none = with_holders(tables.busy.head(0), lifetimes(maps, old))
    assert list(none.columns) == list(found.columns)


@pytest.mark.parametrize(("writable", "wanted"), [(0, "late/9 pin vmm/7 pin"), (1, "")])
def test_who_pinned_pages_of_a_file_that_nobody_maps(writable: int, wanted: str) -> None:
    """Where the kernel counted a writable mapping, that is why it was busy."""
    pins = mapped(
        {"op": "pin", "at": 10, "pid": 7},
        {"op": "pin", "at": 11, "pid": 7},
        {"op": "pin", "at": 20, "pid": 9, "comm": "late"},
        {"op": "pin", "at": 21, "pid": 10, "comm": "refused", "answer": -14},
        {"op": "pin", "at": 51, "pid": 11, "comm": "after"},
        {"op": "pin", "at": 12, "pid": 12, "comm": "elsewhere", "ino": 6},
    ).assign(boot_id=BOOT)
    tables = folded(
        sealing(
            {"op": "add_seals", "at": 50, "pid": 7, "arg": 8, "answer": -16, "writable": writable}
        )
    )
    lives = lifetimes(mapped().assign(boot_id=BOOT), baseline(0, 0).assign(boot_id=BOOT))
    assert with_pins(with_holders(tables.busy, lives), pins)["holders"].tolist() == [wanted]


def test_many_holders_are_counted() -> None:
    maps = mapped(*({"op": "map", "at": 10, "pid": pid, "mm": pid} for pid in range(9)))
    tables = folded(
        sealing({"op": "add_seals", "at": 50, "pid": 7, "arg": 8, "answer": -16, "writable": 9})
    )
    lives = lifetimes(maps.assign(boot_id=BOOT), baseline(0, 0).assign(boot_id=BOOT))
    (holders,) = with_holders(tables.busy, lives)["holders"]
    assert holders == "vmm/0 vmm/1 vmm/2 vmm/3 vmm/4 +4 more"


def test_busy_for_ever_is_bounded(monkeypatch: Any) -> None:
    monkeypatch.setattr("tracer.analysis.sums.MOST_BUSY", 5)
    fold = Decisions()
    again = [{"op": "add_seals", "at": at, "pid": 7, "arg": 8, "answer": -16} for at in range(20)]
    made = {"op": "create", "at": 30, "pid": 7, "answer": 3}
    for start in range(0, 20, 3):
        rows = sealing(*again[start : start + 3], made | {"at": 30 + start})
        fold.add(batch_of(rows.assign(row=2 * start + np.arange(len(rows))), HOSTS[0]))
    tables = fold.tables()
    assert tables.busy["time_ns"].tolist() == [0, 1, 2, 3, 4]
    assert len(tables.seals) == 7
