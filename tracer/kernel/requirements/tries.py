"""Asks the kernel itself, by bpf(2): some have every symbol and refuse nevertheless.

Each makes one small thing through the very functions that recording uses, drops it at once, and
returns 0 or an errno; None when it cannot be tried.
"""

import errno
import os
import resource
from collections.abc import Callable

from tracer.kernel import bpf_syscall
from tracer.kernel.btf import BtfError, running_btf

_RETURN_0 = bytes.fromhex("b700000000000000 9500000000000000")
# the one function with the same prototype on every kernel known (5.10 to 7.3)
_FUNCTION = "vm_mmap_pgoff"


def trampoline() -> int | None:
    """Loads a fexit program "return 0" for vm_mmap_pgoff and attaches it for an instant.

    Seen refused (EPERM) on a kernel with lockdown in integrity mode. Attached it is refused where
    ftrace is switched off (kernel.ftrace_enabled=0).
    """
    try:
        target = running_btf().function_id(_FUNCTION)
    except BtfError:
        return None
    kind, how = bpf_syscall.TRACING, bpf_syscall.FEXIT

    def load() -> int:
        return bpf_syscall.load(_RETURN_0, "try", kind, attach_type=how, function_id=target)

    return _tried(load, bpf_syscall.attach)


def kprobe() -> int | None:
    """Loads a kprobe program "return 0"."""
    return _tried(lambda: bpf_syscall.load(_RETURN_0, "try", bpf_syscall.KPROBE))


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
    return _tried(lambda: bpf_syscall.make_ring(os.sysconf("SC_PAGE_SIZE")))


def _tried(make: Callable[[], int], attach: Callable[[int], int] | None = None) -> int:
    made = []
    try:
        made.append(make())
        if attach:
            made.append(attach(made[0]))
    except OSError as error:
        return error.errno or errno.EIO
    finally:
        for fd in reversed(made):
            os.close(fd)
    return 0
