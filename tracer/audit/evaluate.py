"""Holds a policy against recordings. A result is never better than the evidence."""

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace

from tracer.audit.claims import CLAIMS, NO_SHARE, SEALABLE, Case, Violation, proof, shared
from tracer.audit.events import BY_ADDRESS, Row
from tracer.audit.evidence import Evidence, load
from tracer.audit.objects import Key3, Known, Range
from tracer.audit.policy import WAYS, Claim, Policy, blind_spots, needed
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
    worst,
)
from tracer.audit.scope import OUT, Allowed, Answer, Look, check_where, hidden, member, rights, who
from tracer.escape import printable
from tracer.recording.manifest import Filters
from tracer.recording.reader import Recording

_BY_ADDRESS = {"never-read-or-written": BY_ADDRESS, "never-pinned-except": frozenset({"pin"})}
"""Claims that an access by address can break, and by which."""
MOST_PROOFS = 100
"""Violations that a finding lists; the others are counted."""


def audit(policy: Policy, recordings: Sequence[Recording], tool: str) -> Audit:
    """``policy`` against each of ``recordings``. StoreError, UserError."""
    for claim in policy.claims:
        check_where(claim.scope)
    found = tuple(one_recording(policy, recording) for recording in recordings)
    return Audit(policy.name, policy.text, policy.sha256, tool, found)


def one_recording(policy: Policy, recording: Recording) -> RecordingAudit:
    """All claims against one recording."""
    evidence = load(recording, policy.claims)
    claims = tuple(evaluate(claim, evidence) for claim in policy.claims)
    manifest = evidence.manifest
    lost: Counter[str] = Counter()
    for (cause, hook), total in evidence.losses.items():
        lost[
            f"{printable(cause)} at {printable(hook)}" if hook != "none" else printable(cause)
        ] += total
    return RecordingAudit(
        path=printable(os.fspath(recording.path)),
        host=printable(manifest.host),
        boot_id=printable(manifest.boot_id or ""),
        kernel=printable(manifest.kernel.release),
        command=" ".join(map(printable, manifest.command)),
        window=evidence.window,
        claims=claims,
        coverage=tuple(_coverage(evidence, claims)),
        losses=dict(lost.most_common()),
        doubts=tuple(evidence.doubts),
        blind_spots=_blind_spots(manifest.blind_spots, evidence.plan.untried()),
    )


def evaluate(claim: Claim, evidence: Evidence) -> ClaimResult:
    """One claim: every object that is in its scope, or may be."""
    look = _look(evidence)
    findings, kinds = [], set(claim.scope.kind)
    for key, one in evidence.known.items():
        answer, why = member(claim.scope, one, look)
        if answer is OUT:
            continue
        kinds.add(one.kind)
        findings.append(_finding(claim, evidence, key, one, answer, why))
    needs = {family: way for kind in sorted(kinds) or ["unknown"]
             for family, way in needed(claim.claim, kind, claim.meant).items()}  # fmt: skip
    # What was lost or not seen may have been about an object that is not here at all.
    general = _unique([*hidden(claim.scope, look), *_general(evidence, needs)])
    if evidence.baseline:
        general.append(Doubt("past", f"Objects older than the trace may be missing: "
                             f"{evidence.baseline}"))  # fmt: skip
    result = worst(finding.result for finding in findings)
    if general and result != Result.FAIL:
        result = Result.INDETERMINATE
    told = {doubt.text for doubt in general}
    findings = [
        replace(one, doubts=tuple(doubt for doubt in one.doubts if doubt.text not in told))
        for one in findings
    ]
    order = {Result.FAIL: 0, Result.INDETERMINATE: 1, Result.PASS: 2, Result.NOT_APPLICABLE: 3}
    findings.sort(key=lambda one: (order[one.result], one.object.ino))
    return ClaimResult(
        claim.id,
        claim.claim,
        claim.text,
        result,
        tuple(findings),
        tuple(general),
        tuple(evidence.plan.need(family, way) for family, way in needs.items()),
    )


def _look(evidence: Evidence) -> Look:
    filters = evidence.manifest.filters or Filters()
    return Look(evidence.plan, evidence.slots, evidence.bit_0x20, filters)


def _general(evidence: Evidence, needs: dict[str, str]) -> Iterator[Doubt]:
    """What of the whole recording touches a claim that needs these families."""
    hooks = {evidence.plan.hook(family) for family in needs}
    calls = any(WAYS[way].call for way in needs.values())
    for doubt in evidence.doubts:
        if doubt.hooks is not None and not doubt.hooks & hooks:
            continue
        if doubt.code != "in-flight" or calls:
            yield doubt
    yield from evidence.plan.doubts(needs)


def _finding(
    claim: Claim, evidence: Evidence, key: Key3, one: Known, answer: Answer, why: str
) -> Finding:
    audited = one.audited()
    if claim.claim in ("sealed-with", "no-breach") and one.kind not in SEALABLE:
        return Finding(audited, Result.NOT_APPLICABLE if answer else Result.INDETERMINATE)
    case, doubts = _case(claim, evidence, key, one)
    violations: list[Violation] = []
    for said in CLAIMS[claim.claim](case):
        if isinstance(said, Doubt):
            doubts.append(said)
        else:
            violations.append(said)
    doubts += case.allowed.doubts
    doubts += _general(evidence, needed(claim.claim, one.kind, claim.meant))
    doubts += _about(evidence, key, one)
    if violations and (unknown := _nobody(claim, case, evidence, doubts)):
        doubts.append(unknown)
        return _made(evidence, audited, Result.INDETERMINATE, violations, doubts)
    if answer is not True:
        doubts.append(Doubt("unknown-object", f"Whether it is in scope is not known: {why}."))
        return _made(evidence, audited, Result.INDETERMINATE, violations, doubts)
    if violations:
        return _made(evidence, audited, Result.FAIL, violations, doubts)
    if doubts:
        return _made(evidence, audited, Result.INDETERMINATE, [], doubts)
    if claim.claim == "sealed-with" and not shared(case):
        return Finding(audited, Result.NOT_APPLICABLE)
    return Finding(audited, Result.PASS)


def _case(claim: Claim, evidence: Evidence, key: Key3, one: Known) -> tuple[Case, list[Doubt]]:
    rows = evidence.rows.get(key, ())
    ranges = evidence.ranges.get(key, [])
    breaking = _BY_ADDRESS.get(claim.claim, frozenset())
    by_address = [row for row in evidence.by_address if row.op in breaking] if breaking else ()
    reached, maybe = _reached(by_address, key, ranges)
    slots = evidence.slots
    backed = sorted(
        ((slots.since_ns(key, slot), slot.row) for slot in slots.of(key)), key=lambda one: one[0]
    )
    memslots = [row for _, row in backed if not row.failed and not row.unanswered]
    since = {row: since_ns for since_ns, row in backed}
    allowed = Allowed(claim.by, claim.children, rights(rows, memslots, since, claim.handover))
    reads = WAYS["read"].families.get(one.kind, ())
    seen = bool(reads) and all(evidence.plan.need(family, "read").holds for family in reads)
    case = Case(
        claim, one, rows, ranges, reached, memslots, _unseen(evidence.unseen, ranges, rows),
        allowed, evidence.baseline, evidence.bit_0x20, seen,
    )  # fmt: skip
    doubts = []
    if times := sum(row.times for row in maybe if not allowed(row)):
        doubts.append(Doubt("address", f"{times} accesses by address may have reached it: where in "
                            "which address space they were is not known."))  # fmt: skip
    if len({who(row) for row in rows if row.op == "create" and row.answer >= 0}) > 1:
        doubts.append(Doubt("identity", "It was created twice: one of them made something else."))
    return case, doubts


def _unseen(found: Sequence[Row], ranges: Sequence[Range], rows: Sequence[Row]) -> list[Row]:
    """Those that are about an address space in which the object was mapped at some time, or about
    a process that used it: who is traced stays so when it calls exec. A device is opened by who
    has the object there himself."""
    spaces = {one.mm for one in ranges} | {row.own_mm for row in rows}
    users = {(row.pid, row.start_ns) for row in rows if row.op not in NO_SHARE}
    return [
        row for row in found
        if (row.own_mm if row.op == "device" else row.mm) in spaces - {0}
        or (row.op == "trace" and (row.arg, row.offset) in users)
    ]  # fmt: skip


def _reached(
    by_address: Sequence[Row], key: Key3, ranges: Sequence[Range]
) -> tuple[list[Row], list[Row]]:
    """Accesses that name another file (or none) and lie where this one was mapped; and those that
    may do so."""
    reached, maybe = [], []
    for row in by_address if ranges else ():
        if row.key == key:
            continue
        then = (row.time_ns, row.until_ns)
        if row.checks and not row.length:  # where in that address space is not known
            near = (one for one in ranges if one.mm in (0, row.mm))
            if any(one.meets(one.start, one.end, *then) for one in near):
                maybe.append(row)
            continue
        end = row.size_after + row.length
        met = [one for one in ranges if one.meets(row.size_after, end, *then)]
        if any(one.mm and one.mm == row.mm and not one.blurred for one in met):
            reached.append(row)
        elif any(one.mm in (0, row.mm) for one in met):
            maybe.append(row)
    return reached, maybe


def _nobody(claim: Claim, case: Case, evidence: Evidence, doubts: Sequence[Doubt]) -> Doubt | None:
    """A word in ``by`` that stands for somebody who is not known: then others are not either."""
    incomplete = bool(doubts) or not case.one.born
    if claim.words & {"vmm", "given-by-vmm"} and not case.allowed.rights["vmm"] and incomplete:
        return Doubt("identity", "Who gave it to a virtual machine is not known, so that the "
                     "evidence may be about the VMM itself.")  # fmt: skip
    by_creator = claim.words & {"creator", "given-by-creator"}
    if by_creator and not case.allowed.rights["creator"]:
        return Doubt("identity", "Who created it is not known, so that the evidence may be about "
                     "its creator.")  # fmt: skip
    return None


def _about(evidence: Evidence, key: Key3, one: Known) -> Iterator[Doubt]:
    """What leaves every claim about this object open."""
    filters = evidence.manifest.filters
    if one.only_seal and not (filters and filters.unsealable):
        yield Doubt("filter", "It cannot be sealed, and what happens to such files was not "
                    "recorded: record with --unsealable.")  # fmt: skip
    if one.kind == "unknown":
        yield Doubt("unknown-object", "What kind of file it is is not known.")
    if odd := evidence.unknown_ops.get(key):
        yield Doubt("unknown-event", f"It has events that this version does not know "
                    f"({', '.join(map(printable, sorted(odd)))}).")  # fmt: skip


def _made(
    evidence: Evidence,
    one: AuditedObject,
    result: Result,
    violations: Sequence[Violation],
    doubts: Sequence[Doubt],
) -> Finding:
    bit5 = evidence.manifest.bit5
    seen: dict[tuple[str, int, int], Proof] = {}
    for violation in violations:
        found = proof(violation.row, violation.text, bit5)
        seen.setdefault((found.table, found.cpu, found.seq), found)
    listed = list(seen.values())
    return Finding(
        one, result, tuple(listed[:MOST_PROOFS]), max(0, len(listed) - MOST_PROOFS),
        tuple(_unique(doubts)),
    )  # fmt: skip


def _unique(doubts: Sequence[Doubt]) -> list[Doubt]:
    return list({doubt.text: doubt for doubt in doubts}.values())


def _coverage(evidence: Evidence, claims: Sequence[ClaimResult]) -> Iterator[Need]:
    """Every planned family, then those that are needed and were not even planned."""
    ways = {need.family: need.way for claim in claims for need in claim.needs}
    for family in [*evidence.plan.steps, *(one for one in ways if one not in evidence.plan.steps)]:
        yield evidence.plan.need(family, ways.get(family, ""))


def _blind_spots(recorded: Sequence[str], untried: Sequence[str]) -> tuple[str, ...]:
    found = [*(printable(one) for one in recorded if one), *blind_spots()]
    if untried:
        families = ", ".join(map(printable, untried))
        found.append(f"whether these hooks report: the self-test does not try them ({families})")
    return tuple(dict.fromkeys(found))
