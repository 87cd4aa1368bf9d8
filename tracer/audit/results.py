"""What an audit says of a claim, and what it rests on."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum


class Result(Enum):
    """The values are the words users see."""

    PASS = "pass"
    FAIL = "fail"
    INDETERMINATE = "indeterminate"
    NOT_APPLICABLE = "not-applicable"

    @property
    def exit_code(self) -> int:
        """What ``sealsnoop audit`` ends with; 1 is left for a tool that failed."""
        return _EXIT[self]


_EXIT = {
    Result.PASS: 0,
    Result.FAIL: 2,
    Result.INDETERMINATE: 3,
    Result.NOT_APPLICABLE: 4,
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
    pid: int
    start_ns: int
    """When that process began, boot clock; with ``exec_id``, its programs, it is nobody else."""
    exec_id: int
    tid: int
    uid: int
    cgroup: int
    comm: str
    op: str
    answer: int
    flags: int
    asked: str = ""
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
    """Escaped (tracer.model.escape); None: not known."""
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

    @property
    def result(self) -> Result:
        return worst(one.result for one in self.recordings)
