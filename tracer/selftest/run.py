"""One self-test: the attempts, what they mean, and whether the hooks reported them.

The attempts are made by a process of their own and not by the recorder, whose own calls no hook
reports. It is forked early, loads what judging needs while the recorder compiles its BPF program,
and waits for its turn; then it tells first what it did and then what that means, a line of JSON
each.
"""

import contextlib
import json
import os
import select
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NoReturn, Protocol, Self

from tracer.rules.variants import HOLES, QUESTIONS
from tracer.selftest import ways
from tracer.selftest.hooks import Count, Passed, check
from tracer.selftest.scratch import Attempt
from tracer.selftest.ways import Tried
from tracer.steps import OnStep, StartStep
from tracer.words import Kind

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from tracer.capture.bpf_source import Filters
    from tracer.capture.ring import Source
    from tracer.kernel.plan import Plan

PATIENCE_S = {False: 60.0, True: 300.0}
"""Short and thorough: an emulated machine is slow; a native one needs a second for everything."""
_LOOK_S = 0.002


class SelfTestFailed(Exception):
    """The self-test did not come to its end; the text says why."""


def _life(go: int, out: int, thorough: bool, prefix: bytes, audit: bool) -> NoReturn:
    """The child's whole life."""
    lines = os.fdopen(out, "w")

    def tell(message: dict[str, Any]) -> None:
        json.dump(message, lines)
        print(file=lines, flush=True)

    try:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the recorder
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        from tracer.selftest.attempts import attempt_all
        from tracer.selftest.explain import explain  # pandas: half a second, spent while waiting
        from tracer.selftest.scratch import Attempts
        from tracer.selftest.ways import try_all

        if os.read(go, 1) == b"g":
            attempts = Attempts(prefix)
            attempt_all(attempts, thorough, lambda *step: tell({"step": step}))
            ways = try_all(attempts.name) if audit else []
            tell({"attempts": attempts, "merging": sorted(attempts.merging), "ways": ways})
            order = os.read(go, 1)
            tell(explain(attempts, *order).to_json())
    except BaseException as error:  # whatever it is, the recorder has to hear of it
        with contextlib.suppress(OSError):
            tell({"error": f"{type(error).__name__}: {error}"})
    finally:
        os._exit(0)


class Examiner:
    """The waiting process. ``attempts`` starts it, ``finding`` hears the rest, `close` ends it."""

    def __init__(self, pid: int, go: int, answers: int, thorough: bool) -> None:
        self.pid = pid
        self.thorough = thorough
        self._go: int | None = go
        self._answers = answers
        self._received = b""
        self._ended = False
        self.ways: list[Tried] = []
        """With ``audit``, after `attempts`: what was tried of the ways in that audits hook."""
        self.on_step: OnStep = lambda step: None

    @classmethod
    def prepare(cls, thorough: bool, prefix: bytes = b"", audit: bool = False) -> Self:
        """Forks it. Call it before threads are started. ``prefix``: of its files' names.

        ``audit``: it tries the ways in that only audits hook, too.
        """
        go_reader, go = os.pipe2(os.O_CLOEXEC)
        answers, answers_writer = os.pipe2(os.O_CLOEXEC)
        pid = os.fork()
        if pid == 0:
            os.close(go)
            os.close(answers)
            _life(go_reader, answers_writer, thorough, prefix, audit)
        os.close(go_reader)
        os.close(answers_writer)
        return cls(pid, go, answers, thorough)

    def attempts(
        self, meanwhile: Callable[[], object] = lambda: None
    ) -> tuple[list[Attempt], set[int]]:
        """Lets it begin; all attempts, and the inodes whose mappings were merged.

        ``meanwhile`` is called again and again until it is done. Raises SelfTestFailed.
        """
        self._write(b"g")
        message = self._line(meanwhile)
        self.ways = [Tried(*one) for one in message["ways"]]
        return [Attempt(*row) for row in message["attempts"]], set(message["merging"])

    def finding(self, folio_order: int | None) -> dict[str, Any]:
        """What the attempts mean (`tracer.selftest.explain.Finding`). Raises SelfTestFailed.

        ``folio_order``: as a hook saw it, if one did.
        """
        self._write(bytes([255 if folio_order is None else folio_order]))
        return self._line(lambda: None)

    def _write(self, word: bytes) -> None:
        if self._go is not None:
            with contextlib.suppress(BrokenPipeError):
                os.write(self._go, word)

    def _line(self, meanwhile: Callable[[], object]) -> dict[str, Any]:
        """The next line that is no step."""
        patience_s = PATIENCE_S[self.thorough]
        until_s = time.monotonic() + patience_s
        while True:
            message = self._next(meanwhile, patience_s, until_s)
            if "step" not in message:
                return message
            self.on_step(StartStep("self-test", *message["step"]))

    def _next(
        self, meanwhile: Callable[[], object], patience_s: float, until_s: float
    ) -> dict[str, Any]:
        while b"\n" not in self._received:
            meanwhile()
            if time.monotonic() > until_s:
                raise SelfTestFailed(f"it did not end in {patience_s:g} s")
            if not select.select([self._answers], [], [], _LOOK_S)[0]:
                continue
            piece = os.read(self._answers, 1 << 16)
            if not piece:
                break
            self._received += piece
        line, _, self._received = self._received.partition(b"\n")
        try:
            message = json.loads(line)
        except ValueError:
            raise SelfTestFailed("its process died") from None
        if "error" in message:
            raise SelfTestFailed(message["error"])
        assert isinstance(message, dict)
        return message

    def close(self) -> None:
        """Ends and reaps it."""
        if self._go is None:
            return
        os.close(self._go)
        os.close(self._answers)
        self._go = None
        # Done, or waiting for its turn: both end by themselves. One that hangs does not.
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)


@contextlib.contextmanager
def prepared(thorough: bool, prefix: bytes, audit: bool = False) -> Iterator[Examiner]:
    """A `Examiner` that is gone in the end."""
    process = Examiner.prepare(thorough, prefix, audit)
    try:
        yield process
    finally:
        process.close()


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
    """``{cause: count}`` (`tracer.record.LossCause`) of that time, whoever's calls they were:
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
        """What a user has to know, one sentence each."""
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

    from tracer.record import EVENT, HEAD, OBJECT, RecordType

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
    from tracer.record import LossCause

    sums = program.counts()["lost"].sum(axis=(0, 1))
    found = Counter({cause.name.lower(): int(sums[cause]) for cause in LossCause})
    found["missed"] += sum(program.missed().values())
    return found


def _folio_order(objects: "NDArray[np.void]") -> int | None:
    flags = objects["mapping_flags"][objects["kind"] == Kind.MEMFD]
    return int(flags[0]) >> 21 & 31 if len(flags) else None  # include/linux/pagemap.h


_BITS = {
    "exec": "F_SEAL_EXEC",
    "inaccessible": "F_SEAL_INACCESSIBLE",
    "none": "unknown to this kernel",
    "unknown": "accepted, but it does what no documented seal does",
}
_NOTABLE = ("breach", "unexplained", "indeterminate")


def lines(result: SelfTest) -> Iterator[str]:
    """What was found, for people."""
    if result.failed:
        yield f"self-test FAILED: {result.failed}"
    else:
        yield from _finding(result.finding, result.seconds)
    yield from _hooks(result)


def _finding(found: Mapping[str, Any], seconds: float) -> Iterator[str]:
    yield f"self-test: {found['cases']:,} calls on scratch files in {seconds:.1f} s"
    yield "  " + ", ".join(
        f"{count:,} {word}{' (see below)' if word in _NOTABLE else ''}"
        for word, count in sorted(found["verdicts"].items())
    )
    yield f"  seal 0x20: {_BITS[found['bit_0x20']]}"
    chunk = found["write_chunk"]
    yield f"  one write asks about its seals every {chunk or 'unknown number of'} bytes"
    yield "  variants"
    for question, choices in QUESTIONS.items():
        answer = found["variants"].get(question)
        chosen = [choice for choice in choices if choice.name == answer]
        if not chosen:
            yield f"    {question}: OPEN, nothing that could be tried here tells"
        for choice in chosen:
            yield f"    {question}: {choice.name} ({choice.text})"
            yield f"      {choice.source}"
    yield f"  known holes of this kernel: {'' if found['holes'] else 'none found'}".rstrip()
    for hole in HOLES:
        if hole.name in found["holes"]:
            yield f"    {hole.name}: {hole.text}"
            yield f"      {hole.source}"
    yield f"  unexplained answers: {'' if found['unexplained'] else 'none'}".rstrip()
    for one in found["unexplained"]:
        yield (
            f"    {one['op']} {one['asked']} on {one['kind']} sealed {one['seals']}: "
            f"{one['answer']}, expected {one['expected']} ({one['rule'] or 'no rule'}), "
            f"{one['times']} times"
        )


def _hooks(result: SelfTest) -> Iterator[str]:
    if result.hooks is None:
        yield f"  hooks: could not be confirmed, {result.hooks_note}"
        return
    note = f" ({result.hooks_note})" if result.hooks_note else ""
    yield f"  hooks{note}"
    yield f"    {'family':<18} {'expected':>9} {'seen':>9}"
    for family, count in result.hooks.items():
        yield f"    {family:<18} {count.expected:>9,} {count.seen:>9,}{_remark(count)}"


def _remark(count: Count) -> str:
    if count.ok is None:
        return "  not tried: nothing that this hook reports could be done"
    extra = f", {count.extra} too many" if count.extra else ""
    return "" if count.ok else f"  NOT AS IT WAS{extra}"
