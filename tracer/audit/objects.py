"""What the evidence is made of: rows, memory files, their mappings, and KVM's memslots.

A memslot names a guest_memfd, or only an address of the VMM. What is mapped at that address can
change without a call to KVM (virt/kvm/kvm_main.c keeps no file), so every file that was mapped
there while the slot existed counts as its memory.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import pandas as pd

from tracer.audit.result import AuditedObject
from tracer.escape import printable
from tracer.labels import MAX_ERRNO, SEALS_UNKNOWN, is_writable
from tracer.record import USER_CPU
from tracer.recording.identity import Identities
from tracer.words import Flag

KEY = ["dev", "ino", "gen"]
VM_FAULT_ERROR = 0x873
"""include/linux/mm_types.h: OOM, SIGBUS, HWPOISON, SIGSEGV and the like; else the page came."""


class Row(NamedTuple):
    """One event, or one line of the baseline. Columns as in tracer.recording.format.EVENTS."""

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
    """It stands for many mappings that started and ended: ``address`` and ``length`` hold them all,
    and ``last_ns`` is when the last of them ended."""
    privacy: int | None = 0
    """What it met in a guest_memfd, a state of `tracer.analysis.private`; 0 where no claim asks."""

    @property
    def touched(self) -> bool:
        """A page fault that was not refused."""
        return self.op == "fault" and not self.answer & VM_FAULT_ERROR

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
        return self.table == "mappings" and not self.flags & Flag.FINAL

    @property
    def final(self) -> bool:
        """Of the look at the end."""
        return self.table == "mappings" and bool(self.flags & Flag.FINAL)

    @property
    def unanswered(self) -> bool:
        """Its return was not seen: ``answer`` says nothing."""
        return bool(self.flags & Flag.RETURN_MISSING)

    @property
    def failed(self) -> bool:
        return -MAX_ERRNO <= self.answer < 0

    @property
    def created(self) -> bool:
        """The file was made by this row."""
        return self.op == "create" and self.answer >= 0

    @property
    def address(self) -> int:
        """Of a mapping: where it starts."""
        return self.answer & (2**64 - 1)

    @property
    def until_ns(self) -> int:
        """When the last of these equal events returned."""
        return max(self.last_ns, self.time_ns) + max(0, self.duration_ns)


def rows(found: pd.DataFrame) -> Iterator[Row]:
    """A frame as rows, in its order; columns that it does not have are None."""
    found = found.reindex(columns=Row._fields).astype(object)
    found = found.where(found.notna(), None)
    yield from map(Row._make, found.itertuples(index=False, name=None))


Key3 = tuple[int, int, int]


MOST_ROWS = 64
"""Of announcements of one object: whoever wrote the recording may repeat one for ever."""


@dataclass
class MemoryFile:
    """One memory file (or, if the kernel used an inode number again, all that had this key)."""

    key: Key3
    kinds: set[str] = field(default_factory=set)
    names: list[tuple[str | None, bool]] = field(default_factory=list)
    """Each announced name, and whether it is complete."""
    owners: set[int | None] = field(default_factory=set)
    cgroups: set[int] = field(default_factory=set)
    announcements: list[Any] = field(default_factory=list)
    """As they are, for ``where``: the first ``MOST_ROWS``."""
    more: bool = False
    """There are other announcements."""
    born: bool = False
    seals: int | None = None
    """All that it was ever seen with; seals are never taken off (mm/memfd.c:memfd_add_seals)."""
    only_seal: bool = False
    """It was seen with F_SEAL_SEAL alone: from then on recorders leave it out."""
    size: int | None = None
    rows: list[Row] = field(default_factory=list)
    """Its events and baseline, in the order of time."""
    ranges: list["Range"] = field(default_factory=list)
    """Where it was mapped."""

    def saw(self, seals: int) -> None:
        """Some row had these seals."""
        if seals != SEALS_UNKNOWN:
            self.seals = (self.seals or 0) | seals
            self.only_seal |= seals == 1

    @property
    def kind(self) -> str:
        """The kind, ``unknown`` where none or several were told."""
        known = self.kinds - {"unknown"}
        return next(iter(known)) if len(known) == 1 else "unknown"

    def audited(self) -> AuditedObject:
        """As a finding names it."""
        name = next((name for name, _ in reversed(self.names) if name is not None), None)
        return AuditedObject(*self.key, self.kind, None if name is None else printable(name),
                             self.seals, self.size, self.born)  # fmt: skip


def give_generations(swept: pd.DataFrame, known: Identities, *, twice: bool = False) -> None:
    """Gives rows of a sweep of /proc that do not know the generation (0) that of their file.

    :param twice: rows with Flag.FINAL are of the last sweep, and about what it came upon.
    """
    for row in swept.index[(swept["gen"] == 0) & (swept["cpu"] == USER_CPU)]:
        dev, ino, when, flags = map(int, swept.loc[row, ["dev", "ino", "time_ns", "flags"]])
        final = twice and flags & Flag.FINAL
        swept.at[row, "gen"] = known.of(dev, ino, 0, when if final else None).gen


def announced(objects: pd.DataFrame, with_rows: bool) -> dict[Key3, MemoryFile]:
    """What announcements (table ``objects``) tell; ``with_rows``: some claim has a ``where``.

    A memfd_create that was refused is announced too, with the name that it asked for and inode 0:
    it made no file that a claim could be about.
    """
    found: dict[Key3, MemoryFile] = {}
    row: Any
    for row in objects[objects["ino"] != 0].itertuples(index=False):
        key = (row.dev, row.ino, row.gen)
        file = found.setdefault(key, MemoryFile(key))
        file.kinds.add(str(row.kind))
        name = (None if pd.isna(row.name) else str(row.name), bool(row.name_complete))
        if file.names[-1:] != [name]:
            file.names.append(name)
        # The scan of /proc leaves mode 0 where it could not look at the file.
        looked = row.cpu != USER_CPU or row.mode
        file.owners.add(row.owner_uid if looked else None)
        file.cgroups.add(row.cgroup)
        file.born |= not pd.isna(row.create_flags)
        file.size = row.size if looked else file.size
        file.saw(row.seals)
        file.more |= len(file.announcements) >= MOST_ROWS
        if with_rows and not file.more:
            file.announcements.append(row)
    return found


def observed(known: dict[Key3, MemoryFile], rows: pd.DataFrame) -> None:
    """Adds what events and baseline tell, and objects that were never announced."""
    rows = rows[rows["ino"] != 0]
    columns = [*KEY, "kind", "seals", "seals_after"]
    row: Any
    for row in rows[columns].drop_duplicates().itertuples(index=False):
        key = (row.dev, row.ino, row.gen)
        file = known.setdefault(key, MemoryFile(key))
        file.kinds.add(str(row.kind))
        file.saw(row.seals)
        file.saw(row.seals_after)
    made = rows[(rows["op"] == "create") & (rows["answer"] >= 0) & (rows["table"] == "events")]
    for row in made[KEY].drop_duplicates().itertuples(index=False):
        known[row.dev, row.ino, row.gen].born = True


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
    """Its start; where that was not seen, its end."""
    mm: int
    start: int
    end: int
    since_ns: int
    until_ns: int = FOREVER
    begun: bool = True
    """Its start was seen, or the baseline has it."""
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
                end = row.address + row.length
                done.append(
                    Range(row, row.mm, row.address, end, row.time_ns, row.last_ns, blurred=True)
                )
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


@dataclass(slots=True)
class Slot:
    """A memslot from its row until the next one of the same number in the same VM."""

    row: Row
    until_ns: int = FOREVER

    def meets(self, mapped: Range) -> bool:
        """Whether something was mapped where and while it was there."""
        row = self.row
        end = row.size_after + row.length
        return mapped.meets(row.size_after, end, row.time_ns, self.until_ns)

    def since_ns(self, file: MemoryFile) -> int:
        """When a file that backs it came to do so: it may be mapped there later."""
        if self.row.key == file.key:
            return self.row.time_ns
        there = (mapped.since_ns for mapped in file.ranges
                 if mapped.mm in (0, self.row.mm) and self.meets(mapped))  # fmt: skip
        return max(self.row.time_ns, min(there, default=0))


class Slots:
    """The memslots of a recording: refused ones count for nothing."""

    def __init__(self, found: Iterable[Row]) -> None:
        """:param found: rows of ops ``memslot`` and ``vm_end``, in the order of time."""
        self._all: list[Slot] = []
        self._known: dict[Key3, list[Slot]] = {}
        live: dict[tuple[int, int, int], Slot] = {}
        for row in found:
            number = (row.vm, row.mm, row.check_answer)
            if row.op == "vm_end":
                for ended in [one for one in live if one[0] == row.vm]:
                    live.pop(ended).until_ns = row.time_ns
            elif row.unanswered or not row.failed:
                if number in live:
                    live.pop(number).until_ns = row.time_ns
                if row.length:
                    live[number] = Slot(row)
                    self._all.append(live[number])
        # A host may have thousands: of an object only those of its own processes are looked at.
        self._near: dict[tuple[str, object], list[int]] = defaultdict(list)
        for index, slot in enumerate(self._all):
            for near in (("key", slot.row.key), ("mm", slot.row.mm), ("pid", slot.row.pid)):
                self._near[near].append(index)

    def of(self, file: MemoryFile) -> list[Slot]:
        """The slots that an object backs, or backed for a time."""
        if file.key not in self._known:
            found = set(self._near.get(("key", file.key), ()))
            for mapped in file.ranges:
                near = ("mm", mapped.mm) if mapped.mm else ("pid", mapped.row.pid)
                found.update(index for index in self._near.get(near, ())
                             if self._all[index].meets(mapped))  # fmt: skip
            self._known[file.key] = [self._all[index] for index in sorted(found)]
        return self._known[file.key]
