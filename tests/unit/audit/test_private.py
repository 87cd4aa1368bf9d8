"""Claims about guest_memfds that depend on what was private to the guest then."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.unit.analysis.test_copies import Vmm
from tests.unit.audit.audit_asked import FAIL, NONE, OPEN, PASS, RAM, audited, of, said
from tests.unit.audit.audit_story import Story, policy, step
from tracer.audit.evidence import EXACT, load
from tracer.audit.policy import parse
from tracer.audit.result import Result, left
from tracer.record import Kind, LossCause
from tracer.recording.reader import Recording
from tracer.words import Flag

SCOPE = 'kind = ["guest_memfd", "memfd"]'
REACHED = 'claim = "never-reached-while-private"'
BY_VMM = f'{REACHED}\nby = ["vmm"]'
CONVERTED = 'claim = "converted-only-by"\nby = ["vmm"]'
GUEST, PAGE, AT, VM, OTHER_VM = Kind.GUEST_MEMFD, 4096, 0x100000, 77, 78
SIGBUS, BORN = 2, 2
OTHER = 200


class Guest(Story):
    """A machine with eight pages in a guest_memfd, bound from its second page on."""

    taken = 0

    def begin(self, born: int = BORN, kind: int = GUEST) -> None:
        self.create(RAM, kind=kind)
        self.memslot(RAM, kind=kind, fd=4, checks=4, arg=AT, length=8 * PAGE, offset=PAGE, vm=VM,
                     file_answer=born, address=0, check_answer=1)  # fmt: skip

    def convert(self, page: int, pages: int = 1, private: bool = True, pid: int = 100,
                born: int = BORN, **more: Any) -> None:  # fmt: skip
        self.taken += 1
        values = {
            "offset": AT + page * PAGE, "length": pages * PAGE, "arg": 8 if private else 0,
            "vm": VM, "checks": 1, "check_answer": self.taken, "file_answer": born,
            "size_after": self.now_ns + 1_000_000, **more,
        }  # fmt: skip
        self.event("convert", 0, pid, kind=Kind.UNKNOWN, **values)

    def touch(self, page: int, pid: int = OTHER, answer: int = 0, **more: Any) -> None:
        """A page of the guest's, counted as the guest counts."""
        self.event("fault", RAM, pid, kind=GUEST, offset=(page + 1) * PAGE, length=PAGE,
                   answer=answer, size_after=0x700000 + page * PAGE, **more)  # fmt: skip


def shared(guest: Guest) -> None:
    guest.begin()
    guest.touch(3)


def shared_again(guest: Guest) -> None:
    guest.begin()
    guest.convert(0, 8)
    guest.convert(2, 3, private=False)
    guest.touch(2)
    guest.touch(4)


def beside(guest: Guest) -> None:
    guest.begin()
    guest.convert(3)
    guest.touch(2)
    guest.touch(4)


def touched(guest: Guest) -> None:
    guest.begin()
    guest.convert(3)
    guest.touch(3)


def touched_at_last(guest: Guest) -> None:
    """Equal rows are put together: not those of before and after."""
    guest.begin()
    for _ in range(200):
        guest.touch(3)
    guest.convert(3)
    guest.touch(3)


def refused(guest: Guest) -> None:
    guest.begin()
    guest.convert(3)
    guest.touch(3, answer=SIGBUS)


def mapped(guest: Guest) -> None:
    guest.begin()
    guest.convert(3)
    guest.map(RAM, OTHER, kind=GUEST, length=9 * PAGE, offset=0)
    guest.unmap(RAM, OTHER, kind=GUEST, length=9 * PAGE, offset=0)


def mapped_before(guest: Guest) -> None:
    """The mapping stays when the kernel takes its pages away; each touch is a fault."""
    guest.begin()
    guest.map(RAM, OTHER, kind=GUEST, length=9 * PAGE, offset=0)
    guest.convert(3)


def pinned_before(guest: Guest) -> None:
    guest.begin()
    guest.event("pin", RAM, OTHER, kind=GUEST, offset=4 * PAGE, length=PAGE, answer=1, arg=0x10001)
    guest.convert(3)


def pinned_beside(guest: Guest) -> None:
    guest.begin()
    guest.event("pin", RAM, OTHER, kind=GUEST, offset=4 * PAGE, length=PAGE, answer=1, arg=0x10001)
    guest.convert(4)


def read_remotely(guest: Guest) -> None:
    """The range begins in other memory, so that its row names no file."""
    guest.begin()
    guest.map(RAM, kind=GUEST, address=0x20000, length=9 * PAGE, offset=0)
    guest.convert(3)
    mm = 0xFF00 + 100
    guest.event("remote_read", 0, OTHER, kind=Kind.UNKNOWN, mm=mm, size_after=0x20000 + 4 * PAGE,
                length=PAGE, answer=PAGE)  # fmt: skip


def read_remotely_beside(guest: Guest) -> None:
    read_remotely(guest)
    guest.records.pop()
    guest.seqs[0] -= 1
    guest.event("remote_read", 0, OTHER, kind=Kind.UNKNOWN, mm=0xFF00 + 100,
                size_after=0x20000 + 2 * PAGE, length=PAGE, answer=PAGE)  # fmt: skip


def debugged(guest: Guest) -> None:
    """More often in vain than not: these rows are not put together with those."""
    guest.begin()
    guest.map(RAM, kind=GUEST, address=0x20000, length=9 * PAGE, offset=0)
    guest.convert(3)
    for done in (0, 0, 2, 0):
        guest.event("sev_debug", RAM, OTHER, kind=GUEST, mm=0xFF00 + 100, offset=4 * PAGE,
                    size_after=0x20000 + 4 * PAGE, length=PAGE, arg=18, answer=-14,
                    check_answer=done)  # fmt: skip


def older(guest: Guest) -> None:
    guest.begin(born=0)
    guest.touch(3)


def older_but_converted(guest: Guest) -> None:
    guest.begin(born=0)
    guest.convert(3, private=False, born=0)
    guest.touch(3)


def one_is_missing(guest: Guest) -> None:
    guest.begin()
    guest.convert(5)
    guest.taken += 1
    guest.convert(6)
    guest.touch(3)


def unseen_range(guest: Guest) -> None:
    guest.begin()
    guest.convert(5, checks=0, check_answer=0, flags=int(Flag.INFERRED))
    guest.touch(3)


def not_answered(guest: Guest) -> None:
    guest.begin()
    guest.convert(3)
    guest.touch(3, flags=int(Flag.RETURN_MISSING))


STORIES: tuple[tuple[Callable[[Guest], None], Result, str], ...] = (
    (shared, PASS, ""),
    (shared_again, PASS, ""),
    (beside, PASS, ""),
    (touched, FAIL, "touches a page of it through a mapping while it is private to its guest"),
    (touched_at_last, FAIL, "while it is private"),
    (refused, PASS, ""),
    (mapped, PASS, ""),
    (mapped_before, PASS, ""),
    (pinned_before, OPEN, "Process 200 pinned pages of it while they were shared"),
    (pinned_beside, PASS, ""),
    (read_remotely, FAIL, "reads or writes it (remote_read) while it is private"),
    (read_remotely_beside, PASS, ""),
    (debugged, FAIL, "reads or writes it (sev_debug) while it is private"),
    (older, OPEN, "Whether it was private when Process 200 reached it (fault) is not known."),
    (older_but_converted, PASS, ""),
    (one_is_missing, OPEN, "is not known"),
    (unseen_range, OPEN, "is not known"),
    (not_answered, OPEN, "How fault of Process 200 ended was not seen."),
)


def told(path: Path, tell: Callable[[Guest], None], **changed: Any) -> Path:
    story = Guest()
    tell(story)
    return story.write(path / "x.seal", **changed)


@pytest.mark.parametrize(
    ("tell", "result", "text"), STORIES, ids=lambda one: getattr(one, "__name__", "")
)
def test_never_reached_while_private(
    tmp_path: Path, tell: Callable[[Guest], None], result: Result, text: str
) -> None:
    found = of(told(tmp_path, tell), REACHED, SCOPE)
    assert found.result is result, said(found)
    assert text in said(found)


def test_each_private_page_that_was_reached_is_named(tmp_path: Path) -> None:
    def pages(guest: Guest) -> None:
        guest.begin()
        guest.convert(0, 4)
        for page in (0, 2, 2, 5, 0):
            guest.touch(page)

    [finding] = of(told(tmp_path, pages), REACHED, SCOPE).findings
    asked = [(one.asked.split("+")[0].split()[-1], one.count) for one in finding.violations]
    assert asked == [("4096", 2), ("12288", 2)]


def test_of_many_pages_some_are_named(tmp_path: Path) -> None:
    def many(guest: Guest) -> None:
        guest.create(RAM, kind=GUEST)
        guest.memslot(RAM, kind=GUEST, fd=4, checks=4, arg=AT, length=300 * PAGE, offset=PAGE,
                      vm=VM, file_answer=BORN, address=0)  # fmt: skip
        guest.convert(0, 300)
        for page in range(300):
            guest.touch(page)

    path = told(tmp_path, many)
    found = of(path, REACHED, SCOPE)
    assert found.result is FAIL
    with Recording.open(path) as recording:
        evidence = load(recording, parse(policy(REACHED, scope=SCOPE)).claims)
    [file] = evidence.known.values()
    reached = [row for row in file.rows if row.op == "fault"]
    assert len(reached) == EXACT + 1
    assert sum(row.times for row in reached) == 300


def test_the_vmm_may_be_allowed(tmp_path: Path) -> None:
    def by_vmm(guest: Guest) -> None:
        guest.begin()
        guest.convert(3)
        guest.touch(3, pid=100)

    path = told(tmp_path, by_vmm)
    assert of(path, REACHED, SCOPE).result is FAIL
    assert of(path, BY_VMM, SCOPE).result is PASS


def test_other_memory_is_not_meant(tmp_path: Path) -> None:
    """A VMM that has its own shared memory mapped where its guest is private is healthy."""

    def plain(guest: Guest) -> None:
        guest.create(RAM)
        guest.memslot(RAM, arg=AT, length=8 * PAGE, vm=VM, file_answer=BORN)
        guest.convert(0, 8)
        guest.map(RAM)
        guest.unmap(RAM)

    path = told(tmp_path, plain)
    for claim in (REACHED, CONVERTED):
        assert of(path, claim, SCOPE).result is NONE


def test_what_is_in_both_copies_is_a_finding_and_no_failure(tmp_path: Path) -> None:
    vmm = Vmm()
    vmm.begin()
    vmm.call("write", 0, 2)
    vmm.convert(0, 5)
    wasteful = vmm.write(tmp_path / "wasteful.seal")
    [found] = audited(wasteful, BY_VMM, scope=SCOPE).recordings
    [claim] = found.claims
    assert claim.result is not FAIL
    [machine] = found.copies
    assert (machine.vm, machine.comm) == (VM, "vmm")
    assert (machine.both, machine.both_at_most) == (2 * PAGE, 5 * PAGE)
    [line] = left(found)
    assert line.startswith("finding, no failure: of vm 77 (vmm/100) 8K, at most 20K of memory")
    [not_sure] = left(replace(found, copies=(replace(machine, both=0),)))
    assert not_sure.startswith("no failure, and not certain: of vm 77 (vmm/100) at most 20K of")
    vmm.call("punch_hole", 0, 5)
    careful = vmm.write(tmp_path / "careful.seal")
    [found] = audited(careful, BY_VMM, scope=SCOPE).recordings
    assert [*left(found)] == [] == [*found.copies]
    # Only a claim that is about it has the file read for it.
    [found] = audited(wasteful, CONVERTED, scope=SCOPE).recordings
    assert found.copies == ()


def test_what_was_lost_may_have_been_a_conversion(tmp_path: Path) -> None:
    def lossy(guest: Guest) -> None:
        shared(guest)
        guest.loss(LossCause.RING_FULL)

    found = of(told(tmp_path, lossy), REACHED, SCOPE)
    assert found.result is OPEN


@pytest.mark.parametrize("family", ["convert", "convert_range", "memslot_file", "gmem_fault"])
def test_hooks_that_are_not_there_leave_it_open(tmp_path: Path, family: str) -> None:
    from tests.unit.audit.audit_story import FAMILIES

    hooks = [
        step(
            one, **({"symbol": None, "method": None, "reason": "refused"} if one == family else {})
        )
        for one in FAMILIES
    ]
    found = of(told(tmp_path, shared, hooks=hooks), REACHED, SCOPE)
    assert found.result is OPEN
    assert family in said(found)


def test_a_kernel_without_attributes_converts_nothing(tmp_path: Path) -> None:
    from tests.unit.audit.audit_story import FAMILIES

    hooks = [
        step(one, **(
            {"symbol": None, "method": None, "absent": True} if one == "convert_range" else {}
        ))
        for one in FAMILIES
    ]  # fmt: skip
    assert of(told(tmp_path, shared, hooks=hooks), REACHED, SCOPE).result is PASS


# ---- who converts


def by_vmm(guest: Guest) -> None:
    guest.begin()
    guest.convert(3)


def by_other(guest: Guest) -> None:
    guest.begin()
    guest.convert(3, pid=OTHER)


def by_other_refused(guest: Guest) -> None:
    guest.begin()
    guest.convert(3, pid=OTHER, answer=-22, checks=0, flags=int(Flag.INFERRED))


def of_another_machine(guest: Guest) -> None:
    guest.begin()
    guest.convert(3, pid=OTHER, vm=OTHER_VM)


def when_it_was_no_memory_of_it(guest: Guest) -> None:
    guest.begin()
    guest.memslot(RAM, kind=GUEST, fd=-1, checks=0, arg=AT, length=0, vm=VM, file_answer=BORN,
                  address=0, check_answer=1)  # fmt: skip
    guest.convert(3, pid=OTHER)


def in_flight(guest: Guest) -> None:
    guest.begin()
    guest.convert(3, pid=OTHER, flags=int(Flag.RETURN_MISSING))


@pytest.mark.parametrize(
    ("tell", "result"),
    [
        (by_vmm, PASS), (by_other, FAIL), (by_other_refused, PASS), (of_another_machine, PASS),
        (when_it_was_no_memory_of_it, PASS), (in_flight, OPEN),
    ],
)  # fmt: skip
def test_converted_only_by(tmp_path: Path, tell: Callable[[Guest], None], result: Result) -> None:
    found = of(told(tmp_path, tell), CONVERTED, SCOPE)
    assert found.result is result, said(found)
    if result is FAIL:
        assert "makes memory of its virtual machine private or shared" in said(found)
