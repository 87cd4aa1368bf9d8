"""Rules of write, read and punch_hole (the content), truncate, allocate (the size) and chmod."""

from tracer.rules.rule import BIT5, EXEC, INACCESSIBLE, PARTIAL, SHMEM, Fact, Rule, refusal
from tracer.words import Kind, Op, Seal

_WRITE = (Op.WRITE,)
_PUNCH_HOLE = (Op.PUNCH_HOLE,)
_NO_WRITE = Seal.WRITE | Seal.FUTURE_WRITE
_GROW = "mm/shmem.c:shmem_write_begin, asked for each chunk of mm/filemap.c:generic_perform_write"

WRITE_RULES = (
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
)  # fmt: skip

_CHANGES = (Op.WRITE, Op.ALLOCATE, Op.PUNCH_HOLE, Op.TRUNCATE, Op.CHMOD)

CHANGE_RULES = (
    # Only a call that has to change the mode as well gets as far as our hooks.
    refusal("change-protected", _CHANGES, "EPERM", "append-only or immutable file",
            "fs/attr.c:may_setattr, asked for the mode that a set-uid file loses when it changes",
            needs=Fact.PROTECTED, certain=False),
)  # fmt: skip

READ_RULES = (
    Rule("read-inaccessible", (Op.READ,), "EPERM", "An inaccessible file cannot be read.",
         "mm/shmem.c:shmem_file_read_iter, list patch v4 01/12 of 18 Jan 2022", kinds=SHMEM,
         seals=BIT5, needs=Fact.BEFORE_END, variant=INACCESSIBLE),
)  # fmt: skip

PUNCH_HOLE_RULES = (
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
)  # fmt: skip

_TRUNCATE = (Op.TRUNCATE,)
_CHMOD = (Op.CHMOD,)

SETATTR_RULES = (
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
)  # fmt: skip

FALLOCATE_MODE = refusal("fallocate-mode", (Op.ALLOCATE, Op.PUNCH_HOLE), "EOPNOTSUPP",
                         "kind of allocation that memory files do not know",
                         "mm/shmem.c:shmem_fallocate, fs/hugetlbfs/inode.c:hugetlbfs_fallocate",
                         needs=Fact.BAD_MODE)  # fmt: skip

ALLOCATE_RULES = (
    FALLOCATE_MODE,
    Rule("allocate-grow", (Op.ALLOCATE,), "EPERM",
         "Nothing can be allocated past the end of a file sealed GROW, not even with "
         "FALLOC_FL_KEEP_SIZE.",
         "mm/shmem.c:shmem_fallocate, fs/hugetlbfs/inode.c:hugetlbfs_fallocate",
         seals=int(Seal.GROW), needs=Fact.PAST_END),
)  # fmt: skip
