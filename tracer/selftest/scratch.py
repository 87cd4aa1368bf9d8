"""The system calls that the self-test makes, each with the kernel's own answer.

Straight to the kernel (x86-64 numbers), as libc looks at some arguments itself. An answer is what
the kernel returned: 0, a count, an address, a descriptor, or a negative errno.

One call on a scratch file, in the terms of an event, with the kernel's own answer.

A mapping of a scratch file, from its making to its end.

Scratch memory files: every call on one is written down with what the kernel answered.

Makes scratch files with wanted seals, in the way that this kernel and its sysctl allow.
"""

import ctypes
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from tracer.labels import MREMAP_OLD_SHIFT
from tracer.words import Flag, Kind, Op, Seal

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_LIBC = ctypes.CDLL(None, use_errno=True)
_SYSCALL = _LIBC.syscall
_SYSCALL.restype = ctypes.c_long
_SYSCALL.argtypes = [ctypes.c_long] * 7

_PWRITE64, _PREAD64, _MMAP, _MPROTECT, _MUNMAP, _MREMAP = 18, 17, 9, 10, 11, 25
_FCNTL, _FTRUNCATE, _FCHMOD, _VMSPLICE, _FALLOCATE, _MEMFD_CREATE = 72, 77, 91, 278, 285, 319
_PROCESS_VM_READV, _USERFAULTFD, MEMFD_SECRET = 310, 323, 447
_F_ADD_SEALS, _F_GET_SEALS = 1033, 1034

PROT_READ, PROT_WRITE = 1, 2
READ_WRITE = PROT_READ | PROT_WRITE
MAP_SHARED, MAP_PRIVATE, MAP_FIXED, MAP_ANONYMOUS, MAP_NORESERVE = 1, 2, 0x10, 0x20, 0x4000
MREMAP_MAYMOVE = 1
FALLOC_KEEP_SIZE, FALLOC_PUNCH_HOLE = 1, 2
MFD_CLOEXEC, MFD_ALLOW_SEALING, MFD_HUGETLB, MFD_NOEXEC_SEAL, MFD_EXEC = 1, 2, 4, 8, 0x10

PAGE = 4096
BUFFER_SIZE = 8 * PAGE
_BUFFER = ctypes.create_string_buffer(b"self-test", BUFFER_SIZE)
_BUFFER_AT = ctypes.addressof(_BUFFER)


def _call(number: int, *args: int) -> int:
    result: int = _SYSCALL(number, *args, *(0,) * (6 - len(args)))
    return result if result != -1 else -ctypes.get_errno()


def memfd_create(name: bytes, flags: int) -> int:
    text = ctypes.create_string_buffer(name)
    return _call(_MEMFD_CREATE, ctypes.addressof(text), flags)


def add_seals(fd: int, seals: int) -> int:
    return _call(_FCNTL, fd, _F_ADD_SEALS, seals)


def get_seals(fd: int) -> int:
    return _call(_FCNTL, fd, _F_GET_SEALS)


def ftruncate(fd: int, size: int) -> int:
    return _call(_FTRUNCATE, fd, size)


def fchmod(fd: int, mode: int) -> int:
    return _call(_FCHMOD, fd, mode)


def pwrite(fd: int, offset: int, length: int) -> int:
    """At most `BUFFER_SIZE` bytes of no meaning."""
    assert length <= BUFFER_SIZE
    return _call(_PWRITE64, fd, _BUFFER_AT, length, offset)


def pread(fd: int, offset: int, length: int) -> int:
    assert length <= BUFFER_SIZE
    return _call(_PREAD64, fd, _BUFFER_AT, length, offset)


def fallocate(fd: int, mode: int, offset: int, length: int) -> int:
    return _call(_FALLOCATE, fd, mode, offset, length)


def mmap(address: int, length: int, prot: int, flags: int, fd: int, offset: int) -> int:
    return _call(_MMAP, address, length, prot, flags, fd, offset)


def mprotect(address: int, length: int, prot: int) -> int:
    return _call(_MPROTECT, address, length, prot)


def mremap(address: int, old_length: int, new_length: int, flags: int) -> int:
    return _call(_MREMAP, address, old_length, new_length, flags)


def munmap(address: int, length: int) -> int:
    return _call(_MUNMAP, address, length)


def vmsplice(pipe: int, address: int, length: int) -> int:
    """Puts the pages themselves into a pipe, which holds a reference to each."""
    vector = (ctypes.c_ulong * 2)(address, length)
    return _call(_VMSPLICE, pipe, ctypes.addressof(vector), 1, 0)


def process_vm_readv(pid: int, address: int, length: int) -> int:
    """At most `BUFFER_SIZE` bytes of another process's memory, or of our own."""
    assert length <= BUFFER_SIZE
    local = (ctypes.c_ulong * 2)(_BUFFER_AT, length)
    remote = (ctypes.c_ulong * 2)(address, length)
    vectors = ctypes.addressof(local), 1, ctypes.addressof(remote), 1
    return _call(_PROCESS_VM_READV, pid, *vectors, 0)


def userfaultfd(flags: int) -> int:
    return _call(_USERFAULTFD, flags)


def memfd_secret(flags: int) -> int:
    return _call(MEMFD_SECRET, flags)


def reopen(fd: int, how: int) -> int:
    """Another description of the same file. Raises OSError: no /proc."""
    return os.open(f"/proc/self/fd/{fd}", how | os.O_CLOEXEC)


class Attempt(NamedTuple):
    """All fields are numbers, as in the columns of the same names; sizes in bytes.

    Ops map, unmap and evict are what user space knows to have happened, and no calls.
    """

    op: int
    kind: int
    ino: int
    seals: int
    seals_after: int
    size: int
    size_after: int
    offset: int
    length: int
    arg: int
    answer: int
    duration_ns: int
    writable: int
    """Shared mappings that could be written, as the kernel counts them; -1 under F_SEAL_WRITE."""
    mode: int
    fmode: int
    uid: int
    hooked: int
    """1: it gets as far as our hooks (a descriptor or an argument can be refused before)."""

    @property
    def words(self) -> tuple[str, str]:
        """Op and kind as users see them."""
        return Op(self.op).name.lower(), Kind(self.kind).name.lower()


class Attempts(list[Attempt]):
    """All attempts of a self-test, in their order."""

    def __init__(self, prefix: bytes = b"") -> None:
        super().__init__()
        self.name = (prefix + b"sealsnoop-self-test")[:249]
        """The name of every scratch file: with a recording's name filter it begins as that says."""
        self.uid = os.getuid()
        self.merging: set[int] = set()
        """Inodes whose mappings the kernel merges: how often it files them anew is its affair."""


def columns(
    attempts: Sequence[Attempt], names: Sequence[str], folio_order_max: int
) -> "dict[str, NDArray[np.generic]]":
    """The attempts as columns ``names`` for the judge.

    ``folio_order_max`` stands in for what user space cannot read. What only a hook sees
    (``flags``, ``check_answer``, ``file_answer``) is 0: not seen.
    """
    import numpy as np

    rows = np.array(attempts, np.int64).reshape(len(attempts), len(Attempt._fields))
    known = {name: rows[:, place] for place, name in enumerate(Attempt._fields)}
    known["owner_uid"] = known["uid"]  # the files are our own
    known["folio_order_max"] = np.full(len(attempts), folio_order_max)
    nothing = np.zeros(len(attempts), np.int64)
    return {name: known.get(name, nothing).astype(_DTYPES[name]) for name in names}


_DTYPES = {
    "op": "u1", "kind": "u1", "uid": "u4", "seals": "u4", "seals_after": "u4", "size": "u8",
    "size_after": "u8", "offset": "i8", "length": "u8", "arg": "u8", "answer": "i8",
    "duration_ns": "u8", "flags": "u4", "writable": "i4", "mode": "u2", "fmode": "u2",
    "check_answer": "i4", "file_answer": "i4", "folio_order_max": "u1", "owner_uid": "u4",
}  # fmt: skip
"""As in a recording (bpf/record.h)."""

_VM_SHARED, _VM_MAYSHARE = 0x8, 0x80  # include/linux/mm.h


@dataclass
class Mapping:
    """A live mapping of a scratch file. ``counted``: the kernel counts it as writable."""

    file: "Scratch"
    address: int
    length: int
    offset: int
    fmode: int
    counted: bool
    prot: int

    def protect(self, prot: int) -> int:
        """mprotect of all of it; no hook sees that."""
        file = self.file
        return file.attempt(
            Op.MPROTECT,
            lambda: mprotect(self.address, self.length, prot),
            offset=self.offset,
            length=self.length,
            arg=prot,
            fmode=self.fmode,
            hooked=False,
        )

    def resize(self, length: int) -> int:
        """mremap: another length, at another address if need be.

        How often the kernel files the mapping anew is its affair: the file has to stand in
        ``merging``.
        """
        assert self.file.ino in self.file.merging
        assert self.counted  # what else it may be is not told by the arguments here
        vm_flags = self.prot | _VM_SHARED | _VM_MAYSHARE
        answer = self.file.attempt(
            Op.MREMAP,
            lambda: mremap(self.address, self.length, length, MREMAP_MAYMOVE),
            offset=self.offset,
            length=length,
            arg=MREMAP_MAYMOVE | vm_flags << 8 | self.length // PAGE << MREMAP_OLD_SHIFT,
            fmode=self.fmode,
        )
        if answer > 0:
            self.address, self.length = answer, length
        return answer

    def copied(self) -> None:
        """A fork has copied it into another address space."""
        self.file.note(Op.MAP, self.offset, self.length, self.address, arg=Flag.OTHER_MM)

    def unmap(self) -> None:
        munmap(self.address, self.length)
        self.file.counted -= self.counted
        self.file.note(Op.UNMAP, offset=self.offset, length=self.length, answer=self.address)


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
        self.fd = memfd_create(attempts.name, flags | MFD_CLOEXEC)
        duration_ns = time.perf_counter_ns() - start_ns
        kind = Kind.UNKNOWN
        if self.fd >= 0:
            self._look()
            self.ino, kind, mode, fmode = self._stat.st_ino, self.kind, self.mode, 3
            self.unit = self._stat.st_blksize if kind == Kind.HUGETLB else PAGE
        attempts.append(
            Attempt(Op.CREATE, kind, self.ino, self.seals, self.seals, 0, 0, 0, 0,
                    flags | MFD_CLOEXEC, self.fd, duration_ns, 0, mode, fmode,
                    attempts.uid, 1)
        )  # fmt: skip
        if self.fd < 0:
            raise OSError(-self.fd, os.strerror(-self.fd))

    def _look(self) -> None:
        self._stat = os.fstat(self.fd)
        self.seals = get_seals(self.fd)

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
            self._others[fmode] = reopen(self.fd, _MODES[fmode])
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
            Op.TRUNCATE, lambda: ftruncate(self.fd, size), length=size, arg=_ATTR_SIZE
        )

    def chmod(self, mode: int) -> int:
        arg = _ATTR_MODE | (self.mode & ~0o7777 | mode) << 32
        return self.attempt(Op.CHMOD, lambda: fchmod(self.fd, mode), arg=arg)

    def write(self, offset: int, length: int) -> int:
        """hugetlb files have no write at all: EINVAL before anything of theirs is entered."""
        return self.attempt(
            Op.WRITE,
            lambda: pwrite(self.fd, offset, length),
            offset,
            length,
            fmode=3,
            hooked=self.kind == Kind.MEMFD,
        )

    def read(self, offset: int, length: int) -> int:
        return self.attempt(
            Op.READ,
            lambda: pread(self.fd, offset, length),
            offset,
            length,
            fmode=3,
            hooked=self.kind == Kind.MEMFD,
        )

    def allocate(self, offset: int, length: int, mode: int = 0) -> int:
        op = Op.PUNCH_HOLE if mode & FALLOC_PUNCH_HOLE else Op.ALLOCATE
        return self.attempt(
            op,
            lambda: fallocate(self.fd, mode, offset, length),
            offset,
            length,
            mode,
            fmode=3,
        )

    def punch_hole(self, offset: int, length: int) -> int:
        return self.allocate(offset, length, FALLOC_PUNCH_HOLE | FALLOC_KEEP_SIZE)

    def add_seals(self, seals: int, fmode: int = 3) -> int:
        fd = self._fd(fmode)
        return self.attempt(Op.ADD_SEALS, lambda: add_seals(fd, seals), arg=seals, fmode=fmode)

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
            lambda: mmap(address, length, prot, flags, fd, offset),
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


class Maker:
    """Makes sealed scratch files in the way that this kernel, and its sysctl, allows."""

    def __init__(self, attempts: Attempts, huge: bool) -> None:
        self.attempts = attempts
        self._huge = MFD_HUGETLB if huge else 0
        self._flags = self._sealable()
        self.available = self._flags is not None

    def _sealable(self) -> int | None:
        """Creation flags for a file without any seal, or with as few as can be had.

        MFD_EXEC where it is known (6.3), as without it the kernel log gets a warning; with
        vm.memfd_noexec=2 only files that are born with F_SEAL_EXEC can be made.
        """
        for more in (MFD_EXEC, 0, MFD_NOEXEC_SEAL):
            flags = self._huge | MFD_ALLOW_SEALING | more
            try:
                Scratch(self.attempts, flags).close()
            except OSError:
                continue
            return flags
        return None

    def empty(self, flags: int | None = None) -> Scratch:
        return Scratch(self.attempts, self._flags or 0 if flags is None else self._huge | flags)

    def sized(self, units: int = 2) -> Scratch:
        file = self.empty()
        file.truncate(units * file.unit)
        return file

    def seal(self, file: Scratch, seals: int) -> bool:
        """Adds exactly these; False where this kernel does not make that set."""
        if seals & Seal.EXEC:
            file.chmod(0o666)  # on an executable file F_SEAL_EXEC brings the other seals
        missing = seals & ~file.seals
        if missing:
            file.add_seals(missing)
        return file.seals == seals

    def sealed(self, seals: int, units: int = 2) -> Scratch | None:
        """A file with exactly these seals; None, and nothing left of it, where that cannot be."""
        file = self.sized(units)
        if self.seal(file, seals):
            return file
        file.close()
        return None
