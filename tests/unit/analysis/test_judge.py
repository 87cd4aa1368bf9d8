"""The judge: what is open, what cannot be judged, variants, batches, and what it remembers."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.analysis.test_features import rows as any_row
from tests.unit.rules.rule_cases import (
    EXEC,
    FUTURE,
    GROW,
    HUGE,
    KEEP,
    MODERN,
    OLD,
    PAGE,
    PROPOSAL,
    PUNCH,
    READ,
    SEAL,
    SHRINK,
    SIZE,
    WRITE,
    Row,
    add,
    chmod,
    columns,
    create,
    event,
    mmap,
    outcome,
    outcomes,
    truncate,
    write,
)
from tests.unit.rules.rule_table import CASES
from tracer.analysis.judge import Judge, Lookup
from tracer.rules.variants import UNEXPLAINED, VARIANTS, Variants, doubt
from tracer.rules.verdicts import SEVERITY, Verdict, words
from tracer.words import Flag, Kind, Op

RACED_SEALS, RACED_SIZE = int(Flag.RACED_SEALS), int(Flag.RACED_SIZE)
INDETERMINATE = (Verdict.INDETERMINATE, "unknown")


def without(question: str) -> Variants:
    return {name: choice for name, choice in MODERN.items() if name != question}


# ---- what is no decision, and what cannot be judged


NO_RULES = [
    Op.FAULT, Op.MAP, Op.UNMAP, Op.EVICT, Op.OPEN, Op.MEMSLOT, Op.REMOTE_READ, Op.REMOTE_WRITE,
    Op.PIN, Op.UFFD_REGISTER, Op.RECEIVE, Op.MAPPED, Op.ATTACH,
]  # fmt: skip
NO_SEALS = [(op, kind) for kind in (Kind.GUEST_MEMFD, Kind.SECRETMEM)
            for op in (Op.MMAP, Op.MPROTECT, Op.READ, Op.TRUNCATE, Op.ALLOCATE, Op.CREATE)
]  # fmt: skip


@pytest.mark.parametrize(("op", "kind"), [*((op, Kind.MEMFD) for op in NO_RULES), *NO_SEALS])
def test_facts_are_no_decisions(op: Op, kind: Kind) -> None:
    judge = Judge(MODERN)
    rows = [event(op, answer, kind=kind, seals=WRITE) for answer in (0, "EPERM")]
    codes = judge.codes(columns(rows))
    assert codes.tolist() == [-1, -1]
    assert codes.dtype == np.int32
    assert judge.outcomes == []


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (event(Op.WRITE) | {"op": 77}, "no rules for this operation"),
        (event(Op.WRITE) | {"op": 0}, "no rules for this operation"),
        (event(Op.WRITE, kind=Kind.UNKNOWN), "unknown kind of file"),
        (event(Op.WRITE) | {"kind": 99}, "unknown kind of file"),
        (create(0) | {"kind": Kind.UNKNOWN}, "unknown kind of file"),
        (write(0, 9, seals=WRITE, flags=Flag.ENTRY_MISSING), "its entry was not seen"),
        (write(0, 9, seals=WRITE, flags=Flag.RETURN_MISSING), "its return was not seen"),
        (write(0, 9, seals=0xFFFFFFFF), "seals not known"),
        (write(0, 9, seals=WRITE, seals_after=0xFFFFFFFF), "seals not known"),
        (write(0, 9, "EPERM", seals=0x48), "unknown seal bits"),
        (write(0, 9, "EPERM", seals=WRITE, seals_after=0x80000008), "unknown seal bits"),
    ],
)
def test_what_cannot_be_judged(row: Row, reason: str) -> None:
    result = outcome(row)
    assert result == (Verdict.INDETERMINATE, "unknown", reason, "", None, 1)


def test_a_failed_creation_has_no_kind() -> None:
    assert outcome(create(0, "ENOMEM")).verdict == Verdict.ERROR


def test_a_seal_that_this_kernel_cannot_have() -> None:
    result = outcome(write(0, 9, seals=EXEC), OLD)
    assert result[:3] == (*INDETERMINATE, "unknown seal bits")


def test_a_seal_that_this_kernel_cannot_have_got_meanwhile() -> None:
    raced = write(0, 9, seals_after=EXEC, flags=RACED_SEALS)
    assert outcome(raced, OLD)[:3] == (*INDETERMINATE, "unknown seal bits")
    assert outcome(raced).verdict == Verdict.ALLOWED


@pytest.mark.parametrize("flag", [Flag.OTHER_MM, Flag.KERNEL_TASK, Flag.COMPAT])
def test_flags_that_change_nothing(flag: Flag) -> None:
    assert outcome(write(0, 9, "EPERM", seals=WRITE, flags=flag)).verdict == Verdict.BLOCKED


# ---- races

SEALS_CHANGED = (*INDETERMINATE, "seals changed meanwhile")
SIZE_CHANGED = (*INDETERMINATE, "size changed meanwhile")


@pytest.mark.parametrize(
    ("row", "told"),
    [
        # the seal that came decides, so nobody knows
        (write(0, 9, seals_after=WRITE), SEALS_CHANGED),
        (write(0, 9, "EPERM", seals_after=WRITE), SEALS_CHANGED),
        (mmap(seals_after=FUTURE), SEALS_CHANGED),
        (truncate(0, "EPERM", seals_after=SHRINK | GROW), SEALS_CHANGED),
        (event(Op.PUNCH_HOLE, 0, arg=KEEP | PUNCH, seals_after=WRITE), SEALS_CHANGED),
        # it is another one, or one was there before: the verdict stands
        (write(0, 9, seals_after=SHRINK), (Verdict.ALLOWED, "ok", "")),
        (write(0, 9, "EPERM", seals_after=SHRINK), (Verdict.UNEXPLAINED, "ok", "no seal says so")),
        (write(0, 9, "EPERM", seals=FUTURE, seals_after=FUTURE | WRITE),
         (Verdict.BLOCKED, "EPERM", "FUTURE_WRITE")),
        (write(0, 9, seals=FUTURE, seals_after=FUTURE | WRITE),
         (Verdict.BREACH, "EPERM", "FUTURE_WRITE")),
        (write(0, 9, "EFAULT", seals_after=WRITE), (Verdict.ERROR, "unknown", "")),
        (mmap("EACCES", fmode=1, seals_after=WRITE),
         (Verdict.ERROR, "EACCES", "descriptor not open for writing")),
        # memfd_add_seals forbids writable mappings before the seal shows
        (mmap("EPERM"), SEALS_CHANGED),
        (mmap("EPERM", seals=GROW, seals_after=GROW), SEALS_CHANGED),
        (mmap("EPERM", prot=READ), (Verdict.UNEXPLAINED, "ok", "no seal says so")),
    ],
)  # fmt: skip
def test_raced_seals(row: Row, told: tuple[Any, ...]) -> None:
    assert outcome(row | {"flags": RACED_SEALS})[:3] == told


@pytest.mark.parametrize(
    ("row", "told"),
    [
        # what the call itself added is no race of others
        (add(SHRINK, seals_after=SHRINK | GROW), (Verdict.ALLOWED, "ok", "")),
        (add(SEAL, seals_after=SEAL | GROW), (Verdict.ALLOWED, "ok", "")),
        (add(EXEC, seals_after=0x3F, writable=0), SEALS_CHANGED),  # SEAL came from elsewhere
        (add(GROW, seals_after=SEAL | GROW), SEALS_CHANGED),
        (add(GROW, "EPERM", seals_after=SEAL), SEALS_CHANGED),
        (add(WRITE, "EBUSY", seals_after=GROW, writable=1),
         (Verdict.BLOCKED, "EBUSY", "writable mapping exists")),
    ],
)  # fmt: skip
def test_raced_sealing(row: Row, told: tuple[Any, ...]) -> None:
    assert outcome(row | {"flags": RACED_SEALS})[:3] == told


@pytest.mark.parametrize(
    ("row", "told"),
    [
        (truncate(SIZE, "EPERM", seals=GROW, size_after=SIZE // 2), SIZE_CHANGED),
        (truncate(2 * SIZE, "EPERM", seals=GROW, size_after=SIZE // 2),
         (Verdict.BLOCKED, "EPERM", "GROW")),
        (truncate(SIZE // 2, "EPERM", seals=GROW | SHRINK, size_after=SIZE // 4),
         (Verdict.BLOCKED, "EPERM", "SHRINK")),
        (write(SIZE, 10, "EPERM", seals=GROW, size_after=2 * SIZE), SIZE_CHANGED),
        (write(SIZE, 10, "EPERM", seals=GROW, size_after=SIZE // 2),
         (Verdict.BLOCKED, "EPERM", "GROW")),
        (write(SIZE, 10, "EPERM", seals=WRITE, size_after=2 * SIZE),
         (Verdict.BLOCKED, "EPERM", "WRITE")),
        (event(Op.ALLOCATE, "EPERM", offset=SIZE, seals=GROW, size_after=4 * SIZE), SIZE_CHANGED),
        (mmap("EPERM", kind=Kind.HUGETLB, offset=4 * HUGE, seals=GROW, size_after=8 * HUGE),
         SIZE_CHANGED),
        (chmod(0o600, 0, seals=EXEC, mode=0o100644, size_after=0), (Verdict.ALLOWED, "ok", "")),
    ],
)  # fmt: skip
def test_raced_size(row: Row, told: tuple[Any, ...]) -> None:
    assert outcome(row | {"flags": RACED_SIZE})[:3] == told


def test_raced_size_of_a_read() -> None:
    row = event(Op.READ, 0, seals=EXEC, offset=SIZE + PAGE, size_after=4 * SIZE, flags=RACED_SIZE)
    assert outcome(row, PROPOSAL)[:3] == SIZE_CHANGED
    assert outcome(row).verdict == Verdict.ALLOWED


def test_both_raced() -> None:
    row = truncate(SIZE, "EPERM", seals=0, seals_after=GROW, size=SIZE, size_after=SIZE // 2)
    result = outcome(row | {"flags": RACED_SEALS | RACED_SIZE})
    assert result[:2] == INDETERMINATE
    assert result.reason == "seals changed meanwhile and size changed meanwhile"


# ---- variants

NOT_ASKED = "the self-test did not run"


@pytest.mark.parametrize(
    ("question", "row", "same"),
    [
        ("shared_read_of_write_sealed", mmap(prot=READ, seals=WRITE), False),
        ("shared_read_of_write_sealed", mmap("EPERM", prot=READ, seals=WRITE), False),
        ("shared_read_of_write_sealed", mmap("ENOMEM", prot=READ, seals=WRITE), True),
        ("shared_read_of_write_sealed", mmap("EPERM", seals=WRITE), True),
        ("shared_read_of_write_sealed", mmap(prot=READ, seals=FUTURE), True),
        ("shared_read_of_write_sealed", mmap(prot=READ, seals=WRITE, fmode=1), True),
        ("hugetlb_partial_punch",
         event(Op.PUNCH_HOLE, 0, Kind.HUGETLB, arg=3, length=PAGE, seals=WRITE), False),
        ("hugetlb_partial_punch",
         event(Op.PUNCH_HOLE, "EPERM", Kind.HUGETLB, arg=3, seals=WRITE), True),
        ("hugetlb_partial_punch",
         event(Op.PUNCH_HOLE, "EPERM", arg=3, length=PAGE, seals=WRITE), True),
        ("grow_write_chunk", write(0, SIZE + 1, "EPERM", seals=GROW), False),
        ("grow_write_chunk", write(0, SIZE + 1, SIZE, seals=GROW), True),
        ("grow_write_chunk", write(SIZE, 1, "EPERM", seals=GROW), True),
        ("grow_write_chunk", write(0, 9, seals=GROW), True),
        ("bit_0x20", chmod(0o600, 0, mode=0o100644, seals=EXEC), True),
        ("bit_0x20", chmod(0o700, 0, mode=0o100644, seals=EXEC), False),
        ("bit_0x20", write(0, 9, seals=EXEC), False),
        ("bit_0x20", write(0, 9, "EPERM", seals=EXEC | WRITE), True),
        ("bit_0x20", event(Op.READ, 9, seals=EXEC), False),
        ("bit_0x20", mmap(seals=EXEC), False),
        ("bit_0x20", truncate(SIZE + 1, 0, seals=EXEC), False),
        ("bit_0x20", truncate(SIZE + 1, "EPERM", seals=EXEC | GROW), True),
        ("bit_0x20", add(EXEC, "EINVAL"), False),
        ("bit_0x20", add(EXEC, "EINVAL", size=0), True),
        ("bit_0x20", add(EXEC, "EBUSY", writable=1), False),
        ("bit_0x20", add(WRITE, "EBUSY", writable=1), True),
        ("bit_0x20", create(8, "EINVAL"), True),
        ("bit_0x20", create(0, seals=SEAL), True),
    ],
)  # fmt: skip
def test_an_open_question_matters_only_where_choices_differ(
    question: str, row: Row, same: bool
) -> None:
    result = outcome(row, without(question))
    if same:
        assert result.verdict == outcome(row).verdict
    else:
        assert result[:3] == (*INDETERMINATE, NOT_ASKED)
    none_answered = outcome(row, {})
    assert none_answered.verdict in (result.verdict, Verdict.INDETERMINATE)


def test_expected_is_unknown_where_only_that_differs() -> None:
    result = outcome(add(EXEC, "EINVAL", size=0), without("bit_0x20"))
    assert (result.verdict, result.expected) == (Verdict.ERROR, "unknown")


@pytest.mark.parametrize("question", VARIANTS)
def test_an_answer_that_is_not_documented(question: str) -> None:
    rows = {
        "bit_0x20": write(0, 9, seals=EXEC),
        "shared_read_of_write_sealed": mmap(prot=READ, seals=WRITE),
        "hugetlb_partial_punch": event(
            Op.PUNCH_HOLE, 0, Kind.HUGETLB, arg=3, length=PAGE, seals=WRITE
        ),
        "grow_write_chunk": write(0, SIZE + 1, "EPERM", seals=GROW),
    }
    result = outcome(rows[question], {**MODERN, question: "unexplained"})
    assert result[:3] == (*INDETERMINATE, "this kernel fits no documented variant")


def test_an_answer_that_excludes_a_kernel() -> None:
    """Without a self-test: who takes MFD_EXEC is no kernel that does not know it."""
    granted = create(0x12, seals=0)
    assert outcome(granted, {}).verdict == Verdict.ALLOWED
    assert outcome(granted, PROPOSAL).verdict == Verdict.INDETERMINATE
    assert outcome(granted | {"seals": SEAL}, {}).verdict == Verdict.UNEXPLAINED


def test_an_unknown_question_is_nobodys_business() -> None:
    assert outcome(write(0, 9), {**MODERN, "colour": "blue"}).verdict == Verdict.ALLOWED


@pytest.mark.parametrize(
    ("row", "verdict"),
    [
        (write(0, SIZE + 1, "EPERM", seals=GROW), Verdict.INDETERMINATE),
        (write(SIZE, 1, "EPERM", seals=GROW), Verdict.BLOCKED),
        (write(0, SIZE + 1, SIZE, seals=GROW), Verdict.ALLOWED),
        (write(0, SIZE + 1, seals=GROW), Verdict.BREACH),
        (write(0, 9, "EPERM", seals=GROW), Verdict.UNEXPLAINED),
        (write(0, SIZE + 1, "EPERM", seals=GROW | WRITE), Verdict.BLOCKED),
    ],
)
def test_a_file_that_was_never_announced(row: Row, verdict: Verdict) -> None:
    result = outcome(row | {"folio_order_max": 255})
    assert result.verdict == verdict
    if verdict == Verdict.INDETERMINATE:
        assert result.reason == "the file's largest folio is not known"


# ---- the judge as a machine


def test_outcomes_are_kept_and_not_repeated() -> None:
    judge = Judge(MODERN)
    batch = columns([case.row for case in CASES])
    first = judge.codes(batch)
    known = list(judge.outcomes)
    assert len(set(known)) == len(known)
    assert judge.codes(batch).tolist() == first.tolist()
    assert judge.outcomes == known
    judge.codes(columns([write(0, 9)]))
    assert judge.outcomes[: len(known)] == known


class Counting(Judge):
    asked = 0

    def outcome(self, key: int) -> Any:
        self.asked += 1
        return super().outcome(key)


def test_each_key_is_worked_out_once() -> None:
    judge = Counting(MODERN)
    sealed, plain = write(0, 9, "EPERM", seals=WRITE), write(0, 9)
    judge.codes(columns([sealed, plain] * 500))
    judge.codes(columns([plain, sealed | {"offset": 77}, plain | {"uid": 0}]))
    assert judge.asked == 2


def test_no_rows() -> None:
    assert Judge(MODERN).codes(columns([])).tolist() == []


@given(st.lists(any_row, min_size=1, max_size=8), st.sampled_from([MODERN, OLD, PROPOSAL, {}]))
@settings(max_examples=60, deadline=None)
def test_any_row_is_judged_for_itself(batch: list[Row], variants: Variants) -> None:
    """Whatever a recording holds: no error, and neighbours make no difference."""
    together = outcomes(batch, variants)
    assert together == [outcomes([row], variants)[0] for row in batch]
    for result in together:
        if result is None:
            continue
        assert result.severity == SEVERITY[result.verdict]
        assert result.hole is None or result.verdict == Verdict.BREACH
        assert result.reason or result.verdict in (Verdict.ALLOWED, Verdict.ERROR)
        assert (result.verdict == Verdict.ALLOWED) <= (result.expected in ("ok", "partial"))


@given(
    st.lists(st.integers(0, 2**64 - 1) | st.integers(0, 40), max_size=60),
    st.lists(st.integers(0, 59), max_size=200),
)
@settings(max_examples=60, deadline=None)
def test_lookup(distinct: list[int], picks: list[int]) -> None:
    distinct = [*distinct, 2**64 - 1]
    asked: list[int] = []

    def code(key: int) -> int:
        asked.append(key)
        return key % 1009

    lookup = Lookup(code)
    keys = [distinct[pick % len(distinct)] for pick in picks]
    for part in (keys, keys[::-1]):
        assert lookup.codes(np.array(part, np.uint64)).tolist() == [key % 1009 for key in part]
    assert sorted(asked) == sorted(set(keys))


def test_lookup_with_many_keys() -> None:
    """More keys than slots: many share one."""
    rng = np.random.default_rng(5)
    keys = rng.integers(0, 2**64, 40_000, np.uint64)
    lookup = Lookup(lambda key: key & 0xFFFF)
    for _ in range(2):
        assert (lookup.codes(keys) == (keys & np.uint64(0xFFFF)).astype(np.int32)).all()


def test_words_are_in_the_order_of_badness() -> None:
    assert words() == ("allowed", "error", "blocked", "indeterminate", "unexplained", "breach")
    assert [SEVERITY[verdict] for verdict in Verdict] == [0, 0, 0, 1, 2, 3]


# ---- what the self-test could not explain


def test_a_denial_that_the_self_test_met_too_is_indeterminate() -> None:
    odd = truncate(PAGE, "EPERM", seals=WRITE)
    assert outcome(odd, MODERN).verdict == Verdict.UNEXPLAINED
    told = {**MODERN, doubt("truncate", outcome(odd, MODERN).rule): UNEXPLAINED}
    assert outcome(odd, told)[:3] == (
        *INDETERMINATE,
        "the self-test met an answer that is not documented",
    )
    assert outcome(mmap("EPERM", seals=SHRINK), told).verdict == Verdict.UNEXPLAINED


def test_a_breach_that_the_self_test_met_too_stays_one() -> None:
    went = mmap(seals=WRITE)
    rule = outcome(went, MODERN).rule
    assert rule == "mmap-write"
    told = {**MODERN, doubt("mmap", rule): UNEXPLAINED}
    assert outcome(went, told).verdict == Verdict.BREACH
