"""How the values of a recording read, in every output alike.

=====================  ==========================================================================
what                   function or table
=====================  ==========================================================================
request of an op       :func:`describe` (from ``arg``, offset, length), :func:`arguments`
answer                 :func:`answer`, :func:`errno_name`, and :func:`cause`: why such an error
size in bytes          :func:`size`
time that passed       :func:`span`
seals                  :func:`seals_text`; long: :func:`tracer.words.names`
flags of a row         :data:`FLAGS`, :func:`marks`
mappings               :func:`vm_text`, :func:`is_shared`, :func:`is_writable`
losses                 :data:`LOSSES`
ways of a descriptor   :data:`RECEIPTS`
verdicts               `tracer.rules.verdicts.Verdict`: ``word``, ``meaning``
operations             :data:`tracer.words.OPS`
=====================  ==========================================================================

Names of errors and flags are the kernel's own (include/uapi) and not those of this machine's C
library, so that a recording and a filter mean the same everywhere. Bits without a name are shown in
hex, never dropped.
"""

from collections.abc import Callable, Mapping
from enum import IntEnum
from functools import lru_cache
from string import Formatter
from typing import NamedTuple

from tracer import words as seals_model
from tracer.words import (
    DOUBTS,
    EXEC_CHECK,
    OPS,
    UNKNOWN,
    Bit5,
    Device,
    ExecForm,
    ExecRole,
    Fill,
    Flag,
    Receipt,
    SevDebug,
    ops,
    words,
)

MAX_ERRNO = 4095
"""Answers in ``-MAX_ERRNO..-1`` are errors (include/linux/err.h)."""

_UAPI = """
EPERM ENOENT ESRCH EINTR EIO ENXIO E2BIG ENOEXEC EBADF ECHILD EAGAIN ENOMEM EACCES EFAULT
ENOTBLK EBUSY EEXIST EXDEV ENODEV ENOTDIR EISDIR EINVAL ENFILE EMFILE ENOTTY ETXTBSY EFBIG
ENOSPC ESPIPE EROFS EMLINK EPIPE EDOM ERANGE EDEADLK ENAMETOOLONG ENOLCK ENOSYS ENOTEMPTY
ELOOP - ENOMSG EIDRM ECHRNG EL2NSYNC EL3HLT EL3RST ELNRNG EUNATCH ENOCSI EL2HLT EBADE EBADR
EXFULL ENOANO EBADRQC EBADSLT - EBFONT ENOSTR ENODATA ETIME ENOSR ENONET ENOPKG EREMOTE
ENOLINK EADV ESRMNT ECOMM EPROTO EMULTIHOP EDOTDOT EBADMSG EOVERFLOW ENOTUNIQ EBADFD EREMCHG
ELIBACC ELIBBAD ELIBSCN ELIBMAX ELIBEXEC EILSEQ ERESTART ESTRPIPE EUSERS ENOTSOCK
EDESTADDRREQ EMSGSIZE EPROTOTYPE ENOPROTOOPT EPROTONOSUPPORT ESOCKTNOSUPPORT EOPNOTSUPP
EPFNOSUPPORT EAFNOSUPPORT EADDRINUSE EADDRNOTAVAIL ENETDOWN ENETUNREACH ENETRESET
ECONNABORTED ECONNRESET ENOBUFS EISCONN ENOTCONN ESHUTDOWN ETOOMANYREFS ETIMEDOUT
ECONNREFUSED EHOSTDOWN EHOSTUNREACH EALREADY EINPROGRESS ESTALE EUCLEAN ENOTNAM ENAVAIL
EISNAM EREMOTEIO EDQUOT ENOMEDIUM EMEDIUMTYPE ECANCELED ENOKEY EKEYEXPIRED EKEYREVOKED
EKEYREJECTED EOWNERDEAD ENOTRECOVERABLE ERFKILL EHWPOISON EFTYPE
"""
"""include/uapi/asm-generic/errno.h, from 1 on; ``-``: a number that is free. A new one goes to the
end."""
_INTERNAL = """
ERESTARTSYS ERESTARTNOINTR ERESTARTNOHAND ENOIOCTLCMD ERESTART_RESTARTBLOCK EPROBE_DEFER
EOPENSTALE ENOPARAM - EBADHANDLE ENOTSYNC EBADCOOKIE ENOTSUPP ETOOSMALL ESERVERFAULT EBADTYPE
EJUKEBOX EIOCBQUEUED ERECALLCONFLICT ENOGRACE
"""
"""include/linux/errno.h, from 512 on: never meant for user space, yet seen by a return probe."""
_NAMES = {
    number: name
    for first, names in ((1, _UAPI), (512, _INTERNAL))
    for number, name in enumerate(names.split(), first)
    if name != "-"
}

ERRNOS: Mapping[str, int] = {name: number for number, name in _NAMES.items()}
"""``{name: number}`` of all that have a name, by number."""
_OTHER_NAMES = {"EWOULDBLOCK": "EAGAIN", "EDEADLOCK": "EDEADLK", "ENOTSUP": "EOPNOTSUPP"}


def counted(count: int, thing: str) -> str:
    """``1 segment``, ``1,528 events``, ``2 breaches``."""
    several = "es" if thing.endswith(("ch", "s")) else "s"
    return f"{count:,} {thing}{'' if count == 1 else several}"


def errno_name(answer: int) -> str | None:
    """Symbol of a negative answer (``-1`` → ``EPERM``), None for 0, counts and addresses.

    An error without a name is ``E2000`` and the like.
    """
    if not -MAX_ERRNO <= answer <= -1:
        return None
    return _NAMES.get(-answer, f"E{-answer}")


def errno_number(name: str) -> int | None:
    """The number of a name: the kernel's, the C library's second one, or as in ``E2000``.

    ``E134`` is 134 also since that has a name: what was written once goes on to mean the same.
    """
    number = ERRNOS.get(_OTHER_NAMES.get(name, name))
    digits = name.removeprefix("E")
    if number is None and name.startswith("E") and digits.isascii() and digits.isdecimal():
        number = int(digits) if digits[0] != "0" and len(digits) <= 4 else None
    return number if number is not None and number <= MAX_ERRNO else None


PROT = {1: "READ", 2: "WRITE", 4: "EXEC", 8: "SEM", 1 << 24: "GROWSDOWN", 1 << 25: "GROWSUP"}
MAP_TYPE = {1: "SHARED", 2: "PRIVATE", 3: "SHARED_VALIDATE", 8: "DROPPABLE"}
MAP = {
    0x10: "FIXED",
    0x20: "ANONYMOUS",
    0x40: "32BIT",
    0x80: "ABOVE4G",
    0x100: "GROWSDOWN",
    0x800: "DENYWRITE",
    0x1000: "EXECUTABLE",
    0x2000: "LOCKED",
    0x4000: "NORESERVE",
    0x8000: "POPULATE",
    0x10000: "NONBLOCK",
    0x20000: "STACK",
    0x40000: "HUGETLB",
    0x80000: "SYNC",
    0x100000: "FIXED_NOREPLACE",
    0x4000000: "UNINITIALIZED",
}
VM_WRITE, VM_SHARED, VM_MAYWRITE, VM_MAYSHARE = 0x2, 0x8, 0x20, 0x80  # include/linux/mm.h
FALLOC_FL = {
    0x01: "KEEP_SIZE",
    0x02: "PUNCH_HOLE",
    0x04: "NO_HIDE_STALE",
    0x08: "COLLAPSE_RANGE",
    0x10: "ZERO_RANGE",
    0x20: "INSERT_RANGE",
    0x40: "UNSHARE_RANGE",
    0x80: "WRITE_ZEROES",
}
MFD = {1: "CLOEXEC", 2: "ALLOW_SEALING", 4: "HUGETLB", 8: UNKNOWN.flag, 0x10: "EXEC"}
"""0x8 has the name that the kernel in question gives it (tracer.words)."""
MREMAP = {1: "MAYMOVE", 2: "FIXED", 4: "DONTUNMAP"}
UFFD_MODE = {1: "MISSING", 2: "WP", 4: "MINOR"}
MADV = {
    3: "WILLNEED",
    4: "DONTNEED",
    8: "FREE",
    9: "REMOVE",
    12: "MERGEABLE",
    20: "COLD",
    21: "PAGEOUT",
    24: "DONTNEED_LOCKED",
    25: "COLLAPSE",
    102: "GUARD_INSTALL",
    103: "GUARD_REMOVE",
}
"""Numbers, not bits: what process_madvise has taken on any kernel (mm/madvise.c)."""
ACCESS = {1: "WRITE"}
"""Of FAULT_FLAG_* and of FOLL_* the one bit that is the same on all kernels (include/linux/mm.h,
mm_types.h)."""
GUEST_MEMFD = {1: "MMAP", 2: "INIT_SHARED"}
SECRETMEM = {0o2000000: "CLOEXEC"}
ATTR = {
    1 << 0: "MODE",
    1 << 1: "UID",
    1 << 2: "GID",
    1 << 3: "SIZE",
    1 << 4: "ATIME",
    1 << 5: "MTIME",
    1 << 6: "CTIME",
    1 << 7: "ATIME_SET",
    1 << 8: "MTIME_SET",
    1 << 9: "FORCE",
    1 << 11: "KILL_SUID",
    1 << 12: "KILL_SGID",
    1 << 13: "FILE",
    1 << 14: "KILL_PRIV",
    1 << 15: "OPEN",
    1 << 16: "TIMES_SET",
    1 << 17: "TOUCH",
    1 << 18: "DELEG",
}

_HUGE_SHIFT = 26  # MFD_HUGE_SHIFT and MAP_HUGE_SHIFT: log2 of the page size in six bits
HUGE_MASK = 0x3F << _HUGE_SHIFT


def flag_list(value: int, names: Mapping[int, str]) -> list[str]:
    """``["A", "B", "0x40"]``: known bits by name, the rest in hex."""
    shown = [name for bit, name in names.items() if value & bit]
    rest = value & ~sum(names)
    return [*shown, f"{rest:#x}"] if rest else shown


def flag_names(value: int, names: Mapping[int, str], none: str = "0") -> str:
    """:func:`flag_list` as ``A|B|0x40``; ``none`` where no bit is set."""
    return "|".join(flag_list(value, names)) or none


def rwx(bits: int) -> str:
    """``rw-`` for the three lowest bits of PROT_* or VM_*; other bits are not looked at."""
    return "".join(c if bits >> place & 1 else "-" for place, c in enumerate("rwx"))


def huge_size(value: int) -> str:
    """Page size in MFD_* or MAP_* flags: ``2M``."""
    log2 = value >> _HUGE_SHIFT & 0x3F
    units = ((30, "G"), (20, "M"), (10, "K"), (0, ""))
    shift, unit = next(pair for pair in units if log2 >= pair[0])
    return f"{1 << (log2 - shift)}{unit}"


def mfd_flags(value: int, bit5: Bit5) -> list[str]:
    """Names of MFD_* bits, with the page size of a hugetlb memfd: ``["HUGETLB", "2M"]``."""
    known = MFD | {0x8: bit5.flag}
    if value & 0x4 and value & HUGE_MASK:
        return [*flag_list(value & ~HUGE_MASK, known), huge_size(value)]
    return flag_list(value, known)


def prot_text(prot: int) -> str:
    """``rw-`` and further PROT_* bits behind it."""
    rest = flag_names(prot & ~7, PROT, none="")
    return f"{rwx(prot)}|{rest}" if rest else rwx(prot)


SEALS_UNKNOWN = 0xFFFFFFFF
"""``seals`` of an object whose seals could not be read (a baseline scan without permission).
No kernel can return it: it would be 32 seals at once, of which six exist."""


_CAUSES = {
    "EFBIG": "larger than RLIMIT_FSIZE or the file system allows",
    "ENOMEM": "too little memory or huge pages, or a limit of the address space",
    "ENOSPC": "no room on the file system, or no huge page free",
    "EDQUOT": "over the quota",
    "EFAULT": "the caller's memory is not there",
    "EMFILE": "too many open descriptors (RLIMIT_NOFILE)",
    "ENFILE": "too many open files on the host",
    "EINTR": "a signal interrupted it",
    "ERESTARTSYS": "a signal interrupted it",
}
_CAUSES_OF_OP = {
    ("mmap", "EAGAIN"): "more locked memory than RLIMIT_MEMLOCK allows",
    ("exec", "ETXTBSY"): "it is open for writing",
    ("exec", "ENOEXEC"): "no program that the kernel knows the format of",
    ("exec", "E2BIG"): "arguments and environment too long",
    ("exec", "ENOENT"): "what it needs for an interpreter is not there",
    ("exec", "EAGAIN"): "more processes than RLIMIT_NPROC allows",
    ("convert", "EINVAL"): "no whole pages, no private memory in this machine, or unknown flags",
    ("convert", "ENOTTY"): "this kernel's KVM has no private memory",
    ("convert", "EIO"): "another process's virtual machine, or one that is dead",
    ("sev_debug", "ENOTTY"): "no guest of SEV, or this machine or kernel has none",
    ("sev_debug", "EIO"): "another process's virtual machine, or one that is dead",
    ("sev_debug", "EPERM"): "a guest of SEV-SNP, which KVM does not debug",
    ("exec", "ELIBBAD"): "its loader is no program of a format that the kernel knows",
}


def cause(op: str, answer: int) -> str:
    """Why such a call fails with an error that has no rule, as seals never give it; may be empty.

    fs/read_write.c:generic_write_checks_count and fs/attr.c:inode_newsize_ok for RLIMIT_FSIZE,
    mm/mmap.c:do_mmap (mlock_future_ok) for RLIMIT_MEMLOCK; fs/exec.c (deny_write_access,
    exec_binprm, bprm_stack_limits, do_execveat_common) and fs/binfmt_elf.c for exec; the others
    mean the same everywhere.
    """
    name = errno_name(answer) or ""
    return _CAUSES_OF_OP.get((op, name)) or _CAUSES.get(name, "")


_RETURN_MISSING = int(Flag.RETURN_MISSING)
_ADDRESS_OPS = ops(gives_address=True)


def answer(op: str, value: int | None, flags: int = 0) -> str:
    """``EPERM``, ``= 4096``, or ``= ?`` where the return was not seen."""
    if value is None or flags & _RETURN_MISSING:
        return "= ?"
    if -MAX_ERRNO <= value < 0:
        return errno_name(value) or ""
    return f"= {value:#x}" if op in _ADDRESS_OPS else f"= {value}"


def size(value: float | None) -> str:
    """Bytes with a binary unit, in at most four cells: ``4K``, ``1.5M``; ``?`` where unknown."""
    if value is None:
        return "?"
    scaled = float(value)
    for unit in ("", "K", "M", "G", "T", "P"):
        if scaled < 1000 or unit == "P":
            break
        scaled /= 1024
    shown = f"{scaled:.1f}" if unit and scaled < 9.95 else f"{scaled:.0f}"
    return f"{shown.removesuffix('.0')}{unit}"


_MACHINE_TYPES = {-1: "older than the trace", 0: "ordinary", 1: "software-protected", 2: "SEV",
                  3: "SEV-ES", 4: "SEV-SNP", 5: "TDX"}  # fmt: skip
"""KVM_X86_*_VM, arch/x86/include/uapi/asm/kvm.h."""


def machine_type(number: int) -> str:
    """The type of a virtual machine, as KVM_CREATE_VM was given it; -1: that was not seen."""
    return _MACHINE_TYPES.get(number, str(number))


def twice(both: int, most: int | None) -> str:
    """How much guest memory is in both copies (`tracer.analysis.copies`).

    ``-``, ``64K``, ``at most 2M``, ``64K, at most 2M``, ``64K or more``, ``?``.
    """
    if most is None:
        return f"{size(both)} or more" if both else "?"
    if both == most:
        return size(both) if both else "-"
    return f"{size(both)}, at most {size(most)}" if both else f"at most {size(most)}"


def span(ns: int | None, unknown: str = "-") -> str:
    """How long, in at most five cells: ``35µs``, ``1.2s``, ``3m12``, ``2h05``, ``4d``."""
    if ns is None or ns < 0:
        return unknown
    if ns < 10**6:
        return f"{ns // 1000}µs" if ns >= 1000 else f"{ns}ns"
    if ns < 10**9:
        return f"{ns / 1e6:.0f}ms"
    seconds = ns / 1e9
    if seconds < 9.95:
        return f"{seconds:.1f}s"
    whole = int(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02}"
    if whole < 86400:
        return f"{whole // 3600}h{whole % 3600 // 60:02}"
    return f"{whole // 86400}d"


FLAGS: Mapping[Flag, tuple[str, str]] = {
    Flag.RACED_SEALS: ("raced", "seals changed between entry and return"),
    Flag.RACED_SIZE: ("raced-size", "the size changed, though not by this call"),
    Flag.ENTRY_MISSING: ("no-entry", "the return came, its entry was not seen"),
    Flag.RETURN_MISSING: ("no-return", "its return was not seen"),
    Flag.OTHER_MM: ("other-mm", "map, unmap: not in the task's own address space (fork)"),
    Flag.KERNEL_TASK: ("kernel", "kernel thread or io_uring worker: no fd"),
    Flag.COMPAT: ("compat", "32-bit system call: no fd"),
    Flag.FINAL: ("final", "`mappings`: as it was at the stop, not at the start"),
    Flag.APPEND_ONLY: (
        "append-only",
        "refused with EPERM or EACCES, and the file is append-only (chattr +a)",
    ),
    Flag.IMMUTABLE: (
        "immutable",
        "refused with EPERM or EACCES, and the file is immutable (chattr +i)",
    ),
    Flag.FROZEN: (
        "frozen",
        "refused with EPERM or EACCES, and the file is frozen: a live update is to hand it over",
    ),
    Flag.INFERRED: (
        "inferred",
        "exec: refused before the kernel had a file in hand; which it was follows from the "
        "descriptor that the call named, as it was at the return; convert: range and attributes "
        "are what the caller's memory said",
    ),
    Flag.CHECK_REACHED: ("check-reached", "`check_answer` holds"),
    Flag.FILE_MMAP_REACHED: ("file-mmap-reached", "`file_answer` holds"),
}
"""Of each flag: its word, and its meaning."""
_NO_MARK = Flag.CHECK_REACHED | Flag.FILE_MMAP_REACHED  # other columns show these
# Plain integers: `&` on an IntFlag costs a microsecond, and there are millions of rows.
_MARKS = {
    int(flag): f"!{word}" if flag in DOUBTS else word
    for flag, (word, _) in FLAGS.items()
    if flag not in _NO_MARK
}


def marks(flags: int) -> list[str]:
    """``["!raced", "kernel"]``: a ``!`` where the evidence is incomplete (``words.DOUBTS``)."""
    return [word for flag, word in _MARKS.items() if flags & flag]


def flag_words(flags: int) -> list[str]:
    """:func:`marks` for programs: without what says which of them are doubts."""
    return [word.removeprefix("!") for word in marks(flags)]


LOSSES: Mapping[str, str] = {
    "ring_full": "no room in the ring buffer",
    "inflight_full": "no room for calls in flight",
    "objects_full": "object table full",
    "no_entry": "return without entry",
    "no_return": "entry without return",
    "missed": "BPF program not run",
    "seq_hole": "sequence numbers that never arrived",
    "name": "object name not readable",
    "pids_full": "no room to follow a child process",
    "files_full": "no room to follow a file (what others did to it is not recorded)",
    "cgroup_name": "a cgroup whose name could not be read",
    "cgroups_full": "no room to follow a new cgroup below one of --cgroup",
    "stack": "no room for the user stack of an event",
    "stack_rate": "a user stack left out, since there were too many a second",
    "stack_map": "no room to tell where code lies in an address space",
    "task_text": "a task whose command line could not be read",
    "filtered": "what --filter leaves out (no loss)",
}
"""Why events were lost, by the words of ``enum loss_cause``."""


STACK_STATES: Mapping[str, str] = {
    "whole": "to the outermost caller",
    "cut": "the innermost ones, since there was more of the stack than is looked at",
    "unknown": "the innermost ones, up to code of which it is not known how to go on",
    "lost": "none: who looked at it did not come to an end",
    "no_unwinder": "the innermost one, since drgn was not installed",
}
"""How far callers are known, by the words of `StackState`."""
MAPS_FROM: Mapping[str, str] = {
    "none": "nobody",
    "kernel": "the kernel, as each mapping was made",
    "proc": "/proc/PID/maps, some time after the stack was taken: what came between may have "
    "changed it",
}
"""Who told where code lay, by the words of `MapsFrom`."""
FRAMES: Mapping[str, str] = {
    "code": "in a file",
    "jit": "in memory of no file",
    "vdso": "in what the kernel puts into each process",
    "gone": "in a file that could not be read",
    "kernel": "in the kernel",
    "unknown": "in no mapping that is known",
}
"""In what a frame lies, by the words of `FrameWhat`."""


RECEIPTS: Mapping[str, str] = {
    "unknown": "0",
    "scm_rights": "1: a message on a unix socket",
    "pidfd_getfd": "2: taken out of another process",
    "proc_fd": "3: /proc/PID/fd/N was opened",
    "map_files": "4: /proc/PID/map_files/RANGE was opened",
    "msg_ring": "5: an io_uring put it into another one's table",
    "seccomp": "6: a supervisor put it there (SECCOMP_IOCTL_NOTIF_ADDFD)",
}
"""How a descriptor came, by the words of `Receipt`."""


def map_flags(flags: int) -> list[str]:
    """MAP_* of mmap, the type first, the page size last: ``["SHARED", "HUGETLB", "2M"]``."""
    kind = MAP_TYPE.get(flags & 0xF, f"type{flags & 0xF:#x}")
    rest, size = flags & ~0xF, []
    if rest & 0x40000 and rest & HUGE_MASK:
        size = [huge_size(rest)]
        rest &= ~HUGE_MASK
    return [kind, *flag_list(rest, MAP), *size]


@lru_cache(maxsize=4096)
def mmap_text(arg: int) -> str:
    """``SHARED rw-`` for mmap's ``prot | flags << 32``, further MAP_* bits behind the type."""
    return f"{'|'.join(map_flags(arg >> 32 & 0xFFFFFFFF))} {prot_text(arg & 0xFFFFFFFF)}"


def is_shared(vm_flags: int) -> bool:
    """Whether a mapping was made MAP_SHARED: what /proc/PID/maps shows as ``s``.

    Through a descriptor that may not write, the kernel takes VM_SHARED away and leaves VM_MAYSHARE
    (mm/mmap.c:do_mmap): such a mapping is shared, though nothing can be written through it.
    """
    return bool(vm_flags & (VM_SHARED | VM_MAYSHARE))


def is_writable(vm_flags: int) -> bool:
    """Whether the file can be written through a mapping, now or after mprotect.

    What ``i_mmap_writable`` counts since v6.7. Rows from /proc know no VM_MAYWRITE and tell what is
    writable at that moment.
    """
    return bool(vm_flags & VM_SHARED and vm_flags & (VM_WRITE | VM_MAYWRITE))


@lru_cache(maxsize=4096)
def vm_text(arg: int) -> str:
    """``rw-s`` as in /proc/PID/maps, for VM_* bits."""
    return rwx(arg) + ("s" if is_shared(arg) else "p")


MREMAP_OLD_SHIFT = 16
"""mremap's ``arg``: MREMAP_* flags, vm_flags (READ to MAYSHARE) 8 bits higher, and from here on the
old length in pages."""


@lru_cache(maxsize=4096)
def mremap_text(arg: int) -> str:
    """``rw-s MAYMOVE``: the mapping that is meant, and the flags."""
    return f"{vm_text(arg >> 8 & 0xFF)} {flag_names(arg & 0xFF, MREMAP, none='')}".rstrip()


@lru_cache(maxsize=4096)
def attr_text(arg: int) -> str:
    """What a setattr changes (``ia_valid | ia_mode << 32``) beside the size: ``MODE=0755``."""
    valid, mode = arg & 0xFFFFFFFF, arg >> 32 & 0xFFFFFFFF
    # Time stamps and the kernel's own marks come with every truncate and say nothing.
    noise = 1 << 3 | 1 << 5 | 1 << 6 | 1 << 13 | 1 << 14 | 1 << 15 | 1 << 16 | 1 << 17
    shown = flag_names(valid & ~noise & ~1, ATTR, none="")
    return "|".join(part for part in (f"{mode & 0o7777:04o}" if valid & 1 else "", shown) if part)


@lru_cache(maxsize=4096)
def seals_text(seals: int) -> str:
    """Fixed-width seals (:func:`tracer.words.text`); ``??????`` where they are unknown."""
    return "??????" if seals == SEALS_UNKNOWN else seals_model.text(seals)


def create_flags(kind: str, arg: int, bit5: Bit5) -> list[str]:
    """Flags of memfd_create, memfd_secret or KVM_CREATE_GUEST_MEMFD, by the object's kind."""
    if kind == "guest_memfd":
        return flag_list(arg, GUEST_MEMFD)
    if kind == "secretmem":
        return flag_list(arg, SECRETMEM)
    return mfd_flags(arg, bit5)


@lru_cache(maxsize=4096)
def create_text(kind: str, arg: int, bit5: Bit5) -> str:
    """:func:`create_flags` in a line."""
    return "|".join(create_flags(kind, arg, bit5)) or "0"


_FORMS: Mapping[int, str] = {
    ExecForm.PATH: "by path",
    ExecForm.PROC_FD: "by /proc/self/fd",
    ExecForm.EMPTY_PATH: "by AT_EMPTY_PATH",
}
_ROLES: Mapping[int, str] = {ExecRole.INTERPRETER: "as interpreter", ExecRole.LOADER: "as loader"}


@lru_cache(maxsize=256)
def exec_text(arg: int) -> str:
    """``by AT_EMPTY_PATH``, ``as loader``: how it was named, or as what it was executed."""
    form, role = arg & 0xFF, arg >> 8 & 0xFF
    known = _ROLES.get(role) or _FORMS.get(form) or f"{arg & 0xFFFF:#x}"
    return f"{known}, only asked" if arg & EXEC_CHECK else known


MEMORY_ATTRIBUTE_PRIVATE = 8
"""KVM_MEMORY_ATTRIBUTE_PRIVATE, include/uapi/linux/kvm.h since 6.8: so far the only one."""


def privacy_text(arg: int) -> str:
    """``private``, ``shared``, or a number with bits that no released kernel knows."""
    if arg & ~MEMORY_ATTRIBUTE_PRIVATE:
        return f"{arg:#x}"
    return "private" if arg else "shared"


def _word(enum: type[IntEnum], value: int) -> str:
    return words(enum).get(value, str(value))


class _Request(NamedTuple):
    """What a row requests, in the columns that say so."""

    kind: str
    arg: int
    offset: int
    length: int
    size: int
    bit5: Bit5


_PARTS: Mapping[str, Callable[[_Request], str | int]] = {
    "arg": lambda row: row.arg,
    "offset": lambda row: row.offset,
    "length": lambda row: row.length,
    "size": lambda row: row.size,
    "range": lambda row: f"{row.offset}+{row.length}",
    "pages": lambda row: (row.arg >> MREMAP_OLD_SHIFT) * 4096,
    "mmap": lambda row: mmap_text(row.arg),
    "vm": lambda row: vm_text(row.arg),
    "mapping": lambda row: mremap_text(row.arg & 0xFFFF),
    "prot": lambda row: prot_text(row.arg),
    "attributes": lambda row: attr_text(row.arg),
    "mode": lambda row: flag_names(row.arg, FALLOC_FL),
    "seals": lambda row: seals_model.names(row.arg, row.bit5),
    "creation": lambda row: create_text(row.kind, row.arg, row.bit5),
    "access": lambda row: flag_names(row.arg & 1, ACCESS, none="READ"),
    "modes": lambda row: flag_names(row.arg, UFFD_MODE),
    "fill": lambda row: _word(Fill, row.arg).upper(),
    "advice": lambda row: MADV.get(row.arg, str(row.arg)),
    "receipt": lambda row: _word(Receipt, row.arg & 0xFFFFFFFF) if row.arg else "",
    "device": lambda row: _word(Device, row.arg),
    "execution": lambda row: exec_text(row.arg),
    "privacy": lambda row: privacy_text(row.arg),
    "sev": lambda row: _word(SevDebug, row.arg).upper(),
    "guest": lambda row: f"{row.offset & 0xFFFFFFFFFFFFFFFF:#x}+{row.length:#x}",
    "slot": lambda row: f"+{row.length:#x} at {row.offset}" if row.length else " deleted",
}
"""What a request (`tracer.words.Operation.request`) may name in braces."""
_REQUESTS = {
    op.name.lower(): [
        (before, _PARTS[part] if part else None, form or "")
        for before, part, form, _ in Formatter().parse(entry.request)
    ]
    for op, entry in OPS.items()
}


def describe(op: str, kind: str, arg: int, offset: int, length: int, size: int, bit5: Bit5) -> str:
    """What ``op`` requested in a few words; ``size`` is the object's before, in bytes.

    ``bit5``: what the recorded kernel calls seal 0x20 (``Manifest.bit5``).

    A memslot's ``arg`` is the guest physical address, and its ``size`` names the VM.
    """
    row = _Request(kind, arg, offset, length, size, bit5)
    text = ""
    for before, part, form in _REQUESTS.get(op, ()):
        text += before
        if part:
            text += format(part(row), form)
    return text.rstrip()


def _of_vm(arg: int) -> dict[str, list[str]]:
    """Of a mapping that is there: VM_* bits as mmap would have been given them."""
    return {
        "prot": flag_list(arg & 7, PROT),
        "map_flags": ["SHARED" if is_shared(arg) else "PRIVATE"],
    }


_LISTS: Mapping[str, Callable[[_Request], dict[str, list[str]]]] = {
    "mmap": lambda row: {
        "prot": flag_list(row.arg & 0xFFFFFFFF, PROT),
        "map_flags": map_flags(row.arg >> 32 & 0xFFFFFFFF),
    },
    "vm": lambda row: _of_vm(row.arg),
    "mapping": lambda row: {
        **_of_vm(row.arg >> 8 & 0xFF),
        "mremap_flags": flag_list(row.arg & 0xFF, MREMAP),
    },
    "prot": lambda row: {"prot": flag_list(row.arg, PROT)},
    "attributes": lambda row: {"attributes": flag_list(row.arg & 0xFFFFFFFF, ATTR)},
    "mode": lambda row: {"fallocate_mode": flag_list(row.arg, FALLOC_FL)},
    "seals": lambda row: {"add_seals": seal_list(row.arg, row.bit5) or []},
    "creation": lambda row: {"create_flags": create_flags(row.kind, row.arg, row.bit5)},
    "access": lambda row: {"access": flag_list(row.arg & 1, ACCESS) or ["READ"]},
    "modes": lambda row: {"uffd_modes": flag_list(row.arg, UFFD_MODE)},
}
"""Parts of a request (:data:`_PARTS`) that are sets of flags: under which names, and which."""
ARGUMENTS = (
    "prot", "map_flags", "mremap_flags", "attributes", "fallocate_mode", "add_seals",
    "create_flags", "access", "uffd_modes",
)  # fmt: skip
"""The names that :func:`arguments` gives."""
_ARGUMENTS = {
    op.name.lower(): [
        _LISTS[part]
        for _, part, _, _ in Formatter().parse(entry.request)
        if part is not None and part in _LISTS
    ]
    for op, entry in OPS.items()
}


def arguments(op: str, kind: str, arg: int, bit5: Bit5) -> dict[str, list[str]]:
    """What ``arg`` of an ``op`` means, for programs: ``{"prot": ["READ"], "map_flags": …}``.

    Only what the operation has; ``bit5`` as for :func:`describe`.
    """
    row = _Request(kind, arg, 0, 0, 0, bit5)
    return {name: flags for part in _ARGUMENTS.get(op, ()) for name, flags in part(row).items()}


def seal_list(seals: int, bit5: Bit5) -> list[str] | None:
    """``["SEAL", "WRITE"]``; None where they are not known."""
    if seals == SEALS_UNKNOWN:
        return None
    return seals_model.names(seals, bit5).split("|") if seals else []


def meanings(
    op: str, kind: str, arg: int, seals: int, seals_after: int, flags: int, bit5: Bit5
) -> dict[str, list[str] | None]:
    """All sets of flags of a row as lists, for JSON."""
    return {
        **arguments(op, kind, arg, bit5),
        "seal_list": seal_list(seals, bit5),
        "seal_list_after": seal_list(seals_after, bit5),
        "flag_list": flag_words(flags),
    }
