"""The hook families that only an audit needs: guest memory, and ways in beside a file's own calls.

KVM is a module: its families wait for it where it is not loaded, with the argument places that
all known kernels share, and its BTF is compared with these when it comes.
"""

from tracer.kernel.blind_spots import AUDIT_BLIND_SPOTS as AUDIT_BLIND_SPOTS
from tracer.kernel.families import SETATTR, Alternative, Family, Way
from tracer.words import Hook, Op

KVM = "kvm"
MAPLE_TREE = (("maple_range_64", "pivot"), ("mm_struct", "mm_mt.ma_root"))
"""Mappings are found by address in the maple tree (lib/maple_tree.c, since 6.1)."""

UFFD = (("userfaultfd_ctx", "mm"), ("vm_area_struct", "vm_userfaultfd_ctx.ctx"))

_PINS = "long-term pins"
_BY_CONTEXT = (("UFFD_BY_CONTEXT", 1),)
_PIDS = (("pid", "tasks"), ("task_struct", "pid_links"))
PROC_PIDS = (*_PIDS, ("proc_inode", "pid"))
"""What leads from a folder in /proc to its process."""
_MESSAGES = (("scm_fp_list", "fp"), ("scm_cookie", "fp"))


def _way(
    name: str,
    hook: Hook,
    ops: tuple[Op, ...],
    alternatives: tuple[Alternative, ...],
    *,
    way: Way,
    unseen: str,
    at_return: bool = True,
    essential: bool = True,
    module: str | None = None,
    needs: tuple[tuple[str, str], ...] = (),
) -> Family:
    """A family that the shared program serves (bpf/audit_programs.h)."""
    return Family(
        name, "way", hook, ops, alternatives, True, at_return, unseen, essential,
        module=module, way=way, needs=needs,
    )  # fmt: skip


def _fills(name: str, way: Way, symbol: str, before: str, when: str, unseen: str) -> Family:
    """A way in which userfaultfd puts pages into place; ``before`` took the mm itself."""
    return _way(
        name,
        Hook.UFFD,
        (Op.UFFD_FILL,),
        (
            Alternative(
                symbol, "mm/userfaultfd.c, since 6.5",
                takes=("userfaultfd_ctx",), defines=_BY_CONTEXT,
            ),
            Alternative(before, f"mm/userfaultfd.c, {when}", takes=("mm_struct",)),
        ),
        way=way,
        unseen=unseen,
        essential=False,
        needs=UFFD,
    )  # fmt: skip


AUDIT_FAMILIES = (
    _way(
        "memslot",
        Hook.MEMSLOT,
        (Op.MEMSLOT,),
        # Where both exist (until 6.12), kvm_vm_ioctl calls the one with underscores.
        (
            Alternative(
                "__kvm_set_memory_region", "virt/kvm/kvm_main.c, until 6.12",
                takes=("kvm",), parameters=2,
            ),
            Alternative(
                "kvm_set_memory_region", "virt/kvm/kvm_main.c, since 6.16",
                takes=("kvm",), parameters=2,
            ),
        ),
        way=Way.MEMSLOT,
        unseen="which memory a virtual machine is given",
        module=KVM,
    ),
    _way(
        "memslot_file",
        Hook.MEMSLOT,
        (Op.MEMSLOT,),
        # With the slot as it will be: kvm_gmem_bind (until 7.2) or
        # kvm_gmem_prepare_memory_region (7.3) has put the file there.
        (
            Alternative(
                "kvm_arch_commit_memory_region", "arch/x86/kvm/x86.c",
                takes=("kvm", "kvm_memory_slot", "kvm_memory_slot"), parameters=4,
            ),
        ),
        at_return=False,
        way=Way.SLOT_FILE,
        unseen="which guest_memfd a memslot has",
        essential=False,
        module=KVM,
    ),
    _way(
        "vm_end",
        Hook.MEMSLOT,
        (Op.VM_END,),
        (
            Alternative(
                "kvm_destroy_vm", "virt/kvm/kvm_main.c", takes=("kvm",), parameters=1,
            ),
        ),
        at_return=False,
        way=Way.VM_END,
        unseen="when a virtual machine is gone, and its memslots",
        module=KVM,
    ),
    _way(
        "gmem_create",
        Hook.CREATE,
        (Op.CREATE,),
        (
            Alternative(
                "kvm_gmem_create", "virt/kvm/guest_memfd.c, since 6.8",
                takes=("kvm", "kvm_create_guest_memfd"), parameters=2,
            ),
        ),
        way=Way.GMEM_CREATE,
        unseen="who creates a guest_memfd",
        essential=False,
        module=KVM,
    ),
    _way(
        "gmem_fault",
        Hook.FAULT,
        (Op.FAULT,),
        (
            Alternative(
                "kvm_gmem_fault_user_mapping", "virt/kvm/guest_memfd.c, since 6.18",
                takes=("vm_fault",), parameters=1,
            ),
        ),
        way=Way.FAULT,
        unseen="the host's page faults in guest_memfds",
        essential=False,
        module=KVM,
    ),
    Family(
        "gmem_fallocate",
        "allocate",
        Hook.ALLOCATE,
        (Op.ALLOCATE, Op.PUNCH_HOLE),
        (
            Alternative(
                "kvm_gmem_fallocate", "virt/kvm/guest_memfd.c, since 6.8",
                takes=("file",), parameters=4,
            ),
        ),
        at_entry=True,
        at_return=True,
        unseen="fallocate and hole-punching of guest_memfds",
        essential=False,
        module=KVM,
    ),
    Family(
        "gmem_setattr",
        "setattr",
        Hook.SETATTR,
        (Op.TRUNCATE, Op.CHMOD),
        (
            Alternative(
                "kvm_gmem_setattr", "virt/kvm/guest_memfd.c, since 6.8",
                pointers=SETATTR, parameters=3,
                defines=(("ARG_SETATTR_DENTRY", 1), ("ARG_SETATTR_IATTR", 2)),
            ),
        ),
        at_entry=True,
        at_return=True,
        unseen="truncate and chmod of guest_memfds",
        essential=False,
        module=KVM,
    ),
    Family(
        "gmem_release",
        "evict",
        Hook.EVICT,
        (Op.EVICT,),
        # It cannot be opened again: its one file is the object.
        (
            Alternative(
                "kvm_gmem_release", "virt/kvm/guest_memfd.c, since 6.8",
                takes=("inode", "file"), parameters=2,
            ),
        ),
        at_entry=True,
        at_return=False,
        unseen="when a guest_memfd is gone",
        essential=False,
        module=KVM,
    ),
    _way(
        "secretmem_create",
        Hook.CREATE,
        (Op.CREATE,),
        (Alternative("__x64_sys_memfd_secret", "mm/secretmem.c, since 5.14"),),
        way=Way.SECRET_CREATE,
        unseen="memfd_secret calls",
        essential=False,
    ),
    _way(
        "secretmem_create_compat",
        Hook.CREATE,
        (Op.CREATE,),
        (
            Alternative(
                "__ia32_sys_memfd_secret",
                "mm/secretmem.c by SYSCALL_DEFINE1, arch/x86/include/asm/syscall_wrapper.h",
            ),
        ),
        way=Way.SECRET_CREATE,
        unseen="memfd_secret by 32-bit system calls",
        essential=False,
    ),
    Family(
        "secretmem_setattr",
        "setattr",
        Hook.SETATTR,
        (Op.TRUNCATE, Op.CHMOD),
        (Alternative("secretmem_setattr", "mm/secretmem.c", pointers=SETATTR),),
        at_entry=True,
        at_return=True,
        unseen="truncate and chmod of secret memory",
        essential=False,
    ),
    _way(
        "secretmem_fault",
        Hook.FAULT,
        (Op.FAULT,),
        (Alternative("secretmem_fault", "mm/secretmem.c", takes=("vm_fault",)),),
        way=Way.FAULT,
        unseen="page faults in secret memory",
        essential=False,
    ),
    Family(
        "secretmem_release",
        "evict",
        Hook.EVICT,
        (Op.EVICT,),
        (Alternative("secretmem_release", "mm/secretmem.c", takes=("inode", "file")),),
        at_entry=True,
        at_return=False,
        unseen="when secret memory is gone",
        essential=False,
    ),
    _way(
        "remote_access",
        Hook.REMOTE,
        (Op.REMOTE_READ, Op.REMOTE_WRITE),
        (Alternative("__access_remote_vm", "mm/memory.c", takes=("mm_struct",)),),
        way=Way.REMOTE,
        unseen="ptrace and /proc/PID/mem",
        needs=MAPLE_TREE,
    ),
    _way(
        "pin_remote",
        Hook.PIN,
        (Op.REMOTE_READ, Op.REMOTE_WRITE, Op.PIN),
        # process_vm_rw itself has too many parameters, and its iovecs are the caller's to change.
        (Alternative("pin_user_pages_remote", "mm/gup.c", takes=("mm_struct",)),),
        way=Way.PIN_REMOTE,
        unseen="process_vm_readv, process_vm_writev, and vfio's pins",
        needs=MAPLE_TREE,
    ),
    _way(
        "pin",
        Hook.PIN,
        (Op.PIN,),
        (Alternative("pin_user_pages", "mm/gup.c"),),
        way=Way.PIN,
        unseen=f"{_PINS} (io_uring buffers until 6.x, RDMA, vhost-vdpa)",
        needs=MAPLE_TREE,
    ),
    _way(
        "pin_fast",
        Hook.PIN,
        (Op.PIN,),
        (Alternative("pin_user_pages_fast", "mm/gup.c"),),
        way=Way.PIN,
        unseen=f"{_PINS} (io_uring buffers, KVM's for SEV)",
        needs=MAPLE_TREE,
    ),
    _way(
        "pin_file",
        Hook.PIN,
        (Op.PIN,),
        (Alternative("memfd_pin_folios", "mm/gup.c, since 6.11", takes=("file",)),),
        way=Way.PIN_FILE,
        unseen="pins of files without a mapping (udmabuf, iommufd)",
        essential=False,
    ),
    _way(
        "userfaultfd",
        Hook.UFFD,
        (Op.UFFD_REGISTER,),
        # userfaultfd_register is a function of its own only since 6.12.
        (Alternative("userfaultfd_ioctl", "fs/userfaultfd.c; mm/ since 7.2", takes=("file",)),),
        way=Way.UFFD,
        unseen="userfaultfd registrations",
        essential=False,
        needs=UFFD,
    ),
    _fills(
        "uffd_copy", Way.UFFD_COPY, "mfill_atomic_copy", "mcopy_atomic", "until 6.4",
        "pages that userfaultfd copies into place (UFFDIO_COPY)",
    ),
    _fills(
        "uffd_zero", Way.UFFD_ZERO, "mfill_atomic_zeropage", "mfill_zeropage", "until 6.4",
        "pages that userfaultfd clears (UFFDIO_ZEROPAGE)",
    ),
    _fills(
        "uffd_continue", Way.UFFD_CONTINUE, "mfill_atomic_continue", "mcopy_continue",
        "5.13 to 6.4", "pages that userfaultfd maps (UFFDIO_CONTINUE)",
    ),
    _way(
        "ptrace",
        Hook.TRACE,
        (Op.TRACE,),
        (Alternative("ptrace_attach", "kernel/ptrace.c", takes=("task_struct",)),),
        way=Way.ATTACH,
        unseen="who attaches to whom by ptrace",
    ),
    _way(
        "ptrace_traceme",
        Hook.TRACE,
        (Op.TRACE,),
        (Alternative("ptrace_traceme", "kernel/ptrace.c"),),
        way=Way.TRACEME,
        unseen="who asks to be traced",
        needs=(("task_struct", "parent"),),
    ),
    _way(
        "ptrace_link",
        Hook.TRACE,
        (Op.TRACE,),
        # Children of a tracee; in 7.3 the others have a copy of their own of it (seen there).
        (
            Alternative(
                "__ptrace_link", "kernel/ptrace.c", takes=("task_struct", "task_struct")
            ),
        ),
        at_return=False,
        way=Way.TRACE,
        unseen="the children that a traced task gets",
    ),
    _way(
        "share_mm",
        Hook.SHARE_MM,
        (Op.SHARE_MM,),
        (Alternative("wake_up_new_task", "kernel/sched/core.c", takes=("task_struct",)),),
        at_return=False,
        way=Way.SHARE_MM,
        unseen="processes in another one's address space (CLONE_VM without CLONE_THREAD)",
        needs=(("task_struct", "vfork_done"),),
    ),
    _way(
        "vfork_end",
        Hook.SHARE_MM,
        (Op.SHARE_MM,),
        (Alternative("do_exit", "kernel/exit.c"),),
        at_return=False,
        way=Way.VFORK_END,
        unseen="vfork children that execute nothing",
        needs=(
            ("task_struct", "vfork_done"),
            ("task_struct", "real_parent"),
            ("mm_struct", "mm_users"),
        ),
    ),
    _way(
        "send",
        Hook.RECEIVE,
        (Op.GIVE, Op.RECEIVE),
        (Alternative("unix_add_edges", "net/unix/garbage.c, since 6.10; before, see \"copy\"",
                     takes=("scm_fp_list",)),),
        at_return=False,
        way=Way.SEND,
        unseen="memory files that are sent over a unix socket, and by whom",
        essential=False,
        needs=_MESSAGES,
    ),
    _way(
        "copy",
        Hook.RECEIVE,
        (Op.GIVE, Op.RECEIVE),
        (Alternative("scm_fp_dup", "net/core/scm.c", takes=("scm_fp_list",)),),
        way=Way.COPY,
        unseen="who sent a message that is looked at before it is taken",
        needs=_MESSAGES,
    ),
    _way(
        "message",
        Hook.RECEIVE,
        (Op.RECEIVE,),
        (Alternative("scm_detach_fds", "net/core/scm.c", takes=("msghdr", "scm_cookie")),),
        way=Way.MESSAGE,
        unseen="who sent a memory file that arrives",
        needs=_MESSAGES,
    ),
    _way(
        "message_end",
        Hook.RECEIVE,
        (Op.RECEIVE,),
        (Alternative("__scm_destroy", "net/core/scm.c", takes=("scm_cookie",)),),
        at_return=False,
        way=Way.MESSAGE_END,
        unseen="when a message is gone (its sender would be remembered too long)",
        needs=_MESSAGES,
    ),
    _way(
        "pidfd_getfd",
        Hook.RECEIVE,
        (Op.RECEIVE,),
        (Alternative("pidfd_getfd", "kernel/pid.c", takes=("pid",)),),
        way=Way.PIDFD_GETFD,
        unseen="out of which process pidfd_getfd takes a descriptor",
        essential=False,
        needs=_PIDS,
    ),
    _way(
        "proc_link",
        Hook.OPEN,
        (Op.RECEIVE,),
        (Alternative("proc_pid_get_link", "fs/proc/base.c", takes=("dentry", "inode")),),
        at_return=False,
        way=Way.PROC_LINK,
        unseen="whose link in /proc/PID/fd is followed",
        needs=PROC_PIDS,
    ),
    _way(
        "map_files",
        Hook.OPEN,
        (Op.RECEIVE,),
        (Alternative("proc_map_files_get_link", "fs/proc/base.c", takes=("dentry", "inode")),),
        at_return=False,
        way=Way.MAP_FILES,
        unseen="whose link in /proc/PID/map_files is followed",
        essential=False,
        needs=PROC_PIDS,
    ),
    _way(
        "jump",
        Hook.OPEN,
        (Op.RECEIVE,),
        (Alternative("nd_jump_link", "fs/namei.c", takes=("path",)),),
        at_return=False,
        way=Way.JUMP,
        unseen="where links in /proc lead to",
        needs=(("path", "dentry"),),
    ),
    _way(
        "open",
        Hook.OPEN,
        (Op.RECEIVE,),
        # Told before a security module has its say; it refuses hardly anything by then.
        (Alternative("security_file_open", "security/security.c", takes=("file",)),),
        at_return=False,
        way=Way.OPEN,
        unseen="memory files opened by /proc/PID/fd and map_files",
    ),
    _way(
        "advise",
        Hook.ADVISE,
        (Op.ADVISE,),
        (
            Alternative(
                "madvise_do_behavior", "mm/madvise.c, since 6.16: process_madvise calls it itself",
                defines=(("ADVISE_BY_STRUCT", 1),),
            ),
            Alternative("do_madvise", "mm/madvise.c, since 5.10", takes=("mm_struct",)),
        ),
        at_return=False,
        way=Way.ADVISE,
        unseen="process_madvise in another process",
        essential=False,
    ),
    _way(
        "ring",
        Hook.RING,
        (Op.RING,),
        (
            Alternative(
                "io_submit_sqes", "io_uring/io_uring.c; fs/ until 5.19", takes=("io_ring_ctx",)
            ),
        ),
        at_return=False,
        way=Way.RING,
        unseen="io_uring's registered buffers, used from another process",
        essential=False,
        needs=(("io_ring_ctx", "mm_account"),),
    ),
    _way(
        "ring_file",
        Hook.RECEIVE,
        (Op.GIVE, Op.RECEIVE),
        (
            Alternative(
                "__io_fixed_fd_install", "io_uring/filetable.c, since 6.0",
                takes=("io_ring_ctx", "file"),
            ),
        ),
        at_return=False,
        way=Way.RING_FILE,
        unseen="files that one io_uring puts into another one's table",
        essential=False,
        needs=(("io_ring_ctx", "mm_account"),),
    ),
    _way(
        "msg_ring",
        Hook.RECEIVE,
        (Op.GIVE, Op.RECEIVE),
        (Alternative("io_msg_ring", "io_uring/msg_ring.c, since 5.18", takes=("io_kiocb",)),),
        way=Way.MSG_RING,
        unseen="out of whose io_uring such a file comes",
        essential=False,
        needs=(("io_ring_ctx", "mm_account"), ("io_kiocb", "ctx")),
    ),
    _way(
        "seccomp",
        Hook.RECEIVE,
        (Op.RECEIVE,),
        (Alternative("seccomp_notify_ioctl", "kernel/seccomp.c, since 5.0", takes=("file",)),),
        way=Way.SECCOMP,
        unseen="which supervisor puts a file into the process that it supervises",
        essential=False,
        needs=(("task_struct", "seccomp.filter"), ("seccomp_filter", "prev")),
    ),
    _way(
        "udmabuf",
        Hook.DEVICE,
        (Op.DEVICE,),
        # Which files: the family "pin_file", where the kernel has it.
        (
            Alternative(
                "udmabuf_create", "drivers/dma-buf/udmabuf.c",
                takes=("miscdevice", "udmabuf_create_list"),
            ),
        ),
        at_return=False,
        way=Way.UDMABUF,
        unseen="dma-bufs that are made of memfds",
        essential=False,
    ),
    _way(
        "mprotect",
        Hook.MPROTECT,
        (Op.MPROTECT,),
        (Alternative("do_mprotect_pkey", "mm/mprotect.c"),),
        way=Way.MPROTECT,
        unseen="mprotect",
        needs=MAPLE_TREE,
    ),
    _way(
        "receive",
        Hook.RECEIVE,
        (Op.RECEIVE,),
        (
            Alternative(
                "security_file_receive",
                "security/security.c; a socket of 7.3 does not call receive_fd (seen there)",
                takes=("file",),
            ),
        ),
        way=Way.RECEIVE,
        unseen="descriptors that arrive by a call",
    ),
    _way(
        "splice",
        Hook.READ,
        (Op.READ,),
        # Before, shmem_file_operations had generic_file_splice_read (6.1: mm/shmem.c), which asks
        # shmem_file_read_iter, and so does splicing with O_DIRECT since: the family "read".
        (Alternative("shmem_file_splice_read", "mm/shmem.c, since 6.5", takes=("file",)),),
        way=Way.SPLICE,
        unseen="splice, sendfile and copy_file_range out of a memory file",
        essential=False,
    ),
    _way(
        "hugetlb_read",
        Hook.READ,
        (Op.READ,),
        # hugetlbfs_file_operations has no splice_read: splice is refused, or asks this one.
        (
            Alternative(
                "hugetlbfs_read_iter", "fs/hugetlbfs/inode.c", takes=("kiocb", "iov_iter")
            ),
        ),
        way=Way.READ,
        unseen="reads of hugetlb files",
        essential=False,
    ),
)  # fmt: skip
