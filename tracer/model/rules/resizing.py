"""truncate, chmod and allocate: what changes the size or the mode."""

from tracer.model.rules.facts import Fact
from tracer.model.rules.rule import BIT5, EXEC, INACCESSIBLE, SHMEM, Rule, refusal
from tracer.model.seals import Seal
from tracer.model.words import Kind, Op

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
