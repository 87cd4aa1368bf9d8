"""What the recorder still may when its hooks are attached, and why: everything else it gives away.

A recorder runs for hours beside those that it watches, and reads what they choose (names, paths,
descriptors). Whoever turned one of its faults against it gets what it still has.
"""

import ctypes
import os
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from enum import IntEnum
from pathlib import Path

_LEAVING_S = 0.5
_VERSION_3 = 0x20080522
_PR_CAPBSET_READ, _PR_CAPBSET_DROP, _PR_SET_NO_NEW_PRIVS = 23, 24, 38
_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL = 47, 4

_libc = ctypes.CDLL(None, use_errno=True)


class Cap(IntEnum):
    """Capabilities (include/uapi/linux/capability.h)."""

    DAC_OVERRIDE = 1
    DAC_READ_SEARCH = 2
    KILL = 5
    SETPCAP = 8
    SYS_PTRACE = 19
    SYS_ADMIN = 21
    SYSLOG = 34
    PERFMON = 38
    BPF = 39
    CHECKPOINT_RESTORE = 40


READS_MAPS: Mapping[Cap, str] = {
    Cap.BPF: "to read the maps and counts of its programs, and to run the one that looks whether a "
    "file is mapped"
}
"""By source ``bpf``, until the end."""
SWEEPS: Mapping[Cap, str] = {
    Cap.SYS_PTRACE: "to see in /proc what processes of others hold and have mapped",
    Cap.DAC_READ_SEARCH: "to enter their folders there, and to read the seals of their files",
    Cap.CHECKPOINT_RESTORE: "to reach a file that is only mapped, by /proc/PID/map_files",
}
"""While /proc is read: at the start, and for audits at the end too."""
LATE_HOOKS: Mapping[Cap, str] = {
    Cap.PERFMON: "to hook KVM when it is loaded while we record: its programs read kernel memory",
    Cap.SYSLOG: "to learn then from /proc/kallsyms where its operations of guest_memfd are",
}
"""For audits."""
LATE_BY_ADMIN: Mapping[Cap, str] = {
    Cap.SYS_ADMIN: "only where kprobes take it (kernel.perf_event_paranoid above 2, which Debian's "
    "kernels have from their own patch), or where there are none: to ask for the BTF of that "
    "module by its id"
}
"""Where `late_takes_admin`."""
COMMAND: Mapping[Cap, str] = {Cap.KILL: "with a command: to end it, which may run as another user"}

LEAST: Mapping[Cap, str] = {
    Cap.BPF: "nothing is recorded",
    Cap.PERFMON: "nothing is recorded",
    Cap.SYS_PTRACE: "what processes of others had open and mapped at the start is not known (an "
    "audit is indeterminate about files that are older)",
    Cap.DAC_READ_SEARCH: "the same",
    Cap.CHECKPOINT_RESTORE: "seals of files that are only mapped are not known",
    Cap.SYSLOG: "guest_memfds are not told apart before 6.19 (the address of their operations), "
    "and --stacks kernel is refused",
}
"""What a user who is not root needs, and what is missing without."""


def late_takes_admin(kprobes: bool, root: Path = Path("/")) -> bool:
    """Whether a hook in a module can be attached late by who may do anything alone."""
    try:
        paranoid = int((root / "proc/sys/kernel/perf_event_paranoid").read_text())
    except (OSError, ValueError):
        paranoid = 0
    return not kprobes or paranoid > 2


def held() -> int:
    """The permitted capabilities of this thread, as bits."""
    _, permitted, _ = _get()
    return permitted


def keep(wanted: Iterable[Cap], bound: Iterable[Cap] | None = None) -> None:
    """Gives away, for this thread and all that it starts, whatever is not ``wanted``.

    Those that we do not have are not gained. Neither is anything by a set-uid program from now on.
    ``bound``: to what the bounding set is cut, which takes a privilege of its own: for who will
    give away more later. OSError.
    """
    bits = sum(1 << cap for cap in set(wanted))
    limit = bits if bound is None else sum(1 << cap for cap in set(bound))
    effective, permitted, _ = _get()
    if effective >> Cap.SETPCAP & 1:
        for number in range(64):
            known = _libc.prctl(_PR_CAPBSET_READ, number, 0, 0, 0)
            if known < 0:
                break  # this kernel has no more
            if known and not limit >> number & 1:
                _check(_libc.prctl(_PR_CAPBSET_DROP, number, 0, 0, 0))
    _check(_libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
    _check(_libc.prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0))
    left = permitted & bits
    _set(left, left)


def more_than(wanted: Iterable[Cap]) -> list[str]:
    """The names of our threads that have more: each has its own, which nobody else can take.

    A thread that was joined may take a moment to leave /proc: one that has more is looked at again
    for up to ``_LEAVING_S``.
    """
    bits = sum(1 << cap for cap in set(wanted))
    until = time.monotonic() + _LEAVING_S
    while (found := _threads_beyond(bits)) and time.monotonic() < until:
        time.sleep(_LEAVING_S / 20)
    return found


def _threads_beyond(bits: int) -> list[str]:
    found = []
    for task in sorted(Path("/proc/self/task").iterdir()):
        with suppress(OSError):
            fields = dict(line.split(":", 1) for line in (task / "status").read_text().splitlines())
            if int(fields["CapPrm"], 16) & ~bits:
                found.append(fields["Name"].strip())
    return found


def _get() -> tuple[int, int, int]:
    """Effective, permitted, inheritable."""
    data = (ctypes.c_uint32 * 6)()
    _check(_libc.capget(_header(), data))
    low, high = data[:3], data[3:]
    effective, permitted, inheritable = (a | b << 32 for a, b in zip(low, high, strict=True))
    return effective, permitted, inheritable


def _set(effective: int, permitted: int) -> None:
    low = [effective & 0xFFFFFFFF, permitted & 0xFFFFFFFF, 0]
    data = (ctypes.c_uint32 * 6)(*low, effective >> 32, permitted >> 32, 0)
    _check(_libc.capset(_header(), data))


def _header() -> ctypes.Array[ctypes.c_uint32]:
    return (ctypes.c_uint32 * 2)(_VERSION_3, 0)


def _check(result: int) -> None:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
