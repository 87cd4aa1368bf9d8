"""Files of one folder, reached through the folder's descriptor: no symbolic link is followed.

Every call that changes something on disk is made in this module, so that the tests can end the
process between any two of them.
"""

import os
import stat
from contextlib import suppress
from typing import Self

_CLOEXEC = os.O_CLOEXEC | os.O_NOFOLLOW
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | _CLOEXEC
_OLD = os.O_RDONLY | os.O_NONBLOCK | _CLOEXEC  # NONBLOCK: a FIFO must not hold us up


def write_all(fd: int, data: bytes | memoryview) -> int:
    """Writes all of ``data``; its length in bytes. OSError as the system gives it."""
    rest = memoryview(data).cast("B")
    total = len(rest)
    while rest:
        rest = rest[os.write(fd, rest) :]
    return total


def sync(fd: int) -> None:
    """Waits until the file's data are on the device."""
    os.fsync(fd)


def touch(fd: int) -> None:
    """Sets the file's times to now."""
    os.utime(fd)


class Folder:
    """An open folder. Methods raise OSError; the callers know what to tell the user."""

    def __init__(self, fd: int) -> None:
        self.fd = fd

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> Self:
        """An existing folder; the last component must not be a symbolic link."""
        return cls(os.open(path, os.O_RDONLY | os.O_DIRECTORY | _CLOEXEC))

    @classmethod
    def make(cls, path: str | os.PathLike[str]) -> Self:
        """A new folder, for this user alone. FileExistsError: something is there."""
        os.mkdir(path, 0o700)
        folder = cls.open(path)
        if os.fstat(folder.fd).st_uid != os.geteuid():
            folder.close()
            raise PermissionError(1, "somebody exchanged the new folder")
        # Who may write to the folder around it and not read it has to wait for the system's pace.
        with suppress(PermissionError), folder.sub("..") as around:
            around.sync()
        return folder

    def make_sub(self, name: str) -> "Folder":
        """The folder ``name`` inside, made if it is not there."""
        try:
            return self.sub(name)
        except FileNotFoundError:
            os.mkdir(name, 0o700, dir_fd=self.fd)
            return self.sub(name)

    def sub(self, name: str) -> "Folder":
        """The existing folder ``name`` inside."""
        flags = os.O_RDONLY | os.O_DIRECTORY | _CLOEXEC
        return Folder(os.open(name, flags, dir_fd=self.fd))

    def create(self, name: str) -> int:
        """Descriptor of a new file, for this user alone."""
        return os.open(name, _NEW, 0o600, dir_fd=self.fd)

    def open_lock(self, name: str) -> int:
        """Descriptor of a file that is made if it is not there, and never cut."""
        return os.open(name, os.O_RDWR | os.O_CREAT | _CLOEXEC, 0o600, dir_fd=self.fd)

    def open_file(self, name: str) -> int:
        """Descriptor of an existing regular file, for reading."""
        fd = os.open(name, _OLD, dir_fd=self.fd)
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            os.close(fd)
            raise OSError(22, f"{name} is no regular file")
        return fd

    def read(self, name: str) -> bytes:
        """Everything in the file ``name``."""
        with os.fdopen(self.open_file(name), "rb") as file:
            return file.read()

    def names(self) -> list[str]:
        """What lies in the folder, sorted."""
        return sorted(os.listdir(self.fd))

    def has(self, name: str) -> bool:
        """Whether ``name`` is there, of whatever type."""
        try:
            os.stat(name, dir_fd=self.fd, follow_symlinks=False)
        except FileNotFoundError:
            return False
        return True

    def write_durably(self, name: str, data: bytes) -> None:
        """Puts a whole file in place at one moment, and waits until it is on the device."""
        temporary = f".{name}.tmp"
        self.unlink(temporary, missing_ok=True)
        fd = self.create(temporary)
        try:
            write_all(fd, data)
            sync(fd)
        finally:
            os.close(fd)
        self.rename(temporary, name)
        self.sync()

    def rename(self, old: str, new: str) -> None:
        """Renames inside this folder."""
        os.rename(old, new, src_dir_fd=self.fd, dst_dir_fd=self.fd)

    def unlink(self, name: str, *, missing_ok: bool = False) -> None:
        """Removes a file."""
        try:
            os.unlink(name, dir_fd=self.fd)
        except FileNotFoundError:
            if not missing_ok:
                raise

    def sync(self) -> None:
        """Waits until the names in this folder are on the device."""
        os.fsync(self.fd)

    def close(self) -> None:
        """Gives the descriptor back; a second call does nothing."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
