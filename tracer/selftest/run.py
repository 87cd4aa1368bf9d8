"""One self-test: the attempts, what they mean, and whether the hooks reported them."""

import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from tracer.model.words import Kind
from tracer.selftest import ways
from tracer.selftest.hooks import Count, Passed, check
from tracer.selftest.process import Examiner, SelfTestFailed

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from tracer.capture.filters import Filters
    from tracer.capture.ring import Source
    from tracer.kernel.plan import Plan


_LAST_RECORDS_S, _NAP_S = 2.0, 0.002


class Traced(Protocol):
    """What the self-test needs of an attached BPF program that does not send yet."""

    @property
    def plan(self) -> "Plan": ...

    def ring(self) -> "Source": ...

    def tested_by(self, pid: int) -> AbstractContextManager[None]: ...

    def counts(self) -> "NDArray[np.void]": ...

    def missed(self) -> dict[str, int]: ...


@dataclass(frozen=True)
class SelfTest:
    """The result. ``finding`` is `tracer.selftest.explain.Finding` as JSON values."""

    finding: Mapping[str, Any] = field(default_factory=dict)
    hooks: Mapping[str, Count] | None = None
    """None: not confirmed."""
    hooks_note: str = ""
    """Why the hooks were not confirmed, or only in part."""
    lost: Mapping[str, int] = field(default_factory=dict)
    """``{cause: count}`` (`tracer.model.record.LossCause`) of that time, whoever's calls they were:
    why a hook that is otherwise sound may not have reported every attempt."""
    failed: str = ""
    """Why it did not come to its end; there is no finding then."""
    thorough: bool = False
    seconds: float = 0.0

    @property
    def ok(self) -> bool:
        """Every answer is explained, and every hook that was tried reported every attempt."""
        return self.hooks is not None and not self.failed and not list(self.problems())

    def problems(self) -> Iterator[str]:
        """What a user has to be told, one sentence each."""
        if self.failed:
            yield f"it failed: {self.failed}; verdicts that depend on the kernel are indeterminate"
        for one in self.finding.get("unexplained", ()):
            yield (
                f"{one['op']} on {one['kind']} ({one['asked']}; seals {one['seals']}) answered "
                f"{one['answer']}, expected {one['expected']}: no documented variant explains that"
            )
        unsure = self.finding.get("verdicts", {}).get("indeterminate")
        if unsure:
            open_ = ", ".join(self.finding["open"]) or "none of the known ones"
            yield f"{unsure} answers cannot be judged; open questions: {open_}"
        lost = ", ".join(f"{cause} {count}" for cause, count in self.lost.items())
        meanwhile = f" (lost meanwhile: {lost})" if lost else ""
        for family, count in (self.hooks or {}).items():
            if count.ok is False:
                extra = f" and {count.extra} that nobody made" if count.extra else ""
                yield (
                    f"hook {family} reported {count.seen} of {count.expected} attempts{extra}"
                    f"{meanwhile}"
                )

    def to_json(self) -> dict[str, Any]:
        """As it stands in a manifest and in doctor's report."""
        hooks = self.hooks
        return {
            "ran": not self.failed,
            "failed": self.failed or None,
            "thorough": self.thorough,
            "seconds": round(self.seconds, 3),
            **self.finding,
            "hooks": None
            if hooks is None
            else {name: one.to_json() for name, one in hooks.items()},
            "hooks_note": self.hooks_note or None,
            "lost": dict(self.lost),
        }


def run(examiner: Examiner, program: Traced | None, filters: "Filters | None" = None) -> SelfTest:
    """Makes the attempts while ``program`` looks on, which sends nothing yet.

    Its events and counts of that time are gone afterwards. Never raises SelfTestFailed.
    """
    start_s = time.monotonic()
    hooks, note, failed = None, "nothing was attached", ""
    lost: Mapping[str, int] = {}
    finding: Mapping[str, Any] = {}
    order = None
    try:
        if program is None:
            examiner.attempts()
        else:
            hooks, order, lost = _watched(examiner, program, filters)
            note = "only refused calls could be confirmed (--denied)" if _denied(filters) else ""
        finding = examiner.finding(order)
    except SelfTestFailed as error:
        failed = str(error)
    seconds = time.monotonic() - start_s
    return SelfTest(finding, hooks, note, lost, failed, examiner.thorough, seconds)


def _denied(filters: "Filters | None") -> bool:
    return filters is not None and filters.denied


def _watched(
    examiner: Examiner, program: Traced, filters: "Filters | None"
) -> tuple[dict[str, Count], int | None, dict[str, int]]:
    """The hooks' counts, the largest folio of a memfd as one of them saw it, and what was lost."""
    import numpy as np

    from tracer.model.record import EVENT, HEAD, OBJECT, RecordType

    ring = program.ring()
    batches = [np.zeros(0, HEAD)]

    def drain() -> None:
        batches.append(ring.poll().copy())
        ring.release()

    with program.tested_by(examiner.pid):
        before = _losses(program)
        attempts, merging = examiner.attempts(drain)
        drain()
        # A source that waits until the order in time is certain has not told all yet.
        until_s = time.monotonic() + _LAST_RECORDS_S
        while ring.fill and time.monotonic() < until_s:
            time.sleep(_NAP_S)
            drain()
        lost = _losses(program) - before
    records = np.concatenate(batches)
    events = records[records["type"] == RecordType.EVENT].view(EVENT)
    live = [step.family for step in program.plan.live]
    passed = Passed()
    if filters is not None:
        passed = Passed(filters.denied, bool(filters.name), filters.unsealable)
    own = events[events["pid"] == examiner.pid]
    counts = check(attempts, own, live, passed, merging)
    if not passed.denied:  # nothing is tried there that fails
        counts |= ways.check(examiner.ways, own, live, passed.name)
    objects = records[records["type"] == RecordType.OBJECT].view(OBJECT)
    return counts, _folio_order(objects), dict(lost)


def _losses(program: Traced) -> Counter[str]:
    """``{cause: count}`` so far."""
    from tracer.model.record import LossCause

    sums = program.counts()["lost"].sum(axis=(0, 1))
    found = Counter({cause.name.lower(): int(sums[cause]) for cause in LossCause})
    found["missed"] += sum(program.missed().values())
    return found


def _folio_order(objects: "NDArray[np.void]") -> int | None:
    flags = objects["mapping_flags"][objects["kind"] == Kind.MEMFD]
    return int(flags[0]) >> 21 & 31 if len(flags) else None  # include/linux/pagemap.h
