"""Asks the kernel itself, by bpf(2): some have every symbol and refuse nevertheless.

Each makes one small thing, drops it at once, and returns 0 or an errno; None when it cannot be
tried. Nothing is attached. Numbers and places are those of include/uapi/linux/bpf.h.
"""

import ctypes
import errno
import os
import resource
import sys

from tracer.kernel.btf import BtfError, running_btf

_SYS_BPF = 321
_MAP_CREATE, _PROG_LOAD = 0, 5
_MAP_RINGBUF = 27
_PROG_KPROBE, _PROG_TRACING = 2, 26
_FENTRY = 24
_RETURN_0 = bytes.fromhex("b700000000000000 9500000000000000")


def trampoline() -> int | None:
    """Loads an fentry program "return 0" for vm_mmap_pgoff.

    Seen refused (EPERM) on a kernel with lockdown in integrity mode.
    """
    try:
        # the one function with the same prototype on every kernel known (5.10 to 7.3)
        target = running_btf().function_id("vm_mmap_pgoff")
    except BtfError:
        return None
    return _load(_PROG_TRACING, (68, 4, _FENTRY), (108, 4, target))


def kprobe() -> int | None:
    """Loads a kprobe program "return 0"."""
    return _load(_PROG_KPROBE)


def ring() -> int | None:
    """Makes a ring buffer of one page.

    Kernels before 5.11 count maps as locked memory; there bcc raises the limit, so we do, too.
    """
    refusal = _make_ring()
    if refusal != errno.EPERM:
        return refusal
    soft, hard = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    try:
        resource.setrlimit(resource.RLIMIT_MEMLOCK, (resource.RLIM_INFINITY,) * 2)
    except (OSError, ValueError):
        return refusal
    try:
        return _make_ring()
    finally:
        resource.setrlimit(resource.RLIMIT_MEMLOCK, (soft, hard))


def _make_ring() -> int:
    return _bpf(_MAP_CREATE, (0, 4, _MAP_RINGBUF), (12, 4, os.sysconf("SC_PAGE_SIZE")))


def _load(kind: int, *more: tuple[int, int, int]) -> int:
    code = ctypes.create_string_buffer(_RETURN_0, len(_RETURN_0))
    licence = ctypes.create_string_buffer(b"GPL")
    return _bpf(
        _PROG_LOAD,
        (0, 4, kind),
        (4, 4, len(_RETURN_0) // 8),
        (8, 8, ctypes.addressof(code)),
        (16, 8, ctypes.addressof(licence)),
        *more,
    )


def _bpf(command: int, *fields: tuple[int, int, int]) -> int:
    """bpf(2) with an attr of ``(place, bytes, value)``."""
    attr = bytearray(112)  # up to and with attach_btf_id; the kernel takes what follows as 0
    for place, size, value in fields:
        attr[place : place + size] = value.to_bytes(size, sys.byteorder)
    libc = ctypes.CDLL(None, use_errno=True)
    made = libc.syscall(_SYS_BPF, command, (ctypes.c_char * len(attr)).from_buffer(attr), len(attr))
    if made < 0:
        return ctypes.get_errno()
    os.close(made)
    return 0
