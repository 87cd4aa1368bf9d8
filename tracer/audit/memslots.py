"""Which memory files back guest memory: KVM's memslots, held against what was mapped where.

A slot names a guest_memfd, or only an address of the VMM, behind which the file can change without
a call to KVM (virt/kvm/kvm_main.c keeps no file): so every file that was mapped there while the
slot lived backs it.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from tracer.audit.actors import matching
from tracer.audit.mappings import FOREVER, Range
from tracer.audit.objects import Key3
from tracer.audit.policy import Actor
from tracer.audit.rows import Row


@dataclass(slots=True)
class Slot:
    """A memslot from its row until the next one of the same number in the same VM."""

    row: Row
    until_ns: int = FOREVER


@dataclass
class Slots:
    """The memslots of a recording, and the mappings of its objects."""

    slots: list[Slot]
    ranges: Mapping[Key3, list[Range]]
    _known: dict[Key3, list[Slot]] = field(default_factory=dict)
    _by_key: dict[Key3, list[int]] = field(default_factory=lambda: defaultdict(list))
    _by_mm: dict[int, list[int]] = field(default_factory=lambda: defaultdict(list))
    _by_pid: dict[int, list[int]] = field(default_factory=lambda: defaultdict(list))

    def __post_init__(self) -> None:
        # A host may have thousands: of an object only those of its own processes are looked at.
        for place, slot in enumerate(self.slots):
            self._by_key[slot.row.key].append(place)
            self._by_mm[slot.row.mm].append(place)
            self._by_pid[slot.row.pid].append(place)

    def of(self, key: Key3) -> list[Slot]:
        """The slots that an object backs, or backed for a time."""
        if key not in self._known:
            found = set(self._by_key.get(key, ()))
            for one in self.ranges.get(key, ()):
                near = self._by_mm.get(one.mm, ()) if one.mm else self._by_pid.get(one.row.pid, ())
                found.update(place for place in near if self._backed_by(self.slots[place], one))
            self._known[key] = [self.slots[place] for place in sorted(found)]
        return self._known[key]

    def since_ns(self, key: Key3, slot: Slot) -> int:
        """When the object came to back a slot of :meth:`of`: it may be mapped there later."""
        if slot.row.key == key:
            return slot.row.time_ns
        there = (one.since_ns for one in self.ranges.get(key, ()) if self._backed_by(slot, one)
                 and one.mm in (0, slot.row.mm))  # fmt: skip
        return max(slot.row.time_ns, min(there, default=0))

    @staticmethod
    def _backed_by(slot: Slot, one: Range) -> bool:
        row = slot.row
        return one.meets(row.size_after, row.size_after + row.length, row.time_ns, slot.until_ns)

    def by(self, key: Key3, vmm: Actor) -> bool:
        """Whether a process that set one of these slots is ``vmm``."""
        return any(matching(vmm, slot.row) for slot in self.of(key))


def slots(found: Iterable[Row], ranges: Mapping[Key3, list[Range]]) -> Slots:
    """Slots from rows of ops ``memslot`` and ``vm_end``, in the order of time.

    Refused ones count for nothing.
    """
    live: dict[tuple[int, int, int], Slot] = {}
    all_: list[Slot] = []
    for row in found:
        if row.op == "vm_end":
            for number in [one for one in live if one[0] == row.vm]:
                live.pop(number).until_ns = row.time_ns
            continue
        if row.failed and not row.unanswered:
            continue
        number = (row.vm, row.mm, row.check_answer)
        if number in live:
            live.pop(number).until_ns = row.time_ns
        if row.length:
            live[number] = Slot(row)
            all_.append(live[number])
    return Slots(all_, ranges)
