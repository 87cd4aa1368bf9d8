"""Compares recordings with a policy, claim by claim and file by file.

A result is never better than the evidence: whatever may have hidden a violation is a doubt, and
with a doubt no claim passes.
"""

import os
import shlex
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import replace
from functools import cache, partial

import pandas as pd

from tracer.analysis import copies
from tracer.analysis.decisions import EVERYTHING
from tracer.analysis.decisions import Window as Part
from tracer.audit.claims import CHECKS, NO_SHARE, Case, Violation, executed, shared
from tracer.audit.evidence import Evidence, load
from tracer.audit.objects import FOREVER, MemoryFile, Row
from tracer.audit.policy import (
    ALWAYS_BLIND,
    BY_ADDRESS,
    CLAIMS,
    WAYS,
    Claim,
    Policy,
    narrowed,
    needed,
)
from tracer.audit.result import (
    WORST_FIRST,
    Audit,
    ClaimResult,
    Copies,
    Doubt,
    Finding,
    Proof,
    RecordingAudit,
    Result,
    worst,
)  # fmt: skip
from tracer.audit.scope import OUT, Allowed, Answer, check_where, hidden, member, rights, who
from tracer.cgroups import label
from tracer.escape import printable
from tracer.filter.mask import with_claim
from tracer.filter.query import Query
from tracer.labels import describe
from tracer.recording.reader import Recording
from tracer.recording.several import Unread
from tracer.recording.tasks import Actor
from tracer.walltime import ALWAYS, Period, iso
from tracer.words import Bit5, ops

SEALABLE = ("memfd", "hugetlb", "tmpfs", "unknown")
"""tmpfs files carry F_SEAL_SEAL from birth: they can have no other seal."""
EVERY_FILE = Query()
_KNOWN_OPS = ops()
MOST_PROOFS = 100
"""Violations that a finding lists; the others are counted."""


def audit(
    policy: Policy,
    recordings: Sequence[Recording],
    tool: str,
    *,
    period: Period = ALWAYS,
    query: Query = EVERY_FILE,
    executor: Executor | None = None,
    unread: tuple[Unread, ...] = (),
) -> Audit:
    """Compares each recording with the policy.

    :param recordings: open ones, of any hosts and boots; one that is still being written never
        passes.
    :param tool: name and version of the program that audits; the result repeats it.
    :param period: in which violations are looked for. What was broken before leaves a claim open:
        what was taken then may still be held. So does a time that a recording does not cover.
    :param query: only files that it matches are looked at, beside what the policy says.
    :param executor: who compares, a recording at a time; it must see the same paths. None: this
        process.
    :param unread: recordings that are to be in it and could not be opened.
    :return: a result for each recording, in their order.
    :raises UserError: a scope's ``where`` needs what objects do not have; the period cannot be
        found in a recording.
    :raises StoreError: a recording cannot be read. What is damaged in one that can is a doubt.
    """
    policy = narrowed(policy, query)
    for claim in policy.claims:
        check_where(claim.scope)
    if executor is None:
        found = tuple(one_recording(policy, recording, period) for recording in recordings)
    else:
        paths = [recording.path for recording in recordings]
        found = tuple(executor.map(partial(_at_path, policy, period), paths))
    return Audit(
        printable(policy.name), printable(policy.text), policy.sha256, tool, found, str(query),
        unread,
    )  # fmt: skip


def _at_path(policy: Policy, period: Period, path: str) -> RecordingAudit:
    with Recording.open(path) as recording:
        return one_recording(policy, recording, period)


def one_recording(policy: Policy, recording: Recording, period: Period = ALWAYS) -> RecordingAudit:
    """Compares one recording with all claims of the policy, as :func:`audit` does.

    :raises StoreError: it cannot be read.
    :raises UserError: the period cannot be found in it.
    """
    evidence = load(recording, policy.claims, period)
    claims = tuple(evaluate(claim, evidence) for claim in policy.claims)
    manifest, plan = evidence.manifest, evidence.plan
    ways = {need.family: need.way for claim in claims for need in claim.needs}
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
        command=shlex.join(map(printable, manifest.command)),
        window=evidence.window,
        claims=claims,
        # Every planned family, then those that are needed and were not even planned.
        coverage=tuple(plan.need(one, ways.get(one, "")) for one in {**plan.steps, **ways}),
        losses=dict(lost.most_common()),
        doubts=tuple(evidence.doubts),
        blind_spots=_blind_spots(manifest.blind_spots, plan.untried()),
        copies=tuple(_copies(recording, evidence)),
    )


def _copies(recording: Recording, evidence: Evidence) -> Iterator[Copies]:
    """What is left in shared memory of what is private, machine by machine."""
    if evidence.privacy is None:
        return
    found = evidence.privacy.machines()[["vm", "pid", "comm"]]
    found = found.merge(copies.of(recording, evidence.privacy), on="vm")
    for vm, pid, comm, both, most in found.astype(object).itertuples(index=False, name=None):
        known = None if pd.isna(most) else int(most)
        if both or known != 0:
            yield Copies(int(vm), int(pid), printable(comm), int(both), known)


def evaluate(claim: Claim, evidence: Evidence) -> ClaimResult:
    """One claim: every object that is in its scope, or may be."""
    findings, kinds = [], set(claim.scope.kind)

    @cache
    def of_kind(kind: str) -> Sequence[Doubt]:
        return tuple(_general(evidence, needed(claim.claim, kind, claim.meant)))

    for file in evidence.known.values():
        answer, why = member(claim.scope, file, evidence)
        if answer is OUT:
            continue
        kinds.add(file.kind)
        doubts = [*of_kind(file.kind), *_about(claim, evidence, file)]
        findings.append(_finding(claim, evidence, file, answer, why, doubts))
    needs = {family: way for kind in sorted(kinds) or ["unknown"]
             for family, way in needed(claim.claim, kind, claim.meant).items()}  # fmt: skip
    # What was lost or not seen may have been about an object that is not here at all.
    general = _unique(
        [*hidden(claim.scope, evidence, _all_told(claim, evidence)), *_general(evidence, needs)]
    )
    if evidence.baseline:
        general.append(Doubt("past", f"Objects older than the trace may be missing: "
                             f"{evidence.baseline}"))  # fmt: skip
    result = worst(finding.result for finding in findings)
    if general and result != Result.FAIL:
        result = Result.INDETERMINATE
    texts = {doubt.text for doubt in general}
    findings = [
        replace(one, doubts=tuple(doubt for doubt in one.doubts if doubt.text not in texts))
        for one in findings
    ]
    findings.sort(key=lambda one: (WORST_FIRST.index(one.result), one.object.ino))
    return ClaimResult(
        printable(claim.id), claim.claim, printable(claim.text), result, tuple(findings),
        tuple(general),
        tuple(evidence.plan.need(family, way) for family, way in needs.items()),
    )  # fmt: skip


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
    claim: Claim,
    evidence: Evidence,
    file: MemoryFile,
    answer: Answer,
    why: str,
    general: Sequence[Doubt],
) -> Finding:
    """One claim about one file.

    ``answer``: whether it is in scope; ``why``: why that is not known. ``general``: doubts that do
    not come of its own rows.
    """
    audited = file.audited()
    if CLAIMS[claim.claim].sealable_only and file.kind not in SEALABLE:
        return Finding(audited, Result.NOT_APPLICABLE if answer else Result.INDETERMINATE)
    if CLAIMS[claim.claim].guest_only and file.kind not in ("guest_memfd", "unknown"):
        return Finding(audited, Result.NOT_APPLICABLE if answer else Result.INDETERMINATE)
    case, doubts = _case(claim, evidence, file)
    violations: list[Violation] = []
    for objection in CHECKS[claim.claim](case):
        if isinstance(objection, Doubt):
            doubts.append(objection)
        else:
            violations.append(objection)
    violations, open_ = _of_part(violations, evidence.part, file)
    doubts += open_
    doubts += case.allowed.doubts
    doubts += general
    result = Result.FAIL
    if violations and (unknown := _nobody(claim, case, doubts)):
        doubts.append(unknown)
        result = Result.INDETERMINATE
    elif answer is not True:
        doubts.append(Doubt("unknown-object", f"Whether it is in scope is not known: {why}."))
        result = Result.INDETERMINATE
    elif not violations:
        result = Result.INDETERMINATE if doubts else Result.PASS
        silent = {"sealed-with": shared, "executed-with": executed}.get(claim.claim)
        if result == Result.PASS and silent and not silent(case):
            result = Result.NOT_APPLICABLE
    proofs: dict[tuple[str, int, int], Proof] = {}
    for violation in violations:
        proof = _proof(violation.row, violation.text, evidence)
        proofs.setdefault((proof.table, proof.cpu, proof.seq), proof)
    listed = list(proofs.values())
    more = max(0, len(listed) - MOST_PROOFS)
    return Finding(audited, result, tuple(listed[:MOST_PROOFS]), more, tuple(_unique(doubts)))


def _of_part(
    found: Sequence[Violation], part: Part, file: MemoryFile
) -> tuple[list[Violation], list[Doubt]]:
    """The violations of a time, and a doubt where others may touch it.

    One that began later does not. An earlier one may: a mapping, a pin or a descriptor stays. Nor
    is it known when what the looks at the start and the end saw, or a mapping of which the end
    alone was seen, began; and of equal ones only the first and the last time are.

    :param file: what they are about.
    """
    if part == EVERYTHING:
        return [*found], []
    since_ns, until_ns = (
        -FOREVER if part.since_ns is None else part.since_ns,
        FOREVER if part.until_ns is None else part.until_ns,
    )
    begun = {(one.start, one.until_ns) for one in file.ranges if one.begun and not one.blurred}
    inside, doubts = [], []
    for one in found:
        row = one.row
        seen_to_begin = row.op != "unmap" or (row.address, row.time_ns) in begun
        times = row.time_ns, max(row.time_ns, row.last_ns)
        if any(since_ns <= time_ns < until_ns for time_ns in times):
            inside.append(one)
        elif row.time_ns < until_ns or row.table != "events" or not seen_to_begin:
            doubts.append(Doubt("period", "It was broken before the time that was asked about, "
                                "or when is not known: what was taken may have been held "
                                "then."))  # fmt: skip
    return inside, doubts


def _case(claim: Claim, evidence: Evidence, file: MemoryFile) -> tuple[Case, list[Doubt]]:
    doubts = []
    backed = sorted(((slot.since_ns(file), slot.row) for slot in evidence.slots.of(file)),
                    key=lambda pair: pair[0])  # fmt: skip
    memslots = [row for _, row in backed if not row.failed and not row.unanswered]
    since = {row: since_ns for since_ns, row in backed}
    allowed = Allowed(
        claim.by,
        claim.children,
        rights(file.rows, memslots, since, claim.handover),
        evidence.places,
        evidence.tasks,
    )
    breaking = CLAIMS[claim.claim].by_address
    by_address = [row for row in evidence.by_address if row.op in breaking] if breaking else ()
    reached, maybe = _reached(by_address, file)
    if times := sum(row.times for row in maybe if not allowed(row)):
        doubts.append(Doubt("address", f"{times} accesses by address may have reached it: where in "
                            "which address space they were is not known."))  # fmt: skip
    if len({who(row) for row in file.rows if row.created}) > 1:
        doubts.append(Doubt("identity", "It was created twice: one of them made something else."))
    unseen = _unseen(evidence.unseen, file)
    return Case(claim, file, evidence, reached, memslots, unseen, allowed), doubts


def _unseen(found: Sequence[Row], file: MemoryFile) -> list[Row]:
    """Those that are about an address space in which the object was mapped at some time, or about
    a process that used it: who is traced stays so when it calls exec. A device is opened by who
    has the object there himself."""
    spaces = {mapped.mm for mapped in file.ranges} | {row.own_mm for row in file.rows}
    users = {(row.pid, row.start_ns) for row in file.rows if row.op not in NO_SHARE}
    return [
        row for row in found
        if (row.own_mm if row.op == "device" else row.mm) in spaces - {0}
        or (row.op == "trace" and (row.arg, row.offset) in users)
    ]  # fmt: skip


def _reached(by_address: Sequence[Row], file: MemoryFile) -> tuple[list[Row], list[Row]]:
    """Accesses that name another file (or none) and lie where this one was mapped; and those that
    may do so."""
    reached: list[Row] = []
    maybe: list[Row] = []
    for row in by_address if file.ranges else ():
        if row.key == file.key:
            continue
        then = (row.time_ns, row.until_ns)
        near = [one for one in file.ranges if one.mm in (0, row.mm)]
        if row.checks and not row.length:  # where in that address space is not known
            met = [one for one in near if one.meets(one.start, one.end, *then)]
            sure = False
        else:
            end = row.size_after + row.length
            met = [one for one in near if one.meets(row.size_after, end, *then)]
            sure = any(one.mm and not one.blurred for one in met)
        if met:
            (reached if sure else maybe).append(row)
    return reached, maybe


def _nobody(claim: Claim, case: Case, doubts: Sequence[Doubt]) -> Doubt | None:
    """A word in ``by`` that stands for somebody who is not known: then others are not either."""
    incomplete = bool(doubts) or not case.file.born
    if claim.words & {"vmm", "given-by-vmm"} and not case.allowed.rights["vmm"] and incomplete:
        return Doubt("identity", "Who gave it to a virtual machine is not known, so that the "
                     "evidence may be about the VMM itself.")  # fmt: skip
    by_creator = claim.words & {"creator", "given-by-creator"}
    if by_creator and not case.allowed.rights["creator"]:
        return Doubt("identity", "Who created it is not known, so that the evidence may be about "
                     "its creator.")  # fmt: skip
    return None


def _all_told(claim: Claim, evidence: Evidence) -> bool:
    """Whether what breaks the claim was recorded of files that can never be sealed as well."""
    return evidence.filters.unsealable or CLAIMS[claim.claim].without_option


def _about(claim: Claim, evidence: Evidence, file: MemoryFile) -> Iterator[Doubt]:
    """What leaves every claim about this object open."""
    if file.only_seal and not _all_told(claim, evidence):
        yield Doubt("filter", "It cannot be sealed, and what happens to such files was not "
                    "recorded: record with --unsealable.")  # fmt: skip
    if file.kind == "unknown":
        yield Doubt("unknown-object", "What kind of file it is is not known.")
    if odd := {row.op for row in file.rows} - _KNOWN_OPS:
        yield Doubt("unknown-event", f"It has events that this version does not know "
                    f"({', '.join(map(printable, sorted(odd)))}).")  # fmt: skip


def _proof(row: Row, text: str, evidence: Evidence) -> Proof:
    """``row`` as evidence for ``text``, which says what its process does."""
    comm, where = printable(row.comm), evidence.places.of(row.cgroup)
    task = evidence.tasks.of(Actor(row.pid, row.start_ns, row.exec_id))
    place = with_claim(label(where.place), "" if where.place.vm else task.vm)
    # The recorder itself reads what an inode says of its mappings.
    if row.op != "mapped":
        told = f"{place}, uid {row.uid}" if place else f"uid {row.uid}"
        text = f"{comm or '?'}/{row.pid} ({told}) {text}"
    if row.table != "events":
        text += ", as it was at the end" if row.final else ", as it was when the trace began"
    copied = ("table", "cpu", "seq", "time_ns", "pid", "start_ns", "exec_id", "tid", "uid",
              "cgroup", "answer", "flags", "last_ns")  # fmt: skip
    return Proof(
        text=text,
        comm=comm,
        place=place,
        cgroup_path=where.path,
        exe=task.exe,
        op=printable(row.op),
        time=iso(evidence.clock.at(row.time_ns)),
        asked=_request(row, evidence.manifest.bit5),
        count=row.times,
        **{name: getattr(row, name) for name in copied},
    )


def _request(row: Row, bit5: Bit5) -> str:
    """What the call asked for."""
    if row.op in BY_ADDRESS:
        return f"{row.size_after:#x}+{row.length}"
    if row.op == "memslot":
        return f"guest {row.arg:#x}+{row.length} at {row.size_after:#x}"
    text = describe(row.op, row.kind, row.arg, row.offset, row.length, row.size, bit5)
    if row.op in ("map", "unmap"):
        return f"{text} at {row.address:#x}"
    return f"{text} fd{row.fd}".strip() if row.fd >= 0 else text


def _unique(doubts: Sequence[Doubt]) -> list[Doubt]:
    return list({doubt.text: doubt for doubt in doubts}.values())


def _blind_spots(recorded: Sequence[str], untried: Sequence[str]) -> tuple[str, ...]:
    found = [*(printable(one) for one in recorded if one), *ALWAYS_BLIND]
    if untried:
        families = ", ".join(map(printable, untried))
        found.append(f"whether these hooks report: the self-test does not try them ({families})")
    return tuple(dict.fromkeys(found))
