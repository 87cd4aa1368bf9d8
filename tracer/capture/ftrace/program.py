"""The hooks as kprobe events: the same face as `tracer.capture.program.Program`, without BPF.

The ring of our instance is a source of records (`tracer.capture.ring.Source`).
"""

import contextlib
import mmap
import os
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from tracer.capture.attach import Kernel
from tracer.capture.bpf_source import Filters, Stacks
from tracer.capture.ftrace import probes
from tracer.capture.ftrace.decode import ROW, Decoder, Kinded
from tracer.capture.ftrace.pages import Rows, What, has_gaps, page_size, parse
from tracer.capture.ftrace.probes import (
    CONVERT,
    CONVERT_FIELDS,
    TRACEPOINTS,
    WITNESSES,
    Fetch,
    Probe,
    faulting,
    supplements,
    trials,
)
from tracer.capture.ftrace.records import Maker, Objects, Window
from tracer.capture.ftrace.tasks import Tasks
from tracer.capture.ftrace.tracefs import Instance, find_tracefs, wait_for_writers
from tracer.capture.named_files import NamedFile
from tracer.capture.processes import Identity
from tracer.capture.program import COUNTS
from tracer.capture.ring import Records
from tracer.capture.virtual_machines import Walked
from tracer.errors import UserError
from tracer.kernel.plan import Plan, Step
from tracer.record import HEAD
from tracer.steps import OnStep, StartStep
from tracer.words import Hook, LossCause

_LAG_NS = 50_000_000
"""So long after its time an event is thought to be in the ring, where that cannot be made sure."""
_EVER = np.uint64(2**64 - 1)
_FULL_PAGES = 8
"""Where a ring dropped something it was full, and so gives more than this at the next reading."""
_MOST_PAGES = 4096
"""Of one CPU at a time: what is read is held in memory."""


def boot_ns() -> int:
    """The clock of the ring."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


class FtraceSource:
    """Reads all CPUs, waits until the order in time is certain, and makes records."""

    def __init__(
        self,
        instance: Instance,
        page_bytes: int,
        kinds: Iterable[Kinded],
        alias: int,
        maker: Maker,
        now_ns: Callable[[], int] = boot_ns,
    ) -> None:
        self._instance = instance
        self._page_bytes = page_bytes
        self._decoder = Decoder(kinds, alias)
        self._maker = maker
        self._pending: Rows = np.zeros(0, ROW)
        self._now_ns = now_ns
        self._looked_ns = now_ns()
        self._dropped: dict[int, int] = {}
        self._dropped_before = 0
        self._full: set[int] = set()
        self._misses: dict[str, int] = {}
        self._more = False
        self._read_until = _EVER

    def poll(self) -> Records:
        """Records of what happened until a moment ago, some milliseconds long."""
        looking_ns = self._now_ns()
        first = self._read()
        if not len(first) and not len(self._pending):
            self._look_for_losses(looking_ns)
            return np.zeros(0, HEAD)
        self._pending = self._merged(self._pending, first)
        begun_ns = self._now_ns()
        if not wait_for_writers():
            begun_ns -= _LAG_NS
        self._pending = self._merged(self._pending, self._read())
        # Only behind the reading: what was dropped before an event that was read is then counted.
        self._look_for_losses(begun_ns)
        until = np.uint64(max(begun_ns, 0))
        count = int(np.searchsorted(self._pending["time_ns"], until, side="right"))
        if self._more:
            # A CPU was not read to its end: only what is older than its last page is certain.
            count = min(count, int(np.searchsorted(self._pending["time_ns"], self._read_until)))
        ready, self._pending = self._pending[:count], self._pending[count:]
        if not count:
            return np.zeros(0, HEAD)
        return self._maker.make(ready)

    def release(self) -> None:
        """Nothing to give back: records are copies."""

    @property
    def fill(self) -> float:
        """0 when nothing is on its way."""
        return 0.5 if len(self._pending) or self._more else 0.0

    def _read(self) -> Rows:
        pages: list[bytes] = []
        cpus: list[int] = []
        self._more, self._read_until = False, _EVER
        for cpu in self._instance.cpus:
            count = 0
            while count < _MOST_PAGES and (page := self._instance.read(cpu, self._page_bytes)):
                pages.append(page.ljust(self._page_bytes, b"\0"))
                cpus.append(cpu)
                count += 1
            if count >= _FULL_PAGES:
                self._full.add(cpu)
            if count == _MOST_PAGES:
                last = np.uint64(int.from_bytes(pages[-1][:8], "little"))
                self._more, self._read_until = True, min(self._read_until, last)
        if not pages:
            return np.zeros(0, ROW)
        raw = np.frombuffer(bytearray(b"".join(pages)), np.uint8).reshape(-1, self._page_bytes)
        if has_gaps(raw):
            self._full.update(cpus)
        rows, seen = self._decoder.rows(raw, np.array(cpus, np.uint16))
        self._maker.objects.learn(seen)
        return rows

    @staticmethod
    def _merged(old: Rows, new: Rows) -> Rows:
        if not len(old):
            return new
        both = np.concatenate([old, new])
        return both[np.argsort(both["time_ns"], kind="stable")]

    def _look_for_losses(self, complete_ns: int) -> None:
        """What the ring dropped and what probes missed since the last look.

        ``complete_ns``: where no ring was full, nothing was dropped until then. What was dropped
        in between makes the decisions of that time doubtful.
        """
        misses = dict(self._instance.misses())
        found = {cpu: self._instance.dropped(cpu) for cpu in self._full}
        more = any(count > self._dropped.get(cpu, 0) for cpu, count in found.items())
        more |= any(times > self._misses.get(event, 0) for event, times in misses.items())
        if more:
            self._maker.doubts.append((self._looked_ns, self._now_ns()))
        self._dropped.update(found)
        self._full.clear()
        self._misses = misses
        dropped = sum(self._dropped.values())
        self._maker.lost[Hook.NONE, LossCause.RING_FULL] = dropped - self._dropped_before
        self._looked_ns = complete_ns

    def forget(self) -> None:
        """Throws away what was there until now, and the counts of it."""
        self._read()
        self._pending = self._pending[:0]
        self._look_for_losses(self._now_ns())
        self._dropped_before = sum(self._dropped.values())
        self._maker.doubts.clear()

    @property
    def misses(self) -> dict[str, int]:
        """``{event: times}`` that a probe was skipped."""
        return dict(self._misses)


class FtraceProgram:
    """Attached kprobe events for a plan. Close it to leave nothing behind."""

    stacks = Stacks.OFF
    """An event has no room for one."""

    def __init__(
        self,
        tracefs: Path,
        plan: Plan,
        layout: dict[str, int],
        filters: Filters,
        ring_bytes: int,
        tell: Callable[[str], None],
        on_step: OnStep = lambda step: None,
        guests: bool = True,
    ) -> None:
        """Raises UserError where tracefs refuses what is needed for any recording.

        ``guests``: conversions of guest memory, too.
        """
        self._tell, self._on_step = tell, on_step
        self._probes: dict[str, Probe] = {}
        self._kinds: list[Kinded] = []
        follow = filters.pids if filters.pids or filters.follow_command else None
        self._tasks = Tasks(follow, filters.uids, filters.cgroups, os.getpid())
        self._maker = Maker(filters, self._tasks, Objects(filters.name))
        self._instance = Instance(tracefs, ring_bytes)
        self._group = self._instance.group
        try:
            for tag in self._instance.cleared:
                tell(f"cleared away what a recorder that is dead left in tracefs (sealsnoop-{tag})")
            for tag, why in self._instance.uncleared.items():
                tell(f"tracefs: sealsnoop-{tag} of a dead recorder cannot be cleared away: {why}")
            keeps, current = (self._instance.takes(one) for one in trials(layout, self._group))
            faults = self._instance.counts_faults(
                lambda name: faulting(self._group, name), lambda: mmap.mmap(-1, 1).close()
            )
            self._attach(plan, Fetch(layout, keeps, current, faults), filters.unsealable, guests)
            header = (tracefs / "events" / "header_page").read_text()
            self._source = FtraceSource(
                self._instance,
                page_size(header),
                self._kinds,
                layout["OFF_DENTRY_ALIAS"],
                self._maker,
            )
            self._instance.run()
            self._tasks.look_around()
        except (OSError, ValueError) as error:
            self.close()
            raise UserError(f"tracefs: {error}") from error
        except BaseException:
            self.close()
            raise

    def _attach(self, plan: Plan, fetch: Fetch, unsealable: bool, guests: bool) -> None:
        """Every step whose events the kernel takes; the others are left out of the plan."""
        for group, event, what in TRACEPOINTS:
            try:
                self._add(None, what, group, event)
            except OSError as error:
                if what != What.CGROUP:
                    raise
                self._tell(f"tracefs: {group}:{event}: {error.strerror}; cgroups as at the start")
        steps: list[Step] = []
        for number, step in enumerate(plan.steps, 1):
            self._on_step(StartStep("attaching hooks", number, len(plan.steps)))
            if step.live:
                wanted = list(probes.for_step(step, fetch, unsealable))
                refused = self._attach_step(wanted) if wanted else "not by the source ftrace"
                if refused:
                    if wanted:  # else it is among the blind spots
                        self._tell(f"{refused}; unseen from now on: {step.unseen}")
                    step = replace(step, symbol=None, method=None, reason=refused)
                else:
                    step = replace(step, symbol=wanted[0].place)
            steps.append(step)
        if guests:
            steps.append(self._attach_conversions())
        self.plan = Plan(tuple(steps))
        if not self.plan.live:
            reasons = "\n".join(f"  {step.family}: {step.reason}" for step in steps)
            raise UserError(f"no hook could be attached:\n{reasons}")
        if fetch.faults_are_misses:
            self._watch_for_misses_of_mmap()
        for probe in supplements(fetch):
            if refused := self._attach_step([probe]):
                self._tell(f"{refused}; what it would tell is taken from /proc, or unknown")

    def _attach_conversions(self) -> Step:
        """Their step, served or not."""
        group, _, event = (CONVERT.symbol or "").partition(":")
        off = replace(CONVERT, symbol=None, method=None)
        try:
            names = parse(self._instance.format(group, event)).dtype.names
            if not set(names or ()) >= CONVERT_FIELDS:
                return replace(off, reason=f"the tracepoint {CONVERT.symbol} tells something else")
            self._add(None, What.CONVERT, group, event)
        except FileNotFoundError:
            why = f"this kernel has no tracepoint {CONVERT.symbol}, or KVM is not loaded"
            return replace(off, reason=why)
        except (OSError, ValueError) as error:
            return replace(off, reason=f"the tracepoint {CONVERT.symbol}: {error}")
        return CONVERT

    def _attach_step(self, wanted: list[Probe]) -> str:
        """Why not, empty: done. Returns before entries, so that no entry comes alone."""
        names = []
        for probe in reversed(wanted):
            name = f"{probe.event}{self._instance.suffix}"
            try:
                self._instance.define(probe.definition(self._group, name))
                names.append(name)
                self._add(probe, probe.what, self._group, name)
            except OSError as error:
                for other in names:
                    with contextlib.suppress(OSError):
                        self._drop(other)
                return f"{probe.event}: a kprobe event on {probe.place} failed: {error.strerror}"
        return ""

    def _watch_for_misses_of_mmap(self) -> None:
        own = [event for event, probe in self._probes.items() if probe.family == "mmap"]
        if any(not self._attach_step([one]) for one in WITNESSES):
            for event in own:
                self._instance.leave_uncounted(event)

    def _add(self, probe: Probe | None, what: What, group: str, event: str) -> None:
        kind = Kinded(parse(self._instance.format(group, event)), what, probe)
        self._instance.enable(group, event, probe.condition if probe else "")
        self._kinds.append(kind)
        if probe is not None:
            self._probes[event] = probe

    def _drop(self, event: str) -> None:
        self._probes.pop(event, None)
        self._instance.drop(event)

    def ring(self) -> FtraceSource:
        return self._source

    def follow(self, pid: int) -> None:
        """Adds a process to those that the pid filter lets through."""
        self._tasks.follow(pid)

    def follow_files(self, files: Sequence[NamedFile]) -> None:
        """Nothing to do: rows are filtered here, by numbers and generation."""

    @contextlib.contextmanager
    def tested_by(self, pid: int) -> Iterator[None]:
        """Sends what process ``pid`` does meanwhile, past the filters; for the self-test."""
        self._tasks.test = pid
        self._maker.window = Window(since=boot_ns())
        try:
            yield
        finally:
            self._tasks.test = None
            self._maker.window = Window()
            self._source.forget()
            self._maker.forget_counts()

    def enable(self) -> None:
        """From now on events are told."""
        self._maker.window = Window(since=boot_ns())

    def disable(self) -> None:
        """From now on no call is begun; those that began before are still told."""
        self._maker.window.until = boot_ns()

    def counts(self) -> Records:
        """One row of `COUNTS` a CPU; losses and totals of all stand in the first one."""
        sequence = self._maker.sequence
        rows = np.zeros(max([*self._instance.cpus, *sequence]) + 1, COUNTS)
        rows["cpu"] = np.arange(len(rows))
        for cpu, count in sequence.items():
            rows["seq"][cpu] = count
        rows["lost"][0] = self._maker.lost
        rows["totals"]["decided"][0] = self._maker.decided
        rows["totals"]["dropped"][0] = self._maker.dropped
        return rows

    def missed(self) -> dict[str, int]:
        """``{hook: probes of it that the kernel skipped so far}`` (tracefs: kprobe_profile)."""
        found: dict[str, int] = {}
        for event, times in self._source.misses.items():
            probe = self._probes.get(event)
            if probe is not None:
                hook = probe.hook.name.lower()
                found[hook] = found.get(hook, 0) + times
        return found

    def in_flight(self) -> int:
        """Calls whose entry was seen and whose return did not come yet."""
        return self._maker.in_flight

    def show_mapped(self, fd: int, final: bool) -> None:
        """For audits, which this source does not serve: OSError."""
        raise OSError("the ftrace source reads no memory at will")

    def show_known_mapped(self, final: bool, shown: Collection[tuple[int, int]]) -> None:
        """The same."""
        raise OSError("the ftrace source reads no memory at will")

    def virtual_machines(self) -> Walked:
        """The same."""
        raise OSError("the ftrace source reads no memory at will")

    def identify(self, folder: int) -> Identity | None:
        """Not by this source."""
        return None

    def detach(self) -> None:
        """Takes every probe off; what is in the ring stays readable."""
        with contextlib.suppress(OSError):
            self._instance.stop()

    def close(self) -> None:
        self._instance.close()


def attach(
    kernel: Kernel,
    families: Collection[str] | None,
    filters: Filters,
    ring_bytes: int,
    tell: Callable[[str], None],
    on_step: OnStep = lambda step: None,
) -> FtraceProgram:
    """An attached program that does not send yet. Raises UserError where that cannot be."""
    tracefs = find_tracefs()
    if tracefs is None:
        raise UserError(
            "tracefs is not there; mount -t tracefs tracefs /sys/kernel/tracing, as root"
        )
    plan = kernel.plan("kprobe", families=families)
    return FtraceProgram(
        tracefs, plan, kernel.layout, filters, ring_bytes, tell, on_step, families is None
    )
