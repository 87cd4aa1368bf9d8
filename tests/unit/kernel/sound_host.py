"""A made-up host that allows everything, to be spoilt, and what is found on one."""

from __future__ import annotations

import gzip
from collections.abc import Mapping
from pathlib import Path

from tracer.kernel.requirements.checks import blocking, check
from tracer.kernel.requirements.host import Finding, Host

FUNCTIONS = (
    "vm_mmap_pgoff",
    "register_kprobe",
    "bpf_trampoline_link_prog",
    "register_ftrace_direct",
    "bpf_int_jit_compile",
    "bpf_ringbuf_reserve",
)
ALL_CAPABILITIES = "000001ffffffffff"
NAMES = [
    "architecture",
    "privilege",
    "lockdown",
    "btf",
    "symbols",
    "kprobes",
    "trampolines",
    "jit",
    "ring_buffer",
    "bcc",
    "tracefs",
    "securityfs",
    "pid_namespace",
]


def kallsyms(*without: str) -> str:
    return "".join(f"{'0' * 16} T {name}\n" for name in FUNCTIONS if name not in without)


def status(capabilities: str = ALL_CAPABILITIES, nspid: str = "42") -> str:
    return f"Name:\tpython3\nNSpid:\t{nspid}\nCapEff:\t{capabilities}\n"


GOOD: Mapping[str, str | bytes] = {
    "proc/kallsyms": kallsyms(),
    "proc/self/status": status(),
    "proc/self/uid_map": "         0          0 4294967295\n",
    "proc/mounts": "sysfs /sys sysfs rw 0 0\nsecurityfs /s securityfs rw 0 0\n",
    "proc/sys/kernel/unprivileged_bpf_disabled": "2\n",
    "proc/sys/kernel/perf_event_paranoid": "3\n",
    "proc/sys/net/core/bpf_jit_enable": "1\n",
    "sys/kernel/btf/vmlinux": b"\x9f\xeb\x01\x00",
    "sys/kernel/security/lockdown": "[none] integrity confidentiality\n",
    "sys/kernel/security/lsm": "lockdown,capability,bpf\n",
    "sys/kernel/tracing/available_filter_functions": "vm_mmap_pgoff\n",
    "sys/bus/event_source/devices/kprobe/type": "8\n",
    "etc/os-release": 'PRETTY_NAME="Debian GNU/Linux 12"\nID=debian\n',
    "site/bcc/__init__.py": "",
    "site/bcc/libbcc.py": "",
}


def lay(root: Path, changes: Mapping[str, str | bytes | None] | None = None) -> Host:
    """A sound host below ``root``, with some files changed, or taken away by None."""
    for name, content in {**GOOD, **(changes or {})}.items():
        if content is None:
            continue
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    link(root, "proc/self/ns/pid", "pid:[4026531836]")
    return Host(root, "x86_64", 0, (str(root / "site"),), lambda: 0, checkout=True)


def link(root: Path, name: str, target: str) -> None:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    path.symlink_to(target)


def config(*lines: str) -> bytes:
    return gzip.compress("".join(f"{line}\n" for line in lines).encode())


def found(host: Host, name: str) -> Finding:
    return next(finding for finding in check(host) if finding.name == name)


def blockers(host: Host) -> list[str]:
    return [finding.name for finding in blocking(check(host))]
