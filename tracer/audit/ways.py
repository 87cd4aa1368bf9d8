"""Which hooks must have been live for which claim: everything the audit knows of that is here.

A *way* is a way in which a claim can be broken. Each has the hook families that see it, by kind of
memory file, as tracer.kernel names them. A family that no recorder has yet is named all the same:
as long as no recording plans it, coverage says "not hooked" and no claim that needs it passes.
"""

from collections.abc import Mapping
from dataclasses import dataclass

SHMEM = ("memfd", "tmpfs")
HUGETLB = ("hugetlb",)
GUEST = ("guest_memfd",)
SECRET = ("secretmem",)
KINDS = (*SHMEM, *HUGETLB, *GUEST, *SECRET)


@dataclass(frozen=True)
class Way:
    """A way in; ``families``: kind to the families that must all be live."""

    text: str
    families: Mapping[str, tuple[str, ...]]
    call: bool = False
    """Seen at the return of a call: one that was in flight at the end may have been it."""


def _same(kinds: tuple[str, ...], *families: str) -> dict[str, tuple[str, ...]]:
    return dict.fromkeys(kinds, families)


WAYS: Mapping[str, Way] = {
    # The interval-tree hooks see mmap, merge, mremap, split (map) and fork (map_after).
    "map": Way("mappings that begin", _same(KINDS, "map", "map_after")),
    "mmap": Way("mmap decisions", _same(KINDS, "mmap"), call=True),
    "write": Way(
        "write(2) and what else changes the content by a descriptor",
        {
            **_same(SHMEM, "write", "shmem_setattr", "shmem_fallocate"),
            # hugetlbfs has no write function (fs/hugetlbfs/inode.c:hugetlbfs_file_operations).
            **_same(HUGETLB, "hugetlb_setattr", "hugetlb_fallocate"),
            **_same(GUEST, "gmem_setattr", "gmem_fallocate"),
            **_same(SECRET, "secretmem_setattr"),
        },
        call=True,
    ),
    "read": Way(
        "read(2) and splice",
        {
            # Since 6.5 shmem splices by a function of its own (mm/shmem.c:shmem_file_splice_read);
            # where that is absent, splicing asks the read function.
            **_same(SHMEM, "read", "splice"),
            **_same(HUGETLB, "hugetlb_read"),
            # guest_memfd and secretmem have no read function.
            **_same(GUEST),
            **_same(SECRET),
        },
        call=True,
    ),
    "fault": Way(
        "pages that the host touches",
        {**_same((*SHMEM, *HUGETLB)), **_same(GUEST, "gmem_fault"),
         **_same(SECRET, "secretmem_fault")},
        call=True,
    ),
    "remote": Way(
        "process_vm_readv, process_vm_writev, ptrace, /proc/PID/mem",
        _same(KINDS, "remote_access", "pin_remote"),
        call=True,
    ),
    "pin": Way(
        "long-term pins (io_uring, vfio, RDMA, udmabuf, iommufd)",
        _same(KINDS, "pin", "pin_fast", "pin_remote", "pin_file"),
        call=True,
    ),
    "userfaultfd": Way(
        "userfaultfd: registrations, and pages that are put there",
        _same(KINDS, "userfaultfd", "uffd_copy", "uffd_zero", "uffd_continue"),
        call=True,
    ),
    "reached": Way(
        "what opens an address space to others: ptrace, processes that share it, process_madvise, "
        "io_uring's buffers, dma-bufs of memfds",
        _same(KINDS, "ptrace", "ptrace_traceme", "ptrace_link", "share_mm", "vfork_end",
              "advise", "ring", "udmabuf"),
    ),
    "receive": Way(
        "descriptors that arrive, or are taken out of another process",
        _same(KINDS, "receive", "send", "copy", "message", "message_end", "open", "proc_link",
              "map_files", "jump", "pidfd_getfd", "ring_file", "msg_ring", "seccomp"),
    ),
    "seals": Way(
        "F_ADD_SEALS",
        {**_same((*SHMEM, *HUGETLB), "seals"), **_same(GUEST), **_same(SECRET)},
        call=True,
    ),
    "create": Way(
        "who created it",
        {
            **_same(("memfd", *HUGETLB), "created", "create"),
            "tmpfs": (),  # made by open(2): its creation is never seen
            **_same(GUEST, "created", "gmem_create"),
            **_same(SECRET, "created", "secretmem_create"),
        },
    ),
    "memslot": Way(
        "KVM memslots, and the end of a VM",
        {
            **_same((*SHMEM, *HUGETLB, *SECRET), "memslot", "vm_end"),
            **_same(GUEST, "memslot", "memslot_file", "vm_end"),
        },
    ),
}  # fmt: skip

CLAIM_WAYS: Mapping[str, tuple[str, ...]] = {
    "never-mapped": ("map",),
    "mapped-only-by": ("map", "reached"),
    "never-writable-outside": ("map", "write", "reached"),
    "never-read-or-written": (
        "map",
        "read",
        "write",
        "fault",
        "remote",
        "pin",
        "userfaultfd",
        "reached",
    ),
    "sealed-with": ("create", "map", "mmap", "seals", "receive", "write"),
    "never-pinned-except": ("map", "pin"),
    "no-breach": ("create", "mmap", "write", "seals"),
}
"""The ways in which each claim can be broken, and so the hooks that a pass needs."""

ACTOR_WAYS: Mapping[str, tuple[str, ...]] = {
    "vmm": ("memslot",),
    "creator": ("create",),
    "given-by-vmm": ("memslot", "receive"),
    "given-by-creator": ("create", "receive"),
}
"""Who is meant by a word in ``by`` is known through this way."""

ALWAYS_BLIND = (
    "stores and loads through a mapping that exists: only that it exists is seen",
    "a memory file put under a memslot that was set before the trace began",
    "descriptors inherited by fork, until they are used",
    "KVM's own access to guest memory, nested guests, SEV debug commands, devices behind an IOMMU",
    "core dumps, /proc/kcore, swap, hwpoison, kernel modules and other BPF programs",
    "whoever can change the recorder or the kernel while it records",
)
"""What no claim is about, whatever a recording covers."""


def needed(claim: str, kind: str, actors: frozenset[str] = frozenset()) -> dict[str, str]:
    """``{family: way}`` that must be live for a claim about an object of ``kind``.

    A kind that is not known needs what any kind needs. ``actors``: words in ``by``.
    """
    ways = [*CLAIM_WAYS[claim], *(way for word in sorted(actors) for way in ACTOR_WAYS[word])]
    found: dict[str, str] = {}
    for way in ways:
        by_kind = WAYS[way].families
        kinds = (kind,) if kind in by_kind else tuple(by_kind)
        for one in kinds:
            for family in by_kind[one]:
                found.setdefault(family, way)
    return found


def recognised_by(kind: str) -> tuple[str, ...]:
    """The families without which an object of this kind may not be known as one at all."""
    return {"guest_memfd": ("gmem_create",), "secretmem": ("secretmem_create",)}.get(kind, ())


def blind_spots() -> tuple[str, ...]:
    """What no family in this table sees, in words."""
    return ALWAYS_BLIND
