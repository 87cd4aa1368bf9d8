"""The system calls that the self-test makes, each with the kernel's own answer.

Straight to the kernel (x86-64 numbers), as libc looks at some arguments itself. An answer is what
the kernel returned: 0, a count, an address, a descriptor, or a negative errno.
"""

import ctypes
import os

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
