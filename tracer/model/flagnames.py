"""Flag names of the system calls that touch memory files, as include/uapi has them.

The numbers are the kernel's own and not this machine's ``<sys/mman.h>``, so that a recording reads
the same everywhere; bits without a name are shown in hex, never dropped.
"""

from collections.abc import Mapping

from tracer.model.bit5 import UNKNOWN, Bit5

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
"""0x8 has the name that the kernel in question gives it (tracer.model.bit5)."""
FOLL = {1: "WRITE"}
"""Of FOLL_* the one bit that is the same on all kernels (include/linux/mm.h, mm_types.h)."""
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
FAULT = {1: "WRITE", 2: "MKWRITE", 0x10: "KILLABLE", 0x40: "USER", 0x80: "REMOTE"}
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


def flag_names(value: int, names: Mapping[int, str], none: str = "0") -> str:
    """``A|B|0x40``: known bits by name, the rest in hex; ``none`` where no bit is set."""
    shown = [name for bit, name in names.items() if value & bit]
    rest = value & ~sum(names)
    if rest:
        shown.append(f"{rest:#x}")
    return "|".join(shown) or none


def rwx(bits: int) -> str:
    """``rw-`` for the three lowest bits of PROT_* or VM_*; other bits are not looked at."""
    return "".join(c if bits >> place & 1 else "-" for place, c in enumerate("rwx"))


def huge_size(value: int) -> str:
    """Page size in MFD_* or MAP_* flags: ``2M``."""
    log2 = value >> _HUGE_SHIFT & 0x3F
    units = ((30, "G"), (20, "M"), (10, "K"), (0, ""))
    shift, unit = next(pair for pair in units if log2 >= pair[0])
    return f"{1 << (log2 - shift)}{unit}"


def mfd_flags(value: int, bit5: Bit5) -> str:
    """Names of MFD_* bits, with the page size of a hugetlb memfd: ``HUGETLB|2M``."""
    known = MFD | {0x8: bit5.flag}
    if value & 0x4 and value & HUGE_MASK:
        return f"{flag_names(value & ~HUGE_MASK, known)}|{huge_size(value)}"
    return flag_names(value, known)


def prot_text(prot: int) -> str:
    """``rw-`` and further PROT_* bits behind it."""
    rest = flag_names(prot & ~7, PROT, none="")
    return f"{rwx(prot)}|{rest}" if rest else rwx(prot)
