"""A moment after which nothing that was begun before is still being written into the ring.

A probe writes its event with preemption off (kernel/trace/ring_buffer.c:ring_buffer_lock_reserve).
membarrier(2) MEMBARRIER_CMD_GLOBAL waits for an RCU grace period, which no CPU passes within such
a section (kernel/sched/membarrier.c; flavours of RCU are one since 4.20). So what has an earlier
time than its call is to be read at its return, however long a virtual CPU was kept from running.
"""

import ctypes

_SYS_MEMBARRIER = 324  # x86-64
_CMD_GLOBAL = 1

_libc = ctypes.CDLL(None, use_errno=True)


def wait_for_writers() -> bool:
    """Waits (some milliseconds). False where the kernel does not offer it (nohz_full, seccomp)."""
    result: int = _libc.syscall(_SYS_MEMBARRIER, _CMD_GLOBAL, 0, 0)
    return result == 0
