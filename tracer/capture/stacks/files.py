"""Opens the files whose code was mapped: the very ones, and none that could hold us.

Any user can map a file of a FUSE file system of their own, whose server may never answer, hence
`tracer.stacks.mounts`; what a path leads to is looked at only when its mount, which may be another
process's, answers as well.
"""

import itertools
import os
import stat
import time
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from tracer.capture.memory_files import internal_mounts, look, mount_id, strip_deleted
from tracer.capture.stacks.records import File
from tracer.stacks.mounts import Mounts, answers_by_itself, hold, reopened

_FRESH_S = 1.0
_MOST_OPEN = 256
_NUMBERS = itertools.count(1)
"""Of no two files: a worker may know the earlier one."""


class Files:
    """The files of code, each with a number while it is open."""

    def __init__(self, proc: Path = Path("/proc")) -> None:
        self._proc = proc
        self._mounts = Mounts(proc / "self" / "mountinfo", answers_by_itself)
        self._internal = set(internal_mounts())
        self._open: OrderedDict[File, tuple[int, int]] = OrderedDict()
        self._failed: OrderedDict[tuple[File, int], float] = OrderedDict()
        self.dropped: Callable[[int], None] = lambda number: None
        """Called with the number of a file that is not kept any more."""

    def get(self, file: File, pid: int, start: int, end: int) -> tuple[int, int] | None:
        """Its number and a descriptor, None: it cannot be read (any more).

        ``pid`` has it mapped from ``start`` to ``end``, if it still lives.
        """
        found = self._open.get(file)
        if found is None:
            if time.monotonic() < self._failed.get((file, pid), 0.0):
                return None
            fd = self._find(file, pid, start, end)
            if fd is None:
                self._failed[file, pid] = time.monotonic() + _FRESH_S
                while len(self._failed) > 4 * _MOST_OPEN:
                    self._failed.popitem(last=False)
                return None
            found = self._open[file] = next(_NUMBERS), fd
            while len(self._open) > _MOST_OPEN:
                _, (number, old) = self._open.popitem(last=False)
                os.close(old)
                self.dropped(number)
        self._open.move_to_end(file)
        return found

    def add(self, data: bytes) -> tuple[int, int]:
        """A number and a descriptor for bytes of our own."""
        fd = os.memfd_create("sealsnoop-code", os.MFD_CLOEXEC)
        os.write(fd, data)
        return next(_NUMBERS), fd

    def close(self) -> None:
        """Gives them all back."""
        while self._open:
            os.close(self._open.popitem()[1][1])

    def _find(self, file: File, pid: int, start: int, end: int) -> int | None:
        ways: list[Callable[[], int]] = [
            lambda: self._by_path(file.path),
            lambda: os.open(
                self._proc / str(pid) / "map_files" / f"{start:x}-{end:x}",
                os.O_PATH | os.O_CLOEXEC,
            ),
        ]
        for way in ways:
            with suppress(OSError, ValueError):
                fd = way()
                try:
                    return self.checked(fd, file, pid)
                finally:
                    os.close(fd)
        return None

    def _by_path(self, path: bytes) -> int:
        if not path.startswith(b"/") or b"\0" in path or path != strip_deleted(path):
            raise FileNotFoundError(path)
        self._mounts.look()
        if not self._mounts.answers(path):
            raise FileNotFoundError(path)
        return hold(path)

    def checked(self, fd: int, file: File, pid: int) -> int:
        """What is held by O_PATH, open for reading, if it is this one. OSError, FileNotFoundError.

        ``pid``: whose mount it may be on.
        """
        mount = mount_id(f"/proc/self/fdinfo/{fd}")
        good = mount in self._internal or self._mounts.by_id.get(mount)
        if good is None:
            # Whoever makes a user namespace has any file system at /.
            path = self._proc / str(pid) / "mountinfo"
            table = Mounts(path, answers_by_itself, trusts_root=False)
            table.look()
            good = table.by_id.get(mount, False)
        if not good:
            raise FileNotFoundError(file.path)
        found = look(fd)
        same_device = found.dev == file.dev or not (found.dev >> 20 and file.dev >> 20)
        same_size = found.size == file.size or not file.size
        if not (stat.S_ISREG(found.mode) and found.ino == file.ino and same_device and same_size):
            raise FileNotFoundError(file.path)
        return reopened(fd)
