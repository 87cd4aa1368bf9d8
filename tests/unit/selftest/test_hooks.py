"""Hooks that report everything, and hooks that do not."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.selftest.selftest_events import FAMILIES, UNTRIED, events_of
from tracer.kernel import families
from tracer.record import EVENT, Flag, Kind, Op
from tracer.selftest.attempts import attempt_all
from tracer.selftest.hooks import Count, Passed, check
from tracer.selftest.scratch import Attempt, Attempts

_ATTEMPTS = Attempts()
attempt_all(_ATTEMPTS, thorough=False)
_EVENTS = events_of(_ATTEMPTS)
HUGE = any(one.kind == Kind.HUGETLB for one in _ATTEMPTS)
HERE = [name for name in FAMILIES if HUGE or not name.startswith("hugetlb")]


def checked(events: Any, live: Any = HERE, passed: Passed = Passed()) -> dict[str, Count]:  # noqa: B008
    return check(_ATTEMPTS, events, live, passed, _ATTEMPTS.merging)


def place_of(op: Op, answer: int | None = None) -> int:
    found = _EVENTS["op"] == op
    if answer is not None:
        found &= _EVENTS["answer"] == answer
    return int(np.flatnonzero(found)[0])


def wrong(counts: dict[str, Count]) -> dict[str, tuple[int, int]]:
    """``{family: (missing, extra)}``"""
    return {
        name: (one.expected - one.seen, one.extra)
        for name, one in counts.items()
        if one.ok is False
    }


def test_every_family_is_known() -> None:
    assert {*FAMILIES, *UNTRIED} == {family.name for family in families.FAMILIES}


def test_a_read_of_a_hugetlb_file_is_nobody_s_here() -> None:
    """Only audits hook it; such an event may have the inode number of another file."""
    events = np.concatenate([_EVENTS, _EVENTS[[place_of(Op.READ), place_of(Op.WRITE)]]])
    events["kind"][-2:] = Kind.HUGETLB
    assert wrong(checked(events)) == {}


def test_all_is_reported() -> None:
    counts = checked(_EVENTS)
    assert list(counts) == HERE
    assert {name: one.ok for name, one in counts.items()} == dict.fromkeys(HERE, True)
    assert all(one.expected == one.seen > 0 for one in counts.values())
    for name, op in (("seals", Op.ADD_SEALS), ("create", Op.CREATE), ("read", Op.READ)):
        reported = [one for one in _ATTEMPTS if one.op == op]
        sealable = [one for one in reported if one.seals != 1 or op != Op.READ]
        assert counts[name].expected == len(sealable)
    assert counts["map_after"] == Count(1, 1)


def test_secret_memory_that_is_switched_off_is_no_attempt_too_many() -> None:
    """memfd_secret(2) gives ENOSYS unless secretmem.enable=1; its hook reports that."""
    refused = _EVENTS[place_of(Op.CREATE, -22)].copy()
    refused["answer"], refused["nr"] = -38, 447
    counts = checked(np.append(_EVENTS, refused))
    assert wrong(counts) == {}
    refused["nr"] = 319  # memfd_create
    assert wrong(checked(np.append(_EVENTS, refused))) == {"create": (0, 1)}


def test_the_order_does_not_matter() -> None:
    assert checked(_EVENTS[::-1]) == checked(_EVENTS)


def test_silence_is_heard() -> None:
    counts = checked(np.zeros(0, EVENT))
    for name, one in counts.items():
        if name in ("mmap_check", "shmem_mmap", "hugetlb_mmap", "write_check", "created"):
            assert one == Count(0, 0), "it adds to reports, of which there are none"
        else:
            assert one.seen == one.extra == 0 < one.expected
            assert one.ok is False


@pytest.mark.parametrize(
    ("op", "family"),
    [
        (Op.MMAP, "mmap"), (Op.TRUNCATE, "shmem_setattr"), (Op.WRITE, "write"),
        (Op.READ, "read"), (Op.ALLOCATE, "shmem_fallocate"), (Op.PUNCH_HOLE, "shmem_fallocate"),
        (Op.ADD_SEALS, "seals"), (Op.CREATE, "create"), (Op.MAP, "map"), (Op.UNMAP, "unmap"),
        (Op.EVICT, "shmem_evict"), (Op.CHMOD, "shmem_setattr"),
    ],
)  # fmt: skip
def test_one_that_is_missing_or_told_twice(op: Op, family: str) -> None:
    place = place_of(op)
    if op in (Op.MMAP, Op.WRITE):  # one that the inner hooks do not count
        place = place_of(op, -1)
    assert wrong(checked(np.delete(_EVENTS, place))) == {family: (1, 0)}
    assert wrong(checked(np.append(_EVENTS, _EVENTS[place]))) == {family: (0, 1)}


@pytest.mark.parametrize(
    "field", ["answer", "seals", "seals_after", "size", "size_after", "length", "offset", "arg"]
)
def test_one_that_is_told_wrongly(field: str) -> None:
    events = _EVENTS.copy()
    events[field][place_of(Op.MMAP, -1)] ^= 13
    assert wrong(checked(events)) == {"mmap": (1, 1)}


def test_a_creation_that_names_no_file() -> None:
    events = _EVENTS.copy()
    made = np.flatnonzero((events["op"] == Op.CREATE) & (events["answer"] >= 0))
    events["ino"][made[0]] = 0
    assert wrong(checked(events))["created"] == (1, 0)


def test_a_copied_mapping_that_passes_for_an_own_one() -> None:
    events = _EVENTS.copy()
    events["flags"][(events["op"] == Op.MAP) & (events["flags"] == Flag.OTHER_MM)] = 0
    assert wrong(checked(events)) == {"map": (0, 1), "map_after": (1, 0)}


@pytest.mark.parametrize(
    ("op", "flag", "family"),
    [
        (Op.MMAP, Flag.CHECK_REACHED, "mmap_check"),
        (Op.MMAP, Flag.FILE_MMAP_REACHED, "shmem_mmap"),
        (Op.WRITE, Flag.CHECK_REACHED, "write_check"),
    ],
)
def test_inner_hooks(op: Op, flag: Flag, family: str) -> None:
    events = _EVENTS.copy()
    mine = (events["op"] == op) & (events["kind"] == Kind.MEMFD) & (events["answer"] > 0)
    mine &= ~np.isin(events["ino"], list(_ATTEMPTS.merging))
    events["flags"][np.flatnonzero(mine)[0]] ^= flag
    assert wrong(checked(events)) == {family: (1, 0)}


def test_merged_mappings_are_left_out() -> None:
    moved = {one.ino for one in _ATTEMPTS if one.op in (Op.MREMAP, Op.REMAP_FILE_PAGES)}
    [merged] = _ATTEMPTS.merging - moved
    assert moved < _ATTEMPTS.merging
    theirs = (_EVENTS["ino"] == merged) & np.isin(_EVENTS["op"], (Op.MAP, Op.UNMAP))
    assert theirs.any()
    assert wrong(checked(_EVENTS[~theirs])) == {}
    assert wrong(checked(np.append(_EVENTS, _EVENTS[theirs]))) == {}
    mmaps = (_EVENTS["ino"] == merged) & (_EVENTS["op"] == Op.MMAP)
    assert wrong(checked(_EVENTS[~mmaps]))["mmap"] == (2, 0)


def test_other_files_are_nothing_to_us() -> None:
    strange = _EVENTS[:5].copy()
    strange["ino"] = 2**40
    assert checked(np.append(_EVENTS, strange)) == checked(_EVENTS)


def test_only_live_hooks_are_asked() -> None:
    assert list(checked(_EVENTS, ["mmap", "shmem_evict"])) == ["mmap", "shmem_evict"]
    mapped = {one.ino for one in _ATTEMPTS if one.op == Op.MMAP and one.seals != 1}
    gone = (_EVENTS["op"] == Op.EVICT) & ~np.isin(_EVENTS["ino"], list(mapped))
    ours = np.isin(_EVENTS["op"], (Op.MMAP, Op.EVICT)) & ~gone
    counts = checked(_EVENTS[ours], ["mmap", "shmem_evict"])
    assert wrong(counts) == {}, "a file of which nothing was told goes without a word"
    assert counts["shmem_evict"].expected == len(
        {one.ino for one in _ATTEMPTS if one.ino in mapped and one.kind == Kind.MEMFD}
    )


def test_a_hook_that_could_not_be_tried() -> None:
    memfds = [one for one in _ATTEMPTS if one.kind != Kind.HUGETLB]
    counts = check(memfds, events_of(memfds), FAMILIES, Passed(), _ATTEMPTS.merging)
    assert {name for name, one in counts.items() if one.ok is None} == {
        "hugetlb_mmap", "hugetlb_setattr", "hugetlb_fallocate", "hugetlb_evict",
    }  # fmt: skip
    assert wrong(counts) == {}


# ---- filters --------------------------------------------------------------------------------


def test_refusals_alone() -> None:
    refused = (_EVENTS["answer"] < 0) & (_EVENTS["op"] != Op.EVICT)
    known = np.isin(_EVENTS["ino"], _EVENTS["ino"][refused])
    events = _EVENTS[refused | (known & (_EVENTS["op"] == Op.EVICT))]
    counts = checked(events, passed=Passed(denied=True))
    assert wrong(counts) == {}
    assert counts["mmap"].expected == (refused & (_EVENTS["op"] == Op.MMAP)).sum() > 0
    assert counts["map"].ok is None
    assert wrong(checked(_EVENTS, passed=Passed(denied=True)))["read"][1] > 0


def test_a_name_filter_hides_creations_that_failed() -> None:
    failed = (_EVENTS["op"] == Op.CREATE) & (_EVENTS["answer"] < 0)
    assert failed.any()
    assert wrong(checked(_EVENTS[~failed], passed=Passed(name=True))) == {}
    assert wrong(checked(_EVENTS[~failed])) == {"create": (int(failed.sum()), 0)}


def test_files_that_cannot_be_sealed() -> None:
    hidden = [one for one in _ATTEMPTS if one.hooked and one.seals == 1 and one.op == Op.READ]
    assert hidden
    counts = checked(_EVENTS, passed=Passed(unsealable=True))
    assert wrong(counts)["read"] == (len(hidden), 0)
    assert counts["create"].ok


# ---- any loss -------------------------------------------------------------------------------


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, len(_EVENTS) - 1), unique=True, max_size=40), st.booleans())
def test_any_loss_or_repetition_is_counted(places: list[int], lost: bool) -> None:
    events = np.delete(_EVENTS, places) if lost else np.append(_EVENTS, _EVENTS[places])
    merged = np.isin(_EVENTS["ino"], list(_ATTEMPTS.merging)) & np.isin(
        _EVENTS["op"], (Op.MAP, Op.UNMAP)
    )
    told = sum(not merged[place] for place in places)
    counts = [one for name, one in checked(events).items() if not is_inner(name)]
    assert sum(one.expected - one.seen if lost else one.extra for one in counts) == told
    assert sum(one.extra if lost else one.expected - one.seen for one in counts) == 0


def is_inner(name: str) -> bool:
    return name in ("mmap_check", "shmem_mmap", "hugetlb_mmap", "write_check", "created")


@pytest.mark.parametrize(
    ("count", "ok", "shown"),
    [
        (Count(3, 3), True, 3),
        (Count(3, 2), False, 2),
        (Count(3, 3, 2), False, 5),
        (Count(3, 2, 1), False, 2),
        (Count(0, 0), None, 0),
        (Count(0, 0, 1), False, 1),
    ],
)
def test_a_count(count: Count, ok: bool | None, shown: int) -> None:
    assert count.ok is ok
    assert count.to_json() == {"expected": count.expected, "seen": shown, "extra": count.extra}
    assert (shown == count.expected) == (ok is not False)


def test_passed_by_default() -> None:
    one = next(one for one in _ATTEMPTS if one.op == Op.READ and one.seals == 1)
    assert isinstance(one, Attempt)
    assert not Passed()(one)
    assert Passed(unsealable=True)(one)
    assert Passed()(one._replace(seals=3))
    assert Passed()(one._replace(op=Op.ADD_SEALS))
