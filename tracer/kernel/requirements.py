"""What this host allows a tracer to do, as data: one `Finding` for each thing that is needed.

All is read from files under one root, so a test can hand in a made-up /proc and /sys. The one
exception is `try_trampoline`, which asks the kernel itself: some kernels have every symbol that
fexit needs and refuse it nevertheless (seen on a kernel with lockdown in integrity mode).
"""

from __future__ import annotations

import errno
import functools
import gzip
import os
import re
import sys
import zlib
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from importlib.machinery import PathFinder
from pathlib import Path

from tracer.kernel.btf import MAGIC, Btf, BtfError
from tracer.kernel.symbols import Symbols, SymbolsError

# include/uapi/linux/capability.h
_CAP_SYS_ADMIN, _CAP_PERFMON, _CAP_BPF = 21, 38, 39
# PROC_PID_INIT_INO of include/linux/proc_ns.h: the initial pid namespace has this inode
_INITIAL_PID_NAMESPACE = "pid:[4026531836]"
# The first line of /proc/self/uid_map in the initial user namespace
_WHOLE_UID_MAP = ["0", "0", "4294967295"]
_ELSEWHERE = "trace another kernel: `make live` boots a stock Debian kernel in QEMU"
_DEBIAN_BCC = Path("usr/lib/python3/dist-packages/bcc/libbcc.py")

# One of these missing is enough to make live tracing impossible
_INDISPENSABLE = frozenset({"architecture", "btf", "ring_buffer", "lockdown", "privilege", "bcc"})
# Of these one must work
_METHODS = frozenset({"kprobes", "trampolines"})


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing a tracer needs of the host.

    ``ok`` is None when it could not be found out. ``detail`` is what was seen; ``cause`` (one
    line) and ``remedy`` (what to do next, one line) are empty when ``ok`` is True.
    """

    name: str
    ok: bool | None
    detail: str
    cause: str = ""
    remedy: str = ""

    def to_json(self) -> dict[str, str | bool | None]:
        """The fields as a dict of JSON values."""
        return asdict(self)


@dataclass(frozen=True)
class Host:
    """Where to look. The defaults are an unprivileged x86-64 host whose files lie under `root`.

    ``try_trampoline`` loads (and drops) one fentry program and returns 0 or an errno, None when
    it could not be tried; without it the symbols alone decide. Use `live` for the real host.
    """

    root: Path
    machine: str = "x86_64"
    euid: int = 1000
    python_path: tuple[str, ...] = ()
    try_trampoline: Callable[[], int | None] | None = field(default=None, repr=False)

    @classmethod
    def live(cls) -> Host:
        """The host this process runs on."""
        return cls(Path("/"), os.uname().machine, os.geteuid(), tuple(sys.path), try_trampoline)

    def read(self, path: str) -> str | None:
        """Text of a file without blanks around it, None when it cannot be read."""
        try:
            return (self.root / path).read_text(errors="replace").strip()
        except OSError:
            return None

    def exists(self, path: str) -> bool:
        """True when the path is there and may be looked at."""
        try:
            return (self.root / path).exists()
        except OSError:
            return False

    @functools.cached_property
    def symbols(self) -> Symbols | None:
        """The kernel's symbols, None when unreadable (the finding "symbols" then says why)."""
        try:
            return Symbols.load(self.root)
        except SymbolsError:
            return None

    @functools.cached_property
    def _config_text(self) -> str | None:
        try:
            packed = (self.root / "proc/config.gz").read_bytes()
            return gzip.decompress(packed).decode(errors="replace")
        except (OSError, EOFError, zlib.error):
            # gzip.BadGzipFile is an OSError
            release = self.read("proc/sys/kernel/osrelease")
        if not release:
            return None
        return self.read(f"boot/config-{release}") or self.read(f"lib/modules/{release}/config")

    def config(self, option: str) -> bool | None:
        """True when the kernel was built with CONFIG_`option`, None when its config is not here."""
        if self._config_text is None:
            return None
        return bool(re.search(rf"^CONFIG_{option}=[ym]$", self._config_text, re.MULTILINE))

    @functools.cached_property
    def mounted(self) -> frozenset[str] | None:
        """File system types that are mounted, None when /proc/mounts cannot be read."""
        text = self.read("proc/mounts")
        if text is None:
            return None
        lines = (line.split() for line in text.splitlines())
        return frozenset(parts[2] for parts in lines if len(parts) > 2)

    def has_symbol(self, name: str) -> bool | None:
        """True when the kernel has this function, None when its symbols cannot be read."""
        return None if self.symbols is None else self.symbols.has(name)


def check(host: Host) -> list[Finding]:
    """All findings about a host, in the order in which a reader should mend them."""
    return [
        architecture(host),
        privilege(host),
        lockdown(host),
        btf(host),
        symbols(host),
        kprobes(host),
        trampolines(host),
        jit(host),
        ring_buffer(host),
        bcc(host),
        tracefs(host),
        securityfs(host),
        pid_namespace(host),
    ]


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


def blocking(findings: Iterable[Finding]) -> list[Finding]:
    """Those findings that make live tracing impossible; empty when it is worth a try.

    A missing attach method blocks only when there is no other: either kprobes or trampolines do.
    """
    failed = [finding for finding in findings if finding.ok is False]
    no_method = {finding.name for finding in failed} >= _METHODS
    return [
        finding
        for finding in failed
        if finding.name in _INDISPENSABLE or (no_method and finding.name in _METHODS)
    ]


def architecture(host: Host) -> Finding:
    """The BPF programs read x86-64 registers."""
    if host.machine == "x86_64":
        return Finding("architecture", True, host.machine)
    return Finding(
        "architecture",
        False,
        host.machine,
        f"this is {host.machine}; the hooks read x86-64 registers",
        "record on an x86-64 host; recordings can be read on any",
    )


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
            return Finding("privilege", True, f"{detail}, capabilities unknown")
        held = 0
    admin, bpf, perfmon = (
        bool(held >> capability & 1) for capability in (_CAP_SYS_ADMIN, _CAP_BPF, _CAP_PERFMON)
    )
    if not admin and not (bpf and perfmon):
        return Finding(
            "privilege",
            False,
            detail,
            "root without CAP_SYS_ADMIN, and without CAP_BPF and CAP_PERFMON together"
            if host.euid == 0
            else "neither CAP_SYS_ADMIN nor both CAP_BPF and CAP_PERFMON",
            "start the container with --privileged"
            if host.euid == 0
            else "run it with sudo; only the recorder needs it, viewing a recording does not",
        )
    uid_map = (host.read("proc/self/uid_map") or "").split()
    if uid_map and uid_map[:3] != _WHOLE_UID_MAP:
        return Finding(
            "privilege",
            False,
            f"{detail}, uid map {' '.join(uid_map[:3])}",
            "root of a user namespace only; BPF asks for capabilities in the initial one",
            "run it as root of the host, not in a rootless container",
        )
    if not admin:
        detail += (
            ", CAP_BPF and CAP_PERFMON without CAP_SYS_ADMIN (no hooks in modules such as kvm)"
        )
    return Finding("privilege", True, detail)


def _capabilities(host: Host) -> int | None:
    found = re.search(r"^CapEff:\s*([0-9a-f]+)$", host.read("proc/self/status") or "", re.MULTILINE)
    return int(found[1], 16) if found else None


def lockdown(host: Host) -> Finding:
    """Kernel lockdown: confidentiality forbids kprobes and BPF reads of kernel memory.

    Source: LOCKDOWN_KPROBES and LOCKDOWN_BPF_READ_KERNEL stand after LOCKDOWN_INTEGRITY_MAX in
    include/linux/security.h, so mainline's integrity mode forbids neither.
    """
    mode, evidence = _lockdown_mode(host)
    detail = f"{mode or 'unknown'} ({evidence})"
    if mode == "confidentiality":
        return Finding(
            "lockdown",
            False,
            detail,
            "lockdown mode confidentiality forbids kprobes and BPF reads of the kernel",
            f"boot with lockdown=integrity or none if you may, or {_ELSEWHERE}",
        )
    if mode is None:
        return Finding(
            "lockdown",
            None,
            detail,
            "the lockdown mode cannot be read: securityfs is not mounted",
            "mount -t securityfs securityfs /sys/kernel/security",
        )
    return Finding("lockdown", True, detail)


def _lockdown_mode(host: Host) -> tuple[str | None, str]:
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


def btf(host: Host) -> Finding:
    """The kernel's type information, from which all offsets and argument places come."""
    path = "sys/kernel/btf/vmlinux"
    try:
        with (host.root / path).open("rb") as file:
            head = file.read(2)
    except OSError as error:
        built = host.config("DEBUG_INFO_BTF")
        return Finding(
            "btf",
            False,
            f"/{path}: {error.strerror}",
            "the kernel was built without BTF (CONFIG_DEBUG_INFO_BTF)"
            if built is False or isinstance(error, FileNotFoundError)
            else f"/{path} cannot be read",
            "mount sysfs on /sys" if built else f"use a kernel that has BTF, or {_ELSEWHERE}",
        )
    if head != MAGIC.to_bytes(2, "little"):
        return Finding(
            "btf",
            False,
            f"/{path} begins with {head.hex() or 'nothing'}",
            f"/{path} is not little-endian BTF",
            _ELSEWHERE,
        )
    return Finding("btf", True, f"/{path}")


def symbols(host: Host) -> Finding:
    """/proc/kallsyms, which tells the functions that exist."""
    if host.symbols is not None:
        return Finding("symbols", True, f"{len(host.symbols)} functions in /proc/kallsyms")
    try:
        Symbols.load(host.root)
    except SymbolsError as error:
        return Finding("symbols", False, "/proc/kallsyms", error.cause, error.remedy)
    return Finding("symbols", None, "/proc/kallsyms", "changed while it was read", "try again")


def kprobes(host: Host) -> Finding:
    """kprobe and kretprobe by perf_event_open(2): the PMU "kprobe" (CONFIG_KPROBE_EVENTS)."""
    pmu = "sys/bus/event_source/devices/kprobe"
    if host.read("sys/kernel/debug/kprobes/enabled") == "0":
        return Finding(
            "kprobes",
            False,
            "/sys/kernel/debug/kprobes/enabled is 0",
            "kprobes are switched off on this host",
            "echo 1 > /sys/kernel/debug/kprobes/enabled",
        )
    if host.exists(pmu):
        return Finding("kprobes", True, f"/{pmu}")
    if host.config("KPROBES") is False or host.has_symbol("register_kprobe") is False:
        return Finding(
            "kprobes",
            False,
            "no register_kprobe",
            "the kernel was built without kprobes (CONFIG_KPROBES is not set)",
            f"use a kernel with kprobes, or {_ELSEWHERE}",
        )
    if not host.exists("sys/bus/event_source/devices"):
        return Finding(
            "kprobes",
            None,
            "no /sys/bus/event_source/devices",
            "the list of event sources is hidden: /sys is not mounted or masked",
            "mount sysfs on /sys, or give the container the host's /sys",
        )
    return Finding(
        "kprobes",
        False,
        f"no /{pmu}",
        "the kernel offers no kprobe events (CONFIG_KPROBE_EVENTS is not set)",
        f"use a kernel with kprobe events, or {_ELSEWHERE}",
    )


def trampolines(host: Host) -> Finding:
    """fentry and fexit: BPF trampolines on ftrace's direct calls."""
    linker = host.has_symbol("bpf_trampoline_link_prog")
    # register_ftrace_direct_multi was the name for a while; either will do
    direct = host.has_symbol("register_ftrace_direct") or host.has_symbol(
        "register_ftrace_direct_multi"
    )
    if linker is False or direct is False:
        missing = "bpf_trampoline_link_prog" if linker is False else "register_ftrace_direct"
        return Finding(
            "trampolines",
            False,
            f"no {missing}",
            "the kernel was built without BPF trampolines or ftrace direct calls",
            f"kprobes can do instead; if they cannot either, {_ELSEWHERE}",
        )
    seen = "symbols present" if linker else "symbols unreadable"
    refusal = None
    if host.try_trampoline is not None and privilege(host).ok:
        refusal = host.try_trampoline()
    if refusal:
        code = errno.errorcode.get(refusal, str(refusal))
        return Finding(
            "trampolines",
            False,
            f"{seen}, loading an fentry program gives {code}",
            f"the kernel refuses fentry and fexit programs ({code}), by lockdown or another policy",
            f"kprobes can do instead; if they cannot either, {_ELSEWHERE}",
        )
    if refusal == 0:
        return Finding("trampolines", True, f"{seen}, a test program was accepted")
    if linker:
        return Finding("trampolines", True, f"{seen}, not tried")
    return Finding(
        "trampolines",
        None,
        f"{seen}, not tried",
        "neither the kernel's symbols nor a test program could tell",
        "run the doctor as root",
    )


def jit(host: Host) -> Finding:
    """The BPF JIT: without it programs run in an interpreter, several times slower."""
    switch = host.read("proc/sys/net/core/bpf_jit_enable")
    if switch in ("1", "2") or host.config("BPF_JIT_ALWAYS_ON"):
        return Finding("jit", True, f"bpf_jit_enable={switch or 'fixed on'}")
    if host.has_symbol("bpf_int_jit_compile") is False:
        return Finding(
            "jit",
            False,
            "no bpf_int_jit_compile",
            "the kernel was built without the BPF JIT (CONFIG_BPF_JIT)",
            "recording works, but costs more per event; use a kernel with CONFIG_BPF_JIT",
        )
    if switch == "0":
        return Finding(
            "jit",
            False,
            "bpf_jit_enable=0",
            "the BPF JIT is switched off",
            "sysctl net.core.bpf_jit_enable=1",
        )
    return Finding(
        "jit",
        None,
        "bpf_jit_enable unreadable",
        "/proc/sys/net/core/bpf_jit_enable cannot be read",
        "run the doctor as root, in the host's network namespace",
    )


def ring_buffer(host: Host) -> Finding:
    """The BPF ring buffer map, the only way events leave the kernel here."""
    present = host.has_symbol("bpf_ringbuf_reserve")
    if present:
        return Finding("ring_buffer", True, "bpf_ringbuf_reserve")
    if present is None:
        return Finding(
            "ring_buffer",
            None,
            "symbols unreadable",
            "without the kernel's symbols the map cannot be looked for",
            "run the doctor as root",
        )
    return Finding(
        "ring_buffer",
        False,
        "no bpf_ringbuf_reserve",
        "the kernel has no BPF ring buffer (too old, or without CONFIG_BPF_SYSCALL)",
        _ELSEWHERE,
    )


def bcc(host: Host) -> Finding:
    """The BPF Compiler Collection's Python package. It is not imported: that takes a second."""
    spec = PathFinder.find_spec("bcc", list(host.python_path))
    folders = [Path(place) for place in (spec and spec.submodule_search_locations) or ()]
    if any((place / "libbcc.py").exists() for place in folders):
        return Finding("bcc", True, str(folders[0]))
    if spec is not None and spec.loader is not None:
        return Finding(
            "bcc",
            False,
            f"{spec.origin}",
            "the package `bcc` found is PyPI's unrelated one, not the BPF Compiler Collection",
            "pip uninstall bcc, then apt-get install python3-bpfcc",
        )
    if (host.root / _DEBIAN_BCC).exists():
        return Finding(
            "bcc",
            False,
            f"{host.root / _DEBIAN_BCC.parent} is not on this Python's path",
            "python3-bpfcc is installed, but this Python does not see the system's packages",
            "make the environment with /usr/bin/python3 -m venv --system-site-packages",
        )
    return Finding(
        "bcc",
        False,
        "no module bcc",
        "the BPF Compiler Collection's Python package is not installed",
        "apt-get install python3-bpfcc",
    )


def tracefs(host: Host) -> Finding:
    """tracefs with ftrace's function list: tells beforehand what can be hooked."""
    for folder in ("sys/kernel/tracing", "sys/kernel/debug/tracing"):
        path = host.root / folder / "available_filter_functions"
        try:
            with path.open("rb"):
                return Finding("tracefs", True, f"/{folder}/available_filter_functions")
        except FileNotFoundError:
            continue
        except OSError as error:
            return Finding(
                "tracefs",
                False,
                f"/{folder}/available_filter_functions: {error.strerror}",
                "the list of traceable functions may not be read (no privilege, or lockdown)",
                "run as root; without the list a hook that cannot be set shows at attach time",
            )
    if host.mounted is not None and "tracefs" in host.mounted:
        return Finding(
            "tracefs",
            False,
            "tracefs has no available_filter_functions",
            "the list of traceable functions is hidden or ftrace is not built in",
            "run as root; without the list a hook that cannot be set shows at attach time",
        )
    return Finding(
        "tracefs",
        False,
        "not mounted",
        "tracefs is not mounted, so what can be hooked shows only at attach time",
        "mount -t tracefs tracefs /sys/kernel/tracing",
    )


def securityfs(host: Host) -> Finding:
    """securityfs, which shows the lockdown mode and the active security modules."""
    if host.exists("sys/kernel/security/lsm") or (
        host.mounted is not None and "securityfs" in host.mounted
    ):
        return Finding("securityfs", True, host.read("sys/kernel/security/lsm") or "mounted")
    return Finding(
        "securityfs",
        False,
        "not mounted",
        "securityfs is not mounted, so lockdown mode and security modules cannot be read",
        "mount -t securityfs securityfs /sys/kernel/security",
    )


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
        return Finding(
            "pid_namespace",
            False,
            detail,
            "this is a container: recorded process ids are the host's, not those seen in here",
            "run on the host, or start the container with --pid=host",
        )
    if mine is None and nested is None:
        return Finding(
            "pid_namespace",
            None,
            detail,
            "/proc/self does not tell the pid namespace",
            "mount /proc",
        )
    return Finding("pid_namespace", True, detail)


def _link(host: Host, path: str) -> str | None:
    try:
        return str((host.root / path).readlink())
    except OSError:
        return None


def try_trampoline() -> int | None:
    """Load (and at once drop) an fentry program "return 0"; it is never attached.

    Returns 0 when the kernel takes it, else the errno; None when BTF gives nothing to try it on.
    Numbers are those of include/uapi/linux/bpf.h.
    """
    import ctypes  # here, as the doctor alone needs it

    try:
        # the one function with the same prototype on every kernel known (5.10 to 7.3)
        target = Btf.from_file("/sys/kernel/btf/vmlinux").function_id("vm_mmap_pgoff")
    except BtfError:
        return None
    sys_bpf, prog_load, tracing, fentry = 321, 5, 26, 24
    # r0 = 0; exit
    code = ctypes.create_string_buffer(bytes.fromhex("b700000000000000 9500000000000000"))
    licence = ctypes.create_string_buffer(b"GPL")
    attr = bytearray(112)  # up to and with attach_btf_id; the kernel takes what follows as 0
    for place, size, value in (
        (0, 4, tracing),
        (4, 4, 2),
        (8, 8, ctypes.addressof(code)),
        (16, 8, ctypes.addressof(licence)),
        (68, 4, fentry),
        (108, 4, target),
    ):
        attr[place : place + size] = value.to_bytes(size, sys.byteorder)
    libc = ctypes.CDLL(None, use_errno=True)
    program = libc.syscall(sys_bpf, prog_load, (ctypes.c_char * len(attr)).from_buffer(attr), 112)
    if program < 0:
        return ctypes.get_errno()
    os.close(program)
    return 0
