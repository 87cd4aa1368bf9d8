"""Readable form of what an operation asked for (``arg``, offset, length)."""

from enum import IntEnum
from functools import lru_cache

from tracer.model import seals as seals_model
from tracer.model.bit5 import Bit5
from tracer.model.errnos import errno_name
from tracer.model.flagnames import (
    ATTR,
    FALLOC_FL,
    FAULT,
    FOLL,
    GUEST_MEMFD,
    HUGE_MASK,
    MADV,
    MAP,
    MAP_TYPE,
    MREMAP,
    SECRETMEM,
    UFFD_MODE,
    VM_MAYSHARE,
    VM_MAYWRITE,
    VM_SHARED,
    VM_WRITE,
    flag_names,
    huge_size,
    mfd_flags,
    prot_text,
    rwx,
)
from tracer.model.words import Device, Fill, Receipt, words

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
_CAUSES_OF_OP = {("mmap", "EAGAIN"): "more locked memory than RLIMIT_MEMLOCK allows"}


def cause(op: str, answer: int) -> str:
    """Why such a call fails with an error that has no rule, as seals never give it; may be empty.

    fs/read_write.c:generic_write_checks_count and fs/attr.c:inode_newsize_ok for RLIMIT_FSIZE,
    mm/mmap.c:do_mmap (mlock_future_ok) for RLIMIT_MEMLOCK; the others mean the same everywhere.
    """
    name = errno_name(answer) or ""
    return _CAUSES_OF_OP.get((op, name)) or _CAUSES.get(name, "")


@lru_cache(maxsize=4096)
def mmap_text(arg: int) -> str:
    """``SHARED rw-`` for mmap's ``prot | flags << 32``, further MAP_* bits behind the type."""
    prot, flags = arg & 0xFFFFFFFF, arg >> 32 & 0xFFFFFFFF
    kind = MAP_TYPE.get(flags & 0xF, f"type{flags & 0xF:#x}")
    rest = flags & ~0xF
    size = ""
    if rest & 0x40000 and rest & HUGE_MASK:
        size = f"|{huge_size(rest)}"
        rest &= ~HUGE_MASK
    more = flag_names(rest, MAP, none="")
    return f"{kind}{'|' + more if more else ''}{size} {prot_text(prot)}"


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
    """Fixed-width seals (:func:`tracer.model.seals.text`); ``??????`` where they are unknown."""
    return "??????" if seals == SEALS_UNKNOWN else seals_model.text(seals)


@lru_cache(maxsize=4096)
def create_text(kind: str, arg: int, bit5: Bit5) -> str:
    """Flags of memfd_create, memfd_secret or KVM_CREATE_GUEST_MEMFD, by the object's kind."""
    if kind == "guest_memfd":
        return flag_names(arg, GUEST_MEMFD)
    if kind == "secretmem":
        return flag_names(arg, SECRETMEM)
    return mfd_flags(arg, bit5)


@lru_cache(maxsize=4096)
def _falloc(arg: int) -> str:
    return flag_names(arg, FALLOC_FL)


@lru_cache(maxsize=4096)
def _seal_names(arg: int, bit5: Bit5) -> str:
    return seals_model.names(arg, bit5)


def _word(enum: type[IntEnum], value: int) -> str:
    return words(enum).get(value, str(value))


def describe(op: str, kind: str, arg: int, offset: int, length: int, size: int, bit5: Bit5) -> str:
    """What ``op`` asked for in a few words; ``size`` is the object's before, in bytes.

    ``bit5``: what the recorded kernel calls seal 0x20 (:func:`tracer.model.bit5.bit5_in`).

    A memslot's ``arg`` is the guest physical address, and its ``size`` names the VM.
    """
    match op:
        case "write" | "read" | "remote_read" | "remote_write":
            return f"{offset}+{length}"
        case "fault":
            return f"{flag_names(arg & 1, FAULT, none='READ')} {offset}+{length}"
        case "memslot":
            return f"gpa {arg:#x}+{length:#x} at {offset}" if length else f"gpa {arg:#x} deleted"
        case "pin":
            return f"{flag_names(arg & 1, FOLL, none='READ')} {offset}+{length}"
        case "uffd_register":
            return f"{flag_names(arg, UFFD_MODE)} {offset}+{length}"
        case "uffd_fill":
            return f"{_word(Fill, arg).upper()} {offset}+{length}"
        case "advise":
            return f"{MADV.get(arg, str(arg))} {offset}+{length}"
        case "trace" | "share_mm":
            return f"pid {arg}"
        case "ring":
            return f"{length} buffers"
        case "receive" | "give":
            return _word(Receipt, arg & 0xFFFFFFFF) if arg else ""
        case "device":
            return f"{_word(Device, arg)} of {length}"
        case "mmap":
            return f"{mmap_text(arg)} {offset}+{length}"
        case "map" | "unmap":
            return f"{vm_text(arg)} {offset}+{length}"
        case "mremap":
            old = (arg >> MREMAP_OLD_SHIFT) * 4096
            return f"{mremap_text(arg & 0xFFFF)} {offset}+{old}→{length}"
        case "truncate":
            return f"{size}→{length} {attr_text(arg)}".rstrip()
        case "mprotect":
            return f"{prot_text(arg)} {offset}+{length}"
        case "allocate" | "punch_hole":
            return f"{_falloc(arg)} {offset}+{length}"
        case "add_seals":
            return _seal_names(arg, bit5)
        case "create":
            return create_text(kind, arg, bit5)
        case "chmod":
            return attr_text(arg)
        case _:
            return ""
