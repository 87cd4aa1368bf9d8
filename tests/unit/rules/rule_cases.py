"""Events for the tests of the rules, each with the outcome that it must have."""

import errno
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from tracer.analysis.judge import COLUMNS, Judge
from tracer.rules import RULES
from tracer.rules.rule import Rule
from tracer.rules.variants import HOLES, Hole, Variants
from tracer.rules.verdicts import Outcome
from tracer.words import Flag, Kind, Op

Row = dict[str, Any]

SEAL, SHRINK, GROW, WRITE, FUTURE, EXEC = 1, 2, 4, 8, 16, 32
PAGE, HUGE = 4096, 2 << 20
SHARED, PRIVATE = 1, 2
READ, READ_WRITE = 1, 3
SIZE = 4 * PAGE
"""Of the file, unless a case says otherwise; on hugetlb files ``HUGE_SIZE``."""
HUGE_SIZE = 4 * HUGE
MAPPED_AT = 0x7F0000000000
REGULAR = 0o100000
MODE, RESIZED = 1, 8  # ATTR_MODE, ATTR_SIZE
KEEP, PUNCH = 1, 2

MODERN: Variants = {
    "bit_0x20": "exec",
    "shared_read_of_write_sealed": "allowed",
    "hugetlb_partial_punch": "checked",
    "grow_write_chunk": "folio_order",
}
OLD: Variants = {**MODERN, "bit_0x20": "none", "shared_read_of_write_sealed": "denied"}
PROPOSAL: Variants = {**MODERN, "bit_0x20": "inaccessible"}

DTYPES = {
    "op": "u1", "kind": "u1", "uid": "u4", "seals": "u4", "seals_after": "u4", "size": "u8",
    "size_after": "u8", "offset": "i8", "length": "u8", "arg": "u8", "answer": "i8",
    "duration_ns": "i8", "flags": "u4", "writable": "i4", "mode": "u2", "fmode": "u2",
    "check_answer": "i4", "folio_order_max": "u1", "owner_uid": "u4",
}  # fmt: skip
"""As in bpf/record.h and the objects table."""


def event(op: Op, answer: int | str = 0, kind: Kind = Kind.MEMFD, **fields: int) -> Row:
    """One event; ``answer`` may be an errno symbol. What is not given is plain and harmless."""
    huge = kind == Kind.HUGETLB
    row: Row = dict.fromkeys(DTYPES, 0) | {
        "op": op,
        "kind": kind,
        "size": HUGE_SIZE if huge else SIZE,
        "length": HUGE if huge else PAGE,
        "answer": -getattr(errno, answer) if isinstance(answer, str) else answer,
        "mode": REGULAR | 0o777,
        "fmode": 3,
        "uid": 1000,
        "owner_uid": 1000,
        "duration_ns": 5000,
    }
    row |= fields
    if row["answer"] in (-errno.EPERM, -errno.EBUSY) and row["flags"] & Flag.CHECK_REACHED:
        row["check_answer"] = row["answer"]
    row["seals_after"] = fields.get("seals_after", row["seals"])
    row["size_after"] = fields.get("size_after", row["size"])
    return row


def mmap(
    answer: int | str = MAPPED_AT,
    prot: int = READ_WRITE,
    flags: int = SHARED,
    event_flags: int = 0,
    **fields: Any,
) -> Row:
    """``flags`` are mmap's own; those of the event are ``event_flags``."""
    return event(Op.MMAP, answer, arg=prot | flags << 32, flags=event_flags, **fields)


def mremap(
    old_pages: int,
    new_pages: int,
    answer: int | str = MAPPED_AT,
    vm_flags: int = 0x8B,
    **fields: int,
) -> Row:
    """A shared writable mapping unless said otherwise; lengths in pages."""
    arg = 1 | vm_flags << 8 | old_pages << 16
    given: dict[str, Any] = {"arg": arg, "length": new_pages * PAGE}
    return event(Op.MREMAP, answer, **given | fields)


def remap_file_pages(answer: int | str = 0, vm_flags: int = 0x8B, **fields: int) -> Row:
    """A shared writable mapping unless said otherwise; two pages of a file that has as many."""
    given: dict[str, Any] = {"arg": vm_flags << 8 | 0x7F00 << 16, "length": 2 * PAGE}
    return event(Op.REMAP_FILE_PAGES, answer, **given | fields)


def execute(answer: int | str = 0, **fields: int) -> Row:
    """Of an executable file, in hand, unless said otherwise."""
    given: dict[str, Any] = {"arg": 0x102, "fmode": 1, "length": 0}
    return event(Op.EXEC, answer, **given | fields)


def truncate(length: int, answer: int | str = 0, **fields: Any) -> Row:
    return event(Op.TRUNCATE, answer, length=length, arg=RESIZED, fmode=0, **fields)


def chmod(new: int, answer: int | str = 0, **fields: Any) -> Row:
    return event(Op.CHMOD, answer, arg=MODE | (REGULAR | new) << 32, fmode=0, **fields)


def write(offset: int, length: int, answer: int | str | None = None, **fields: Any) -> Row:
    """Answered in full unless said otherwise."""
    given = length if answer is None else answer
    return event(Op.WRITE, given, offset=offset, length=length, **fields)


def add(asked: int, answer: int | str = 0, seals: int = 0, **fields: Any) -> Row:
    after = seals | asked if answer == 0 else seals
    return event(Op.ADD_SEALS, answer, arg=asked, seals=seals, **{"seals_after": after} | fields)


def create(asked: int, answer: int | str = 5, seals: int = 0, **fields: Any) -> Row:
    failed = isinstance(answer, str)
    kind = Kind.UNKNOWN if failed else Kind.MEMFD
    more: dict[str, Any] = {"kind": kind, "size": 0, "length": 0}
    more |= {"mode": 0, "fmode": 0} if failed else {}
    return event(Op.CREATE, answer, arg=asked, **more | {"seals": seals} | fields)


def columns(rows: Iterable[Row]) -> dict[str, npt.NDArray[Any]]:
    """Rows as the columns that the judge takes, with a recording's types."""
    listed = list(rows)
    return {name: np.array([row[name] for row in listed], DTYPES[name]) for name in COLUMNS}


def outcomes(
    rows: Sequence[Row],
    variants: Mapping[str, str] = MODERN,
    rules: Sequence[Rule] = RULES,
    holes: Sequence[Hole] = HOLES,
) -> list[Outcome | None]:
    """The outcome of each row; None: no decision."""
    judge = Judge(variants, rules, holes)
    codes = judge.codes(columns(rows)).tolist()
    return [judge.outcomes[code] if code >= 0 else None for code in codes]


def outcome(row: Row, variants: Mapping[str, str] = MODERN) -> Outcome:
    """The outcome of one row."""
    (one,) = outcomes([row], variants)
    assert one is not None
    return one


class Told(NamedTuple):
    """What an outcome must say."""

    verdict: str
    expected: str
    reason: str
    hole: str | None = None


def told(result: Outcome | None) -> Told | None:
    return result and Told(result.verdict.word, result.expected, result.reason, result.hole)


class Judged(NamedTuple):
    name: str
    row: Row
    told: Told
    variants: Variants = MODERN
