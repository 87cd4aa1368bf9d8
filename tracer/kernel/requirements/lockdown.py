"""Kernel lockdown, and securityfs, which shows it."""

import re

from tracer.kernel.requirements.finding import (
    ELSEWHERE,
    Finding,
    Obstacle,
    Requirement,
    met,
    unmet,
)
from tracer.kernel.requirements.host import Host

_MOUNT = "mount -t securityfs securityfs /sys/kernel/security"
_CONFIDENTIALITY = Obstacle(
    "lockdown mode confidentiality forbids kprobes and BPF reads of the kernel",
    f"boot with lockdown=integrity or none if you may, or {ELSEWHERE}",
)
_UNREADABLE = Obstacle(
    "the lockdown mode cannot be read: securityfs is not mounted", _MOUNT, unknown=True
)
_NO_SECURITYFS = Obstacle(
    "securityfs is not mounted, so lockdown mode and security modules cannot be read", _MOUNT
)


def lockdown(host: Host) -> Finding:
    """Kernel lockdown: confidentiality forbids kprobes and BPF reads of kernel memory.

    Source: LOCKDOWN_KPROBES and LOCKDOWN_BPF_READ_KERNEL stand after LOCKDOWN_INTEGRITY_MAX in
    include/linux/security.h, so mainline's integrity mode forbids neither.
    """
    mode, evidence = _mode(host)
    detail = f"{mode or 'unknown'} ({evidence})"
    if mode == "confidentiality":
        return unmet(host, "lockdown", detail, _CONFIDENTIALITY)
    if mode is None:
        return unmet(host, "lockdown", detail, _UNREADABLE)
    return met("lockdown", detail)


def _mode(host: Host) -> tuple[str | None, str]:
    """The mode and where it was seen. Without securityfs only a lower bound can be told."""
    path = "sys/kernel/security/lockdown"
    text = host.read(path)
    if text is not None:
        found = re.search(r"\[(\w+)\]", text)
        return (found[1] if found else None), f"/{path}"
    if host.mounted is not None and "securityfs" in host.mounted:
        return "none", "securityfs has no lockdown file"
    asked = re.search(r"(?:^| )lockdown=(\w+)", host.read("proc/cmdline") or "")
    modes = {asked[1]} if asked else set()
    modes |= {
        mode
        for mode in ("integrity", "confidentiality")
        if host.config(f"LOCK_DOWN_KERNEL_FORCE_{mode.upper()}")
    }
    for mode in ("confidentiality", "integrity"):
        if mode in modes:
            return mode, "at least, by the kernel's config and command line"
    return None, f"no /{path}"


def securityfs(host: Host) -> Finding:
    """securityfs, which shows the lockdown mode and the active security modules."""
    if host.exists("sys/kernel/security/lsm") or (
        host.mounted is not None and "securityfs" in host.mounted
    ):
        return met("securityfs", host.read("sys/kernel/security/lsm") or "mounted")
    return unmet(host, "securityfs", "not mounted", _NO_SECURITYFS)


LOCKDOWN = Requirement(
    "lockdown",
    "Kernel lockdown in mode confidentiality takes both ways to attach; integrity takes neither "
    "on mainline kernels (others may refuse more: see trampolines).",
    lockdown,
    (_CONFIDENTIALITY, _UNREADABLE),
)
SECURITYFS = Requirement(
    "securityfs",
    "Shows the lockdown mode and the active security modules.",
    securityfs,
    (_NO_SECURITYFS,),
)
