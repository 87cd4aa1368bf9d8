"""What the kernel was built with: architecture, BTF, symbols, BPF's ring buffer and JIT."""

from tracer.kernel.btf import MAGIC
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
from tracer.kernel.symbols import NO_FILE, NO_FUNCTION, UNREADABLE, Symbols, SymbolsError
from tracer.model.errnos import errno_name

_AS_ROOT = "run the doctor as root"
_BTF_PATH = "sys/kernel/btf/vmlinux"

_OTHER_MACHINE = Obstacle(
    "this is {MACHINE}; the hooks read x86-64 registers",
    "record on an x86-64 host; recordings can be read on any",
)
_NO_SYS = Obstacle(
    "/sys is not mounted, so the kernel's BTF cannot be read",
    "mount -t sysfs sysfs /sys",
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
    f"/{_BTF_PATH} cannot be read",
    f"let this process read it (file mode, sandbox), or {ELSEWHERE}",
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


def architecture(host: Host) -> Finding:
    """The BPF programs read x86-64 registers."""
    if host.machine == "x86_64":
        return met("architecture", host.machine)
    return unmet(host, "architecture", host.machine, _OTHER_MACHINE, MACHINE=host.machine)


def btf(host: Host) -> Finding:
    """The kernel's type information, from which all offsets and argument places come."""
    try:
        with (host.root / _BTF_PATH).open("rb") as file:
            head = file.read(2)
    except OSError as error:
        return unmet(host, "btf", f"/{_BTF_PATH}: {error.strerror}", _btf_obstacle(host, error))
    if head != MAGIC.to_bytes(2, "little"):
        return unmet(host, "btf", f"/{_BTF_PATH} begins with {head.hex() or 'nothing'}", _NOT_BTF)
    return met("btf", f"/{_BTF_PATH}")


def _btf_obstacle(host: Host, error: OSError) -> Obstacle:
    if not isinstance(error, FileNotFoundError):
        return _UNREADABLE_BTF
    # kernel/bpf/sysfs_btf.c is compiled with CONFIG_DEBUG_INFO_BTF alone
    built = host.config("DEBUG_INFO_BTF") or host.has_symbol("btf_vmlinux_init")
    if not host.exists("sys/kernel"):
        return _NO_SYS
    return _HIDDEN_BTF if built else _NO_BTF


def symbols(host: Host) -> Finding:
    """/proc/kallsyms, which tells the functions that exist."""
    if host.symbols is not None:
        return met("symbols", f"{len(host.symbols)} functions in /proc/kallsyms")
    try:
        Symbols.load(host.root)
    except SymbolsError as error:
        return Finding("symbols", False, "/proc/kallsyms", error.cause, error.remedy)
    return unmet(host, "symbols", "/proc/kallsyms", _CHANGED)


def ring_buffer(host: Host) -> Finding:
    """The BPF ring buffer map, the only way events leave the kernel here."""
    present = host.has_symbol("bpf_ringbuf_reserve")
    if present is False:
        return unmet(host, "ring_buffer", "no bpf_ringbuf_reserve", _NO_RING)
    refusal = None
    if host.try_ring is not None and privilege(host).ok:
        refusal = host.try_ring()
    if refusal:
        code = errno_name(-refusal) or str(refusal)
        return unmet(host, "ring_buffer", f"making one gives {code}", _RING_REFUSED, ERRNO=code)
    if refusal == 0:
        return met("ring_buffer", "one was made")
    if present:
        return met("ring_buffer", "bpf_ringbuf_reserve")
    return unmet(host, "ring_buffer", "symbols unreadable", _RING_UNKNOWN)


def jit(host: Host) -> Finding:
    """The BPF JIT: without it programs run in an interpreter, several times slower."""
    switch = host.read("proc/sys/net/core/bpf_jit_enable")
    if switch in ("1", "2") or host.config("BPF_JIT_ALWAYS_ON"):
        return met("jit", f"bpf_jit_enable={switch or 'fixed on'}")
    if host.has_symbol("bpf_int_jit_compile") is False:
        return unmet(host, "jit", "no bpf_int_jit_compile", _NO_JIT)
    if switch == "0":
        return unmet(host, "jit", "bpf_jit_enable=0", _JIT_OFF)
    obstacle = _JIT_UNKNOWN if host.exists("proc/sys") else _NO_PROC
    return unmet(host, "jit", "bpf_jit_enable unreadable", obstacle)


ARCHITECTURE = Requirement(
    "architecture", "The BPF programs read x86-64 registers.", architecture, (_OTHER_MACHINE,)
)
BTF = Requirement(
    "btf",
    "The kernel's own type information: struct offsets and argument places come from it, so that "
    "neither kernel headers nor a version number are needed.",
    btf,
    (_NO_SYS, _NO_BTF, _HIDDEN_BTF, _UNREADABLE_BTF, _NOT_BTF),
)
SYMBOLS = Requirement(
    "symbols",
    "/proc/kallsyms tells which functions this kernel has; the hook plan is made from it.",
    symbols,
    (*_SYMBOLS.values(), _CHANGED),
)
RING_BUFFER = Requirement(
    "ring_buffer",
    "The BPF ring buffer map, by which events leave the kernel.",
    ring_buffer,
    (_NO_RING, _RING_REFUSED, _RING_UNKNOWN),
)
JIT = Requirement(
    "jit",
    "The BPF JIT compiler; without it each event costs several times as much.",
    jit,
    (_NO_JIT, _JIT_OFF, _JIT_UNKNOWN, _NO_PROC),
)
