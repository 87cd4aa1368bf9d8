"""The two ways to attach BPF programs to kernel functions."""

from tracer.kernel.requirements.finding import (
    ELSEWHERE,
    Finding,
    Obstacle,
    Requirement,
    met,
    unmet,
)
from tracer.kernel.requirements.host import Host
from tracer.kernel.requirements.task import privilege
from tracer.model.errnos import errno_name

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


def kprobes(host: Host) -> Finding:
    """kprobe and kretprobe by perf_event_open(2): the PMU "kprobe" (CONFIG_KPROBE_EVENTS)."""
    pmu = "sys/bus/event_source/devices/kprobe"
    if host.read("sys/kernel/debug/kprobes/enabled") == "0":
        return unmet(host, "kprobes", "/sys/kernel/debug/kprobes/enabled is 0", _KPROBES_OFF)
    if host.exists(pmu):
        refusal = None
        if host.try_kprobe is not None and privilege(host).ok:
            refusal = host.try_kprobe()
        if refusal:
            code = errno_name(-refusal) or str(refusal)
            detail = f"/{pmu}, loading a program for it gives {code}"
            return unmet(host, "kprobes", detail, _KPROBES_REFUSED, ERRNO=code)
        return met("kprobes", f"/{pmu}")
    if host.config("KPROBES") is False or host.has_symbol("register_kprobe") is False:
        return unmet(host, "kprobes", "no register_kprobe", _NO_KPROBES)
    if not host.exists("sys/bus/event_source/devices"):
        return unmet(host, "kprobes", "no /sys/bus/event_source/devices", _KPROBES_HIDDEN)
    return unmet(host, "kprobes", f"no /{pmu}", _NO_KPROBE_EVENTS)


def trampolines(host: Host) -> Finding:
    """fentry and fexit: BPF trampolines on ftrace's direct calls."""
    linker = host.has_symbol("bpf_trampoline_link_prog")
    # register_ftrace_direct_multi was the name for a while; either will do
    direct = host.has_symbol("register_ftrace_direct") or host.has_symbol(
        "register_ftrace_direct_multi"
    )
    if linker is False or direct is False:
        missing = "bpf_trampoline_link_prog" if linker is False else "register_ftrace_direct"
        return unmet(host, "trampolines", f"no {missing}", _NO_TRAMPOLINES)
    seen = "symbols present" if linker else "symbols unreadable"
    refusal = None
    if host.try_trampoline is not None and privilege(host).ok:
        refusal = host.try_trampoline()
    if refusal:
        code = errno_name(-refusal) or str(refusal)
        detail = f"{seen}, trying an empty fexit program gives {code}"
        return unmet(host, "trampolines", detail, _TRAMPOLINES_REFUSED, ERRNO=code)
    if refusal == 0:
        return met("trampolines", f"{seen}, a test program was accepted")
    if linker:
        return met("trampolines", f"{seen}, not tried")
    return unmet(host, "trampolines", f"{seen}, not tried", _TRAMPOLINES_UNKNOWN)


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


KPROBES = Requirement(
    "kprobes",
    "kprobe and kretprobe through perf_event_open(2) (CONFIG_KPROBE_EVENTS): method kprobe.",
    kprobes,
    (_KPROBES_OFF, _NO_KPROBES, _NO_KPROBE_EVENTS, _KPROBES_HIDDEN, _KPROBES_REFUSED),
)
TRAMPOLINES = Requirement(
    "trampolines",
    "BPF trampolines on ftrace's direct calls: method fexit.",
    trampolines,
    (_NO_TRAMPOLINES, _TRAMPOLINES_REFUSED, _TRAMPOLINES_UNKNOWN),
)
