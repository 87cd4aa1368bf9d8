"""Finds the files that a recording's frames are of, on this machine, which may be another one.

A recording says paths and build ids, and may be anybody's: a path of it is opened only if that
changes nothing, and the file is used only if it is the one that ran. No driver is opened, no
link followed and no network asked: a path like ``/net/host/share`` would call somebody.
"""

import ctypes
import os
import stat
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tracer.stacks import elf
from tracer.stacks.debuginfod import Debuginfod
from tracer.stacks.recorded import Module

DEBUG_DIRS = ("/usr/lib/debug",)
"""Where distributions put separate debug files."""
FILE_BYTES = 1 << 32
"""A larger file is not looked into."""
_ASKS_OTHERS = ("autofs", "nfs", "cifs", "smb", "afs", "ceph", "fuse", "coda", "gfs", "ocfs", "9p")
"""File systems that may not answer, or whose looking tells somebody."""
_HARMLESS = ("fuseblk",)
_OPENAT2 = 437
_NO_LINKS = 0x02 | 0x04  # RESOLVE_NO_MAGICLINKS, RESOLVE_NO_SYMLINKS
_AT_FDCWD = -100


@dataclass
class Found:
    """An open file and what it says of itself."""

    fd: int
    elf: elf.Elf
    path: str

    def close(self) -> None:
        """Gives the descriptor back."""
        os.close(self.fd)


def _openat2(path: bytes, flags: int) -> int:
    """As open(2), through no symbolic link. OSError."""
    libc = ctypes.CDLL(None, use_errno=True)
    how = ctypes.create_string_buffer(struct.pack("=QQQ", flags, 0, _NO_LINKS), 24)
    fd = libc.syscall(_OPENAT2, _AT_FDCWD, ctypes.c_char_p(path), how, ctypes.c_size_t(24))
    if fd < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return int(fd)


def _held(path: bytes) -> int:
    """A descriptor that opens nothing (O_PATH). OSError."""
    flags = os.O_PATH | os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        return _openat2(path, flags)
    except OSError:
        # Before 5.6, and where a filter of system calls does not know it.
        if os.path.realpath(path) != path:
            raise
        return os.open(path, flags)


def _opened(path: bytes, mounts: "Mounts | None") -> int:
    """A regular file, open for reading. OSError."""
    if mounts is not None and not mounts.answers(path):
        raise FileNotFoundError(path)
    held = _held(path)
    try:
        found = os.fstat(held)
        if not stat.S_ISREG(found.st_mode) or found.st_size > FILE_BYTES:
            raise FileNotFoundError(path)
        flags = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
        try:
            return os.open(f"/proc/self/fd/{held}", flags)
        except FileNotFoundError:  # no /proc, as in a chroot
            fd = os.open(path, flags | os.O_NOFOLLOW)
        now = os.fstat(fd)
        if (now.st_dev, now.st_ino) != (found.st_dev, found.st_ino):
            os.close(fd)
            raise FileNotFoundError(path)
        return fd
    finally:
        os.close(held)


class Mounts:
    """Which folders lie on file systems that answer by themselves."""

    def __init__(self, proc: Path = Path("/proc")) -> None:
        self._points: dict[bytes, bytes] = {}
        try:
            lines = (proc / "self/mountinfo").read_bytes().splitlines()
        except OSError:
            lines = []  # in a chroot without /proc nothing is mounted on demand by us
        for line in lines:
            before, _, after = line.partition(b" - ")
            parts = before.split(b" ")
            if len(parts) > 4 and after:
                # A later mount covers an earlier one.
                self._points[_unescaped(parts[4])] = after.split(b" ", 1)[0]

    def answers(self, path: bytes) -> bool:
        """Whether looking at ``path`` asks nobody else."""
        where = path
        while where:
            kind = self._points.get(where)
            if kind is not None:
                return _asks_nobody(kind.decode("latin-1")) or where == b"/"
            where = b"/" if where.rfind(b"/") == 0 and where != b"/" else where.rpartition(b"/")[0]
        return True


def _asks_nobody(kind: str) -> bool:
    return kind in _HARMLESS or not kind.startswith(_ASKS_OTHERS)


def _unescaped(text: bytes) -> bytes:
    """A mount point: blanks and the like are octal there (fs/proc_namespace.c, mangle)."""
    for char in (b"\t", b"\n", b" ", b"#", b"\\"):
        text = text.replace(b"\\%03o" % char[0], char)
    return text


class Files:
    """Looks for the files of modules, and for their debug files by build id."""

    def __init__(
        self, debug_dirs: Sequence[str] = DEBUG_DIRS, debuginfod: Debuginfod | None = None
    ) -> None:
        """``debuginfod``: asked for what is not here; None: nobody is asked."""
        self._debug_dirs = tuple(debug_dirs)
        self._debuginfod = debuginfod
        self._mounts: Mounts | None = None

    def module(self, module: Module) -> Found | None:
        """The module's own file, if it is still the one that ran."""
        if not module.raw.startswith(b"/") or b"\0" in module.raw:
            return None
        if self._mounts is None:
            self._mounts = Mounts()
        found = _looked_at(module.raw, self._mounts)
        if found is None:
            return None
        if module.build_id:
            same = found.elf.build_id == module.build_id
        else:
            about = os.fstat(found.fd)
            dev = os.major(about.st_dev) << 20 | os.minor(about.st_dev)
            same = (dev, about.st_ino, about.st_size) == (module.dev, module.ino, module.size)
        if not same:
            found.close()
            return None
        return found

    def debug(self, build_id: str) -> Found | None:
        """A debug file with this build id."""
        if len(build_id) < 4:
            return None
        for path in self._paths(build_id):
            # The person said where to look: links there are the distribution's own.
            found = _looked_at(os.fsencode(os.path.realpath(path)), None)
            if found is None:
                continue
            if found.elf.build_id == build_id:
                return found
            found.close()
        return None

    def fetched(self, build_id: str) -> Found | None:
        """A debug file with this build id from a server, if those are to be asked."""
        path = None if self._debuginfod is None else self._debuginfod.path(build_id)
        found = None if path is None else _looked_at(os.fsencode(path), None)
        if found is not None and found.elf.build_id != build_id:
            found.close()
            return None
        return found

    def shared(self, of: Found, path: str, build_id: str) -> Found | None:
        """What several debug files have in common (dwz): by its build id, or as ``of`` says."""
        found = self.debug(build_id) or self.fetched(build_id)
        if found is not None or len(build_id) < 4:
            return found
        beside = os.path.realpath(os.path.join(os.path.dirname(of.path), path))
        folders = [os.path.realpath(folder) for folder in self._debug_dirs]
        if "\0" in path or not any(beside.startswith(f"{folder}/") for folder in folders):
            return None  # a debug file does not say which file of this machine is read
        found = _looked_at(os.fsencode(beside), None)
        if found is not None and found.elf.build_id != build_id:
            found.close()
            return None
        return found

    def _paths(self, build_id: str) -> Iterator[str]:
        name = f"{build_id[:2]}/{build_id[2:]}"
        for folder in self._debug_dirs:
            for inner in (".build-id", ""):
                yield os.path.join(folder, inner, f"{name}.debug")
                yield os.path.join(folder, inner, name)  # a whole program kept by its id


def _looked_at(path: bytes, mounts: Mounts | None) -> Found | None:
    try:
        fd = _opened(path, mounts)
    except (OSError, ValueError):
        return None
    try:
        return Found(fd, elf.read(fd), os.fsdecode(path))
    except (OSError, elf.NotElf):
        os.close(fd)
        return None
