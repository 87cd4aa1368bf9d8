"""Each claim, broken and kept, on recordings by the real writer and of real kernels."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.unit.audit.audit_asked import (
    BY_CHILDREN,
    BY_COMM,
    BY_CREATOR,
    BY_PID,
    BY_VMM,
    EXECUTED,
    FAIL,
    NEVER_MAPPED,
    NO_BREACH,
    NONE,
    OPEN,
    OTHER,
    PASS,
    PINNED,
    RAM,
    READ,
    SEALED,
    WRITABLE,
    WRITE_SEALED,
    Tell,
    audited,
    call,
    executed,
    mapped_by_other,
    mapped_by_vmm,
    of,
    said,
    shared,
)
from tests.unit.audit.audit_story import (
    OTHER_MM,
    RACED,
    SHARED_RO,
    SHARED_RO_MAY,
    START,
    Story,
    killed,
)
from tracer.audit import result as sentences
from tracer.audit.result import Result
from tracer.record import Kind


def _create(story: Story) -> None:
    story.create(RAM)


def _forked(story: Story) -> None:
    story.create(RAM)
    story.map(RAM)
    story.map(RAM, flags=OTHER_MM, mm=0xC0FFEE)


def _unmapped_only(story: Story) -> None:
    story.create(RAM)
    story.unmap(RAM, pid=200, comm=b"spy")


def _last_look_at_it(story: Story) -> None:
    """The last user of an address space is one who only looked into it."""
    story.create(RAM)
    story.unmap(RAM, pid=200, comm=b"ps", flags=OTHER_MM, mm=0xC0FFEE)


def _read_only_outside(story: Story) -> None:
    story.create(RAM)
    story.map(RAM, pid=200, arg=SHARED_RO)


def _may_write_outside(story: Story) -> None:
    story.create(RAM)
    story.map(RAM, pid=200, arg=SHARED_RO_MAY)


def _private_outside(story: Story) -> None:
    story.create(RAM)
    story.map(RAM, pid=200, arg=0x1 | 0x2 | 0x20)


def _by_range(ino: int, mm: int = 0xFF00 + 100, address: int = 0x10800, **more: Any) -> Tell:
    """A pin by process 200 of a range where RAM is mapped, though it names another file."""

    def tell(story: Story) -> None:
        story.create(RAM)
        story.map(RAM)
        if ino:
            story.create(ino, "first", pid=300, kind=Kind.HUGETLB)
            more["kind"] = Kind.HUGETLB
        story.event("pin", ino, 200, comm=b"spy", mm=mm, size_after=address, length=0x100,
                    answer=1, checks=int(not ino), **more)  # fmt: skip

    return tell


def _by_range_later(op: str) -> Tell:
    """A pin where RAM was mapped: behind its mapping's end, or before it when ``op`` is empty."""

    def tell(story: Story) -> None:
        story.create(RAM)
        story.map(RAM)
        if op:
            story.event(op, RAM, answer=0x10000, length=4096)
        story.event("pin", 0, 200, comm=b"spy", mm=0xFF00 + 100, size_after=0x10800, length=0x100,
                    answer=1, checks=1)  # fmt: skip
        if not op:
            story.event("evict", RAM)

    return tell


def _breach(story: Story) -> None:
    story.create(RAM, seals=0, seals_after=0, mode=0o666, arg=2)
    story.event("write", RAM, 200, answer=100, length=100, seals=8, seals_after=8, mode=0o666)


def _blocked(story: Story) -> None:
    story.create(RAM, seals=0, seals_after=0, mode=0o666, arg=2)
    story.event(
        "truncate", RAM, answer=-1, length=0, seals=2, seals_after=2, mode=0o666, arg=0x2068
    )


CASES: Mapping[str, tuple[str, Tell, Result]] = {
    "never mapped": (NEVER_MAPPED, _create, PASS),
    "mapped": (NEVER_MAPPED, mapped_by_vmm, FAIL),
    "a mapping of which only the end is seen": (NEVER_MAPPED, _unmapped_only, FAIL),
    "a mapping of which only the end is seen, whose it was is not": (
        NEVER_MAPPED, _last_look_at_it, FAIL,
    ),
    "mmap refused": (NEVER_MAPPED, call("mmap", -1), PASS),
    "mmap granted": (NEVER_MAPPED, call("mmap", 0x7F0000000000), FAIL),
    "page touched": (NEVER_MAPPED, call("fault", 0x100), FAIL),
    "page refused with SIGBUS": (NEVER_MAPPED, call("fault", 2), PASS),
    "by the VMM": (BY_VMM, mapped_by_vmm, PASS),
    "by another than the VMM": (BY_VMM, mapped_by_other, FAIL),
    "by its creator": (BY_CREATOR, mapped_by_vmm, PASS),
    "by another than its creator": (BY_CREATOR, mapped_by_other, FAIL),
    "by a child of its creator": (BY_CREATOR, _forked, FAIL),
    "by an allowed child": (BY_CHILDREN, _forked, PASS),
    "by a name": (BY_COMM, mapped_by_vmm, OPEN),
    "by another name": (BY_COMM, mapped_by_other, FAIL),
    "by a number": (BY_PID, mapped_by_vmm, OPEN),
    "by a child of a number": (BY_PID, _forked, FAIL),
    "unmapped by a stranger": (BY_CREATOR, _unmapped_only, FAIL),
    "writable outside": (WRITABLE, mapped_by_other, FAIL),
    "read-only for ever outside": (WRITABLE, _read_only_outside, PASS),
    "read-only until mprotect": (WRITABLE, _may_write_outside, FAIL),
    "private copy outside": (WRITABLE, _private_outside, PASS),
    "sealed outside with the bits of a writable mapping": (
        WRITABLE, call("add_seals", 0, arg=0xA, seals_after=0xA), PASS,
    ),
    "written outside": (WRITABLE, call("write", 100), FAIL),
    "write refused outside": (WRITABLE, call("write", -1), PASS),
    "written inside": (WRITABLE, call("write", 100, pid=100), PASS),
    "punched outside": (WRITABLE, call("punch_hole", 0), FAIL),
    "truncated outside": (WRITABLE, call("truncate", 0), FAIL),
    "grown outside": (WRITABLE, call("allocate", 0, size=0, size_after=4096), FAIL),
    "allocated outside, not grown": (WRITABLE, call("allocate", 0), PASS),
    "read outside": (READ, call("read", 100), FAIL),
    "end of file read outside": (READ, call("read", 0), PASS),
    "read inside": (READ, call("read", 100, pid=100), PASS),
    "process_vm_readv": (READ, call("remote_read", 1), FAIL),
    "ptrace writes": (READ, call("remote_write", 8), FAIL),
    "process_vm_readv refused": (READ, call("remote_read", -14), PASS),
    "debugged by SEV's commands": (READ, call("sev_debug", 0, check_answer=1), FAIL),
    "debugged up to a page that failed": (READ, call("sev_debug", -14, check_answer=1), FAIL),
    "debugging refused": (READ, call("sev_debug", -25, check_answer=0), PASS),
    "debugging refused, as the caller says": (READ, call("sev_debug", -25, flags=4096), PASS),
    "debugged, as the caller says alone": (READ, call("sev_debug", 0, flags=4096 | 8), OPEN),
    "userfaultfd": (READ, call("uffd_register", 0), FAIL),
    "pinned, so read": (READ, call("pin", 1), FAIL),
    "mapped outside: reads are not seen": (READ, mapped_by_other, OPEN),
    "pinned": (PINNED, call("pin", 1), FAIL),
    "pinned inside": (PINNED, call("pin", 1, pid=100), PASS),
    "pin refused": (PINNED, call("pin", -14), PASS),
    "pinned behind another file": (PINNED, _by_range(OTHER), FAIL),
    "pinned in a range of many mappings": (PINNED, _by_range(0), FAIL),
    "pinned in another address space": (PINNED, _by_range(OTHER, mm=0xDEAD), PASS),
    "pinned at another address": (PINNED, _by_range(OTHER, address=0x90000), PASS),
    "pinned from before it into it": (PINNED, _by_range(OTHER, address=0xFF01), FAIL),
    "pinned up to where it begins": (PINNED, _by_range(OTHER, address=0xFF00), PASS),
    "pinned where it was mapped before": (PINNED, _by_range_later("unmap"), PASS),
    "pinned where it was before it was gone": (PINNED, _by_range_later("evict"), PASS),
    "pinned before it was gone": (PINNED, _by_range_later(""), FAIL),
    "shared sealed": (SEALED, shared(WRITE_SEALED), PASS),
    "shared with more seals": (SEALED, shared(0x1F), PASS),
    "shared unsealed": (SEALED, shared(0), FAIL),
    "not let in": (SEALED, call("receive", -13), NONE),
    "shared half sealed": (SEALED, shared(0x08), FAIL),
    "sealed while it was shared": (SEALED, shared(0, WRITE_SEALED, flags=RACED), OPEN),
    "shared with unknown seals": (SEALED, shared(0xFFFFFFFF), OPEN),
    "never shared": (SEALED, _create, NONE),
    "inherited unsealed": (SEALED, _forked, FAIL),
    "executed sealed": (EXECUTED, executed(WRITE_SEALED), PASS),
    "executed unsealed": (EXECUTED, executed(0), FAIL),
    "executed by one that never can be sealed": (EXECUTED, executed(0x01), FAIL),
    "executed half sealed, sealed meanwhile": (
        EXECUTED, executed(0x08, seals_after=WRITE_SEALED, flags=RACED), FAIL,
    ),
    "executed, its return was not seen": (EXECUTED, executed(0, flags=8), OPEN),
    "executed with unknown seals": (EXECUTED, executed(0xFFFFFFFF), OPEN),
    "refused, of an inferred file": (EXECUTED, executed(WRITE_SEALED, -13, flags=4096), NONE),
    "only asked whether it may": (EXECUTED, executed(0, arg=0x10103), NONE),
    "never executed": (EXECUTED, _create, NONE),
    "breach": (NO_BREACH, _breach, FAIL),
    "blocked": (NO_BREACH, _blocked, PASS),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_a_claim_holds_or_not(tmp_path: Path, name: str) -> None:
    claim, tell, expected = CASES[name]
    story = Story()
    tell(story)
    found = of(story.write(tmp_path / "a.seal"), claim)
    mine = [one for one in found.findings if one.object.ino == RAM]
    assert [one.result for one in mine] == [expected], said(found)
    assert found.result == expected, said(found)
    if expected is FAIL:
        assert mine[0].violations
    if expected is OPEN:
        assert said(found)


def test_evidence_says_who_when_what_and_where(tmp_path: Path) -> None:
    story = Story()
    mapped_by_other(story)
    found = of(story.write(tmp_path / "a.seal"), BY_VMM)
    (proof,) = found.findings[0].violations
    assert (proof.pid, proof.comm, proof.uid, proof.op) == (200, "spy", 1000, "map")
    assert (proof.table, proof.cpu, proof.seq) == ("events", 0, story.seqs[0] - 1)
    assert proof.time_ns > START
    assert "spy/200 (uid 1000) maps it" in proof.text


def test_who_ends_a_mapping_of_others_is_not_said_to_have_had_it(tmp_path: Path) -> None:
    """Who looked into a dying address space, as ``ps`` and we do, runs its exit_mmap."""
    story = Story()
    story.create(RAM)
    story.map(RAM)
    story.unmap(RAM, pid=200, comm=b"ps", flags=OTHER_MM, mm=0xFF00 + 100)
    found = of(story.write(tmp_path / "a.seal"), NEVER_MAPPED)
    assert [(proof.pid, proof.op) for proof in found.findings[0].violations] == [(100, "map")]

    story = Story()
    _last_look_at_it(story)
    (proof,) = of(story.write(tmp_path / "b.seal"), NEVER_MAPPED).findings[0].violations
    assert "ps/200 (uid 1000) ends a mapping of it; whose that was is not known" in proof.text


def test_events_of_a_newer_recorder_are_not_overlooked(tmp_path: Path) -> None:
    story = Story()
    story.create(RAM)
    story.event("write", RAM, answer=0)
    raw = bytearray(story.records[-1])
    raw[35] = 99  # record_head.op
    story.records[-1] = bytes(raw)
    found = of(story.write(tmp_path / "a.seal"), NEVER_MAPPED)
    assert found.result is OPEN
    assert "op_99" in said(found)


def test_the_worst_claim_decides(tmp_path: Path) -> None:
    story = Story()
    mapped_by_other(story)
    path = story.write(tmp_path / "a.seal")
    assert audited(path, BY_COMM, NEVER_MAPPED).result is FAIL
    assert audited(path, READ, BY_CHILDREN).result is FAIL
    assert audited(path, PINNED, READ).result is OPEN
    hugetlb = 'claim = "never-mapped"\nscope = { kind = "hugetlb" }'
    assert audited(path, PINNED, hugetlb).result is PASS


def test_a_million_writes_are_one_row(tmp_path: Path) -> None:
    story = Story()
    story.create(RAM)
    for _ in range(300):
        story.event("write", RAM, 200, answer=10, length=10)
    found = of(story.write(tmp_path / "a.seal"), WRITABLE)
    (proof,) = found.findings[0].violations
    assert proof.count == 300


SAMPLES = sorted((Path(__file__).parents[3] / "samples/recordings").glob("*.seal"))


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.stem)
def test_real_recordings_are_never_greener_than_they_are(path: Path) -> None:
    """They follow one command: what others did is not in them."""
    found = audited(path, NEVER_MAPPED, BY_CREATOR, SEALED, PINNED, NO_BREACH).recordings[0]
    results = {one.claim: one for one in found.claims}
    assert results["never-mapped"].result is FAIL
    assert results["never-pinned-except"].result is OPEN
    assert not {one.result for one in found.claims} & {PASS, NONE}
    for one in found.claims:
        assert "the command and its children" in said(one)
    breaches = results["no-breach"]
    for finding in breaches.findings:
        # The sample programs make known kernel holes happen, and nothing else is wrong.
        assert all("known hole" in proof.text for proof in finding.violations)
    assert breaches.result is FAIL  # of mremap, on every kernel


@pytest.mark.parametrize("seconds", [3600, -3600, -2_000_000_000])
def test_a_clock_that_jumps(tmp_path: Path, seconds: int) -> None:
    """Order and window are those of the boot clock, which nobody sets."""
    story = Story()
    story.create(RAM)
    story.map(RAM)
    story.memslot(RAM)
    story.wall_ns += seconds * 10**9
    story.map(RAM, pid=200, comm=b"spy", address=0x20000)
    found = audited(story.write(tmp_path / "a.seal"), BY_VMM).recordings[0]
    assert found.claims[0].result is FAIL
    (proof,) = found.claims[0].findings[0].violations
    assert found.window.start_ns is not None
    assert found.window.end_ns is not None
    assert found.window.start_ns < proof.time_ns < found.window.end_ns
    assert found.window.wall_jump_s == pytest.approx(abs(seconds), abs=1)
    if abs(seconds) < 10**9:
        assert any("was set by 3600 s" in text for text in sentences.window(found))


@pytest.mark.parametrize("events", [False, True])
def test_the_window_of_a_killed_recorder_ends_with_its_last_event(
    tmp_path: Path, events: bool
) -> None:
    story = Story()
    began = story.now_ns
    if events:
        story.create(RAM)
    last = story.now_ns
    path = killed(story.write(tmp_path / "a.seal", without=len(story.records)))
    window = audited(path, NEVER_MAPPED).recordings[0].window
    assert (window.start_ns, window.end_ns) == (began, last)
    assert window.start is not None
    assert window.end is None


def test_the_window_of_a_whole_recording_is_between_its_clocks(tmp_path: Path) -> None:
    story = Story()
    began = story.now_ns
    story.create(RAM)
    window = audited(story.write(tmp_path / "a.seal"), NEVER_MAPPED).recordings[0].window
    assert (window.start_ns, window.end_ns) == (began, story.now_ns)
    assert None not in (window.start, window.end)
    assert window.start != window.end
