"""Files of one folder, reached through the folder's descriptor: no symbolic link is followed.

A recording may come from somebody else: what is read of it is a regular file of a size that a
recorder writes (:meth:`Folder.contents`). What is in it is checked where it is parsed: documents
in `tracer.recording.manifest`, Parquet in `tracer.recording.part`, the tail in
`tracer.recording.tail`, lines of the chain in `tracer.recording.chain`.

Every call that changes something on disk is made in this module, so that the tests can end the
process between any two of them. A recorder holds ``flock`` on the file ``lock`` of its recording as
long as it lives.
"""

import ctypes
import fcntl
import os
import shutil
import stat
import time
from contextlib import ExitStack, suppress
from typing import Self

from tracer.recording.errors import Busy, Damaged

_CLOEXEC = os.O_CLOEXEC | os.O_NOFOLLOW
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | _CLOEXEC
_NOREPLACE = 1  # renameat2(2): RENAME_NOREPLACE
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


def cut(fd: int, size: int) -> None:
    """Leaves the first ``size`` bytes of a file; what is written next stands behind them."""
    os.ftruncate(fd, size)
    os.lseek(fd, size, os.SEEK_SET)


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
    def around(cls, path: str | os.PathLike[str]) -> Self:
        """The folder ``path``, as the place of others alone: it need not be readable."""
        return cls(os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC))

    @classmethod
    def make(cls, path: str | os.PathLike[str], at: "Folder | None" = None) -> Self:
        """A new folder (inside ``at``), for this user alone. FileExistsError: something is there.

        Who may write to the folder around it can exchange it at any moment: it is ours and empty
        when it is opened, and everything is done by the descriptor from then on.
        """
        where = None if at is None else at.fd
        os.mkdir(path, 0o700, dir_fd=where)
        folder = cls(os.open(path, os.O_RDONLY | os.O_DIRECTORY | _CLOEXEC, dir_fd=where))
        if os.fstat(folder.fd).st_uid != os.geteuid() or os.listdir(folder.fd):
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

    def contents(self, path: str, most: int) -> bytes:
        """All bytes of the file ``path`` (``name`` or ``sub/name``), read once.

        Every byte of a recording that is given to a parser comes this way: the bytes whose digest
        is compared are the bytes that are parsed.

        :param most: bytes that a recorder writes at most.
        :raises Damaged: it has more.
        :raises OSError: as the system gives it; also where it is no regular file.
        """
        sub, _, name = path.rpartition("/")
        if sub:
            with self.sub(sub) as inner:
                fd = inner.open_file(name)
        else:
            fd = self.open_file(name)
        with os.fdopen(fd, "rb", buffering=0) as file:
            size = os.fstat(fd).st_size
            if size > most:
                # Before a byte is read: a file may have terabytes and none of them on a disk.
                raise Damaged(f"{path} is {size} bytes long: a recorder writes at most {most}.")
            pieces = []
            while size > 0 and (piece := file.read(size)):
                pieces.append(piece)
                size -= len(piece)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def names(self) -> list[str]:
        """What lies in the folder, sorted."""
        return sorted(os.listdir(self.fd))

    def mode(self, name: str) -> int:
        """Type and permissions of ``name`` itself, were it a symbolic link."""
        return os.stat(name, dir_fd=self.fd, follow_symlinks=False).st_mode

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

    def move(self, name: str, into: "Folder", new: str) -> None:
        """Moves what is called ``name`` to another folder of this file system. FileExistsError."""
        libc = ctypes.CDLL(None, use_errno=True)
        old, to = os.fsencode(name), os.fsencode(new)
        if libc.renameat2(self.fd, old, into.fd, to, _NOREPLACE):
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))

    def copy(self, name: str, into: "Folder") -> None:
        """Copies the file ``name`` to another folder, and waits until it is on the device."""
        with ExitStack() as opened:
            old = opened.enter_context(os.fdopen(self.open_file(name), "rb"))
            new = opened.enter_context(os.fdopen(into.create(name), "wb"))
            shutil.copyfileobj(old, new, 1 << 20)
            new.flush()
            sync(new.fileno())

    def link(self, name: str, into: "Folder") -> None:
        """A second name for the file ``name``, in another folder of this file system."""
        os.link(name, name, src_dir_fd=self.fd, dst_dir_fd=into.fd, follow_symlinks=False)

    def cut(self, name: str, size: int) -> None:
        """Leaves the first ``size`` bytes of the file ``name``, and waits for the device."""
        fd = os.open(name, os.O_WRONLY | os.O_NONBLOCK | _CLOEXEC, dir_fd=self.fd)
        try:
            os.ftruncate(fd, size)
            sync(fd)
        finally:
            os.close(fd)

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


LOCK = "lock"
_PATIENCE_S = 0.3  # a reader that asks `held` keeps the lock for a moment


def acquire(folder: Folder, path: str) -> int:
    """Takes the recorder's lock.

    :param path: the recording, for the message.
    :return: a descriptor that holds the lock until it is closed.
    :raises Busy: another recorder holds it.
    """
    fd = folder.open_lock(LOCK)
    until = time.monotonic() + _PATIENCE_S
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return fd
        except BlockingIOError:
            if time.monotonic() > until:
                os.close(fd)
                raise Busy(
                    f"{path}: another sealsnoop is writing this recording; "
                    "stop that one first, or record under another name"
                ) from None
            time.sleep(0.02)


def held(folder: Folder) -> bool:
    """Whether a recorder on this host holds the lock."""
    try:
        fd = folder.open_file(LOCK)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False


def beat(folder: Folder) -> int:
    """The last sign that the recorder lives (ns; 0: never).

    For recordings on a share, where another machine's flock cannot be seen.
    """
    try:
        return os.stat(LOCK, dir_fd=folder.fd, follow_symlinks=False).st_mtime_ns
    except FileNotFoundError:
        return 0
