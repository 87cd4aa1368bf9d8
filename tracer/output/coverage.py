"""What a recording could see and what it lost: the facts, and the sentences that tell them.

The facts come from the manifest, the end marker and the table of losses. All of these may be
somebody else's: text is made printable.
"""

import shlex
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pyarrow as pa

from tracer.escape import clip, printable
from tracer.labels import LOSSES, counted
from tracer.recording.manifest import End, Filters, Look, Manifest
from tracer.recording.reader import ALIVE, KILLED
from tracer.recording.tables import values
from tracer.recording.verify import RING_CAUSES
from tracer.walltime import date_and_zone, iso
from tracer.words import CONTEXT as CAUSES
from tracer.words import UNKNOWN, WANTED, Bit5, HookState, bit5_of, names

if TYPE_CHECKING:
    from tracer.recording.reader import Recording

CONTEXT = tuple(cause.name.lower() for cause in CAUSES)
NO_EVENT = frozenset({*CONTEXT, *(cause.name.lower() for cause in WANTED)})
"""Causes by which no event is lost."""
"""Causes by which no event is lost, as a recording has them."""
_PROBLEM = 90  # cells of a problem in the first line


@dataclass(frozen=True)
class Unseen:
    """A hook family that was not live in a recording."""

    family: str
    what: str
    """What stays unseen without it."""
    reason: str
    essential: bool
    """False: this kernel has nothing there that could be seen."""

    @property
    def sentence(self) -> str:
        """What stays unseen, and why."""
        return f"{self.what or self.family}; {self.reason}"

    @property
    def chosen(self) -> bool:
        """Whether the recorder was told to leave it out, or its source has no such hook."""
        return self.reason == "not asked for" or self.reason.startswith("not by the source ")


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

    @property
    def brief(self) -> str:
        """Its result in a few words."""
        if not self.ran:
            return "self-test FAILED" if self.failed else "no self-test"
        wrong = self.unexplained or self.silent
        return f"self-test of {self.cases:,} cases {'with ALARMS' if wrong else 'fine'}"

    def sentences(self) -> Iterator[tuple[str, bool]]:
        """Its result: sentences, and whether each is an alarm."""
        if not self.ran:
            why = f"self-test FAILED: {self.failed}" if self.failed else "self-test did not run"
            yield (
                f"{why}; what depends on this kernel's variant is indeterminate",
                bool(self.failed),
            )
            return
        facts = [f"self-test of {self.cases:,} cases"]
        if not self.unexplained:
            facts.append("every answer documented")
        if not self.silent and not self.unconfirmed:
            facts.append("every hook reported every attempt")
        if self.bit_0x20:
            facts.append(f"seal 0x20 is {self.bit_0x20}")
        yield ", ".join(facts), False
        if self.unexplained:
            yield f"self-test: {self.unexplained} ANSWERS THAT NO DOCUMENTED VARIANT GIVES", True
        if self.silent:
            lost = ", ".join(f"{cause} {count:,}" for cause, count in self.lost.items())
            meanwhile = f" (lost meanwhile: {lost})" if lost else ""
            yield (
                f"self-test: HOOKS THAT MISSED ATTEMPTS: {', '.join(self.silent)}{meanwhile}",
                True,
            )
        if self.unconfirmed:
            yield f"self-test: hooks not all confirmed, {self.unconfirmed}", False
        if self.open:
            yield f"self-test: open questions: {', '.join(self.open)}", False
        if self.holes:
            yield f"KNOWN HOLES of this kernel: {', '.join(self.holes)}", False


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
    machines: int | None = None
    """Virtual machines that ran before and were read from KVM's own list; None: nobody looked."""
    machines_problem: str = ""
    """Why there may be others; empty: there are none."""
    redacted: bool = False
    """A copy that `sealsnoop redact` made: names are pseudonyms."""
    decisions: int = 0
    """Of this recording in the report: after filter and time window."""

    @property
    def whole(self) -> bool:
        """Ended in order, nothing lost, nothing missing from its folder."""
        return self.state == "ended" and not self.lost and not self.problems

    @property
    def file_name(self) -> str:
        """The recording's folder, without the path to it."""
        return self.path.rstrip("/").rsplit("/", 1)[-1]

    @property
    def when(self) -> str:
        """When it started, with its date and zone: ``2026-11-22 18:48:10 CET``; empty: unknown."""
        return date_and_zone(self.started) if self.started else ""

    @property
    def title(self) -> str:
        """``w.seal: 2026-11-22 18:48:10 CET, 2.970 s, host h1, kernel 6.1.0``; local time."""
        parts = [self.when or "start unknown"]
        if self.start_ns is not None and self.end_ns is not None:
            parts.append(f"{max(0, self.end_ns - self.start_ns) / 1e9:.3f} s")
        parts += [f"host {self.host}"] if self.host else []
        if self.kernel not in self.host:
            parts.append(f"kernel {self.kernel}")
        parts += ["a redacted copy: names are pseudonyms"] if self.redacted else []
        return f"{self.path}: {', '.join(parts)}"

    @property
    def brief(self) -> str:
        """``17 of 18 hooks live, nothing lost, self-test of 745 cases fine; 10 blind spots``."""
        hooks = f"{self.hooks_live} of {self.hooks} hooks live" if self.hooks else "hooks not known"
        lost = "NOT WHOLE" if any(self.alarms()) else "nothing lost"
        parts = [f"{hooks}, {lost}, {self.self_test.brief}"]
        if self.state == "alive":
            parts.append("still being written")
        if self.filters:
            parts.append(f"recorded with filters: {self.filters}")
        if self.older and (self.machines or self.machines_problem):
            parts.append(self.older)
        if left_out := [one for one in self.unseen if one.essential and one.chosen]:
            parts.append(f"{len(left_out)} hooks left out")
        spots = len(self.blind_spots)
        parts.append(f"{spots} blind {'spot' if spots == 1 else 'spots'}")
        return "; ".join(parts)

    @property
    def older(self) -> str:
        """``2 virtual machines that ran before read from KVM's own list``; empty: nobody looked."""
        if self.machines is None:
            return ""
        count = counted(self.machines, "virtual machine")
        known = f"{count} that ran before read from KVM's own list"
        return (
            f"{known}; there may be others: {self.machines_problem}"
            if self.machines_problem
            else known
        )

    @property
    def failed(self) -> list[Unseen]:
        """Hooks that should have been live and were not."""
        return [one for one in self.unseen if one.essential and not one.chosen]

    def doubts(self) -> Iterator[str]:
        """Why a decision may be missing or judged wrongly, each in half a sentence."""
        if self.lost:
            yield f"{sum(self.lost.values()):,} events were lost"
        if self.state == "killed":
            yield "the recorder was killed"
        if self.problems:
            yield clip(self.problems[0].partition(". ")[0].removesuffix("."), _PROBLEM)
        if failed := self.failed:
            more = f" and what {len(failed) - 1} more hooks show" if failed[1:] else ""
            yield f"not seen: {failed[0].what or failed[0].family}{more}"
        if self.self_test.failed or self.self_test.silent:
            yield "the self-test failed" if self.self_test.failed else "hooks missed attempts"
        if self.self_test.unexplained:
            yield "this kernel gave answers that nothing documents"

    @property
    def summary(self) -> str:
        """``1,251 decisions, 17 of 18 hooks live, nothing lost, stopped: duration``."""
        hooks = f"{self.hooks_live} of {self.hooks} hooks live" if self.hooks else "hooks not known"
        lost = "NOT WHOLE (see above)" if any(self.alarms()) else "nothing lost"
        if self.lost:
            lost = f"LOST {sum(self.lost.values()):,} events"
        end = f"stopped: {self.reason}" if self.reason else self.state
        return f"{self.decisions:,} decisions, {hooks}, {lost}, {end}"

    def alarms(self) -> Iterator[str]:
        """What makes the numbers of a recording incomplete; nothing for one that is whole."""
        if self.state == "killed":
            yield (
                "The recorder was killed or the machine went down: the last events may be missing."
            )
        if self.lost:
            yield f"{loss_sentences(Counter(self.lost))[0]}. No count below includes them."
        yield from self.problems

    def remarks(self) -> Iterator[str]:
        """What else limits what a recording can tell."""
        if self.state == "alive":
            yield "The recording is still being written: this is what is there now."
        yield from loss_sentences(Counter(self.incomplete))
        if self.filters:
            yield f"recorded with filters: {self.filters}"
        if self.older:
            yield f"{self.older}."

    def gaps(self) -> Iterator[tuple[str, bool]]:
        """What stays unseen and why, for each hook that is not live, and whether it is a gap."""
        for family in self.unseen:
            yield family.sentence, family.essential


def losses(recording: "Recording") -> Counter[str]:
    """Lost events by cause.

    :return: ``enum loss_cause`` (bpf/record.h) in lower case → events; causes that lost none are
        absent.
    """
    counts: Counter[str] = Counter()
    for table in recording.tables("losses"):
        causes = values(table, "cause", "unknown")
        for cause, count in zip(causes, values(table, "count", 0), strict=True):
            if count:
                counts[printable(cause)] += count
    return counts


def undeclared(recording: "Recording", lost: Mapping[str, int]) -> int:
    """Records that never arrived, and of which nobody said so, as far as counts can tell.

    A recorder says at its end how many sequence numbers each CPU gave out, and the chain how many
    records there are. :func:`tracer.recording.verify.check` looks at each number.

    :param lost: by cause (:func:`losses`).
    """
    shot = recording.snapshot()
    shot.close()
    if shot.end is None or shot.tails:
        return 0  # not all of them are in the chain
    there = Counter[str]()
    for link in shot.links:
        there.update({str(cpu): counts[2] for cpu, counts in link.cpus.items()})
    missing = sum(max(0, count - there[cpu]) for cpu, count in shot.end.final_seq.items())
    declared = sum(lost.get(cause, 0) for cause in RING_CAUSES)
    return max(0, missing - shot.end.unsaved - declared)


def loss_sentences(counts: Counter[str]) -> list[str]:
    """At most two sentences about ``counts``: events lost, and events without their context."""
    context = Counter({cause: counts[cause] for cause in CONTEXT if counts[cause]})
    lost = Counter({cause: count for cause, count in counts.items() if cause not in NO_EVENT})
    return [
        start + ", ".join(f"{n} {LOSSES.get(cause, cause)}" for cause, n in some.most_common())
        for start, some in (
            (f"LOST {lost.total()} events: ", lost),
            ("incomplete: ", context),
        )
        if some
    ]


def labels(manifests: Sequence[Manifest]) -> list[str]:
    """A host column's text for each: the shortest that tells apart what was booted apart.

    The host's name; where several boots share it with the kernel release, or with the boot id.
    """
    boots = [printable(one.boot_id or "") or f"?{place}" for place, one in enumerate(manifests)]
    hosts = [printable(one.host_name) for one in manifests]
    releases = [printable(one.kernel.release) for one in manifests]
    with_release = [f"{a} {b}" for a, b in zip(hosts, releases, strict=True)]
    with_boot = [f"{a} {b[:8]}" for a, b in zip(with_release, boots, strict=True)]
    shown = []
    for place, boot in enumerate(boots):
        for form in (hosts, with_release, with_boot, [f"{one} #{boot}" for one in hosts]):
            others = {form[other] for other, b in enumerate(boots) if b != boot}
            if form[place] not in others:
                break
        shown.append(form[place].strip())
    return shown


def modules_that_came(tables: Iterable[pa.Table]) -> frozenset[str]:
    """Hooks of modules that were loaded while it was recorded, from the table ``mappings``."""
    found = set[str]()
    for table in tables:
        columns = (values(table, name) for name in ("op", "answer", "hook"))
        found |= {printable(hook) for op, answer, hook in zip(*columns, strict=True)
                  if op == "attach" and answer == 0}  # fmt: skip
    return frozenset(found)


def unseen(manifest: Manifest, came: Collection[str] = ()) -> tuple[Unseen, ...]:
    """The hook families that were not live, the essential ones first."""
    found = [
        Unseen(
            printable(step.family),
            printable(step.unseen),
            printable(step.reason),
            step.essential and step.state(came) == HookState.FAILED,
        )
        for step in manifest.hooks
        if step.state(came) != HookState.LIVE
    ]
    return tuple(sorted(found, key=lambda one: not one.essential))


def self_test(manifest: Manifest) -> SelfTest:
    """The self-test's result (tracer.selftest.run)."""
    test = manifest.tested
    silent = [
        f"{printable(family)} {count.seen} of {count.expected}"
        for family, count in sorted((test.hooks or {}).items())
        if count.seen != count.expected
    ]
    unknown = "nothing is known of them" if test.hooks is None else ""
    return SelfTest(
        ran=test.ran,
        cases=test.cases,
        variants={printable(a): printable(b) for a, b in sorted(test.variants.items())},
        unexplained=len(test.unexplained),
        silent=tuple(silent),
        lost={printable(cause): count for cause, count in test.lost.items()},
        bit_0x20=printable(test.bit_0x20) or None,
        failed=printable(test.failed or ""),
        open=tuple(map(printable, test.open)),
        holes=tuple(map(printable, test.holes)),
        unconfirmed=printable(test.hooks_note or "") or unknown,
    )


def _filters(manifest: Manifest) -> str:
    of = manifest.filters or Filters()
    shown = [
        f"{word} {','.join(map(str, numbers))}"
        for word, numbers in (("pid", of.pids), ("uid", of.uids), ("cgroup", of.cgroups))
        if numbers
    ]
    if of.name:
        shown.append(f"name {printable(of.name)}…")
    if of.seals:
        shown.append(f"seals {names(of.seals, manifest.bit5)}")
    if of.denied:
        shown.append("only what failed")
    if not all(step.requested for step in manifest.hooks):
        shown.append("only some operations")
    if of.files:
        shown.append(f"only the files {', '.join(map(printable, of.files))}")
    if of.actors:
        shown.append(f"only what {printable(of.actors)} did")
    if of.no_cmdline:
        shown.append("no command lines")
    if of.follow_command and manifest.command:
        shown.append("only the command, its children and their files")
    return "; ".join(shown)


def coverage(recording: "Recording", host: str, boot_id: str, last_ns: int | None) -> Coverage:
    """What ``recording`` could see and lost; to be called when it has been read.

    :param host: its text in a host column (:func:`labels`).
    :param last_ns: boot time of its last event, ns; None: not known.
    """
    clock = recording.clock()
    counts = losses(recording)
    came = modules_that_came(recording.tables("mappings", ["op", "answer", "hook"]))
    problems = list(recording.problems)
    end = recording.end or End()
    look = end.baseline.start or Look()
    if missing := undeclared(recording, counts):
        problems.append(
            f"{missing:,} records are missing, and nobody declared that they were lost "
            "(see sealsnoop verify)."
        )
    if end.stopped_early:
        problems.append(f"the recorder stopped early: {printable(end.reason or '')}")
    manifest = recording.manifest
    times = [one.boot_ns for one in clock.anchors] + ([] if last_ns is None else [last_ns])
    return Coverage(
        path=printable(recording.path),
        host=host,
        boot_id=boot_id,
        kernel=printable(manifest.kernel.release) or "unknown",
        command=shlex.join(map(printable, manifest.command)),
        filters=_filters(manifest),
        start_ns=clock.start_ns,
        end_ns=max(times, default=None),
        started=iso(clock.at(clock.start_ns), 0),
        state="ended" if recording.end is not None else "alive" if ALIVE in problems else "killed",
        reason=printable(end.reason or ""),
        hooks_live=sum(step.state(came) == HookState.LIVE for step in manifest.hooks),
        hooks=len(manifest.hooks),
        unseen=unseen(manifest, came),
        blind_spots=tuple(map(printable, manifest.blind_spots)),
        self_test=self_test(manifest),
        lost={cause: counts[cause] for cause, _ in counts.most_common() if cause not in NO_EVENT},
        incomplete={cause: counts[cause] for cause in CONTEXT if counts[cause]},
        problems=tuple(printable(one) for one in problems if one not in (ALIVE, KILLED)),
        machines=look.machines,
        machines_problem=printable(look.machines_problem),
        redacted=bool(manifest.redacted_from),
    )
