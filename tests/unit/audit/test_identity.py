"""Who is taken for whom: an attacker has the VMM's number, name or file, and is never it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.unit.audit.audit_asked import (
    BY_CREATOR,
    BY_PID,
    BY_VMM,
    FAIL,
    OPEN,
    OTHER,
    PASS,
    PINNED,
    RAM,
    READ,
    Tell,
    of,
    said,
)
from tests.unit.audit.audit_story import OTHER_MM, Story
from tracer.audit.result import Result
from tracer.words import Receipt

VMM, BACKEND, THIEF, LAUNCHER = 100, 150, 200, 50
READ_BY_VMM = READ.replace("creator", "vmm")
PINNED_BY_VMM = PINNED.replace("creator", "vmm")
BACKENDS = BY_VMM.replace('"vmm"', '"vmm", "given-by-vmm"')
HANDED_OVER = f"{BY_VMM}\nhandover = true"
SECOND = {"start_ns": 99_000_000_007, "own_mm": 0xAFFE, "mm": 0xAFFE}
"""What another process with the same number has."""
EXECED = {"exec_id": 4, "own_mm": 0xE4EC, "mm": 0xE4EC}


def start_of(pid: int) -> int:
    return 1_000_000_000 + pid * 20_000_000 + 1


def given(story: Story, pid: int, by: int, how: int = Receipt.SCM_RIGHTS, **more: Any) -> None:
    """A descriptor of RAM arrives."""
    values = {"check_answer": by, "offset": start_of(by), "arg": how | 3 << 32, **more}
    story.event("receive", RAM, pid, comm=b"any", **values)


def guest(story: Story) -> None:
    """A VMM with one guest."""
    story.create(RAM)
    story.map(RAM)
    story.memslot(RAM)


def then(*acts: Callable[[Story], None]) -> Tell:
    def tell(story: Story) -> None:
        guest(story)
        for act in acts:
            act(story)

    return tell


def maps(pid: int = VMM, **more: Any) -> Callable[[Story], None]:
    return lambda story: story.map(RAM, pid, 0x90000, **more)


def acts(op: str, pid: int, **more: Any) -> Callable[[Story], None]:
    return lambda story: story.event(op, RAM, pid, comm=b"any", **more)


def receives(pid: int, by: int, **more: Any) -> Callable[[Story], None]:
    return lambda story: given(story, pid, by, **more)


def own_machine(story: Story) -> None:
    story.memslot(RAM, THIEF, 0x90000, vm=78)


def _made_by_launcher(how: int | None) -> Tell:
    def tell(story: Story) -> None:
        story.create(RAM, pid=LAUNCHER)
        if how is not None:
            given(story, VMM, LAUNCHER, how)
        story.map(RAM)
        story.memslot(RAM)

    return tell


def _thief_is_first(story: Story) -> None:
    story.create(RAM)
    story.map(RAM, THIEF, 0x90000)
    own_machine(story)
    story.map(RAM)
    story.memslot(RAM)


def _thief_had_a_slot_there(story: Story) -> None:
    """Its memslot is older than the VMM's; the file came to its address later."""
    story.create(RAM)
    story.memslot(0, THIEF, 0x90000, vm=78)
    story.map(RAM)
    story.memslot(RAM)
    story.map(RAM, THIEF, 0x90000)


def _two_creations(story: Story) -> None:
    guest(story)
    story.event("create", RAM, THIEF, answer=3)


def _foreign_exit(story: Story) -> None:
    """A process that only looked into the VMM is the last to let its address space go."""
    guest(story)
    story.event("remote_read", OTHER, 200, comm=b"any", answer=0, mm=0xFF00 + VMM,
                size_after=0x700000, length=8)  # fmt: skip
    story.unmap(RAM, 200, own_mm=0, mm=0xFF00 + VMM)


def _foreign_exit_of_old(story: Story) -> None:
    """The same with a mapping that is older than the trace."""
    story.create(RAM, pid=300)
    story.event("remote_read", OTHER, 200, comm=b"any", answer=0, mm=0xFF00 + 300,
                size_after=0x700000, length=8)  # fmt: skip
    story.unmap(RAM, 200, own_mm=0, mm=0xFF00 + 300)


def _exit(story: Story) -> None:
    guest(story)
    story.unmap(RAM, own_mm=0)


def _known_from_proc(story: Story) -> None:
    """The baseline knows the VMM by its number and rounded start alone."""
    story.object(RAM)
    rounded = start_of(VMM) // 10_000_000 * 10_000_000
    old = {"start_ns": rounded, "exec_id": 0, "own_mm": 0, "mm": 0}
    story.map(RAM, baseline=True, address=0x40000, **old)
    story.map(RAM)
    story.memslot(RAM)


def _backend_had_it_before(story: Story) -> None:
    """It was there at the start, and is given the file only later."""
    story.object(RAM)
    story.map(RAM, BACKEND, 0x90000, baseline=True)
    story.map(RAM)
    story.memslot(RAM)
    given(story, BACKEND, VMM)


def in_vmm(op: str, pid: int = THIEF, mm: int = 0xFF00 + VMM, **more: Any) -> Any:
    values = {"mm": mm, "size_after": 0x10800, "length": 0x100, **more}
    return lambda story: story.event(op, 0, pid, comm=b"any", **values)


CASES: dict[str, tuple[str, Tell, Result]] = {
    "the VMM alone": (BY_VMM, then(maps()), PASS),
    "its number, another process": (BY_VMM, then(maps(**SECOND)), FAIL),
    "its number, another program": (BY_VMM, then(maps(**EXECED)), FAIL),
    "its creator's number": (BY_CREATOR, then(maps(**SECOND)), FAIL),
    "its creator's number, after exec": (BY_CREATOR, then(maps(**EXECED)), FAIL),
    "by number, which is used again": (BY_PID, then(maps(**SECOND)), OPEN),
    "reads by its number": (READ_BY_VMM, then(acts("read", VMM, answer=9, **SECOND)), FAIL),
    "pins after exec": (PINNED_BY_VMM, then(acts("pin", VMM, answer=1, **EXECED)), FAIL),
    "a virtual machine of one's own": (BY_VMM, then(maps(THIEF), own_machine), FAIL),
    "the same, which maps nothing": (BY_VMM, then(own_machine), FAIL),
    "the same, where it may be handed over": (HANDED_OVER, then(maps(THIEF), own_machine), FAIL),
    "a thief is first": (BY_VMM, _thief_is_first, FAIL),
    "handed over": (HANDED_OVER, then(receives(THIEF, VMM), maps(THIEF), own_machine), PASS),
    "given, and no machine of its own":
        (HANDED_OVER, then(receives(THIEF, VMM), maps(THIEF)), FAIL),
    "the VMM's io_uring is polled": (READ_BY_VMM, then(in_vmm("ring", VMM)), OPEN),
    "a dma-buf by the VMM": (BY_VMM, then(in_vmm("device", VMM, mm=0, arg=1)), OPEN),
    "handed over, though it may not be":
        (BY_VMM, then(receives(THIEF, VMM), own_machine, maps(THIEF)), FAIL),
    "a backend with a machine of its own":
        (BACKENDS, then(receives(THIEF, VMM), maps(THIEF), own_machine), FAIL),
    "taken over without being given": (HANDED_OVER, then(own_machine, maps(THIEF)), OPEN),
    "the launcher gave it to the VMM": (BY_VMM, _made_by_launcher(Receipt.SCM_RIGHTS), PASS),
    "the VMM took it from the launcher": (BY_VMM, _made_by_launcher(Receipt.PIDFD_GETFD), OPEN),
    "the VMM had it somehow": (BY_VMM, _made_by_launcher(None), OPEN),
    "a backend": (BACKENDS, then(receives(BACKEND, VMM), maps(BACKEND)), PASS),
    "a backend that nobody gave it": (BACKENDS, then(maps(BACKEND)), FAIL),
    "a backend that somebody else gave it":
        (BACKENDS, then(receives(BACKEND, THIEF), maps(BACKEND)), FAIL),
    "a backend by whom is not known":
        (BACKENDS, then(receives(BACKEND, 0, offset=0, arg=0), maps(BACKEND)), OPEN),
    "a backend that took it":
        (BACKENDS, then(receives(BACKEND, VMM, how=Receipt.PIDFD_GETFD), maps(BACKEND)), FAIL),
    "a backend before it was given":
        (BACKENDS, then(maps(BACKEND), receives(BACKEND, VMM)), FAIL),
    "a backend that had it before the trace": (BACKENDS, _backend_had_it_before, FAIL),
    "a backend's number, after exec":
        (BACKENDS, then(receives(BACKEND, VMM), maps(BACKEND, **EXECED)), FAIL),
    "a backend that would not receive it":
        (BACKENDS, then(receives(BACKEND, VMM, answer=-13), maps(BACKEND)), FAIL),
    "created twice": (BY_CREATOR, _two_creations, OPEN),
    "the VMM is traced": (BY_VMM, then(in_vmm("trace", arg=VMM)), OPEN),
    "the VMM was traced before its exec": (BY_VMM, then(
        in_vmm("trace", mm=0xBEF0, arg=VMM, offset=start_of(VMM))), OPEN),
    "somebody else is traced": (BY_VMM, then(in_vmm("trace", mm=0xFF00 + 300, arg=300)), PASS),
    "the VMM's child shares its memory": (READ_BY_VMM, then(in_vmm("share_mm", VMM)), OPEN),
    "a child's io_uring has its buffers": (READ_BY_VMM, then(in_vmm("ring")), OPEN),
    "advice by another process": (READ_BY_VMM, then(in_vmm("advise")), OPEN),
    "filled by another process": (READ_BY_VMM, then(in_vmm("uffd_fill", answer=4096)), FAIL),
    "filled elsewhere": (READ_BY_VMM, then(in_vmm("uffd_fill", answer=1, size_after=0)), PASS),
    "filled by another process, refused":
        (READ_BY_VMM, then(in_vmm("uffd_fill", answer=-17)), PASS),
    "filled by another process, nobody knows where":
        (READ_BY_VMM, then(in_vmm("uffd_fill", answer=1, size_after=0, length=0, checks=1)), OPEN),
    "filled by the VMM, nobody knows where": (READ_BY_VMM, then(
        in_vmm("uffd_fill", VMM, answer=1, size_after=0, length=0, checks=1)), PASS),
    "the same in another address space": (READ_BY_VMM, then(
        in_vmm("uffd_fill", mm=7, answer=1, size_after=0, length=0, checks=1)), PASS),
    "a fill is no pin": (PINNED_BY_VMM, then(
        in_vmm("uffd_fill", answer=1, size_after=0, length=0, checks=1)), PASS),
    "filled by the VMM": (READ_BY_VMM, then(in_vmm("uffd_fill", VMM, answer=4096)), PASS),
    "the VMM exits": (BY_VMM, _exit, PASS),
    "another one ends the VMM's mapping": (BY_VMM, _foreign_exit, PASS),
    "another one ends a mapping that nobody saw begin": (BY_CREATOR, _foreign_exit_of_old, OPEN),
    "the VMM as /proc knows it": (BY_VMM, _known_from_proc, OPEN),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_who_may(tmp_path: Path, name: str) -> None:
    claim, tell, expected = CASES[name]
    story = Story()
    tell(story)
    found = of(story.write(tmp_path / "a.seal"), claim)
    assert found.result is expected, said(found)


def test_who_is_known_from_proc_alone_is_not_sure(tmp_path: Path) -> None:
    story = Story()
    _known_from_proc(story)
    found = of(story.write(tmp_path / "a.seal"), BY_VMM)
    assert "/proc alone told of it" in said(found)
    assert not found.findings[0].violations


def test_a_gift_hides_in_no_other(tmp_path: Path) -> None:
    """A file that came from a stranger first is given by its creator all the same."""
    story = Story()
    story.create(RAM, pid=100)
    given(story, BACKEND, THIEF)
    given(story, BACKEND, 100)
    story.map(RAM, BACKEND)
    claim = BY_CREATOR.replace('"creator"', '"given-by-creator"')
    assert of(story.write(tmp_path / "a.seal"), claim).result is PASS


@pytest.mark.parametrize("how", [Receipt.SCM_RIGHTS, None])
def test_what_a_vmm_did_before_it_was_one(tmp_path: Path, how: int | None) -> None:
    """It was given the file by who made it, or that is not known."""
    story = Story()
    _made_by_launcher(how)(story)
    found = of(story.write(tmp_path / "a.seal"), BY_VMM.replace('"vmm"', '"vmm", "creator"'))
    assert found.result is (PASS if how else OPEN), said(found)


def test_the_violator_is_named(tmp_path: Path) -> None:
    story = Story()
    _thief_is_first(story)
    found = of(story.write(tmp_path / "a.seal"), BY_VMM)
    # Which of the two is the guest's owner cannot be told: the one that came first is no better.
    assert {one.pid for one in found.findings[0].violations} == {VMM}
    assert "is not known to have made it" in said(found)


def test_who_maps_it_under_an_older_slot_is_no_vmm(tmp_path: Path) -> None:
    story = Story()
    _thief_had_a_slot_there(story)
    found = of(story.write(tmp_path / "a.seal"), BY_VMM)
    assert found.result is FAIL
    assert {one.pid for one in found.findings[0].violations} == {THIEF}


def test_a_refused_fault_hides_no_granted_one(tmp_path: Path) -> None:
    story = Story()
    guest(story)
    for answer in (2, *[0x100] * 5):  # VM_FAULT_SIGBUS, then VM_FAULT_NOPAGE
        story.event("fault", RAM, THIEF, comm=b"any", answer=answer)
    found = of(story.write(tmp_path / "a.seal"), READ_BY_VMM)
    assert found.result is FAIL
    (proof,) = found.findings[0].violations
    assert (proof.pid, proof.count) == (THIEF, 5)


def test_a_childs_copy_is_not_the_parents_mapping(tmp_path: Path) -> None:
    story = Story()
    guest(story)
    story.map(RAM, VMM, flags=OTHER_MM, mm=0xC0FFEE)
    assert of(story.write(tmp_path / "a.seal"), BY_VMM).result is FAIL


def test_a_slot_ends_with_its_machine(tmp_path: Path) -> None:
    """What is mapped at its address afterwards is not the guest's."""
    story = Story()
    story.create(RAM)
    story.memslot(0, address=0x10000, check_answer=3)
    story.event("vm_end", 0, vm=77)
    story.map(RAM)
    found = of(story.write(tmp_path / "a.seal"), BY_VMM, scope='kind = "memfd"\nmemslot = true')
    assert found.result is Result.NOT_APPLICABLE


def test_a_scope_of_guest_memory_needs_to_know_the_guests(tmp_path: Path) -> None:
    """Whatever the claim: what KVM's hooks missed may have been a guest's memory."""
    story = Story()
    guest(story)
    path = story.write(tmp_path / "a.seal")
    for scope, there in (('kind = "memfd"', False), ('kind = "memfd"\nmemslot = true', True)):
        needs = {one.family for one in of(path, 'claim = "never-pinned-except"', scope).needs}
        assert ("memslot" in needs) is there
