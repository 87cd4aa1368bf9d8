"""Calls that something else than a seal cuts short or refuses, and what became of each.

One JSON line a call, as awkward.py prints them: op, answer (or -errno), and what was asked.
"""

import ctypes
import fcntl
import mmap
import os
import resource
import signal
import struct

from tests.kernel.programs.awkward import PAGE, said, syscall

_MMAP, _MUNMAP, _PWRITE64 = 9, 11, 18
_FS_IOC_SETFLAGS = 0x40086602
_APPEND_ONLY, _IMMUTABLE = 0x20, 0x10
_SHARED, _READ, _WRITE = 1, 1, 2
_BUFFER = ctypes.create_string_buffer(4 * PAGE)


def pwrite(fd: int, offset: int, length: int) -> None:
    answer = syscall(_PWRITE64, fd, ctypes.addressof(_BUFFER), length, offset)
    said("write", fd, answer, offset=offset, length=length)


def limited() -> None:
    """RLIMIT_FSIZE: a write over it is cut short, one behind it is refused with EFBIG."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    fd = os.memfd_create("limited", os.MFD_ALLOW_SEALING)
    said("create", fd, fd)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2 * PAGE, hard))
    pwrite(fd, 0, 3 * PAGE)
    pwrite(fd, PAGE, 2 * PAGE)
    pwrite(fd, 2 * PAGE, 100)
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    pwrite(fd, PAGE, 2 * PAGE)


def shared(fd: int, prot: int) -> None:
    answer = syscall(_MMAP, 0, PAGE, prot, _SHARED, fd, 0)
    said("mmap", fd, answer if answer < 0 else 1, offset=0, length=PAGE)
    if answer > 0:
        syscall(_MUNMAP, answer, PAGE)


def flagged(name: str, flag: int) -> None:
    """chattr +a or +i, which tmpfs knows since 6.6; on older kernels the answers are others."""
    fd = os.memfd_create(name, os.MFD_ALLOW_SEALING)
    said("create", fd, fd)
    os.ftruncate(fd, PAGE)
    said("truncate", fd, 0, length=PAGE)
    try:
        fcntl.ioctl(fd, _FS_IOC_SETFLAGS, struct.pack("=q", flag))
    except OSError:
        os.close(fd)
        return
    shared(fd, _READ | _WRITE)
    shared(fd, _READ)
    fcntl.ioctl(fd, _FS_IOC_SETFLAGS, struct.pack("=q", 0))
    shared(fd, _READ | _WRITE)
    os.close(fd)


def main() -> None:
    assert mmap.PAGESIZE == PAGE
    limited()
    flagged("append-only", _APPEND_ONLY)
    flagged("immutable", _IMMUTABLE)


if __name__ == "__main__":
    main()
