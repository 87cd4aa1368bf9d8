"""Virtual machines that exist when a recording begins, and their memslots, from KVM's own list.

No system call tells which memslots a virtual machine has, and a hook tells only of those that are
set from now on. So the list is walked in the kernel's memory: ``vm_list`` (virt/kvm/kvm_main.c)
to each ``struct kvm``, its ``memslots``, and each slot. Where members lie is read from KVM's BTF.

What of its guest's memory is private is in ``mem_attr_array``, by pages; no call gives that either.

Nothing is locked. What was read of a machine counts if, afterwards, it is still in the list with
the same sets of slots at the same generation, which KVM counts up at each change, with as many
conversions behind it as our hook has counted before, and if no call that changes one or the other
was under way; else it is read again, and given up after some tries.
"""

import struct
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol, Self

import numpy as np

from tracer.capture.ledger import own_records
from tracer.capture.processes import Who
from tracer.capture.ring import Records
from tracer.capture.stacks.records import File
from tracer.kernel.btf import Btf
from tracer.kernel.btf_file import BtfError
from tracer.record import BASELINE, RecordType
from tracer.words import Hook, Kind, Op

VM_LIST = "vm_list"
NOBODY = 0xFFFFFFFF
"""The uid of a VMM that is not known."""
_SOMEBODY = Who(b"", NOBODY, 0)
_MOST_MACHINES = 1 << 14
_MOST_SLOTS = 1 << 16
"""Of one machine; KVM allows 32,767 in each of two address spaces."""
_TRIES = 5
_UPDATING = 1 << 63
"""KVM_MEMSLOT_GEN_UPDATE_IN_PROGRESS of include/linux/kvm_host.h."""
_FLAGS = 0xFFFF
"""The others are the kernel's own (include/linux/kvm_host.h: KVM_MEMSLOT_INVALID)."""
_PAGE = 4096
_ALL_PAGES = (1 << 52) - 1
_MOST_NODES = 1 << 16
"""Of one machine's attributes: 16 GB if all of it is private, and a second to read."""
_NODE_SLOTS = 64
"""XA_CHUNK_SIZE of include/linux/xarray.h, but for CONFIG_BASE_SMALL, which makes nodes smaller."""
_XA_INTERNAL = 2
_RB_RIGHT = 8
"""struct rb_node of include/linux/rbtree_types.h: behind parent and colour right, then left."""


class Memory(Protocol):
    """The kernel's memory. What cannot be read is zero."""

    def read(self, address: int, size: int) -> bytes:
        """A page at most. OSError: this kernel does not let us."""
        ...


@dataclass(frozen=True, slots=True)
class Layout:
    """Where in KVM's structures something lies, in bytes."""

    kvm: Mapping[str, int]
    """With the root of the attributes, if this KVM keeps any."""
    slots: Mapping[str, int]
    slot: Mapping[str, int]
    kernel: Mapping[str, int]
    spaces: int
    """Address spaces of a machine: x86 has one for system management mode."""
    slot_bytes: int
    is_tree: bool
    """Slots are in a tree by guest address (since 5.17, commit a54d806688fe); else in an array."""

    @classmethod
    def of(cls, kvm: Btf, kernel: Btf) -> Self:
        """``kvm``: BTF with KVM's structures. BtfError: this KVM is built otherwise."""

        def some(struct_name: str, *members: str) -> dict[str, int]:
            return {one: kvm.offset_of(struct_name, one) for one in members}

        is_tree = kvm.has_member("struct kvm_memslots", "gfn_tree")
        slot = some("struct kvm_memory_slot", "base_gfn", "npages", "userspace_addr", "flags", "id")
        for name in ("gmem.file", "gmem.pgoff", "gfn_node"):
            if kvm.has_member("struct kvm_memory_slot", name):
                slot[name] = kvm.offset_of("struct kvm_memory_slot", name)
        of_kernel = {
            "file.inode": ("struct file", "f_inode"),
            "inode.ino": ("struct inode", "i_ino"),
            "inode.sb": ("struct inode", "i_sb"),
            "inode.gen": ("struct inode", "i_generation"),
            "inode.size": ("struct inode", "i_size"),
            "inode.mode": ("struct inode", "i_mode"),
            "sb.dev": ("struct super_block", "s_dev"),
            "node.shift": ("struct xa_node", "shift"),
            "node.slots": ("struct xa_node", "slots"),
        }
        of_kvm = some("struct kvm", "mm", "memslots", "vm_list")
        if kvm.has_member("struct kvm", "mem_attr_array"):
            if kernel.size_of_member("struct xa_node", "slots") != 8 * _NODE_SLOTS:
                raise BtfError("struct xa_node has another number of slots")
            of_kvm["attributes"] = kvm.offset_of("struct kvm", "mem_attr_array") + kernel.offset_of(
                "struct xarray", "xa_head"
            )
        return cls(
            of_kvm,
            some("struct kvm_memslots", "generation",
                 *(("gfn_tree", "node_idx") if is_tree else ("used_slots", "memslots"))),
            slot,
            {name: kernel.offset_of(*one) for name, one in of_kernel.items()},
            kvm.size_of_member("struct kvm", "memslots") // 8,
            kvm.size_of("struct kvm_memory_slot"),
            is_tree,
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Slot:
    """One memslot: guest-physical address, length, the VMM's address and offset, all in bytes."""

    number: int
    """As the VMM called it: address space << 16 | number."""
    flags: int
    guest_address: int
    length: int
    address: int
    file: File | None
    """Its guest_memfd."""
    offset: int


class Numbers(NamedTuple):
    """What records call a machine and its VMM's memory, and conversions of it that were counted."""

    machine: int
    own_mm: int
    converted: int


class Attributes(NamedTuple):
    """Guest pages from ``start`` to before ``end`` that have these KVM_MEMORY_ATTRIBUTE_* bits."""

    start: int
    end: int
    attributes: int


@dataclass(slots=True)
class Machine:
    """A virtual machine."""

    time_ns: int
    """Boot clock before it was read."""
    numbers: Numbers
    slots: list[Slot] = field(default_factory=list)
    attributes: list[Attributes] | None = None
    """Pages in neither have none. None: this KVM keeps none, or there are too many."""


@dataclass(slots=True)
class Walked:
    """All machines that were read whole, and how many changed each time that they were."""

    machines: list[Machine] = field(default_factory=list)
    unknown: int = 0
    why: str = ""
    """Why there may be others of which nothing is known; empty: there are none."""

    @property
    def problem(self) -> str:
        """What is not known, in words; empty: all is."""
        if self.why or not self.unknown:
            return self.why
        return f"{self.unknown} virtual machines changed each time that they were read"


class Walk:
    """KVM's list of machines, as it lies in memory."""

    def __init__(
        self,
        memory: Memory,
        layout: Layout,
        head: int,
        changing: Callable[[], bool] = lambda: False,
    ) -> None:
        """``head``: address of vm_list. ``changing``: whether a call that sets slots goes on."""
        self._memory, self._layout, self._head = memory, layout, head
        self._changing = changing

    def _number(self, address: int, size: int = 8) -> int:
        return int.from_bytes(self._memory.read(address, size), "little")

    def _list(self) -> list[int] | None:
        """Every machine, None: it changed meanwhile."""
        for _ in range(_TRIES):
            found, at = list[int](), self._number(self._head)
            while at and at != self._head and len(found) < _MOST_MACHINES:
                found.append(at - self._layout.kvm["vm_list"])
                at = self._number(at)
            if at == self._head:
                return found
        return None

    def _sets(self, kvm: int) -> tuple[tuple[int, int], ...]:
        """Each address space's set of slots, and its generation."""
        at = kvm + self._layout.kvm["memslots"]
        sets = struct.unpack(f"<{self._layout.spaces}Q", self._memory.read(
            at, 8 * self._layout.spaces))  # fmt: skip
        return tuple((one, self._number(one + self._layout.slots["generation"])) for one in sets)

    def walk(self, numbers: Callable[[int, int], Numbers]) -> Walked:
        """OSError: this kernel does not let us look.

        :param numbers: of a machine, by its address and that of its VMM's mm_struct; from then on
            its conversions are counted. 0 where there is no room for another.
        """
        listed = self._list()
        if listed is None:
            return Walked(why="virtual machines came and went all the time")
        found = Walked()
        for kvm in listed:
            for _ in range(_TRIES):
                machine = self._machine(kvm, numbers)
                if machine is not None:
                    found.machines.append(machine)
                    break
                if not self.has(kvm):
                    break  # whatever it had, it is gone: nobody has to know
            else:
                found.unknown += 1
        return found

    def has(self, kvm: int) -> bool:
        """Whether a machine is in the list; True if that cannot be told."""
        at = kvm + self._layout.kvm["vm_list"]
        after, before = struct.unpack("<2Q", self._memory.read(at, 16))  # struct list_head
        # list_del leaves poison there, so that its neighbours' word is enough.
        if self._number(before) == at == self._number(after + 8):
            return True
        listed = self._list()
        return listed is None or kvm in listed

    def _machine(self, kvm: int, numbers: Callable[[int, int], Numbers]) -> Machine | None:
        """None: it was changed meanwhile, or is gone."""
        mm = self._number(kvm + self._layout.kvm["mm"])
        machine = Machine(time.clock_gettime_ns(time.CLOCK_BOOTTIME), numbers(kvm, mm))
        # It may have ended before it got its number, and another lie there since.
        if not mm or not machine.numbers.machine or not self.has(kvm):
            return None
        before = self._sets(kvm)
        for space, (at, generation) in enumerate(before):
            if generation & _UPDATING:
                return None
            for slot in self._slots(at, space):
                if slot is None:
                    return None
                machine.slots.append(slot)
        if "attributes" in self._layout.kvm:
            machine.attributes = self._attributes(kvm + self._layout.kvm["attributes"])
        same = not self._changing() and self._sets(kvm) == before and self.has(kvm)
        return machine if same and numbers(kvm, mm) == machine.numbers else None

    def _attributes(self, root: int) -> list[Attributes] | None:
        """None: there are too many, or what lies there is no such tree (lib/xarray.c)."""
        found: list[Attributes] = []
        todo = [(0, self._number(root), 64)]
        count = 0
        while todo:
            first, entry, below = todo.pop()
            if not entry:
                continue
            if entry & 1:  # xa_is_value
                self._add(found, first, entry >> 1)
                continue
            count += 1
            if entry & 3 != _XA_INTERNAL or entry <= _PAGE or count > _MOST_NODES:
                return None
            places = self._layout.kernel
            node = self._memory.read(entry - _XA_INTERNAL, places["node.slots"] + 8 * _NODE_SLOTS)
            shift = node[places["node.shift"]]
            if shift >= below or shift > 48:
                return None  # it does not go down
            entries = struct.unpack_from(f"<{_NODE_SLOTS}Q", node, places["node.slots"])
            if shift:
                todo += [(first | place << shift, one, shift) for place, one in
                         reversed(list(enumerate(entries))) if one]  # fmt: skip
                continue
            for place, one in enumerate(entries):
                if one & 1:
                    self._add(found, first | place, one >> 1)
                elif one:
                    return None
        return found

    @staticmethod
    def _add(found: list[Attributes], page: int, attributes: int) -> None:
        if found and found[-1].end == page and found[-1].attributes == attributes:
            found[-1] = found[-1]._replace(end=page + 1)
        else:
            found.append(Attributes(page, page + 1, attributes))

    def _slots(self, at: int, space: int) -> Iterator[Slot | None]:
        """The slots of one set; None: what lies there is none."""
        for raw in self._of_tree(at) if self._layout.is_tree else self._of_array(at):
            yield None if raw is None else self._slot(raw, space)

    def _of_tree(self, at: int) -> Iterator[bytes | None]:
        layout = self._layout
        node = layout.slot["gfn_node"] + 24 * (self._number(at + layout.slots["node_idx"], 4) & 1)
        todo, seen = [self._number(at + layout.slots["gfn_tree"])], set[int]()
        while todo:
            place = todo.pop()
            if not place:
                continue
            if place in seen or len(seen) >= _MOST_SLOTS:
                yield None
                return
            seen.add(place)
            raw = self._memory.read(place - node, layout.slot_bytes)
            todo += struct.unpack_from("<QQ", raw, node + _RB_RIGHT)
            yield raw

    def _of_array(self, at: int) -> Iterator[bytes | None]:
        layout = self._layout
        count = self._number(at + layout.slots["used_slots"], 4)
        if count > _MOST_SLOTS:
            yield None
            return
        for index in range(count):
            place = at + layout.slots["memslots"] + index * layout.slot_bytes
            yield self._memory.read(place, layout.slot_bytes)

    def _slot(self, raw: bytes, space: int) -> Slot | None:
        places = self._layout.slot

        def at(name: str, size: int) -> int:
            return int.from_bytes(raw[places[name] : places[name] + size], "little")

        number = at("id", 2)
        gfn, pages, address = at("base_gfn", 8), at("npages", 8), at("userspace_addr", 8)
        if number >> 15 or not pages or (gfn + pages) >> 52:
            return None
        file = at("gmem.file", 8) if "gmem.file" in places else 0
        return Slot(
            space << 16 | number, at("flags", 4) & _FLAGS, gfn * _PAGE, pages * _PAGE, address,
            self._file(file) if file else None,
            at("gmem.pgoff", 8) * _PAGE if file else 0,
        )  # fmt: skip

    def _file(self, file: int) -> File | None:
        places = self._layout.kernel
        inode = self._number(file + places["file.inode"])
        if not inode:
            return None
        return File(
            self._number(self._number(inode + places["inode.sb"]) + places["sb.dev"], 4),
            self._number(inode + places["inode.ino"]),
            self._number(inode + places["inode.gen"], 4),
            self._number(inode + places["inode.size"]),
            mode=self._number(inode + places["inode.mode"], 2),
        )


def machine_records(walked: Walked, spaces: Mapping[int, tuple[int, Who]]) -> Records:
    """BASELINE records, as the hooks tell of what is set: op ``memslot`` for each slot; and where
    attributes are known, op ``convert``, first of all memory to none, then of each range to its.

    :param spaces: whose address space it is, by its number: pid and process. Of others the pid
        is 0, and nothing else is known.
    """
    pieces = [_machine_records(one, *spaces.get(one.numbers.own_mm, (0, _SOMEBODY)))
              for one in walked.machines]  # fmt: skip
    none = own_records(0, BASELINE, RecordType.BASELINE)
    return np.concatenate([none, *pieces])


def _machine_records(machine: Machine, pid: int, who: Who) -> Records:
    ranges: list[Attributes] = []
    if machine.attributes is not None:
        ranges = [Attributes(0, _ALL_PAGES, 0), *machine.attributes]
    rows = own_records(len(machine.slots) + len(ranges), BASELINE, RecordType.BASELINE)
    rows["time_ns"], rows["fd"] = machine.time_ns, -1
    rows["pid"] = rows["tid"] = pid
    rows["uid"], rows["cgroup"] = who.uid, who.cgroup
    rows["comm"] = np.void(who.comm.ljust(16, b"\0"))
    rows["start_ns"], rows["exec_id"], rows["own_mm"] = who.start_ns, who.exec_id, who.own_mm
    rows["mm"], rows["vm"] = machine.numbers.own_mm, machine.numbers.machine
    for row, slot in zip(rows, machine.slots, strict=False):
        row["op"], row["hook"], row["check_answer"] = Op.MEMSLOT, Hook.MEMSLOT, slot.number
        row["arg"], row["length"], row["size_after"] = slot.guest_address, slot.length, slot.address
        row["checks"], row["offset"] = slot.flags, slot.offset
        if slot.file is not None:
            row["dev"], row["ino"], row["gen"] = slot.file.dev, slot.file.ino, slot.file.gen
            row["kind"], row["mode"], row["size"] = (
                Kind.GUEST_MEMFD, slot.file.mode, slot.file.size)  # fmt: skip
    converted = rows[len(machine.slots) :]
    converted["op"], converted["hook"] = Op.CONVERT, Hook.CONVERT
    converted["checks"], converted["check_answer"] = 1, machine.numbers.converted
    converted["size_after"] = machine.time_ns
    starts = np.array([one.start for one in ranges], np.uint64)
    ends = np.array([one.end for one in ranges], np.uint64)
    converted["offset"] = (starts << np.uint64(12)).view(np.int64)
    converted["length"] = (ends - starts) << np.uint64(12)
    converted["arg"] = [one.attributes for one in ranges]
    return rows
