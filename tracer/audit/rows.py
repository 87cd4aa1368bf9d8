"""One event, or one line of the baseline, as the claims look at it."""

from collections.abc import Iterator
from typing import NamedTuple

import pandas as pd

from tracer.model.errnos import MAX_ERRNO
from tracer.model.words import Flag

FINAL = 0x200
"""Flag of baseline rows (bpf/record.h: FLAG_FINAL): as it was at the stop, not at the start."""
VM_FAULT_ERROR = 0x873
"""include/linux/mm_types.h: OOM, SIGBUS, HWPOISON, SIGSEGV and the like; else the page came."""


class Row(NamedTuple):
    """Columns as in tracer.store.schema.EVENTS."""

    table: str
    time_ns: int
    cpu: int
    seq: int
    pid: int
    start_ns: int
    exec_id: int
    own_mm: int
    tid: int
    uid: int
    cgroup: int
    comm: str
    op: str
    kind: str
    dev: int
    ino: int
    gen: int
    fd: int
    seals: int
    seals_after: int
    size: int
    size_after: int
    offset: int
    length: int
    arg: int
    answer: int
    duration_ns: int
    flags: int
    mm: int
    vm: int
    writable: int
    checks: int
    check_answer: int
    times: int
    last_ns: int
    verdict: str | None
    reason: str | None
    hole: str | None
    blurred: bool | None = False
    """It stands for many mappings that began and ended: ``address`` and ``length`` hold them all,
    and ``last_ns`` is when the last of them ended."""

    @property
    def key(self) -> tuple[int, int, int]:
        return self.dev, self.ino, self.gen

    @property
    def copied(self) -> bool:
        """A mapping that a fork copied: told by the parent, in the child's address space."""
        return self.op == "map" and bool(self.flags & Flag.OTHER_MM)

    @property
    def baseline(self) -> bool:
        """Of the look at the start."""
        return self.table == "mappings" and not self.flags & FINAL

    @property
    def final(self) -> bool:
        """Of the look at the end."""
        return self.table == "mappings" and bool(self.flags & FINAL)

    @property
    def unanswered(self) -> bool:
        """Its return was not seen: ``answer`` says nothing."""
        return bool(self.flags & Flag.RETURN_MISSING)

    @property
    def failed(self) -> bool:
        return -MAX_ERRNO <= self.answer < 0

    @property
    def address(self) -> int:
        """Of a mapping: where it begins."""
        return self.answer & (2**64 - 1)

    @property
    def until_ns(self) -> int:
        """When the last of these equal events returned."""
        return max(self.last_ns, self.time_ns) + max(0, self.duration_ns)


def rows(found: pd.DataFrame) -> Iterator[Row]:
    """A frame of tracer.audit.events as rows, in its order."""
    columns = []
    for name in Row._fields:
        if name not in found:
            columns.append([None] * len(found))
            continue
        column = found[name]
        values = column.tolist()
        if column.dtype.kind not in "iu":
            values = [
                None if null else value for value, null in zip(values, column.isna(), strict=True)
            ]
        columns.append(values)
    yield from map(Row._make, zip(*columns, strict=True))
