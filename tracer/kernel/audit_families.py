"""The hook families that only an audit needs: guest memory, and ways in beside a file's own calls.

KVM is a module: its families wait for it where it is not loaded, with the argument places that
all known kernels share, and its BTF is compared with these when it comes.
"""

from tracer.kernel.families import (
    ALLOCATES,
    FAMILIES,
    SETATTR,
    SETS_ATTRIBUTES,
    Alternative,
    Family,
)
from tracer.words import Hook, Op

KVM, KVM_AMD = "kvm", "kvm_amd"
MODULES = (KVM, KVM_AMD)
"""Those that come and go, each after what it needs."""
MAPLE_TREE = (("maple_range_64", "pivot"), ("mm_struct", "mm_mt.ma_root"))
"""Mappings are found by address in the maple tree (lib/maple_tree.c, since 6.1)."""

UFFD = (("userfaultfd_ctx", "mm"), ("vm_area_struct", "vm_userfaultfd_ctx.ctx"))

_PINS = "long-term pins"
_SEV_RANGE = "which memory of an encrypted guest is read or written (KVM_SEV_DBG_*)"
_GMEM = "virt/kvm/guest_memfd.c, since 6.8"
_PIDS = (("pid", "tasks"), ("task_struct", "pid_links"))
PROC_PIDS = (*_PIDS, ("proc_inode", "pid"))
"""What leads from a folder in /proc to its process."""
_MESSAGES = (("scm_fp_list", "fp"), ("scm_cookie", "fp"))
_RING_OWNER = ("io_ring_ctx", "mm_account")


def _fills(name: str, symbol: str, before: str, when: str, unseen: str) -> Family:
    """A way in which userfaultfd puts pages into place; ``before`` took the mm itself."""
    return Family(
        name, Hook.UFFD, (Op.UFFD_FILL,), unseen,
        (
            Alternative(
                symbol, "mm/userfaultfd.c, since 6.5",
                takes=("userfaultfd_ctx",), defines=(("UFFD_BY_CONTEXT", 1),),
            ),
            Alternative(before, f"mm/userfaultfd.c, {when}", takes=("mm_struct",)),
        ),
        way=name, essential=False, needs=UFFD,
    )  # fmt: skip


AUDIT_FAMILIES = (
    Family(
        "memslot", Hook.MEMSLOT, (Op.MEMSLOT,), "which memory a virtual machine is given",
        # Where both exist (until 6.12), kvm_vm_ioctl calls the one with underscores.
        (
            Alternative("__kvm_set_memory_region", "virt/kvm/kvm_main.c, until 6.12",
                        takes=("kvm",), parameters=2),
            Alternative("kvm_set_memory_region", "virt/kvm/kvm_main.c, since 6.16",
                        takes=("kvm",), parameters=2),
        ),
        way="memslot", module=KVM,
    ),
    Family(
        "memslot_file", Hook.MEMSLOT, (Op.MEMSLOT,), "which guest_memfd a memslot has",
        # With the slot as it will be: kvm_gmem_bind (until 7.2) or
        # kvm_gmem_prepare_memory_region (7.3) has put the file there.
        (Alternative("kvm_arch_commit_memory_region", "arch/x86/kvm/x86.c",
                     takes=("kvm", "kvm_memory_slot", "kvm_memory_slot"), parameters=4),),
        way="slot_file", at_return=False, essential=False, module=KVM,
    ),
    Family(
        "vm_begin", Hook.MEMSLOT, (Op.MEMSLOT,),
        "when a virtual machine begins, and of which type it is",
        (Alternative("kvm_arch_init_vm", "arch/x86/kvm/x86.c", takes=("kvm",), parameters=2),),
        way="vm_begin", at_return=False, essential=False, module=KVM,
    ),
    Family(
        "vm_end", Hook.MEMSLOT, (Op.VM_END,), "when a virtual machine is gone, and its memslots",
        (Alternative("kvm_destroy_vm", "virt/kvm/kvm_main.c", takes=("kvm",), parameters=1),),
        way="vm_end", at_return=False, module=KVM,
    ),
    Family(
        "convert", Hook.CONVERT, (Op.CONVERT, Op.SEV_DEBUG),
        "who makes guest memory private or shared, or debugs a guest of SEV, and what KVM answers",
        # kvm_vm_ioctl_set_mem_attributes and kvm_vm_set_mem_attributes are inlined into it (seen in
        # 6.12.117, 6.18.15 and 7.3.4).
        (Alternative("kvm_vm_ioctl", "virt/kvm/kvm_main.c", takes=("file",), parameters=3),),
        way="convert", module=KVM,
    ),
    Family(
        "convert_range", Hook.CONVERT, (Op.CONVERT,),
        "which range of guest memory KVM really makes private or shared",
        # Without it there are no attributes: the ioctl answers ENOTTY.
        (Alternative("kvm_range_has_memory_attributes",
                     "virt/kvm/kvm_main.c, since 6.8; with a mask since 6.11",
                     takes=("kvm",), parameters=5),),
        way="convert_range", at_return=False, essential=False, module=KVM,
    ),
    Family(
        "convert_file", Hook.CONVERT, (Op.CONVERT,),
        "who makes parts of a guest_memfd private or shared in place",
        (Alternative("kvm_gmem_set_attributes",
                     "virt/kvm/guest_memfd.c, list patch v10 of Aug 2026; in no release yet",
                     takes=("file",), parameters=2),),
        way="convert_file", essential=False, module=KVM,
    ),
    Family(
        "sev_debug", Hook.CONVERT, (Op.SEV_DEBUG,),
        "who reads or writes an encrypted guest (KVM_SEV_DBG_DECRYPT and _ENCRYPT)",
        # A kvm-amd that is built without SEV has none: the ioctl answers ENOTTY.
        (Alternative("sev_dbg_crypt", "arch/x86/kvm/svm/sev.c",
                     takes=("kvm", "kvm_sev_cmd"), parameters=3),),
        way="sev_debug", essential=False, module=KVM_AMD, needs=MAPLE_TREE,
    ),
    Family(
        "sev_debug_page", Hook.CONVERT, (Op.SEV_DEBUG,), _SEV_RANGE,
        (Alternative("sev_pin_page", "arch/x86/kvm/svm/sev.c, in 7.3",
                     takes=("kvm",), parameters=3),),
        way="sev_page", at_return=False, essential=False, module=KVM_AMD, needs=MAPLE_TREE,
    ),
    Family(
        "sev_debug_memory", Hook.CONVERT, (Op.SEV_DEBUG,), _SEV_RANGE,
        (Alternative("sev_pin_memory", "arch/x86/kvm/svm/sev.c; in 7.3 not for these commands",
                     takes=("kvm",), parameters=5),),
        way="sev_memory", at_return=False, essential=False, module=KVM_AMD, needs=MAPLE_TREE,
    ),
    Family(
        "gmem_create", Hook.CREATE, (Op.CREATE,), "who creates a guest_memfd",
        (Alternative("kvm_gmem_create", _GMEM,
                     takes=("kvm", "kvm_create_guest_memfd"), parameters=2),),
        way="gmem_create", essential=False, module=KVM,
    ),
    Family(
        "gmem_fault", Hook.FAULT, (Op.FAULT,), "the host's page faults in guest_memfds",
        (Alternative("kvm_gmem_fault_user_mapping", "virt/kvm/guest_memfd.c, since 6.18",
                     takes=("vm_fault",), parameters=1),),
        way="fault", essential=False, module=KVM,
    ),
    Family(
        "gmem_fallocate", Hook.ALLOCATE, ALLOCATES, "fallocate and hole-punching of guest_memfds",
        (Alternative("kvm_gmem_fallocate", _GMEM, takes=("file",), parameters=4),),
        "allocate", essential=False, module=KVM,
    ),
    Family(
        "gmem_setattr", Hook.SETATTR, SETS_ATTRIBUTES, "truncate and chmod of guest_memfds",
        (Alternative("kvm_gmem_setattr", _GMEM, pointers=SETATTR, parameters=3,
                     defines=(("ARG_SETATTR_DENTRY", 1), ("ARG_SETATTR_IATTR", 2))),),
        "setattr", essential=False, module=KVM,
    ),
    Family(
        "gmem_release", Hook.EVICT, (Op.EVICT,), "when a guest_memfd is gone",
        # It cannot be opened again: its one file is the object.
        (Alternative("kvm_gmem_release", _GMEM, takes=("inode", "file"), parameters=2),),
        "evict", at_return=False, essential=False, module=KVM,
    ),
    Family(
        "secretmem_create", Hook.CREATE, (Op.CREATE,), "memfd_secret calls",
        (Alternative("__x64_sys_memfd_secret", "mm/secretmem.c, since 5.14"),),
        way="secret_create", essential=False,
    ),
    Family(
        "secretmem_create_compat", Hook.CREATE, (Op.CREATE,), "memfd_secret by 32-bit system calls",
        (Alternative("__ia32_sys_memfd_secret",
                     "mm/secretmem.c by SYSCALL_DEFINE1, arch/x86/include/asm/syscall_wrapper.h"),),
        way="secret_create", essential=False,
    ),
    Family(
        "secretmem_setattr", Hook.SETATTR, SETS_ATTRIBUTES, "truncate and chmod of secret memory",
        (Alternative("secretmem_setattr", "mm/secretmem.c", pointers=SETATTR),),
        "setattr", essential=False,
    ),
    Family(
        "secretmem_fault", Hook.FAULT, (Op.FAULT,), "page faults in secret memory",
        (Alternative("secretmem_fault", "mm/secretmem.c", takes=("vm_fault",)),),
        way="fault", essential=False,
    ),
    Family(
        "secretmem_release", Hook.EVICT, (Op.EVICT,), "when secret memory is gone",
        (Alternative("secretmem_release", "mm/secretmem.c", takes=("inode", "file")),),
        "evict", at_return=False, essential=False,
    ),
    Family(
        "remote_access", Hook.REMOTE, (Op.REMOTE_READ, Op.REMOTE_WRITE),
        "ptrace and /proc/PID/mem",
        (Alternative("__access_remote_vm", "mm/memory.c", takes=("mm_struct",)),),
        way="remote", needs=MAPLE_TREE,
    ),
    Family(
        "pin_remote", Hook.PIN, (Op.REMOTE_READ, Op.REMOTE_WRITE, Op.PIN),
        "process_vm_readv, process_vm_writev, and vfio's pins",
        # process_vm_rw itself has too many parameters, and its iovecs are the caller's to change.
        (Alternative("pin_user_pages_remote", "mm/gup.c", takes=("mm_struct",)),),
        way="pin_remote", needs=MAPLE_TREE,
    ),
    Family(
        "pin", Hook.PIN, (Op.PIN,), f"{_PINS} (io_uring buffers until 6.x, RDMA, vhost-vdpa)",
        (Alternative("pin_user_pages", "mm/gup.c"),),
        way="pin", needs=MAPLE_TREE,
    ),
    Family(
        "pin_fast", Hook.PIN, (Op.PIN,), f"{_PINS} (io_uring buffers, KVM's for SEV)",
        (Alternative("pin_user_pages_fast", "mm/gup.c"),),
        way="pin", needs=MAPLE_TREE,
    ),
    Family(
        "pin_file", Hook.PIN, (Op.PIN,), "pins of files without a mapping (udmabuf, iommufd)",
        (Alternative("memfd_pin_folios", "mm/gup.c, since 6.11", takes=("file",)),),
        way="pin_file", essential=False,
    ),
    Family(
        "userfaultfd", Hook.UFFD, (Op.UFFD_REGISTER,), "userfaultfd registrations",
        # userfaultfd_register is a function of its own only since 6.12.
        (Alternative("userfaultfd_ioctl", "fs/userfaultfd.c; mm/ since 7.2", takes=("file",)),),
        way="uffd", essential=False, needs=UFFD,
    ),
    _fills("uffd_copy", "mfill_atomic_copy", "mcopy_atomic", "until 6.4",
           "pages that userfaultfd copies into place (UFFDIO_COPY)"),
    _fills("uffd_zero", "mfill_atomic_zeropage", "mfill_zeropage", "until 6.4",
           "pages that userfaultfd clears (UFFDIO_ZEROPAGE)"),
    _fills("uffd_continue", "mfill_atomic_continue", "mcopy_continue",
           "5.13 to 6.4", "pages that userfaultfd maps (UFFDIO_CONTINUE)"),
    Family(
        "ptrace", Hook.TRACE, (Op.TRACE,), "who attaches to whom by ptrace",
        (Alternative("ptrace_attach", "kernel/ptrace.c", takes=("task_struct",)),),
        way="attach",
    ),
    Family(
        "ptrace_traceme", Hook.TRACE, (Op.TRACE,), "who asks to be traced",
        (Alternative("ptrace_traceme", "kernel/ptrace.c"),),
        way="traceme", needs=(("task_struct", "parent"),),
    ),
    Family(
        "ptrace_link", Hook.TRACE, (Op.TRACE,), "the children that a traced task gets",
        # Children of a tracee; in 7.3 the others have a copy of their own of it (seen there).
        (Alternative("__ptrace_link", "kernel/ptrace.c", takes=("task_struct", "task_struct")),),
        way="trace", at_return=False,
    ),
    Family(
        "share_mm", Hook.SHARE_MM, (Op.SHARE_MM,),
        "processes in another one's address space (CLONE_VM without CLONE_THREAD)",
        (Alternative("wake_up_new_task", "kernel/sched/core.c", takes=("task_struct",)),),
        way="share_mm", at_return=False, needs=(("task_struct", "vfork_done"),),
    ),
    Family(
        "vfork_end", Hook.SHARE_MM, (Op.SHARE_MM,), "vfork children that execute nothing",
        (Alternative("do_exit", "kernel/exit.c"),),
        way="vfork_end", at_return=False,
        needs=(("task_struct", "vfork_done"), ("task_struct", "real_parent"),
               ("mm_struct", "mm_users")),
    ),
    Family(
        "send", Hook.RECEIVE, (Op.GIVE, Op.RECEIVE),
        "memory files that are sent over a unix socket, and by whom",
        (Alternative("unix_add_edges", 'net/unix/garbage.c, since 6.10; before, see "copy"',
                     takes=("scm_fp_list",)),),
        way="send", at_return=False, essential=False, needs=_MESSAGES,
    ),
    Family(
        "copy", Hook.RECEIVE, (Op.GIVE, Op.RECEIVE),
        "who sent a message that is looked at before it is taken",
        (Alternative("scm_fp_dup", "net/core/scm.c", takes=("scm_fp_list",)),),
        way="copy", needs=_MESSAGES,
    ),
    Family(
        "message", Hook.RECEIVE, (Op.RECEIVE,), "who sent a memory file that arrives",
        (Alternative("scm_detach_fds", "net/core/scm.c", takes=("msghdr", "scm_cookie")),),
        way="message", needs=_MESSAGES,
    ),
    Family(
        "message_end", Hook.RECEIVE, (Op.RECEIVE,),
        "when a message is gone (its sender would be remembered too long)",
        (Alternative("__scm_destroy", "net/core/scm.c", takes=("scm_cookie",)),),
        way="message_end", at_return=False, needs=_MESSAGES,
    ),
    Family(
        "pidfd_getfd", Hook.RECEIVE, (Op.RECEIVE,),
        "out of which process pidfd_getfd takes a descriptor",
        (Alternative("pidfd_getfd", "kernel/pid.c", takes=("pid",)),),
        way="pidfd_getfd", essential=False, needs=_PIDS,
    ),
    Family(
        "proc_link", Hook.OPEN, (Op.RECEIVE,), "whose link in /proc/PID/fd is followed",
        (Alternative("proc_pid_get_link", "fs/proc/base.c", takes=("dentry", "inode")),),
        way="proc_link", at_return=False, needs=PROC_PIDS,
    ),
    Family(
        "map_files", Hook.OPEN, (Op.RECEIVE,), "whose link in /proc/PID/map_files is followed",
        (Alternative("proc_map_files_get_link", "fs/proc/base.c", takes=("dentry", "inode")),),
        way="map_files", at_return=False, essential=False, needs=PROC_PIDS,
    ),
    Family(
        "jump", Hook.OPEN, (Op.RECEIVE,), "where links in /proc lead to",
        (Alternative("nd_jump_link", "fs/namei.c", takes=("path",)),),
        way="jump", at_return=False, needs=(("path", "dentry"),),
    ),
    Family(
        "open", Hook.OPEN, (Op.RECEIVE,), "memory files opened by /proc/PID/fd and map_files",
        # Recorded before a security module decides; it refuses hardly anything by then.
        (Alternative("security_file_open", "security/security.c", takes=("file",)),),
        way="open", at_return=False,
    ),
    Family(
        "advise", Hook.ADVISE, (Op.ADVISE,), "process_madvise in another process",
        (
            Alternative(
                "madvise_do_behavior", "mm/madvise.c, since 6.16: process_madvise calls it itself",
                defines=(("ADVISE_BY_STRUCT", 1),),
            ),
            Alternative("do_madvise", "mm/madvise.c, since 5.10", takes=("mm_struct",)),
        ),
        way="advise", at_return=False, essential=False,
    ),
    Family(
        "ring", Hook.RING, (Op.RING,), "io_uring's registered buffers, used from another process",
        (Alternative("io_submit_sqes", "io_uring/io_uring.c; fs/ until 5.19",
                     takes=("io_ring_ctx",)),),
        way="ring", at_return=False, essential=False, needs=(_RING_OWNER,),
    ),
    Family(
        "ring_file", Hook.RECEIVE, (Op.GIVE, Op.RECEIVE),
        "files that one io_uring puts into another one's table",
        (Alternative("__io_fixed_fd_install", "io_uring/filetable.c, since 6.0",
                     takes=("io_ring_ctx", "file")),),
        way="ring_file", at_return=False, essential=False, needs=(_RING_OWNER,),
    ),
    Family(
        "msg_ring", Hook.RECEIVE, (Op.GIVE, Op.RECEIVE),
        "out of whose io_uring such a file comes",
        (Alternative("io_msg_ring", "io_uring/msg_ring.c, since 5.18", takes=("io_kiocb",)),),
        way="msg_ring", essential=False, needs=(_RING_OWNER, ("io_kiocb", "ctx")),
    ),
    Family(
        "seccomp", Hook.RECEIVE, (Op.RECEIVE,),
        "which supervisor puts a file into the process that it supervises",
        (Alternative("seccomp_notify_ioctl", "kernel/seccomp.c, since 5.0", takes=("file",)),),
        way="seccomp", essential=False,
        needs=(("task_struct", "seccomp.filter"), ("seccomp_filter", "prev")),
    ),
    Family(
        "udmabuf", Hook.DEVICE, (Op.DEVICE,), "dma-bufs that are made of memfds",
        # Which files: the family "pin_file", where the kernel has it.
        (Alternative("udmabuf_create", "drivers/dma-buf/udmabuf.c",
                     takes=("miscdevice", "udmabuf_create_list")),),
        way="udmabuf", at_return=False, essential=False,
    ),
    Family(
        "mprotect", Hook.MPROTECT, (Op.MPROTECT,), "mprotect",
        (Alternative("do_mprotect_pkey", "mm/mprotect.c"),),
        way="mprotect", needs=MAPLE_TREE,
    ),
    Family(
        "receive", Hook.RECEIVE, (Op.RECEIVE,), "descriptors that arrive by a call",
        (Alternative("security_file_receive", "security/security.c; a socket of 7.3 does not call "
                     "receive_fd (seen there)", takes=("file",)),),
        way="receive",
    ),
    Family(
        "splice", Hook.READ, (Op.READ,),
        "splice, sendfile and copy_file_range out of a memory file",
        # Before, shmem_file_operations had generic_file_splice_read (6.1: mm/shmem.c), which asks
        # shmem_file_read_iter, and so does splicing with O_DIRECT since: the family "read".
        (Alternative("shmem_file_splice_read", "mm/shmem.c, since 6.5", takes=("file",)),),
        way="splice", essential=False,
    ),
    Family(
        "hugetlb_read", Hook.READ, (Op.READ,), "reads of hugetlb files",
        # hugetlbfs_file_operations has no splice_read: splice is refused, or asks this one.
        (Alternative("hugetlbfs_read_iter", "fs/hugetlbfs/inode.c", takes=("kiocb", "iov_iter")),),
        way="read", essential=False,
    ),
)  # fmt: skip

ALL_FAMILIES = (*FAMILIES, *AUDIT_FAMILIES)

KVM_FUNCTIONS = {
    module: tuple(
        alternative.symbol
        for family in AUDIT_FAMILIES
        if family.module == module
        for alternative in family.alternatives
    )
    for module in MODULES
}
