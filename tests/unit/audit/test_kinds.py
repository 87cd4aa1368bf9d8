"""Kinds of file and seals that not every kernel has."""

import errno
from pathlib import Path
from typing import Any

from tests.unit.audit.audit_asked import (
    FAIL,
    NEVER_MAPPED,
    NO_BREACH,
    NONE,
    OPEN,
    PASS,
    RAM,
    SEALED,
    of,
    said,
    shared,
)
from tests.unit.audit.audit_story import FAMILIES, Story, manifest, self_test, step
from tracer.audit.result import Result
from tracer.record import Kind
from tracer.words import Hook


def test_files_that_cannot_be_sealed(tmp_path: Path) -> None:
    for unsealable, expected in ((True, PASS), (False, OPEN)):
        story = Story()
        story.create(RAM, seals=1, seals_after=1)
        filters = manifest()["filters"] | {"unsealable": unsealable}
        path = story.write(tmp_path / f"{unsealable}.seal", filters=filters)
        assert of(path, NEVER_MAPPED).result is expected
    assert of(path, NEVER_MAPPED, 'kind = "tmpfs"').result is OPEN


def test_a_creation_that_was_refused_made_no_file(tmp_path: Path) -> None:
    """Its name is announced all the same, with inode 0."""
    story = Story()
    story.create(RAM)
    story.object(0, "noexec", Kind.UNKNOWN, gen=1807)
    story.event("create", 0, kind=Kind.UNKNOWN, answer=-errno.EINVAL)
    path = story.write(tmp_path / "a.seal")
    found = of(path, NEVER_MAPPED)
    assert found.result is PASS
    assert len(found.findings) == 1


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


def test_a_module_that_came_late_may_have_brought_what_is_in_scope(tmp_path: Path) -> None:
    """Whatever the claim needs itself: whose memory backs a guest is not known."""
    claim = 'claim = "never-pinned-except"'
    hooks = [
        step(one, symbol=None, reason="waits for kvm", module="kvm") if one == "memslot"
        else step(one) for one in FAMILIES
    ]  # fmt: skip
    for answer in (0, -errno.EOPNOTSUPP):
        story = Story()
        story.create(RAM)
        story.event("attach", 0, baseline=True, hook=int(Hook.MEMSLOT), answer=answer)
        path = story.write(tmp_path / f"{answer}.seal", hooks=hooks)
        assert of(path, claim, 'kind = "memfd"').result is PASS
        assert of(path, claim, 'kind = "memfd"\nmemslot = true').result is OPEN


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
        shared(0x20)(story)
        path = story.write(tmp_path / f"{bit}.seal", self_test=self_test(bit_0x20=bit))
        assert of(path, claim).result is expected


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
