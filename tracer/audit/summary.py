"""What an audit comes to: its first line, what to do about it, and its doubts, each told once.

The text form, the page and the JSON form share these sentences. What was found stands in
`tracer.audit.result`; here nothing is judged.
"""

import shlex
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache

from tracer.audit.doubts import not_hooked
from tracer.audit.policy import CLAIMS, WAYS
from tracer.audit.result import (
    DOUBTS,
    WORST_FIRST,
    Audit,
    ClaimResult,
    Doubt,
    Finding,
    Need,
    RecordingAudit,
    Result,
    limits,
)
from tracer.escape import cells, clip, printable
from tracer.labels import counted
from tracer.output.names import braces

_MOST_NAMED = 3  # claims that the first line names
_COMMAND = 60  # cells of a command that is told again as it was
_NAME = 40  # cells of a claim's name there, which a policy of somebody else may choose


# ---- the result ---------------------------------------------------------------------------------


def text(audit: Audit) -> str:
    """The first line."""
    parts = []
    if audit.filter:
        parts.append(f"files that match {clip(printable(audit.filter), _COMMAND)}")
    if any(map(limits, audit.recordings)):
        parts.append("violations of the time that was asked about")
    only = f" ({' and '.join(parts)} alone)" if parts else ""
    return f"{_text(audit)}{only}"


def _text(audit: Audit) -> str:
    claims = [claim for one in audit.recordings for claim in one.claims]
    files = {
        (one.boot_id, finding.object.dev, finding.object.ino, finding.object.gen)
        for one in audit.recordings
        for claim in one.claims
        for finding in claim.findings
        if finding.result is Result.PASS
    }
    word = audit.result.value.upper().replace("-", " ")
    if audit.result is Result.FAIL:
        missing = f"; {counted(len(audit.unread), 'recording')} could not be read"
        return f"{word}: {_broken(claims)}{missing if audit.unread else ''}"
    if audit.result is Result.PASS:
        held = sum(claim.result is Result.PASS for claim in claims)
        what = "the claim holds" if held == 1 else f"all {held:,} claims hold"
        if held < len(claims):
            what = f"{held:,} of {len(claims):,} claims hold, the others are about nothing here,"
        unseen = "nothing that could break it was unseen"
        return f"{word}: {what} for {counted(len(files), 'file')}, and {unseen}"
    if audit.result is Result.INDETERMINATE:
        return f"{word}: no violation was found, but one could have been missed: {_why(audit)}"
    return f"{word}: no file here is one that the policy is about"


def _broken(claims: Sequence[ClaimResult]) -> str:
    failed = [claim for claim in claims if claim.result is Result.FAIL]
    named = []
    for claim in failed[:_MOST_NAMED]:
        count = sum(finding.result is Result.FAIL for finding in claim.findings)
        named.append(f"{clip(claim.id, _NAME)} on {counted(count, 'file')}")
    if len(failed) > _MOST_NAMED:
        named.append(f"{len(failed) - _MOST_NAMED} more")
    are = "claim is" if len(claims) == 1 else "claims are" if len(failed) > 1 else "claims is"
    said = f"{len(failed):,} of {len(claims):,} {are} broken: {', '.join(named)}"
    unsure = sum(claim.result is Result.INDETERMINATE for claim in claims)
    return f"{said}; {unsure:,} not certain" if unsure else said


def _why(audit: Audit) -> str:
    """What could not be read, and the reasons that most claims have in common."""
    found = _reasons(audit)
    if not audit.unread:
        return found or "see below"
    count = len(audit.recordings) + len(audit.unread)
    missing = f"{len(audit.unread):,} of {count:,} recordings could not be read"
    return f"{missing}; {found}" if found else missing


def _reasons(audit: Audit) -> str:
    if any(map(without_audit, audit.recordings)):
        return "it was recorded without --audit"
    codes: Counter[str] = Counter()
    for one in audit.recordings:
        for claim in one.claims:
            if claim.result is Result.INDETERMINATE:
                doubts = [*claim.doubts, *(d for f in claim.findings for d in f.doubts)]
                codes.update({doubt.code for doubt in doubts})
    order = list(DOUBTS)
    found = sorted(codes, key=lambda code: (-codes[code], order.index(code)))
    told = [DOUBTS[code] for code in found[:2]]
    if len(found) > 2:
        told.append(f"{counted(len(found) - 2, 'more reason')} below")
    return "; ".join(told)


def matrix(audit: Audit) -> list[tuple[str, list[Result]]]:
    """Each recording's host, and the result of each claim, the worst recordings first.

    Where a host has several, or none is named, the path stands with it.
    """
    hosts = Counter(one.host for one in audit.recordings)
    found = []
    for one in audit.recordings:
        plain = one.host and hosts[one.host] == 1
        name = one.host if plain else f"{one.host} {one.path}".strip()
        found.append((one, name, [claim.result for claim in one.claims]))
    found.sort(key=lambda row: WORST_FIRST.index(row[0].result))
    return [(name, results) for _, name, results in found]


# ---- what to do ---------------------------------------------------------------------------------


@cache
def _audit_families() -> frozenset[str]:
    from tracer.kernel.audit_families import AUDIT_FAMILIES

    return frozenset(family.name for family in AUDIT_FAMILIES)


def without_audit(one: RecordingAudit) -> bool:
    """Whether it was recorded without ``--audit``, and a claim needs what that would have seen."""
    planned = {need.family for need in one.coverage if need.state != "not hooked"}
    needed = {need.family for claim in one.claims for need in claim.needs}
    return bool((needed - planned) & _audit_families()) and not planned & _audit_families()


def todo(audit: Audit, policy: str = "POLICY") -> Iterator[str]:
    """What to do about the result, one sentence each.

    :param policy: where the policy lies, for commands that can be typed.
    """
    path = shlex.quote(printable(policy))
    said = dict.fromkeys(one for rec in audit.recordings for one in _todo(rec, path))
    yield from said


def _todo(one: RecordingAudit, policy: str) -> Iterator[str]:
    if one.result is Result.NOT_APPLICABLE:
        yield "see which files there are: sealsnoop report; then mend the policy's scopes"
        return
    if one.result is Result.FAIL:
        failed = {claim.claim for claim in one.claims if claim.result is Result.FAIL}
        if any("by" in CLAIMS[claim].keys for claim in failed):
            yield "who may do that must be named in the policy (by = …)"
        if "executed-with" in failed:
            yield "seal what is run before it is run (F_ADD_SEALS), as runc does with its copy"
        yield f"to look closer: sealsnoop live {shlex.quote(one.path)} --audit {policy}"
    if one.result is not Result.INDETERMINATE:
        return
    command = " --live"
    if one.command:
        typed = "\\" not in one.command and cells(one.command) <= _COMMAND
        command = f" -- {one.command if typed else 'CMD'}"
    if without_audit(one):
        yield f"record again, with all that audits need: sudo sealsnoop audit {policy}{command}"
        return
    codes = {doubt.code for doubt in one.doubts}
    codes |= {doubt.code for claim in one.claims for doubt in claim.doubts}
    if codes & {"loss", "hole"}:
        yield "record again with a larger ring: sealsnoop record --audit --unsealable --ring 128"
    if "filter" in codes:
        yield f"record the whole host: sudo sealsnoop audit {policy}{command}"
    if "cut-off" in codes:
        yield "let the recorder end by itself (Ctrl-C, --duration)"
    if "past" in codes:
        yield "start the recorder before the programs that are audited"


# ---- doubts, each once --------------------------------------------------------------------------


def common(one: RecordingAudit) -> list[str]:
    """What touches every claim that is not certain, and what nothing looked at for want of --audit.

    Doubts about the recording as a whole stand there already and are not told again.
    """
    unsure = [claim for claim in one.claims if claim.result is not Result.PASS]
    if len(unsure) < 2:
        return []
    every = set.intersection(*({doubt.text for doubt in claim.doubts} for claim in unsure))
    told = {doubt.text for doubt in one.doubts}
    return [
        doubt.text
        for doubt in unsure[0].doubts
        if doubt.text in every - told and not _of_no_audit(doubt, one)
    ]


def _of_no_audit(doubt: Doubt, one: RecordingAudit) -> bool:
    return doubt.code == "not-hooked" and " not hooked" in doubt.text and without_audit(one)


def doubts(claim: ClaimResult, one: RecordingAudit) -> list[str]:
    """What touches this claim and not all of them; hooks of one way as one sentence."""
    told = {*common(one), *(doubt.text for doubt in one.doubts)}
    texts = {doubt.text for doubt in claim.doubts}
    unhooked: dict[tuple[str, str, str], list[Need]] = {}
    for need in claim.needs:
        if not need.holds and not_hooked(WAYS[need.way].text, [need]) in texts - told:
            unhooked.setdefault((need.way, need.state, need.reason), []).append(need)
    alone = {
        not_hooked(WAYS[way].text, [n]) for (way, *_), needs in unhooked.items() for n in needs
    }
    groups = [
        Doubt("not-hooked", not_hooked(WAYS[way].text, needs))
        for (way, *_), needs in unhooked.items()
    ]
    found = [doubt for doubt in claim.doubts if doubt.text not in alone | told] + groups
    return [doubt.text for doubt in found if not _of_no_audit(doubt, one)]


@dataclass(frozen=True)
class Group:
    """Files of which a claim says the same: of one with evidence, it alone."""

    result: Result
    findings: tuple[Finding, ...]
    doubts: tuple[str, ...]

    def named(self, most: int) -> str:
        """``14 objects: memfd:guest-{good,write,read,+11}``.

        :param most: cells of the names.
        """
        kinds: dict[str, dict[str, None]] = {}
        for one in self.findings:
            kinds.setdefault(one.object.kind, {})[_short(one)] = None
        room = max(20, most // len(kinds))
        names = ", ".join(braces(list(texts), room) for texts in kinds.values())
        return f"{counted(len(self.findings), 'object')}: {names}"


def _short(finding: Finding) -> str:
    """Kind and name of its file; device and inode where it has no name."""
    of = finding.object
    if of.name is None:
        return f"{of.kind}:{of.dev >> 20}:{of.dev & 0xFFFFF}/{of.ino}"
    return f"{of.kind}:{printable(of.name).removeprefix('memfd:')}"


def groups(claim: ClaimResult, one: RecordingAudit) -> list[Group]:
    """The findings, worst first; those without evidence and with the same doubts together."""
    found: dict[object, list[Finding]] = {}
    for place, finding in enumerate(claim.findings):
        texts = tuple(doubt.text for doubt in finding.doubts if not _of_no_audit(doubt, one))
        key = place if finding.violations else (finding.result, texts)
        found.setdefault(key, []).append(finding)
    return [
        Group(
            several[0].result,
            tuple(several),
            tuple(d.text for d in several[0].doubts if not _of_no_audit(d, one)),
        )
        for several in found.values()
    ]


def by_result(claims: Sequence[ClaimResult]) -> list[ClaimResult]:
    """The worst first, else as the policy has them."""
    return sorted(claims, key=lambda claim: WORST_FIRST.index(claim.result))
