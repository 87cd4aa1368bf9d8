"""The committed table of cases: at least one for every rule, every condition of it, every hole."""

from tests.unit.rules.rule_table import (
    content,
    converting,
    creating,
    executing,
    mapping,
    racing,
    resizing,
    sealing,
)
from tracer.words import Kind

_CASES = [
    *mapping.CASES,
    *content.CASES,
    *resizing.CASES,
    *sealing.CASES,
    *creating.CASES,
    *executing.CASES,
    *converting.CASES,
    *racing.CASES,
]

_ON_ALL_KINDS = (
    "nothing to map, but EPERM", "lock", "rw, read-only fd", "r, write-only fd", "wx",
    "mprotect w, WRITE", "mprotect w, read-only fd", "mprotect x", "chmod, not the owner",
    "add, read-only fd", "add unknown", "add 0x20, before 6.3",
)  # fmt: skip
"""Cases of rules that ask nothing about the kind of the file."""

CASES = [
    *_CASES,
    *(
        case._replace(name=f"{case.name}, {kind.name}", row=case.row | {"kind": kind})
        for case in _CASES
        if case.name in _ON_ALL_KINDS
        for kind in (Kind.TMPFS, Kind.HUGETLB)
    ),
]
