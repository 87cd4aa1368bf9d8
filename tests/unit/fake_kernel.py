"""Small kernels for the planner: real prototypes (KERNEL.md, section 3) as BTF and kallsyms."""

import re
from collections.abc import Collection
from pathlib import Path

from tests.unit.test_btf import FWD, PTR, Builder
from tracer.kernel.btf import Btf
from tracer.kernel.symbols import Symbols

_SINCE_510 = """
vm_mmap_pgoff(file *, ulong, ulong, ulong, ulong, ulong)
shmem_fallocate(file *, int, long, long)
hugetlbfs_fallocate(file *, int, long, long)
shmem_file_read_iter(kiocb *, iov_iter *)
generic_file_write_iter(kiocb *, iov_iter *)
memfd_fcntl(file *, uint, ulong)
__x64_sys_memfd_create(pt_regs *)
shmem_evict_inode(inode *)
hugetlbfs_evict_inode(inode *)
"""
_UNTIL_72 = """
vma_interval_tree_insert(vm_area_struct *, rb_root_cached *)
vma_interval_tree_insert_after(vm_area_struct *, vm_area_struct *, rb_root_cached *)
vma_interval_tree_remove(vm_area_struct *, rb_root_cached *)
"""
_SINCE_73 = """
mapping_rmap_tree_insert(vm_area_struct *, address_space *)
mapping_rmap_tree_insert_after(vm_area_struct *, vm_area_struct *, address_space *)
mapping_rmap_tree_remove(vm_area_struct *, address_space *)
"""
_OLD_MMAP = """
shmem_mmap(file *, vm_area_struct *)
hugetlbfs_file_mmap(file *, vm_area_struct *)
"""
_IDMAP = """
shmem_setattr(mnt_idmap *, dentry *, iattr *)
hugetlbfs_setattr(mnt_idmap *, dentry *, iattr *)
shmem_file_write_iter(kiocb *, iov_iter *)
"""
PROTOTYPES = {
    "5.10": _SINCE_510
    + _UNTIL_72
    + _OLD_MMAP
    + """
shmem_setattr(dentry *, iattr *)
hugetlbfs_setattr(dentry *, iattr *)
shmem_write_begin(file *, address_space *, long, uint, uint, page **, void **)
""",
    "6.1": _SINCE_510
    + _UNTIL_72
    + _OLD_MMAP
    + """
shmem_setattr(user_namespace *, dentry *, iattr *)
hugetlbfs_setattr(user_namespace *, dentry *, iattr *)
shmem_write_begin(file *, address_space *, long, uint, page **, void **)
""",
    "6.12": _SINCE_510
    + _UNTIL_72
    + _OLD_MMAP
    + _IDMAP
    + """
memfd_check_seals_mmap(file *, ulong *)
shmem_write_begin(file *, address_space *, long, uint, folio **, void **)
""",
    "6.19": _SINCE_510
    + _UNTIL_72
    + _IDMAP
    + """
memfd_check_seals_mmap(file *, ulong *)
shmem_write_begin(kiocb *, address_space *, long, uint, folio **, void **)
shmem_mmap_prepare(vm_area_desc *)
hugetlbfs_file_mmap_prepare(vm_area_desc *)
""",
    "7.3": _SINCE_510
    + _SINCE_73
    + _IDMAP
    + """
memfd_check_seals_mmap(file *, vma_flags_t *)
shmem_write_begin(kiocb *, address_space *, long, uint, folio **, void **)
shmem_mmap_prepare(vm_area_desc *)
hugetlbfs_file_mmap(file *, vm_area_struct *)
""",
}
"""Debian's 5.10.223, 6.1.192, 6.12.107, 6.19.14 and 7.3.4."""

Functions = dict[str, list[str]]


def functions(release: str) -> Functions:
    """``{name: [parameter type, …]}``"""
    found = re.findall(r"^(\w+)\((.*)\)$", PROTOTYPES[release], re.MULTILINE)
    return {name: params.split(", ") for name, params in found}


def btf_of(found: Functions, twice: Collection[str] = ()) -> Btf:
    """BTF with these functions; those in ``twice`` also with another prototype."""
    b = Builder()
    types = {"int": b.integer("int", 4), "uint": b.integer("unsigned int", 4)}
    types |= {"long": b.integer("long", 8), "ulong": b.integer("unsigned long", 8)}
    types["void"] = 0

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
