"""Where an object was mapped and when: address ranges from begins, ends and the baseline."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from tracer.audit.rows import Row
from tracer.model.args import is_writable
from tracer.model.words import Flag

FOREVER = (1 << 63) - 1
Spaces = Mapping[int, set[int]]
"""The address spaces in which each process was seen; it has one until it calls exec."""


def spaces(found: Iterable[Row]) -> Spaces:
    """Where ``found`` show each process."""
    known: dict[int, set[int]] = defaultdict(set)
    for row in found:
        if row.own_mm:
            known[row.pid].add(row.own_mm)
    return known


@dataclass(slots=True)
class Range:
    """A mapping: addresses from ``start`` to before ``end``, from ``since_ns`` until ``until_ns``.

    ``mm`` is 0 where only the process is known (the baseline).
    """

    row: Row
    """Its begin; where that was not seen, its end."""
    mm: int
    start: int
    end: int
    since_ns: int
    until_ns: int = FOREVER
    begun: bool = True
    """Its begin was seen, or the baseline has it."""

    def meets(self, start: int, end: int, since_ns: int, until_ns: int) -> bool:
        """Whether it shares addresses and time with something, whatever the address space."""
        return (
            self.start < end
            and start < self.end
            and self.since_ns <= until_ns
            and since_ns <= self.until_ns
        )

    @property
    def can_write(self) -> bool:
        """Shared, and it writes or mprotect can make it so (what i_mmap_writable counts)."""
        return is_writable(self.row.arg)


def ranges(found: Iterable[Row], of: Spaces) -> list[Range]:
    """The mappings of one object; ``found`` are its events and baseline in the order of time."""
    live: dict[tuple[int, int], Range] = {}
    done: list[Range] = []
    for row in found:
        if row.op == "evict":
            for one in live.values():
                one.until_ns = row.time_ns
            done += live.values()
            live = {}
        if row.op not in ("map", "unmap"):
            continue
        mm = _space(row, of)
        by_mm, by_pid = (mm or -row.pid, row.address), (-row.pid, row.address)
        new = Range(row, mm, row.address, row.address + row.length, row.time_ns)
        if row.op == "map":
            known = live.get(by_mm) or live.get(by_pid)
            if row.table == "mappings" and known is not None:
                continue  # the baseline tells what events told already
            if row.baseline:
                new.since_ns = 0
            if by_mm in live:
                done.append(live[by_mm])
            live[by_mm] = new
            continue
        before = live.pop(by_mm, None) or live.pop(by_pid, None)
        if before is None:
            before = new
            before.begun, before.since_ns = False, 0
        before.until_ns = row.time_ns
        done.append(before)
    return done + list(live.values())


def _space(row: Row, of: Spaces) -> int:
    """The address space of a mapping: what the row says, or the only one of its process."""
    if row.mm or row.flags & Flag.OTHER_MM:
        return row.mm
    known = of.get(row.pid, set())
    return next(iter(known)) if len(known) == 1 else 0
