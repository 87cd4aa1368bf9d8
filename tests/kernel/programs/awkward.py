"""Calls on memory files that are easily recorded wrongly, and what became of each.

One JSON line a call: pid, op, answer (or -errno), the seals behind it, and what was asked. A file
that is set-uid loses that when another user writes or allocates: the kernel changes the mode inside
the call, which is a line of its own in front of the call's. Root's.
"""

import ctypes
import json
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager

NOBODY = 65534
PAGE = 4096
SEAL, SHRINK, GROW, WRITE = 1, 2, 4, 8
KEEP_SIZE, PUNCH_HOLE = 1, 2
F_ADD_SEALS, F_GET_SEALS = 1033, 1034
_FCNTL, _FALLOCATE = 72, 285

_libc = ctypes.CDLL(None, use_errno=True)


def syscall(number: int, *arguments: int) -> int:
    result: int = _libc.syscall(number, *(ctypes.c_ulong(one) for one in arguments))
    return result if result >= 0 else -ctypes.get_errno()


def said(op: str, fd: int, answer: int, **asked: int) -> None:
    seals = syscall(_FCNTL, fd, F_GET_SEALS)
    told = {"pid": os.getpid(), "op": op, "answer": answer, "seals_after": seals, **asked}
    print(json.dumps(told), flush=True)


@contextmanager
def as_nobody() -> Iterator[None]:
    """Without CAP_FSETID."""
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


def answer_of(call: Callable[[], int]) -> int:
    try:
        return call()
    except OSError as error:
        return -(error.errno or 0)


def disarming(op: str, fd: int, call: Callable[[], int], **asked: int) -> None:
    """A call by another user on a file that was made set-uid for it."""
    mode = stat.S_IMODE(os.fstat(fd).st_mode) | stat.S_ISUID
    os.fchmod(fd, mode)
    said("chmod", fd, 0, mode=mode)
    with as_nobody():
        answer = answer_of(call)
    left = stat.S_IMODE(os.fstat(fd).st_mode)
    if left != mode:
        said("chmod", fd, 0, mode=left)
    said(op, fd, answer, **asked)


def nested(fd: int) -> None:
    size = os.fstat(fd).st_size
    punch = KEEP_SIZE | PUNCH_HOLE
    disarming("write", fd, lambda: os.pwrite(fd, b"inside", 8), offset=8, length=6)
    disarming("write", fd, lambda: os.pwrite(fd, b"beyond", size), offset=size, length=6)
    disarming(
        "allocate", fd, lambda: syscall(_FALLOCATE, fd, 0, 0, size + PAGE),
        offset=0, length=size + PAGE,
    )  # fmt: skip
    disarming(
        "punch_hole", fd, lambda: syscall(_FALLOCATE, fd, punch, 0, PAGE), offset=0, length=PAGE
    )


def add_seals(fd: int, seals: int) -> None:
    said("add_seals", fd, syscall(_FCNTL, fd, F_ADD_SEALS, seals), arg=seals)


def main() -> None:
    fd = os.memfd_create("awkward", os.MFD_ALLOW_SEALING)
    said("create", fd, fd)
    os.ftruncate(fd, 2 * PAGE)
    said("truncate", fd, 0, length=2 * PAGE)
    nested(fd)
    # The kernel refuses more than 32 bits, or cuts them off, by the type of its parameter.
    for seals in (1 << 32 | SHRINK, 1 << 63 | GROW, GROW):
        add_seals(fd, seals)
    nested(fd)
    add_seals(fd, WRITE)
    nested(fd)


if __name__ == "__main__":
    main()
