"""Gives up all that a process may do but read descriptors, compute and answer.

For whatever looks into files that somebody else made by a library written in C: if such a file
takes the process over, it has nothing to take.
"""

import contextlib
import ctypes
import errno
import os
import platform
import resource
import struct
import tempfile

_PR_SET_NO_NEW_PRIVS, _PR_SET_SECCOMP, _PR_SET_DUMPABLE = 38, 22, 4
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


def _no_calls(libc: ctypes.CDLL) -> None:
    """Best effort: a kernel may have no seccomp, and all else holds without."""
    program = _filter()
    if not program:
        return
    held = ctypes.create_string_buffer(program, len(program))
    whole = struct.pack("@HxxxxxxP", len(program) // 8, ctypes.addressof(held))
    libc.prctl(_PR_SET_SECCOMP, _FILTER_MODE, ctypes.c_char_p(whole), 0, 0)


def _no_files() -> None:
    """Root becomes nobody, in a folder that is empty and gone."""
    # Where nothing can be written it stays where it is: what opens files is refused all the same.
    with contextlib.suppress(OSError):
        folder = tempfile.mkdtemp(prefix="sealsnoop-")
        os.chmod(folder, 0o755)
        fd = os.open(folder, os.O_PATH | os.O_DIRECTORY)
        os.rmdir(folder)
        os.fchdir(fd)
        os.chroot(".")
        os.close(fd)
    os.setgroups([])
    os.setresgid(_NOBODY, _NOBODY, _NOBODY)
    os.setresuid(_NOBODY, _NOBODY, _NOBODY)


def enter(memory: int, seconds: int) -> None:
    """From here on nothing can be opened, started or sent but over what is open.

    :param memory: bytes of address space; files are mapped whole into it.
    :param seconds: of computing, in all.
    :raises OSError: root could not give its rights up.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if os.geteuid() == 0:
        _no_files()
    limits = {
        resource.RLIMIT_AS: memory,
        resource.RLIMIT_CPU: seconds,
        resource.RLIMIT_FSIZE: 0,
        resource.RLIMIT_NPROC: 0,
        resource.RLIMIT_CORE: 0,
    }
    for limit, value in limits.items():
        resource.setrlimit(limit, (value, value))
    libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
    if libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "no_new_privs")
    _no_calls(libc)
