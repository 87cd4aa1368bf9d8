"""Who a thread is: its process, user and cgroup, which the events themselves do not tell.

What was there at the start is read from /proc; from then on the kernel's own events (a new task,
new credentials, another cgroup) keep it, each in its place in time.
"""

import contextlib
import os
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tracer.capture.cgroups import below
from tracer.capture.ftrace.decode import THREAD_BIT
from tracer.capture.ftrace.pages import Rows, What
from tracer.capture.processes import start_ns
from tracer.record import EVENT

_MANY = 65536
_CGROUPS = Path("/sys/fs/cgroup")
_TASK_EVENTS = (What.NEWTASK, What.CREDS, What.CGROUP, What.EXEC)

WHO = np.dtype(
    [(name, EVENT[name]) for name in ("pid", "uid", "cgroup", "start_ns", "exec_id")]
    + [("wanted", "?"), ("others", "?")]
)


@dataclass(slots=True)
class _Task:
    pid: int
    uid: int
    cgroup: int
    start_ns: int = 0
    """Of its process; of one that was there before us as /proc has it, in ticks."""
    exec_id: int = 0
    """Counts the programs that it was seen to execute."""
    born: bool = False
    """Nothing was asked of it yet: its cgroup is its parent's, unless it was made into another."""


class Tasks:
    """All threads by number. ``follow``: the processes whose children are wanted too, None: all."""

    def __init__(
        self,
        follow: Collection[int] | None,
        uids: Collection[int],
        cgroups: Collection[int],
        own: int,
        root: Path = Path("/"),
    ) -> None:
        self._proc = root / "proc"
        self._known: dict[int, _Task] = {}
        self._followed = None if follow is None else set(follow)
        self._uids, self._own = frozenset(uids), own
        self._cgroups, self._others = set(cgroups), set[int]()
        self._ids: dict[str, int] = {}
        self._prune_at = _MANY
        self.test: int | None = None
        """The process whose acts are wanted past the filters."""

    def look_around(self) -> None:
        """Reads who is there. Call it when the events are already on."""
        for process in self._proc.iterdir():
            if process.name.isdecimal():
                with contextlib.suppress(OSError):
                    for thread in (process / "task").iterdir():
                        self._read(int(thread.name))

    def follow(self, pid: int) -> None:
        if self._followed is not None:
            self._followed.add(pid)

    def _read(self, tid: int) -> _Task:
        task = _Task(tid, 0, 0)
        with contextlib.suppress(OSError, ValueError, IndexError):
            for line in (self._proc / str(tid) / "status").read_text().splitlines():
                name, _, value = line.partition(":\t")
                if name == "Tgid":
                    task.pid = int(value)
                elif name == "Uid":
                    task.uid = int(value.split()[0])
            task.cgroup = self._cgroup_of(tid)
            self._known[tid] = task
            task.start_ns = start_ns((self._proc / str(task.pid) / "stat").read_bytes())
        return task

    def _cgroup_of(self, tid: int) -> int:
        """The id of its cgroup in the default hierarchy, 0: unknown."""
        for line in (self._proc / str(tid) / "cgroup").read_text().splitlines():
            if line.startswith("0::"):
                path = line[3:]
                if path not in self._ids:
                    try:
                        self._ids[path] = os.stat(f"{_CGROUPS}{path}").st_ino
                    except OSError:
                        return 1 if path == "/" else 0  # the root's id is always 1
                return self._ids[path]
        return 0

    def _prune(self) -> None:
        """Forgets the dead, when there are many: a number comes again with an event of its own."""
        if len(self._known) >= self._prune_at:
            self._known = {
                tid: task for tid, task in self._known.items() if (self._proc / str(tid)).exists()
            }
            self._prune_at = 2 * len(self._known) + _MANY

    def _get(self, tid: int) -> _Task:
        return self._known.get(tid) or self._read(tid)

    def _apply(self, what: int, tid: int, number: int, time_ns: int) -> None:
        if what == What.CREDS:
            self._get(tid).uid = number
        elif what == What.EXEC:
            self._get(tid).exec_id += 1
        elif what == What.CGROUP:
            pid = self._get(tid).pid
            for task in self._known.values():
                if task.pid == pid:
                    task.cgroup = number
        else:
            thread = bool(number & THREAD_BIT)
            self._born(self._get(tid), number & (THREAD_BIT - 1), thread, time_ns)

    def _born(self, parent: _Task, child: int, thread: bool, time_ns: int) -> None:
        pid, start = (parent.pid, parent.start_ns) if thread else (child, time_ns)
        self._known[child] = _Task(
            pid, parent.uid, parent.cgroup, start, parent.exec_id, born=not thread
        )
        if self._followed is not None and not thread:
            if parent.pid in self._followed:
                self._followed.add(child)
            else:
                self._followed.discard(child)  # the number was somebody else's before

    def _look_at(self, tid: int) -> _Task:
        """CLONE_INTO_CGROUP has no event: /proc tells, for as long as the task lives."""
        task = self._get(tid)
        if task.born:
            task.born = False
            with contextlib.suppress(OSError):
                task.cgroup = self._cgroup_of(tid) or task.cgroup
        return task

    def _wanted(self, task: _Task) -> tuple[bool, bool]:
        """Whether what it does is, and whether that is where its file is followed."""
        if self.test is not None:
            return (task.pid == self.test,) * 2
        others = (
            task.pid != self._own
            and (not self._uids or task.uid in self._uids)
            and (not self._cgroups or self._is_below(task.cgroup))
        )
        return others and (self._followed is None or task.pid in self._followed), others

    def _is_below(self, cgroup: int) -> bool:
        """Whether it is one of those wanted or below them: one that is new is looked for once."""
        if cgroup not in self._cgroups and cgroup not in self._others:
            self._cgroups |= below(self._cgroups)
            self._others.add(cgroup)
        return cgroup in self._cgroups

    def who(self, tids: NDArray[np.uint32], times: NDArray[np.uint64], rows: Rows) -> Rows:
        """`WHO` of each thread at its time; ``rows`` are new rows in order, with what changed.

        Takes the changes in: call it once for each batch, with times of this batch.
        """
        found = np.zeros(len(tids), WHO)
        changes = rows[np.isin(rows["what"], _TASK_EVENTS)]
        order = np.argsort(times, kind="stable")
        bounds = np.searchsorted(times[order], changes["time_ns"], side="left")
        start = 0
        for place, change in zip(bounds.tolist(), changes, strict=True):
            self._tell(found, tids, order[start:place])
            start = place
            names = ("what", "tid", "number", "time_ns")
            self._apply(*(int(change[name]) for name in names))
        self._tell(found, tids, order[start:])
        self._prune()
        return found

    def _tell(self, found: Rows, tids: NDArray[np.uint32], places: NDArray[np.intp]) -> None:
        if not len(places):
            return
        different, which = np.unique(tids[places], return_inverse=True)
        facts = np.zeros(len(different), WHO)
        for at, tid in enumerate(different.tolist()):
            task = self._look_at(tid)
            who = task.pid, task.uid, task.cgroup, task.start_ns, task.exec_id
            facts[at] = (*who, *self._wanted(task))
        found[places] = facts[which]
