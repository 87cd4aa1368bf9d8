"""KVM's list, walked in a memory that is made here: trees, arrays, and machines that change."""

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
import pytest

from tracer.capture.processes import Who
from tracer.capture.stacks.records import File
from tracer.capture.virtual_machines import (
    NOBODY,
    Attributes,
    Layout,
    Machine,
    Numbers,
    Slot,
    Walk,
    Walked,
    machine_records,
)
from tracer.words import Kind, Op

HEAD = 0xFFFF_8880_0000_0000
TREE = Layout(
    {"mm": 0, "memslots": 8, "vm_list": 24},
    {"generation": 0, "gfn_tree": 8, "node_idx": 16},
    {"gfn_node": 0, "base_gfn": 48, "npages": 56, "userspace_addr": 64, "flags": 72, "id": 76,
     "gmem.file": 80, "gmem.pgoff": 88},
    {"file.inode": 0, "inode.ino": 0, "inode.sb": 8, "inode.gen": 16, "inode.size": 24,
     "inode.mode": 32, "sb.dev": 0, "node.shift": 0, "node.slots": 8},
    2, 96, True,
)  # fmt: skip
ARRAY = Layout(
    TREE.kvm,
    {"generation": 0, "used_slots": 8, "memslots": 16},
    {"base_gfn": 0, "npages": 8, "userspace_addr": 16, "flags": 24, "id": 28},
    TREE.kernel, 2, 32, False,
)  # fmt: skip
SLOTS = [
    Slot(3, 0, 0x1000, 0x1000, 0x7F00_0000_0000, None, 0),
    Slot(0, 1, 0x10000, 0x20000, 0x7F00_0010_0000, None, 0),
    Slot(1, 0, 0x8000_0000, 0x4000_0000, 0x7F10_0000_0000, None, 0),
    Slot(2, 2, 0xF000_0000, 0x1000, 0x7F20_0000_0000, None, 0),
]
GMEM = Slot(7, 4, 0x2_0000_0000, 0x20_0000, 0x7F30_0000_0000,
            File(5, 77, 9, 0x40_0000, mode=0o100600), 0x3000)  # fmt: skip
HIGH = Slot(1 << 16 | 3, 0, 0xA0000, 0x20000, 0x7F40_0000_0000, None, 0)


@dataclass
class FakeMemory:
    """Bytes by address; reading calls ``seen`` first."""

    at: dict[int, bytes] = field(default_factory=dict)
    seen: Callable[[int], None] = lambda address: None
    free: int = HEAD + 0x1_0000

    def put(self, *numbers: int, where: int = 0) -> int:
        raw = struct.pack(f"<{len(numbers)}Q", *numbers)
        if not where:
            where, self.free = self.free, self.free + 0x1000 * (1 + len(raw) // 0x1000)
        self.at[where] = raw
        return where

    def read(self, address: int, size: int) -> bytes:
        self.seen(address)
        for start, raw in self.at.items():
            if start <= address < start + len(raw):
                return raw[address - start :][:size].ljust(size, b"\0")
        return bytes(size)

    def set(self, address: int, value: int) -> None:
        for start, raw in self.at.items():
            if start <= address < start + len(raw):
                place = address - start
                self.at[start] = raw[:place] + struct.pack("<Q", value) + raw[place + 8 :]


def tree_of(memory: FakeMemory, slots: list[Slot], which: int) -> int:
    """The root of a balanced tree of them, by its node ``which`` of two."""
    if not slots:
        return 0
    middle = len(slots) // 2
    one = slots[middle]
    gmem = 0
    if one.file is not None:
        sb = memory.put(one.file.dev)
        inode = memory.put(one.file.ino, sb, one.file.gen, one.file.size, one.file.mode)
        gmem = memory.put(inode)
    nodes = [0] * 6
    nodes[3 * which + 1] = tree_of(memory, slots[middle + 1 :], which)
    nodes[3 * which + 2] = tree_of(memory, slots[:middle], which)
    nodes[3 * (1 - which) + 1] = 0xDEAD  # the other set's tree is nothing to us
    place = memory.put(
        *nodes, one.guest_address >> 12, one.length >> 12, one.address,
        one.flags | 1 << 17 | (one.number & 0xFFFF) << 32, gmem, one.offset >> 12,
    )  # fmt: skip
    return place + 24 * which


def set_of(memory: FakeMemory, layout: Layout, slots: list[Slot], which: int) -> int:
    if layout.is_tree:
        return memory.put(10, tree_of(memory, slots, which), which)
    rows = [word for one in slots for word in (one.guest_address >> 12, one.length >> 12,
            one.address, one.flags | (one.number & 0xFFFF) << 32)]  # fmt: skip
    return memory.put(10, len(slots), *rows)


def machines_of(layout: Layout, *machines: tuple[int, list[Slot], list[Slot]]) -> FakeMemory:
    """A list of machines: of each the address of its mm, and the slots of two address spaces."""
    memory = FakeMemory()
    places = []
    for index, (mm, *spaces) in enumerate(machines):
        sets = [set_of(memory, layout, slots, index & 1) for slots in spaces]
        places.append(memory.put(mm, *sets, 0, 0))
    links = [HEAD, *(place + layout.kvm["vm_list"] for place in places), HEAD]
    memory.put(links[1], links[-2], where=HEAD)
    for before, at, after in zip(links, links[1:-1], links[2:], strict=False):
        memory.set(at, after)
        memory.set(at + 8, before)
    memory.places = places  # type: ignore[attr-defined]
    return memory


def numbered() -> Callable[[int, int], Numbers]:
    known: dict[int, int] = {}
    return lambda kvm, mm: Numbers(known.setdefault(kvm, len(known) + 1), mm + 1000, 0)


def walked(memory: FakeMemory, layout: Layout = TREE, **more: Callable[[], bool]) -> Walked:
    return Walk(memory, layout, HEAD, **more).walk(numbered())


def kvm(memory: FakeMemory, index: int) -> int:
    return int(memory.places[index])  # type: ignore[attr-defined]


@pytest.mark.parametrize("layout", [TREE, ARRAY], ids=["tree", "array"])
def test_every_slot_of_every_machine(layout: Layout) -> None:
    memory = machines_of(layout, (1, SLOTS, [HIGH]), (2, [], []), (3, SLOTS[:1], []))
    found = walked(memory, layout)
    assert (found.unknown, found.why, found.problem) == (0, "", "")
    assert [one.numbers for one in found.machines] == [
        (1, 1001, 0), (2, 1002, 0), (3, 1003, 0)]  # fmt: skip
    by_number = {slot.number: slot for slot in found.machines[0].slots}
    assert by_number == {slot.number: slot for slot in [*SLOTS, HIGH]}
    assert [len(one.slots) for one in found.machines] == [5, 0, 1]


def test_a_guest_memfd_is_told_by_its_inode() -> None:
    [machine] = walked(machines_of(TREE, (1, [*SLOTS, GMEM], []))).machines
    assert GMEM in machine.slots


def test_no_machine() -> None:
    assert walked(machines_of(TREE)) == Walked()


def ticks(at: int, memory: FakeMemory, times: int) -> Iterator[int]:
    """Raises the generation at ``at`` each time that it is asked for."""
    for step in range(times):
        memory.set(at, 12 + 2 * step)
        yield step


def test_what_changes_is_read_again_and_given_up_in_the_end() -> None:
    memory = machines_of(TREE, (1, SLOTS, []), (2, SLOTS, []))
    generation = struct.unpack_from("<Q", memory.read(kvm(memory, 0) + 8, 8))[0]
    for times, known in ((3, 2), (10_000, 1)):
        changes = ticks(generation, memory, times)
        memory.seen = lambda at, changes=changes: (  # type: ignore[misc]
            next(changes, None) if at == generation else None)  # fmt: skip
        found = walked(memory)
        assert len(found.machines) == known
        assert found.unknown == 2 - known
    assert found.problem == "1 virtual machines changed each time that they were read"


def test_a_set_that_is_being_changed_does_not_count() -> None:
    memory = machines_of(TREE, (1, SLOTS, []))
    generation = struct.unpack_from("<Q", memory.read(kvm(memory, 0) + 8, 8))[0]
    memory.set(generation, 1 << 63 | 4)
    assert walked(memory).unknown == 1


def test_while_a_call_goes_on_nothing_counts() -> None:
    memory = machines_of(TREE, (1, SLOTS, []))
    assert walked(memory, changing=lambda: True).unknown == 1


def test_a_machine_that_went_is_no_doubt() -> None:
    memory = machines_of(TREE, (1, SLOTS, []), (2, SLOTS, []))
    first, second = kvm(memory, 0), kvm(memory, 1)

    def gone(at: int) -> None:
        if at == first:  # its mm is read: it has just ended
            memory.set(HEAD, second + TREE.kvm["vm_list"])
            memory.set(second + TREE.kvm["vm_list"] + 8, HEAD)

    memory.seen = gone
    found = walked(memory)
    assert [one.numbers.own_mm for one in found.machines] == [1002]
    assert found.problem == ""


def test_one_that_ends_as_it_is_numbered_is_not_told() -> None:
    memory = machines_of(TREE, (1, SLOTS, []))

    def numbers(kvm_at: int, mm: int) -> Numbers:
        memory.set(HEAD, HEAD)
        memory.set(HEAD + 8, HEAD)
        return Numbers(1, mm, 0)

    assert Walk(memory, TREE, HEAD).walk(numbers) == Walked()


def test_whether_it_is_there_is_asked_of_its_neighbours() -> None:
    """Else thousands of machines would each walk the list, and again."""
    memory = machines_of(TREE, *((place + 1, [], []) for place in range(200)))
    asked: list[int] = []
    memory.seen = asked.append
    assert len(walked(memory).machines) == 200
    assert len(asked) < 200 * 25


def test_no_room_for_a_number_is_a_doubt() -> None:
    memory = machines_of(TREE, (1, SLOTS, []))
    assert Walk(memory, TREE, HEAD).walk(lambda kvm_at, mm: Numbers(0, mm, 0)).unknown == 1


@pytest.mark.parametrize("cut", [0, 0x1234_5678])
def test_a_list_that_is_cut_short_is_a_doubt(cut: int) -> None:
    memory = machines_of(TREE, (1, SLOTS, []), (2, SLOTS, []))
    memory.set(kvm(memory, 0) + TREE.kvm["vm_list"], cut)
    found = walked(memory)
    assert (found.machines, bool(found.problem)) == ([], True)


def test_a_tree_that_runs_in_a_circle_ends() -> None:
    memory = machines_of(TREE, (1, SLOTS[:1], []))
    root = struct.unpack_from("<Q", memory.read(kvm(memory, 0) + 8, 8))[0]
    node = struct.unpack_from("<Q", memory.read(root + 8, 8))[0]
    memory.set(node + 8, node)
    assert walked(memory).unknown == 1


def test_garbage_is_no_slot() -> None:
    memory = machines_of(TREE, (1, SLOTS[:1], []))
    root = struct.unpack_from("<Q", memory.read(kvm(memory, 0) + 8, 8))[0]
    node = struct.unpack_from("<Q", memory.read(root + 8, 8))[0]
    memory.set(node + 56, 0)
    assert walked(memory).unknown == 1


# ---- attributes -------------------------------------------------------------------------------

PRIVATE = Layout(
    {**TREE.kvm, "attributes": 40}, TREE.slots, TREE.slot, TREE.kernel, 2, 96, True
)  # fmt: skip


def array_of(memory: FakeMemory, pages: dict[int, int], shift: int) -> int:
    """An entry of an XArray that has these values, all of them below ``64 << shift``."""
    entries = [0] * 64
    for place in {page >> shift for page in pages}:
        below = {page & ((1 << shift) - 1): one for page, one in pages.items()
                 if page >> shift == place}  # fmt: skip
        entries[place] = array_of(memory, below, shift - 6) if shift else below[0] << 1 | 1
    return memory.put(shift, *entries) | 2


def private_machine(pages: dict[int, int], shift: int = 12) -> FakeMemory:
    memory = machines_of(TREE, (1, SLOTS, []))
    place = kvm(memory, 0)
    root = array_of(memory, pages, shift) if pages else 0
    memory.at[place] = memory.at[place] + struct.pack("<Q", root)
    return memory


@pytest.mark.parametrize(
    ("pages", "ranges"),
    [
        ({}, []),
        ({0: 8}, [(0, 1, 8)]),
        ({5: 8, 6: 8, 7: 8, 9: 8}, [(5, 8, 8), (9, 10, 8)]),
        ({62: 8, 63: 8, 64: 8, 4096: 8, 262143: 8}, [(62, 65, 8), (4096, 4097, 8),
                                                     (262143, 262144, 8)]),
        ({1: 8, 2: 9}, [(1, 2, 8), (2, 3, 9)]),
    ],
)  # fmt: skip
def test_attributes_by_pages(pages: dict[int, int], ranges: list[tuple[int, int, int]]) -> None:
    [machine] = walked(private_machine(pages), PRIVATE).machines
    assert machine.attributes == [Attributes(*one) for one in ranges]


def test_the_first_page_alone_needs_no_node() -> None:
    memory = private_machine({})
    memory.set(kvm(memory, 0) + 40, 8 << 1 | 1)
    [machine] = walked(memory, PRIVATE).machines
    assert machine.attributes == [Attributes(0, 1, 8)]


@pytest.mark.parametrize("entry", [2, 6, 0x1000_0000_0000_0000, 3 << 1])
def test_what_is_no_tree_is_not_known(entry: int) -> None:
    memory = private_machine({})
    memory.set(kvm(memory, 0) + 40, entry)
    [machine] = walked(memory, PRIVATE).machines
    assert machine.attributes is None


def test_a_tree_that_does_not_go_down_ends() -> None:
    memory = private_machine({5000: 8})
    root = struct.unpack_from("<Q", memory.read(kvm(memory, 0) + 40, 8))[0]
    memory.set(root - 2 + 8, root)
    [machine] = walked(memory, PRIVATE).machines
    assert machine.attributes is None


def test_a_machine_that_is_converted_meanwhile_is_read_again() -> None:
    memory = private_machine({5: 8})
    counted = iter([0, 1, 1, 1])

    def numbers(kvm_at: int, mm: int) -> Numbers:
        return Numbers(1, mm, next(counted))

    [machine] = Walk(memory, PRIVATE, HEAD).walk(numbers).machines
    assert machine.numbers.converted == 1
    assert next(counted, None) is None, "read twice, and asked before and after"


def test_attributes_are_told_as_conversions() -> None:
    machine = Machine(5_000, Numbers(1, 1001, 4), [], [Attributes(5, 8, 8), Attributes(9, 10, 8)])
    rows = machine_records(Walked([machine]), {})
    assert rows["op"].tolist() == [Op.CONVERT] * 3
    assert rows["offset"].tolist() == [0, 5 << 12, 9 << 12]
    assert rows["length"].tolist() == [((1 << 52) - 1) << 12, 3 << 12, 1 << 12]
    assert rows["arg"].tolist() == [0, 8, 8]
    assert set(rows["check_answer"]) == {4}
    assert set(rows["checks"]) == {1}
    assert set(rows["size_after"]) == {5_000}


def test_records_are_as_the_hooks() -> None:
    vmm = Who(b"qemu", 107, 55, start_ns=4, exec_id=2, own_mm=1001)
    first = Machine(5_000, Numbers(1, 1001, 4), [SLOTS[1], GMEM])
    other = Machine(6_000, Numbers(2, 1002, 0), [HIGH])
    rows = machine_records(Walked([first, other]), {1001: (42, vmm)})
    assert rows["op"].tolist() == [Op.MEMSLOT] * 3
    for name, wanted in {
        "pid": [42, 42, 0], "uid": [107, 107, NOBODY], "own_mm": [1001, 1001, 0],
        "mm": [1001, 1001, 1002], "vm": [1, 1, 2], "check_answer": [0, 7, 1 << 16 | 3],
        "arg": [0x10000, 0x2_0000_0000, 0xA0000], "length": [0x20000, 0x20_0000, 0x20000],
        "size_after": [0x7F00_0010_0000, 0x7F30_0000_0000, 0x7F40_0000_0000],
        "checks": [1, 4, 0], "offset": [0, 0x3000, 0], "ino": [0, 77, 0], "gen": [0, 9, 0],
        "kind": [0, Kind.GUEST_MEMFD, 0], "time_ns": [5_000, 5_000, 6_000],
        "size": [0, 0x40_0000, 0], "answer": [0, 0, 0],
    }.items():  # fmt: skip
        assert rows[name].tolist() == wanted, name
    assert np.all(rows["fd"] == -1)
