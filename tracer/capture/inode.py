"""Looks at one memory file that is held open without disturbing it: identity, seals, mount.

That it is a memory file is for `tracer.capture.mounts` to say: others may never answer.
"""

import ctypes
import fcntl
import os
import re
import stat
import struct
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import NamedTuple

TMPFS_MAGIC = 0x01021994
HUGETLBFS_MAGIC = 0x958458F6
SECRETMEM_MAGIC = 0x5345434D
GUEST_MEMFD_MAGIC = 0x474D454D
ANON_INODE_FS_MAGIC = 0x09041934

F_GET_SEALS = 1034
_MEMFD_SECRET = 447  # x86-64
_MOUNT_ID = re.compile(rb"^mnt_id:\s*(\d+)", re.MULTILINE)
_HUGEPAGES = "/sys/kernel/mm/hugepages"  # hugepages-2048kB, …
_AT_EMPTY_PATH = 0x1000
_AT_HANDLE_FID = 0x200
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


def look(fd: int) -> Inode:
    """What an open file is. OSError."""
    found = os.fstat(fd)
    dev = os.major(found.st_dev) << 20 | os.minor(found.st_dev)
    return Inode(
        dev,
        found.st_ino,
        found.st_mode,
        found.st_nlink,
        found.st_uid,
        found.st_gid,
        found.st_size,
    )


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


def generation(fd: int) -> int:
    """``i_generation`` of an open file (O_PATH will do), 0 where the kernel does not tell.

    tmpfs answers no FS_IOC_GETVERSION, but puts the generation into its file handles.
    """
    found = _handle_generation(fd, os.fstat(fd).st_ino)
    return 0 if found is None else found


def seals(fd: int) -> int:
    """F_SEAL_* bits of an open file. OSError: no permission, or a file without seals.

    The file is opened for reading, and only after it proved to be a regular one.
    """
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        raise FileNotFoundError(fd)
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
    reader = os.open(f"/proc/self/fd/{fd}", flags)
    try:
        return fcntl.fcntl(reader, F_GET_SEALS)
    finally:
        os.close(reader)


def internal_mounts() -> dict[int, tuple[int, int]]:
    """``{mount id: (dev, f_type)}`` of the kernel's own mounts, where memory files live.

    No mount table has them, so we make a file in each and look. They are never unmounted. A hugetlb
    memfd takes no huge page before it is mapped.
    """
    sizes = []
    with suppress(OSError):
        sizes = [int(entry.name[10:-2]) * 1024 for entry in os.scandir(_HUGEPAGES)]
    makers: list[tuple[Callable[[], int], int]] = [
        (partial(_memfd, 0), TMPFS_MAGIC),
        (_secret, SECRETMEM_MAGIC),
    ]
    for size in sizes:
        huge = os.MFD_HUGETLB | (size.bit_length() - 1) << os.MFD_HUGE_SHIFT
        makers.append((partial(_memfd, huge), HUGETLBFS_MAGIC))
    found = {}
    for make, magic in makers:
        with suppress(OSError):
            fd = make()
            try:
                found[mount_id(f"/proc/self/fdinfo/{fd}")] = look(fd).dev, magic
            finally:
                os.close(fd)
    return found


def _memfd(flags: int) -> int:
    return os.memfd_create("sealsnoop-probe", os.MFD_CLOEXEC | flags)


def _secret() -> int:
    fd = _libc.syscall(_MEMFD_SECRET, os.O_CLOEXEC)
    if fd < 0:
        raise OSError(ctypes.get_errno(), "memfd_secret")
    return int(fd)


def mount_id(fdinfo: str) -> int:
    """The mount on which the file of a descriptor lies, by its fdinfo. OSError: it is closed."""
    fd = os.open(fdinfo, os.O_RDONLY | os.O_CLOEXEC)
    try:
        found = _MOUNT_ID.search(os.read(fd, 4096))
    finally:
        os.close(fd)
    if found is None:
        raise FileNotFoundError(fdinfo)
    return int(found[1])
