"""The hook families that only an audit needs: guest memory, and ways in beside a file's own calls.

KVM is a module: its families wait for it where it is not loaded, with the argument places that
all known kernels share, and its BTF is compared with these when it comes.
"""

from tracer.kernel.blind_spots import AUDIT_BLIND_SPOTS as AUDIT_BLIND_SPOTS
from tracer.kernel.families import SETATTR, Alternative, Family, Way
from tracer.model.words import Hook, Op

KVM = "kvm"
MAPLE_TREE = (("maple_range_64", "pivot"), ("mm_struct", "mm_mt.ma_root"))
"""Mappings are found by address in the maple tree (lib/maple_tree.c, since 6.1)."""

_PINS = "long-term pins"

AUDIT_FAMILIES = (
    Family(
        "memslot",
        "way",
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
        at_entry=True,
        at_return=True,
        way=Way.MEMSLOT,
        unseen="which memory a virtual machine is given",
        module=KVM,
    ),
    Family(
        "gmem_create",
        "way",
        Hook.CREATE,
        (Op.CREATE,),
        (
            Alternative(
                "kvm_gmem_create", "virt/kvm/guest_memfd.c, since 6.8",
                takes=("kvm", "kvm_create_guest_memfd"), parameters=2,
            ),
        ),
        at_entry=True,
        at_return=True,
        way=Way.GMEM_CREATE,
        unseen="who creates a guest_memfd",
        essential=False,
        module=KVM,
    ),
    Family(
        "gmem_fault",
        "way",
        Hook.FAULT,
        (Op.FAULT,),
        (
            Alternative(
                "kvm_gmem_fault_user_mapping", "virt/kvm/guest_memfd.c, since 6.18",
                takes=("vm_fault",), parameters=1,
            ),
        ),
        at_entry=True,
        at_return=True,
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
    Family(
        "secretmem_create",
        "way",
        Hook.CREATE,
        (Op.CREATE,),
        (Alternative("__x64_sys_memfd_secret", "mm/secretmem.c, since 5.14"),),
        at_entry=True,
        at_return=True,
        way=Way.SECRET_CREATE,
        unseen="memfd_secret calls",
        essential=False,
    ),
    Family(
        "secretmem_create_compat",
        "way",
        Hook.CREATE,
        (Op.CREATE,),
        (
            Alternative(
                "__ia32_sys_memfd_secret",
                "mm/secretmem.c by SYSCALL_DEFINE1, arch/x86/include/asm/syscall_wrapper.h",
            ),
        ),
        at_entry=True,
        at_return=True,
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
    Family(
        "secretmem_fault",
        "way",
        Hook.FAULT,
        (Op.FAULT,),
        (Alternative("secretmem_fault", "mm/secretmem.c", takes=("vm_fault",)),),
        at_entry=True,
        at_return=True,
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
    Family(
        "remote_access",
        "way",
        Hook.REMOTE,
        (Op.REMOTE_READ, Op.REMOTE_WRITE),
        (Alternative("__access_remote_vm", "mm/memory.c", takes=("mm_struct",)),),
        at_entry=True,
        at_return=True,
        way=Way.REMOTE,
        unseen="ptrace and /proc/PID/mem",
        needs=MAPLE_TREE,
    ),
    Family(
        "pin_remote",
        "way",
        Hook.PIN,
        (Op.REMOTE_READ, Op.REMOTE_WRITE, Op.PIN),
        # process_vm_rw itself has too many parameters, and its iovecs are the caller's to change.
        (Alternative("pin_user_pages_remote", "mm/gup.c", takes=("mm_struct",)),),
        at_entry=True,
        at_return=True,
        way=Way.PIN_REMOTE,
        unseen="process_vm_readv, process_vm_writev, and vfio's pins",
        needs=MAPLE_TREE,
    ),
    Family(
        "pin",
        "way",
        Hook.PIN,
        (Op.PIN,),
        (Alternative("pin_user_pages", "mm/gup.c"),),
        at_entry=True,
        at_return=True,
        way=Way.PIN,
        unseen=f"{_PINS} (io_uring buffers until 6.x, RDMA, vhost-vdpa)",
        needs=MAPLE_TREE,
    ),
    Family(
        "pin_fast",
        "way",
        Hook.PIN,
        (Op.PIN,),
        (Alternative("pin_user_pages_fast", "mm/gup.c"),),
        at_entry=True,
        at_return=True,
        way=Way.PIN,
        unseen=f"{_PINS} (io_uring buffers, KVM's for SEV)",
        needs=MAPLE_TREE,
    ),
    Family(
        "pin_file",
        "way",
        Hook.PIN,
        (Op.PIN,),
        (Alternative("memfd_pin_folios", "mm/gup.c, since 6.11", takes=("file",)),),
        at_entry=True,
        at_return=True,
        way=Way.PIN_FILE,
        unseen="pins of files without a mapping (udmabuf, iommufd)",
        essential=False,
    ),
    Family(
        "userfaultfd",
        "way",
        Hook.UFFD,
        (Op.UFFD_REGISTER,),
        # userfaultfd_register is a function of its own only since 6.12.
        (Alternative("userfaultfd_ioctl", "fs/userfaultfd.c; mm/ since 7.2", takes=("file",)),),
        at_entry=True,
        at_return=True,
        way=Way.UFFD,
        unseen="userfaultfd registrations",
        essential=False,
        needs=(*MAPLE_TREE, ("userfaultfd_ctx", "mm")),
    ),
    Family(
        "mprotect",
        "way",
        Hook.MPROTECT,
        (Op.MPROTECT,),
        (Alternative("do_mprotect_pkey", "mm/mprotect.c"),),
        at_entry=True,
        at_return=True,
        way=Way.MPROTECT,
        unseen="mprotect",
        needs=MAPLE_TREE,
    ),
    Family(
        "receive",
        "way",
        Hook.RECEIVE,
        (Op.RECEIVE,),
        (
            Alternative(
                "security_file_receive",
                "security/security.c; a socket of 7.3 does not call receive_fd (seen there)",
                takes=("file",),
            ),
        ),
        at_entry=True,
        at_return=True,
        way=Way.RECEIVE,
        unseen="descriptors that arrive by a socket or pidfd_getfd",
    ),
    Family(
        "splice",
        "way",
        Hook.READ,
        (Op.READ,),
        # Before, shmem_file_operations had generic_file_splice_read (6.1: mm/shmem.c), which asks
        # shmem_file_read_iter, and so does splicing with O_DIRECT since: the family "read".
        (Alternative("shmem_file_splice_read", "mm/shmem.c, since 6.5", takes=("file",)),),
        at_entry=True,
        at_return=True,
        way=Way.SPLICE,
        unseen="splice, sendfile and copy_file_range out of a memory file",
        essential=False,
    ),
    Family(
        "hugetlb_read",
        "way",
        Hook.READ,
        (Op.READ,),
        # hugetlbfs_file_operations has no splice_read: splice is refused, or asks this one.
        (
            Alternative(
                "hugetlbfs_read_iter", "fs/hugetlbfs/inode.c", takes=("kiocb", "iov_iter")
            ),
        ),
        at_entry=True,
        at_return=True,
        way=Way.READ,
        unseen="reads of hugetlb files",
        essential=False,
    ),
)  # fmt: skip
