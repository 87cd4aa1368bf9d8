"""Gives up all that a process may do but read descriptors, compute and answer.

For whatever looks into files that somebody else made by a library written in C: if such a file
takes the process over, it has nothing to take.
"""

import ctypes
import errno
import os
import platform
import resource
import struct
import tempfile
from collections.abc import Mapping

from tracer.kernel import privileges

_PR_SET_DUMPABLE, _PR_SET_SECCOMP = 4, 22
_FILTER_MODE = 2
_NOBODY = 65534
_ALLOW, _ERRNO = 0x7FFF0000, 0x00050000
_LOAD, _JUMP_EQUAL, _RETURN = 0x20, 0x15, 0x06
_ARCHES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_CALLS = {
    # As x86-64 and arm64 number them (asm/unistd_64.h, asm-generic/unistd.h); None: it has none.
    "read": (0, 63), "write": (1, 64), "close": (3, 57), "fstat": (5, 80), "poll": (7, None),
    "lseek": (8, 62), "mmap": (9, 222), "mprotect": (10, 226), "munmap": (11, 215),
    "brk": (12, 214), "rt_sigaction": (13, 134), "rt_sigprocmask": (14, 135),
    "rt_sigreturn": (15, 139), "pread64": (17, 67), "readv": (19, 65), "writev": (20, 66),
    "sched_yield": (24, 124), "mremap": (25, 216), "madvise": (28, 233), "nanosleep": (35, 101),
    "sendto": (44, 206), "recvfrom": (45, 207), "sendmsg": (46, 211), "recvmsg": (47, 212),
    "exit": (60, 93), "fcntl": (72, 25),
    "dup": (32, 23), "sigaltstack": (131, 132), "gettid": (186, 178), "getpid": (39, 172),
    "futex": (202, 98), "sched_getaffinity": (204, 123), "restart_syscall": (219, 128),
    "clock_gettime": (228, 113), "clock_nanosleep": (230, 115), "exit_group": (231, 94),
    "ppoll": (271, 73), "getrandom": (318, 278), "set_robust_list": (273, 99), "rseq": (334, 293),
    "newfstatat": (262, 79),
}  # fmt: skip
_libc = ctypes.CDLL(None, use_errno=True)


def _filter() -> bytes:
    """A seccomp program: these calls, and EPERM for all others; empty on other machines."""
    machine = platform.machine()
    if machine not in _ARCHES:
        return b""
    which = list(_ARCHES).index(machine)
    numbers = [number for pair in _CALLS.values() if (number := pair[which]) is not None]
    steps = [(_LOAD, 0, 0, 4), (_JUMP_EQUAL, 0, len(numbers) + 1, _ARCHES[machine])]
    steps.append((_LOAD, 0, 0, 0))
    left = len(numbers)
    for number in numbers:
        steps.append((_JUMP_EQUAL, left, 0, number))
        left -= 1
    steps += [(_RETURN, 0, 0, _ERRNO | errno.EPERM), (_RETURN, 0, 0, _ALLOW)]
    return b"".join(struct.pack("=HBBI", *step) for step in steps)


def drop(strict: bool = True) -> None:
    """Gives away, for good: user, group, files, capabilities. OSError: some stays.

    :param strict: a root folder that is not empty is an error. Else, where nothing can be written,
        it stays as it is: what opens files is refused all the same (`confine`).
    """
    if os.geteuid() == 0:
        try:
            empty = tempfile.mkdtemp(prefix="sealsnoop-")
            os.chdir(empty)
            os.rmdir(empty)  # so that nobody can put anything there
            os.chroot(".")
        except OSError:
            if strict:
                raise
        os.setgroups([])
        os.setresgid(_NOBODY, _NOBODY, _NOBODY)
        os.setresuid(_NOBODY, _NOBODY, _NOBODY)
    privileges.keep(())
    _libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)


def confine(memory: int, limits: Mapping[int, int]) -> None:
    """From here on nothing can be opened, started or sent but over what is open.

    A kernel may have no filters of system calls; all else holds without.

    :param memory: bytes of address space; files are mapped whole into it.
    :param limits: others by ``resource.RLIMIT_*``.
    :raises OSError: a limit is not to be had. `drop` comes first.
    """
    none = (resource.RLIMIT_FSIZE, resource.RLIMIT_NPROC, resource.RLIMIT_CORE)
    for limit, most in {resource.RLIMIT_AS: memory, **limits, **dict.fromkeys(none, 0)}.items():
        resource.setrlimit(limit, (most, most))
    program = _filter()
    if program:
        held = ctypes.create_string_buffer(program, len(program))
        whole = struct.pack("@HxxxxxxP", len(program) // 8, ctypes.addressof(held))
        _libc.prctl(_PR_SET_SECCOMP, _FILTER_MODE, ctypes.c_char_p(whole), 0, 0)
