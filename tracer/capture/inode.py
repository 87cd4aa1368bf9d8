"""Looks at one file behind a /proc link without disturbing it: identity, file system, seals.

Nothing here follows a link into a device or a pipe, waits for a network file system, or writes.
"""

import ctypes
import fcntl
import os
import stat
import struct
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import NamedTuple

TMPFS_MAGIC = 0x01021994
HUGETLBFS_MAGIC = 0x958458F6
SECRETMEM_MAGIC = 0x5345434D
GUEST_MEMFD_MAGIC = 0x474D454D
ANON_INODE_FS_MAGIC = 0x09041934

F_GET_SEALS = 1034
_FS_IOC_GETVERSION = 0x80087601
_HUGEPAGES = "/sys/kernel/mm/hugepages"  # hugepages-2048kB, …
_AT_FDCWD = -100
_AT_EMPTY_PATH = 0x1000
_AT_HANDLE_FID = 0x200
_AT_STATX_DONT_SYNC = 0x4000  # a dead NFS server must not stop the scan
_AT_NO_AUTOMOUNT = 0x800
_STATX_WANTED = 0x31F  # type, mode, nlink, uid, gid, ino, size
_FILEID_SHMEM = 1  # mm/shmem.c: generation, ino, ino >> 32
_FILEID_INO64_GEN = 0x81  # fs/exportfs: ino (64 bit), generation

_libc = ctypes.CDLL(None, use_errno=True)


class Inode(NamedTuple):
    """What statx says; ``dev`` as the kernel holds it (major << 20 | minor), sizes in bytes."""

    dev: int
    ino: int
    mode: int
    nlink: int
    uid: int
    gid: int
    size: int


def _check(result: int, path: bytes) -> None:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), path)


def look(path: bytes) -> Inode:
    """statx of what ``path`` leads to, from what the kernel has cached. OSError as stat()."""
    buffer = ctypes.create_string_buffer(256)
    flags = _AT_STATX_DONT_SYNC | _AT_NO_AUTOMOUNT
    _check(_libc.statx(_AT_FDCWD, path, flags, _STATX_WANTED, buffer), path)
    nlink, uid, gid, mode, ino, size = struct.unpack_from("=16xIIIH2xQQ", buffer)
    major, minor = struct.unpack_from("=II", buffer, 136)
    return Inode(major << 20 | minor, ino, mode, nlink, uid, gid, size)


def file_system(path: bytes) -> int:
    """``f_type`` of the file system that ``path`` leads to. OSError as statfs()."""
    buffer = ctypes.create_string_buffer(256)
    _check(_libc.statfs(path, buffer), path)
    return int(struct.unpack_from("=l" if ctypes.sizeof(ctypes.c_long) == 4 else "=q", buffer)[0])


@contextmanager
def held(path: bytes, dev: int, ino: int) -> Iterator[int]:
    """An O_PATH descriptor of exactly that inode. OSError, FileNotFoundError where it is another.

    O_PATH does not open the file: no driver, lease or fanotify listener notices.
    """
    fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        found = os.fstat(fd)
        here = os.major(found.st_dev) << 20 | os.minor(found.st_dev)
        if (here, found.st_ino) != (dev, ino):
            raise FileNotFoundError(path)
        yield fd
    finally:
        os.close(fd)


def _handle_generation(fd: int, ino: int) -> int | None:
    """The generation from the file's NFS handle, which needs no privilege. None: no handle."""
    for flags in (_AT_EMPTY_PATH, _AT_EMPTY_PATH | _AT_HANDLE_FID):
        buffer = ctypes.create_string_buffer(struct.pack("=Ii", 128, 0), 136)
        mount = ctypes.c_int()
        if _libc.name_to_handle_at(fd, b"", buffer, ctypes.byref(mount), flags) < 0:
            continue
        size, kind = struct.unpack_from("=Ii", buffer)
        if (size, kind) == (12, _FILEID_SHMEM):
            generation, low, high = struct.unpack_from("=III", buffer, 8)
            found = high << 32 | low
        elif (size, kind) == (12, _FILEID_INO64_GEN):
            found, generation = struct.unpack_from("=QI", buffer, 8)
        else:
            continue
        if found == ino:
            return int(generation)
    return None


def generation(path: bytes, dev: int, ino: int) -> int:
    """``i_generation`` of that inode, 0 where the kernel does not tell. OSError: it is gone.

    tmpfs answers no FS_IOC_GETVERSION, but puts the generation into its file handles.
    """
    with held(path, dev, ino) as fd:
        found = _handle_generation(fd, ino)
    return 0 if found is None else found


def seals(path: bytes, dev: int, ino: int) -> int:
    """F_SEAL_* bits of that inode. OSError: no permission, gone, or a file without seals.

    The file is opened for reading, and only after it proved to be the regular file meant.
    """
    with held(path, dev, ino) as fd:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise FileNotFoundError(path)
        flags = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
        reader = os.open(f"/proc/self/fd/{fd}", flags)
    try:
        return fcntl.fcntl(reader, F_GET_SEALS)
    finally:
        os.close(reader)


def internal_devices() -> dict[int, int]:
    """``{dev: f_type}`` of the kernel's own mounts of tmpfs and hugetlbfs, where memfds live.

    No mount table has them, so we make a memfd in each and look. A hugetlb memfd takes no huge
    page before it is mapped.
    """
    sizes = []
    with suppress(OSError):
        sizes = [int(entry.name[10:-2]) * 1024 for entry in os.scandir(_HUGEPAGES)]
    wanted = [(os.MFD_CLOEXEC, TMPFS_MAGIC)]
    for size in sizes:
        huge = os.MFD_CLOEXEC | os.MFD_HUGETLB | (size.bit_length() - 1) << os.MFD_HUGE_SHIFT
        wanted.append((huge, HUGETLBFS_MAGIC))
    found = {}
    for flags, magic in wanted:
        with suppress(OSError):
            fd = os.memfd_create("sealsnoop-probe", flags)
            device = os.fstat(fd).st_dev
            os.close(fd)
            found[os.major(device) << 20 | os.minor(device)] = magic
    return found
