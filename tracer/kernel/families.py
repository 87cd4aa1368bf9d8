"""The hook families: for each seal check, the kernel functions that carry it.

A family lists its alternatives, newest first; the plan takes the first one that the running
kernel has. Which kernel has which is said for the reader only: nothing here looks at a version.
What only an audit needs is in `tracer.kernel.audit_families`.
"""

import re
from dataclasses import dataclass
from pathlib import Path

from tracer.words import Hook, Op

_ACCESS = Path(__file__).resolve().parents[2] / "bpf" / "access.h"

WAYS = {"": 0} | {
    name.lower(): int(number)
    for name, number in re.findall(r"^\tWAY_([A-Z_]+) = (\d+),", _ACCESS.read_text("utf-8"), re.M)
}
"""``enum way`` of ``bpf/access.h``: what the program that all ways in share is to do."""


@dataclass(frozen=True, slots=True)
class Alternative:
    """One kernel function that carries a family's check."""

    symbol: str
    source: str
    """Where it stands in the kernel tree, and since or until when."""
    takes: tuple[str, ...] = ()
    """Structs that the first parameters must point to, because the BPF source counts on it."""
    pointers: tuple[tuple[str, str], ...] = ()
    """``(macro suffix, struct)``: parameters found in the prototype by the struct they point to."""
    sizes: tuple[tuple[str, int], ...] = ()
    """``(macro suffix, position)``: parameters whose size in bytes the BPF source has to know."""
    defines: tuple[tuple[str, int], ...] = ()
    """Further ``(macro, value)`` that the BPF source needs for this alternative."""
    parameters: int = 0
    """In a module: how many there are on all known kernels, for as long as it is not loaded."""


@dataclass(frozen=True, slots=True)
class Family:
    """One place where we attach, and what that gives. Most have an entry and a return."""

    name: str
    hook: Hook
    ops: tuple[Op, ...]
    unseen: str
    """What stays unseen without this family, in a user's words."""
    alternatives: tuple[Alternative, ...]
    served_by: str = ""
    """A handler of ``bpf/programs.h`` that families with the same work share (see `program`)."""
    way: str = ""
    """Work of the handler that all ways in share (see `WAYS`): put into it when it is loaded."""
    at_entry: bool = True
    at_return: bool = True
    essential: bool = True
    """False: a kernel without any alternative has nothing there to be seen."""
    tells_truth_alone: bool = True
    """False: it only adds detail to what another family records."""
    begun_by: str = ""
    """By trampolines, this earlier family's program stands for the entry (see ``bpf/hooks.h``)."""
    module: str | None = None
    """Where its functions are; while it is not loaded, there is nothing to be seen."""
    needs: tuple[tuple[str, str], ...] = ()
    """``(struct, member)`` that the running kernel must have."""

    @property
    def program(self) -> str:
        """The handler of ``bpf/programs.h`` or ``bpf/audit_programs.h`` that serves it."""
        return "way" if self.way else self.served_by or self.name


SETATTR = (("DENTRY", "dentry"), ("IATTR", "iattr"))
SETS_ATTRIBUTES = (Op.TRUNCATE, Op.CHMOD)
ALLOCATES = (Op.ALLOCATE, Op.PUNCH_HOLE)

FAMILIES = (
    Family(
        "mmap", Hook.MMAP, (Op.MMAP,), "mmap decisions",
        # The same six parameters from 5.10 to 7.3, and the answer that mmap(2) gets: seal checks
        # moved between do_mmap, mmap_region and the file's own mmap (fa00b8ef1803, 6.14).
        (Alternative("vm_mmap_pgoff", "mm/util.c"),),
    ),
    Family(
        "mmap_check", Hook.MMAP_CHECK, (Op.MMAP,),
        "what the seal check inside mmap said (the call's own answer is still seen)",
        (Alternative("memfd_check_seals_mmap", "mm/memfd.c, since 6.14 and 6.12.93"),),
        at_entry=False, essential=False, tells_truth_alone=False,
    ),
    Family(
        "shmem_mmap", Hook.FILE_MMAP, (Op.MMAP,),
        "whether an mmap reached the file's own mmap function and what that said",
        (
            Alternative("shmem_mmap_prepare", "mm/shmem.c, since 6.19"),
            Alternative("shmem_mmap", "mm/shmem.c, until 6.18"),
        ),
        at_entry=False, tells_truth_alone=False,
    ),
    Family(
        "hugetlb_mmap", Hook.FILE_MMAP, (Op.MMAP,),
        "whether an mmap of a hugetlb file reached the file's own mmap function",
        (
            Alternative("hugetlbfs_file_mmap_prepare", "fs/hugetlbfs/inode.c, 6.19 alone"),
            Alternative("hugetlbfs_file_mmap", "fs/hugetlbfs/inode.c"),
        ),
        at_entry=False, essential=False, tells_truth_alone=False,
    ),
    Family(
        "shmem_setattr", Hook.SETATTR, SETS_ATTRIBUTES, "truncate and chmod decisions",
        # The dentry moved from the first to the second place with user-namespace mounts (5.12).
        (Alternative("shmem_setattr", "mm/shmem.c", pointers=SETATTR),),
        "setattr",
    ),
    Family(
        "hugetlb_setattr", Hook.SETATTR, SETS_ATTRIBUTES,
        "truncate and chmod decisions on hugetlb files",
        (Alternative("hugetlbfs_setattr", "fs/hugetlbfs/inode.c", pointers=SETATTR),),
        "setattr", essential=False,
    ),
    Family(
        "write_check", Hook.WRITE_CHECK, (Op.WRITE,),
        "what the seal check of each chunk of a write said (the call's answer is seen)",
        (Alternative("shmem_write_begin", "mm/shmem.c"),),
        at_entry=False, tells_truth_alone=False,
    ),
    Family(
        "write", Hook.WRITE, (Op.WRITE,), "write decisions",
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
        begun_by="write_check",
    ),
    Family(
        "shmem_fallocate", Hook.ALLOCATE, ALLOCATES, "fallocate and hole-punching decisions",
        (Alternative("shmem_fallocate", "mm/shmem.c"),),
        "allocate",
    ),
    Family(
        "hugetlb_fallocate", Hook.ALLOCATE, ALLOCATES,
        "fallocate and hole-punching decisions on hugetlb files",
        (Alternative("hugetlbfs_fallocate", "fs/hugetlbfs/inode.c"),),
        "allocate", essential=False,
    ),
    Family(
        "read", Hook.READ, (Op.READ,), "reads (no seal of a released kernel denies one)",
        (Alternative("shmem_file_read_iter", "mm/shmem.c"),),
    ),
    Family(
        "seals", Hook.SEALS, (Op.ADD_SEALS,), "F_ADD_SEALS: who sealed what, and what was refused",
        # Its third parameter was an unsigned long on 5.10 and 6.1 and is an unsigned int on 6.12.
        (Alternative("memfd_fcntl", "mm/memfd.c", sizes=(("ARG", 2),)),),
    ),
    Family(
        "created", Hook.CREATE, (Op.CREATE,),
        "which file a memfd_create, memfd_secret or guest_memfd made",
        # shmem_file_setup, hugetlb_file_setup, secretmem and KVM all get their open file there.
        (Alternative("alloc_file_pseudo", "fs/file_table.c", takes=("inode",)),),
        at_return=False, tells_truth_alone=False,
    ),
    Family(
        "create", Hook.CREATE, (Op.CREATE,),
        "memfd_create calls (the files are still announced at their first use)",
        (Alternative("__x64_sys_memfd_create", "mm/memfd.c"),),
    ),
    Family(
        "create_compat", Hook.CREATE, (Op.CREATE,),
        "memfd_create by 32-bit system calls (the files are announced at their first use)",
        (
            Alternative(
                "__ia32_sys_memfd_create",
                "mm/memfd.c by SYSCALL_DEFINE2, arch/x86/include/asm/syscall_wrapper.h",
            ),
        ),
        "create", essential=False,
    ),
    Family(
        "create_check", Hook.CREATE, (Op.CREATE,),
        "whether a security module forbade a new memfd (the call's own answer is seen)",
        (
            Alternative(
                "security_inode_init_security_anon",
                "security/security.c, since 5.12; not asked for memfds on 6.12, asked on 7.3",
            ),
        ),
        at_entry=False, essential=False, tells_truth_alone=False,
    ),
    Family(
        "mremap", Hook.MREMAP, (Op.MREMAP,),
        "mremap calls (the mappings that they make and end are still seen)",
        (Alternative("__x64_sys_mremap", "mm/mremap.c by SYSCALL_DEFINE5"),),
    ),
    Family(
        "mremap_compat", Hook.MREMAP, (Op.MREMAP,), "mremap by 32-bit system calls",
        (Alternative("__ia32_sys_mremap", "mm/mremap.c by SYSCALL_DEFINE5"),),
        "mremap", essential=False,
    ),
    Family(
        "remap_file_pages", Hook.MMAP, (Op.REMAP_FILE_PAGES,),
        "remap_file_pages calls (the mappings that they make and end are still seen)",
        # Emulated by do_mmap since 4.0 (c8d78c1823f4).
        (Alternative("__x64_sys_remap_file_pages", "mm/mmap.c by SYSCALL_DEFINE5"),),
    ),
    Family(
        "remap_file_pages_compat", Hook.MMAP, (Op.REMAP_FILE_PAGES,),
        "remap_file_pages by 32-bit system calls",
        (Alternative("__ia32_sys_remap_file_pages", "mm/mmap.c by SYSCALL_DEFINE5"),),
        "remap_file_pages", essential=False,
    ),
    Family(
        "exec_begin", Hook.EXEC, (Op.EXEC,),
        "which program an execve has in hand",
        # Called by bprm_execve on all kernels, once the program is open; alloc_bprm opens it since
        # 6.8 (978ffcbf00d8), before it bprm_execve itself.
        (Alternative("security_bprm_creds_for_exec", "security/security.c, since 5.8",
                     takes=("linux_binprm",)),),
        at_return=False, tells_truth_alone=False,
    ),
    Family(
        "exec_check", Hook.EXEC, (Op.EXEC,),
        "which interpreter an execve goes on with (#!, binfmt_misc)",
        (Alternative("security_bprm_check", "security/security.c, by search_binary_handler",
                     takes=("linux_binprm",)),),
        at_return=False, tells_truth_alone=False,
    ),
    Family(
        "exec_open", Hook.EXEC, (Op.EXEC,), "which loader an ELF program has (PT_INTERP)",
        (
            # Which has open_exec inlined.
            Alternative("bprm_open_interpreter", "fs/exec.c, since 7.3"),
            Alternative("open_exec", "fs/exec.c, until 7.2"),
        ),
        at_entry=False, tells_truth_alone=False,
    ),
    Family(
        "exec", Hook.EXEC, (Op.EXEC,), "executions of memory files",
        # Four parameters until 6.7, one since.
        (Alternative("bprm_execve", "fs/exec.c, since 5.9"),),
        at_entry=False,
    ),
    Family(
        "exec_refused", Hook.EXEC, (Op.EXEC,),
        "execve of a memory file that is refused before the kernel has it in hand",
        (Alternative("__x64_sys_execve", "fs/exec.c by SYSCALL_DEFINE3"),),
        at_entry=False,
    ),
    Family(
        "exec_refused_at", Hook.EXEC, (Op.EXEC,),
        "execveat of a memory file that is refused before the kernel has it in hand",
        (Alternative("__x64_sys_execveat", "fs/exec.c by SYSCALL_DEFINE5"),),
        "exec_refused", at_entry=False,
    ),
    Family(
        "exec_refused_compat", Hook.EXEC, (Op.EXEC,), "the same by 32-bit execve",
        (Alternative("__ia32_compat_sys_execve", "fs/exec.c by COMPAT_SYSCALL_DEFINE3"),),
        "exec_refused", at_entry=False, essential=False,
    ),
    Family(
        "exec_refused_at_compat", Hook.EXEC, (Op.EXEC,), "the same by 32-bit execveat",
        (Alternative("__ia32_compat_sys_execveat", "fs/exec.c by COMPAT_SYSCALL_DEFINE5"),),
        "exec_refused", at_entry=False, essential=False,
    ),
    Family(
        "map", Hook.MAP, (Op.MAP,), "where mappings begin",
        (
            Alternative("mapping_rmap_tree_insert", "mm/interval_tree.c, since 7.3"),
            Alternative("vma_interval_tree_insert", "mm/interval_tree.c, until 7.2"),
        ),
        at_return=False,
    ),
    Family(
        "map_after", Hook.MAP, (Op.MAP,), "mappings that a fork copies",
        (
            Alternative("mapping_rmap_tree_insert_after", "mm/interval_tree.c, since 7.3"),
            Alternative("vma_interval_tree_insert_after", "mm/interval_tree.c, until 7.2"),
        ),
        "map", at_return=False,
    ),
    Family(
        "unmap", Hook.UNMAP, (Op.UNMAP,), "where mappings end",
        (
            Alternative("mapping_rmap_tree_remove", "mm/interval_tree.c, since 7.3"),
            Alternative("vma_interval_tree_remove", "mm/interval_tree.c, until 7.2"),
        ),
        at_return=False,
    ),
    Family(
        "shmem_evict", Hook.EVICT, (Op.EVICT,), "when a memory file is gone",
        (Alternative("shmem_evict_inode", "mm/shmem.c"),),
        "evict", at_return=False,
    ),
    Family(
        "hugetlb_evict", Hook.EVICT, (Op.EVICT,), "when a hugetlb file is gone",
        (Alternative("hugetlbfs_evict_inode", "fs/hugetlbfs/inode.c"),),
        "evict", at_return=False, essential=False,
    ),
)  # fmt: skip
