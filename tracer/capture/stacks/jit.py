"""Names of code that a process made in its own memory, as it says itself in its perf map.

JIT compilers write ``/tmp/perf-PID.map`` for perf (tools/perf/Documentation/jit-interface.txt), in
the mount namespace of the process and by the number that it has for itself. Whoever is traced
wrote that file, so a name from it is what they claim; and it is opened with nothing of it asked
that could hold us: each step is held by O_PATH, then its mount is looked at, and only then goes
it further down, or in.
"""

import os
import re
import stat
import time
from collections import OrderedDict, deque
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tracer.capture.memory_files import mount_id
from tracer.capture.stacks.maps import Space, started
from tracer.record import PROC_TICK_NS
from tracer.stacks.mounts import Mounts, answers_by_itself, reopened

_BYTES = 1 << 24
_ENTRIES = 1 << 18
"""The last of a file: code that took the place of other code stands behind that."""
_PROCESSES = 32
_FRESH_S = 1.0
_SHARE = 20
"""Reading takes a twentieth of the time at most."""
_LINE = re.compile(
    rb"^(?:0x)?([0-9a-fA-F]{1,16}) ([0-9a-fA-F]{1,8}) ([^\n]{1,1024})$", re.MULTILINE
)
_UID = re.compile(rb"^Uid:\t\d+\t(\d+)", re.MULTILINE)
_NS_PID = re.compile(rb"^NSpid:(?:\t\d+)*\t(\d+)$", re.MULTILINE)
_HOLD = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(slots=True)
class _Map:
    """What one process says."""

    starts: Any
    sizes: Any
    names: list[bytes]
    until_s: float
    """When it is read again, at the earliest."""


class PerfMaps:
    """The perf maps of processes."""

    def __init__(self, proc: Path = Path("/proc")) -> None:
        self._proc = proc
        self._known: OrderedDict[tuple[int, int], _Map] = OrderedDict()

    def name(self, space: Space, address: int) -> bytes:
        """What the process calls the code at an address; empty: nothing, or it is gone."""
        key = space.pid, space.start_ns
        known = self._known.get(key)
        if known is None or time.monotonic() > known.until_s:
            known = self._known[key] = self._read(space)
            while len(self._known) > _PROCESSES:
                self._known.popitem(last=False)
        self._known.move_to_end(key)
        at = np.uint64(address)
        hits = np.flatnonzero((known.starts <= at) & (at - known.starts < known.sizes))
        return known.names[hits[-1]] if len(hits) else b""

    def _read(self, space: Space) -> _Map:
        begun = time.monotonic()
        data = b""
        with suppress(OSError, ValueError, IndexError):
            data = self._data(space)
        found = deque(_LINE.finditer(data), _ENTRIES)
        starts = np.array([int(one[1], 16) for one in found], np.uint64)
        sizes = np.array([int(one[2], 16) for one in found], np.uint64)
        names = [one[3].strip() for one in found]
        now = time.monotonic()
        return _Map(starts, sizes, names, now + max(_FRESH_S, _SHARE * (now - begun)))

    def _data(self, space: Space) -> bytes:
        """OSError and the like: there is none that is the process's own, or that may be read."""
        folder = self._proc / str(space.pid)
        table = Mounts(folder / "mountinfo", answers_by_itself, trusts_root=False)
        held = os.open(folder / "root", os.O_PATH | os.O_CLOEXEC)
        try:
            status = (folder / "status").read_bytes()
            # Its root is held: what is looked at from here on is of this process, or is refused.
            if abs(started(folder) - space.start_ns) > PROC_TICK_NS:
                raise FileNotFoundError(folder)
            uid, number = _UID.search(status), _NS_PID.search(status)
            own = int(number[1]) if number else space.pid
            for name in ("tmp", f"perf-{own}.map"):
                self._check(held, table)
                below = os.open(name, _HOLD, dir_fd=held)
                os.close(held)
                held = below
            self._check(held, table)
            about = os.fstat(held)
            mine = uid is not None and about.st_uid == int(uid[1])
            if not (stat.S_ISREG(about.st_mode) and mine and about.st_size <= _BYTES):
                raise FileNotFoundError(own)
            with open(reopened(held), "rb") as file:
                return file.read(_BYTES)
        finally:
            os.close(held)

    def _check(self, held: int, table: Mounts) -> None:
        """Nothing is asked that could hold us. FileNotFoundError: its file system might."""
        table.look(fresh=True)
        if not table.by_id.get(mount_id(f"/proc/self/fdinfo/{held}"), False):
            raise FileNotFoundError(held)
