"""The hooks as kprobe events: the same face as `tracer.capture.program.Program`, without BPF."""

import contextlib
import mmap
import os
from collections.abc import Callable, Collection, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tracer.capture.filters import Filters
from tracer.capture.ftrace import formats, probes
from tracer.capture.ftrace.decode import Kinded
from tracer.capture.ftrace.fetch import Fetch, faulting, trials
from tracer.capture.ftrace.instance import Instance
from tracer.capture.ftrace.objects import Objects
from tracer.capture.ftrace.probes import Probe
from tracer.capture.ftrace.records import Maker, Window
from tracer.capture.ftrace.source import FtraceSource, boot_ns
from tracer.capture.ftrace.supplements import TRACEPOINTS, WITNESSES, supplements
from tracer.capture.ftrace.tasks import Tasks
from tracer.capture.ftrace.what import What
from tracer.capture.processes import Identity
from tracer.capture.program import COUNTS
from tracer.errors import UserError
from tracer.kernel.plan import Plan, Step


class FtraceProgram:
    """Attached kprobe events for a plan. Close it to leave nothing behind."""

    def __init__(
        self,
        tracefs: Path,
        plan: Plan,
        layout: dict[str, int],
        filters: Filters,
        ring_bytes: int,
        tell: Callable[[str], None],
    ) -> None:
        """Raises UserError where tracefs refuses what is needed for any recording."""
        self._tell = tell
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
            self._attach(plan, Fetch(layout, keeps, current, faults), filters.unsealable)
            header = (tracefs / "events" / "header_page").read_text()
            self._source = FtraceSource(
                self._instance,
                formats.page_size(header),
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

    def _attach(self, plan: Plan, fetch: Fetch, unsealable: bool) -> None:
        """Every step whose events the kernel takes; the others are left out of the plan."""
        for group, event, what in TRACEPOINTS:
            try:
                self._add(None, what, group, event)
            except OSError as error:
                if what != What.CGROUP:
                    raise
                self._tell(f"tracefs: {group}:{event}: {error.strerror}; cgroups as at the start")
        steps: list[Step] = []
        for step in plan.steps:
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
        self.plan = Plan(tuple(steps))
        if not self.plan.live:
            reasons = "\n".join(f"  {step.family}: {step.reason}" for step in steps)
            raise UserError(f"no hook could be attached:\n{reasons}")
        if fetch.faults_are_misses:
            self._watch_for_misses_of_mmap()
        for probe in supplements(fetch):
            if refused := self._attach_step([probe]):
                self._tell(f"{refused}; what it would tell is taken from /proc, or unknown")

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
        kind = Kinded(formats.parse(self._instance.format(group, event)), what, probe)
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

    def counts(self) -> NDArray[np.void]:
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

    def identify(self, folder: int) -> Identity | None:
        """Not by this source."""
        return None

    def detach(self) -> None:
        """Takes every probe off; what is in the ring stays readable."""
        with contextlib.suppress(OSError):
            self._instance.stop()

    def close(self) -> None:
        self._instance.close()
