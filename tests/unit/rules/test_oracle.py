"""The oracle table (what each seal does to each operation), cell by cell, both answers each.

Written from the kernel's source and executed calls, not from tracer.rules: operation by seal,
whether the kernel must refuse.
"""

from collections.abc import Callable
from typing import Any

import pytest

from tests.unit.rules.rule_cases import (
    EXEC,
    FUTURE,
    GROW,
    HUGE,
    HUGE_SIZE,
    KEEP,
    MODERN,
    OLD,
    PAGE,
    PRIVATE,
    PUNCH,
    READ,
    READ_WRITE,
    SEAL,
    SHARED,
    SHRINK,
    SIZE,
    WRITE,
    Row,
    chmod,
    event,
    mmap,
    outcome,
    outcomes,
    truncate,
    write,
)
from tracer import words as bit5
from tracer.rules.verdicts import Outcome, Verdict
from tracer.words import Kind, Op, names

Make = Callable[..., Row]
SEALS = (0, SEAL, SHRINK, GROW, WRITE, FUTURE, EXEC)

HUGETLB = {"kind": Kind.HUGETLB}
GROWN = {**HUGETLB, "size_after": HUGE_SIZE + HUGE}


def _fallocate(mode: int, offset: int, length: int, **more: Any) -> Make:
    op = Op.PUNCH_HOLE if mode & PUNCH else Op.ALLOCATE
    return lambda answer=0, **fields: event(
        op, answer, arg=mode, offset=offset, length=length, **more | fields
    )


def _mmap(prot: int, flags: int, **more: Any) -> Make:
    def make(answer: Any = 0, **fields: Any) -> Row:
        given = {"answer": answer} if answer else {}
        return mmap(**given, prot=prot, flags=flags, **more | fields)

    return make


def _truncate(length: int, **more: Any) -> Make:
    return lambda answer=0, **fields: truncate(length, answer, **more | fields)


def _chmod(new: int, **more: Any) -> Make:
    return lambda answer=0, **fields: chmod(new, answer, **more | fields)


def _write(offset: int, length: int) -> Make:
    return lambda answer=0, **fields: write(offset, length, answer or length, **fields)


OPERATIONS: dict[str, tuple[Make, int]] = {
    # name: the call, and the seals that refuse it (all with EPERM)
    "ftruncate smaller": (_truncate(SIZE - PAGE), SHRINK),
    "ftruncate to 0 (O_TRUNC)": (_truncate(0), SHRINK),
    "ftruncate same": (_truncate(SIZE), 0),
    "ftruncate larger": (_truncate(SIZE + 1), GROW),
    "write inside": (_write(100, 200), WRITE | FUTURE),
    "write up to the end": (_write(SIZE - 10, 10), WRITE | FUTURE),
    "write past the end": (_write(SIZE, 10), WRITE | FUTURE | GROW),
    "write crossing the end of a part page": (_write(SIZE - 10, 20), WRITE | FUTURE),
    "write nothing": (_write(SIZE, 0), 0),
    "read": (lambda answer=0, **f: event(Op.READ, answer, **f), 0),
    "read past the end": (lambda answer=0, **f: event(Op.READ, answer, offset=2 * SIZE, **f), 0),
    "fallocate inside": (_fallocate(0, 0, SIZE), 0),
    "fallocate inside, KEEP_SIZE": (_fallocate(KEEP, PAGE, PAGE), 0),
    "fallocate beyond": (_fallocate(0, SIZE - 1, 2), GROW),
    "fallocate beyond, KEEP_SIZE": (_fallocate(KEEP, SIZE, PAGE), GROW),
    "punch inside": (_fallocate(KEEP | PUNCH, 0, PAGE), WRITE | FUTURE),
    "punch past the end": (_fallocate(KEEP | PUNCH, 2 * SIZE, PAGE), WRITE | FUTURE),
    "punch part of a page": (_fallocate(KEEP | PUNCH, 10, 20), WRITE | FUTURE),
    "mmap shared rw": (_mmap(READ_WRITE, SHARED), WRITE | FUTURE),
    "mmap shared validate rw": (_mmap(READ_WRITE, 3), WRITE | FUTURE),
    "mmap shared w": (_mmap(2, SHARED), WRITE | FUTURE),
    "mmap shared r": (_mmap(READ, SHARED), 0),
    "mmap shared none": (_mmap(0, SHARED), 0),
    "mmap shared r, O_RDONLY": (_mmap(READ, SHARED, fmode=1), 0),
    "mmap shared r past the end": (_mmap(READ, SHARED, offset=SIZE), 0),
    "mmap private rw": (_mmap(READ_WRITE, PRIVATE), 0),
    "mmap private rw past the end": (_mmap(READ_WRITE, PRIVATE, offset=SIZE), 0),
    "mmap private rw, O_RDONLY": (_mmap(READ_WRITE, PRIVATE, fmode=1), 0),
    "mmap private rwx": (_mmap(7, PRIVATE), 0),
    "chmod +x": (_chmod(0o755, mode=0o100644), EXEC),
    "chmod -x": (_chmod(0o644, mode=0o100755), EXEC),
    "chmod one x": (_chmod(0o654, mode=0o100644), EXEC),
    "chmod other bits": (_chmod(0o600, mode=0o100644), 0),
    "chmod setuid": (_chmod(0o4755, mode=0o100755), 0),
    "chmod same": (_chmod(0o755, mode=0o100755), 0),
}
HUGETLB_OPERATIONS: dict[str, tuple[Make, int]] = {
    "ftruncate smaller": (_truncate(HUGE_SIZE - HUGE, **HUGETLB), SHRINK),
    "ftruncate larger": (_truncate(HUGE_SIZE + HUGE, **HUGETLB), GROW),
    "ftruncate same": (_truncate(HUGE_SIZE, **HUGETLB), 0),
    "fallocate beyond": (_fallocate(0, HUGE_SIZE, HUGE, **HUGETLB), GROW),
    "punch": (_fallocate(KEEP | PUNCH, 0, HUGE, **HUGETLB), WRITE | FUTURE),
    "punch part of a huge page": (_fallocate(KEEP | PUNCH, 0, PAGE, **HUGETLB), WRITE | FUTURE),
    "mmap shared rw": (_mmap(READ_WRITE, SHARED, **HUGETLB), WRITE | FUTURE),
    "mmap shared r": (_mmap(READ, SHARED, **HUGETLB), 0),
    "mmap private rw": (_mmap(READ_WRITE, PRIVATE, **HUGETLB), 0),
    "mmap shared rw past the end": (
        _mmap(READ_WRITE, SHARED, offset=HUGE_SIZE, **GROWN),
        WRITE | FUTURE | GROW,
    ),
    "mmap private rw past the end": (
        _mmap(READ_WRITE, PRIVATE, offset=HUGE_SIZE, **GROWN),
        GROW,
    ),
    "mmap shared r past the end": (_mmap(READ, SHARED, offset=HUGE_SIZE, **GROWN), 0),
    "chmod +x": (_chmod(0o755, mode=0o100644, **HUGETLB), EXEC),
    "chmod other bits": (_chmod(0o600, mode=0o100644, **HUGETLB), 0),
}
PARTIAL = {("write crossing the end of a part page", GROW)}
"""Cells that are neither granted in full nor refused."""
ALL = {**OPERATIONS, **{f"hugetlb {name}": made for name, made in HUGETLB_OPERATIONS.items()}}
each_operation = pytest.mark.parametrize("name", ALL)


def cells(name: str, right: str, wrong: str) -> list[tuple[int, int, Outcome]]:
    """(seals, those that refuse, outcome) where a refusing seal is answered ``right`` (empty: a
    success) and any other cell ``wrong``."""
    make, refusing = ALL[name]
    found = [seals for seals in SEALS if (name, seals) not in PARTIAL]
    rows = [
        make(*filter(None, [right if refusing & seals else wrong]), seals=seals) for seals in found
    ]
    results = [result for result in outcomes(rows) if result is not None]
    return [(seals, seals & refusing, result) for seals, result in zip(found, results, strict=True)]


@each_operation
def test_right_answer(name: str) -> None:
    for _, refusing, result in cells(name, right="EPERM", wrong=""):
        assert (result.severity, result.hole) == (0, None)
        if refusing:
            assert result[:3] == (Verdict.BLOCKED, "EPERM", names(refusing, bit5.EXEC))
        else:
            assert result[:4] == (Verdict.ALLOWED, "ok", "", "")


@each_operation
def test_wrong_answer(name: str) -> None:
    for _, refusing, result in cells(name, right="", wrong="EPERM"):
        if refusing:
            assert (result.verdict, result.severity) == (Verdict.BREACH, 3)
            assert (result.expected, result.reason) == ("EPERM", names(refusing, bit5.EXEC))
        else:
            assert result[:3] == (Verdict.UNEXPLAINED, "ok", "no seal says so")
            assert result.severity == 2


@each_operation
@pytest.mark.parametrize("answer", ["ENOMEM", "EINTR", "ENOSPC", "EFAULT"])
def test_other_errors_are_no_seals_business(name: str, answer: str) -> None:
    for _, refusing, result in cells(name, right=answer, wrong=answer):
        assert (result.verdict, result.severity) == (Verdict.ERROR, 0)
        assert result.expected == ("EPERM" if refusing else "ok")
        assert (result.reason != "") == bool(refusing)


@pytest.mark.parametrize("kind", [Kind.MEMFD, Kind.TMPFS, Kind.HUGETLB])
@pytest.mark.parametrize(
    ("seals", "fmode", "denied"),
    [(WRITE, 3, True), (WRITE | FUTURE, 3, True), (FUTURE, 3, False), (WRITE, 1, False)],
)
def test_shared_read_where_the_kernel_denies_it(
    kind: Kind, seals: int, fmode: int, denied: bool
) -> None:
    """Until 6.6 and some point releases every shared mapping counted as writable."""
    answers = {"EPERM": Verdict.BLOCKED if denied else Verdict.UNEXPLAINED}
    answers[""] = Verdict.BREACH if denied else Verdict.ALLOWED
    for answer, verdict in answers.items():
        row = _mmap(READ, SHARED, kind=kind, fmode=fmode, seals=seals)(answer or 0)
        result = outcome(row, OLD)
        assert result.verdict == verdict
        if denied:
            assert result.reason == "WRITE"
        if not denied or answer == "EPERM":
            assert outcome(row, MODERN).verdict == (
                Verdict.UNEXPLAINED if answer else Verdict.ALLOWED
            )


@pytest.mark.parametrize("seals", [0, WRITE, FUTURE, GROW, SHRINK])
def test_shared_write_through_a_read_only_descriptor(seals: int) -> None:
    result = outcome(mmap("EACCES", fmode=1, seals=seals))
    assert result[:3] == (Verdict.ERROR, "EACCES", "descriptor not open for writing")


@pytest.mark.parametrize("seals", [0, WRITE, FUTURE])
def test_any_mapping_needs_a_readable_descriptor(seals: int) -> None:
    result = outcome(mmap("EACCES", flags=PRIVATE, prot=READ, fmode=2, seals=seals))
    assert result[:3] == (Verdict.ERROR, "EACCES", "descriptor not open for reading")
