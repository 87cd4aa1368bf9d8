"""Each claim: broken, kept, and each way of losing evidence, on recordings by the real writer."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.unit.audit_story import (
    FAMILIES,
    FINAL,
    NO_RETURN,
    OTHER_MM,
    RACED,
    SHARED_RO,
    SHARED_RO_MAY,
    START,
    Story,
    killed,
    manifest,
    policy,
    self_test,
    step,
)
from tracer.audit import sentences
from tracer.audit.evaluate import audit
from tracer.audit.policy import parse
from tracer.audit.results import Audit, ClaimResult, Result
from tracer.model.record import Kind, LossCause
from tracer.store.reader import Recording

Tell = Callable[[Story], None]
RAM, OTHER = 5, 6
PASS, FAIL, OPEN, NONE = (
    Result.PASS, Result.FAIL, Result.INDETERMINATE, Result.NOT_APPLICABLE,
)  # fmt: skip


def audited(path: Path, *claims: str, scope: str = 'kind = "memfd"') -> Audit:
    with Recording.open(path) as recording:
        return audit(parse(policy(*claims, scope=scope)), [recording], "test")


def of(path: Path, claim: str, scope: str = 'kind = "memfd"') -> ClaimResult:
    return audited(path, claim, scope=scope).recordings[0].claims[0]


def said(found: ClaimResult) -> str:
    """All that was said against a claim, for asserting on."""
    parts = [f"{doubt.code}: {doubt.text}" for doubt in found.doubts]
    for finding in found.findings:
        parts += [f"{doubt.code}: {doubt.text}" for doubt in finding.doubts]
        parts += [proof.text for proof in finding.violations]
    return "\n".join(parts)


NEVER_MAPPED = 'claim = "never-mapped"'
BY_VMM = 'claim = "mapped-only-by"\nby = ["vmm"]'
BY_CREATOR = 'claim = "mapped-only-by"\nby = ["creator"]'
BY_CHILDREN = f"{BY_CREATOR}\nchildren = true"
BY_COMM = 'claim = "mapped-only-by"\nby = [{ comm = "vm?", uid = 1000 }]'
BY_PID = 'claim = "mapped-only-by"\nby = [{ pid = 100 }]'
WRITABLE = 'claim = "never-writable-outside"\nby = ["creator"]'
SEALED = 'claim = "sealed-with"\nseals = ["WRITE", "SHRINK"]'
READ = 'claim = "never-read-or-written"\nby = ["creator"]'
PINNED = 'claim = "never-pinned-except"\nby = ["creator"]'
WRITABLE_BY_PID = WRITABLE.replace('"creator"', "{ pid = 100 }")
NO_BREACH = 'claim = "no-breach"'
WRITE_SEALED = 0x08 | 0x02


def _create(story: Story) -> None:
    story.create(RAM)


def _mapped_by_vmm(story: Story) -> None:
    story.create(RAM)
    story.map(RAM)
    story.memslot(RAM)
    story.unmap(RAM)


def _mapped_by_other(story: Story) -> None:
    _mapped_by_vmm(story)
    story.map(RAM, pid=200, comm=b"spy", address=0x20000)


def _forked(story: Story) -> None:
    story.create(RAM)
    story.map(RAM)
    story.map(RAM, flags=OTHER_MM, mm=0xC0FFEE)


def _unmapped_only(story: Story) -> None:
    story.create(RAM)
    story.unmap(RAM, pid=200, comm=b"spy")


def _read_only_outside(story: Story) -> None:
    story.create(RAM)
    story.map(RAM, pid=200, arg=SHARED_RO)


def _may_write_outside(story: Story) -> None:
    story.create(RAM)
    story.map(RAM, pid=200, arg=SHARED_RO_MAY)


def _private_outside(story: Story) -> None:
    story.create(RAM)
    story.map(RAM, pid=200, arg=0x1 | 0x2 | 0x20)


def _call(op: str, answer: int, pid: int = 200, **more: Any) -> Tell:
    def tell(story: Story) -> None:
        story.create(RAM)
        story.event(op, RAM, pid, comm=b"spy", answer=answer, length=100, **more)

    return tell


def _shared(seals: int, after: int | None = None, **more: Any) -> Tell:
    def tell(story: Story) -> None:
        story.create(RAM)
        values = {"seals": seals, "seals_after": seals if after is None else after, **more}
        story.event("receive", RAM, 200, comm=b"peer", answer=9, **values)

    return tell


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
    "mapped": (NEVER_MAPPED, _mapped_by_vmm, FAIL),
    "a mapping of which only the end is seen": (NEVER_MAPPED, _unmapped_only, FAIL),
    "mmap refused": (NEVER_MAPPED, _call("mmap", -1), PASS),
    "mmap granted": (NEVER_MAPPED, _call("mmap", 0x7F0000000000), FAIL),
    "page touched": (NEVER_MAPPED, _call("fault", 0x100), FAIL),
    "page refused with SIGBUS": (NEVER_MAPPED, _call("fault", 2), PASS),
    "by the VMM": (BY_VMM, _mapped_by_vmm, PASS),
    "by another than the VMM": (BY_VMM, _mapped_by_other, FAIL),
    "by its creator": (BY_CREATOR, _mapped_by_vmm, PASS),
    "by another than its creator": (BY_CREATOR, _mapped_by_other, FAIL),
    "by a child of its creator": (BY_CREATOR, _forked, FAIL),
    "by an allowed child": (BY_CHILDREN, _forked, PASS),
    "by a name": (BY_COMM, _mapped_by_vmm, PASS),
    "by another name": (BY_COMM, _mapped_by_other, FAIL),
    "by a number": (BY_PID, _mapped_by_vmm, PASS),
    "by a child of a number": (BY_PID, _forked, FAIL),
    "unmapped by a stranger": (BY_CREATOR, _unmapped_only, FAIL),
    "writable outside": (WRITABLE, _mapped_by_other, FAIL),
    "read-only for ever outside": (WRITABLE, _read_only_outside, PASS),
    "read-only until mprotect": (WRITABLE, _may_write_outside, FAIL),
    "private copy outside": (WRITABLE, _private_outside, PASS),
    "written outside": (WRITABLE, _call("write", 100), FAIL),
    "write refused outside": (WRITABLE, _call("write", -1), PASS),
    "written inside": (WRITABLE, _call("write", 100, pid=100), PASS),
    "punched outside": (WRITABLE, _call("punch_hole", 0), FAIL),
    "truncated outside": (WRITABLE, _call("truncate", 0), FAIL),
    "grown outside": (WRITABLE, _call("allocate", 0, size=0, size_after=4096), FAIL),
    "allocated outside, not grown": (WRITABLE, _call("allocate", 0), PASS),
    "read outside": (READ, _call("read", 100), FAIL),
    "end of file read outside": (READ, _call("read", 0), PASS),
    "read inside": (READ, _call("read", 100, pid=100), PASS),
    "process_vm_readv": (READ, _call("remote_read", 1), FAIL),
    "ptrace writes": (READ, _call("remote_write", 8), FAIL),
    "process_vm_readv refused": (READ, _call("remote_read", -14), PASS),
    "userfaultfd": (READ, _call("uffd_register", 0), FAIL),
    "pinned, so read": (READ, _call("pin", 1), FAIL),
    "mapped outside: reads are not seen": (READ, _mapped_by_other, OPEN),
    "pinned": (PINNED, _call("pin", 1), FAIL),
    "pinned inside": (PINNED, _call("pin", 1, pid=100), PASS),
    "pin refused": (PINNED, _call("pin", -14), PASS),
    "pinned behind another file": (PINNED, _by_range(OTHER), FAIL),
    "pinned in a range of many mappings": (PINNED, _by_range(0), FAIL),
    "pinned in another address space": (PINNED, _by_range(OTHER, mm=0xDEAD), PASS),
    "pinned at another address": (PINNED, _by_range(OTHER, address=0x90000), PASS),
    "shared sealed": (SEALED, _shared(WRITE_SEALED), PASS),
    "shared with more seals": (SEALED, _shared(0x1F), PASS),
    "shared unsealed": (SEALED, _shared(0), FAIL),
    "not let in": (SEALED, _call("receive", -13), NONE),
    "shared half sealed": (SEALED, _shared(0x08), FAIL),
    "sealed while it was shared": (SEALED, _shared(0, WRITE_SEALED, flags=RACED), OPEN),
    "shared with unknown seals": (SEALED, _shared(0xFFFFFFFF), OPEN),
    "never shared": (SEALED, _create, NONE),
    "inherited unsealed": (SEALED, _forked, FAIL),
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
    _mapped_by_other(story)
    found = of(story.write(tmp_path / "a.seal"), BY_VMM)
    (proof,) = found.findings[0].violations
    assert (proof.pid, proof.comm, proof.uid, proof.op) == (200, "spy", 1000, "map")
    assert (proof.table, proof.cpu, proof.seq) == ("events", 0, story.seqs[0] - 1)
    assert proof.time_ns > START
    assert "spy/200 (uid 1000) maps it" in proof.text


def _no_self_test(path: Path, story: Story) -> Path:
    return story.write(path, self_test=None)


def _deaf_hooks(path: Path, story: Story) -> Path:
    hooks = {family: {"expected": 3, "seen": 2, "extra": 0} for family in FAMILIES}
    return story.write(path, self_test=self_test(hooks=hooks))


def _filters(**changed: Any) -> Callable[[Path, Story], Path]:
    filters = manifest()["filters"] | changed
    return lambda path, story: story.write(path, filters=filters, command=["x"])


def _losing(cause: LossCause, hook: int = 0) -> Callable[[Path, Story], Path]:
    def write(path: Path, story: Story) -> Path:
        story.loss(cause, hook)
        return story.write(path)

    return write


def _hole(path: Path, story: Story) -> Path:
    story.event("write", OTHER, answer=1)
    return story.write(path, without=len(story.records) - 1)


def _flipped(path: Path, story: Story) -> Path:
    story.write(path)
    part = next((path / "events").iterdir())
    data = bytearray(part.read_bytes())
    data[4] ^= 1  # in a page that is not read, or is: the digest tells
    part.write_bytes(bytes(data))
    return path


LOST: Mapping[str, Callable[[Path, Story], Path]] = {
    "killed": lambda path, story: killed(story.write(path)),
    "no baseline": lambda path, story: story.write(path, end={"baseline": None}),
    "baseline without every process": lambda path, story: story.write(
        path, end={"baseline": {"start": {"problems": ["3 processes could not be looked at"]}}}
    ),
    "no baseline asked for": lambda path, story: story.write(
        path, end={"baseline": {"start": None, "final": None}}
    ),
    "no self-test": _no_self_test,
    "hooks that miss attempts": _deaf_hooks,
    "no hook at all": lambda path, story: story.write(path, hooks=[]),
    "hooks not live": lambda path, story: story.write(
        path, hooks=[step(one, method=None, symbol=None, reason="no") for one in FAMILIES]
    ),
    "only some processes": _filters(pids=[1]),
    "only the command": _filters(follow_command=True),
    "only failures": _filters(denied=True),
    "only sealed files": _filters(seals=8),
    "only some names": _filters(name="other"),
    "ring full": _losing(LossCause.RING_FULL),
    "children not followed": _losing(LossCause.PIDS_FULL),
    "programs not run": _losing(LossCause.MISSED),
    "a hole": _hole,
    "a changed file": _flipped,
    "no final numbers": lambda path, story: _without_final(story.write(path)),
    "failed": lambda path, story: _failed(story, path),
}


def _without_final(path: Path) -> Path:
    import json

    end = json.loads((path / "end.json").read_text())
    (path / "end.json").write_text(json.dumps(end | {"final_seq": {}}))
    return path


def _failed(story: Story, path: Path) -> Path:
    import json

    story.write(path)
    end = json.loads((path / "end.json").read_text())
    (path / "end.json").write_text(json.dumps(end | {"error": "disk full"}))
    return path


ALL = (NEVER_MAPPED, BY_VMM, WRITABLE, READ, PINNED, SEALED, NO_BREACH)
"""Each claim once; a scope by name chooses the object that keeps or breaks it."""


def _all(prefix: str) -> tuple[str, ...]:
    return tuple(
        f'{claim}\nid = "c{place}"\nscope = {{ kind = "memfd", name = "{prefix}{place}" }}'
        for place, claim in enumerate(ALL)
    )


def _kept() -> Story:
    """An object for each claim, which keeps it."""
    story = Story()
    for place in range(len(ALL)):
        ino, address = 10 + place, 0x100000 * (place + 1)
        story.create(ino, f"kept{place}", mode=0o666, arg=2)
        if place:
            story.map(ino, address=address)
            story.memslot(ino, address=address, check_answer=place)
    story.event("receive", 15, 200, answer=9, seals=WRITE_SEALED, seals_after=WRITE_SEALED)
    return story


def _broken() -> Story:
    """An object for each claim, which breaks it."""
    story = Story()
    for place in range(len(ALL)):
        story.create(10 + place, f"broken{place}", mode=0o666, arg=2)
    story.map(10)
    story.map(11)
    story.memslot(11)
    story.map(11, 200, comm=b"spy")
    story.map(12, 200)
    story.event("read", 13, 200, answer=1)
    story.event("pin", 14, 200, answer=1, size_after=0x7000000, length=4096)
    story.event("receive", 15, 200, answer=9)
    story.event("write", 16, 200, answer=9, length=9, seals=8, seals_after=8, mode=0o666)
    return story


def results(path: Path, prefix: str) -> list[ClaimResult]:
    return list(audited(path, *_all(prefix)).recordings[0].claims)


def test_whole_evidence_tells_kept_from_broken(tmp_path: Path) -> None:
    kept = results(_kept().write(tmp_path / "kept.seal"), "kept")
    assert [one.result for one in kept] == [PASS] * len(ALL), [said(one) for one in kept]
    broken = results(_broken().write(tmp_path / "broken.seal"), "broken")
    assert [one.result for one in broken] == [FAIL] * len(ALL), [said(one) for one in broken]


@pytest.mark.parametrize("how", LOST)
def test_lost_evidence_is_never_a_pass_and_never_hides_a_violation(
    tmp_path: Path, how: str
) -> None:
    kept = results(LOST[how](tmp_path / "kept.seal", _kept()), "kept")
    assert [one.result for one in kept] == [OPEN] * len(ALL)
    assert all(said(one) for one in kept)
    if how == "a changed file":
        return  # whatever was changed may have been what broke the claim
    broken = results(LOST[how](tmp_path / "broken.seal", _broken()), "broken")
    unjudged = how in ("no self-test",)
    assert [one.result for one in broken[:-1]] == [FAIL] * (len(ALL) - 1)
    assert broken[-1].result in ((FAIL, OPEN) if unjudged else (FAIL,))


@pytest.mark.slow
def test_each_needed_family_is_needed(tmp_path: Path) -> None:
    story = _kept()
    whole = results(story.write(tmp_path / "whole.seal"), "kept")
    needs = [{need.family for need in one.needs} for one in whole]
    for family in sorted(set().union(*needs)):
        hooks = [step(one) for one in FAMILIES if one != family]
        found = results(_kept().write(tmp_path / f"{family}.seal", hooks=hooks), "kept")
        expected = [OPEN if family in one else PASS for one in needs]
        assert [one.result for one in found] == expected, family
        for one, mine in zip(found, needs, strict=True):
            assert (f"{family} is not hooked" in said(one)) == (family in mine)


def test_a_kernel_without_the_function_hides_nothing_there(tmp_path: Path) -> None:
    hooks = [
        step(one, symbol=None, method=None, essential=False, reason=f"this kernel has no {one}_fn")
        for one in FAMILIES
    ]
    found = results(_kept().write(tmp_path / "a.seal", hooks=hooks), "kept")
    assert [one.result for one in found] == [PASS] * len(ALL)


@pytest.mark.parametrize(
    ("reason", "essential"),
    [
        ("this kernel has no map_fn", None),
        ("this kernel has no map_fn", True),
        ("this kernel has no maple_range_64.pivot", False),
        ("this kernel has only a changed copy: map_fn.isra.0", False),
        ("not asked for", False),
    ],
)
def test_only_a_function_that_is_not_there_cannot_be_called(
    tmp_path: Path, reason: str, essential: bool | None
) -> None:
    story = Story()
    story.create(RAM)
    hooks = [step(one) for one in FAMILIES if one != "map"]
    said = {"essential": bool(essential)} | ({} if essential is not None else {"absent": False})
    hooks.append(step("map", symbol=None, method=None, reason=reason, **said))
    assert of(story.write(tmp_path / "a.seal", hooks=hooks), NEVER_MAPPED).result is OPEN


def test_a_loss_at_another_hook_hides_nothing(tmp_path: Path) -> None:
    story = Story()
    story.create(RAM)
    story.loss(LossCause.MISSED, hook=8)  # read
    path = story.write(tmp_path / "a.seal")
    assert of(path, NEVER_MAPPED).result is PASS
    assert of(path, READ).result is OPEN


def test_calls_in_flight_at_the_end(tmp_path: Path) -> None:
    story = Story()
    story.create(RAM)
    path = story.write(tmp_path / "a.seal", end={"in_flight": 2})
    assert of(path, NEVER_MAPPED).result is PASS
    assert "in-flight" in said(of(path, READ))


def test_an_answer_that_was_not_seen(tmp_path: Path) -> None:
    for claim, op in ((WRITABLE, "write"), (READ, "read"), (PINNED, "pin")):
        story = Story()
        _call(op, 0, flags=NO_RETURN)(story)
        found = of(story.write(tmp_path / f"{op}.seal"), claim)
        assert found.result is OPEN
        assert "incomplete" in said(found)


# The past: what was there before the trace.


def _old(story: Story, **more: Any) -> None:
    """A file from before, as the scan of /proc announces it."""
    story.object(RAM, cpu=0xFFFF)
    story.event("open", RAM, baseline=True, fd=4, **more)


@pytest.mark.parametrize("claim", [NEVER_MAPPED, BY_PID, WRITABLE_BY_PID])
def test_an_old_object_passes_with_a_complete_baseline_alone(tmp_path: Path, claim: str) -> None:
    story = Story()
    _old(story)
    assert of(story.write(tmp_path / "a.seal"), claim).result is PASS
    story = Story()
    _old(story)
    found = of(story.write(tmp_path / "b.seal", end={"baseline": None}), claim)
    assert found.result is OPEN
    assert "past" in said(found)


@pytest.mark.parametrize("claim", [SEALED, READ, PINNED])
def test_an_old_object_may_have_been_shared_or_pinned_before(tmp_path: Path, claim: str) -> None:
    story = Story()
    _old(story)
    found = of(story.write(tmp_path / "a.seal"), claim)
    assert found.result is OPEN
    assert "past" in said(found)


def test_a_mapping_from_before_is_found(tmp_path: Path) -> None:
    story = Story()
    _old(story)
    story.event("map", RAM, 200, comm=b"spy", baseline=True, answer=0x1000, length=4096, arg=0xB)
    path = story.write(tmp_path / "a.seal")
    for claim in (NEVER_MAPPED, BY_PID, WRITABLE_BY_PID):
        found = of(path, claim)
        assert found.result is FAIL
        assert "as it was when the trace began" in said(found)


def test_the_last_look_finds_a_mapping(tmp_path: Path) -> None:
    story = Story()
    story.create(RAM)
    story.event("map", RAM, 200, baseline=True, answer=0x1000, length=4096, arg=0xB, flags=FINAL)
    path = story.write(tmp_path / "a.seal")
    assert of(path, BY_PID).result is FAIL
    assert "as it was at the end" in said(of(path, BY_PID))


def test_the_inodes_own_word(tmp_path: Path) -> None:
    """It tells of a mapping that nobody else tells of, and that there was none at the start."""
    story = Story()
    story.create(RAM)
    story.event("mapped", RAM, 1, baseline=True, answer=1, flags=FINAL)
    path = story.write(tmp_path / "a.seal")
    assert of(path, NEVER_MAPPED).result is FAIL
    assert of(path, BY_PID).result is OPEN
    assert "sweep" in said(of(path, BY_PID))


def test_baseline_without_a_generation_is_of_the_same_file(tmp_path: Path) -> None:
    story = Story()
    story.event("map", RAM, 200, baseline=True, answer=0x1000, length=4096, arg=0xB, gen=0)
    story.object(RAM)
    story.map(RAM)
    found = of(story.write(tmp_path / "a.seal"), BY_PID)
    assert len(found.findings) == 1
    assert found.result is FAIL


def test_a_read_only_mapping_from_before_may_be_made_writable(tmp_path: Path) -> None:
    claim = WRITABLE_BY_PID
    for writable, expected in ((1, OPEN), (0, PASS)):
        story = Story()
        _old(story)
        story.event("mapped", RAM, 1, baseline=True, answer=1, writable=writable)
        story.event("map", RAM, 200, baseline=True, answer=0x1000, length=4096, arg=SHARED_RO)
        assert of(story.write(tmp_path / f"{writable}.seal"), claim).result is expected


def test_a_process_number_that_is_used_again(tmp_path: Path) -> None:
    story = Story()
    story.create(RAM)
    story.map(RAM)
    story.map(RAM, mm=0xBEEF, address=0x30000)
    path = story.write(tmp_path / "a.seal")
    assert of(path, BY_PID).result is OPEN
    assert "identity" in said(of(path, BY_PID))
    # The creation tells the address space: there it is the same number, but perhaps not the same.
    assert of(path, BY_CREATOR).result is OPEN
    assert "in another address space" in said(of(path, BY_CREATOR))


def test_a_vmm_that_is_not_known_is_not_blamed(tmp_path: Path) -> None:
    story = Story()
    _old(story)
    story.map(RAM)
    found = of(story.write(tmp_path / "a.seal"), BY_VMM)
    assert found.result is OPEN
    assert "Who gave it to a virtual machine is not known" in said(found)


# Scope.


def test_an_empty_scope_is_not_applicable(tmp_path: Path) -> None:
    found = audited(Story().write(tmp_path / "a.seal"), *ALL)
    assert {one.result for one in found.recordings[0].claims} == {NONE}
    assert found.result is NONE


def test_an_empty_scope_with_losses_is_open(tmp_path: Path) -> None:
    story = Story()
    story.loss(LossCause.RING_FULL)
    assert of(story.write(tmp_path / "a.seal"), NEVER_MAPPED).result is OPEN


SCOPES = [
    ('kind = "memfd"', True),
    ('kind = ["hugetlb", "memfd"]', True),
    ('kind = "hugetlb"', False),
    ('kind = "memfd"\nname = "r?m"', True),
    ('kind = "memfd"\nname = "memfd:r*"', True),
    ('kind = "memfd"\nname = ["x", "RAM"]', False),
    ('kind = "memfd"\nuser = 1000', True),
    ('kind = "memfd"\nuser = 0', False),
    ('kind = "memfd"\ncgroup = 0', True),
    ('kind = "memfd"\ncgroup = 1', False),
    ('kind = "memfd"\nwhere = "name:~ra comm:vmm"', True),
    ('kind = "memfd"\nwhere = "name:~rb"', False),
    ('kind = "memfd"\nseals = ["SHRINK"]', True),
    ('kind = "memfd"\nseals = ["SHRINK", "WRITE"]', False),
    ('kind = "memfd"\nseals = ["EXEC"]', True),
    ('kind = "memfd"\nseals = ["INACCESSIBLE"]', False),
    ('kind = "memfd"\nmemslot = true', True),
    ('kind = "memfd"\nmemslot = { comm = "vmm" }', True),
    ('kind = "memfd"\nmemslot = { comm = "qemu" }', False),
]


def test_scope(tmp_path: Path) -> None:
    story = Story()
    story.create(RAM)
    story.map(RAM)
    story.memslot(RAM)
    story.event("add_seals", RAM, answer=0, seals_after=0x22, arg=0x22)
    path = story.write(tmp_path / "a.seal")
    claims = [
        f'{NEVER_MAPPED}\nid = "{place}"\n[claim.scope]\n{scope}'
        for place, (scope, _) in enumerate(SCOPES)
    ]
    for one, (scope, found) in zip(
        audited(path, *claims).recordings[0].claims, SCOPES, strict=True
    ):
        assert one.result is (FAIL if found else NONE), scope


def test_what_is_mapped_under_a_memslot_later_backs_it(tmp_path: Path) -> None:
    story = Story()
    story.memslot(0, address=0x10000, length=0x4000)
    story.create(RAM)
    story.map(RAM, address=0x12000)
    story.create(OTHER, "other")
    story.map(OTHER, address=0x14000)
    found = of(story.write(tmp_path / "a.seal"), NEVER_MAPPED, 'kind="memfd"\nmemslot = true')
    assert [one.object.ino for one in found.findings] == [RAM]


def test_thousands_of_memslots(tmp_path: Path) -> None:
    """Machines that come and go, each with a slot for every page: one of them lets a spy in."""
    machines, pages = 20, 150
    story = Story()
    for pid in range(100, 100 + machines):
        story.create(pid, f"ram{pid}", pid=pid)
        story.map(pid, pid, length=pages * 4096)
        for page in range(pages):
            address = 0x10000 + page * 4096
            story.memslot(pid, pid, address=address, check_answer=page, size=pid)
        if pid == 107:
            story.map(pid, 999, comm=b"spy", address=0x70000)
        if pid % 2:
            for page in range(pages):
                story.memslot(0, pid, address=0, length=0, check_answer=page, size=pid)
            story.unmap(pid, pid, length=pages * 4096)
    found = of(story.write(tmp_path / "a.seal"), BY_VMM, 'kind = "memfd"\nmemslot = true')
    assert len(found.findings) == machines
    assert {one.object.ino: one.result for one in found.findings} == {
        pid: FAIL if pid == 107 else PASS for pid in range(100, 100 + machines)
    }
    assert {one.pid for one in found.findings[0].violations} == {999}


def test_a_memslot_that_was_deleted_or_refused_is_none(tmp_path: Path) -> None:
    story = Story()
    story.memslot(0, address=0x10000, length=0x4000)
    story.memslot(0, address=0x10000, length=0)
    story.create(RAM)
    story.map(RAM)
    story.memslot(RAM, answer=-22, check_answer=1)
    found = of(story.write(tmp_path / "a.seal"), NEVER_MAPPED, 'kind="memfd"\nmemslot = true')
    assert found.result is NONE


def test_seals_that_no_hook_saw(tmp_path: Path) -> None:
    """It may have been sealed, and so be in scope."""
    hooks = [step(one) for one in FAMILIES if one != "seals"]
    story = Story()
    story.create(RAM)
    path = story.write(tmp_path / "a.seal", hooks=hooks)
    found = of(path, NEVER_MAPPED, 'kind = "memfd"\nseals = "WRITE"')
    assert found.result is OPEN


def test_not_announced_may_be_in_scope(tmp_path: Path) -> None:
    """A violation of what may not be meant is no fail; and it is no pass either."""
    story = Story()
    story.event("map", RAM, answer=0x1000, length=4096)
    path = story.write(tmp_path / "a.seal")
    found = of(path, NEVER_MAPPED, 'kind = "memfd"\nname = "ram"')
    assert found.result is OPEN
    assert "its name is not known" in said(found)
    assert of(path, NEVER_MAPPED).result is FAIL  # its kind is in the event


def test_a_name_of_which_a_piece_is_missing(tmp_path: Path) -> None:
    story = Story()
    story.create(RAM, "ram" + "x" * 200)
    second = 3  # behind the clock, the announcement and the first piece
    path = story.write(tmp_path / "a.seal", without=second)
    assert of(path, NEVER_MAPPED, 'kind = "memfd"\nname = "nothing"').result is OPEN


def test_files_that_cannot_be_sealed(tmp_path: Path) -> None:
    for unsealable, expected in ((True, PASS), (False, OPEN)):
        story = Story()
        story.create(RAM, seals=1, seals_after=1)
        filters = manifest()["filters"] | {"unsealable": unsealable}
        path = story.write(tmp_path / f"{unsealable}.seal", filters=filters)
        assert of(path, NEVER_MAPPED).result is expected
    assert of(path, NEVER_MAPPED, 'kind = "tmpfs"').result is OPEN


def test_guest_memory_that_no_hook_knows(tmp_path: Path) -> None:
    scope = 'kind = "guest_memfd"'
    hooks = [step(one) for one in FAMILIES if not one.startswith("gmem")]
    story = Story()
    found = of(story.write(tmp_path / "a.seal", hooks=hooks), NEVER_MAPPED, scope)
    assert found.result is OPEN
    assert "A guest_memfd may not have been noticed" in said(found)
    story = Story()
    story.create(RAM, "[kvm-gmem]", kind=Kind.GUEST_MEMFD)
    story.memslot(RAM, kind=Kind.GUEST_MEMFD, fd=9)
    assert of(story.write(tmp_path / "b.seal"), NEVER_MAPPED, scope).result is PASS


def test_a_module_that_came_while_it_was_recorded(tmp_path: Path) -> None:
    scope = 'kind = "guest_memfd"'
    hooks = [
        step(one, symbol=None, reason="waits for kvm", module="kvm") if one.startswith("gmem")
        else step(one) for one in FAMILIES
    ]  # fmt: skip
    assert of(Story().write(tmp_path / "a.seal", hooks=hooks), NEVER_MAPPED, scope).result is NONE
    story = Story()
    story.event("attach", 0, baseline=True, hook=10, duration_ns=50_000_000)
    story.create(RAM, "[kvm-gmem]", kind=Kind.GUEST_MEMFD)
    claim = 'claim = "mapped-only-by"\nby = ["creator"]'
    found = of(story.write(tmp_path / "b.seal", hooks=hooks), claim, scope)
    assert found.result is OPEN
    assert "50.0 ms of it are unseen" in said(found)


def test_kinds_without_seals_have_no_breach(tmp_path: Path) -> None:
    story = Story()
    story.create(RAM, "[kvm-gmem]", kind=Kind.GUEST_MEMFD)
    path = story.write(tmp_path / "a.seal")
    for claim in (NO_BREACH, SEALED):
        assert of(path, claim, 'kind = "guest_memfd"').result is NONE


def test_what_seal_0x20_means(tmp_path: Path) -> None:
    claim = 'claim = "sealed-with"\nseals = ["INACCESSIBLE"]'
    for bit, expected in (("inaccessible", PASS), ("exec", FAIL), ("none", OPEN)):
        story = Story()
        _shared(0x20)(story)
        path = story.write(tmp_path / f"{bit}.seal", self_test=self_test(bit_0x20=bit))
        assert of(path, claim).result is expected


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
    _mapped_by_other(story)
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


# Recordings of real kernels.

SAMPLES = sorted((Path(__file__).parents[2] / "samples/recordings").glob("*.seal"))


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
    assert (breaches.result is FAIL) == ("6.1" in path.stem)


def test_no_breach_of_an_inaccessible_file_needs_every_read_hooked(tmp_path: Path) -> None:
    def told(name: str, **changed: Any) -> Result:
        story = Story()
        story.object(RAM)
        story.event("receive", RAM, 200, answer=9, seals=0x20, seals_after=0x20)
        test = self_test(bit_0x20="inaccessible")
        path = story.write(tmp_path / f"{name}.seal", self_test=test, **changed)
        return of(path, 'claim = "no-breach"').result

    hooks = [step(one) for one in FAMILIES if one != "splice"]
    gone = step("splice", method=None, symbol=None, absent=True, essential=False)
    assert told("all") is PASS
    assert told("not-planned", hooks=hooks) is OPEN
    # This kernel splices by its read function, which is hooked.
    assert told("absent", hooks=[*hooks, gone]) is PASS


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


def test_hooks_that_the_self_test_does_not_try_are_named(tmp_path: Path) -> None:
    def spots(name: str, **changed: Any) -> list[str]:
        story = Story()
        story.create(RAM)
        path = story.write(tmp_path / f"{name}.seal", **changed)
        found = audited(path, NEVER_MAPPED).recordings[0]
        return [one for one in found.blind_spots if one.startswith("whether these hooks report")]

    tried = tuple(one for one in FAMILIES if one not in ("map", "pin"))
    assert spots("all") == []
    assert spots("some", self_test=self_test(tried)) == [
        "whether these hooks report: the self-test does not try them (map, pin)"
    ]
    # That none was tried is a doubt of every claim already.
    assert spots("none", self_test=None) == []
