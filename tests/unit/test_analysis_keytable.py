"""Ids of keys: the same key the same id, another key another one, whatever the numbers."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tracer.analysis.keytable import KeyTable
from tracer.analysis.latest import advance
from tracer.analysis.timebins import FIRST_STEP_NS, MOST, TimeBins

U64 = 2**64 - 1
numbers = st.sampled_from([0, 1, 2, 7, 2**32, 2**63, U64 - 1, U64])


def columns(keys: list[tuple[int, ...]], width: int) -> list[np.ndarray]:
    return [np.array([key[place] for key in keys], np.uint64) for place in range(width)]


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 5), st.lists(st.lists(st.tuples(*[numbers] * 5), max_size=40), max_size=4))
def test_as_a_dict(width: int, batches: list[list[tuple[int, ...]]]) -> None:
    table = KeyTable(width)
    known: dict[tuple[int, ...], int] = {}
    for batch in batches:
        keys = [key[:width] for key in batch]
        before = table.find(*columns(keys, width))
        assert before.tolist() == [known.get(key, -1) for key in keys]
        ids = table.ids(*columns(keys, width)).tolist()
        for key, one in zip(keys, ids, strict=True):
            assert known.setdefault(key, one) == one
        assert sorted(known.values()) == list(range(len(table)))
    for key, one in known.items():
        assert tuple(int(table.key(place)[one]) for place in range(width)) == key


def test_many_keys_across_growth() -> None:
    rng = np.random.default_rng(0)
    keys = rng.integers(0, 1 << 40, (60_000, 2)).astype(np.uint64)
    table = KeyTable(2)
    for start in range(0, len(keys), 7_000):
        part = keys[start : start + 7_000]
        table.ids(part[:, 0].copy(), part[:, 1].copy())
    ids = table.find(keys[:, 0].copy(), keys[:, 1].copy())
    distinct, first, back = np.unique(keys, axis=0, return_index=True, return_inverse=True)
    assert len(table) == len(distinct)
    assert (ids == ids[first][back]).all()
    assert (np.stack([table.key(0), table.key(1)], 1)[ids] == keys).all()
    missing = np.array([1 << 50], np.uint64)
    assert table.find(missing, missing).tolist() == [-1]


def test_neighbours_and_multiples_stay_fast() -> None:
    """Keys that follow one another, as inode numbers do, must not fall into few slots."""
    for step in (1, 4096, 1 << 32, 1 << 50):
        table = KeyTable(1)
        numbers = np.arange(10_000, dtype=np.uint64) * np.uint64(step)
        table.ids(numbers)
        homes = table._home([numbers])
        assert len(np.unique(homes)) > 0.8 * len(np.unique(numbers))


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(-2, 2)), max_size=30),
    st.lists(st.integers(0, 30), max_size=4),
    st.randoms(use_true_random=False),
)
def test_the_last_row_of_each_group(
    rows: list[tuple[int, int]], cuts: list[int], random: object
) -> None:
    """In whatever order the pieces come."""
    bounds = [0, *sorted(cuts), len(rows)]
    pieces = [list(range(start, min(end, len(rows)))) for start, end in itertools.pairwise(bounds)]
    random.shuffle(pieces)  # type: ignore[attr-defined]
    low = np.iinfo(np.int64).min
    when, rank, value = np.full(4, low), np.full(4, -1), np.full(4, -1)
    for piece in pieces:
        ids = np.array([rows[place][0] for place in piece], np.int32)
        times = np.array([rows[place][1] for place in piece], np.int64)
        last = advance(ids, times, np.array(piece, np.int64), when, rank)
        assert len(set(ids[last].tolist())) == len(last)
        value[ids[last]] = np.array(piece, np.int64)[last]
    want: dict[int, tuple[int, int]] = {}
    for place, (group, time_ns) in enumerate(rows):
        want[group] = max(want.get(group, (time_ns, place)), (time_ns, place))
    for group, (time_ns, place) in want.items():
        assert (when[group], rank[group], value[group]) == (time_ns, place, place)


@pytest.mark.slow
@settings(max_examples=30, deadline=None)
@given(
    st.lists(
        st.lists(st.tuples(st.integers(-(10**13), 10**13), st.integers(0, 2)), max_size=20),
        max_size=5,
    ),
    st.randoms(use_true_random=False),
)
def test_steps_of_time(batches: list[list[tuple[int, int]]], random: object) -> None:
    """Every decision in its step; and the same steps in whatever order they came."""
    found = []
    for _ in range(2):
        bins = TimeBins(3)
        for batch in batches:
            when = np.array([when for when, _ in batch], np.int64)
            bins.add(when, np.array([kind for _, kind in batch], np.int64))
        found.append((bins.step_ns, bins.first, bins.counts.tolist()))
        random.shuffle(batches)  # type: ignore[attr-defined]
    assert found[0] == found[1]
    step, first, counts = found[0]
    assert len(counts) <= MOST + 1
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
    bins = TimeBins(1)
    kind = np.zeros(2, np.int64)
    bins.add(np.array([0, (MOST - 1) * FIRST_STEP_NS]), kind)
    assert bins.step_ns == FIRST_STEP_NS
    bins.add(np.array([0, MOST * FIRST_STEP_NS]), kind)
    assert bins.step_ns == 10 * FIRST_STEP_NS
    assert int(bins.counts.sum()) == 4
