"""The struct offsets that ``bpf/kernel.h`` reads by, taken from the running kernel's BTF."""

from typing import NamedTuple

from tracer.kernel.btf import Btf
from tracer.kernel.btf_file import BtfMissing


class Offset(NamedTuple):
    macro: str
    struct: str
    members: tuple[str, ...]
    """Alternatives, tried in order: members move in and out of unions between kernels."""
    minus: str = ""
    """A member to subtract: where BPF has a pointer to that member, not to the struct."""
    optional: bool = False


OFFSETS = (
    Offset("OFF_FILE_INODE", "file", ("f_inode",)),
    Offset("OFF_FILE_MODE", "file", ("f_mode",)),
    Offset("OFF_INODE_SIZE", "inode", ("i_size",)),
    Offset("OFF_INODE_SB", "inode", ("i_sb",)),
    Offset("OFF_INODE_INO", "inode", ("i_ino",)),
    Offset("OFF_INODE_GEN", "inode", ("i_generation",)),
    Offset("OFF_INODE_UID", "inode", ("i_uid",)),
    Offset("OFF_INODE_GID", "inode", ("i_gid",)),
    Offset("OFF_INODE_MODE", "inode", ("i_mode",)),
    Offset("OFF_INODE_FLAGS", "inode", ("i_flags",)),
    Offset("OFF_INODE_LINKS", "inode", ("i_nlink",)),
    Offset("OFF_INODE_DATA", "inode", ("i_data",)),
    Offset("OFF_INODE_DENTRY", "inode", ("i_dentry",)),
    Offset("OFF_MAPPING_HOST", "address_space", ("host",)),
    Offset("OFF_MAPPING_WRITABLE", "address_space", ("i_mmap_writable",)),
    Offset("OFF_MAPPING_FLAGS", "address_space", ("flags",)),
    Offset("OFF_SB_MAGIC", "super_block", ("s_magic",)),
    Offset("OFF_SB_DEV", "super_block", ("s_dev",)),
    Offset("OFF_SHMEM_SEALS", "shmem_inode_info", ("seals",), minus="vfs_inode"),
    Offset("OFF_SHMEM_FLAGS", "shmem_inode_info", ("flags",), minus="vfs_inode"),
    # CONFIG_HUGETLBFS may be off; then nothing is of that kind.
    Offset("OFF_HUGETLB_SEALS", "hugetlbfs_inode_info", ("seals",), "vfs_inode", optional=True),
    Offset("OFF_DENTRY_ALIAS", "dentry", ("d_u.d_alias", "d_alias")),
    Offset("OFF_DENTRY_NAME", "dentry", ("d_name.name",)),
    Offset("OFF_DENTRY_NAME_LEN", "dentry", ("d_name.len",)),
    Offset("OFF_DENTRY_PARENT", "dentry", ("d_parent",)),
    Offset("OFF_DENTRY_INODE", "dentry", ("d_inode",)),
    Offset("OFF_IATTR_VALID", "iattr", ("ia_valid",)),
    Offset("OFF_IATTR_MODE", "iattr", ("ia_mode",)),
    Offset("OFF_IATTR_SIZE", "iattr", ("ia_size",)),
    Offset("OFF_KIOCB_FILE", "kiocb", ("ki_filp",)),
    Offset("OFF_KIOCB_POS", "kiocb", ("ki_pos",)),
    Offset("OFF_IOV_COUNT", "iov_iter", ("count",)),
    Offset("OFF_TASK_STACK", "task_struct", ("stack",)),
    Offset("OFF_TASK_FLAGS", "task_struct", ("flags",)),
    Offset("OFF_TASK_STATUS", "task_struct", ("thread_info.status",)),
    Offset("OFF_TASK_FILES", "task_struct", ("files",)),
    Offset("OFF_TASK_MM", "task_struct", ("mm",)),
    Offset("OFF_TASK_TGID", "task_struct", ("tgid",)),
    Offset("OFF_TASK_PID", "task_struct", ("pid",)),
    Offset("OFF_TASK_START", "task_struct", ("start_time",)),
    Offset("OFF_TASK_LEADER", "task_struct", ("group_leader",)),
    Offset("OFF_TASK_START_BOOT", "task_struct", ("start_boottime",)),  # since 5.5 (cf25e24db61c)
    Offset("OFF_TASK_EXEC_ID", "task_struct", ("self_exec_id",)),
    # x86's alone; no other architecture numbers its address spaces for good.
    Offset("OFF_MM_NUMBER", "mm_struct", ("context.ctx_id",)),
    Offset("OFF_TASK_COMM", "task_struct", ("comm",)),
    Offset("OFF_TASK_CRED", "task_struct", ("cred",)),
    Offset("OFF_CRED_UID", "cred", ("uid",)),
    Offset("OFF_CRED_FSUID", "cred", ("fsuid",)),
    # CONFIG_CGROUPS may be off: then no task has one.
    Offset("OFF_TASK_CGROUPS", "task_struct", ("cgroups",), optional=True),
    Offset("OFF_CSS_SET_CGROUP", "css_set", ("dfl_cgrp",), optional=True),
    Offset("OFF_CGROUP_NODE", "cgroup", ("kn",), optional=True),
    Offset("OFF_KERNFS_ID", "kernfs_node", ("id",), optional=True),
    Offset("OFF_KERNFS_NAME", "kernfs_node", ("name",), optional=True),
    Offset("OFF_KERNFS_PARENT", "kernfs_node", ("parent", "__parent"), optional=True),
    Offset("OFF_CGROUP_ROOT", "cgroup", ("root",), optional=True),
    Offset("OFF_FILES_FDT", "files_struct", ("fdt",)),
    Offset("OFF_FDT_MAX", "fdtable", ("max_fds",)),
    Offset("OFF_FDT_FD", "fdtable", ("fd",)),
    Offset("OFF_BPRM_FILE", "linux_binprm", ("file",)),
    Offset("OFF_BPRM_FILENAME", "linux_binprm", ("filename",)),
    Offset("OFF_BPRM_FDPATH", "linux_binprm", ("fdpath",)),
    # Who acts: bpf/tasks.h.
    Offset("OFF_TASK_PARENT", "task_struct", ("real_parent",)),
    Offset("OFF_TASK_THREAD_PID", "task_struct", ("thread_pid",)),
    Offset("OFF_PID_LEVEL", "pid", ("level",)),
    Offset("OFF_PID_NUMBERS", "pid", ("numbers",)),
    Offset("OFF_MM_EXE", "mm_struct", ("exe_file",)),
    Offset("OFF_MM_ARG_START", "mm_struct", ("arg_start",)),
    Offset("OFF_MM_ARG_END", "mm_struct", ("arg_end",)),
    Offset("OFF_FILE_PATH_DENTRY", "file", ("f_path.dentry", "__f_path.dentry")),
    Offset("OFF_FILE_PATH_MNT", "file", ("f_path.mnt", "__f_path.mnt")),
    Offset("OFF_MNT_ROOT", "vfsmount", ("mnt_root",)),
    Offset("OFF_MOUNT_MNT", "mount", ("mnt",)),
    Offset("OFF_MNT_PARENT", "mount", ("mnt_parent",), minus="mnt"),
    Offset("OFF_MNT_POINT", "mount", ("mnt_mountpoint",), minus="mnt"),
    Offset("OFF_VMA_FILE", "vm_area_struct", ("vm_file",)),
    Offset("OFF_VMA_MM", "vm_area_struct", ("vm_mm",)),
    Offset("OFF_VMA_START", "vm_area_struct", ("vm_start",)),
    Offset("OFF_VMA_END", "vm_area_struct", ("vm_end",)),
    Offset("OFF_VMA_PGOFF", "vm_area_struct", ("vm_pgoff",)),
    Offset("OFF_VMA_FLAGS", "vm_area_struct", ("vm_flags", "__vm_flags")),
    # For user stacks.
    Offset("OFF_FILE_PATH", "file", ("f_path",), optional=True),
    Offset("OFF_PATH_MNT", "path", ("mnt",), optional=True),
    Offset("OFF_MOUNT_NS", "mount", ("mnt_ns",), optional=True),
    # A file of overlayfs's layers, since 6.8 (def3ae83da02).
    Offset("OFF_BACKING_PATH", "backing_file", ("user_path",), optional=True),
    Offset("OFF_MM_VDSO", "mm_struct", ("context.vdso",), optional=True),
    # For audits.
    Offset("OFF_INODE_IOPS", "inode", ("i_op",)),
    Offset("OFF_MAPPING_TREE", "address_space", ("i_mmap.rb_root.rb_node",)),
    Offset("OFF_FILE_PRIVATE", "file", ("private_data",)),
    Offset("OFF_VMF_VMA", "vm_fault", ("vma",)),
    Offset("OFF_VMF_ADDRESS", "vm_fault", ("address",)),
    Offset("OFF_VMF_PGOFF", "vm_fault", ("pgoff",)),
    Offset("OFF_VMF_FLAGS", "vm_fault", ("flags",)),
    Offset("OFF_UFFD_MM", "userfaultfd_ctx", ("mm",), optional=True),
    Offset("OFF_VMA_UFFD", "vm_area_struct", ("vm_userfaultfd_ctx.ctx",), optional=True),
    Offset("OFF_TASK_VFORK", "task_struct", ("vfork_done",), optional=True),
    Offset("OFF_TASK_TRACER", "task_struct", ("parent",), optional=True),
    Offset("OFF_MM_USERS", "mm_struct", ("mm_users",), optional=True),
    Offset("OFF_TASK_PID_LINKS", "task_struct", ("pid_links",), optional=True),
    Offset("OFF_PID_TASKS", "pid", ("tasks",), optional=True),
    Offset("OFF_PROC_PID", "proc_inode", ("pid",), minus="vfs_inode", optional=True),
    Offset("OFF_PATH_DENTRY", "path", ("dentry",), optional=True),
    Offset("OFF_SCM_COUNT", "scm_fp_list", ("count",), optional=True),
    Offset("OFF_SCM_FILES", "scm_fp_list", ("fp",), optional=True),
    Offset("OFF_SCM_LIST", "scm_cookie", ("fp",), optional=True),
    Offset("OFF_RING_MM", "io_ring_ctx", ("mm_account",), optional=True),
    Offset("OFF_TASK_FILTER", "task_struct", ("seccomp.filter",), optional=True),
    Offset("OFF_FILTER_PREV", "seccomp_filter", ("prev",), optional=True),
    Offset("OFF_REQUEST_RING", "io_kiocb", ("ctx",), optional=True),
    # Buffers went into a table of their own in 6.13 or so; 6.12 has a number beside them.
    Offset("OFF_RING_BUFFERS", "io_ring_ctx", ("nr_user_bufs", "buf_table.nr"), optional=True),
    Offset("OFF_MADVISE_MM", "madvise_behavior", ("mm",), optional=True),
    Offset("OFF_MADVISE_ADVICE", "madvise_behavior", ("behavior",), optional=True),
    # The tree of a process's mappings: a red-black one, or since 6.1 a maple tree.
    Offset("OFF_MM_RB", "mm_struct", ("mm_rb.rb_node",), optional=True),
    Offset("OFF_VMA_RB", "vm_area_struct", ("vm_rb",), optional=True),
    Offset("OFF_MM_TREE_ROOT", "mm_struct", ("mm_mt.ma_root",), optional=True),
    Offset("OFF_RANGE_PIVOT", "maple_range_64", ("pivot",), optional=True),
    Offset("OFF_RANGE_SLOT", "maple_range_64", ("slot",), optional=True),
    Offset("OFF_ARANGE_PIVOT", "maple_arange_64", ("pivot",), optional=True),
    Offset("OFF_ARANGE_SLOT", "maple_arange_64", ("slot",), optional=True),
)

_ENUMERATORS = (
    # A macro in include/linux/mm.h of 6.1, an enumerator in BTF of 7.3.
    ("FOLL_LONGTERM", "FOLL_LONGTERM", 0x10000),
    ("MAPLE_LEAF", "maple_leaf_64", 1),
    ("MAPLE_ARANGE", "maple_arange_64", 3),
)
"""``(macro, enumerator, value where BTF has none)``"""

_PATHS = (
    ("file", "f_path"), ("path", "mnt"), ("path", "dentry"), ("mount", "mnt"),
    ("mount", "mnt_ns"), ("mount", "mnt_parent"), ("mount", "mnt_mountpoint"),
    ("vfsmount", "mnt_root"),
)  # fmt: skip
"""What a file's path is put together from."""

THREAD_SIZE = 16384
"""arch/x86/include/asm/page_64_types.h: 4 pages, without KASAN."""


def _offset(btf: Btf, wanted: Offset) -> int:
    for member in wanted.members:
        if btf.has_member(wanted.struct, member):
            start = btf.offset_of(wanted.struct, member)
            return start - btf.offset_of(wanted.struct, wanted.minus) if wanted.minus else start
    if wanted.optional:
        return 0
    raise BtfMissing(
        f"this kernel's BTF has no {wanted.struct}.{' or .'.join(wanted.members)}: "
        "sealsnoop does not know this kernel's layout; please report it with the kernel release"
    )


def macros(btf: Btf) -> dict[str, int]:
    """``{macro: bytes}`` for every offset, and what else the BPF source asks of BTF.

    Raises BtfMissing naming the member that this kernel does not have.
    """
    found = {wanted.macro: _offset(btf, wanted) for wanted in OFFSETS}
    found["HAVE_TASK_PT_REGS"] = int(btf.find_enumerator("BPF_FUNC_task_pt_regs") is not None)
    found["HAVE_CGROUPS"] = int(btf.has_member("task_struct", "cgroups"))
    found["HAVE_CODE_PATHS"] = int(all(btf.has_member(*one) for one in _PATHS))
    found["THREAD_SIZE"] = THREAD_SIZE
    found["HAVE_MAPLE_TREE"] = int(btf.has_member("mm_struct", "mm_mt.ma_root"))
    # Since 6.10 and 6.1.141 or so; before, only the copying of a message's files shows it sent.
    found["SENT_IS_SEEN"] = int(btf.has_function("unix_add_edges"))
    for macro, name, until_now in _ENUMERATORS:
        value = btf.find_enumerator(name)
        found[macro] = until_now if value is None else value
    return found
