"""What a recording leaves open: hooks that were not live or not confirmed, damage, loss, filters.

Each doubt is about the whole recording, or about the claims that need one of its hooks.
"""

import errno
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from tracer.audit.policy import WAYS
from tracer.audit.result import Doubt, Need, Window
from tracer.escape import printable
from tracer.output.coverage import NO_EVENT, loss_sentences
from tracer.recording.manifest import Count, Hook, Manifest, SelfTest
from tracer.recording.reader import Recording
from tracer.recording.verify import VerifyReport, check
from tracer.words import HookState

_STATES = {HookState.UNSUPPORTED: "absent", HookState.FAILED: "not live"}
"""What audits call these; any other is called as it is."""
_MODULE = {0: "came and was hooked", -errno.EOPNOTSUPP: "came and could not be hooked"}
"""What a row of op ``attach`` says of a module, by its answer; with any other it went."""


def not_hooked(way: str, needs: Sequence[Need]) -> str:
    """That nothing looked at these families, which have state and reason in common."""
    first = needs[0]
    why = f" ({first.reason})" if first.reason else ""
    families = ", ".join(need.family for need in needs)
    return f"{way}: {families} {'is' if len(needs) == 1 else 'are'} {first.state}{why}."


@dataclass(frozen=True)
class Plan:
    """The recorded hook plan: which families were live, and whether they were seen to report."""

    steps: Mapping[str, Hook]
    test: SelfTest
    gaps: Sequence[Doubt]
    """About modules that came or went while it recorded."""
    arrived: frozenset[str]
    """Hooks in modules that were attached while it recorded."""

    @property
    def _tested(self) -> bool:
        return self.test.ran and self.test.hooks is not None

    def _count(self, family: str) -> Count:
        return (self.test.hooks or {}).get(family, Count()) if self.test.ran else Count()

    def need(self, family: str, way: str) -> Need:
        """How ``family`` was served."""
        step = self.steps.get(family)
        if step is None:
            return Need(family, way, "not hooked", "", "", "", "no hook of this recorder sees it")
        now = step.state(self.arrived)
        tested = ""
        if now is HookState.LIVE and self._tested:
            count = self._count(family)
            known = count.expected or count.extra
            tested = f"{count.seen} of {count.expected}" if known else "not tried"
            tested += f" and {count.extra} that nobody made" if count.extra else ""
        return Need(
            family, way, _STATES.get(now, now.value), printable(step.symbol or ""),
            printable(step.method or ""), tested, printable(step.reason),
        )  # fmt: skip

    def untried(self) -> tuple[str, ...]:
        """Live families of which the self-test, though it ran, made no attempt.

        They count as live: that they report was seen by the project's own tests on booted kernels,
        not on the recorded one (`tracer.selftest.ways` says why). Reports name them.
        """
        needs = (self.need(family, "") for family in self.steps)
        return tuple(one.family for one in needs if one.tested == "not tried")

    def hook(self, family: str) -> str:
        """The hook word that losses have for a family; empty: not known."""
        return self.steps[family].hook if family in self.steps else ""

    def doubts(self, needs: Mapping[str, str]) -> Iterator[Doubt]:
        """Why the families in ``needs`` (family to way) do not show everything."""
        live = False
        for family, way in needs.items():
            need = self.need(family, way)
            if not need.holds:
                yield Doubt("not-hooked", not_hooked(WAYS[way].text, [need]))
            elif need.state == "live":
                live = True
                count = self._count(family)
                if count.seen != count.expected or count.extra:
                    yield Doubt("self-test", f"Hook {family} reported {need.tested} attempts in "
                                "the self-test.")  # fmt: skip
        if live and self.test.failed:
            yield Doubt("self-test", f"The self-test failed: {printable(self.test.failed)}.")
        elif live and not self._tested:
            yield Doubt("self-test", "The self-test did not run: that the hooks report what "
                        "happens was not confirmed.")  # fmt: skip
        hooks = {self.hook(family) for family in needs}
        yield from (gap for gap in self.gaps if (gap.hooks or hooks) & hooks)


def plan_of(manifest: Manifest, baseline: pd.DataFrame) -> Plan:
    """The plan in ``manifest``; ``baseline`` tells when hooks in modules came and went."""
    rows = baseline[baseline["op"] == "attach"]
    gaps = [
        Doubt("not-hooked", f"The module of hook {printable(hook)} {_MODULE.get(answer, 'went')} "
              f"while it was recorded; up to {unseen_ns / 1e6:.1f} ms of it are unseen.",
              frozenset({hook}))
        for hook, answer, unseen_ns in zip(
            rows["hook"].astype(str), rows["answer"], rows["duration_ns"], strict=True
        )
    ]  # fmt: skip
    arrived = frozenset(rows[rows["answer"] == 0]["hook"].astype(str))
    steps = {step.family: step for step in manifest.hooks}
    return Plan(steps, manifest.tested, gaps, arrived)


_BY_HOOK = ("missed", "inflight_full", "no_entry", "no_return")
"""Losses that say which hook lost them; anything else may have hidden anything."""


def losses(recording: Recording) -> dict[tuple[str, str], int]:
    """``{(cause, hook): total}`` as the recorder counted; a cause in words, ``cause_9`` if new."""
    found: dict[tuple[str, str], int] = defaultdict(int)
    for table in recording.tables("losses", ["cause", "hook", "count", "total"]):
        for row in table.to_pylist():
            key = (str(row["cause"]), str(row["hook"]))
            found[key] = max(found[key] + int(row["count"]), int(row["total"]))
    return {key: total for key, total in found.items() if total}


def of_recording(recording: Recording) -> tuple[list[Doubt], dict[tuple[str, str], int]]:
    """Doubts about everything in ``recording``, and its losses. StoreError: it cannot be read."""
    report = check(recording)
    lost = losses(recording)
    found = [
        *_integrity(report),
        *_end(recording, report),
        *_lost(lost),
        *_filters(recording.manifest),
    ]
    return found, lost


def of_reading(recording: Recording, known: Sequence[Doubt]) -> list[Doubt]:
    """``known``, and what turned out when the rows were read: somebody may have exchanged them
    after the check."""
    texts = {doubt.text for doubt in known}
    late = map(printable, recording.problems)
    return [*known, *(Doubt("damage", text) for text in late if text not in texts)]


def of_period(
    since_ns: int | None, until_ns: int | None, window: Window, told: Sequence[str]
) -> Iterator[Doubt]:
    """What keeps a recording from telling about the time that was asked about.

    :param since_ns: with ``until_ns``, that time; boot clock, None: no limit.
    :param told: what was told when it was looked for in the recording.
    """
    for text in told:
        yield Doubt("time", f"{printable(text)}.")
    if told or window.start_ns is None or window.end_ns is None:
        return
    limits = [one for one in (since_ns, until_ns) if one is not None]
    if any(not window.start_ns <= one <= window.end_ns for one in limits):
        yield Doubt("time", "The recording does not cover all of the time that was asked "
                    "about.")  # fmt: skip


def _integrity(report: VerifyReport) -> Iterator[Doubt]:
    for text in report.damage:
        yield Doubt("damage", printable(text))
    if report.alive:
        yield Doubt("cut-off", "The recording is still being written: what comes is not known.")
    for text in report.incomplete:
        yield Doubt("cut-off", printable(text))
    if report.missing:
        how = "all declared as losses" if not report.unexplained else (
            f"{report.unexplained:,} of them declared by nobody")  # fmt: skip
        yield Doubt("hole", f"{report.missing:,} sequence numbers are nowhere in the recording, "
                    f"{how}: any record may have been one of them.")  # fmt: skip
    if unknown := report.accounted.get("unknown_type"):
        yield Doubt("hole", f"{unknown:,} records are of a type that was not stored.")


def _end(recording: Recording, report: VerifyReport) -> Iterator[Doubt]:
    end = recording.end
    if end is None:
        if not report.alive and not report.incomplete:
            yield Doubt("cut-off", "The recorder was killed: the last events may be missing.")
        return
    if end.error:
        yield Doubt("cut-off", f"The recording ended because of an error: {printable(end.error)}")
    if end.stopped_early:
        yield Doubt("cut-off", f"The recorder stopped early: {printable(str(end.reason))}. "
                    "What came after that is not known.")  # fmt: skip
    if not report.final or report.cpus - set(report.final):
        yield Doubt("hole", "end.json does not say how many records each CPU numbered: some of "
                    "the last ones may be missing.")  # fmt: skip
    if in_flight := end.in_flight:
        yield Doubt("in-flight", f"{in_flight} calls had not returned when the recording ended.")


def _lost(lost: Mapping[tuple[str, str], int]) -> Iterator[Doubt]:
    for (cause, hook), total in sorted(lost.items()):
        if cause in NO_EVENT:
            continue
        text = loss_sentences(Counter({printable(cause): total}))[0]
        hooks = frozenset({hook}) if cause in _BY_HOOK and hook != "none" else None
        where = f" at hook {printable(hook)}" if hook != "none" else ""
        yield Doubt("loss", f"{text}{where}.", hooks)


def _filters(manifest: Manifest) -> Iterator[Doubt]:
    filters = manifest.filters
    if filters is None:
        yield Doubt("filter", "The manifest does not tell which filters were on.")
        return
    tasks = [word for word in ("pids", "uids", "cgroups") if getattr(filters, word)]
    if filters.follow_command and manifest.command:
        tasks.append("the command and its children")
    if tasks:
        yield Doubt("filter", f"Only some processes were recorded ({', '.join(tasks)}): what any "
                    "other did is not seen.")  # fmt: skip
    if filters.actors:
        yield Doubt("filter", f"Only what {printable(filters.actors)} did was recorded: what any "
                    "other did is not seen.")  # fmt: skip
    if filters.files:
        yield Doubt("filter", f"Only {len(filters.files)} named files were recorded (--file).")
    if filters.denied:
        yield Doubt("filter", "Only calls that failed were recorded.")
    if filters.seals:
        yield Doubt("filter", "Only files with certain seals were recorded.")
