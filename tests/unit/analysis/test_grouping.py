"""Rows with the same key are one group, whatever the numbers; and what groups add up to."""

import itertools
import sys
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pandas.testing import assert_frame_equal

from tracer.analysis import grouping
from tracer.analysis.grouping import Places, Rules, Table, distinct, grouped
from tracer.analysis.sums import FIRST_STEP_NS, MOST_STEPS, VERDICTS, Steps

U64 = 2**64 - 1
numbers = st.sampled_from([0, 1, 2, 7, 2**32, 2**63, U64 - 1, U64])
keys = st.lists(st.tuples(*[numbers] * 5), max_size=40)


def columns(found: list[tuple[int, ...]], width: int) -> list[np.ndarray]:
    return [np.array([key[place] for key in found], np.uint64) for place in range(width)]


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 5), keys)
def test_distinct_keys_in_the_order_in_which_they_come(
    width: int, found: list[tuple[int, ...]]
) -> None:
    want = list(dict.fromkeys(key[:width] for key in found))
    got = distinct(*columns(found, width))
    assert list(zip(*(column.tolist() for column in got), strict=True)) == want


@pytest.mark.parametrize("collide", [False, True])
@settings(max_examples=40, deadline=None)
@given(width=st.integers(1, 5), batches=st.lists(keys, max_size=4), wanted=keys)
def test_keys_keep_their_places(
    collide: bool, width: int, batches: list[list[tuple[int, ...]]], wanted: list[tuple[int, ...]]
) -> None:
    """Even those that mix to the same number."""
    with pytest.MonkeyPatch.context() as patch:
        if collide:  # at first all keys mix to the same
            zeros = iter([[np.uint64(0)] * 8] * 2)
            usual = grouping._factors
            patch.setattr(grouping, "_factors", lambda: next(zeros, None) or usual())
        places = Places()
        known: dict[tuple[int, ...], int] = {}
        for batch in batches:
            want = [known.setdefault(key[:width], len(known)) for key in batch]
            assert places.of(columns(batch, width)).tolist() == want
            assert len(places) == len(known)
        found = places.find(columns(wanted, width))
        assert found.tolist() == [known.get(key[:width], -1) for key in wanted]


def test_a_key_that_only_mixes_to_the_same_is_not_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grouping, "_factors", lambda: [np.uint64(0)] * 8)
    places = Places()
    assert places.of([np.array([5, 5])]).tolist() == [0, 0]
    assert places.find([np.array([5, 6])]).tolist() == [0, -1]


def test_few_new_keys_beside_many_old_ones() -> None:
    places = Places()
    for start, count in ((0, 1000), (1000, 10), (1010, 50), (1060, 1000)):
        new = np.arange(start, start + count)
        assert places.of([new]).tolist() == new.tolist()
        assert places.find([np.arange(3000)]).tolist() == [
            *range(start + count), *[-1] * (3000 - start - count)
        ]  # fmt: skip


def test_numbers_with_sign() -> None:
    low, high = np.iinfo(np.int64).min, np.iinfo(np.int64).max
    places = Places()
    key = [np.array([low, -1, 0, high, -1]), np.array([5, 5, 5, 5, 5], np.int32)]
    assert places.of(key).tolist() == [0, 1, 2, 3, 1]
    assert places.find(key).tolist() == [0, 1, 2, 3, 1]


RULES = Rules(
    ("a", "b"),
    total=("n",),
    least=("low",),
    most=("high", "held"),
    last={("when", "rank"): ("value",)},
    first={("start", "place"): ("maker",)},
)
small = st.integers(0, 2)
rows = st.lists(st.tuples(small, small, small, small), max_size=30)


def frame(found: list[tuple[int, ...]]) -> pd.DataFrame:
    made: dict[str, Any] = {
        name: np.array([row[place] for row in found], np.int64)
        for place, name in enumerate(("a", "b", "when", "n"))
    }
    count = np.arange(len(found))
    return pd.DataFrame(
        made | {"low": made["n"], "high": made["n"], "held": made["n"] > 1, "rank": count,
                "value": count * 7, "start": made["when"], "place": count, "maker": count * 3}
    )  # fmt: skip


def arrays(rows: pd.DataFrame) -> dict[str, np.ndarray]:
    return {str(name): rows[name].to_numpy() for name in rows}


def by_key(table: Table) -> pd.DataFrame:
    return table.frame().sort_values(["a", "b"], ignore_index=True)


@settings(max_examples=60, deadline=None)
@given(rows)
def test_groups_add_up_to_what_pandas_says(found: list[tuple[int, ...]]) -> None:
    whole = frame(found)
    got = pd.DataFrame(grouped(arrays(whole), RULES)).sort_values(["a", "b"], ignore_index=True)
    by = whole.groupby(["a", "b"], sort=True)
    assert got["n"].tolist() == by["n"].sum().tolist()
    assert got["low"].tolist() == by["low"].min().tolist()
    assert got["high"].tolist() == by["high"].max().tolist()
    assert got["held"].tolist() == by["held"].any().tolist()
    last = whole.sort_values(["when", "rank"]).groupby(["a", "b"]).last()
    assert got[["when", "rank", "value"]].to_numpy().tolist() == (
        last[["when", "rank", "value"]].to_numpy().tolist()
    )
    first = whole.sort_values(["start", "place"]).groupby(["a", "b"]).first()
    assert got[["start", "place", "maker"]].to_numpy().tolist() == (
        first[["start", "place", "maker"]].to_numpy().tolist()
    )


@settings(max_examples=80, deadline=None)
@given(rows, st.lists(st.integers(0, 30), max_size=3), st.randoms(use_true_random=False))
def test_any_cut_and_any_order_adds_up_to_the_whole(
    found: list[tuple[int, ...]], cuts: list[int], random: Any
) -> None:
    """Rows as they come, or added up before; and what was copied stays as it was."""
    whole = frame(found)
    bounds = [0, *sorted(cuts), len(whole)]
    parts = [arrays(whole.iloc[a:b]) for a, b in itertools.pairwise(bounds)]
    want = Table(RULES)
    want.add(arrays(whole))
    random.shuffle(parts)
    table, copies = Table(RULES), []
    for part in parts:
        table.add(random.choice([part, grouped(part, RULES)]))
        copies.append((table.copy(), table.frame().copy()))
    assert_frame_equal(by_key(table), by_key(want))
    for copy, before in copies:
        assert_frame_equal(copy.frame(), before)
        copy.add(arrays(whole))  # nor does what is added to a copy change the others
    assert_frame_equal(by_key(table), by_key(want))


@pytest.mark.slow
@settings(max_examples=30, deadline=None)
@given(
    st.lists(
        st.lists(st.tuples(st.integers(-(10**13), 10**13), st.integers(0, 2)), max_size=20),
        max_size=5,
    ),
    st.randoms(use_true_random=False),
)
def test_steps_of_time(batches: list[list[tuple[int, int]]], random: Any) -> None:
    """Every decision in its step; and the same steps in whatever order they came."""
    found = []
    for _ in range(2):
        bins = Steps()
        for batch in batches:
            when = np.array([when for when, _ in batch], np.int64)
            bins.add(when, np.array([kind for _, kind in batch], np.int64))
        step, first, counts = bins.counts()
        found.append((step, first, counts.tolist()))
        random.shuffle(batches)
    assert found[0] == found[1]
    step, first, counts = found[0]
    assert len(counts) <= MOST_STEPS + 1
    want: dict[tuple[int, int], int] = {}
    for time_ns, kind in (row for batch in batches for row in batch):
        place = time_ns // step - first, kind
        want[place] = want.get(place, 0) + 1
    assert want == {
        (at, kind): number
        for at, row in enumerate(counts)
        for kind, number in enumerate(row)
        if number
    }


def test_steps_are_no_wider_than_they_must_be() -> None:
    bins = Steps()
    kind = np.zeros(2, np.int64)
    bins.add(np.array([0, (MOST_STEPS - 1) * FIRST_STEP_NS]), kind)
    assert bins.counts()[0] == FIRST_STEP_NS
    bins.add(np.array([0, MOST_STEPS * FIRST_STEP_NS]), kind)
    width, _, counts = bins.counts()
    assert width == 10 * FIRST_STEP_NS
    assert int(counts.sum()) == 4
    assert counts.shape[1] == len(VERDICTS)


NUMBERS = st.lists(st.integers(0, (1 << 64) - 1), max_size=20)


@given(NUMBERS, NUMBERS)
def test_without_pandas_it_is_the_same(known: list[int], wanted: list[int]) -> None:
    """Small recordings are printed without importing it."""
    numbers = np.array(known, np.uint64)
    codes, distinct_ = grouping._factorized(numbers)
    with pytest.MonkeyPatch.context() as patched:
        patched.delitem(sys.modules, "pandas")
        found_codes, found = grouping._factorized(numbers)
        index = grouping._index(found)
    assert isinstance(index, grouping._Sorted)
    assert (found_codes.tolist(), found.tolist()) == (codes.tolist(), distinct_.tolist())
    target = np.array([*wanted, *known], np.uint64)
    assert (
        index.get_indexer(target).tolist() == pd.Index(found).get_indexer(pd.Index(target)).tolist()
    )
    assert len(index) == len(found)
