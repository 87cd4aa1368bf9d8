"""What a report consists of, whatever its form."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import pandas as pd

from tracer.model.bit5 import UNKNOWN, Bit5, bit5_of
from tracer.model.verdicts import Verdict

WORST_FIRST = tuple(verdict.word for verdict in sorted(Verdict, reverse=True))
"""``breach`` first, ``allowed`` last: the order of everything that lists verdicts."""

LISTED = ("breach", "unexplained", "indeterminate", "blocked", "error")
"""Verdicts whose decisions are listed one by one (equal ones together)."""

TABLES = ("object", "fd", "process", "op", "rule")
"""What ``--by`` may ask for."""


@dataclass(frozen=True)
class Unseen:
    """A hook family that was not live in a recording."""

    family: str
    what: str
    """What stays unseen without it."""
    reason: str
    essential: bool
    """False: this kernel has nothing there that could be seen."""


@dataclass(frozen=True)
class SelfTest:
    """The result of the self-test at the start of a recording."""

    ran: bool
    cases: int = 0
    variants: Mapping[str, str] = field(default_factory=dict)
    unexplained: int = 0
    """Answers that no documented variant gives."""
    silent: tuple[str, ...] = ()
    """Hooks that did not report every attempt: ``write 10 of 12``."""
    lost: Mapping[str, int] = field(default_factory=dict)
    """Events lost while it ran, by cause: what such a hook may have reported after all."""
    bit_0x20: str | None = None
    failed: str = ""
    """Why it did not come to its end."""
    open: tuple[str, ...] = ()
    """Questions about this kernel that it could not settle."""
    holes: tuple[str, ...] = ()
    """Known holes that it found in this kernel."""
    unconfirmed: str = ""
    """Why nobody knows whether the hooks reported its attempts; empty where that is known."""

    @property
    def bit5(self) -> Bit5:
        """What the kernel calls seal 0x20."""
        return bit5_of(self.bit_0x20) if self.ran else UNKNOWN


@dataclass(frozen=True)
class Coverage:
    """What one recording could see, and what it lost. Times: boot clock, ns."""

    path: str
    host: str
    """Unique among the recordings of a report, unless they are of the same boot; may be empty."""
    boot_id: str
    kernel: str
    command: str
    filters: str
    """Kernel-side filters that left events out: ``pid 42, ops mmap``; empty: none."""
    start_ns: int | None
    end_ns: int | None
    """The last moment of which something is known."""
    started: str | None
    """Wall clock, ISO 8601, UTC."""
    state: str
    """``ended`` by its recorder, ``alive`` or ``killed``."""
    reason: str
    """Why the recorder stopped; empty where that is unknown."""
    hooks_live: int
    hooks: int
    unseen: tuple[Unseen, ...]
    blind_spots: tuple[str, ...]
    self_test: SelfTest
    lost: Mapping[str, int]
    """Events lost, by cause."""
    incomplete: Mapping[str, int]
    """Events that are there without their context, by cause."""
    problems: tuple[str, ...]
    """What is missing or damaged in the recording, in sentences."""
    decisions: int = 0
    """Of this recording in the report: after filter and time window."""

    @property
    def seconds(self) -> float | None:
        """How long it recorded, None: not known."""
        if self.start_ns is None or self.end_ns is None:
            return None
        return max(0, self.end_ns - self.start_ns) / 1e9

    @property
    def whole(self) -> bool:
        """Ended in order, nothing lost, nothing missing from its folder."""
        return self.state == "ended" and not self.lost and not self.problems


@dataclass(frozen=True)
class Question:
    """What was asked for, in the words of the command line; None: everything."""

    filter: str | None = None
    since: str | None = None
    until: str | None = None


@dataclass(frozen=True)
class Report:
    """Everything that a form of the report needs; tables are worst first."""

    question: Question
    coverage: tuple[Coverage, ...]
    verdicts: Mapping[str, int]
    """Decisions by verdict, all six."""
    listed: pd.DataFrame
    """The decisions of :data:`LISTED` verdicts, equal ones as one row with ``count``."""
    tables: Mapping[str, pd.DataFrame]
    """Those of :data:`TABLES` that were wanted."""
    over_time: pd.DataFrame
    """Columns host, boot_id, time_ns (begin of a step), step_ns, and one a verdict."""
    late: pd.DataFrame
    """Seals that came after the file was shared or mapped writable."""
    busy: pd.DataFrame
    """F_ADD_SEALS that failed EBUSY, with who held writable mappings."""
    seals: pd.DataFrame = field(default_factory=pd.DataFrame)
    """Each file's creation and each change of its seals, file by file."""
    unlisted: Mapping[str, int] = field(default_factory=dict)
    """By verdict: decisions that are counted, and for which ``listed`` had no room."""
    left_out: int = 0
    """Memory files that can never be sealed, of which only the creation was recorded."""
    unannounced: int = 0
    """Decisions on files whose announcement never came: of these little is known."""

    @property
    def decisions(self) -> int:
        """Decisions in the report."""
        return sum(self.verdicts.values())

    @property
    def several(self) -> bool:
        """Whether a column must say which host a row is of."""
        return len({one.host for one in self.coverage}) > 1
