"""An audit's first line, what to do, and doubts that are told once."""

import contextlib
import io
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from tests.unit.audit.audit_story import Story, policy
from tracer.analysis.parts import processes
from tracer.audit import summary
from tracer.audit.evaluate import audit
from tracer.audit.policy import parse
from tracer.audit.result import (
    Audit,
    AuditedObject,
    ClaimResult,
    Doubt,
    Finding,
    Need,
    Proof,
    RecordingAudit,
    Result,
    Window,
)
from tracer.kernel.audit_families import AUDIT_FAMILIES
from tracer.output import sarif
from tracer.output.audit import Terminal
from tracer.recording.reader import Recording
from tracer.recording.several import Unread

P, F, I, N = Result.PASS, Result.FAIL, Result.INDETERMINATE, Result.NOT_APPLICABLE  # noqa: E741
LIVE = Need("map", "map", "live", "f", "fexit", "1 of 1", "")


def named(name: str, ino: int, kind: str = "memfd") -> AuditedObject:
    return AuditedObject(1, ino, 0, kind, f"memfd:{name}", 0, 0, True)


def finding(result: Result, ino: int = 5, name: str = "ram", *doubts: Doubt) -> Finding:
    return Finding(named(name, ino), result, doubts=doubts)


def claim(result: Result, *findings: Finding, name: str = "c", doubts: tuple[Doubt, ...] = (),
          needs: tuple[Need, ...] = (LIVE,)) -> ClaimResult:  # fmt: skip
    return ClaimResult(name, "never-mapped", "text", result, findings, doubts, needs)


def recorded(*claims: ClaimResult, doubts: tuple[Doubt, ...] = (), command: str = "",
             coverage: tuple[Need, ...] = (LIVE,)) -> RecordingAudit:  # fmt: skip
    window = Window(5, 10**9 + 5, "2026-11-30T04:43:14Z", None, 0.0)
    return RecordingAudit("a.seal", "h", "b", "7.3", command, window, claims, coverage, {}, doubts,
                          ())  # fmt: skip


def of(*claims: ClaimResult) -> Audit:
    return Audit("p", "", "0" * 64, "sealsnoop 0", (recorded(*claims),))


LOSS = Doubt("loss", "LOST 5 events.")
PAST = Doubt("past", "It is older.")


@pytest.mark.parametrize(
    ("claims", "text"),
    [
        ([claim(P, finding(P))],
         "PASS: the claim holds for 1 file, and nothing that could break it was unseen"),
        ([claim(P, finding(P), finding(P, 6)), claim(P, finding(P))],
         "PASS: all 2 claims hold for 2 files, and nothing that could break it was unseen"),
        ([claim(P, finding(P)), claim(N)],
         "PASS: 1 of 2 claims hold, the others are about nothing here, for 1 file, and nothing "
         "that could break it was unseen"),
        ([claim(F, finding(F), finding(F, 6), finding(P, 7), name="vmm"), claim(P, finding(P))],
         "FAIL: 1 of 2 claims is broken: vmm on 2 files"),
        ([claim(F, finding(F), name=str(n)) for n in range(5)] + [claim(I)],
         "FAIL: 5 of 6 claims are broken: 0 on 1 file, 1 on 1 file, 2 on 1 file, 2 more; "
         "1 not certain"),
        ([claim(I, finding(I, 5, "ram", PAST), doubts=(LOSS,)), claim(I, doubts=(LOSS,))],
         "INDETERMINATE: no violation was found, but one could have been missed: the recorder "
         "counted events that it lost; something may have been so before the trace began"),
        ([claim(N)], "NOT APPLICABLE: no file here is one that the policy is about"),
    ],
)  # fmt: skip
def test_the_first_line(claims: list[ClaimResult], text: str) -> None:
    assert summary.text(of(*claims)) == text.replace(
        "all 2 claims hold for 2", "all 2 claims hold for 2"
    )


def test_hooks_of_one_way_are_one_sentence_and_common_doubts_are_told_once() -> None:
    needs = tuple(
        Need(one, "map", "not live", "", "", "", "no room") for one in ("map", "map_after")
    )
    texts = [f"mappings that begin: {one.family} is not live (no room)." for one in needs]
    several = tuple(Doubt("not-hooked", text) for text in texts)
    one = recorded(
        claim(I, doubts=(LOSS, PAST, *several), needs=needs), claim(I, doubts=(LOSS, PAST)),
        claim(P, finding(P)), doubts=(LOSS,),
    )  # fmt: skip
    assert summary.common(one) == [PAST.text]
    assert summary.doubts(one.claims[0], one) == [
        "mappings that begin: map, map_after are not live (no room)."
    ]
    assert summary.doubts(one.claims[1], one) == []


def test_files_of_which_the_same_is_said_are_one_group() -> None:
    proof = Proof("x", "events", 0, 1, 2, None, 3, 4, 5, 6, 7, 8, "c", "map", 0, 0)
    hard = replace(finding(F, 9, "bad"), violations=(proof,))
    group, *rest = summary.groups(
        claim(
            F, hard, finding(I, 5, "ram-1", PAST), finding(I, 6, "ram-2", PAST), finding(I, 7, "x")
        ),
        recorded(),
    )
    assert group.findings == (hard,)
    assert [one.named(40) for one in rest] == ["2 objects: memfd:ram-{1,2}", "1 object: memfd:x"]
    assert rest[0].doubts == (PAST.text,)


@pytest.fixture
def no_audit(tmp_path: Path) -> Audit:
    """Of a recording that was made without --audit."""
    kinds = {family.name for family in AUDIT_FAMILIES}
    story = Story()
    story.create(5, "ram")
    path = story.write(tmp_path / "a.seal")
    rules = parse(policy('claim = "never-read-or-written"', 'claim = "never-pinned-except"'))
    with Recording.open(path) as recording:
        found = audit(rules, [recording], "sealsnoop 0")
    [one] = found.recordings

    def bare(needs: tuple[Need, ...]) -> tuple[Need, ...]:
        gone = "no hook of this recorder sees it"
        return tuple(
            Need(need.family, need.way, "not hooked", "", "", "", gone)
            if need.family in kinds else need
            for need in needs
        )  # fmt: skip

    claims = tuple(
        replace(
            each,
            result=I,
            needs=bare(each.needs),
            doubts=tuple(
                Doubt("not-hooked", f"some way: {need.family} is not hooked.")
                for need in bare(each.needs)
                if not need.holds
            ),
        )
        for each in one.claims
    )
    changed = replace(one, claims=claims, coverage=bare(one.coverage), command="./vmm --quick")
    return replace(found, recordings=(changed,))


def test_without_audit_is_said_once_with_the_command(no_audit: Audit) -> None:
    [one] = no_audit.recordings
    assert any("not hooked" in doubt.text for doubt in one.claims[0].doubts)
    assert summary.without_audit(one)
    assert summary.text(no_audit).endswith("it was recorded without --audit")
    assert list(summary.todo(no_audit, "my p.toml")) == [
        "record again, with all that audits need: sudo sealsnoop audit 'my p.toml' -- ./vmm --quick"
    ]
    for each in one.claims:
        assert summary.doubts(each, one) == []
    for command in ("a\\x1b[2J", "x" * 200):
        other = replace(no_audit, recordings=(replace(one, command=command),))
        assert next(summary.todo(other)).endswith("audit POLICY -- CMD")


def test_with_audit_a_hook_that_is_not_there_is_told() -> None:
    needs = (Need("pin", "pin", "not live", "", "", "", "not asked for"),)
    one = recorded(claim(I, needs=needs), coverage=needs)
    assert not summary.without_audit(one)


@pytest.mark.parametrize(
    ("claim_type", "advice"),
    [
        ("mapped-only-by", "named in the policy (by = "),
        ("executed-with", "seal what is run before it is run"),
        ("sealed-with", ""),
    ],
)
def test_what_to_do_is_what_the_claim_can_be_kept_by(claim_type: str, advice: str) -> None:
    """Nobody can be named in a claim that has no `by`."""
    failed = replace(claim(F, finding(F)), claim=claim_type)
    said = [line for line in summary.todo(of(failed)) if not line.startswith("to look closer")]
    assert [advice in line for line in said] == ([True] if advice else [])


def test_hosts_beside_claims_the_worst_first() -> None:
    good, bad = (replace(recorded(claim(P), claim(N)), host="good"),
                 replace(recorded(claim(P), claim(F)), host="bad"))  # fmt: skip
    twice = [replace(recorded(claim(I), claim(P)), host="two", path=path) for path in ("x", "y")]
    nobody = replace(recorded(claim(P), claim(P)), host="", path="z.seal")
    found = replace(of(), recordings=(good, *twice, bad, nobody))
    rows = summary.matrix(found)
    assert [name for name, _ in rows] == ["bad", "two x", "two y", "good", "z.seal"]
    assert rows[0][1] == [P, F]

    with io.StringIO() as out:
        Terminal(Console(file=out, width=60), 2).show(found)
        lines = [line.split() for line in out.getvalue().splitlines()]
    assert ["bad", "pass", "FAIL"] in lines
    assert ["two", "x", "unsure", "pass"] in lines
    assert ["and", "3", "more,", "indeterminate", "at", "worst", "(--top)"] in lines


def test_what_could_not_be_read_is_a_doubt_of_the_whole() -> None:
    missing = (Unread("gone.seal", "no such file"),)
    whole = replace(of(claim(P, finding(P))), unread=missing)
    assert whole.result is I
    assert "1 of 2 recordings could not be read" in summary.text(whole)
    broken = replace(of(claim(F, finding(F))), unread=missing)
    assert broken.result is F
    assert summary.text(broken).endswith("; 1 recording could not be read")
    with io.StringIO() as out:
        Terminal(Console(file=out, width=60), 2).show(whole)
        assert "not read: gone.seal: no such file" in out.getvalue()
    [_, run] = sarif.document(whole)["runs"]
    assert run["invocations"][0]["executionSuccessful"] is False
    assert "gone.seal: no such file" in str(run)


@pytest.mark.usefixtures("servers_end")
def test_by_two_processes_it_is_the_same(tmp_path: Path) -> None:
    paths = [tmp_path / f"{number}.seal" for number in range(3)]
    for number, path in enumerate(paths):
        story = Story()
        story.create(5)
        if number == 1:
            story.map(5)
        story.write(path)
    asked = parse(policy('claim = "never-mapped"'))
    with contextlib.ExitStack() as stack:
        recordings = [stack.enter_context(Recording.open(path)) for path in paths]
        executor = stack.enter_context(processes(2))
        found = audit(asked, recordings, "test", executor=executor)
        assert found == audit(asked, recordings, "test")
    assert [one.result for one in found.recordings] == [P, F, P]
