"""What the reader thread hands to the screen: immutable, whole, and of one moment.

Nothing here is changed once it is published, so the UI thread draws it without a lock.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from tracer.model.bit5 import UNKNOWN, Bit5
from tracer.model.verdicts import Verdict
from ui.request import Request
from ui.rows import Rows, no_rows

if TYPE_CHECKING:
    from tracer.audit.results import RecordingAudit

HISTORY = 60
"""Bars of a history."""


class State(Enum):
    """What goes on with the recording; the value is the word of the header."""

    OPENING = "opening"
    READING = "reading"
    LIVE = "live"
    ENDED = "ended"
    GONE = "recorder gone"
    BROKEN = "unreadable"
    PLAYING = "replay"
    HELD = "replay held"


@dataclass(frozen=True)
class Facts:
    """What a recording's manifest says; it does not change."""

    path: str = ""
    host: str = ""
    kernel: str = ""
    command: str = ""
    hooks_live: int = 0
    hooks: int = 0
    self_test: str = "not run"
    """``ok``, ``not run``, or what is wrong, in a few words."""
    self_test_ok: bool | None = None
    """None: it did not run."""
    bit5: Bit5 = UNKNOWN
    """What the kernel calls seal 0x20."""


@dataclass(frozen=True)
class Now:
    """Where the recording stands."""

    state: State = State.OPENING
    events: int = 0
    rate: float = 0.0
    """Events per second, over the last seconds."""
    lost: int = 0
    bytes: int = 0
    start_ns: int | None = None
    """Boot clock when the recorder began."""
    now_ns: int | None = None
    """Boot clock of the newest thing known."""
    wall_ns: int | None = None
    """Real time of ``now_ns`` on the traced host, ns since 1970."""
    progress: float | None = None
    """Share of the recording that was read, while it is read for the first time."""
    speed: float | None = None
    """Of a replay; infinity: as fast as possible."""
    share: float | None = None
    """How far a replay has come, 0 to 1."""
    message: str = ""
    """What the user has to know about the recording's state, one sentence."""

    @property
    def seconds(self) -> float:
        """Since the recorder began; 0 where that is unknown."""
        if self.start_ns is None or self.now_ns is None:
            return 0.0
        return max(0.0, (self.now_ns - self.start_ns) / 1e9)


@dataclass(frozen=True, eq=False)
class Verdicts:
    """Decisions by verdict; the arrays' first axis is the Verdict's number."""

    counts: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(len(Verdict), np.int64))
    history: npt.NDArray[np.int64] = field(
        default_factory=lambda: np.zeros((len(Verdict), HISTORY), np.int64)
    )
    """A column for each of equal steps of time, the newest last."""
    whole: bool = False
    """The history is all there is, not the last minute."""

    @property
    def total(self) -> int:
        return int(self.counts.sum())

    def of(self, verdict: Verdict) -> int:
        """How many decisions had ``verdict``."""
        return int(self.counts[verdict])


@dataclass(frozen=True)
class Alert:
    """Something that must be seen: a breach, or what an audit found."""

    number: int
    """Counts all alerts of a session from 1."""
    verdict: str
    text: str
    event: Mapping[str, Any]
    """The event behind it, by column; empty where there is none."""


@dataclass(frozen=True)
class Hook:
    """A hook family and what is known of it."""

    family: str
    symbol: str
    method: str
    """Empty: not attached."""
    essential: bool
    self_test: str
    """``12/12``: attempts that the self-test made and the hook reported."""
    decided: int | None
    note: str
    waiting: bool = False
    """It has a method, and the module that it would be in is not loaded."""

    @property
    def live(self) -> bool:
        """Whether it reports."""
        return bool(self.method) and not self.waiting


@dataclass(frozen=True)
class Coverage:
    """What can be seen and what was lost."""

    hooks: Sequence[Hook] = ()
    lost: Mapping[str, int] = field(default_factory=dict)
    """Events lost, by cause."""
    incomplete: Mapping[str, int] = field(default_factory=dict)
    blind_spots: Sequence[str] = ()
    variants: Mapping[str, str] = field(default_factory=dict)
    problems: Sequence[str] = ()


@dataclass(frozen=True, eq=False)
class Detail:
    """All about one object."""

    object: Mapping[str, Any]
    seals: Sequence[Mapping[str, Any]]
    """Its add_seals calls, oldest first: time_ns, pid, comm, asked, before, after, answer, errno,
    verdict, late."""
    matrix: Mapping[tuple[str, str], Sequence[int]]
    """(reason, op) → count of each verdict."""
    holders: Rows
    mappers: Rows
    decisions: Rows
    busy: float | None = None


@dataclass(frozen=True, eq=False)
class Audited:
    """What an audit of the recording says."""

    policy: str
    result: str = ""
    """``fail``, ``indeterminate``, ``pass``, ``not-applicable``; empty: none was made yet."""
    rows: Rows = field(default_factory=lambda: no_rows("audit"))
    """A claim about one object each, the worst first."""
    found: "RecordingAudit | None" = None
    problem: str = ""
    """Why there is no audit."""

    @property
    def broken(self) -> int:
        """Claims about an object that do not hold."""
        column = self.rows.columns.get("state")
        return sum(one == "fail" for one in column) if isinstance(column, np.ndarray) else 0


@dataclass(frozen=True, eq=False)
class Snapshot:
    """Everything a screen shows."""

    request: Request = field(default_factory=Request)
    """What was asked for when it was made."""
    facts: Facts = field(default_factory=Facts)
    now: Now = field(default_factory=Now)
    verdicts: Verdicts = field(default_factory=Verdicts)
    rows: Rows = field(default_factory=lambda: no_rows("objects"))
    totals: Mapping[str, int] = field(default_factory=dict)
    """Rows of each table."""
    coverage: Coverage = field(default_factory=Coverage)
    alerts: Sequence[Alert] = ()
    """The newest alerts, oldest first."""
    detail: Detail | None = None
    audited: Audited | None = None
    """None: there is no policy."""
    found: tuple[int, int | None] = (0, None)
    """Number of the search that was answered last, and the row that it found."""

    @property
    def hooks_live(self) -> int:
        """Hooks that report; those of a module that was loaded meanwhile too."""
        hooks = self.coverage.hooks
        return sum(hook.live for hook in hooks) if hooks else self.facts.hooks_live
