"""Requirements of the ways to attach: kprobes and trampolines for BPF, tracefs for ftrace.

Some kernels have every symbol and refuse all the same. So `trampoline`, `kprobe` and `ring` try it
by bpf(2), with the functions that recording uses: each makes one small thing, drops it at once, and
returns 0 or an errno; None when it cannot be tried.
"""

import contextlib
import errno
import os
import resource
from collections.abc import Callable
from pathlib import Path

from tracer.kernel import bpf_syscall
from tracer.kernel.btf import running_btf
from tracer.kernel.btf_file import BtfError
from tracer.kernel.requirements.host import ELSEWHERE, Host, Obstacle, Seen, requirement
from tracer.kernel.requirements.kernel import refused, tried

TRACEFS = ("sys/kernel/tracing", "sys/kernel/debug/tracing")
"""Where tracefs is mounted, below the root."""

_KPROBES_OFF = Obstacle(
    "kprobes are switched off on this host", "echo 1 > /sys/kernel/debug/kprobes/enabled"
)
_NO_KPROBES = Obstacle(
    "the kernel was built without kprobes (CONFIG_KPROBES is not set)",
    f"use a kernel with kprobes, or {ELSEWHERE}",
)
_NO_KPROBE_EVENTS = Obstacle(
    "the kernel offers no kprobe events (CONFIG_KPROBE_EVENTS is not set)",
    f"use a kernel with kprobe events, or {ELSEWHERE}",
)
_KPROBES_HIDDEN = Obstacle(
    "the list of event sources is hidden: /sys is not mounted or masked",
    "mount sysfs on /sys, or give the container the host's /sys",
    unknown=True,
)
_KPROBES_REFUSED = Obstacle(
    "the kernel refuses BPF programs for kprobes ({ERRNO}), by lockdown, a seccomp filter or "
    "another policy",
    f"run outside the sandbox (docker: --privileged), or {ELSEWHERE}",
)
_NO_TRAMPOLINES = Obstacle(
    "the kernel was built without BPF trampolines or ftrace direct calls",
    f"kprobes can do instead; if they cannot either, {ELSEWHERE}",
)
_TRAMPOLINES_REFUSED = Obstacle(
    "the kernel refuses fentry and fexit programs ({ERRNO}), by lockdown or another policy",
    f"kprobes can do instead; if they cannot either, {ELSEWHERE}",
)
_TRAMPOLINES_UNKNOWN = Obstacle(
    "neither the kernel's symbols nor a test program could tell",
    "run the doctor as root",
    unknown=True,
)


@requirement(
    "kprobe and kretprobe through perf_event_open(2) (CONFIG_KPROBE_EVENTS): method kprobe.",
    _KPROBES_OFF,
    _NO_KPROBES,
    _NO_KPROBE_EVENTS,
    _KPROBES_HIDDEN,
    _KPROBES_REFUSED,
)
def kprobes(host: Host) -> Seen:
    """kprobe and kretprobe by perf_event_open(2): the PMU "kprobe" (CONFIG_KPROBE_EVENTS)."""
    pmu = "sys/bus/event_source/devices/kprobe"
    if host.read("sys/kernel/debug/kprobes/enabled") == "0":
        return Seen("/sys/kernel/debug/kprobes/enabled is 0", _KPROBES_OFF)
    if host.exists(pmu):
        refusal = tried(host, host.try_kprobe)
        if refusal:
            detail = f"/{pmu}, loading a program for it gives {{ERRNO}}"
            return refused(refusal, detail, _KPROBES_REFUSED)
        return Seen(f"/{pmu}")
    if host.config("KPROBES") is False or host.has_symbol("register_kprobe") is False:
        return Seen("no register_kprobe", _NO_KPROBES)
    if not host.exists("sys/bus/event_source/devices"):
        return Seen("no /sys/bus/event_source/devices", _KPROBES_HIDDEN)
    return Seen(f"no /{pmu}", _NO_KPROBE_EVENTS)


@requirement(
    "BPF trampolines on ftrace's direct calls: method fexit.",
    _NO_TRAMPOLINES,
    _TRAMPOLINES_REFUSED,
    _TRAMPOLINES_UNKNOWN,
)
def trampolines(host: Host) -> Seen:
    linker = host.has_symbol("bpf_trampoline_link_prog")
    # register_ftrace_direct_multi was the name for a while; either will do
    direct = host.has_symbol("register_ftrace_direct") or host.has_symbol(
        "register_ftrace_direct_multi"
    )
    if linker is False or direct is False:
        missing = "bpf_trampoline_link_prog" if linker is False else "register_ftrace_direct"
        return Seen(f"no {missing}", _NO_TRAMPOLINES)
    seen = "symbols present" if linker else "symbols unreadable"
    refusal = tried(host, host.try_trampoline)
    if refusal:
        detail = f"{seen}, trying an empty fexit program gives {{ERRNO}}"
        return refused(refusal, detail, _TRAMPOLINES_REFUSED)
    if refusal == 0:
        return Seen(f"{seen}, a test program was accepted")
    if linker:
        return Seen(f"{seen}, not tried")
    return Seen(f"{seen}, not tried", _TRAMPOLINES_UNKNOWN)


def preempts(host: Host) -> bool:
    """Whether tasks may be preempted inside the kernel; True where that cannot be found out.

    kernel/sched/debug.c shows the mode in brackets: none, voluntary, full, and lazy since 6.13.
    """
    modes = host.read("sys/kernel/debug/sched/preempt")
    if modes is not None:
        return "(none)" not in modes and "(voluntary)" not in modes
    if host.config("PREEMPT_DYNAMIC") is not False:
        return True
    return host.config("PREEMPTION") is not False


_AS_ROOT = "run as root; without the list a hook that cannot be set shows at attach time"
_UNREADABLE = Obstacle(
    "the list of traceable functions may not be read (no privilege, or lockdown)", _AS_ROOT
)
_HIDDEN = Obstacle("the list of traceable functions is hidden or ftrace is not built in", _AS_ROOT)
_NOT_MOUNTED = Obstacle(
    "tracefs is not mounted, so what can be hooked shows only at attach time",
    "mount -t tracefs tracefs /sys/kernel/tracing",
)


@requirement(
    "ftrace's function list tells beforehand which functions can be hooked.",
    _NOT_MOUNTED,
    _UNREADABLE,
    _HIDDEN,
)
def tracefs(host: Host) -> Seen:
    for folder in TRACEFS:
        path = host.root / folder / "available_filter_functions"
        try:
            with path.open("rb"):
                return Seen(f"/{folder}/available_filter_functions")
        except FileNotFoundError:
            continue
        except OSError as error:
            detail = f"/{folder}/available_filter_functions: {error.strerror}"
            return Seen(detail, _UNREADABLE)
    if host.mounted is not None and "tracefs" in host.mounted:
        return Seen("tracefs has no available_filter_functions", _HIDDEN)
    return Seen("not mounted", _NOT_MOUNTED)


_BPF_INSTEAD = "record with --source bpf if doctor says that it can"

_FOR_ROOT = Obstacle("tracefs is not readable: that is for root alone", "run it with sudo")
_NO_TRACEFS = Obstacle("tracefs is not mounted", "mount -t tracefs tracefs /sys/kernel/tracing")
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
    for place in TRACEFS:
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


@requirement(
    "kprobe events in tracefs (CONFIG_KPROBE_EVENTS), which must be there to be written: source "
    "ftrace.",
    _NO_TRACEFS,
    _FOR_ROOT,
    _KPROBES_OFF,
    _NO_EVENTS,
    _READ_ONLY,
    _NO_WRITE,
)
def kprobe_events(host: Host) -> Seen:
    folder = _folder(host)
    if folder is None:
        denied = any(_refused(host.root / place) for place in TRACEFS)
        obstacle = _FOR_ROOT if denied else _NO_TRACEFS
        return Seen("no tracefs to be seen", obstacle)
    if host.read("sys/kernel/debug/kprobes/enabled") == "0":
        return Seen("/sys/kernel/debug/kprobes/enabled is 0", _KPROBES_OFF)
    path = host.root / folder / "kprobe_events"
    shown = f"/{folder}/kprobe_events"
    try:
        # For writing, without O_TRUNC, by which all probes of the host would go.
        os.close(os.open(path, os.O_WRONLY | os.O_APPEND))
        return Seen(shown)
    except FileNotFoundError:
        return Seen(f"no {shown}", _NO_EVENTS)
    except OSError as error:
        obstacle = _READ_ONLY if host.euid == 0 else _NO_WRITE
        return Seen(f"{shown}: {error.strerror}", obstacle)


@requirement(
    "An instance of tracefs with a ring of its own, timed by the boot clock: source ftrace.",
    _NO_TRACEFS,
    _NO_INSTANCES,
    _NO_CLOCK,
)
def trace_instances(host: Host) -> Seen:
    folder = _folder(host)
    if folder is None:
        return Seen("no tracefs to be seen", _NO_TRACEFS)
    shown = f"/{folder}/instances"
    if not host.exists(f"{folder}/instances"):
        return Seen(f"no {shown}", _NO_INSTANCES)
    clocks = host.read(f"{folder}/trace_clock") or ""
    if "boot" not in clocks.replace("[", "").replace("]", "").split():
        return Seen(f"/{folder}/trace_clock: {clocks}", _NO_CLOCK)
    return Seen(shown)


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
