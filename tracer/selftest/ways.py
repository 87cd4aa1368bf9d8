"""The ways in that only audits hook, each tried once on a scratch file of its own.

Not tried: KVM's (a virtual machine would be needed), long-term pins (which of the kernel's three
functions pins for whom differs, and an event does not tell it), what one process does to another
(ptrace, io_uring's buffers, descriptors that are taken, …), and what only adds to others' rows.
"""

import contextlib
import ctypes
import fcntl
import os
import socket
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from tracer.selftest import scratch as syscalls
from tracer.selftest.hooks import Count
from tracer.selftest.scratch import (
    MAP_SHARED,
    MFD_ALLOW_SEALING,
    MFD_CLOEXEC,
    MFD_HUGETLB,
    PAGE,
    PROT_READ,
    READ_WRITE,
)
from tracer.words import Hook, Op

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_USER_MODE_ONLY = 1
_UFFDIO_API, _UFFDIO_REGISTER, _UFFDIO_COPY = 0xC018AA3F, 0xC020AA00, 0xC028AA03
_UFFD_API, _MODE_MISSING = 0xAA, 1


class Tried(NamedTuple):
    """What one family has to have reported once: numbers of `Op` and `Hook`, and the file's."""

    family: str
    op: int
    hook: int
    ino: int


def try_all(name: bytes) -> list[Tried]:
    """Everything that this kernel lets us do; what it refuses was not tried."""
    found: list[Tried] = []
    for flags, ways in (
        (0, (_splice, _mprotect, _receive, _remote_access, _pin_remote, _userfaultfd)),
        (0, (_uffd_copy, _open)),
        (MFD_HUGETLB, (_hugetlb_read,)),
    ):
        fd = syscalls.memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING | flags)
        if fd < 0:
            continue
        if not flags:
            os.ftruncate(fd, PAGE)
        for way in ways:
            found += _one(way, fd)
        os.close(fd)
    found += _secret()
    return found


def _one(way: Callable[[int], tuple[Op, Hook]], fd: int) -> Iterator[Tried]:
    with contextlib.suppress(OSError):
        op, hook = way(fd)
        ino = os.fstat(fd).st_ino
        yield Tried(way.__name__.removeprefix("_"), int(op), int(hook), ino)
        if way is _receive:
            yield Tried("send", int(Op.GIVE), int(hook), ino)


@contextlib.contextmanager
def _mapped(fd: int) -> Iterator[int]:
    """The address of a shared mapping. OSError."""
    address = _done(syscalls.mmap(0, PAGE, READ_WRITE, MAP_SHARED, fd, 0))
    try:
        yield address
    finally:
        syscalls.munmap(address, PAGE)


def _done(answer: int) -> int:
    if answer < 0:
        raise OSError(-answer, os.strerror(-answer))
    return answer


def _splice(fd: int) -> tuple[Op, Hook]:
    reader, writer = os.pipe()
    try:
        os.splice(fd, writer, PAGE, offset_src=0)
    finally:
        os.close(reader)
        os.close(writer)
    return Op.READ, Hook.READ


def _hugetlb_read(fd: int) -> tuple[Op, Hook]:
    _done(syscalls.pread(fd, 0, PAGE))  # it is empty: no huge page is needed
    return Op.READ, Hook.READ


def _mprotect(fd: int) -> tuple[Op, Hook]:
    with _mapped(fd) as address:
        _done(syscalls.mprotect(address, PAGE, PROT_READ))
    return Op.MPROTECT, Hook.MPROTECT


def _receive(fd: int) -> tuple[Op, Hook]:
    here, there = socket.socketpair()
    with here, there:
        socket.send_fds(here, [b"x"], [fd])
        for came in socket.recv_fds(there, 1, 1)[1]:
            os.close(came)
    return Op.RECEIVE, Hook.RECEIVE


def _remote_access(fd: int) -> tuple[Op, Hook]:
    mem = os.open("/proc/self/mem", os.O_RDONLY | os.O_CLOEXEC)
    try:
        with _mapped(fd) as address:
            _done(syscalls.pread(mem, address, 64))
    finally:
        os.close(mem)
    return Op.REMOTE_READ, Hook.REMOTE


def _pin_remote(fd: int) -> tuple[Op, Hook]:
    with _mapped(fd) as address:
        _done(syscalls.process_vm_readv(os.getpid(), address, 64))
    return Op.REMOTE_READ, Hook.PIN


@contextlib.contextmanager
def _registered(fd: int) -> Iterator[tuple[int, int]]:
    """A userfaultfd, and the address of the page that it is about. OSError."""
    uffd = _done(syscalls.userfaultfd(os.O_CLOEXEC | _USER_MODE_ONLY))
    try:
        with _mapped(fd) as address:
            fcntl.ioctl(uffd, _UFFDIO_API, (ctypes.c_uint64 * 3)(_UFFD_API))
            request = (ctypes.c_uint64 * 4)(address, PAGE, _MODE_MISSING)
            fcntl.ioctl(uffd, _UFFDIO_REGISTER, request)
            yield uffd, address
    finally:
        os.close(uffd)


def _userfaultfd(fd: int) -> tuple[Op, Hook]:
    with _registered(fd):
        return Op.UFFD_REGISTER, Hook.UFFD


def _uffd_copy(fd: int) -> tuple[Op, Hook]:
    page = ctypes.create_string_buffer(PAGE)
    with _registered(fd) as (uffd, address):
        request = (ctypes.c_uint64 * 5)(address, ctypes.addressof(page), PAGE)
        fcntl.ioctl(uffd, _UFFDIO_COPY, request)
    return Op.UFFD_FILL, Hook.UFFD


def _open(fd: int) -> tuple[Op, Hook]:
    os.close(os.open(f"/proc/self/fd/{fd}", os.O_RDONLY | os.O_CLOEXEC))
    return Op.RECEIVE, Hook.OPEN


def _secret() -> Iterator[Tried]:
    """memfd_secret(2), which many kernels have switched off."""
    fd = syscalls.memfd_secret(0)
    if fd < 0:
        return
    ino = os.fstat(fd).st_ino
    yield Tried("secretmem_create", Op.CREATE, Hook.CREATE, ino)
    with contextlib.suppress(OSError):
        os.ftruncate(fd, PAGE)
        yield Tried("secretmem_setattr", Op.TRUNCATE, Hook.SETATTR, ino)
        with _mapped(fd) as address:  # locked memory may be short
            ctypes.memset(address, 1, 1)
            yield Tried("secretmem_fault", Op.FAULT, Hook.FAULT, ino)
    os.close(fd)
    yield Tried("secretmem_release", Op.EVICT, Hook.EVICT, ino)


def check(
    tried: Sequence[Tried], events: "NDArray[np.void]", live: Collection[str], named: bool = False
) -> dict[str, Count]:
    """``{family: count}`` of the live families that were tried. ``events``: as in `hooks.check`.

    ``named``: only files with certain names are recorded, and secret memory has none.
    """
    columns = [events[name].tolist() for name in ("op", "hook", "ino")]
    seen = Counter(zip(*columns, strict=True))
    found = {}
    for one in tried:
        if one.family in live and not (named and one.family.startswith("secretmem")):
            times = seen[one[1:]]
            found[one.family] = Count(1, min(times, 1), max(0, times - 1))
    return found
