"""create: memfd_create's flags, and the seals that a file is born with."""

from tracer.model.rules.facts import Fact
from tracer.model.rules.rule import BIT5, EXEC, INACCESSIBLE, NO_BIT5, OK, Rule, refusal, unknown
from tracer.model.seals import Seal
from tracer.model.verdicts import Verdict
from tracer.model.words import Kind, Op

_OPS = (Op.CREATE,)
_MADE = (Kind.MEMFD, Kind.HUGETLB)
_FAILED = (Kind.UNKNOWN,)
"""A call that failed made no file of any kind."""
_KINDS = (*_MADE, *_FAILED)
_SYSCALL = "mm/memfd.c:memfd_create"
_FLAGS = "0x8 and 0x10 came with 6.3 (105ff5339f49)"

CREATE_RULES = (
    unknown(
        "create-unknown",
        _OPS,
        "unknown flag",
        f"{_SYSCALL}, MFD_ALL_FLAGS",
        kinds=_KINDS,
        needs=Fact.ASKS_UNKNOWN,
    ),
    unknown(
        "create-no-noexec",
        _OPS,
        "this kernel has no MFD_NOEXEC_SEAL",
        f"{_SYSCALL}, MFD_ALL_FLAGS; {_FLAGS}",
        kinds=_KINDS,
        needs=Fact.ASKS_BIT3,
        variant=NO_BIT5,
    ),
    unknown(
        "create-no-exec",
        _OPS,
        "this kernel has no MFD_EXEC",
        f"{_SYSCALL}, MFD_ALL_FLAGS; {_FLAGS}",
        kinds=_KINDS,
        needs=Fact.ASKS_EXEC,
        variant=NO_BIT5,
    ),
    unknown(
        "create-no-exec-proposal",
        _OPS,
        "this kernel has no MFD_EXEC",
        f"{_SYSCALL}, MFD_ALL_FLAGS of list patch v4 02/12 of 18 Jan 2022",
        kinds=_KINDS,
        needs=Fact.ASKS_EXEC,
        variant=INACCESSIBLE,
    ),
    unknown(
        "create-inaccessible-sealable",
        _OPS,
        "MFD_INACCESSIBLE and MFD_ALLOW_SEALING exclude each other",
        f"{_SYSCALL}, list patch v4 02/12 of 18 Jan 2022",
        kinds=_KINDS,
        needs=Fact.ASKS_BIT3 | Fact.ASKS_SEALABLE,
        variant=INACCESSIBLE,
    ),
    unknown(
        "create-inaccessible-hugetlb",
        _OPS,
        "hugetlb files cannot be inaccessible",
        f"{_SYSCALL}, tests/vm/inaccessible after list patch v4 02/12 of 18 Jan 2022",
        kinds=_KINDS,
        needs=Fact.ASKS_BIT3 | Fact.ASKS_HUGETLB,
        variant=INACCESSIBLE,
    ),
    unknown(
        "create-exec-and-noexec",
        _OPS,
        "MFD_EXEC and MFD_NOEXEC_SEAL exclude each other",
        f"{_SYSCALL}, since 6.3 (105ff5339f49)",
        kinds=_KINDS,
        needs=Fact.ASKS_BIT3 | Fact.ASKS_EXEC,
    ),
    refusal(
        "create-sysctl",
        _OPS,
        "EACCES",
        "vm.memfd_noexec forbids executable memory files",
        "mm/memfd.c:check_sysctl_memfd_noexec, since 6.3; per pid namespace",
        kinds=_FAILED,
        unless=Fact.ASKS_BIT3,
        variant=EXEC,
        certain=False,
    ),
    Rule(
        name="create-sealed",
        ops=_OPS,
        errno=OK,
        kinds=_MADE,
        without=BIT5,
        needs=Fact.ASKS_BIT3,
        reason="born without the seal that was asked for",
        text="A file made with MFD_NOEXEC_SEAL (or MFD_INACCESSIBLE) is born with that seal.",
        source=f"{_SYSCALL}; list patch v4 02/12 says &= where it means |=, and never sets it",
    ),
    Rule(
        name="create-noexec",
        ops=_OPS,
        errno=OK,
        kinds=_MADE,
        needs=Fact.ASKS_BIT3 | Fact.EXECUTABLE,
        variant=EXEC,
        reason="born executable in spite of MFD_NOEXEC_SEAL",
        text="A file made with MFD_NOEXEC_SEAL has no execute bit.",
        source=f"{_SYSCALL}, since 6.3 (105ff5339f49)",
    ),
    Rule(
        name="create-unsealable",
        ops=_OPS,
        errno=OK,
        kinds=_MADE,
        without=int(Seal.SEAL) | BIT5,
        unless=Fact.ASKS_SEALABLE,
        reason="born sealable without MFD_ALLOW_SEALING",
        text="A file made without MFD_ALLOW_SEALING is born sealed SEAL, unless it is born sealed "
        "EXEC (or INACCESSIBLE).",
        source=f"{_SYSCALL}; vm.memfd_noexec can stand in for MFD_NOEXEC_SEAL since 6.3",
    ),
    Rule(
        name="create-sealable",
        ops=_OPS,
        errno=OK,
        kinds=_MADE,
        seals=int(Seal.SEAL),
        needs=Fact.ASKS_SEALABLE,
        reason="born unsealable in spite of MFD_ALLOW_SEALING",
        broken=Verdict.UNEXPLAINED,
        text="A file made with MFD_ALLOW_SEALING can be sealed.",
        source=_SYSCALL,
    ),
    Rule(
        name="create-other",
        ops=_OPS,
        errno=OK,
        kinds=_MADE,
        seals=Seal.SHRINK | Seal.GROW | Seal.WRITE | Seal.FUTURE_WRITE,
        reason="born with seals that nobody asked for",
        broken=Verdict.UNEXPLAINED,
        text="A new file has no seals beside SEAL and EXEC (or INACCESSIBLE).",
        source=_SYSCALL,
    ),
)
