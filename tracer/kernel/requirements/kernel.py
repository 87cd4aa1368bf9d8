"""Requirements on the kernel (architecture, BTF, symbols, ring buffer, JIT, lockdown) and on the
process that traces (capabilities, pid namespace)."""

import re

from tracer.kernel.btf_file import MAGIC
from tracer.kernel.requirements.host import ELSEWHERE, Host, Obstacle, Seen, Try, requirement
from tracer.kernel.symbols import NO_FILE, NO_FUNCTION, UNREADABLE, Symbols, SymbolsError
from tracer.labels import errno_name

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


@requirement(
    "Kernel lockdown in mode confidentiality takes both ways to attach; integrity takes neither "
    "on mainline kernels (others may refuse more: see trampolines).",
    _CONFIDENTIALITY,
    _UNREADABLE,
)
def lockdown(host: Host) -> Seen:
    """Kernel lockdown: confidentiality forbids kprobes and BPF reads of kernel memory.

    Source: LOCKDOWN_KPROBES and LOCKDOWN_BPF_READ_KERNEL stand after LOCKDOWN_INTEGRITY_MAX in
    include/linux/security.h, so mainline's integrity mode forbids neither.
    """
    mode, evidence = _mode(host)
    detail = f"{mode or 'unknown'} ({evidence})"
    if mode == "confidentiality":
        return Seen(detail, _CONFIDENTIALITY)
    if mode is None:
        return Seen(detail, _UNREADABLE)
    return Seen(detail)


def _mode(host: Host) -> tuple[str | None, str]:
    """The mode and where it was seen. Without securityfs only a lower bound can be told."""
    path = "sys/kernel/security/lockdown"
    text = host.read(path)
    if text is not None:
        found = re.search(r"\[(\w+)\]", text)
        return (found[1] if found else None), f"/{path}"
    if host.mounted is not None and "securityfs" in host.mounted:
        return "none", "securityfs has no lockdown file"
    requested = re.search(r"(?:^| )lockdown=(\w+)", host.read("proc/cmdline") or "")
    modes = {requested[1]} if requested else set()
    modes |= {
        mode
        for mode in ("integrity", "confidentiality")
        if host.config(f"LOCK_DOWN_KERNEL_FORCE_{mode.upper()}")
    }
    for mode in ("confidentiality", "integrity"):
        if mode in modes:
            return mode, "at least, by the kernel's config and command line"
    return None, f"no /{path}"


@requirement("Shows the lockdown mode and the active security modules.", _NO_SECURITYFS)
def securityfs(host: Host) -> Seen:
    if host.exists("sys/kernel/security/lsm") or (
        host.mounted is not None and "securityfs" in host.mounted
    ):
        return Seen(host.read("sys/kernel/security/lsm") or "mounted")
    return Seen("not mounted", _NO_SECURITYFS)


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


@requirement(
    "Loading BPF programs that read the kernel takes CAP_SYS_ADMIN, or CAP_BPF with CAP_PERFMON, "
    "in the initial user namespace. Reading recordings takes none.",
    _USER,
    _ROOT_WITHOUT,
    _USER_NAMESPACE,
)
def privilege(host: Host) -> Seen:
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
            return Seen(f"{detail}, capabilities unknown")
        held = 0
    admin, bpf, perfmon = (
        bool(held >> capability & 1) for capability in (_CAP_SYS_ADMIN, _CAP_BPF, _CAP_PERFMON)
    )
    if not admin and not (bpf and perfmon):
        return Seen(detail, _ROOT_WITHOUT if host.euid == 0 else _USER)
    uid_map = (host.read("proc/self/uid_map") or "").split()
    if uid_map and uid_map[:3] != _WHOLE_UID_MAP:
        return Seen(f"{detail}, uid map {' '.join(uid_map[:3])}", _USER_NAMESPACE)
    if not admin:
        detail += (
            ", CAP_BPF and CAP_PERFMON without CAP_SYS_ADMIN (no hooks in modules such as kvm)"
        )
    return Seen(detail)


def tried(host: Host, attempt: Try | None) -> int | None:
    """What the kernel answered: 0 or an errno; None where it could not be asked."""
    return attempt() if attempt is not None and privilege.look(host).ok else None


def refused(number: int, detail: str, obstacle: Obstacle) -> Seen:
    """The kernel answered with an errno; ``{ERRNO}`` in the texts is its name."""
    code = errno_name(-number) or str(number)
    return Seen(detail.format(ERRNO=code), obstacle, {"ERRNO": code})


def _capabilities(host: Host) -> int | None:
    found = re.search(r"^CapEff:\s*([0-9a-f]+)$", host.read("proc/self/status") or "", re.MULTILINE)
    return int(found[1], 16) if found else None


@requirement(
    "The kernel reports process ids as the initial pid namespace counts them.",
    _CONTAINER,
    _NO_PROC_SELF,
)
def pid_namespace(host: Host) -> Seen:
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
        return Seen(detail, _CONTAINER)
    if mine is None and nested is None:
        return Seen(detail, _NO_PROC_SELF)
    return Seen(detail)


def _link(host: Host, path: str) -> str | None:
    try:
        return str((host.root / path).readlink())
    except OSError:
        return None


_AS_ROOT = "run the doctor as root"
_BTF_PATH = "sys/kernel/btf/vmlinux"

_OTHER_MACHINE = Obstacle(
    "this is {MACHINE}; the hooks read x86-64 registers",
    "record on an x86-64 host; recordings can be read on any",
)
_NO_SYS = Obstacle(
    "/sys is not mounted, so the kernel's BTF cannot be read", "mount -t sysfs sysfs /sys"
)
_NO_BTF = Obstacle(
    "the kernel was built without BTF (CONFIG_DEBUG_INFO_BTF)",
    f"use a kernel that has BTF, or {ELSEWHERE}",
)
_HIDDEN_BTF = Obstacle(
    "the kernel has BTF, but something is mounted over /sys/kernel/btf",
    "mount sysfs on /sys, or give the container the host's /sys",
)
_UNREADABLE_BTF = Obstacle(
    f"/{_BTF_PATH} cannot be read", f"let this process read it (file mode, sandbox), or {ELSEWHERE}"
)
_NOT_BTF = Obstacle(f"/{_BTF_PATH} is not little-endian BTF", ELSEWHERE)
_CHANGED = Obstacle("changed while it was read", "try again", unknown=True)
_SYMBOLS = {text: Obstacle(*text) for text in (NO_FILE, UNREADABLE, NO_FUNCTION)}
_NO_RING = Obstacle(
    "the kernel has no BPF ring buffer (too old, or without CONFIG_BPF_SYSCALL)", ELSEWHERE
)
_RING_REFUSED = Obstacle(
    "the kernel refuses to make a BPF map ({ERRNO}): a seccomp filter, a security module or a "
    "limit on locked memory",
    "run outside the sandbox (docker: --privileged), with `ulimit -l unlimited`",
)
_RING_UNKNOWN = Obstacle(
    "without the kernel's symbols the map cannot be looked for", _AS_ROOT, unknown=True
)
_NO_JIT = Obstacle(
    "the kernel was built without the BPF JIT (CONFIG_BPF_JIT)",
    "recording works, but costs more per event; use a kernel with CONFIG_BPF_JIT",
)
_JIT_OFF = Obstacle("the BPF JIT is switched off", "sysctl net.core.bpf_jit_enable=1")
_NO_PROC = Obstacle("/proc is not mounted", "mount -t proc proc /proc", unknown=True)
_JIT_UNKNOWN = Obstacle(
    "/proc/sys/net/core/bpf_jit_enable cannot be read",
    f"{_AS_ROOT}, in the host's network namespace",
    unknown=True,
)


@requirement("The BPF programs read x86-64 registers.", _OTHER_MACHINE)
def architecture(host: Host) -> Seen:
    if host.machine == "x86_64":
        return Seen(host.machine)
    return Seen(host.machine, _OTHER_MACHINE, {"MACHINE": host.machine})


@requirement(
    "The kernel's own type information: struct offsets and argument places come from it, so that "
    "neither kernel headers nor a version number are needed.",
    _NO_SYS,
    _NO_BTF,
    _HIDDEN_BTF,
    _UNREADABLE_BTF,
    _NOT_BTF,
)
def btf(host: Host) -> Seen:
    try:
        with (host.root / _BTF_PATH).open("rb") as file:
            head = file.read(2)
    except OSError as error:
        return Seen(f"/{_BTF_PATH}: {error.strerror}", _btf_obstacle(host, error))
    if head != MAGIC.to_bytes(2, "little"):
        return Seen(f"/{_BTF_PATH} begins with {head.hex() or 'nothing'}", _NOT_BTF)
    return Seen(f"/{_BTF_PATH}")


def _btf_obstacle(host: Host, error: OSError) -> Obstacle:
    if not isinstance(error, FileNotFoundError):
        return _UNREADABLE_BTF
    # kernel/bpf/sysfs_btf.c is compiled with CONFIG_DEBUG_INFO_BTF alone
    built = host.config("DEBUG_INFO_BTF") or host.has_symbol("btf_vmlinux_init")
    if not host.exists("sys/kernel"):
        return _NO_SYS
    return _HIDDEN_BTF if built else _NO_BTF


@requirement(
    "/proc/kallsyms tells which functions this kernel has; the hook plan is made from it.",
    *_SYMBOLS.values(),
    _CHANGED,
)
def symbols(host: Host) -> Seen:
    if host.symbols is not None:
        return Seen(f"{len(host.symbols)} functions in /proc/kallsyms")
    try:
        Symbols.load(host.root)
    except SymbolsError as error:
        return Seen("/proc/kallsyms", Obstacle(error.cause, error.remedy))
    return Seen("/proc/kallsyms", _CHANGED)


@requirement(
    "The BPF ring buffer map, by which events leave the kernel.",
    _NO_RING,
    _RING_REFUSED,
    _RING_UNKNOWN,
)
def ring_buffer(host: Host) -> Seen:
    present = host.has_symbol("bpf_ringbuf_reserve")
    if present is False:
        return Seen("no bpf_ringbuf_reserve", _NO_RING)
    refusal = tried(host, host.try_ring)
    if refusal:
        return refused(refusal, "making one gives {ERRNO}", _RING_REFUSED)
    if refusal == 0:
        return Seen("one was made")
    if present:
        return Seen("bpf_ringbuf_reserve")
    return Seen("symbols unreadable", _RING_UNKNOWN)


@requirement(
    "The BPF JIT compiler; without it each event costs several times as much.",
    _NO_JIT,
    _JIT_OFF,
    _JIT_UNKNOWN,
    _NO_PROC,
)
def jit(host: Host) -> Seen:
    switch = host.read("proc/sys/net/core/bpf_jit_enable")
    if switch in ("1", "2") or host.config("BPF_JIT_ALWAYS_ON"):
        return Seen(f"bpf_jit_enable={switch or 'fixed on'}")
    if host.has_symbol("bpf_int_jit_compile") is False:
        return Seen("no bpf_int_jit_compile", _NO_JIT)
    if switch == "0":
        return Seen("bpf_jit_enable=0", _JIT_OFF)
    obstacle = _JIT_UNKNOWN if host.exists("proc/sys") else _NO_PROC
    return Seen("bpf_jit_enable unreadable", obstacle)
