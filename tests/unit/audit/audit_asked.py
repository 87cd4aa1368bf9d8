"""Claims as a policy states them, short stories of one file, and what an audit says of them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.unit.audit.audit_story import Story, policy
from tracer.audit.evaluate import audit
from tracer.audit.policy import parse
from tracer.audit.result import Audit, ClaimResult, Result
from tracer.recording.reader import Recording

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
EXECUTED = 'claim = "executed-with"\nseals = ["WRITE", "SHRINK"]'
READ = 'claim = "never-read-or-written"\nby = ["creator"]'
PINNED = 'claim = "never-pinned-except"\nby = ["creator"]'
WRITABLE_BY_PID = WRITABLE.replace('"creator"', "{ pid = 100 }")
NO_BREACH = 'claim = "no-breach"'
WRITE_SEALED = 0x08 | 0x02


def mapped_by_vmm(story: Story) -> None:
    story.create(RAM)
    story.map(RAM)
    story.memslot(RAM)
    story.unmap(RAM)


def mapped_by_other(story: Story) -> None:
    mapped_by_vmm(story)
    story.map(RAM, pid=200, comm=b"spy", address=0x20000)


def call(op: str, answer: int, pid: int = 200, **more: Any) -> Tell:
    def tell(story: Story) -> None:
        story.create(RAM)
        story.event(op, RAM, pid, comm=b"spy", answer=answer, length=100, **more)

    return tell


def shared(seals: int, after: int | None = None, **more: Any) -> Tell:
    def tell(story: Story) -> None:
        story.create(RAM)
        values = {"seals": seals, "seals_after": seals if after is None else after, **more}
        story.event("receive", RAM, 200, comm=b"peer", answer=9, **values)

    return tell


def executed(seals: int, answer: int = 0, arg: int = 0x102, **more: Any) -> Tell:
    def tell(story: Story) -> None:
        story.create(RAM)
        values = {"seals": seals, "seals_after": seals, **more}
        story.event("exec", RAM, 200, comm=b"runc", answer=answer, arg=arg, **values)

    return tell


ALL = (NEVER_MAPPED, BY_VMM, WRITABLE, READ, PINNED, SEALED, NO_BREACH)
"""Each claim once; a scope by name chooses the object that keeps or breaks it."""
