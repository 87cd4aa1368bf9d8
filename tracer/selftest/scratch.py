"""Scratch memory files: every call on one is written down with what the kernel answered."""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tracer.model.seals import Seal
from tracer.model.words import Kind, Op
from tracer.selftest import syscalls
from tracer.selftest.attempt import Attempt, Attempts
from tracer.selftest.mapping import Mapping
from tracer.selftest.syscalls import (
    MAP_NORESERVE,
    MAP_SHARED,
    MFD_HUGETLB,
    PAGE,
    PROT_WRITE,
)

_WRITE_SEALS = Seal.WRITE | Seal.FUTURE_WRITE
_ATTR_MODE, _ATTR_SIZE = 1, 8  # include/linux/fs.h
_HAS_MODE = (Op.MMAP, Op.MREMAP, Op.TRUNCATE, Op.CHMOD, Op.ADD_SEALS)
"""Operations whose events carry ``mode`` and ``writable`` (bpf/calls.h:read_inode_details)."""
_MODES = {3: os.O_RDWR, 1: os.O_RDONLY, 2: os.O_WRONLY}


class Scratch:
    """One memfd, hugetlb or not. OSError: this kernel makes none with these flags."""

    def __init__(self, attempts: Attempts, flags: int) -> None:
        self._attempts = attempts
        self.kind = Kind.HUGETLB if flags & MFD_HUGETLB else Kind.MEMFD
        self.counted = 0
        self._others: dict[int, int] = {}
        self.ino = self.seals = mode = fmode = 0
        start_ns = time.perf_counter_ns()
        self.fd = syscalls.memfd_create(attempts.name, flags | syscalls.MFD_CLOEXEC)
        duration_ns = time.perf_counter_ns() - start_ns
        kind = Kind.UNKNOWN
        if self.fd >= 0:
            self._look()
            self.ino, kind, mode, fmode = self._stat.st_ino, self.kind, self.mode, 3
            self.unit = self._stat.st_blksize if kind == Kind.HUGETLB else PAGE
        attempts.append(
            Attempt(Op.CREATE, kind, self.ino, self.seals, self.seals, 0, 0, 0, 0,
                    flags | syscalls.MFD_CLOEXEC, self.fd, duration_ns, 0, mode, fmode,
                    attempts.uid, 1)
        )  # fmt: skip
        if self.fd < 0:
            raise OSError(-self.fd, os.strerror(-self.fd))

    def _look(self) -> None:
        self._stat = os.fstat(self.fd)
        self.seals = syscalls.get_seals(self.fd)

    @property
    def merging(self) -> set[int]:
        return self._attempts.merging

    @property
    def size(self) -> int:
        return self._stat.st_size

    @property
    def mode(self) -> int:
        return self._stat.st_mode

    def _fd(self, fmode: int) -> int:
        if fmode == 3:
            return self.fd
        if fmode not in self._others:
            self._others[fmode] = syscalls.reopen(self.fd, _MODES[fmode])
        return self._others[fmode]

    def close(self) -> None:
        """The file is gone then: nothing may map it any more."""
        for fd in (*self._others.values(), self.fd):
            os.close(fd)
        self.note(Op.EVICT)

    def attempt(
        self,
        op: Op,
        call: Callable[[], int],
        offset: int = 0,
        length: int = 0,
        arg: int = 0,
        fmode: int = 0,
        hooked: bool = True,
    ) -> int:
        """Makes the call and writes it down. Nobody else touches the file, so what it was at entry
        is what it was after the call before."""
        seals, size, mode, counted = self.seals, self.size, self.mode, self.counted
        start_ns = time.perf_counter_ns()
        answer = call()
        duration_ns = time.perf_counter_ns() - start_ns
        self._look()
        detailed = op in _HAS_MODE
        writable = -1 if seals & Seal.WRITE and not counted else counted
        self._attempts.append(
            Attempt(op, self.kind, self.ino, seals, self.seals, size, self.size, offset, length,
                    arg, answer, duration_ns, writable if detailed else 0,
                    mode if detailed else 0, fmode, self._attempts.uid, int(hooked))
        )  # fmt: skip
        return answer

    def note(self, op: Op, offset: int = 0, length: int = 0, answer: int = 0, arg: int = 0) -> None:
        """Something that happened without an answer of its own."""
        self._attempts.append(
            Attempt(op, self.kind, self.ino, self.seals, self.seals, self.size, self.size, offset,
                    length, arg, answer, 0, 0, 0, 0, self._attempts.uid, 1)
        )  # fmt: skip

    def truncate(self, size: int) -> int:
        return self.attempt(
            Op.TRUNCATE, lambda: syscalls.ftruncate(self.fd, size), length=size, arg=_ATTR_SIZE
        )

    def chmod(self, mode: int) -> int:
        arg = _ATTR_MODE | (self.mode & ~0o7777 | mode) << 32
        return self.attempt(Op.CHMOD, lambda: syscalls.fchmod(self.fd, mode), arg=arg)

    def write(self, offset: int, length: int) -> int:
        """hugetlb files have no write at all: EINVAL before anything of theirs is entered."""
        return self.attempt(
            Op.WRITE,
            lambda: syscalls.pwrite(self.fd, offset, length),
            offset,
            length,
            fmode=3,
            hooked=self.kind == Kind.MEMFD,
        )

    def read(self, offset: int, length: int) -> int:
        return self.attempt(
            Op.READ,
            lambda: syscalls.pread(self.fd, offset, length),
            offset,
            length,
            fmode=3,
            hooked=self.kind == Kind.MEMFD,
        )

    def allocate(self, offset: int, length: int, mode: int = 0) -> int:
        op = Op.PUNCH_HOLE if mode & syscalls.FALLOC_PUNCH_HOLE else Op.ALLOCATE
        return self.attempt(
            op,
            lambda: syscalls.fallocate(self.fd, mode, offset, length),
            offset,
            length,
            mode,
            fmode=3,
        )

    def punch_hole(self, offset: int, length: int) -> int:
        return self.allocate(offset, length, syscalls.FALLOC_PUNCH_HOLE | syscalls.FALLOC_KEEP_SIZE)

    def add_seals(self, seals: int, fmode: int = 3) -> int:
        fd = self._fd(fmode)
        return self.attempt(
            Op.ADD_SEALS, lambda: syscalls.add_seals(fd, seals), arg=seals, fmode=fmode
        )

    def map(
        self,
        prot: int,
        flags: int = MAP_SHARED,
        fmode: int = 3,
        offset: int = 0,
        length: int = 0,
        address: int = 0,
    ) -> Mapping | None:
        """The mapping, None where it was refused. No huge page is reserved for it, nor touched."""
        fd, length, sealed = self._fd(fmode), length or self.unit, self.seals & _WRITE_SEALS
        flags |= MAP_NORESERVE if self.kind == Kind.HUGETLB else 0
        answer = self.attempt(
            Op.MMAP,
            lambda: syscalls.mmap(address, length, prot, flags, fd, offset),
            offset,
            length,
            prot | flags << 32,
            fmode,
        )
        if answer < 0:
            return None
        shared = bool(flags & MAP_SHARED)
        # A descriptor that cannot write makes a shared mapping a private one (mm/mmap.c:do_mmap).
        counted = shared and bool(fmode & 2) and bool(prot & PROT_WRITE or not sealed)
        self.counted += counted
        self.note(Op.MAP, offset, length, answer)
        return Mapping(self, answer, length, offset, fmode, counted, prot)

    @contextmanager
    def mapped(self, prot: int, flags: int = MAP_SHARED, fmode: int = 3) -> Iterator[None]:
        """While that mapping exists, if it was granted."""
        mapping = self.map(prot, flags, fmode)
        try:
            yield
        finally:
            if mapping:
                mapping.unmap()
