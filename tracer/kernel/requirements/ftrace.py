"""What the source ftrace needs beside what BPF needs as well: kprobe events in tracefs."""

import contextlib
import os
from pathlib import Path

from tracer.kernel.requirements.finding import Finding, Obstacle, Requirement, met, unmet
from tracer.kernel.requirements.host import Host

_PLACES = ("sys/kernel/tracing", "sys/kernel/debug/tracing")
_BPF_INSTEAD = "record with --source bpf if doctor says that it can"

_FOR_ROOT = Obstacle("tracefs is not readable: that is for root alone", "run it with sudo")
_NOT_MOUNTED = Obstacle("tracefs is not mounted", "mount -t tracefs tracefs /sys/kernel/tracing")
_OFF = Obstacle(
    "kprobes are switched off on this host", "echo 1 > /sys/kernel/debug/kprobes/enabled"
)
_NO_EVENTS = Obstacle(
    "the kernel has no kprobe events (CONFIG_KPROBE_EVENTS is not set)",
    f"use a kernel with kprobe events, or {_BPF_INSTEAD}",
)
_READ_ONLY = Obstacle(
    "tracefs may not be written (lockdown or a container)", "run it on the host, in no container"
)
_NO_WRITE = Obstacle("tracefs may not be written", "run it with sudo")
_NO_INSTANCES = Obstacle("tracefs has no instances", f"use another kernel, or {_BPF_INSTEAD}")
_NO_CLOCK = Obstacle(
    "the tracing ring cannot be timed by the boot clock", f"use another kernel, or {_BPF_INSTEAD}"
)


def _folder(host: Host) -> str | None:
    for place in _PLACES:
        with contextlib.suppress(OSError):
            if (host.root / place / "README").exists():
                return place
    return None


def _refused(path: Path) -> bool:
    try:
        (path / "README").stat()
    except PermissionError:
        return True
    except OSError:
        return False
    return False


def kprobe_events(host: Host) -> Finding:
    """tracefs that may be written, with kprobe events."""
    folder = _folder(host)
    if folder is None:
        denied = any(_refused(host.root / place) for place in _PLACES)
        obstacle = _FOR_ROOT if denied else _NOT_MOUNTED
        return unmet(host, "kprobe_events", "no tracefs to be seen", obstacle)
    if host.read("sys/kernel/debug/kprobes/enabled") == "0":
        return unmet(host, "kprobe_events", "/sys/kernel/debug/kprobes/enabled is 0", _OFF)
    path = host.root / folder / "kprobe_events"
    shown = f"/{folder}/kprobe_events"
    try:
        # For writing, without O_TRUNC, by which all probes of the host would go.
        os.close(os.open(path, os.O_WRONLY | os.O_APPEND))
        return met("kprobe_events", shown)
    except FileNotFoundError:
        return unmet(host, "kprobe_events", f"no {shown}", _NO_EVENTS)
    except OSError as error:
        obstacle = _READ_ONLY if host.euid == 0 else _NO_WRITE
        return unmet(host, "kprobe_events", f"{shown}: {error.strerror}", obstacle)


def trace_instances(host: Host) -> Finding:
    """Instances, each with a ring of its own, and the boot clock to time it by."""
    folder = _folder(host)
    if folder is None:
        return unmet(host, "trace_instances", "no tracefs to be seen", _NOT_MOUNTED)
    shown = f"/{folder}/instances"
    if not host.exists(f"{folder}/instances"):
        return unmet(host, "trace_instances", f"no {shown}", _NO_INSTANCES)
    clocks = host.read(f"{folder}/trace_clock") or ""
    if "boot" not in clocks.replace("[", "").replace("]", "").split():
        return unmet(host, "trace_instances", f"/{folder}/trace_clock: {clocks}", _NO_CLOCK)
    return met("trace_instances", shown)


KPROBE_EVENTS = Requirement(
    "kprobe_events",
    "kprobe events in tracefs (CONFIG_KPROBE_EVENTS), which must be there to be written: source "
    "ftrace.",
    kprobe_events,
    (_NOT_MOUNTED, _FOR_ROOT, _OFF, _NO_EVENTS, _READ_ONLY, _NO_WRITE),
)
TRACE_INSTANCES = Requirement(
    "trace_instances",
    "An instance of tracefs with a ring of its own, timed by the boot clock: source ftrace.",
    trace_instances,
    (_NOT_MOUNTED, _NO_INSTANCES, _NO_CLOCK),
)
