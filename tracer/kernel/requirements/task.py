"""What the process that traces may do, and which process ids it knows."""

import re

from tracer.kernel.requirements.finding import Finding, Obstacle, Requirement, met, unmet
from tracer.kernel.requirements.host import Host

# include/uapi/linux/capability.h
_CAP_SYS_ADMIN, _CAP_PERFMON, _CAP_BPF = 21, 38, 39
# PROC_PID_INIT_INO of include/linux/proc_ns.h: the initial pid namespace has this inode
_INITIAL_PID_NAMESPACE = "pid:[4026531836]"
# The first line of /proc/self/uid_map in the initial user namespace
_WHOLE_UID_MAP = ["0", "0", "4294967295"]

_ROOT_WITHOUT = Obstacle(
    "root without CAP_SYS_ADMIN, and without CAP_BPF and CAP_PERFMON together",
    "run it with all of root's capabilities (a container: start it with --privileged)",
)
_USER = Obstacle(
    "neither CAP_SYS_ADMIN nor both CAP_BPF and CAP_PERFMON",
    "run it with sudo; only the recorder needs it, viewing a recording does not",
)
_USER_NAMESPACE = Obstacle(
    "root of a user namespace only; BPF asks for capabilities in the initial one",
    "run it as root of the host, not in a rootless container",
)
_CONTAINER = Obstacle(
    "this is a container: recorded process ids are the host's, not those seen in here",
    "run on the host, or start the container with --pid=host",
)
_NO_PROC_SELF = Obstacle("/proc/self does not tell the pid namespace", "mount /proc", unknown=True)


def privilege(host: Host) -> Finding:
    """CAP_SYS_ADMIN, or CAP_BPF with CAP_PERFMON (bpf_capable(), perfmon_capable())."""
    held = _capabilities(host)
    sysctls = [
        f"{name.rpartition('/')[2]}={value}"
        for name in ("kernel/unprivileged_bpf_disabled", "kernel/perf_event_paranoid")
        if (value := host.read(f"proc/sys/{name}")) is not None
    ]
    detail = ", ".join([f"euid {host.euid}", *sysctls])
    if held is None:
        # Without /proc/self/status only the user id is left to judge by
        if host.euid == 0:
            return met("privilege", f"{detail}, capabilities unknown")
        held = 0
    admin, bpf, perfmon = (
        bool(held >> capability & 1) for capability in (_CAP_SYS_ADMIN, _CAP_BPF, _CAP_PERFMON)
    )
    if not admin and not (bpf and perfmon):
        return unmet(host, "privilege", detail, _ROOT_WITHOUT if host.euid == 0 else _USER)
    uid_map = (host.read("proc/self/uid_map") or "").split()
    if uid_map and uid_map[:3] != _WHOLE_UID_MAP:
        return unmet(
            host, "privilege", f"{detail}, uid map {' '.join(uid_map[:3])}", _USER_NAMESPACE
        )
    if not admin:
        detail += (
            ", CAP_BPF and CAP_PERFMON without CAP_SYS_ADMIN (no hooks in modules such as kvm)"
        )
    return met("privilege", detail)


def _capabilities(host: Host) -> int | None:
    found = re.search(r"^CapEff:\s*([0-9a-f]+)$", host.read("proc/self/status") or "", re.MULTILINE)
    return int(found[1], 16) if found else None


def pid_namespace(host: Host) -> Finding:
    """The kernel reports process ids of the initial namespace; a container knows others."""
    status = host.read("proc/self/status") or ""
    nested = re.search(r"^NSpid:(.*)$", status, re.MULTILINE)
    mine = _link(host, "proc/self/ns/pid")
    first = _link(host, "proc/1/ns/pid")
    detail = mine or "pid namespace unknown"
    inside = (
        # a container's own /proc shows one id only, hence the inode of the namespace first
        (mine is not None and mine != _INITIAL_PID_NAMESPACE)
        or (mine is not None and first is not None and mine != first)
        or (nested is not None and len(nested[1].split()) > 1)
    )
    if inside:
        return unmet(host, "pid_namespace", detail, _CONTAINER)
    if mine is None and nested is None:
        return unmet(host, "pid_namespace", detail, _NO_PROC_SELF)
    return met("pid_namespace", detail)


def _link(host: Host, path: str) -> str | None:
    try:
        return str((host.root / path).readlink())
    except OSError:
        return None


PRIVILEGE = Requirement(
    "privilege",
    "Loading BPF programs that read the kernel takes CAP_SYS_ADMIN, or CAP_BPF with CAP_PERFMON, "
    "in the initial user namespace. Reading recordings takes none.",
    privilege,
    (_USER, _ROOT_WITHOUT, _USER_NAMESPACE),
)
PID_NAMESPACE = Requirement(
    "pid_namespace",
    "The kernel reports process ids as the initial pid namespace counts them.",
    pid_namespace,
    (_CONTAINER, _NO_PROC_SELF),
)
