"""mmap and what else calls do_mmap, in the order of its checks; mremap and mprotect."""

from tracer.rules.rule import BIT5, INACCESSIBLE, SHMEM, Fact, Rule, refusal
from tracer.words import Kind, Op, Seal

_MMAP = (Op.MMAP,)
_DO_MMAP = (Op.MMAP, Op.REMAP_FILE_PAGES)
"""remap_file_pages calls it with the rights of the mapping that is there (mm/mmap.c, since 4.0,
c8d78c1823f4); a private one is refused before (EINVAL)."""
_MPROTECT = (Op.MPROTECT,)
_MREMAP = (Op.MREMAP,)

MMAP_RULES = (
    refusal("mmap-empty", _MMAP, "EINVAL", "nothing to map", "mm/mmap.c:do_mmap", needs=Fact.EMPTY),
    refusal("mmap-locked", _MMAP, "EPERM", "may not lock memory (MAP_LOCKED)",
            "mm/mmap.c:do_mmap, can_do_mlock", needs=Fact.LOCKED, unless=Fact.CHECK_DENIED,
            certain=False),
    refusal("mmap-write-fd", _MMAP, "EACCES", "descriptor not open for writing",
            "mm/mmap.c:do_mmap, FMODE_WRITE", needs=Fact.SHARED | Fact.PROT_WRITE,
            unless=Fact.FD_WRITE),
    refusal("mmap-append-only", _DO_MMAP, "EACCES", "append-only file",
            "mm/mmap.c:do_mmap, IS_APPEND of a file open for writing; chattr +a on tmpfs since 6.6",
            needs=Fact.SHARED | Fact.FD_WRITE | Fact.PROTECTED),
    refusal("mmap-read-fd", _MMAP, "EACCES", "descriptor not open for reading",
            "mm/mmap.c:do_mmap, FMODE_READ", unless=Fact.FD_READ),
    refusal("mmap-noexec", _DO_MMAP, "EPERM", "mounted noexec",
            "mm/mmap.c:do_mmap, path_noexec; memfds are on a mount of the kernel's own, without it",
            kinds=(Kind.TMPFS, Kind.HUGETLB), needs=Fact.PROT_EXEC, unless=Fact.CHECK_DENIED,
            certain=False),
    Rule("mmap-write", _DO_MMAP, "EPERM", "A sealed file cannot be mapped shared and writable.",
         "mm/memfd.c:check_write_seal since 6.14 and 6.12.93 (fa00b8ef1803); before "
         "mm/mmap.c:mmap_region (WRITE) and include/linux/mm.h:seal_check_write (FUTURE_WRITE)",
         seals=Seal.WRITE | Seal.FUTURE_WRITE, needs=Fact.SHARED | Fact.PROT_WRITE),
    Rule("mmap-read", _DO_MMAP, "EPERM",
         "A file sealed WRITE cannot be mapped shared through a descriptor that may write, not "
         "even for reading.",
         "mm/mmap.c:mmap_region, mapping_map_writable for every VM_SHARED mapping until 6.6, "
         "5.10.240, 6.1.148, 6.6.102, and again in 6.12.0 to 6.12.8", seals=int(Seal.WRITE),
         needs=Fact.SHARED | Fact.FD_WRITE, variant=("shared_read_of_write_sealed", "denied")),
    Rule("mmap-hugetlb-grow", _DO_MMAP, "EPERM",
         "A writable mapping past the end would make the hugetlb file larger.",
         "what F_SEAL_GROW promises; fs/hugetlbfs/inode.c:hugetlbfs_file_mmap (i_size_write) does "
         "not ask on any version from 5.10 to 7.3", kinds=(Kind.HUGETLB,), seals=int(Seal.GROW),
         needs=Fact.PROT_WRITE | Fact.PAST_END, broken_if=Fact.BEYOND),
    Rule("mmap-inaccessible", _DO_MMAP, "EPERM",
         "An inaccessible file cannot be mapped at all, not even privately.",
         "mm/shmem.c:shmem_mmap, list patch v4 01/12 of 18 Jan 2022", kinds=SHMEM, seals=BIT5,
         variant=INACCESSIBLE),
    refusal("mmap-write-exec", _MMAP, "EACCES", "writable and executable at once (PR_SET_MDWE)",
            "mm/mmap.c:mmap_region, map_deny_write_exec, since 6.3",
            needs=Fact.PROT_WRITE | Fact.PROT_EXEC, certain=False),
)  # fmt: skip

MREMAP_RULES = (
    Rule("mremap-write", _MREMAP, "EPERM",
         "A shared writable mapping of a sealed file cannot grow: it would make further pages of "
         "the file writable.",
         "what F_SEAL_FUTURE_WRITE promises (fcntl(2)); mm/mremap.c does not ask on any version "
         "from 5.10 to 7.3", seals=Seal.WRITE | Seal.FUTURE_WRITE,
         needs=Fact.SHARED | Fact.PROT_WRITE | Fact.PAST_END),
    refusal("mremap-mseal", _MREMAP, "EPERM", "the mapping is sealed by mseal(2)",
            "mm/mseal.c:can_modify_mm, mm/mremap.c:vma_is_sealed; mseal(2) came with 6.10",
            certain=False),
)  # fmt: skip

MPROTECT_RULES = (
    # No seal code is there: mmap took VM_MAYWRITE from the mapping. Whether it did (a shared one,
    # made after the seal) no event tells, so this explains a denial and forbids no success.
    Rule("mprotect-write", _MPROTECT, "EACCES",
         "A shared mapping that was made after the seal cannot be made writable.",
         "mm/mprotect.c:do_mprotect_pkey, VM_MAYWRITE cleared by mm/memfd.c:check_write_seal",
         seals=Seal.WRITE | Seal.FUTURE_WRITE, needs=Fact.PROT_WRITE, certain=False),
    refusal("mprotect-write-fd", _MPROTECT, "EACCES", "descriptor not open for writing",
            "mm/mprotect.c:do_mprotect_pkey, VM_MAYWRITE cleared by mm/mmap.c:do_mmap",
            needs=Fact.PROT_WRITE, unless=Fact.FD_WRITE, certain=False),
    refusal("mprotect-exec", _MPROTECT, "EACCES",
            "may not be made executable (noexec mount or PR_SET_MDWE)",
            "mm/mprotect.c:do_mprotect_pkey, VM_MAYEXEC and map_deny_write_exec",
            needs=Fact.PROT_EXEC, certain=False),
)  # fmt: skip
