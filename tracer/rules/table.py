"""The rules themselves: for each operation, in the order of the kernel's checks."""

from dataclasses import replace

from tracer.rules.rule import (
    BIT5,
    EXEC,
    INACCESSIBLE,
    NO_BIT5,
    OK,
    PARTIAL,
    SHMEM,
    Fact,
    Rule,
    refusal,
    unknown,
)
from tracer.rules.verdicts import Verdict
from tracer.words import Kind, Op, Seal

_MMAP = (Op.MMAP,)
_DO_MMAP = (Op.MMAP, Op.REMAP_FILE_PAGES)
"""remap_file_pages calls it with the rights of the mapping that is there (mm/mmap.c, since 4.0,
c8d78c1823f4); a private one is refused before (EINVAL)."""
_MPROTECT = (Op.MPROTECT,)
_MREMAP = (Op.MREMAP,)
_WRITE = (Op.WRITE,)
_PUNCH_HOLE = (Op.PUNCH_HOLE,)
_NO_WRITE = Seal.WRITE | Seal.FUTURE_WRITE
_GROW = "mm/shmem.c:shmem_write_begin, asked for each chunk of mm/filemap.c:generic_perform_write"
_RESIZES = (Op.WRITE, Op.ALLOCATE, Op.PUNCH_HOLE, Op.TRUNCATE)
_CHANGES = (Op.WRITE, Op.ALLOCATE, Op.PUNCH_HOLE, Op.TRUNCATE, Op.CHMOD)
_TRUNCATE = (Op.TRUNCATE,)
_CHMOD = (Op.CHMOD,)
_ADD_SEALS = (Op.ADD_SEALS,)
_ADDING = "mm/memfd.c:memfd_add_seals"
_MAPPED = "writable mapping exists"
_PROPOSAL = f"{_ADDING}, tests/vm/inaccessible after list patch v4 01/12 of 18 Jan 2022"
_CREATE = (Op.CREATE,)
_EXEC = (Op.EXEC,)
_CONVERT = (Op.CONVERT,)
_SET_ATTRIBUTES = "virt/kvm/kvm_main.c:kvm_vm_ioctl_set_mem_attributes, since 6.8"
_MAY_EXEC = "fs/exec.c:do_open_execat, fs/namei.c:may_open and generic_permission"
_MADE = (Kind.MEMFD, Kind.HUGETLB)
_FAILED = (Kind.UNKNOWN,)
"""A call that failed made no file of any kind."""
_MADE_OR_NOT = (*_MADE, *_FAILED)
_SYSCALL = "mm/memfd.c:memfd_create"
_FLAGS = "0x8 and 0x10 came with 6.3 (105ff5339f49)"

RULES: tuple[Rule, ...] = (
    # ---- mmap, and what else calls do_mmap
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
    # ---- mremap
    Rule("mremap-write", _MREMAP, "EPERM",
         "A shared writable mapping of a sealed file cannot grow: it would make further pages of "
         "the file writable.",
         "what F_SEAL_FUTURE_WRITE promises (fcntl(2)); mm/mremap.c does not ask on any version "
         "from 5.10 to 7.3", seals=Seal.WRITE | Seal.FUTURE_WRITE,
         needs=Fact.SHARED | Fact.PROT_WRITE | Fact.PAST_END),
    refusal("mremap-mseal", _MREMAP, "EPERM", "the mapping is sealed by mseal(2)",
            "mm/mseal.c:can_modify_mm, mm/mremap.c:vma_is_sealed; mseal(2) came with 6.10",
            certain=False),
    # ---- mprotect
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
    # ---- write
    refusal("write-hugetlb", _WRITE, "EINVAL", "hugetlb files cannot be written",
            "fs/hugetlbfs/inode.c:hugetlbfs_file_operations has no write_iter (fs/read_write.c)",
            kinds=(Kind.HUGETLB,)),
    Rule("write-sealed", _WRITE, "EPERM", "A sealed file cannot be written.",
         "mm/shmem.c:shmem_write_begin; FUTURE_WRITE since 5.1 (ab3948f58ff8)",
         seals=int(_NO_WRITE), unless=Fact.EMPTY),
    Rule("write-grow-chunk", _WRITE, "EPERM",
         "Of a write past the end of a file sealed GROW not even the first chunk fits.",
         f"{_GROW}: mapping_max_folio_size since 6.12, PAGE_SIZE until 6.10", kinds=SHMEM,
         seals=int(Seal.GROW), needs=Fact.NO_CHUNK_FITS, unless=Fact.EMPTY, broken_if=Fact.BEYOND),
    Rule("write-grow-largest", _WRITE, "EPERM",
         "Of a write past the end of a file sealed GROW not even the first chunk fits.",
         f"{_GROW}: 2 MiB in 6.11, whose address_space.flags do not tell the folio order",
         kinds=SHMEM, seals=int(Seal.GROW), needs=Fact.NO_HUGE_FITS, unless=Fact.EMPTY,
         variant=("grow_write_chunk", "largest"), broken_if=Fact.BEYOND),
    Rule("write-inaccessible", _WRITE, "EPERM", "An inaccessible file cannot be written.",
         "mm/shmem.c:shmem_write_begin, list patch v4 01/12 of 18 Jan 2022", kinds=SHMEM,
         seals=BIT5, unless=Fact.EMPTY, variant=INACCESSIBLE),
    Rule("write-grow", _WRITE, PARTIAL,
         "A write past the end of a file sealed GROW stops at the last chunk that fits.", _GROW,
         kinds=SHMEM, seals=int(Seal.GROW), needs=Fact.PAST_END, unless=Fact.EMPTY,
         broken_if=Fact.BEYOND),
    # ---- read
    Rule("read-inaccessible", (Op.READ,), "EPERM", "An inaccessible file cannot be read.",
         "mm/shmem.c:shmem_file_read_iter, list patch v4 01/12 of 18 Jan 2022", kinds=SHMEM,
         seals=BIT5, needs=Fact.BEFORE_END, variant=INACCESSIBLE),
    # ---- truncate and chmod
    refusal("chmod-owner", _CHMOD, "EPERM", "not the owner of the file",
            "fs/attr.c:setattr_prepare, inode_owner_or_capable", needs=Fact.NOT_OWNER,
            certain=False),
    Rule("chmod-exec", (Op.CHMOD, Op.TRUNCATE), "EPERM",
         "The execute bits of a file sealed EXEC cannot change.",
         "mm/shmem.c:shmem_setattr, since 6.3 (6fd7353829ca)", seals=BIT5, needs=Fact.EXEC_CHANGED,
         variant=EXEC),
    refusal("truncate-hugetlb-unaligned", _TRUNCATE, "EINVAL",
            "not a multiple of the huge page size",
            "fs/hugetlbfs/inode.c:hugetlbfs_setattr, before the seals", kinds=(Kind.HUGETLB,),
            needs=Fact.HUGE_UNALIGNED),
    Rule("truncate-shrink", _TRUNCATE, "EPERM", "A file sealed SHRINK cannot become smaller.",
         "mm/shmem.c:shmem_setattr, fs/hugetlbfs/inode.c:hugetlbfs_setattr", seals=int(Seal.SHRINK),
         needs=Fact.SHRINKS),
    Rule("truncate-grow", _TRUNCATE, "EPERM", "A file sealed GROW cannot become larger.",
         "mm/shmem.c:shmem_setattr, fs/hugetlbfs/inode.c:hugetlbfs_setattr", seals=int(Seal.GROW),
         needs=Fact.PAST_END),
    Rule("truncate-inaccessible", _TRUNCATE, "EPERM",
         "The size of an inaccessible file can be set once.",
         "mm/shmem.c:shmem_setattr, list patch v4 01/12 of 18 Jan 2022", kinds=SHMEM, seals=BIT5,
         needs=Fact.HAS_SIZE, variant=INACCESSIBLE),
    Rule("truncate-inaccessible-unaligned", _TRUNCATE, "EINVAL",
         "The size of an inaccessible file is whole pages.",
         "mm/shmem.c:shmem_setattr, list patch v4 01/12 of 18 Jan 2022", kinds=SHMEM, seals=BIT5,
         needs=Fact.UNALIGNED, variant=INACCESSIBLE),
    # ---- fallocate
    refusal("fallocate-mode", (Op.ALLOCATE, Op.PUNCH_HOLE), "EOPNOTSUPP",
            "kind of allocation that memory files do not know",
            "mm/shmem.c:shmem_fallocate, fs/hugetlbfs/inode.c:hugetlbfs_fallocate",
            needs=Fact.BAD_MODE),
    Rule("allocate-grow", (Op.ALLOCATE,), "EPERM",
         "Nothing can be allocated past the end of a file sealed GROW, not even with "
         "FALLOC_FL_KEEP_SIZE.",
         "mm/shmem.c:shmem_fallocate, fs/hugetlbfs/inode.c:hugetlbfs_fallocate",
         seals=int(Seal.GROW), needs=Fact.PAST_END),
    # ---- punch_hole
    Rule("punch-hole", _PUNCH_HOLE, "EPERM",
         "No hole can be punched into a sealed file, wherever it is.", "mm/shmem.c:shmem_fallocate",
         kinds=SHMEM, seals=int(_NO_WRITE)),
    Rule("punch-hole-hugetlb", _PUNCH_HOLE, "EPERM", "No hole can be punched into a sealed file.",
         "fs/hugetlbfs/inode.c:hugetlbfs_punch_hole", kinds=(Kind.HUGETLB,), seals=int(_NO_WRITE),
         needs=Fact.WHOLE_HUGE),
    Rule("punch-hole-hugetlb-part", _PUNCH_HOLE, "EPERM",
         "No hole can be punched into a sealed file, not even within one huge page.",
         "fs/hugetlbfs/inode.c:hugetlbfs_punch_hole, 6.1 and later", kinds=(Kind.HUGETLB,),
         seals=int(_NO_WRITE), variant=("hugetlb_partial_punch", "checked")),
    Rule("punch-hole-inaccessible", _PUNCH_HOLE, "EINVAL",
         "Holes in an inaccessible file are whole pages.",
         "mm/shmem.c:shmem_fallocate, list patch v4 01/12 of 18 Jan 2022", kinds=SHMEM, seals=BIT5,
         needs=Fact.UNALIGNED, variant=INACCESSIBLE),
    # ---- add_seals, in the order of mm/memfd.c:memfd_add_seals
    # Only who may write may seal.
    replace(refusal("add-seals-fd", _ADD_SEALS, "EPERM", "descriptor not open for writing",
                    f"{_ADDING}, FMODE_WRITE", unless=Fact.FD_WRITE), broken=Verdict.BREACH),
    unknown("add-seals-unknown", _ADD_SEALS, "unknown seal", f"{_ADDING}, F_ALL_SEALS",
            needs=Fact.ASKS_UNKNOWN),
    unknown("add-seals-no-exec", _ADD_SEALS, "this kernel has no seal 0x20",
            f"{_ADDING}, F_ALL_SEALS without F_SEAL_EXEC until 6.2", needs=Fact.ASKS_BIT5,
            variant=NO_BIT5),
    Rule("add-seals-sealed", _ADD_SEALS, "EPERM",
         "No seal can be added to a file sealed SEAL, nor one that it has already.", _ADDING,
         seals=int(Seal.SEAL)),
    unknown("add-inaccessible-hugetlb", _ADD_SEALS, "hugetlb files cannot be inaccessible",
            _PROPOSAL, kinds=(Kind.HUGETLB,), needs=Fact.ASKS_BIT5, variant=INACCESSIBLE),
    Rule("add-inaccessible-raced", _ADD_SEALS, "EINVAL",
         "Whether the file was empty when the kernel looked is not known.", _PROPOSAL, kinds=SHMEM,
         without=BIT5, needs=Fact.ASKS_BIT5 | Fact.RACED_SIZE, variant=INACCESSIBLE,
         reason="the size changed meanwhile", denied=Verdict.INDETERMINATE,
         broken=Verdict.INDETERMINATE),
    Rule("add-inaccessible-used", _ADD_SEALS, "EINVAL",
         "What was accessible once cannot be made inaccessible.", _PROPOSAL, kinds=SHMEM,
         without=BIT5, needs=Fact.ASKS_BIT5, unless=Fact.EMPTY, variant=INACCESSIBLE,
         reason="the file is not empty"),
    Rule("add-write-mapped", _ADD_SEALS, "EBUSY",
         "F_SEAL_WRITE cannot be added while a shared mapping may write.",
         f"{_ADDING}, mapping_deny_writable", needs=Fact.ADDS_WRITE | Fact.MAPPED_WRITABLE,
         unless=Fact.EXEC_BRINGS_WRITE, reason=_MAPPED),
    Rule("add-exec-mapped", _ADD_SEALS, "EBUSY",
         "F_SEAL_EXEC on an executable file brings F_SEAL_WRITE, which cannot be added while a "
         "shared mapping may write.", f"{_ADDING}; checked since 7.1 and 6.12.93 (3b041514cb6e)",
         needs=Fact.EXEC_BRINGS_WRITE | Fact.MAPPED_WRITABLE, variant=EXEC, reason=_MAPPED),
    Rule("add-write-pinned", _ADD_SEALS, "EBUSY",
         "F_SEAL_WRITE cannot be added while something holds pages of the file; the kernel waits "
         "about 150 ms for them.",
         "mm/memfd.c:memfd_wait_for_pins; before 6.0 (f2b277c4d1c6) huge pages look pinned, too",
         needs=Fact.ADDS_WRITE | Fact.SLOW, certain=False, reason="pages pinned"),
    Rule("add-write-busy", _ADD_SEALS, "EBUSY",
         "A mapping that came after the call began, or a wait for pins that a signal cut short.",
         "mm/memfd.c:memfd_wait_for_pins", needs=Fact.ADDS_WRITE, certain=False,
         reason="neither a writable mapping nor a wait for pinned pages was seen",
         denied=Verdict.INDETERMINATE),
    Rule("add-seals-kept", _ADD_SEALS, OK,
         "After a success the file has all seals that it had and that were asked for.", _ADDING,
         needs=Fact.SEALS_LOST, reason="a seal reported as added is not there"),
    # ---- create: the flags of memfd_create, and the seals that a file is born with
    unknown("create-unknown", _CREATE, "unknown flag", f"{_SYSCALL}, MFD_ALL_FLAGS",
            kinds=_MADE_OR_NOT, needs=Fact.ASKS_UNKNOWN),
    unknown("create-no-noexec", _CREATE, "this kernel has no MFD_NOEXEC_SEAL",
            f"{_SYSCALL}, MFD_ALL_FLAGS; {_FLAGS}", kinds=_MADE_OR_NOT, needs=Fact.ASKS_BIT3,
            variant=NO_BIT5),
    unknown("create-no-exec", _CREATE, "this kernel has no MFD_EXEC",
            f"{_SYSCALL}, MFD_ALL_FLAGS; {_FLAGS}", kinds=_MADE_OR_NOT, needs=Fact.ASKS_EXEC,
            variant=NO_BIT5),
    unknown("create-no-exec-proposal", _CREATE, "this kernel has no MFD_EXEC",
            f"{_SYSCALL}, MFD_ALL_FLAGS of list patch v4 02/12 of 18 Jan 2022", kinds=_MADE_OR_NOT,
            needs=Fact.ASKS_EXEC, variant=INACCESSIBLE),
    unknown("create-inaccessible-sealable", _CREATE,
            "MFD_INACCESSIBLE and MFD_ALLOW_SEALING exclude each other",
            f"{_SYSCALL}, list patch v4 02/12 of 18 Jan 2022", kinds=_MADE_OR_NOT,
            needs=Fact.ASKS_BIT3 | Fact.ASKS_SEALABLE, variant=INACCESSIBLE),
    unknown("create-inaccessible-hugetlb", _CREATE, "hugetlb files cannot be inaccessible",
            f"{_SYSCALL}, tests/vm/inaccessible after list patch v4 02/12 of 18 Jan 2022",
            kinds=_MADE_OR_NOT, needs=Fact.ASKS_BIT3 | Fact.ASKS_HUGETLB, variant=INACCESSIBLE),
    unknown("create-exec-and-noexec", _CREATE,
            "MFD_EXEC and MFD_NOEXEC_SEAL exclude each other",
            f"{_SYSCALL}, since 6.3 (105ff5339f49)", kinds=_MADE_OR_NOT,
            needs=Fact.ASKS_BIT3 | Fact.ASKS_EXEC),
    refusal("create-sysctl", _CREATE, "EACCES",
            "vm.memfd_noexec forbids executable memory files",
            "mm/memfd.c:check_sysctl_memfd_noexec, since 6.3; per pid namespace", kinds=_FAILED,
            unless=Fact.ASKS_BIT3 | Fact.CHECK_REACHED, variant=EXEC, certain=False),
    *(
        refusal(f"create-{name}", _CREATE, errno, "a security module forbids the file",
                "mm/memfd.c:memfd_create, security_inode_init_security_anon", kinds=_FAILED,
                needs=Fact.CHECK_DENIED, certain=False)
        for name, errno in (("forbidden", "EACCES"), ("not-permitted", "EPERM"))
    ),
    Rule("create-sealed", _CREATE, OK,
         "A file made with MFD_NOEXEC_SEAL (or MFD_INACCESSIBLE) is born with that seal.",
         f"{_SYSCALL}; list patch v4 02/12 says &= where it means |=, and never sets it",
         kinds=_MADE, without=BIT5, needs=Fact.ASKS_BIT3,
         reason="born without the seal that was asked for"),
    Rule("create-noexec", _CREATE, OK, "A file made with MFD_NOEXEC_SEAL has no execute bit.",
         f"{_SYSCALL}, since 6.3 (105ff5339f49)", kinds=_MADE,
         needs=Fact.ASKS_BIT3 | Fact.EXECUTABLE, variant=EXEC,
         reason="born executable in spite of MFD_NOEXEC_SEAL"),
    Rule("create-unsealable", _CREATE, OK,
         "A file made without MFD_ALLOW_SEALING is born sealed SEAL, unless it is born sealed "
         "EXEC (or INACCESSIBLE).",
         f"{_SYSCALL}; vm.memfd_noexec can stand in for MFD_NOEXEC_SEAL since 6.3", kinds=_MADE,
         without=int(Seal.SEAL) | BIT5, unless=Fact.ASKS_SEALABLE,
         reason="born sealable without MFD_ALLOW_SEALING"),
    Rule("create-sealable", _CREATE, OK, "A file made with MFD_ALLOW_SEALING can be sealed.",
         _SYSCALL, kinds=_MADE, seals=int(Seal.SEAL), needs=Fact.ASKS_SEALABLE,
         reason="born unsealable in spite of MFD_ALLOW_SEALING", broken=Verdict.UNEXPLAINED),
    Rule("create-other", _CREATE, OK,
         "A new file has no seals beside SEAL and EXEC (or INACCESSIBLE).", _SYSCALL, kinds=_MADE,
         seals=Seal.SHRINK | Seal.GROW | Seal.WRITE | Seal.FUTURE_WRITE,
         reason="born with seals that nobody asked for", broken=Verdict.UNEXPLAINED),
    # ---- exec: no seal refuses it. F_SEAL_EXEC keeps the execute bits as they are.
    # Of an inferred file nothing is sure: another thread may have put it at that number since.
    Rule("exec-sealed", _EXEC, "EACCES",
         "A file without an execute bit that is sealed EXEC can never be executed.",
         f"{_MAY_EXEC}, S_IXUGO, also for root; mm/shmem.c:shmem_setattr since 6.3 (6fd7353829ca)",
         seals=BIT5, unless=Fact.EXECUTABLE, variant=EXEC, reason="no execute bit, and sealed EXEC",
         # The kernel asks when it opens the file, which is before it is looked at here: meanwhile
         # its bits may be taken away and the seal added.
         denied=Verdict.ERROR, broken=Verdict.INDETERMINATE),
    refusal("exec-mode", _EXEC, "EACCES", "no execute bit", f"{_MAY_EXEC}, S_IXUGO, also for root",
            unless=Fact.EXECUTABLE),
    Rule("exec-inferred", _EXEC, "EACCES",
         "Refused before the kernel had the file in hand; which file that was is only inferred.",
         _MAY_EXEC, needs=Fact.INFERRED, certain=False,
         reason="which file it was is only inferred", denied=Verdict.INDETERMINATE),
    Rule("exec-inferred-forbidden", _EXEC, "EPERM",
         "Refused before the kernel had the file in hand; which file that was is only inferred.",
         "security/security.c:security_file_open and others", needs=Fact.INFERRED, certain=False,
         reason="which file it was is only inferred", denied=Verdict.INDETERMINATE),
    refusal("exec-forbidden", _EXEC, "EACCES",
            "a security module, or what it needs for an interpreter, refused it",
            "fs/exec.c:bprm_execve, security_bprm_check, security_bprm_creds_for_exec, open_exec",
            certain=False),
    refusal("exec-not-permitted", _EXEC, "EPERM", "a security module refused it",
            "fs/exec.c:bprm_execve, security_bprm_check, security_bprm_creds_for_exec",
            certain=False),
    # ---- convert: no seal has a say, so what else KVM refuses is an error with its cause.
    unknown("convert-attributes", _CONVERT, "an attribute that KVM does not know", _SET_ATTRIBUTES,
            kinds=_FAILED, needs=Fact.ASKS_UNKNOWN),
    # ---- whatever changes a file
    refusal("change-frozen", _RESIZES, "EPERM", "frozen: handed over by a live update",
            "mm/shmem.c:shmem_setattr, shmem_write_begin and shmem_fallocate, "
            "SHMEM_F_MAPPING_FROZEN in 7.2 and 7.3; set by mm/memfd_luo.c:memfd_luo_preserve",
            kinds=SHMEM, needs=Fact.FROZEN, certain=False),
    # Only a call that has to change the mode as well gets as far as our hooks.
    refusal("change-protected", _CHANGES, "EPERM", "append-only or immutable file",
            "fs/attr.c:may_setattr, asked for the mode that a set-uid file loses when it changes",
            needs=Fact.PROTECTED, certain=False),
)  # fmt: skip
"""All rules; those of one operation stand in the order of the kernel's checks."""
