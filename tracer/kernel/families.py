"""The hook families: for each seal check, the kernel functions that carry it.

A family lists its alternatives, newest first; the plan takes the first one that the running
kernel has. Which kernel has which is told for the reader only: nothing here looks at a version.
"""

from dataclasses import dataclass
from enum import IntEnum

from tracer.kernel.blind_spots import BLIND_SPOTS as BLIND_SPOTS
from tracer.words import Hook, Op


class Way(IntEnum):
    """``enum way`` of ``bpf/access.h``: what the program that they share is to do."""

    NONE = 0
    MEMSLOT = 1
    GMEM_CREATE = 2
    SECRET_CREATE = 3
    FAULT = 4
    PIN = 5
    PIN_REMOTE = 6
    PIN_FILE = 7
    REMOTE = 8
    UFFD = 9
    MPROTECT = 10
    RECEIVE = 11
    SPLICE = 12
    READ = 13
    UFFD_COPY = 14
    UFFD_ZERO = 15
    UFFD_CONTINUE = 16
    TRACE = 17
    SHARE_MM = 18
    PIDFD_GETFD = 19
    PROC_LINK = 20
    MAP_FILES = 21
    JUMP = 22
    OPEN = 23
    ADVISE = 24
    VM_END = 25
    SLOT_FILE = 26
    RING = 27
    RING_FILE = 28
    UDMABUF = 29
    MSG_RING = 30
    SECCOMP = 31
    VFORK_END = 32
    ATTACH = 33
    TRACEME = 34
    SEND = 35
    COPY = 36
    MESSAGE = 37
    MESSAGE_END = 38


@dataclass(frozen=True, slots=True)
class Alternative:
    """One kernel function that carries a family's check."""

    symbol: str
    source: str
    """Where it stands in the kernel tree, and since or until when."""
    pointers: tuple[tuple[str, str], ...] = ()
    """``(macro suffix, struct)``: parameters found in the prototype by the struct they point to."""
    sizes: tuple[tuple[str, int], ...] = ()
    """``(macro suffix, place)``: parameters whose size, in bytes, the BPF source has to know."""
    defines: tuple[tuple[str, int], ...] = ()
    """Further ``(macro, value)`` that the BPF source needs for this alternative."""
    takes: tuple[str, ...] = ()
    """Structs that the first parameters must point to, for the BPF source counts on it."""
    parameters: int = 0
    """In a module: how many there are on all known kernels, for as long as it is not loaded."""


@dataclass(frozen=True, slots=True)
class Family:
    """One place where we attach."""

    name: str
    program: str
    """Which handler of ``bpf/programs.h`` serves it; families with the same work share one."""
    hook: Hook
    ops: tuple[Op, ...]
    alternatives: tuple[Alternative, ...]
    at_entry: bool
    at_return: bool
    unseen: str
    """What stays unseen without this family, in a user's words."""
    essential: bool = True
    """False: a kernel without any alternative has nothing there to be seen."""
    tells_truth_alone: bool = True
    """False: it only adds detail to what another family records."""
    begun_by: str = ""
    """By trampolines, this earlier family's program stands for the entry (see ``bpf/hooks.h``)."""
    module: str | None = None
    """Where its functions are; while it is not loaded, there is nothing to be seen."""
    way: Way = Way.NONE
    """Put into the program when it is loaded (see ``bpf/access.h``)."""
    needs: tuple[tuple[str, str], ...] = ()
    """``(struct, member)`` that the running kernel must have."""


SETATTR = (("DENTRY", "dentry"), ("IATTR", "iattr"))

FAMILIES = (
    Family(
        "mmap",
        "mmap",
        Hook.MMAP,
        (Op.MMAP,),
        # The same six parameters from 5.10 to 7.3, and the answer that mmap(2) gets: seal checks
        # moved between do_mmap, mmap_region and the file's own mmap (fa00b8ef1803, 6.14).
        (Alternative("vm_mmap_pgoff", "mm/util.c"),),
        at_entry=True,
        at_return=True,
        unseen="mmap decisions",
    ),
    Family(
        "mmap_check",
        "mmap_check",
        Hook.MMAP_CHECK,
        (Op.MMAP,),
        (Alternative("memfd_check_seals_mmap", "mm/memfd.c, since 6.14 and 6.12.93"),),
        at_entry=False,
        at_return=True,
        unseen="what the seal check inside mmap said (the call's own answer is still seen)",
        essential=False,
        tells_truth_alone=False,
    ),
    Family(
        "shmem_mmap",
        "shmem_mmap",
        Hook.FILE_MMAP,
        (Op.MMAP,),
        (
            Alternative("shmem_mmap_prepare", "mm/shmem.c, since 6.19"),
            Alternative("shmem_mmap", "mm/shmem.c, until 6.18"),
        ),
        at_entry=False,
        at_return=True,
        unseen="whether an mmap reached the file's own mmap function and what that said",
        tells_truth_alone=False,
    ),
    Family(
        "hugetlb_mmap",
        "hugetlb_mmap",
        Hook.FILE_MMAP,
        (Op.MMAP,),
        (
            Alternative("hugetlbfs_file_mmap_prepare", "fs/hugetlbfs/inode.c, 6.19 alone"),
            Alternative("hugetlbfs_file_mmap", "fs/hugetlbfs/inode.c"),
        ),
        at_entry=False,
        at_return=True,
        unseen="whether an mmap of a hugetlb file reached the file's own mmap function",
        essential=False,
        tells_truth_alone=False,
    ),
    Family(
        "shmem_setattr",
        "setattr",
        Hook.SETATTR,
        (Op.TRUNCATE, Op.CHMOD),
        # The dentry moved from the first to the second place with user-namespace mounts (5.12).
        (Alternative("shmem_setattr", "mm/shmem.c", pointers=SETATTR),),
        at_entry=True,
        at_return=True,
        unseen="truncate and chmod decisions",
    ),
    Family(
        "hugetlb_setattr",
        "setattr",
        Hook.SETATTR,
        (Op.TRUNCATE, Op.CHMOD),
        (Alternative("hugetlbfs_setattr", "fs/hugetlbfs/inode.c", pointers=SETATTR),),
        at_entry=True,
        at_return=True,
        unseen="truncate and chmod decisions on hugetlb files",
        essential=False,
    ),
    Family(
        "write_check",
        "write_check",
        Hook.WRITE_CHECK,
        (Op.WRITE,),
        (Alternative("shmem_write_begin", "mm/shmem.c"),),
        at_entry=False,
        at_return=True,
        unseen="what the seal check of each chunk of a write said (the call's answer is seen)",
        tells_truth_alone=False,
    ),
    Family(
        "write",
        "write",
        Hook.WRITE,
        (Op.WRITE,),
        (
            Alternative(
                "shmem_file_write_iter", "mm/shmem.c, since 6.6", defines=(("WRITE_IS_SHMEM", 1),)
            ),
            Alternative(
                "generic_file_write_iter",
                "mm/filemap.c: what shmem used before, shared with other filesystems",
                defines=(("WRITE_IS_SHMEM", 0),),
            ),
        ),
        at_entry=True,
        at_return=True,
        unseen="write decisions",
        begun_by="write_check",
    ),
    Family(
        "shmem_fallocate",
        "allocate",
        Hook.ALLOCATE,
        (Op.ALLOCATE, Op.PUNCH_HOLE),
        (Alternative("shmem_fallocate", "mm/shmem.c"),),
        at_entry=True,
        at_return=True,
        unseen="fallocate and hole-punching decisions",
    ),
    Family(
        "hugetlb_fallocate",
        "allocate",
        Hook.ALLOCATE,
        (Op.ALLOCATE, Op.PUNCH_HOLE),
        (Alternative("hugetlbfs_fallocate", "fs/hugetlbfs/inode.c"),),
        at_entry=True,
        at_return=True,
        unseen="fallocate and hole-punching decisions on hugetlb files",
        essential=False,
    ),
    Family(
        "read",
        "read",
        Hook.READ,
        (Op.READ,),
        (Alternative("shmem_file_read_iter", "mm/shmem.c"),),
        at_entry=True,
        at_return=True,
        unseen="reads (no seal of a released kernel denies one)",
    ),
    Family(
        "seals",
        "seals",
        Hook.SEALS,
        (Op.ADD_SEALS,),
        # Its third parameter was an unsigned long on 5.10 and 6.1 and is an unsigned int on 6.12.
        (Alternative("memfd_fcntl", "mm/memfd.c", sizes=(("ARG", 2),)),),
        at_entry=True,
        at_return=True,
        unseen="F_ADD_SEALS: who sealed what, and what was refused",
    ),
    Family(
        "created",
        "created",
        Hook.CREATE,
        (Op.CREATE,),
        # shmem_file_setup, hugetlb_file_setup, secretmem and KVM all get their open file there.
        (Alternative("alloc_file_pseudo", "fs/file_table.c", takes=("inode",)),),
        at_entry=True,
        at_return=False,
        unseen="which file a memfd_create, memfd_secret or guest_memfd made",
        tells_truth_alone=False,
    ),
    Family(
        "create",
        "create",
        Hook.CREATE,
        (Op.CREATE,),
        (Alternative("__x64_sys_memfd_create", "mm/memfd.c"),),
        at_entry=True,
        at_return=True,
        unseen="memfd_create calls (the files are still announced at their first use)",
    ),
    Family(
        "create_compat",
        "create",
        Hook.CREATE,
        (Op.CREATE,),
        (
            Alternative(
                "__ia32_sys_memfd_create",
                "mm/memfd.c by SYSCALL_DEFINE2, arch/x86/include/asm/syscall_wrapper.h",
            ),
        ),
        at_entry=True,
        at_return=True,
        unseen="memfd_create by 32-bit system calls (the files are announced at their first use)",
        essential=False,
    ),
    Family(
        "mremap",
        "mremap",
        Hook.MREMAP,
        (Op.MREMAP,),
        (Alternative("__x64_sys_mremap", "mm/mremap.c by SYSCALL_DEFINE5"),),
        at_entry=True,
        at_return=True,
        unseen="mremap calls (the mappings that they make and end are still seen)",
    ),
    Family(
        "mremap_compat",
        "mremap",
        Hook.MREMAP,
        (Op.MREMAP,),
        (Alternative("__ia32_sys_mremap", "mm/mremap.c by SYSCALL_DEFINE5"),),
        at_entry=True,
        at_return=True,
        unseen="mremap by 32-bit system calls",
        essential=False,
    ),
    Family(
        "map",
        "map",
        Hook.MAP,
        (Op.MAP,),
        (
            Alternative("mapping_rmap_tree_insert", "mm/interval_tree.c, since 7.3"),
            Alternative("vma_interval_tree_insert", "mm/interval_tree.c, until 7.2"),
        ),
        at_entry=True,
        at_return=False,
        unseen="where mappings begin",
    ),
    Family(
        "map_after",
        "map",
        Hook.MAP,
        (Op.MAP,),
        (
            Alternative("mapping_rmap_tree_insert_after", "mm/interval_tree.c, since 7.3"),
            Alternative("vma_interval_tree_insert_after", "mm/interval_tree.c, until 7.2"),
        ),
        at_entry=True,
        at_return=False,
        unseen="mappings that a fork copies",
    ),
    Family(
        "unmap",
        "unmap",
        Hook.UNMAP,
        (Op.UNMAP,),
        (
            Alternative("mapping_rmap_tree_remove", "mm/interval_tree.c, since 7.3"),
            Alternative("vma_interval_tree_remove", "mm/interval_tree.c, until 7.2"),
        ),
        at_entry=True,
        at_return=False,
        unseen="where mappings end",
    ),
    Family(
        "shmem_evict",
        "evict",
        Hook.EVICT,
        (Op.EVICT,),
        (Alternative("shmem_evict_inode", "mm/shmem.c"),),
        at_entry=True,
        at_return=False,
        unseen="when a memory file is gone",
    ),
    Family(
        "hugetlb_evict",
        "evict",
        Hook.EVICT,
        (Op.EVICT,),
        (Alternative("hugetlbfs_evict_inode", "fs/hugetlbfs/inode.c"),),
        at_entry=True,
        at_return=False,
        unseen="when a hugetlb file is gone",
        essential=False,
    ),
)
