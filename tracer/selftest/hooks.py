"""Did every live hook report every attempt exactly once, as it was?"""

import functools
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tracer.kernel.families import FAMILIES
from tracer.selftest.scratch import FACTS, MEMFD_SECRET, Attempt, compared
from tracer.words import Flag, Kind, Op, Seal

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Key = tuple[int, ...]

_OF_SHMEM = (Op.WRITE, Op.READ)
"""hugetlb files have no write, and their reads are hooked for audits alone."""
_DECISION = ("seals", "seals_after", "size", "size_after")
_ALWAYS = (Op.CREATE, Op.ADD_SEALS, Op.EXEC, Op.EVICT)
"""Recorded of files that cannot be sealed as well."""


@dataclass(frozen=True)
class Count:
    """Of one family: attempts that it had to report, and how many it did report as they were.

    ``extra`` are reports that no attempt accounts for: told twice, or told wrongly.
    """

    expected: int
    seen: int
    extra: int = 0

    @property
    def ok(self) -> bool | None:
        """None: nothing was tried that it could have reported."""
        if not self.expected and not self.extra:
            return None
        return self.expected == self.seen and not self.extra

    def to_json(self) -> dict[str, int]:
        """``seen`` differs from ``expected`` whenever something is wrong."""
        seen = self.seen if self.seen < self.expected else self.expected + self.extra
        return {"expected": self.expected, "seen": seen, "extra": self.extra}


@dataclass(frozen=True)
class Passed:
    """What the recording's filters let through of the attempts; the others had to be lifted."""

    denied: bool = False
    """Only what failed."""
    name: bool = False
    """A call that makes no file has no name to be compared."""
    unsealable: bool = False
    """Also files that cannot be sealed."""

    def __call__(self, one: Attempt) -> bool:
        if self.denied and one.op != Op.EVICT and not _failed(one):
            return False
        if self.name and one.op == Op.CREATE and _failed(one):
            return False
        if one.op in _ALWAYS or self.unsealable:
            return True
        return one.seals != Seal.SEAL


def _failed(one: Attempt) -> bool:
    return -4095 <= one.answer < 0


@functools.cache
def _reporter(op: int, kind: int) -> str:
    """The family that reports an operation on a memfd or on hugetlb, empty: none.

    The first one that does so alone, and not for the other kind of file only.
    """
    if kind == Kind.HUGETLB and op in _OF_SHMEM:
        return ""
    other = "shmem_" if kind == Kind.HUGETLB else "hugetlb_"
    reporting = (one for one in FAMILIES if one.tells_truth_alone and op in one.ops)
    return next((one.name for one in reporting if not one.name.startswith(other)), "")


def _family(op: int, kind: int, flags: int) -> str:
    forked = op == Op.MAP and flags & Flag.OTHER_MM
    return "map_after" if forked else _reporter(op, kind)


def check(
    attempts: Sequence[Attempt],
    events: "NDArray[np.void]",
    live: Collection[str],
    passed: Passed,
    merging: Collection[int] = (),
) -> dict[str, Count]:
    """``{family: count}`` of the live families.

    ``events`` are those of the self-test's process, in any order; the mappings of the files in
    ``merging`` (inodes) are left out: the kernel puts those back as often as it likes.
    """
    inodes = {one.ino for one in attempts}
    expected = {family: Counter[Key]() for family in live}
    seen = {family: Counter[Key]() for family in live}
    for family, key in _expected(attempts, live, passed, merging):
        expected[family][key] += 1
    # memfd_secret where it is switched off makes no file, like an attempt that failed on purpose.
    seen_rows = [row for row in _rows(events) if row["ino"] in inodes and row["nr"] != MEMFD_SECRET]
    for row in seen_rows:
        family = _family(row["op"], row["kind"], row["flags"])
        if family in seen and not (row["op"] in (Op.MAP, Op.UNMAP) and row["ino"] in merging):
            seen[family][_key(row, row["flags"])] += 1
    counts = {
        family: Count(
            expected[family].total(),
            (expected[family] & seen[family]).total(),
            (seen[family] - expected[family]).total(),
        )
        for family in live
    }
    return counts | {
        family: count for family, count in _details(seen_rows, merging) if family in live
    }


def _expected(
    attempts: Sequence[Attempt], live: Collection[str], passed: Passed, merging: Collection[int]
) -> Iterator[tuple[str, Key]]:
    announced: set[tuple[int, int]] = set()
    for one in attempts:
        flags = one.arg if one.op == Op.MAP else 0
        family = _family(one.op, one.kind, flags)
        if not one.hooked or family not in live or not passed(one):
            continue
        if one.op in (Op.MAP, Op.UNMAP) and one.ino in merging:
            continue
        file = (one.kind, one.ino)
        # The end of a file of which nothing was recorded is dropped silently.
        if one.op == Op.EVICT and file not in announced:
            continue
        announced.add(file)
        yield family, _key(one._asdict(), flags)


def _key(row: dict[str, Any], flags: int) -> Key:
    op = row["op"]
    if op == Op.EVICT:
        return (op, row["kind"], row["ino"])
    names = [*compared(op), *(() if op in FACTS else _DECISION)]
    more = row["arg"] >> 32 if op == Op.CHMOD else flags & Flag.OTHER_MM if op == Op.MAP else 0
    return (op, row["kind"], row["ino"], row["answer"], more, *(row[name] for name in names))


def _rows(events: "NDArray[np.void]") -> list[dict[str, Any]]:
    names = ("op", "kind", "ino", "answer", "arg", "flags", "offset", "length", "nr", *_DECISION)
    lists = [events[name].tolist() for name in names]
    return [dict(zip(names, row, strict=True)) for row in zip(*lists, strict=True)]


def _details(
    rows: Sequence[dict[str, Any]], merging: Collection[int]
) -> Iterator[tuple[str, Count]]:
    """Families that add to what another reports: every call that succeeded passed them."""

    def count(op: Op, flag: Flag, kinds: Collection[int]) -> Count:
        done = [
            row
            for row in rows
            if row["op"] == op
            and row["kind"] in kinds
            and row["answer"] > 0
            and (flag == Flag.CHECK_REACHED or row["ino"] not in merging)
        ]
        return Count(len(done), sum(bool(row["flags"] & flag) for row in done))

    made = [row for row in rows if row["op"] == Op.CREATE and row["answer"] >= 0]
    yield "created", Count(len(made), sum(bool(row["ino"]) for row in made))
    yield "mmap_check", count(Op.MMAP, Flag.CHECK_REACHED, (Kind.MEMFD, Kind.HUGETLB))
    yield "shmem_mmap", count(Op.MMAP, Flag.FILE_MMAP_REACHED, (Kind.MEMFD,))
    yield "hugetlb_mmap", count(Op.MMAP, Flag.FILE_MMAP_REACHED, (Kind.HUGETLB,))
    yield "write_check", count(Op.WRITE, Flag.CHECK_REACHED, (Kind.MEMFD,))
