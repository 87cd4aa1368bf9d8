"""What answers mean: this kernel's own, and the same made to be those of another."""

import errno
from collections.abc import Callable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracer.rules.variants import VARIANTS
from tracer.selftest import attempts as chunk
from tracer.selftest.attempts import attempt_all
from tracer.selftest.explain import Finding, bit_0x20, explain
from tracer.selftest.scratch import Attempt, Attempts
from tracer.words import Kind, Op, Seal

EPERM, EINVAL = -errno.EPERM, -errno.EINVAL
LARGE = 2 << 20


def with_chunk(one: Attempt, size: int) -> Attempt:
    """The write as a kernel with this chunk answers it."""
    if one in chunk.telling_writes([one]):
        answer = chunk.grow_answer(one.size, one.offset, one.length, size)
        return one._replace(answer=answer)
    return one


def is_shared_read_of_write_sealed(one: Attempt) -> bool:
    return (
        one.op == Op.MMAP
        and bool(one.seals & Seal.WRITE)
        and one.fmode == 3
        and one.arg >> 32 & 0xF == 1
        and not one.arg & 2
    )


@pytest.fixture(scope="module")
def own() -> list[Attempt]:
    """This kernel's answers with those put right that differ between kernels."""
    attempts = Attempts()
    attempt_all(attempts, thorough=False)
    return [
        with_chunk(one._replace(answer=1 << 40) if is_shared_read_of_write_sealed(one) else one,
                   chunk.PAGE_SIZE)
        for one in attempts
        if one.op not in (Op.MAP, Op.UNMAP, Op.EVICT)
    ]  # fmt: skip


def altered(
    calls: Sequence[Attempt], which: Callable[[Attempt], bool], answer: int
) -> list[Attempt]:
    found = [one._replace(answer=answer) if which(one) else one for one in calls]
    assert found != calls
    return found


@pytest.fixture(scope="module")
def everything() -> Attempts:
    attempts = Attempts()
    attempt_all(attempts, thorough=True)
    return attempts


@pytest.fixture(scope="module")
def full(everything: Attempts) -> Finding:
    return explain(everything)


def test_this_kernel_is_documented(everything: Attempts, full: Finding) -> None:
    attempts, found = everything, full
    assert found.unexplained == []
    assert found.cases == sum(found.verdicts.values())
    assert "indeterminate" not in found.verdicts
    assert {"bit_0x20", "shared_read_of_write_sealed"} <= set(found.variants)
    assert found.variants["bit_0x20"] == found.bit_0x20
    assert found.write_chunk in (chunk.PAGE_SIZE, LARGE)
    assert ("hugetlb-grow" in found.holes) == any(one.kind == Kind.HUGETLB for one in attempts)


def test_short_and_full_say_the_same(full: Finding) -> None:
    attempts = Attempts()
    attempt_all(attempts, thorough=False)
    short = explain(attempts)
    assert short.variants == full.variants
    assert short.open == full.open
    assert short.holes == full.holes
    assert short.bit_0x20 == full.bit_0x20


def test_shared_reads(own: list[Attempt]) -> None:
    question = "shared_read_of_write_sealed"
    assert explain(own).variants[question] == "allowed"
    found = explain(altered(own, is_shared_read_of_write_sealed, EPERM))
    assert found.variants[question] == "denied"
    assert found.unexplained == []


def test_answers_that_disagree_are_not_learnt(own: list[Attempt]) -> None:
    """Some of these calls as one kernel, some as another: that is no kernel that is known."""
    count = 0

    def every_third(one: Attempt) -> bool:
        nonlocal count
        count += is_shared_read_of_write_sealed(one)
        return is_shared_read_of_write_sealed(one) and count % 3 == 0

    found = explain(altered(own * 3, every_third, EPERM))
    assert found.variants["shared_read_of_write_sealed"] == "allowed"
    assert {(one.op, one.verdict, one.answer) for one in found.unexplained} == {
        ("mmap", "unexplained", "EPERM")
    }


@pytest.mark.parametrize(
    ("op", "seals", "answer", "rule", "verdict"),
    [
        (Op.TRUNCATE, Seal.SHRINK, 0, "truncate-shrink", "breach"),
        (Op.PUNCH_HOLE, Seal.WRITE, 0, "punch-hole", "breach"),
        (Op.WRITE, Seal.FUTURE_WRITE, 100, "write-sealed", "breach"),
        (Op.TRUNCATE, Seal.SHRINK, EINVAL, "truncate-shrink", "error"),
        (Op.READ, Seal.WRITE, EPERM, "", "unexplained"),
        (Op.READ, Seal.WRITE, EINVAL, "", "error"),
        (Op.CHMOD, Seal.GROW, EPERM, "", "unexplained"),
    ],
)
def test_what_no_variant_explains(
    own: list[Attempt], op: Op, seals: Seal, answer: int, rule: str, verdict: str
) -> None:
    def mine(one: Attempt) -> bool:
        if (one.op, one.seals, one.kind) != (op, seals, Kind.MEMFD):
            return False
        return one.answer == EPERM if op == Op.TRUNCATE else op == Op.CHMOD or one.length > 0

    times = sum(mine(one) for one in own)
    found = explain(altered(own, mine, answer))
    [one] = found.unexplained
    assert (one.op, one.kind, one.rule, one.verdict) == (op.name.lower(), "memfd", rule, verdict)
    assert one.seals == seals.name
    assert one.times == times > 0
    assert one.expected == ("EPERM" if rule else "ok")
    assert one.answer == {0: "0", 100: "100", EPERM: "EPERM", EINVAL: "EINVAL"}[answer]
    assert one.asked or op == Op.CHMOD


def test_a_full_host_is_no_evidence(own: list[Attempt]) -> None:
    def mapping(one: Attempt) -> bool:
        return one.op == Op.MMAP and one.answer > 0

    found = explain(altered(own, mapping, -errno.ENOMEM))
    assert found.unexplained == []


def test_what_was_not_tried_stays_open(own: list[Attempt]) -> None:
    found = explain([one for one in own if one.kind == Kind.MEMFD])
    assert found.open == ["hugetlb_partial_punch"]
    assert explain([]).open == ["grow_write_chunk", "hugetlb_partial_punch",
                                "shared_read_of_write_sealed"]  # fmt: skip
    assert explain([]).write_chunk is None
    assert set(found.variants) | set(found.open) == set(VARIANTS)


# ---- bit 0x20 -------------------------------------------------------------------------------


def call(op: Op, seals: int, answer: int, seals_after: int | None = None) -> Attempt:
    after = seals if seals_after is None else seals_after
    return Attempt(
        op=op, kind=Kind.MEMFD, ino=1, seals=seals, seals_after=after, size=8192, size_after=8192,
        offset=0, length=100, arg=0, answer=answer, duration_ns=1, writable=0, mode=0o100600,
        fmode=3, uid=0, hooked=1,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("calls", "meaning"),
    [
        ([call(Op.CHMOD, 0x20, EPERM), call(Op.READ, 0x20, 100)], "exec"),
        ([call(Op.CHMOD, 0x20, 0), call(Op.READ, 0x20, EPERM)], "inaccessible"),
        ([call(Op.CHMOD, 0x21, 0), call(Op.READ, 0x21, EPERM)], "inaccessible"),
        ([call(Op.ADD_SEALS, 0, 0, 0x20), call(Op.CHMOD, 0x20, 0)], "unknown"),
        ([call(Op.CHMOD, 0x20, EPERM), call(Op.READ, 0x20, EPERM)], "unknown"),
        ([call(Op.ADD_SEALS, 0, EINVAL), call(Op.CHMOD, 0, EPERM)], "none"),
        ([], "none"),
    ],
)
def test_bit_0x20(calls: list[Attempt], meaning: str) -> None:
    assert bit_0x20(calls) == meaning
    found = explain(calls)
    assert found.bit_0x20 == meaning
    assert found.variants.get("bit_0x20") == (None if meaning == "unknown" else meaning)
    assert ("bit_0x20" in found.open) == (meaning == "unknown")


# ---- the chunk of a write -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("size", "offset", "length", "small", "large"),
    [
        (4096, 0, 8192, 4096, EPERM),  # KERNEL.md: 6.18 answered 4096
        (4096, 4000, 200, 96, EPERM),
        (4096, 4096, 1, EPERM, EPERM),
        (4096, 0, 4096, 4096, 4096),
        (4096, 4000, 0, 0, 0),
        (LARGE, LARGE - 4096, 8192, 4096, 4096),
        (LARGE + 4096, LARGE - 4096, 16384, 8192, 4096),
        (100, 0, 101, EPERM, EPERM),
    ],
)
def test_the_grow_formula(size: int, offset: int, length: int, small: int, large: int) -> None:
    assert chunk.grow_answer(size, offset, length, chunk.PAGE_SIZE) == small
    assert chunk.grow_answer(size, offset, length, LARGE) == large


@given(size=st.integers(0, 20000), offset=st.integers(0, 20000), length=st.integers(0, 20000))
def test_the_grow_formula_by_counting(size: int, offset: int, length: int) -> None:
    """Another way: all whole pages up to the last that fits, byte for byte."""
    end = offset + length
    fitting = [stop for stop in (*range(4096, end, 4096), end) if offset < stop <= size]
    expected = max(fitting) - offset if fitting else EPERM if length else 0
    assert chunk.grow_answer(size, offset, length, 4096) == expected


@pytest.mark.parametrize(
    ("size", "order", "variant"),
    [
        (chunk.PAGE_SIZE, None, "folio_order"),
        (chunk.PAGE_SIZE, 0, "folio_order"),
        (LARGE, 9, "folio_order"),
        (LARGE, 0, "largest"),
        (LARGE, None, None),  # no system call tells which of the two it is
    ],
)
def test_chunks(own: list[Attempt], size: int, order: int | None, variant: str | None) -> None:
    calls = [with_chunk(one, size) for one in own]
    found = explain(calls) if order is None else explain(calls, order)
    assert found.write_chunk == size
    assert found.variants.get("grow_write_chunk") == variant
    assert ("grow_write_chunk" in found.open) == (variant is None)
    assert found.unexplained == []
    assert "indeterminate" not in found.verdicts


@pytest.mark.parametrize("order", [None, 0, 9])
def test_a_chunk_that_is_not_documented(own: list[Attempt], order: int | None) -> None:
    calls = [with_chunk(one, 16384) for one in own]
    found = explain(calls) if order is None else explain(calls, order)
    assert found.write_chunk is None
    assert {(one.op, one.rule) for one in found.unexplained} == {("write", "write-grow")}


def test_the_folio_order_must_be_true(own: list[Attempt]) -> None:
    """Pages are asked for, though the file says 2 MiB: not learnt."""
    found = explain(own, 9)
    assert found.write_chunk is None
    assert found.unexplained
