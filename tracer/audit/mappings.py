"""Where an object was mapped and when: address ranges from begins, ends and the baseline."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tracer.audit.rows import Row
from tracer.model.args import is_writable
from tracer.model.words import Flag

FOREVER = (1 << 63) - 1


def of_exits(found: Sequence[Row]) -> list[Row]:
    """The rows, with mappings of others marked that a task ends as it exits.

    It has given its own address space up then, so that its row cannot tell; but what else it did
    tells which one it was. The last user of an address space may be somebody who only looked into
    it (mm/mmap.c:exit_mmap runs in whoever drops the last reference).
    """
    spaces: dict[tuple[int, int, int], set[int]] = defaultdict(set)
    for row in found:
        if row.own_mm and row.table == "events":
            spaces[row.pid, row.start_ns, row.exec_id].add(row.own_mm)
    return [
        row._replace(flags=row.flags | Flag.OTHER_MM)
        if row.op == "unmap" and not row.own_mm and row.mm
        and row.mm not in spaces.get((row.pid, row.start_ns, row.exec_id), {row.mm})
        else row
        for row in found
    ]  # fmt: skip


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
    blurred: bool = False
    """It stands for many, none of which need have been at all of these addresses or times."""

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


def ranges(found: Iterable[Row]) -> list[Range]:
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
        if row.blurred:
            if row.op == "map":
                done.append(_many(row))
            continue
        mm = row.mm
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


def _many(row: Row) -> Range:
    end = row.address + row.length
    return Range(row, row.mm, row.address, end, row.time_ns, row.last_ns, blurred=True)
