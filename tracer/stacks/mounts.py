"""Paths that somebody else chose: which are followed, and how, without asking anybody.

A path that leads through a file system of a server, or of a program (FUSE), asks that. Who looks
may stand still for ever, or tell somebody that they look. So a path is followed only where every
mount on it is of a kind that may be asked, and without symbolic links; what it leads to is held by
O_PATH, which opens no driver, and looked at before it is opened.
"""

import ctypes
import os
import re
import struct
import time
from collections.abc import Callable
from pathlib import Path

_LOCAL = frozenset(
    b"ext2 ext3 ext4 xfs btrfs f2fs bcachefs zfs tmpfs ramfs rootfs overlay squashfs erofs iso9660 "
    b"vfat exfat udf hfsplus jfs reiserfs nilfs2 minix romfs cramfs".split()
)
_SERVERS = frozenset(b"nfs nfs4 cifs smb3 9p virtiofs ceph".split())
_ASKS_OTHERS = tuple(b"autofs nfs cifs smb afs ceph fuse coda gfs ocfs 9p".split())
"""How their names begin."""
_HARMLESS = frozenset({b"fuseblk"})
_OCTAL = re.compile(rb"\\([0-7]{3})")
_FRESH_S = 1.0
_OPENAT2 = 437
_RESOLVE_NO_SYMLINKS = 0x04  # nor those of /proc
_AT_FDCWD = -100
_libc = ctypes.CDLL(None, use_errno=True)


def answers_by_itself(kind: bytes) -> bool:
    """Asks nobody outside of the kernel but disks, and servers that root alone can mount.

    A server that does not answer holds up the stacks, and nothing else; a user's own FUSE would
    at will.
    """
    return kind in _LOCAL or kind in _SERVERS


def tells_nobody(kind: bytes) -> bool:
    """Looking at it tells no other machine or program."""
    return kind in _HARMLESS or not kind.startswith(_ASKS_OTHERS)


class Mounts:
    """One table of mounts, read again when it is old."""

    def __init__(
        self, table: Path, good: Callable[[bytes], bool], *, trusts_root: bool = True
    ) -> None:
        """``good``: whether a file system of that kind may be asked; ``trusts_root``: the one at /
        is ours, too."""
        self._table, self._good, self._trusts_root = table, good, trusts_root
        self._read_s = 0.0
        self.by_id: dict[int, bool] = {}
        """Whether a mount may be asked."""
        self._points: dict[bytes, bool] = {}

    def look(self, *, fresh: bool = False) -> None:
        """Reads it, if it was not just now (``fresh``: then, too). OSError."""
        if not fresh and self._read_s and time.monotonic() - self._read_s < _FRESH_S:
            return
        by_id: dict[int, bool] = {}
        at: dict[int, bytes] = {}
        parents: dict[int, int] = {}
        for line in self._table.read_bytes().splitlines():
            before, _, after = line.partition(b" - ")
            parts, kind = before.split(b" "), after.split(b" ", 1)[0]
            if len(parts) < 5:
                continue
            # Blanks and the like are octal (fs/proc_namespace.c, mangle).
            point = _OCTAL.sub(lambda one: bytes([int(one[1], 8) & 255]), parts[4])
            # If the one that holds our own programs does not answer, nothing does.
            good = self._good(kind) or (self._trusts_root and point == b"/")
            number = int(parts[0])
            by_id[number], at[number], parents[number] = good, point, int(parts[1])
        # What another one is mounted upon, at the very point, is not entered: an automount.
        covered = {above for number, above in parents.items() if at.get(above) == at[number]}
        self._points = {}
        for number in by_id.keys() - covered:
            self._points[at[number]] = by_id[number] and self._points.get(at[number], True)
        self.by_id = by_id
        self._read_s = time.monotonic()

    def answers(self, path: bytes) -> bool:
        """Whether all mounts on the way do; not if the way is said in a roundabout manner."""
        parts = path.split(b"/")
        if not {b"", b".", b".."}.isdisjoint(parts[1:]):
            return False
        ways = [b"/".join(parts[:end]) or b"/" for end in range(1, len(parts) + 1)]
        return all(self._points.get(way, True) for way in ways)


def hold(path: bytes) -> int:
    """By O_PATH, without following symbolic links anywhere on the way. OSError."""
    flags = os.O_PATH | os.O_CLOEXEC | os.O_NOFOLLOW
    how = struct.pack("=QQQ", flags, 0, _RESOLVE_NO_SYMLINKS)
    fd = _libc.syscall(_OPENAT2, _AT_FDCWD, ctypes.c_char_p(path), ctypes.c_char_p(how), len(how))
    if fd < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return int(fd)


READING = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


def reopened(held: int) -> int:
    """For reading, what is held by O_PATH and proved to be a regular file. OSError."""
    return os.open(f"/proc/self/fd/{held}", READING)
