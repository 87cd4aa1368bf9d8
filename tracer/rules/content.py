"""Rules of write, read and punch_hole (the content), truncate, allocate (the size) and chmod."""

from tracer.rules.rule import BIT5, EXEC, INACCESSIBLE, PARTIAL, SHMEM, Fact, Rule, refusal
from tracer.words import Kind, Op, Seal

_WRITE = (Op.WRITE,)
_PUNCH_HOLE = (Op.PUNCH_HOLE,)
_NO_WRITE = Seal.WRITE | Seal.FUTURE_WRITE
_GROW = "mm/shmem.c:shmem_write_begin, asked for each chunk of mm/filemap.c:generic_perform_write"

WRITE_RULES = (
    refusal(
        "write-hugetlb",
        _WRITE,
        "EINVAL",
        "hugetlb files cannot be written",
        "fs/hugetlbfs/inode.c:hugetlbfs_file_operations has no write_iter (fs/read_write.c)",
        kinds=(Kind.HUGETLB,),
    ),
    Rule(
        name="write-sealed",
        ops=_WRITE,
        errno="EPERM",
        seals=int(_NO_WRITE),
        unless=Fact.EMPTY,
        text="A sealed file cannot be written.",
        source="mm/shmem.c:shmem_write_begin; FUTURE_WRITE since 5.1 (ab3948f58ff8)",
    ),
    Rule(
        name="write-grow-chunk",
        ops=_WRITE,
        errno="EPERM",
        kinds=SHMEM,
        seals=int(Seal.GROW),
        needs=Fact.NO_CHUNK_FITS,
        unless=Fact.EMPTY,
        broken_if=Fact.BEYOND,
        text="Of a write past the end of a file sealed GROW not even the first chunk fits.",
        source=f"{_GROW}: mapping_max_folio_size since 6.12, PAGE_SIZE until 6.10",
    ),
    Rule(
        name="write-grow-largest",
        ops=_WRITE,
        errno="EPERM",
        kinds=SHMEM,
        seals=int(Seal.GROW),
        needs=Fact.NO_HUGE_FITS,
        unless=Fact.EMPTY,
        variant=("grow_write_chunk", "largest"),
        broken_if=Fact.BEYOND,
        text="Of a write past the end of a file sealed GROW not even the first chunk fits.",
        source=f"{_GROW}: 2 MiB in 6.11, whose address_space.flags do not tell the folio order",
    ),
    Rule(
        name="write-inaccessible",
        ops=_WRITE,
        errno="EPERM",
        kinds=SHMEM,
        seals=BIT5,
        unless=Fact.EMPTY,
        variant=INACCESSIBLE,
        text="An inaccessible file cannot be written.",
        source="mm/shmem.c:shmem_write_begin, list patch v4 01/12 of 18 Jan 2022",
    ),
    Rule(
        name="write-grow",
        ops=_WRITE,
        errno=PARTIAL,
        kinds=SHMEM,
        seals=int(Seal.GROW),
        needs=Fact.PAST_END,
        unless=Fact.EMPTY,
        broken_if=Fact.BEYOND,
        text="A write past the end of a file sealed GROW stops at the last chunk that fits.",
        source=_GROW,
    ),
)

_CHANGES = (Op.WRITE, Op.ALLOCATE, Op.PUNCH_HOLE, Op.TRUNCATE, Op.CHMOD)

CHANGE_RULES = (
    # Only a call that has to change the mode as well gets as far as our hooks.
    refusal(
        "change-protected",
        _CHANGES,
        "EPERM",
        "append-only or immutable file",
        "fs/attr.c:may_setattr, asked for the mode that a set-uid file loses when it changes",
        needs=Fact.PROTECTED,
        certain=False,
    ),
)

READ_RULES = (
    Rule(
        name="read-inaccessible",
        ops=(Op.READ,),
        errno="EPERM",
        kinds=SHMEM,
        seals=BIT5,
        needs=Fact.BEFORE_END,
        variant=INACCESSIBLE,
        text="An inaccessible file cannot be read.",
        source="mm/shmem.c:shmem_file_read_iter, list patch v4 01/12 of 18 Jan 2022",
    ),
)

PUNCH_HOLE_RULES = (
    Rule(
        name="punch-hole",
        ops=_PUNCH_HOLE,
        errno="EPERM",
        kinds=SHMEM,
        seals=int(_NO_WRITE),
        text="No hole can be punched into a sealed file, wherever it is.",
        source="mm/shmem.c:shmem_fallocate",
    ),
    Rule(
        name="punch-hole-hugetlb",
        ops=_PUNCH_HOLE,
        errno="EPERM",
        kinds=(Kind.HUGETLB,),
        seals=int(_NO_WRITE),
        needs=Fact.WHOLE_HUGE,
        text="No hole can be punched into a sealed file.",
        source="fs/hugetlbfs/inode.c:hugetlbfs_punch_hole",
    ),
    Rule(
        name="punch-hole-hugetlb-part",
        ops=_PUNCH_HOLE,
        errno="EPERM",
        kinds=(Kind.HUGETLB,),
        seals=int(_NO_WRITE),
        variant=("hugetlb_partial_punch", "checked"),
        text="No hole can be punched into a sealed file, not even within one huge page.",
        source="fs/hugetlbfs/inode.c:hugetlbfs_punch_hole, 6.1 and later",
    ),
    Rule(
        name="punch-hole-inaccessible",
        ops=_PUNCH_HOLE,
        errno="EINVAL",
        kinds=SHMEM,
        seals=BIT5,
        needs=Fact.UNALIGNED,
        variant=INACCESSIBLE,
        text="Holes in an inaccessible file are whole pages.",
        source="mm/shmem.c:shmem_fallocate, list patch v4 01/12 of 18 Jan 2022",
    ),
)

_TRUNCATE = (Op.TRUNCATE,)
_CHMOD = (Op.CHMOD,)

SETATTR_RULES = (
    refusal(
        "chmod-owner",
        _CHMOD,
        "EPERM",
        "not the owner of the file",
        "fs/attr.c:setattr_prepare, inode_owner_or_capable",
        needs=Fact.NOT_OWNER,
        certain=False,
    ),
    Rule(
        name="chmod-exec",
        ops=(Op.CHMOD, Op.TRUNCATE),
        errno="EPERM",
        seals=BIT5,
        needs=Fact.EXEC_CHANGED,
        variant=EXEC,
        text="The execute bits of a file sealed EXEC cannot change.",
        source="mm/shmem.c:shmem_setattr, since 6.3 (6fd7353829ca)",
    ),
    refusal(
        "truncate-hugetlb-unaligned",
        _TRUNCATE,
        "EINVAL",
        "not a multiple of the huge page size",
        "fs/hugetlbfs/inode.c:hugetlbfs_setattr, before the seals",
        kinds=(Kind.HUGETLB,),
        needs=Fact.HUGE_UNALIGNED,
    ),
    Rule(
        name="truncate-shrink",
        ops=_TRUNCATE,
        errno="EPERM",
        seals=int(Seal.SHRINK),
        needs=Fact.SHRINKS,
        text="A file sealed SHRINK cannot become smaller.",
        source="mm/shmem.c:shmem_setattr, fs/hugetlbfs/inode.c:hugetlbfs_setattr",
    ),
    Rule(
        name="truncate-grow",
        ops=_TRUNCATE,
        errno="EPERM",
        seals=int(Seal.GROW),
        needs=Fact.PAST_END,
        text="A file sealed GROW cannot become larger.",
        source="mm/shmem.c:shmem_setattr, fs/hugetlbfs/inode.c:hugetlbfs_setattr",
    ),
    Rule(
        name="truncate-inaccessible",
        ops=_TRUNCATE,
        errno="EPERM",
        kinds=SHMEM,
        seals=BIT5,
        needs=Fact.HAS_SIZE,
        variant=INACCESSIBLE,
        text="The size of an inaccessible file can be set once.",
        source="mm/shmem.c:shmem_setattr, list patch v4 01/12 of 18 Jan 2022",
    ),
    Rule(
        name="truncate-inaccessible-unaligned",
        ops=_TRUNCATE,
        errno="EINVAL",
        kinds=SHMEM,
        seals=BIT5,
        needs=Fact.UNALIGNED,
        variant=INACCESSIBLE,
        text="The size of an inaccessible file is whole pages.",
        source="mm/shmem.c:shmem_setattr, list patch v4 01/12 of 18 Jan 2022",
    ),
)

FALLOCATE_MODE = refusal(
    "fallocate-mode",
    (Op.ALLOCATE, Op.PUNCH_HOLE),
    "EOPNOTSUPP",
    "kind of allocation that memory files do not know",
    "mm/shmem.c:shmem_fallocate, fs/hugetlbfs/inode.c:hugetlbfs_fallocate",
    needs=Fact.BAD_MODE,
)

ALLOCATE_RULES = (
    FALLOCATE_MODE,
    Rule(
        name="allocate-grow",
        ops=(Op.ALLOCATE,),
        errno="EPERM",
        seals=int(Seal.GROW),
        needs=Fact.PAST_END,
        text="Nothing can be allocated past the end of a file sealed GROW, not even with "
        "FALLOC_FL_KEEP_SIZE.",
        source="mm/shmem.c:shmem_fallocate, fs/hugetlbfs/inode.c:hugetlbfs_fallocate",
    ),
)
