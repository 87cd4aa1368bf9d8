"""Which of the two sources of events a host allows: BPF, or kprobe events in tracefs (ftrace)."""

import contextlib
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

from tracer.kernel.requirements import Finding, Host
from tracer.kernel.requirements import blocking as bpf_blocking

Source = Literal["bpf", "ftrace"]
SOURCES: tuple[Source, ...] = ("bpf", "ftrace")

_SHARED = frozenset({"architecture", "lockdown", "btf", "symbols"})
"""Findings of `tracer.kernel.requirements.check` that ftrace needs as well."""
_PLACES = ("sys/kernel/tracing", "sys/kernel/debug/tracing")
_BPF_INSTEAD = "record with --source bpf if doctor says that it can"


def ftrace(host: Host) -> list[Finding]:
    """What ftrace needs besides: tracefs that may be written, instances, kprobe events, a clock."""
    folder = None
    for place in _PLACES:
        with contextlib.suppress(OSError):
            if (host.root / place / "README").exists():
                folder = place
                break
    if folder is None:
        denied = any(_refused(host.root / place) for place in _PLACES)
        cause = (
            "tracefs is not readable: that is for root alone"
            if denied
            else "tracefs is not mounted"
        )
        remedy = "run it with sudo" if denied else "mount -t tracefs tracefs /sys/kernel/tracing"
        return [Finding("kprobe_events", False, "no tracefs to be seen", cause, remedy)]
    return [_kprobe_events(host, folder), _instances(host, folder)]


def _refused(path: Path) -> bool:
    try:
        (path / "README").stat()
    except PermissionError:
        return True
    except OSError:
        return False
    return False


def _kprobe_events(host: Host, folder: str) -> Finding:
    if host.read("sys/kernel/debug/kprobes/enabled") == "0":
        return Finding(
            "kprobe_events",
            False,
            "/sys/kernel/debug/kprobes/enabled is 0",
            "kprobes are switched off on this host",
            "echo 1 > /sys/kernel/debug/kprobes/enabled",
        )
    path = host.root / folder / "kprobe_events"
    shown = f"/{folder}/kprobe_events"
    try:
        # For writing, without O_TRUNC, by which all probes of the host would go.
        os.close(os.open(path, os.O_WRONLY | os.O_APPEND))
        return Finding("kprobe_events", True, shown)
    except FileNotFoundError:
        return Finding(
            "kprobe_events",
            False,
            f"no {shown}",
            "the kernel has no kprobe events (CONFIG_KPROBE_EVENTS is not set)",
            f"use a kernel with kprobe events, or {_BPF_INSTEAD}",
        )
    except OSError as error:
        root = host.euid == 0
        return Finding(
            "kprobe_events",
            False,
            f"{shown}: {error.strerror}",
            "tracefs may not be written" + (" (lockdown or a container)" if root else ""),
            "run it on the host, in no container" if root else "run it with sudo",
        )


def _instances(host: Host, folder: str) -> Finding:
    shown = f"/{folder}/instances"
    if not host.exists(f"{folder}/instances"):
        return Finding(
            "trace_instances",
            False,
            f"no {shown}",
            "tracefs has no instances",
            f"use another kernel, or {_BPF_INSTEAD}",
        )
    clocks = host.read(f"{folder}/trace_clock") or ""
    if "boot" not in clocks.replace("[", "").replace("]", "").split():
        return Finding(
            "trace_instances",
            False,
            f"/{folder}/trace_clock: {clocks}",
            "the tracing ring cannot be timed by the boot clock",
            f"use another kernel, or {_BPF_INSTEAD}",
        )
    return Finding("trace_instances", True, shown)


def blocking(source: Source, host: Host, findings: Iterable[Finding]) -> list[Finding]:
    """What makes recording by that source impossible; empty: it is worth a try.

    ``findings``: of `tracer.kernel.requirements.check` for the same host.
    """
    if source == "bpf":
        return bpf_blocking(findings)
    failed = [one for one in findings if one.ok is False]
    shared = [one for one in failed if one.name in _SHARED]
    if any(one.name == "lockdown" for one in shared):
        return shared  # tracefs is then empty, which is no news
    own = [one for one in ftrace(host) if one.ok is False]
    # A kernel without kprobes has no use for a tracefs.
    missing = [one for one in failed if one.name == "kprobes"] if own else []
    return shared + (missing or own)


def told(host: Host, findings: Iterable[Finding]) -> dict[Source, list[Finding]]:
    """`blocking` of each source."""
    findings = list(findings)
    return {source: blocking(source, host, findings) for source in SOURCES}


FTRACE_BLIND_SPOTS = (
    "by ftrace: what a call left behind (seals, size) is read again at its return on kernels that "
    "keep its arguments (since 6.9); on others it follows from the call and its answer, and from "
    "all F_ADD_SEALS calls seen meanwhile",
    "by ftrace: the descriptor and number of a system call that lies deep in the kernel's stack; "
    "fd is then -1",
    "by ftrace: whether an unmapping happens in another process's address space",
    "by ftrace: returns stand in the ring without what they belong to; where it dropped events, or "
    "a probe was skipped, the decisions of that time are marked no-return and are indeterminate",
)
"""What this source sees less of, stored in its recordings."""
