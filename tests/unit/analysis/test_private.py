"""Private and shared guest memory: the rebuilt state against an array of pages kept by hand."""

import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tracer.analysis import private
from tracer.analysis.private import (
    COLUMNS,
    FOREVER,
    PRIVATE,
    SHARED,
    UNKNOWN,
    WORDS,
    Privacy,
)
from tracer.words import Flag

PAGE = 4096
PAGES = 12
"""Of guest-physical memory that is looked at."""
FILE_PAGES = 8
EINVAL, ENOMEM = -22, -12
FILE = {"dev": 1, "ino": 7, "gen": 3}

Row = dict[str, Any]


def frame(rows: list[Row]) -> pd.DataFrame:
    """As events have them; what is not given is 0."""
    found = pd.DataFrame(rows, columns=list(COLUMNS))
    texts = ["op", "kind", "comm"]
    numbers = [name for name in COLUMNS if name not in texts]
    found[texts] = found[texts].astype(object).fillna("")
    found[numbers] = found[numbers].fillna(0).astype(np.int64)
    return found.astype({"length": np.uint64, "arg": np.uint64, "size_after": np.uint64})


def convert(vm: int, since: int, until: int, first: int, pages: int, *, private: bool, number: int,
            taken: int | None = None, answer: int = 0, born: bool = True) -> Row:  # fmt: skip
    """A conversion that KVM took under that number."""
    return {
        "op": "convert", "vm": vm, "time_ns": since, "duration_ns": until - since,
        "offset": first * PAGE, "length": pages * PAGE, "arg": 8 if private else 0, "checks": 1,
        "check_answer": number, "size_after": since if taken is None else taken, "answer": answer,
        "file_answer": 5 if born else 0, "pid": 40 + vm, "comm": "vmm",
    }  # fmt: skip


def refused(vm: int, since: int, offset: int, length: int) -> Row:
    """One that KVM did not take: its range is what the caller's memory said."""
    return {
        "op": "convert", "vm": vm, "time_ns": since, "duration_ns": 1, "offset": offset,
        "length": length, "arg": 8, "checks": 0, "answer": EINVAL, "flags": int(Flag.INFERRED),
        "file_answer": 5, "pid": 40 + vm, "comm": "vmm",
    }  # fmt: skip


def memslot(vm: int, since: int, until: int, slot: int, first: int, pages: int, at: int | None,
            file: Row = FILE, born: bool = True) -> Row:  # fmt: skip
    """``at``: page of the guest_memfd; None: an ordinary slot. ``pages`` 0 deletes it."""
    row = {
        "op": "memslot", "vm": vm, "time_ns": since, "duration_ns": until - since,
        "arg": first * PAGE, "length": pages * PAGE, "check_answer": slot,
        "file_answer": 5 if born else 0, "pid": 40 + vm, "comm": "vmm",
    }  # fmt: skip
    if at is not None:
        row |= {**file, "offset": at * PAGE, "checks": 4, "kind": "guest_memfd"}
    return row


CREATED = {"op": "create", "kind": "guest_memfd", "answer": 5, "time_ns": 0, **FILE}


# ---- the model: each page at each tick, by hand


@dataclass
class Model:
    """One machine: what each page is at each tick."""

    born: bool
    ticks: int
    state: list[list[int]] = field(default_factory=list)

    def play(self, rows: list[Row]) -> None:
        now = [SHARED if self.born else UNKNOWN] * PAGES
        self.state = [list(now) for _ in range(self.ticks)]
        for row in sorted(rows, key=lambda row: row["check_answer"]):
            if row["answer"] != 0:
                continue
            want = PRIVATE if row["arg"] else SHARED
            for page in range(PAGES):
                if not row["offset"] <= page * PAGE < row["offset"] + row["length"]:
                    continue
                changed = now[page] != want
                now[page] = want
                done = row["time_ns"] + row["duration_ns"]
                for tick in range(self.ticks):
                    if tick >= done:
                        self.state[tick][page] = want
                    elif tick >= row["size_after"] and changed:
                        self.state[tick][page] = UNKNOWN

    def over(self, first: int, end: int, since: int, until: int) -> int:
        """What a call of that time on those pages met."""
        pages = [[self.state[t][p] for t in range(since, until + 1)] for p in range(first, end)]
        if any(min(page) == PRIVATE for page in pages):
            return PRIVATE
        return SHARED if all(max(page) == SHARED for page in pages) else UNKNOWN


@st.composite
def histories(draw: st.DrawFn, vm: int) -> tuple[list[Row], list[Row]]:
    """What KVM took of a machine, one after the other, though callers waited long or were slow to
    return; and what it refused."""
    rows: list[Row] = []
    now = 1
    for number in range(1, draw(st.integers(0, 12)) + 1):
        taken = now + draw(st.integers(0, 2))
        done = taken + draw(st.integers(0, 3))
        waited = draw(st.integers(0, taken))
        first = draw(st.integers(0, PAGES - 1))
        row = convert(
            vm, taken - waited, done, first, draw(st.integers(1, PAGES - first)),
            private=draw(st.booleans()), number=number, taken=taken,
            answer=draw(st.sampled_from([0, 0, 0, ENOMEM])),
        )  # fmt: skip
        rows.append(row)
        now = done
    late = [dict(row, duration_ns=row["duration_ns"] + draw(st.integers(0, 2))) for row in rows]
    for before, after in zip(late, rows[1:], strict=False):
        # Told late, but not in the model: the next one was taken, so this one was done.
        assert before["time_ns"] <= after["size_after"]
    odd = draw(st.lists(st.tuples(st.integers(0, now), st.integers(0, 2**63 - 1),
                                  st.integers(0, 2**40)), max_size=3))  # fmt: skip
    return rows, [refused(vm, when, offset, length) for when, offset, length in odd]


def ends(rows: list[Row]) -> int:
    return max((row["time_ns"] + row["duration_ns"] for row in rows), default=0)


@settings(max_examples=40, deadline=None)
@given(st.data(), histories(1), histories(2))
def test_machines_are_as_their_pages(data: st.DataObject, one: Any, other: Any) -> None:
    """Overlapping conversions, refused ones, two machines at a time, in any order of arrival."""
    taken = {1: one[0], 2: other[0]}
    born = {vm: data.draw(st.booleans()) for vm in taken}
    ticks = max(ends(one[0]), ends(other[0])) + 2
    rows: list[Row] = []
    for vm, (mine, odd) in {1: one, 2: other}.items():
        rows += [dict(row, file_answer=5 if born[vm] else 0) for row in (*mine, *odd)]
    found = Privacy(frame(data.draw(st.permutations(rows))))
    ranges = found.ranges()
    for vm, mine in taken.items():
        if not any(row["vm"] == vm for row in rows):
            assert vm not in set(ranges["vm"])
            continue
        model = Model(born[vm], ticks)
        model.play(mine)
        rebuilt = np.full((ticks, PAGES), -1)
        row: Any
        for row in ranges[ranges["vm"] == vm].itertuples():
            part = rebuilt[
                max(0, row.from_ns) : min(ticks, row.until_ns),
                min(PAGES, row.start // PAGE) : min(PAGES, row.end // PAGE),
            ]
            assert (part == -1).all(), "no two ranges overlap"
            part[:] = WORDS.index(row.state)
        assert rebuilt.tolist() == model.state
        told = found.machines().set_index("vm").loc[vm]
        odd = {1: one, 2: other}[vm][1]
        failed = sum(row["answer"] < 0 for row in (*mine, *odd))
        assert told["refused"] == failed
        assert told["conversions"] == len(mine) + len(odd) - failed
        assert told["type"] == (4 if born[vm] else -1)


def rebuilt(found: Privacy, ticks: int) -> list[list[int]]:
    """State of each page at each tick, of the one machine that there is."""
    states = np.full((ticks, PAGES), -1)
    row: Any
    for row in found.ranges().itertuples():
        states[
            max(0, row.from_ns) : min(ticks, row.until_ns),
            min(PAGES, row.start // PAGE) : min(PAGES, row.end // PAGE),
        ] = WORDS.index(row.state)
    return states.tolist()


@settings(max_examples=60, deadline=None)
@given(st.data(), histories(1))
def test_a_machine_that_ran_before_is_known_from_when_it_was_read(
    data: st.DataObject, one: Any
) -> None:
    """A part of its past is there only as what KVM's own array had in the end."""
    taken, _ = one
    unseen = data.draw(st.integers(0, len(taken)))
    read_ns = ends(taken[:unseen]) + 1
    # As its lock has it: what comes later is taken later.
    late = [dict(row, time_ns=row["time_ns"] + 2, size_after=row["size_after"] + 2)
            for row in taken[unseen:]]  # fmt: skip
    counted = data.draw(st.integers(0, 3))
    past, whole = Model(True, 1), Model(True, ends(late) + read_ns + 2)
    past.ticks = read_ns + 1
    past.play(taken[:unseen])
    whole.play([*taken[:unseen], *late])
    swept = [dict(convert(1, read_ns, read_ns, 0, PAGES, private=False, number=counted, born=False),
                  swept=True)]  # fmt: skip
    swept += [
        dict(convert(1, read_ns, read_ns, page, 1, private=True, number=counted, born=False),
             swept=True)
        for page, state in enumerate(past.state[-1]) if state == PRIVATE
    ]  # fmt: skip
    events = frame([
        dict(row, check_answer=counted + place, file_answer=0) for place, row in enumerate(late, 1)
    ])  # fmt: skip
    both = pd.concat([frame(swept).assign(swept=True), events], ignore_index=True)
    found = Privacy(both)
    states = rebuilt(found, whole.ticks)
    assert states[read_ns:] == whole.state[read_ns:]
    assert all(state == UNKNOWN for tick in states[:read_ns] for state in tick)
    failed = sum(row["answer"] < 0 for row in late)
    told = found.machines().iloc[0]
    assert (told["conversions"], told["refused"]) == (len(late) - failed, failed)
    assert told["type"] == -1


calls = st.lists(
    st.tuples(st.integers(0, FILE_PAGES - 1), st.integers(1, 5), st.integers(0, 60),
              st.integers(0, 6)),
    min_size=1, max_size=20,
)  # fmt: skip


@settings(max_examples=40, deadline=None)
@given(st.data(), histories(1), histories(2), calls)
def test_files_are_as_their_pages(data: st.DataObject, one: Any, other: Any, asked: Any) -> None:
    """A guest_memfd whose memslots come, move, are deleted, and may belong to two machines."""
    models = {}
    ticks = 70
    for vm, (mine, _) in {1: one, 2: other}.items():
        models[vm] = Model(True, ticks)
        models[vm].play(mine)
    slots: list[Row] = []
    bound = [[set[tuple[int, int]]() for _ in range(FILE_PAGES)] for _ in range(ticks)]
    odd = np.zeros((ticks, FILE_PAGES), bool)
    """What was not shared while it was bound, and is bound by nothing any more."""
    for number in range(data.draw(st.integers(0, 3))):
        vm, at = data.draw(st.sampled_from([1, 2])), data.draw(st.integers(0, FILE_PAGES - 1))
        pages = data.draw(st.integers(1, FILE_PAGES - at))
        first = data.draw(st.integers(0, PAGES - pages))
        since = data.draw(st.integers(1, 50))
        until = data.draw(st.integers(since + 1, 60) | st.just(FOREVER))
        slots.append(memslot(vm, since, since, number, first, pages, at))
        if until < FOREVER:
            slots.append(memslot(vm, until, until, number, first, 0, None))
        there = [
            models[vm].state[t][first : first + pages] for t in range(since, min(until, ticks))
        ]
        for tick in range(since, ticks):
            for page in range(at, at + pages):
                if tick < until:
                    bound[tick][page].add((vm, first + page - at))
                elif np.any(there):
                    odd[tick, page] = True
    rows = [CREATED, *one[0], *one[1], *other[0], *other[1], *slots]
    found = Privacy(frame(data.draw(st.permutations(rows))))
    for first, pages, since, took in asked:
        call = {**FILE, "offset": first * PAGE, "length": pages * PAGE, "time_ns": since,
                "duration_ns": took}  # fmt: skip
        until, end = since + took, min(first + pages, FILE_PAGES)
        state = int(found.state(frame([call]))[0])
        steady = all(
            bound[t][page] == bound[since][page]  # nor did it change at the very moment
            for t in range(max(since - 1, 0), until + 1) for page in range(first, end)
        )  # fmt: skip
        meets = [
            models[vm].over(page, page + 1, since, until)
            for p in range(first, end) for vm, page in bound[since][p]
        ]  # fmt: skip
        if steady and PRIVATE in meets:
            assert state == PRIVATE
        elif steady and not odd[since : until + 1, first:end].any():
            assert state == max(meets, default=SHARED)
        else:  # at a moment at which it changed, or of which nobody knows
            assert state >= max(meets, default=SHARED) or not steady
            assert not (odd[since, first:end].all() and state == SHARED and not any(
                bound[since][p] for p in range(first, end)))  # fmt: skip


def test_a_call_as_a_page_that_was_private_leaves_its_memslot() -> None:
    """At the very moment: nobody knows whose it is."""
    there = [memslot(1, 1, 1, 0, 0, 1, 0), memslot(1, 3, 3, 0, 0, 0, None)]
    was = [convert(1, 1, 1, 0, 1, private=True, number=1),
           convert(1, 2, 2, 0, 1, private=False, number=2)]  # fmt: skip
    rows = [CREATED, *there, *was]
    call = {**FILE, "offset": 0, "length": PAGE, "time_ns": 3, "duration_ns": 0}
    assert Privacy(frame(rows)).state(frame([call])).tolist() == [UNKNOWN]


# ---- what is not known


def state(found: Privacy, page: int, when: int) -> str:
    call = {**FILE, "offset": page * PAGE, "length": PAGE, "time_ns": when}
    return WORDS[int(found.state(frame([call]))[0])]


def test_nothing_is_known_of_an_older_machine_until_it_is_converted() -> None:
    rows = [CREATED, memslot(1, 1, 2, 0, 0, 8, 0, born=False)]
    rows.append(convert(1, 10, 11, 0, 2, private=False, number=1, born=False))
    rows.append(convert(1, 20, 21, 1, 2, private=True, number=2, born=False))
    found = Privacy(frame(rows))
    assert [state(found, page, 5) for page in (0, 1)] == ["unknown", "unknown"]
    assert [state(found, page, 15) for page in (0, 1, 2)] == ["shared", "shared", "unknown"]
    assert [state(found, p, 25) for p in (0, 1, 2, 3)] == [
        "shared",
        "private",
        "private",
        "unknown",
    ]
    told = found.machines().iloc[0]
    assert (told["private"], told["shared"], told["unknown"], told["memory"]) == (
        2 * PAGE, PAGE, 5 * PAGE, 8 * PAGE,
    )  # fmt: skip


def test_an_older_file_is_known_when_it_is_bound() -> None:
    rows = [memslot(1, 10, 12, 0, 0, 4, 0)]
    found = Privacy(frame(rows))
    assert [state(found, 0, when) for when in (5, 11, 20)] == ["unknown", "unknown", "shared"]
    assert state(found, 6, 20) == "unknown", "that part of it may be in a slot from before"


def test_a_conversion_that_is_not_there_leaves_everything_unknown() -> None:
    rows = [CREATED, memslot(1, 1, 2, 0, 0, 8, 0)]
    rows.append(convert(1, 10, 11, 0, 8, private=True, number=1))
    rows.append(convert(1, 30, 31, 2, 1, private=True, number=3))
    found = Privacy(frame(rows))
    assert [state(found, 0, when) for when in (5, 11, 20, 40)] == [
        "shared", "unknown", "unknown", "unknown",
    ]  # fmt: skip
    assert state(found, 2, 40) == "private"


def test_the_first_conversions_of_a_rotated_recording_are_missing() -> None:
    rows = [CREATED, memslot(1, 1, 2, 0, 0, 8, 0)]
    rows.append(convert(1, 30, 31, 2, 1, private=False, number=7))
    found = Privacy(frame(rows))
    assert [state(found, 2, when) for when in (5, 40)] == ["unknown", "shared"]


def test_a_range_that_was_not_seen_leaves_everything_unknown() -> None:
    rows = [CREATED, memslot(1, 1, 2, 0, 0, 8, 0), refused(1, 10, 0, PAGE) | {"answer": 0}]
    found = Privacy(frame(rows))
    assert [state(found, 5, when) for when in (5, 10)] == ["shared", "unknown"]
    rows[-1] |= {"answer": 0, "flags": int(Flag.RETURN_MISSING)}
    assert state(Privacy(frame(rows)), 5, 10) == "unknown"


def test_what_is_refused_changes_nothing() -> None:
    rows = [CREATED, memslot(1, 1, 2, 0, 0, 8, 0), refused(1, 10, 0, 8 * PAGE)]
    rows.append(convert(1, 12, 13, 0, 8, private=True, number=1, answer=ENOMEM))
    found = Privacy(frame(rows))
    assert {state(found, page, 20) for page in range(8)} == {"shared"}
    told = found.machines().iloc[0]
    assert (told["conversions"], told["refused"]) == (0, 2)


def test_a_file_that_left_its_memslot_is_unknown_if_it_was_private() -> None:
    rows = [CREATED, memslot(1, 1, 2, 0, 0, 4, 0), memslot(1, 1, 2, 1, 4, 4, 4)]
    rows.append(convert(1, 10, 11, 0, 1, private=True, number=1))
    rows += [memslot(1, 20, 21, 0, 0, 0, None), memslot(1, 20, 21, 1, 0, 0, None)]
    found = Privacy(frame(rows))
    assert [state(found, page, 30) for page in (0, 4)] == ["unknown", "shared"]
    rows.append(memslot(1, 40, 41, 2, 100, 4, 0))
    found = Privacy(frame(rows))
    assert [state(found, 0, when) for when in (30, 50)] == ["unknown", "shared"]


def test_a_machine_that_ended_has_no_memory() -> None:
    rows = [CREATED, memslot(1, 1, 2, 0, 0, 4, 0), {"op": "vm_end", "vm": 1, "time_ns": 20}]
    found = Privacy(frame(rows))
    assert found.slots["gone_ns"].tolist() == [20]
    assert found.machines(at_ns=30)["memory"].tolist() == [0]
    assert found.machines()["memory"].tolist() == [4 * PAGE]


def test_a_memslot_whose_file_is_not_known_may_have_any() -> None:
    rows = [CREATED, memslot(1, 10, 11, 0, 0, 4, 0, file={"dev": 0, "ino": 0, "gen": 0})]
    found = Privacy(frame(rows))
    assert [state(found, 0, when) for when in (5, 20)] == ["shared", "unknown"]


def test_there_is_room_for_so_many_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(private, "MOST", 40)
    rows = [CREATED, memslot(1, 1, 1, 0, 0, 8, 0), memslot(2, 1, 1, 0, 0, 8, 8)]
    for number in range(1, 50):
        rows.append(convert(1, number * 10, number * 10, 0, 8, private=bool(number % 2),
                            number=number))  # fmt: skip
    rows.append(convert(2, 10, 10, 0, 8, private=True, number=1))
    found = Privacy(frame(rows))
    assert [state(found, 0, when) for when in (15, 25, 495)] == ["private", "shared", "unknown"]
    assert state(found, 8, 495) == "private", "the others have their own part"


def test_what_is_converted_in_place_is_not_known() -> None:
    rows = [CREATED, memslot(1, 1, 2, 0, 0, 8, 0)]
    rows.append(refused(0, 10, 0, PAGE) | {**FILE, "answer": 0, "kind": "guest_memfd"})
    found = Privacy(frame(rows))
    assert [state(found, 0, when) for when in (5, 20)] == ["shared", "unknown"]
    rows[-1] |= {"answer": EINVAL}
    assert state(Privacy(frame(rows)), 0, 20) == "shared"


def test_machines_without_a_number_are_not_known() -> None:
    rows = [CREATED, memslot(0, 1, 2, 0, 0, 4, 0)]
    rows.append(convert(0, 10, 11, 0, 4, private=False, number=1))
    assert state(Privacy(frame(rows)), 0, 20) == "unknown"


def test_each_guest_memfd_by_where_it_is_in_it() -> None:
    rows = [CREATED, memslot(1, 1, 2, 0, 100, 4, 2)]
    rows.append(convert(1, 10, 10, 101, 1, private=True, number=1))
    found = Privacy(frame(rows)).files()
    private = found[found["state"] == "private"].iloc[0]
    assert (private["start"], private["end"], private["from_ns"], private["until_ns"]) == (
        3 * PAGE, 4 * PAGE, 10, FOREVER,
    )  # fmt: skip
    assert found["start"].min() == 2 * PAGE
    assert found["end"].max() == 6 * PAGE


def test_nothing_happened() -> None:
    found = Privacy(frame([]))
    assert found.machines().empty
    assert found.ranges().empty
    assert found.files().empty


@pytest.mark.slow
def test_many_conversions_take_no_long() -> None:
    chosen = np.random.default_rng(7)
    rows = [CREATED, memslot(1, 0, 0, 0, 0, 4096, 0)]
    for number in range(1, 10_001):
        first, pages = int(chosen.integers(4000)), int(chosen.integers(1, 96))
        rows.append(convert(1, number * 10, number * 10 + 3, first, pages,
                            private=bool(chosen.integers(2)), number=number))  # fmt: skip
    found = Privacy(frame(rows))
    calls = pd.concat([frame([{**FILE, "length": PAGE}])] * 100_000, ignore_index=True).assign(
        offset=chosen.integers(0, 4096, 100_000) * PAGE,
        time_ns=chosen.integers(0, 100_000, 100_000),
    )
    begun = time.monotonic()
    states = found.state(calls)
    assert time.monotonic() - begun < 20
    assert set(states.tolist()) == {SHARED, UNKNOWN, PRIVATE}
