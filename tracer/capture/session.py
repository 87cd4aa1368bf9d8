"""One recording from start to end: hooks, baseline, ring to store, losses, and an orderly stop."""

import errno
import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from tracer.capture.actors import ActorFilter
from tracer.capture.attach import Hooks, ModuleWatch
from tracer.capture.baseline import baseline_records
from tracer.capture.bpf_source import CAUSES, HOOKS
from tracer.capture.cgroups import cgroup_records
from tracer.capture.ledger import Ledger, clock_record
from tracer.capture.looker import Looker
from tracer.capture.memory_files import Mounts, Scan
from tracer.capture.processes import Identity, folder, known
from tracer.capture.procfs import Scanner
from tracer.capture.ring import Records, Source
from tracer.capture.stacks.reader import StackReader
from tracer.capture.tasks import Told
from tracer.capture.virtual_machines import Walked, machine_records
from tracer.record import USER_CPU, Hook
from tracer.recording.writer import RecordingWriter
from tracer.words import CONTEXT, WANTED

_SHORTEST_NAP_S = 0.002
_LONGEST_NAP_S = 0.05
_LAST_RECORDS_S = 1.0
_BATCHES = 16
"""Polls in a row before the tail and the clock are looked at again."""
_PROGRESS_S = 0.25
_CONTEXT = frozenset(cause.name.lower() for cause in CONTEXT)
_NO_EVENT = _CONTEXT | {cause.name.lower() for cause in WANTED}
_DRAIN_EVERY = 1000
"""Files that are looked at in between."""


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a recording stands: seconds, events and losses since its start, bytes on disk."""

    seconds: float
    events: int
    lost: int
    bytes: int


class Stop(Protocol):
    """Why to stop now, or None."""

    def __call__(self) -> str | None: ...


class Session:
    """Moves what the ring holds into the recording until it is told to stop."""

    def __init__(
        self,
        program: Hooks,
        writer: RecordingWriter,
        tell: Callable[[str], None],
        audit: bool = False,
        watch: ModuleWatch | None = None,
        interrupts: Callable[[], int] = lambda: 0,
        most_bytes: int | None = None,
        stacks: StackReader | None = None,
        cmdlines: bool = True,
        looker: Looker | None = None,
        wanted: ActorFilter | None = None,
    ) -> None:
        """``interrupts``: how often somebody has wanted an end; a look at /proc heeds the next.
        ``most_bytes``: what the recording may take on the disk, and what the ring and the
        segment that is being encoded hold comes on top. ``cmdlines``: those of who has memory
        files are read. ``looker`` looks at who acts, ``wanted``: by whom events are recorded.
        """
        self.full = False
        """It took so much and was stopped for that."""
        self._most_bytes = most_bytes
        self._stacks, self._stacks_failed = stacks, False
        self.sweeps: dict[str, dict[str, Any] | None] = {}
        """``start`` and, for audits, ``final``: what was missed in looking at /proc, in words;
        None where it was not looked at. For audits ``start`` also says of virtual machines."""
        self._audit = audit
        self._watch = watch
        self._interrupts = interrupts
        self._announced: set[tuple[int, int]] = set()
        self._told = Told(cmdlines)
        self._looker, self._wanted = looker, wanted
        self._program = program
        self._writer = writer
        self._tell = tell
        self._source: Source = program.ring()
        self._ledger = Ledger(HOOKS, CAUSES)
        self._missed_before: dict[str, int] = {}
        self._user_seq = 0
        self._start_s = time.monotonic()
        self._next_second_s = self._start_s + 1

    @property
    def progress(self) -> Progress:
        return Progress(
            time.monotonic() - self._start_s,
            self._ledger.decided,
            self._ledger.lost,
            self._writer.bytes_on_disk,
        )

    @property
    def losses(self) -> dict[str, int]:
        """``{cause: count}`` of events so far."""
        return {cause: n for cause, n in self._ledger.by_cause().items() if cause not in _NO_EVENT}

    @property
    def incomplete(self) -> dict[str, int]:
        """The same of what stands around them: names, command lines, user stacks."""
        return {cause: n for cause, n in self._ledger.by_cause().items() if cause in _CONTEXT}

    def begin(self, with_baseline: bool = True) -> None:
        """Starts sending. The baseline is read after that, so that nothing falls in between."""
        self._append(clock_record())
        self._missed_before = self._program.missed()
        self._program.enable()
        if self._stacks is not None:
            self._stacks.start()
        if with_baseline:
            self._append(cgroup_records())
        self._sweep(with_baseline, final=False)

    def _sweep(self, with_baseline: bool, final: bool) -> None:
        """Who has which memory file open or mapped now; for audits also the inodes' own word."""
        found = None
        when = "final" if final else "start"
        self.sweeps[when] = None
        if with_baseline:
            try:
                found = self._scan()
            except OSError as error:
                self._tell(f"no baseline: /proc cannot be read: {error.strerror or error}")
        if found is not None:
            self._append(baseline_records(found, final, self._announced))
            self._announced |= {(file.dev, file.ino) for file in found.files}
            self._append(self._told.records)
            told: dict[str, Any] = {"problems": [str(problem) for problem in found.problems]}
            if self._audit and not final:
                told |= self._machines(found)
            self.sweeps[when] = told
            for problem in found.problems:
                self._tell(f"{'final sweep' if final else 'baseline'}: {problem}")
        if self._audit:
            try:
                self._show_mapped(found, final)
            except OSError as error:
                self._tell(f"whether files are mapped cannot be read: {error.strerror or error}")

    def _machines(self, scan: Scan) -> dict[str, Any]:
        """Which virtual machines there are, as records; what `end.json` says of that."""
        try:
            found = self._program.virtual_machines()
        except OSError as error:
            found = Walked(why=error.strerror or str(error))
        needed = {one.numbers.own_mm for one in found.machines}
        spaces = {
            one.own_mm: (pid, known(Path("/proc"), pid, one))
            for pid, one in sorted(scan.alive.items(), key=lambda each: each[1].start_ns)[::-1]
            if one.own_mm in needed  # of several the first is the one whose it is
        }
        self._append(machine_records(found, spaces))
        if found.why or found.unknown:
            self._tell(f"baseline: memslots from before: {found.problem}")
        return {"machines": len(found.machines), "machines_problem": found.problem}

    def _show_mapped(self, scan: Scan | None, final: bool) -> None:
        """One BASELINE record (op ``mapped``) for each file of ``scan`` and each object in BPF.

        /proc tells who maps a file, as far as it shows every process; the inode's own tree of
        mappings (``i_mmap``), read in the kernel, tells that nobody does. OSError where the kernel
        does not run BPF programs at will.
        """
        shown: set[tuple[int, int]] = set()
        mounts = (scan.mounts if scan else None) or Mounts(Path("/proc"))
        for number, file in enumerate(scan.files if scan else ()):
            for path in file.paths():
                # Gone meanwhile: then another of its users may still have it.
                with suppress(FileNotFoundError, ProcessLookupError, PermissionError):
                    with mounts.held(path, file.dev, file.ino) as fd:
                        self._program.show_mapped(fd, final)
                    shown.add((file.dev, file.ino))
                    break
            if number % _DRAIN_EVERY == 0:
                self._drain()
        self._program.show_known_mapped(final, shown)

    def _identify(self) -> Callable[[int], Identity | None] | None:
        """How to ask which program a process runs, for audits, where the kernel tells it."""
        if not self._audit:
            return None
        try:
            with folder(Path("/proc"), os.getpid()) as own:
                known = self._program.identify(own)
        except OSError as error:
            self._tell(f"which programs processes run cannot be read: {error.strerror or error}")
            return None
        return self._program.identify if known else None

    def _scan(self) -> Scan:
        """Reads /proc in a thread: with thousands of processes the ring would not wait for it.

        OSError. Who interrupts the recorder interrupts this too.
        """
        scan: Future[Scan] = Future()
        before = self._interrupts()
        identify = self._identify()

        def work() -> None:
            try:
                found = Scanner(identify=identify).scan()
                self._told.look(found)
                scan.set_result(found)
            except BaseException as error:  # raised below
                scan.set_exception(error)

        thread = threading.Thread(target=work, name="scan", daemon=True)
        thread.start()
        while not scan.done():
            if self._interrupts() > before:
                raise InterruptedError(errno.EINTR, "interrupted")
            self._drain()
            time.sleep(_SHORTEST_NAP_S)
        thread.join()  # what it may is given away next, and must not be found there
        return scan.result()

    def run(self, stop: Stop, show: Callable[[Progress], None]) -> str:
        """Records until ``stop`` gives a reason, which is returned. Raises StoreError."""
        nap_s = _SHORTEST_NAP_S
        next_show_s = self._start_s
        while True:
            reason = stop() or self._too_much()
            changed = self._watch.poll() if self._watch else None
            if changed is not None:
                self._append(changed)
            busy = self._drain()
            if self._stacks is not None:
                self._append_stacks(self._stacks.take())
            if self._looker is not None and (found := self._looker.take()) is not None:
                self._append(found)
            now_s = time.monotonic()
            self._writer.tick(now_s)
            if now_s >= self._next_second_s:
                self._each_second()
                self._next_second_s = now_s + 1
            if now_s >= next_show_s:
                show(self.progress)
                next_show_s = now_s + _PROGRESS_S
            if reason is not None:
                return reason
            nap_s = _SHORTEST_NAP_S if busy else min(nap_s * 2, _LONGEST_NAP_S)
            time.sleep(nap_s)

    def _too_much(self) -> str | None:
        """A reason to stop: any user can make so many events that the disk is full."""
        if self._most_bytes is None or self._writer.bytes_on_disk < self._most_bytes:
            return None
        self.full = True
        return "full"

    def _drain(self) -> bool:
        """Takes what is ready, but not for ever; whether there was anything."""
        for batch in range(_BATCHES):
            records = self._source.poll()
            count = len(records)
            self._take(records)
            self._source.release()
            if not count:
                return batch > 0
        return True

    def _take(self, records: Records) -> None:
        """Records of whatever source, which may be overwritten after the call."""
        if len(records):
            if self._looker is not None:
                self._looker.see(records)
            if self._wanted is not None:
                records = self._wanted.of(records)
        self._writer.append(records)

    def _each_second(self) -> None:
        # What was skipped while we said nothing yet is no event that is missing.
        missed = {
            Hook[hook.upper()].value: times - self._missed_before.get(hook, 0)
            for hook, times in self._program.missed().items()
            if times > self._missed_before.get(hook, 0)
        }
        filtered = None if self._wanted is None else self._wanted.left_out
        self._append(self._ledger.update(self._program.counts(), missed, filtered))

    def finish(self, with_baseline: bool = True) -> dict[int, int]:
        """Takes the hooks off and reads what is left; ``{cpu: sequence numbers given out}``.

        For audits a last sweep comes first, while the hooks still send: nothing falls in between.
        """
        if self._audit and not self.full:
            self._sweep(with_baseline, final=True)
        self._program.disable()
        self._program.detach()
        # A BPF program that was running when its hook was taken off may still write its record.
        until_s = time.monotonic() + _LAST_RECORDS_S
        while self._drain() or (self._source.fill and time.monotonic() < until_s):
            time.sleep(0)
        if self._stacks is not None:
            self._append_stacks(self._stacks.finish())
        if self._looker is not None and (found := self._looker.finish()) is not None:
            self._append(found)
        self._each_second()
        self._append(clock_record())
        return {
            cpu: int(row["seq"]) for cpu, row in enumerate(self._program.counts()) if row["seq"]
        } | {USER_CPU: self._user_seq}

    def _append_stacks(self, records: Records | None) -> None:
        if records is not None:
            self._append(records)
        failure = self._stacks.failure if self._stacks is not None else None
        if failure is not None and not self._stacks_failed:
            self._stacks_failed = True
            self._tell(f"no more user stacks: {type(failure).__name__}: {failure}")

    @property
    def in_flight(self) -> int:
        return self._program.in_flight()

    def _append(self, records: Records) -> None:
        """Records of our own making are numbered too, so that a hole among them shows."""
        records["seq"] = np.arange(self._user_seq, self._user_seq + len(records))
        self._user_seq += len(records)
        self._take(records)
