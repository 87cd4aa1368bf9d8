"""Rows as a ring would tell them, for the tests of pairing and of records."""

from typing import Any

import numpy as np

from tracer.capture.bpf_source import Filters
from tracer.capture.ftrace.decode import ROW, SEEN
from tracer.capture.ftrace.pages import What
from tracer.capture.ftrace.records import Maker, Objects, Window
from tracer.capture.ftrace.tasks import Tasks
from tracer.record import EVENT, RecordType
from tracer.words import Hook, Kind, Op

HOOK_OF = {
    Op.MMAP: Hook.MMAP,
    Op.WRITE: Hook.WRITE,
    Op.TRUNCATE: Hook.SETATTR,
    Op.CHMOD: Hook.SETATTR,
    Op.ADD_SEALS: Hook.SEALS,
    Op.CREATE: Hook.CREATE,
    Op.ALLOCATE: Hook.ALLOCATE,
}
KEY, INODE, INO = 77, 0xFFFF0000, 5


class Story:
    """Writes down what happens; ``rows`` are in the order of time."""

    def __init__(self) -> None:
        self._rows: list[np.void] = []
        self.now = 0

    def _add(self, what: What, tid: int, hook: Hook, **fields: Any) -> None:
        self.now += 10
        row = np.zeros(1, ROW)
        row["what"], row["tid"], row["hook"], row["time_ns"] = what, tid, hook, self.now
        row["fd"], row["nr"] = -1, 0xFFFF
        for name, value in fields.items():
            row[name] = value
        self._rows.append(row[0])

    def entry(self, tid: int, op: Op, **fields: Any) -> None:
        about = {"op": op, "key": KEY, "inode": INODE, "ino": INO, "dev": 1, "kind": Kind.TMPFS}
        self._add(What.ENTRY, tid, HOOK_OF[op], **(about | fields))

    def exit(self, tid: int, op: Op, ret: int = 0, **fields: Any) -> None:
        self._add(What.RETURN, tid, HOOK_OF[op], ret=ret, **fields)

    def call(self, tid: int, op: Op, ret: int = 0, **fields: Any) -> None:
        self.entry(tid, op, **fields)
        self.exit(tid, op, ret, sp=fields.get("sp", 0))

    def inside(self, what: What, tid: int, hook: Hook, **fields: Any) -> None:
        self._add(what, tid, hook, **fields)

    def take(self) -> Any:
        """What was told since the last time."""
        rows = np.array(self._rows, ROW) if self._rows else np.zeros(0, ROW)
        self._rows = []
        return rows


class NoTasks(Tasks):
    """Every thread is a process of its own, of user 0; nothing is asked of /proc."""

    def look_around(self) -> None:
        """Nobody is there."""

    def _cgroup_of(self, tid: int) -> int:
        return 0


def maker(filters: Filters | None = None, name: bytes = b"memfd:x", memfd: bool = True) -> Maker:
    filters = filters or Filters()
    follow = filters.pids if filters.pids or filters.follow_command else None
    from pathlib import Path

    tasks = NoTasks(follow, filters.uids, filters.cgroups, own=1, root=Path("/nowhere"))
    objects = Objects(filters.name)
    seen = np.zeros(1, SEEN)
    seen["key"], seen["is_memfd"], seen["name"] = KEY, memfd, np.void(name.ljust(256, b"\0"))
    objects.learn(seen)
    return Maker(filters, tasks, objects, Window(since=0))


def events(records: Any) -> Any:
    return records[records["type"] == RecordType.EVENT].view(EVENT)
