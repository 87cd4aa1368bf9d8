"""Opens the files whose code was mapped: the very ones, and none that could hold us.

Any user can map a file of a FUSE file system of their own, whose server may never answer: who asks
it, even for a path that leads through it, stands still. So a path is followed only where every
mount on it is of a kind that answers by itself, and without symbolic links; what it leads to is
held by O_PATH, and looked at only when its mount is of such a kind as well.
"""

import ctypes
import itertools
import os
import re
import stat
import struct
import time
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from tracer.capture.memory_files import internal_mounts, look, mount_id, strip_deleted
from tracer.capture.stacks.records import File

_ANSWER = frozenset(
    b"ext2 ext3 ext4 xfs btrfs f2fs bcachefs zfs tmpfs ramfs rootfs overlay squashfs erofs iso9660 "
    b"vfat exfat udf hfsplus jfs reiserfs nilfs2 minix romfs cramfs "
    b"nfs nfs4 cifs smb3 9p virtiofs ceph".split()
)
"""File systems that ask nobody outside of the kernel but disks; and those of servers that root
alone can mount: one that does not answer holds up the stacks, and nothing else."""
_OCTAL = re.compile(rb"\\([0-7]{3})")
_FRESH_S = 1.0
_MOST_OPEN = 256
_OPENAT2 = 437
_RESOLVE_NO_SYMLINKS = 0x04  # nor those of /proc
_NUMBERS = itertools.count(1)
"""Of no two files: a worker may know the earlier one."""
_libc = ctypes.CDLL(None, use_errno=True)


class _Mounts:
    """One table of mounts, read again when it is old."""

    def __init__(self, table: Path) -> None:
        self._table = table
        self._read_s = 0.0
        self.by_id: dict[int, bool] = {}
        """Whether a mount answers."""
        self._points: dict[bytes, bool] = {}

    def look(self) -> None:
        """Reads it, if it was not just now. OSError."""
        if self._read_s and time.monotonic() - self._read_s < _FRESH_S:
            return
        by_id: dict[int, bool] = {}
        points: dict[bytes, bool] = {}
        for line in self._table.read_bytes().splitlines():
            before, _, after = line.partition(b" - ")
            parts, kind = before.split(b" "), after.split(b" ", 1)[0]
            if len(parts) < 5:
                continue
            point = _OCTAL.sub(lambda one: bytes([int(one[1], 8) & 255]), parts[4])
            # If the one that holds our own programs does not answer, nothing does.
            good = kind in _ANSWER or point == b"/"
            by_id[int(parts[0])] = good
            points[point] = good and points.get(point, True)
        self.by_id, self._points = by_id, points
        self._read_s = time.monotonic()

    def answers(self, path: bytes) -> bool:
        """Whether all mounts on the way do."""
        parts = path.split(b"/")
        ways = [b"/".join(parts[:end]) or b"/" for end in range(1, len(parts) + 1)]
        return all(self._points.get(way, True) for way in ways)


def _open_plain(path: bytes) -> int:
    """By O_PATH, without following symbolic links anywhere on the way. OSError."""
    how = struct.pack("=QQQ", os.O_PATH | os.O_CLOEXEC, 0, _RESOLVE_NO_SYMLINKS)
    fd = _libc.syscall(_OPENAT2, -100, ctypes.c_char_p(path), ctypes.c_char_p(how), len(how))
    if fd < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return int(fd)


class Files:
    """The files of code, each with a number while it is open."""

    def __init__(self, proc: Path = Path("/proc")) -> None:
        self._proc = proc
        self._mounts = _Mounts(proc / "self" / "mountinfo")
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
                    return self._checked(fd, file, pid)
                finally:
                    os.close(fd)
        return None

    def _by_path(self, path: bytes) -> int:
        if not path.startswith(b"/") or b"\0" in path or path != strip_deleted(path):
            raise FileNotFoundError(path)
        self._mounts.look()
        if not self._mounts.answers(path):
            raise FileNotFoundError(path)
        return _open_plain(path)

    def _checked(self, fd: int, file: File, pid: int) -> int:
        """Open for reading, if it is this one. OSError, FileNotFoundError."""
        mount = mount_id(f"/proc/self/fdinfo/{fd}")
        good = mount in self._internal or self._mounts.by_id.get(mount)
        if good is None:
            table = _Mounts(self._proc / str(pid) / "mountinfo")
            table.look()
            good = table.by_id.get(mount, False)
        if not good:
            raise FileNotFoundError(file.path)
        found = look(fd)
        same_device = found.dev == file.dev or not (found.dev >> 20 and file.dev >> 20)
        same_size = found.size == file.size or not file.size
        if not (stat.S_ISREG(found.mode) and found.ino == file.ino and same_device and same_size):
            raise FileNotFoundError(file.path)
        flags = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
        return os.open(f"/proc/self/fd/{fd}", flags)
