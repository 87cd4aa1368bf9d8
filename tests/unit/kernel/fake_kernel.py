"""Small kernels for the planner: real prototypes (KERNEL.md, section 3) as BTF and kallsyms."""

import re
from collections.abc import Collection, Iterable
from pathlib import Path

from tests.unit.kernel.btf_builder import ENUM, FWD, PTR, Builder
from tracer.kernel.btf import Btf
from tracer.kernel.plan import MethodChoice, Plan, Planner
from tracer.kernel.symbols import Symbols

_SINCE_510 = """
vm_mmap_pgoff(file *, ulong, ulong, ulong, ulong, ulong)
shmem_fallocate(file *, int, long, long)
hugetlbfs_fallocate(file *, int, long, long)
shmem_file_read_iter(kiocb *, iov_iter *)
hugetlbfs_read_iter(kiocb *, iov_iter *)
generic_file_write_iter(kiocb *, iov_iter *)
memfd_fcntl(file *, uint, ulong)
alloc_file_pseudo(inode *, vfsmount *, char *, int, file_operations *)
__x64_sys_memfd_create(pt_regs *)
__ia32_sys_memfd_create(pt_regs *)
__x64_sys_mremap(pt_regs *)
__ia32_sys_mremap(pt_regs *)
__x64_sys_remap_file_pages(pt_regs *)
__ia32_sys_remap_file_pages(pt_regs *)
security_bprm_creds_for_exec(linux_binprm *)
security_bprm_check(linux_binprm *)
open_exec(char *)
__x64_sys_execve(pt_regs *)
__x64_sys_execveat(pt_regs *)
__ia32_compat_sys_execve(pt_regs *)
__ia32_compat_sys_execveat(pt_regs *)
security_file_receive(file *)
scm_fp_dup(scm_fp_list *)
scm_detach_fds(msghdr *, scm_cookie *)
__scm_destroy(scm_cookie *)
userfaultfd_ioctl(file *, uint, ulong)
do_mprotect_pkey(ulong, ulong, ulong, int)
pin_user_pages_fast(ulong, int, uint, page **)
__ptrace_link(task_struct *, task_struct *, cred *)
ptrace_attach(task_struct *, long, ulong, ulong)
ptrace_traceme(void *)
wake_up_new_task(task_struct *)
do_exit(long)
pidfd_getfd(pid *, int)
proc_pid_get_link(dentry *, inode *, delayed_call *)
proc_map_files_get_link(dentry *, inode *, delayed_call *)
nd_jump_link(path *)
seccomp_notify_ioctl(file *, uint, ulong)
security_file_open(file *)
do_madvise(mm_struct *, ulong, ulong, int)
io_submit_sqes(io_ring_ctx *, uint)
shmem_evict_inode(inode *)
hugetlbfs_evict_inode(inode *)
"""
_UNTIL_67 = """
bprm_execve(linux_binprm *, int, filename *, int)
"""
_SINCE_68 = """
bprm_execve(linux_binprm *)
"""
_UNTIL_72 = """
vma_interval_tree_insert(vm_area_struct *, rb_root_cached *)
vma_interval_tree_insert_after(vm_area_struct *, vm_area_struct *, rb_root_cached *)
vma_interval_tree_remove(vm_area_struct *, rb_root_cached *)
"""
_SINCE_73 = """
bprm_open_interpreter(linux_binprm *, char *)
mapping_rmap_tree_insert(vm_area_struct *, address_space *)
mapping_rmap_tree_insert_after(vm_area_struct *, vm_area_struct *, address_space *)
mapping_rmap_tree_remove(vm_area_struct *, address_space *)
"""
_UNTIL_64 = """
mcopy_atomic(mm_struct *, ulong, ulong, ulong, atomic_t *, ulong)
mfill_zeropage(mm_struct *, ulong, ulong, atomic_t *)
"""
_OLD_MMAP = """
shmem_mmap(file *, vm_area_struct *)
hugetlbfs_file_mmap(file *, vm_area_struct *)
"""
_IDMAP = """
shmem_setattr(mnt_idmap *, dentry *, iattr *)
hugetlbfs_setattr(mnt_idmap *, dentry *, iattr *)
shmem_file_write_iter(kiocb *, iov_iter *)
shmem_file_splice_read(file *, long *, pipe_inode_info *, ulong, uint)
"""
_SINCE_61 = """
security_inode_init_security_anon(inode *, qstr *, inode *)
perf_event_mmap(vm_area_struct *)
unix_add_edges(scm_fp_list *, unix_sock *)
__access_remote_vm(mm_struct *, ulong, void *, int, uint)
__x64_sys_memfd_secret(pt_regs *)
__ia32_sys_memfd_secret(pt_regs *)
secretmem_fault(vm_fault *)
secretmem_release(inode *, file *)
__io_fixed_fd_install(io_ring_ctx *, file *, uint)
io_msg_ring(io_kiocb *, uint)
"""
_SINCE_612 = (
    _SINCE_68
    + """
pin_user_pages(ulong, ulong, uint, page **)
pin_user_pages_remote(mm_struct *, ulong, ulong, uint, page **, int *)
secretmem_setattr(mnt_idmap *, dentry *, iattr *)
memfd_pin_folios(file *, long, long, folio **, uint, ulong *)
mfill_atomic_copy(userfaultfd_ctx *, ulong, ulong, ulong, uint)
mfill_atomic_zeropage(userfaultfd_ctx *, ulong, ulong)
mfill_atomic_continue(userfaultfd_ctx *, ulong, ulong, uint)
udmabuf_create(miscdevice *, udmabuf_create_list *, udmabuf_create_item *)
"""
)
PROTOTYPES = {
    "5.10": _SINCE_510
    + _UNTIL_64
    + _UNTIL_67
    + _UNTIL_72
    + _OLD_MMAP
    + """
shmem_setattr(dentry *, iattr *)
hugetlbfs_setattr(dentry *, iattr *)
shmem_write_begin(file *, address_space *, long, uint, uint, page **, void **)
__access_remote_vm(task_struct *, mm_struct *, ulong, void *, int, uint)
pin_user_pages(ulong, ulong, uint, page **, vm_area_struct **)
pin_user_pages_remote(mm_struct *, ulong, ulong, uint, page **, vm_area_struct **, int *)
""",
    "6.1": _SINCE_510
    + _UNTIL_64
    + _UNTIL_67
    + _SINCE_61
    + _UNTIL_72
    + _OLD_MMAP
    + """
mcopy_continue(mm_struct *, ulong, ulong, atomic_t *)
shmem_setattr(user_namespace *, dentry *, iattr *)
hugetlbfs_setattr(user_namespace *, dentry *, iattr *)
shmem_write_begin(file *, address_space *, long, uint, page **, void **)
secretmem_setattr(user_namespace *, dentry *, iattr *)
pin_user_pages(ulong, ulong, uint, page **, vm_area_struct **)
pin_user_pages_remote(mm_struct *, ulong, ulong, uint, page **, vm_area_struct **, int *)
""",
    "6.12": _SINCE_510
    + _SINCE_61
    + _SINCE_612
    + _UNTIL_72
    + _OLD_MMAP
    + _IDMAP
    + """
memfd_check_seals_mmap(file *, ulong *)
shmem_write_begin(file *, address_space *, long, uint, folio **, void **)
""",
    "6.19": _SINCE_510
    + _SINCE_61
    + _SINCE_612
    + _UNTIL_72
    + _IDMAP
    + """
memfd_check_seals_mmap(file *, ulong *)
shmem_write_begin(kiocb *, address_space *, long, uint, folio **, void **)
shmem_mmap_prepare(vm_area_desc *)
hugetlbfs_file_mmap_prepare(vm_area_desc *)
""",
    "7.3": _SINCE_510
    + _SINCE_61
    + _SINCE_612
    + _SINCE_73
    + _IDMAP
    + """
madvise_do_behavior(ulong, ulong, madvise_behavior *)
memfd_check_seals_mmap(file *, vma_flags_t *)
shmem_write_begin(kiocb *, address_space *, long, uint, folio **, void **)
shmem_mmap_prepare(vm_area_desc *)
hugetlbfs_file_mmap(file *, vm_area_struct *)
""",
}
"""Debian's 5.10.223, 6.1.192, 6.12.107, 6.19.14 and 7.3.4."""

RELEASES = list(PROTOTYPES)
KVM = {
    "6.1": """
__kvm_set_memory_region(kvm *, kvm_userspace_memory_region *)
kvm_set_memory_region(kvm *, kvm_userspace_memory_region *)
kvm_arch_commit_memory_region(kvm *, kvm_memory_slot *, kvm_memory_slot *, int)
kvm_arch_init_vm(kvm *, ulong)
kvm_destroy_vm(kvm *)
kvm_vm_ioctl(file *, uint, ulong)
""",
    "7.3": """
kvm_set_memory_region(kvm *, kvm_userspace_memory_region2 *)
kvm_gmem_create(kvm *, kvm_create_guest_memfd *)
kvm_gmem_fallocate(file *, int, long, long)
kvm_gmem_setattr(mnt_idmap *, dentry *, iattr *)
kvm_gmem_fault_user_mapping(vm_fault *)
kvm_gmem_release(inode *, file *)
kvm_arch_commit_memory_region(kvm *, kvm_memory_slot *, kvm_memory_slot *, int)
kvm_arch_init_vm(kvm *, ulong)
kvm_destroy_vm(kvm *)
kvm_vm_ioctl(file *, uint, ulong)
kvm_range_has_memory_attributes(kvm *, long, long, ulong, ulong)
""",
}
"""The module kvm of two of them."""

KVM_AMD = {
    "6.12": """
sev_dbg_crypt(kvm *, kvm_sev_cmd *, int)
sev_pin_memory(kvm *, ulong, ulong, ulong *, int)
""",
    "7.3": """
sev_dbg_crypt(kvm *, kvm_sev_cmd *, uint)
sev_pin_page(kvm *, ulong, uint)
sev_pin_memory(kvm *, ulong, ulong, ulong *, uint)
""",
}
"""The module kvm_amd of Debian's generic flavour."""

Functions = dict[str, list[str]]


def functions(release: str, of: dict[str, str] = PROTOTYPES) -> Functions:
    """``{name: [parameter type, …]}``"""
    found = re.findall(r"^(\w+)\((.*)\)$", of[release], re.MULTILINE)
    return {name: params.split(", ") for name, params in found}


def _audit_structs(b: Builder, word: int, maple: bool) -> None:
    """What the families for audits ask for; ``maple``: mappings are in a maple tree, as since 6.1,
    when trampolines could ask for a function's answer for a year."""
    if maple:
        name = b.text("BPF_FUNC_get_func_ret")
        b.add(ENUM, "bpf_func_id", 4, vlen=1, rest=[name, 184])
        tree = b.composite("maple_tree", 16, [("ma_root", word, 64)])
        b.composite("maple_range_64", 256, [("pivot", word, 64)])
        b.composite("mm_struct", 64, [("mm_mt", tree, 0), ("mm_users", word, 448)])
    else:
        b.composite("mm_struct", 64, [("mm_users", word, 448)])
    b.composite("userfaultfd_ctx", 64, [("mm", word, 0)])
    context = b.composite("vm_userfaultfd_ctx", 8, [("ctx", word, 0)])
    b.composite("vm_area_struct", 8, [("vm_userfaultfd_ctx", context, 0)])
    seccomp = b.composite("seccomp", 8, [("filter", word, 0)])
    members = [("vfork_done", word, 0), ("pid_links", word, 64), ("seccomp", seccomp, 128)]
    members += [("real_parent", word, 192), ("parent", word, 256)]
    b.composite("task_struct", 40, members)
    for struct, member in (
        ("pid", "tasks"),
        ("proc_inode", "pid"),
        ("path", "dentry"),
        ("io_ring_ctx", "mm_account"),
        ("io_kiocb", "ctx"),
        ("scm_fp_list", "fp"),
        ("scm_cookie", "fp"),
        ("seccomp_filter", "prev"),
    ):
        b.composite(struct, 8, [(member, word, 0)])


def btf_of(found: Functions, twice: Collection[str] = (), maple: bool = True) -> Btf:
    """BTF with these functions; those in ``twice`` also with another prototype."""
    b = Builder()
    types = {"int": b.integer("int", 4), "uint": b.integer("unsigned int", 4)}
    types |= {"long": b.integer("long", 8), "ulong": b.integer("unsigned long", 8)}
    types["void"] = 0
    _audit_structs(b, types["ulong"], maple)

    def type_id(text: str) -> int:
        if text not in types:
            name = text.rstrip("* ")
            if name not in types:
                types[name] = b.add(FWD, name)
            types[text] = types[name]
            for _ in range(text.count("*")):
                types[text] = b.add(PTR, "", types[text])
        return types[text]

    for name, params in found.items():
        b.function(name, types["int"], [(f"a{at}", type_id(one)) for at, one in enumerate(params)])
    for name in twice:
        b.function(name, types["int"], [("other", types["ulong"])])
    return b.load()


def symbols_of(
    names: Collection[str], root: Path, modules: dict[str, str] | None = None
) -> Symbols:
    """Symbols with these functions, in no module unless ``modules`` says so."""
    found = [(name.encode(), (modules or {}).get(name, "").encode()) for name in names]
    return Symbols(found, root)


def planner(
    release: str,
    root: Path,
    without: Iterable[str] = (),
    trampolines: bool = True,
    kprobes: bool = True,
) -> Planner:
    found = functions(release)
    for name in without:
        del found[name]
    return Planner(btf_of(found), symbols_of(found, root), trampolines, kprobes)


def audit_plan(
    release: str, root: Path, kvm: str | None = None, method: MethodChoice = "auto"
) -> Plan:
    """The plan for an audit; ``kvm``: whose module is loaded."""
    found = functions(release)
    module = functions(kvm, KVM) if kvm else {}
    symbols = symbols_of([*found, *module], root, dict.fromkeys(module, "kvm"))
    modules = {"kvm": btf_of(module)} if kvm else {}
    return Planner(btf_of(found, maple=release != "5.10"), symbols, modules=modules).plan(
        method, audit=True
    )
