"""Scratch memory files: every call on one is written down with what the kernel answered.

The system calls go straight to the kernel (x86-64 numbers), as libc looks at some arguments
itself. An answer is what the kernel returned: 0, a count, an address, a descriptor, or a negative
errno.
"""

import ctypes
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from tracer.labels import MREMAP_OLD_SHIFT, VM_MAYSHARE, VM_SHARED
from tracer.words import Flag, Kind, Op, Seal

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_LIBC = ctypes.CDLL(None, use_errno=True)
_SYSCALL = _LIBC.syscall
_SYSCALL.restype = ctypes.c_long
_SYSCALL.argtypes = [ctypes.c_long] * 7

MEMFD_SECRET = 447
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


def system_call(number: int, *args: int) -> int:
    result: int = _SYSCALL(number, *args, *(0,) * (6 - len(args)))
    return result if result != -1 else -ctypes.get_errno()


# What takes numbers alone.
mmap = partial(system_call, 9)
mprotect = partial(system_call, 10)
munmap = partial(system_call, 11)
mremap = partial(system_call, 25)
fcntl = partial(system_call, 72)
ftruncate = partial(system_call, 77)
fchmod = partial(system_call, 91)
fallocate = partial(system_call, 285)
userfaultfd = partial(system_call, 323)
memfd_secret = partial(system_call, MEMFD_SECRET)


def memfd_create(name: bytes, flags: int) -> int:
    text = ctypes.create_string_buffer(name)
    return system_call(319, ctypes.addressof(text), flags)


def add_seals(fd: int, seals: int) -> int:
    return fcntl(fd, _F_ADD_SEALS, seals)


def get_seals(fd: int) -> int:
    return fcntl(fd, _F_GET_SEALS)


def pwrite(fd: int, offset: int, length: int) -> int:
    """At most `BUFFER_SIZE` bytes of no meaning."""
    assert length <= BUFFER_SIZE
    return system_call(18, fd, _BUFFER_AT, length, offset)


def pread(fd: int, offset: int, length: int) -> int:
    """At most `BUFFER_SIZE` bytes, which nobody looks at."""
    assert length <= BUFFER_SIZE
    return system_call(17, fd, _BUFFER_AT, length, offset)


def vmsplice(pipe: int, address: int, length: int) -> int:
    """Puts the pages themselves into a pipe, which holds a reference to each."""
    vector = (ctypes.c_ulong * 2)(address, length)
    return system_call(278, pipe, ctypes.addressof(vector), 1, 0)


_ARGUMENT = ctypes.create_string_buffer(b"sealsnoop-self-test")
_ARGUMENTS = (ctypes.c_ulong * 2)(ctypes.addressof(_ARGUMENT), 0)
_NO_NAME = ctypes.create_string_buffer(b"")
_AT_EMPTY_PATH = 0x1000


def execveat(fd: int) -> int:
    """Of a file that is no program: this process goes on."""
    vector = ctypes.addressof(_ARGUMENTS)
    environment = vector + ctypes.sizeof(ctypes.c_ulong)  # nothing but the end
    name = ctypes.addressof(_NO_NAME)
    return system_call(322, fd, name, vector, environment, _AT_EMPTY_PATH)


def process_vm_readv(pid: int, address: int, length: int) -> int:
    """At most `BUFFER_SIZE` bytes of another process's memory, or of our own."""
    assert length <= BUFFER_SIZE
    local = (ctypes.c_ulong * 2)(_BUFFER_AT, length)
    remote = (ctypes.c_ulong * 2)(address, length)
    return system_call(310, pid, ctypes.addressof(local), 1, ctypes.addressof(remote), 1, 0)


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
    size: int = 0
    size_after: int = 0
    offset: int = 0
    length: int = 0
    arg: int = 0
    answer: int = 0
    duration_ns: int = 0
    writable: int = 0
    """Shared mappings that could be written, as the kernel counts them; -1 under F_SEAL_WRITE."""
    mode: int = 0
    fmode: int = 0
    uid: int = 0
    hooked: int = 1
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
        """Inodes whose mappings the kernel merges: it puts them back as often as it likes."""


def columns(
    attempts: Sequence[Attempt], names: Sequence[str], folio_order_max: int
) -> "dict[str, NDArray[np.generic]]":
    """The attempts as columns ``names`` for the judge.

    ``folio_order_max`` stands in for what user space cannot read. What only a hook sees
    (``flags``, ``check_answer``, ``file_answer``) is 0: not seen.
    """
    import numpy as np

    from tracer.record import EVENT, OBJECT

    rows = np.array(attempts, np.int64).reshape(len(attempts), len(Attempt._fields))
    known = {name: rows[:, place] for place, name in enumerate(Attempt._fields)}
    known["owner_uid"] = known["uid"]  # the files are our own
    known["folio_order_max"] = np.full(len(attempts), folio_order_max)
    nothing = np.zeros(len(attempts), np.int64)
    dtypes = {"folio_order_max": np.dtype("u1"), "owner_uid": OBJECT["owner_uid"]}
    return {
        name: known.get(name, nothing).astype(dtypes[name] if name in dtypes else EVENT[name])
        for name in names
    }


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
        call = partial(mprotect, self.address, self.length, prot)
        return self.file.attempt(
            Op.MPROTECT, call, self.offset, self.length, prot, self.fmode, hooked=False
        )

    def resize(self, length: int) -> int:
        """mremap: another length, at another address if need be.

        The kernel takes the mapping out and puts it back as often as it likes: the file has to
        be in ``merging``.
        """
        assert self.file.ino in self.file.merging
        assert self.counted  # what else it may be is not told by the arguments here
        vm_flags = self.prot | VM_SHARED | VM_MAYSHARE
        arg = MREMAP_MAYMOVE | vm_flags << 8 | self.length // PAGE << MREMAP_OLD_SHIFT
        call = partial(mremap, self.address, self.length, length, MREMAP_MAYMOVE)
        answer = self.file.attempt(Op.MREMAP, call, self.offset, length, arg, self.fmode)
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
_WITHOUT_MODE = (Op.WRITE, Op.READ, Op.ALLOCATE, Op.PUNCH_HOLE, Op.MPROTECT)
"""Operations whose events lack ``mode`` and ``writable`` (bpf/calls.h:read_inode_details)."""
FACTS = (Op.MAP, Op.UNMAP, Op.EVICT)
"""What user space knows to have happened: no calls."""
_COMPARED = {
    Op.TRUNCATE: ("length",),
    Op.WRITE: ("offset", "length"),
    Op.READ: ("offset", "length"),
    Op.CHMOD: (),
    Op.ADD_SEALS: ("arg",),
    Op.CREATE: ("arg",),
    Op.MAP: ("offset", "length"),
    Op.UNMAP: ("offset", "length"),
}


def compared(op: Op) -> tuple[str, ...]:
    """What an event has to say as the attempt was, besides seals and sizes (`hooks.check`)."""
    return _COMPARED.get(op, ("offset", "length", "arg"))


_MODES = {3: os.O_RDWR, 1: os.O_RDONLY, 2: os.O_WRONLY}


class Scratch:
    """One memfd, hugetlb or not. OSError: this kernel makes none with these flags."""

    def __init__(self, attempts: Attempts, flags: int) -> None:
        self._attempts = attempts
        self.kind = Kind.HUGETLB if flags & MFD_HUGETLB else Kind.MEMFD
        self.counted = 0
        self._others: dict[int, int] = {}
        self.ino = self.seals = 0
        arg = flags | MFD_CLOEXEC
        start_ns = time.perf_counter_ns()
        self.fd = memfd_create(attempts.name, arg)
        facts = {"arg": arg, "answer": self.fd, "duration_ns": time.perf_counter_ns() - start_ns}
        if self.fd < 0:
            attempts.append(Attempt(Op.CREATE, Kind.UNKNOWN, 0, 0, 0, uid=attempts.uid, **facts))
            raise OSError(-self.fd, os.strerror(-self.fd))
        self._look()
        self.ino = self._stat.st_ino
        self.unit = self._stat.st_blksize if self.kind == Kind.HUGETLB else PAGE
        attempts.append(
            Attempt(Op.CREATE, self.kind, self.ino, self.seals, self.seals,
                    mode=self.mode, fmode=3, uid=attempts.uid, **facts)
        )  # fmt: skip

    def __enter__(self) -> "Scratch":
        return self

    def __exit__(self, *why: object) -> None:
        self.close()

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
        detailed = op not in _WITHOUT_MODE
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
                    length, arg, answer, uid=self._attempts.uid)
        )  # fmt: skip

    def truncate(self, size: int) -> int:
        call = partial(ftruncate, self.fd, size)
        return self.attempt(Op.TRUNCATE, call, length=size, arg=_ATTR_SIZE)

    def chmod(self, mode: int) -> int:
        arg = _ATTR_MODE | (self.mode & ~0o7777 | mode) << 32
        return self.attempt(Op.CHMOD, partial(fchmod, self.fd, mode), arg=arg)

    def write(self, offset: int, length: int) -> int:
        """hugetlb files have no write at all: EINVAL before anything of theirs is entered."""
        call = partial(pwrite, self.fd, offset, length)
        hooked = self.kind == Kind.MEMFD
        return self.attempt(Op.WRITE, call, offset, length, fmode=3, hooked=hooked)

    def read(self, offset: int, length: int) -> int:
        """No family for recordings hooks reads of hugetlb files."""
        call = partial(pread, self.fd, offset, length)
        hooked = self.kind == Kind.MEMFD
        return self.attempt(Op.READ, call, offset, length, fmode=3, hooked=hooked)

    def allocate(self, offset: int, length: int, mode: int = 0) -> int:
        op = Op.PUNCH_HOLE if mode & FALLOC_PUNCH_HOLE else Op.ALLOCATE
        call = partial(fallocate, self.fd, mode, offset, length)
        return self.attempt(op, call, offset, length, mode, fmode=3)

    def punch_hole(self, offset: int, length: int) -> int:
        return self.allocate(offset, length, FALLOC_PUNCH_HOLE | FALLOC_KEEP_SIZE)

    def add_seals(self, seals: int, fmode: int = 3) -> int:
        fd = self._fd(fmode)
        return self.attempt(Op.ADD_SEALS, partial(add_seals, fd, seals), arg=seals, fmode=fmode)

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
        call = partial(mmap, address, length, prot, flags, fd, offset)
        answer = self.attempt(Op.MMAP, call, offset, length, prot | flags << 32, fmode)
        if answer < 0:
            return None
        shared = bool(flags & MAP_SHARED)
        # A descriptor that cannot write makes a shared mapping a private one (mm/mmap.c:do_mmap).
        counted = shared and bool(fmode & 2) and bool(prot & PROT_WRITE or not sealed)
        self.counted += counted
        self.note(Op.MAP, offset, length, answer)
        return Mapping(self, answer, length, offset, fmode, counted, prot)

    @contextmanager
    def mapped(
        self, prot: int, flags: int = MAP_SHARED, fmode: int = 3
    ) -> Iterator[Mapping | None]:
        """That mapping for a while, None where it was refused."""
        mapping = self.map(prot, flags, fmode)
        try:
            yield mapping
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
