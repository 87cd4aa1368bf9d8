"""What a report consists of, whatever its form.

Coverage and loss in plain sentences, the same for the terminal and the HTML file.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import pandas as pd

from tracer.output.text import loss_sentences
from tracer.rules.verdicts import Verdict
from tracer.words import UNKNOWN, Bit5, bit5_of

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
    """Why it is not known whether the hooks reported its attempts; empty where it is."""

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
    """What the report is limited to, in the words of the command line; None: everything."""

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
    """Columns host, boot_id, time_ns (start of a step), step_ns, and one a verdict."""
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


KILLED = "The recorder was killed or the machine went down: the last events may be missing."
ALIVE = "The recording is still being written: this is what is there now."


def title(one: Coverage) -> str:
    """``w.seal: host h1, kernel 6.1.0, from 2026-11-22T17:48:10Z, 2.970 s``."""
    parts = [f"host {one.host}"] if one.host else []
    if one.kernel not in one.host:
        parts.append(f"kernel {one.kernel}")
    parts.append(f"from {one.started}" if one.started else "start unknown")
    if one.seconds is not None:
        parts.append(f"{one.seconds:.3f} s")
    return f"{one.path}: {', '.join(parts)}"


def file_name(one: Coverage) -> str:
    """The recording's folder, without the path to it."""
    return one.path.rstrip("/").rsplit("/", 1)[-1]


def summary(one: Coverage) -> str:
    """``1,251 decisions, 17 of 18 hooks live, nothing lost, stopped: duration``."""
    end = f"stopped: {one.reason}" if one.reason else one.state
    return ", ".join([f"{one.decisions:,} decisions", hooks(one), lost(one), end])


def alarms(one: Coverage) -> Iterator[str]:
    """What makes the numbers of a recording incomplete; nothing for one that is whole."""
    if one.state == "killed":
        yield KILLED
    if one.lost:
        yield f"{loss_sentences(Counter(one.lost))[0]}. No count below includes them."
    yield from one.problems


def remarks(one: Coverage) -> Iterator[str]:
    """What else limits what a recording can tell."""
    if one.state == "alive":
        yield ALIVE
    yield from loss_sentences(Counter(one.incomplete))
    if one.filters:
        yield f"recorded with filters: {one.filters}"


def hooks(one: Coverage) -> str:
    """``17 of 18 hooks live``."""
    return f"{one.hooks_live} of {one.hooks} hooks live" if one.hooks else "hooks not known"


def lost(one: Coverage) -> str:
    """``nothing lost``, the number of events, or that it is not known."""
    total = sum(one.lost.values())
    if total:
        return f"LOST {total:,} events"
    return "NOT WHOLE (see above)" if any(alarms(one)) else "nothing lost"


def self_test(test: SelfTest) -> Iterator[tuple[str, bool]]:
    """The self-test's result: sentences, and whether each is an alarm."""
    if not test.ran:
        failed = f"self-test FAILED: {test.failed}" if test.failed else "self-test did not run"
        yield f"{failed}; what depends on this kernel's variant is indeterminate", bool(test.failed)
        return
    said = [f"self-test of {test.cases:,} cases"]
    if not test.unexplained:
        said.append("every answer documented")
    if not test.silent and not test.unconfirmed:
        said.append("every hook reported every attempt")
    if test.bit_0x20:
        said.append(f"seal 0x20 is {test.bit_0x20}")
    yield ", ".join(said), False
    if test.unexplained:
        yield f"self-test: {test.unexplained} ANSWERS THAT NO DOCUMENTED VARIANT GIVES", True
    if test.silent:
        lost = ", ".join(f"{cause} {count:,}" for cause, count in test.lost.items())
        meanwhile = f" (lost meanwhile: {lost})" if lost else ""
        yield f"self-test: HOOKS THAT MISSED ATTEMPTS: {', '.join(test.silent)}{meanwhile}", True
    if test.unconfirmed:
        yield f"self-test: hooks not all confirmed, {test.unconfirmed}", False
    if test.open:
        yield f"self-test: open questions: {', '.join(test.open)}", False
    if test.holes:
        yield f"KNOWN HOLES of this kernel: {', '.join(test.holes)}", False


def unseen(one: Coverage) -> Iterator[tuple[str, bool]]:
    """``(what stays unseen and why, whether that is a gap)`` for hooks that are not live."""
    for family in one.unseen:
        yield f"{family.what or family.family}; {family.reason}", family.essential


def question(one: Question) -> str:
    """What the report is limited to; empty for everything."""
    limits = {"filter": one.filter, "since": one.since, "until": one.until}
    return ", ".join(f"{name} {value}" for name, value in limits.items() if value)


def listed(verdict: str, count: int, different: int) -> str:
    """``BREACH: 40 decisions, 3 different``."""
    said = f"{verdict.upper()}: {count:,} {'decision' if count == 1 else 'decisions'}"
    return f"{said}, {different:,} different" if 1 < different < count else said


def unlisted(count: int) -> str:
    """Of how many decisions a list has no row."""
    return f"{count:,} more decisions are counted, but not kept one by one"


def _left_out(count: int) -> str:
    files = "memory file" if count == 1 else "memory files"
    return (
        f"{count:,} {files} can never be sealed (made without MFD_ALLOW_SEALING, or sealed SEAL "
        "alone): calls from then on were not recorded; record with --unsealable for those"
    )


def notes(report: Report) -> Iterator[str]:
    """What the numbers of verdicts do not tell."""
    if report.left_out:
        yield _left_out(report.left_out)
    if report.unannounced:
        yield (
            f"{report.unannounced:,} decisions are on files whose name, owner and largest folio "
            "are not known"
        )
