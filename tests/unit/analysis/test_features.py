"""Keys hold exactly what each row says, whatever stands in the rows beside it."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.rules.rule_cases import (
    DTYPES,
    EXEC,
    GROW,
    HUGE,
    PAGE,
    SIZE,
    WRITE,
    Row,
    add,
    columns,
    create,
    event,
    write,
)
from tracer.analysis.features import (
    ALT_SHIFT,
    ANSWERS,
    COLUMNS,
    NO_DECISION,
    UNKNOWN_OP,
    Key,
    keys_of,
)
from tracer.labels import errno_name
from tracer.rules.rule import ASKED_SHIFT, SIZE_FACTS, Fact
from tracer.words import Flag, Kind, Op

FLAGS = 0x3F
NO_FACTS = Fact(0)


def keys(rows: list[Row]) -> list[Key]:
    return [Key.of(int(key)) for key in keys_of(columns(rows))]


def facts(row: Row) -> Fact:
    (key,) = keys([row])
    return Fact(key.facts)


# ---- the same facts once more, row by row in plain Python


def chunks_that_fit(offset: int, length: int, size: int, chunk: int) -> int:
    """How many bytes a write under F_SEAL_GROW puts down: the kernel's loop, chunk by chunk."""
    at = offset
    while at < offset + length:
        end = min((at // chunk + 1) * chunk, offset + length)
        if end > size:
            break
        at = end
    return at - offset


def size_facts(row: Row, size: int) -> Fact:
    op, seals = row["op"], row["seals"] | row["seals_after"]
    offset, length, end = row["offset"], row["length"], row["offset"] + row["length"]
    found = set()
    if op == Op.WRITE and seals & GROW and end > size:
        found.add(Fact.PAST_END)
        order = row["folio_order_max"]
        chunks = {Fact.NO_PAGE_FITS: PAGE, Fact.NO_HUGE_FITS: HUGE}
        if order <= 31:
            chunks[Fact.NO_CHUNK_FITS] = PAGE << order
        found |= {
            fact for fact, chunk in chunks.items() if not fits_one(offset, length, size, chunk)
        }
    if op == Op.READ and seals & EXEC and offset < size:
        found.add(Fact.BEFORE_END)
    if op == Op.TRUNCATE:
        found |= {Fact.PAST_END} if length > size else set()
        found |= {Fact.SHRINKS} if length < size else set()
        found |= {Fact.HAS_SIZE} if seals & EXEC and size else set()
    if (op == Op.ALLOCATE or (op == Op.MMAP and row["kind"] == Kind.HUGETLB)) and end > size:
        found.add(Fact.PAST_END)
    return sum_of(found)


def fits_one(offset: int, length: int, size: int, chunk: int) -> bool:
    """The first chunk alone, for lengths that no loop walks through."""
    return min((offset // chunk + 1) * chunk, offset + length) <= size


def sum_of(found: set[Fact]) -> Fact:
    total = NO_FACTS
    for fact in found:
        total |= fact
    return total


def own_facts(row: Row) -> dict[Fact, bool]:
    op, arg, length, kind = row["op"], row["arg"], row["length"], row["kind"]
    seals, end = row["seals"] | row["seals_after"], row["offset"] + row["length"]
    prot, flags = arg & 0xFFFFFFFF, arg >> 32
    if op == Op.MMAP:
        return {
            Fact.SHARED: flags & 0xF in (1, 3),
            Fact.PROT_WRITE: bool(prot & 2),
            Fact.PROT_EXEC: bool(prot & 4),
            Fact.LOCKED: bool(flags & 0x2000),
            Fact.EMPTY: length == 0,
            Fact.BEYOND: kind == Kind.HUGETLB and row["size_after"] > row["size"],
        }
    if op == Op.MPROTECT:
        return {Fact.PROT_WRITE: bool(prot & 2), Fact.PROT_EXEC: bool(prot & 4)}
    if op == Op.WRITE:
        grow = bool(seals & GROW)
        beyond = row["answer"] > 0 and row["offset"] + row["answer"] > row["size"]
        return {
            Fact.EMPTY: length == 0,
            Fact.CHUNK_UNKNOWN: grow and row["folio_order_max"] > 31,
            Fact.BEYOND: grow and beyond,
        }
    if op in (Op.CHMOD, Op.TRUNCATE):
        differs = arg & 1 and (flags ^ row["mode"]) & 0o111
        changed = {Fact.EXEC_CHANGED: bool(seals & EXEC and differs)}
        if op == Op.CHMOD:
            unknown = row["owner_uid"] == 0xFFFFFFFF
            return changed | {Fact.NOT_OWNER: unknown or row["uid"] != row["owner_uid"]}
        return changed | {
            Fact.HUGE_UNALIGNED: kind == Kind.HUGETLB and length % HUGE != 0,
            Fact.UNALIGNED: bool(seals & EXEC) and length % PAGE != 0,
        }
    if op in (Op.ALLOCATE, Op.PUNCH_HOLE):
        bad = {Fact.BAD_MODE: bool(arg & ~3)}
        if op == Op.ALLOCATE:
            return bad
        whole = -(-row["offset"] // HUGE) < end // HUGE
        odd = row["offset"] % PAGE or end % PAGE
        return bad | {
            Fact.WHOLE_HUGE: kind == Kind.HUGETLB and whole,
            Fact.UNALIGNED: bool(seals & EXEC and odd),
        }
    if op == Op.ADD_SEALS:
        slow = row["duration_ns"] >= 100_000_000
        return {
            Fact.EXECUTABLE: bool(row["mode"] & 0o111),
            Fact.SLOW: slow,
            Fact.EMPTY: row["size"] == 0,
        }
    return {Fact.EXECUTABLE: bool(row["mode"] & 0o111)} if op == Op.CREATE else {}


def asked(row: Row) -> int:
    arg: int = row["arg"]
    if row["op"] == Op.ADD_SEALS:
        return seven(arg)
    if row["op"] == Op.CREATE:
        known = 0x1F | (0x3F << 26 if arg & 4 else 0)
        return arg & 0x1F | (0x40 if arg & ~known else 0)
    return 0


def matters(row: Row) -> bool:
    sealed = (row["seals"] | row["seals_after"]) & 0x3E
    return bool(sealed) or answer_of(row) != "ok" or row["op"] in (Op.ADD_SEALS, Op.CREATE)


def answer_of(row: Row) -> str:
    name = errno_name(row["answer"])
    return "ok" if name is None else name if name in ANSWERS else "other"


def seven(seals: int) -> int:
    return seals & 0x3F | (0x40 if seals > 0x3F else 0)


def expected_key(row: Row) -> Key:
    found = row["flags"] & FLAGS | (row["fmode"] & 3) << 6
    found |= Fact.CHECK_DENIED if row["check_answer"] < 0 else 0
    found |= Fact.MAPPED_WRITABLE if row["writable"] > 0 else 0
    if matters(row):
        found |= sum_of({fact for fact, holds in own_facts(row).items() if holds})
        found |= size_facts(row, row["size"]) | asked(row) << ASKED_SHIFT
        if row["flags"] & Flag.RACED_SIZE:
            found |= (size_facts(row, row["size_after"]) & SIZE_FACTS) << ALT_SHIFT
    op, kind = row["op"], row["kind"]
    judged = Op.MMAP <= op <= Op.CREATE and kind not in (Kind.GUEST_MEMFD, Kind.SECRETMEM)
    return Key(
        op if judged else NO_DECISION if op in set(Op) else UNKNOWN_OP,
        kind if kind in set(Kind) else 0,
        answer_of(row),
        seven(row["seals"]),
        seven(row["seals_after"]),
        int(found),
    )


near = st.sampled_from([0, 1, 10, PAGE - 1, PAGE, PAGE + 1, SIZE, HUGE - 1, HUGE, HUGE + PAGE])
places = st.one_of(near, st.integers(0, 4 * HUGE), st.integers(0, 2**62))
seal_sets = st.one_of(
    st.integers(0, 0x3F), st.sampled_from([0, GROW, EXEC, 0x40, 0x7FFFFFFF, 0xFFFFFFFF])
)
rows = st.fixed_dictionaries(
    {
        "op": st.integers(0, 20),
        "kind": st.integers(0, 7),
        "uid": st.sampled_from([0, 1000, 0xFFFFFFFF]),
        "owner_uid": st.sampled_from([0, 1000, 0xFFFFFFFF]),
        "seals": seal_sets,
        "seals_after": seal_sets,
        "size": places,
        "size_after": places,
        "offset": places,
        "length": places,
        "arg": st.one_of(
            st.integers(0, 0x7F),
            st.builds(
                lambda low, high: low | high << 32, st.integers(0, 15), st.integers(0, 0o7777)
            ),
            st.integers(0, 2**64 - 1),
        ),
        "answer": st.one_of(
            st.sampled_from([0, 1, PAGE, -1, -16, -13, -22, -95, -12, -14, -512, -4095, -4096]),
            st.integers(-5000, 2**62),
        ),
        "duration_ns": st.sampled_from([0, 5000, 99_999_999, 100_000_000, 2**62]),
        "flags": st.integers(0, 0x1FF),
        "writable": st.integers(-2, 2),
        "mode": st.integers(0, 0o177777),
        "fmode": st.integers(0, 3),
        "check_answer": st.sampled_from([0, -1, -13]),
        "folio_order_max": st.sampled_from([0, 1, 9, 10, 31, 32, 255]),
    }
)


@pytest.mark.slow
@given(st.lists(rows, max_size=12))
@settings(max_examples=150, deadline=None)
def test_keys_are_what_the_rows_say(batch: list[Row]) -> None:
    assert keys(batch) == [expected_key(row) for row in batch]


@given(
    st.integers(0, 5 * PAGE), st.integers(1, 5 * PAGE), st.integers(0, 6 * PAGE), st.integers(0, 3)
)
@settings(max_examples=150, deadline=None)
def test_none_fits_is_what_the_kernels_loop_says(
    offset: int, length: int, size: int, order: int
) -> None:
    row = write(offset, length, "EPERM", size=size, seals=GROW, folio_order_max=order)
    found = facts(row)
    none_fits = chunks_that_fit(offset, length, size, PAGE << order) == 0
    assert bool(found & Fact.NO_CHUNK_FITS) == none_fits
    assert bool(found & Fact.NO_PAGE_FITS) == (chunks_that_fit(offset, length, size, PAGE) == 0)
    assert bool(found & Fact.PAST_END) == (offset + length > size)
    assert not none_fits or found & Fact.PAST_END


def test_the_example_of_the_oracle() -> None:
    """Two pages into a file of one: half of it in pages, nothing in chunks of 2 MiB."""
    assert chunks_that_fit(0, 2 * PAGE, PAGE, PAGE) == PAGE
    assert chunks_that_fit(0, 2 * PAGE, PAGE, HUGE) == 0
    row = write(0, 2 * PAGE, PAGE, size=PAGE, seals=GROW)
    assert facts(row) & SIZE_FACTS == Fact.PAST_END | Fact.NO_HUGE_FITS
    large = row | {"folio_order_max": 9}
    assert facts(large) & SIZE_FACTS == Fact.PAST_END | Fact.NO_HUGE_FITS | Fact.NO_CHUNK_FITS


@pytest.mark.parametrize("dtype", [np.int8, np.int16, np.int32, np.int64, np.uint16, np.uint32])
def test_words_may_come_in_any_integer_type(dtype: Any) -> None:
    batch = columns([event(op) for op in Op] + [create(1, "EFAULT"), add(WRITE)])
    wider = dict(batch) | {name: batch[name].astype(dtype) for name in ("op", "kind")}
    assert keys_of(wider).tolist() == keys_of(batch).tolist()


def test_codes_that_are_no_word() -> None:
    batch = columns([event(Op.WRITE)] * 4)
    for name, code, field in (("op", UNKNOWN_OP, 0), ("kind", Kind.UNKNOWN, 1)):
        strange = dict(batch) | {name: np.array([-1, 0, 77, 30000], np.int16)}
        assert [Key.of(int(key))[field] for key in keys_of(strange)] == [code] * 4


def test_empty() -> None:
    assert keys_of(columns([])).dtype == np.uint64
    assert len(keys_of(columns([]))) == 0


def test_columns_are_those_of_a_record_and_an_object() -> None:
    from tracer.recording.format import EVENTS, OBJECTS

    of_object = {"folio_order_max", "owner_uid"}
    assert set(COLUMNS) - of_object <= set(EVENTS.names)
    assert of_object <= set(OBJECTS.names)
    assert set(COLUMNS) == set(DTYPES)
    for name in COLUMNS:
        schema = OBJECTS if name in of_object else EVENTS
        if name not in ("op", "kind"):
            assert schema.field(name).type.to_pandas_dtype() == np.dtype(DTYPES[name]), name


@pytest.mark.parametrize("name", COLUMNS)
def test_a_missing_column_is_named(name: str) -> None:
    rows = [write(0, 1, seals=GROW), add(WRITE, "EBUSY"), event(Op.CHMOD, "EPERM")]
    batch = columns([*rows, event(Op.READ, 0, seals=EXEC, flags=Flag.RACED_SIZE)])
    del batch[name]
    with pytest.raises(KeyError, match=name):
        keys_of(batch)
