"""Results of audits: claims, findings, evidence and doubts, and the sentences that tell of them.

The JSON form has the fields of the dataclasses here; text, HTML and SARIF share the sentences.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum

from tracer.errors import Exit
from tracer.labels import seals_text, twice
from tracer.record import USER_CPU
from tracer.recording.several import Unread
from tracer.walltime import date_and_zone, on_day_of


class Result(Enum):
    """The values are the words users see."""

    PASS = "pass"
    FAIL = "fail"
    INDETERMINATE = "indeterminate"
    NOT_APPLICABLE = "not-applicable"

    @property
    def exit_code(self) -> int:
        """What ``sealsnoop audit`` ends with."""
        return _CODES[self]


_CODES = {
    Result.PASS: Exit.FINE,
    Result.FAIL: Exit.FINDING,
    Result.INDETERMINATE: Exit.UNCERTAIN,
    Result.NOT_APPLICABLE: Exit.NOTHING,
}
WORST_FIRST = (Result.FAIL, Result.INDETERMINATE, Result.PASS, Result.NOT_APPLICABLE)


def worst(results: Iterable[Result]) -> Result:
    """``fail`` over ``indeterminate`` over ``pass``; ``not-applicable`` only if nothing else is.

    Nothing at all is not-applicable as well: an empty scope never passes.
    """
    found = set(results)
    return next((one for one in WORST_FIRST if one in found), Result.NOT_APPLICABLE)


@dataclass(frozen=True, slots=True)
class Doubt:
    """Why a claim cannot pass although no violation was found."""

    code: str
    """One of :data:`DOUBTS`."""
    text: str
    hooks: frozenset[str] | None = None
    """Only claims that need one of these hooks are touched by it; None: all are."""


DOUBTS: Mapping[str, str] = {
    "damage": "the recording was changed, or parts of it are missing",
    "cut-off": "the recorder was killed, is still writing, or could not store everything",
    "hole": "records are missing: sequence numbers that are nowhere",
    "loss": "the recorder counted events that it lost",
    "filter": "the recorder was told to leave something out",
    "not-hooked": "no hook looked at something that could break the claim",
    "self-test": "the self-test did not confirm that hooks report",
    "past": "something may have been so before the trace began",
    "raced": "something changed while the kernel decided",
    "incomplete": "an event without its entry or its return",
    "unknown-object": "whether an object is in scope is not known",
    "unknown-event": "events of a kind that this version does not know",
    "assumed": "who it was is taken from something that any process can have as well",
    "reach": "somebody could reach it in a way that is not seen",
    "identity": "who it was cannot be told for certain",
    "address": "an access by address that may have reached the object",
    "in-flight": "calls had not returned when the recording ended",
    "sweep": "the last look at who maps the object and the events do not agree",
    "not-seen": "what happens through a mapping is not seen",
    "unjudged": "decisions that could not be judged",
    "time": "not all of the time that was asked about is in the recording, or its clock was set",
    "period": "it was broken before the time that was asked about, or when is not known",
}


@dataclass(frozen=True, slots=True)
class Proof:
    """One row of evidence: who did what and when, and where it stands in the recording."""

    text: str
    """What it shows, one sentence."""
    table: str
    """``events`` or ``mappings`` (the baseline)."""
    cpu: int
    seq: int
    time_ns: int
    """Boot clock."""
    time: str | None
    """Wall clock, ISO 8601 UTC; None: not known."""
    pid: int
    start_ns: int
    """When that process started, boot clock; with ``exec_id``, its programs, it is nobody else."""
    exec_id: int
    tid: int
    uid: int
    cgroup: int
    comm: str
    op: str
    answer: int
    flags: int
    asked: str = ""
    place: str = ""
    """Its unit, container or virtual machine; empty: it has none, or that is not known. What its
    command line alone says of a machine stands behind ``claims``, and proves nothing."""
    cgroup_path: str = ""
    """Of its cgroup; begins with ``?`` where not all of it is known."""
    exe: str = ""
    """Path of its executable, likewise; a label, and no proof of who it is."""
    count: int = 1
    """So many equal ones; this is the first."""
    last_ns: int = 0


@dataclass(frozen=True, slots=True)
class AuditedObject:
    """A memory file as a finding names it."""

    dev: int
    ino: int
    gen: int
    kind: str
    name: str | None
    """Escaped (tracer.escape); None: not known."""
    seals: int | None
    size: int | None
    born: bool
    """Its creation is in the recording."""


@dataclass(frozen=True, slots=True)
class Finding:
    """A claim about one object."""

    object: AuditedObject
    result: Result
    violations: tuple[Proof, ...] = ()
    more: int = 0
    """Violations beyond those that are listed."""
    doubts: tuple[Doubt, ...] = ()
    """About this object alone; those of the claim count for it too."""


@dataclass(frozen=True, slots=True)
class ClaimResult:
    """A claim about everything in its scope, in one recording."""

    id: str
    claim: str
    text: str
    result: Result
    findings: tuple[Finding, ...]
    """Worst first."""
    doubts: tuple[Doubt, ...]
    """What touches the claim as a whole: its scope may be larger than what was seen."""
    needs: tuple["Need", ...] = ()


@dataclass(frozen=True, slots=True)
class Need:
    """A hook family that a claim needs, and whether it was there."""

    family: str
    way: str
    state: str
    """``live``, ``waiting`` (its module never came), ``absent`` (this kernel has nothing there),
    ``not live`` or ``not hooked``."""
    symbol: str
    method: str
    tested: str
    """By the self-test: ``12 of 12``, ``not tried``."""
    reason: str

    @property
    def holds(self) -> bool:
        """Whether nothing can have happened there unseen."""
        return self.state in ("live", "waiting", "absent")


@dataclass(frozen=True, slots=True)
class Window:
    """From when to when the recording saw: boot clock, ns; wall clock, ISO 8601 UTC."""

    start_ns: int | None
    end_ns: int | None
    start: str | None
    end: str | None
    wall_jump_s: float
    since: str | None = None
    until: str | None = None
    """Violations were looked for from ``since`` on and before ``until`` alone; None: no limit. ISO
    8601 UTC, or ns after boot where the wall clock is not known."""


@dataclass(frozen=True, slots=True)
class Copies:
    """A virtual machine whose private memory is in its VMM's shared file, too: a waste, no breach.

    `tracer.analysis.copies` says what is known of it.
    """

    vm: int
    pid: int
    """Of who was seen with it first."""
    comm: str
    both: int
    """Bytes that are there twice for certain."""
    both_at_most: int | None
    """Bytes that were not given back since they became private; None: where the memory that is
    shared lies is not known."""


@dataclass(frozen=True)
class RecordingAudit:
    """All claims of a policy against one recording."""

    path: str
    host: str
    boot_id: str
    kernel: str
    command: str
    window: Window
    claims: tuple[ClaimResult, ...]
    coverage: tuple[Need, ...]
    """Every hook family that the recording planned or a claim needs."""
    losses: Mapping[str, int]
    doubts: tuple[Doubt, ...]
    """About the recording as a whole."""
    blind_spots: tuple[str, ...]
    copies: tuple[Copies, ...] = ()
    """What is left of shared guest memory behind what is private; looked for where a claim asks
    what was private. No claim fails for it."""

    @property
    def result(self) -> Result:
        return worst(one.result for one in self.claims)


@dataclass(frozen=True)
class Audit:
    """A policy against one or more recordings."""

    policy: str
    policy_text: str
    policy_sha256: str
    tool: str
    recordings: tuple[RecordingAudit, ...]
    filter: str = ""
    """Only files that this matches were looked at, too (``audit --filter``)."""
    unread: tuple[Unread, ...] = ()
    """Recordings that were named and could not be read: with one, nothing passes as a whole."""

    @property
    def result(self) -> Result:
        found = worst(one.result for one in self.recordings)
        return worst([found, Result.INDETERMINATE]) if self.unread else found


def window(one: RecordingAudit) -> Iterator[str]:
    """From when to when, in both clocks."""
    seen = one.window
    if seen.start_ns is None or seen.end_ns is None:
        yield "window: not known"
        return
    boot = f"{seen.start_ns} to {seen.end_ns} ns after boot {one.boot_id or '?'}"
    seconds = (seen.end_ns - seen.start_ns) / 1e9
    yield f"window: {seen.start or '?'} to {seen.end or '?'}, {seconds:.3f} s; {boot}"
    if seen.wall_jump_s > 1:
        yield (
            f"the wall clock was set by {seen.wall_jump_s:.0f} s meanwhile; the boot clock holds"
        )


def limits(one: RecordingAudit) -> str:
    """``only violations from 03:00:00.000 on were looked for``, local time; empty: all were."""
    since, until = (_local(limit, one) for limit in (one.window.since, one.window.until))
    since, until = since and f"from {since} on", until and f"before {until}"
    found = " and ".join(filter(None, (since, until)))
    return f"only violations {found} were looked for" if found else ""


def _local(limit: str | None, one: RecordingAudit) -> str:
    known = limit is not None and limit.endswith("Z")
    return on_day_of(limit, one.window.start)[:-3] if limit and known else limit or ""


def when(one: RecordingAudit) -> str:
    """``a.seal: 2026-11-30 04:43:14 CET, 37.8 s, h1, kernel 7.3.4``; local time."""
    seen = one.window
    parts = [date_and_zone(seen.start) if seen.start else "start unknown"]
    if seen.start_ns is not None and seen.end_ns is not None:
        parts.append(f"{(seen.end_ns - seen.start_ns) / 1e9:.1f} s")
    return f"{one.path}: {', '.join([*parts, host(one)]).removesuffix(', ')}"


def host(one: RecordingAudit) -> str:
    """``h1, kernel 7.3.4``."""
    return ", ".join(part for part in (one.host, one.kernel and f"kernel {one.kernel}") if part)


def losses(one: RecordingAudit) -> str:
    """What the recorder counted as lost."""
    counts = ", ".join(f"{count:,} {cause}" for cause, count in one.losses.items())
    return f"LOST {counts}" if counts else "nothing lost"


def left(one: RecordingAudit) -> Iterator[str]:
    """A line for each machine whose private memory is, or may be, in both copies."""
    for machine in one.copies:
        if machine.both_at_most == 0 or (machine.both_at_most is None and not machine.both):
            continue
        whose = f"of vm {machine.vm} ({machine.comm}/{machine.pid})"
        much = f"{whose} {twice(machine.both, machine.both_at_most)} of memory that is private now"
        there = "still be in the VMM's shared memory as well, until it punches a hole there"
        if machine.both:
            yield f"finding, no failure: {much} must {there}"
        else:
            yield (
                f"no failure, and not certain: {much} may {there}; whether it was ever touched is "
                "not seen"
            )


def _needed(one: RecordingAudit) -> list[Need]:
    """Each hook family that some claim needs, once."""
    return list({need.family: need for claim in one.claims for need in claim.needs}.values())


def coverage(one: RecordingAudit) -> str:
    """``17 of 19 hooks that the claims need are live``."""
    states = [need.state for need in _needed(one)]
    absent = states.count("absent")
    more = f", {absent} have nothing to see on this kernel" if absent else ""
    return f"{states.count('live')} of {len(states)} hooks that the claims need are live{more}"


def gaps(one: RecordingAudit) -> Iterator[str]:
    """Needed hooks that saw nothing."""
    for need in _needed(one):
        if not need.holds:
            reason = f": {need.reason}" if need.reason else ""
            yield f"UNSEEN: {need.family} is {need.state}{reason}"


def title(claim: ClaimResult) -> str:
    """``only-vmm (mapped-only-by): Only these map it.``"""
    kind = f" ({claim.claim})" if claim.id != claim.claim else ""
    return f"{claim.id}{kind}: {claim.text}"


def named(one: AuditedObject) -> str:
    """``memfd:ram 1/1040``: kind, name, device and inode."""
    name = f":{(one.name or '?').removeprefix('memfd:')}" if one.name is not None else ""
    seals = f" {seals_text(one.seals)}" if one.seals else ""
    return f"{one.kind}{name} (device {one.dev >> 20}:{one.dev & 0xFFFFF}, inode {one.ino}){seals}"


def counted(claim: ClaimResult) -> str:
    """``3 objects: 1 fail, 2 pass``."""
    if not claim.findings:
        return "nothing in scope"
    counts = Counter(finding.result.value for finding in claim.findings)
    total = len(claim.findings)
    parts = ", ".join(f"{count:,} {word}" for word, count in counts.items())
    return f"{total:,} {'object' if total == 1 else 'objects'}: {parts}"


def evidence(
    finding: Finding, seen: Window, most: int | None = None, *, local: bool = True
) -> Iterator[str]:
    """A line for each row of evidence, with its place in the recording; then how many are hidden.

    :param seen: what the recording saw.
    :param most: rows that are shown; None: all that the finding lists.
    :param local: with local times, for people here; else in UTC.
    """
    shown = finding.violations[:most]
    for one in shown:
        if one.time is not None:
            when = on_day_of(one.time, seen.start) if local else one.time
        elif seen.start_ns is not None:
            when = f"{(one.time_ns - seen.start_ns) / 1e9:+.6f} s"
        else:
            when = f"{one.time_ns} ns"
        times = f", {one.count:,} times" if one.count > 1 else ""
        asked = f" [{one.asked}]" if one.asked else ""
        cpu = "recorder" if one.cpu == USER_CPU else f"CPU {one.cpu}"
        yield f"{when} {one.text}{asked}{times} ({one.table}, {cpu} #{one.seq})"
    if hidden := len(finding.violations) - len(shown) + finding.more:
        yield f"and {hidden:,} more like these"
