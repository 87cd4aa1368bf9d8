"""Finds the files that a recording's frames are of, on this machine, which may be another one.

A recording says paths and build ids, and may be anybody's: a path of it is opened only if that
changes nothing, and the file is used only if it is the one that ran. No driver is opened, no
link followed and no network asked: a path like ``/net/host/share`` would call somebody.
"""

import errno
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tracer.stacks import elf, mounts
from tracer.stacks.debuginfod import Debuginfod
from tracer.stacks.recorded import Module

DEBUG_DIRS = ("/usr/lib/debug",)
"""Where distributions put separate debug files."""
FILE_BYTES = 1 << 32
"""A larger file is not looked into."""


@dataclass
class Found:
    """An open file and what it says of itself."""

    fd: int
    elf: elf.Elf
    path: str

    def close(self) -> None:
        """Gives the descriptor back."""
        os.close(self.fd)


def _held(path: bytes) -> int:
    """A descriptor that opens nothing (O_PATH). OSError."""
    try:
        return mounts.hold(path)
    except OSError as error:
        # Before 5.6, and where a filter of system calls does not know it.
        if error.errno not in (errno.ENOSYS, errno.EPERM) or os.path.realpath(path) != path:
            raise
        return os.open(path, os.O_PATH | os.O_CLOEXEC | os.O_NOFOLLOW)


def _opened(path: bytes) -> int:
    """A regular file, open for reading. OSError."""
    held = _held(path)
    try:
        found = os.fstat(held)
        if not stat.S_ISREG(found.st_mode) or found.st_size > FILE_BYTES:
            raise FileNotFoundError(path)
        try:
            return mounts.reopened(held)
        except FileNotFoundError:  # no /proc, as in a chroot
            fd = os.open(path, mounts.READING | os.O_NOFOLLOW)
        now = os.fstat(fd)
        if (now.st_dev, now.st_ino) != (found.st_dev, found.st_ino):
            os.close(fd)
            raise FileNotFoundError(path)
        return fd
    finally:
        os.close(held)


class Files:
    """Looks for the files of modules, and for their debug files by build id."""

    def __init__(
        self, debug_dirs: Sequence[str] = DEBUG_DIRS, debuginfod: Debuginfod | None = None
    ) -> None:
        """``debuginfod``: asked for what is not here; None: nobody is asked."""
        self._debug_dirs = tuple(debug_dirs)
        self._debuginfod = debuginfod
        self._mounts = mounts.Mounts(Path("/proc/self/mountinfo"), mounts.tells_nobody)

    def module(self, module: Module) -> Found | None:
        """The module's own file, if it is still the one that ran."""
        if not module.raw.startswith(b"/") or b"\0" in module.raw:
            return None
        with suppress(OSError):  # in a chroot without /proc nothing is mounted on demand by us
            self._mounts.look()
        found = _looked_at(module.raw) if self._mounts.answers(module.raw) else None
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
            found = _looked_at(os.fsencode(os.path.realpath(path)))
            if found is None:
                continue
            if found.elf.build_id == build_id:
                return found
            found.close()
        return None

    def fetched(self, build_id: str) -> Found | None:
        """A debug file with this build id from a server, if those are to be asked."""
        path = None if self._debuginfod is None else self._debuginfod.path(build_id)
        found = None if path is None else _looked_at(os.fsencode(path))
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
        found = _looked_at(os.fsencode(beside))
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


def _looked_at(path: bytes) -> Found | None:
    try:
        fd = _opened(path)
    except (OSError, ValueError):
        return None
    try:
        return Found(fd, elf.read(fd), os.fsdecode(path))
    except (OSError, elf.NotElf):
        os.close(fd)
        return None
