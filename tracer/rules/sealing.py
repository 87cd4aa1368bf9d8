"""Rules of add_seals, in the order of mm/memfd.c:memfd_add_seals, and of create.

Those of create are about memfd_create's flags, and the seals that a file is born with.
"""

from dataclasses import replace

from tracer.rules.rule import (
    BIT5,
    EXEC,
    INACCESSIBLE,
    NO_BIT5,
    OK,
    SHMEM,
    Fact,
    Rule,
    refusal,
    unknown,
)
from tracer.rules.verdicts import Verdict
from tracer.words import Kind, Op, Seal

_OPS = (Op.ADD_SEALS,)
_SOURCE = "mm/memfd.c:memfd_add_seals"
_MAPPED = "writable mapping exists"
_PROPOSAL = f"{_SOURCE}, tests/vm/inaccessible after list patch v4 01/12 of 18 Jan 2022"

ADD_SEALS_RULES = (
    # Only who may write may seal.
    replace(refusal("add-seals-fd", _OPS, "EPERM", "descriptor not open for writing",
                    f"{_SOURCE}, FMODE_WRITE", unless=Fact.FD_WRITE), broken=Verdict.BREACH),
    unknown("add-seals-unknown", _OPS, "unknown seal", f"{_SOURCE}, F_ALL_SEALS",
            needs=Fact.ASKS_UNKNOWN),
    unknown("add-seals-no-exec", _OPS, "this kernel has no seal 0x20",
            f"{_SOURCE}, F_ALL_SEALS without F_SEAL_EXEC until 6.2", needs=Fact.ASKS_BIT5,
            variant=NO_BIT5),
    Rule("add-seals-sealed", _OPS, "EPERM",
         "No seal can be added to a file sealed SEAL, nor one that it has already.", _SOURCE,
         seals=int(Seal.SEAL)),
    unknown("add-inaccessible-hugetlb", _OPS, "hugetlb files cannot be inaccessible", _PROPOSAL,
            kinds=(Kind.HUGETLB,), needs=Fact.ASKS_BIT5, variant=INACCESSIBLE),
    Rule("add-inaccessible-raced", _OPS, "EINVAL",
         "Whether the file was empty when the kernel looked is not known.", _PROPOSAL, kinds=SHMEM,
         without=BIT5, needs=Fact.ASKS_BIT5 | Fact.RACED_SIZE, variant=INACCESSIBLE,
         reason="the size changed meanwhile", denied=Verdict.INDETERMINATE,
         broken=Verdict.INDETERMINATE),
    Rule("add-inaccessible-used", _OPS, "EINVAL",
         "What was accessible once cannot be made inaccessible.", _PROPOSAL, kinds=SHMEM,
         without=BIT5, needs=Fact.ASKS_BIT5, unless=Fact.EMPTY, variant=INACCESSIBLE,
         reason="the file is not empty"),
    Rule("add-write-mapped", _OPS, "EBUSY",
         "F_SEAL_WRITE cannot be added while a shared mapping may write.",
         f"{_SOURCE}, mapping_deny_writable", needs=Fact.ADDS_WRITE | Fact.MAPPED_WRITABLE,
         unless=Fact.EXEC_BRINGS_WRITE, reason=_MAPPED),
    Rule("add-exec-mapped", _OPS, "EBUSY",
         "F_SEAL_EXEC on an executable file brings F_SEAL_WRITE, which cannot be added while a "
         "shared mapping may write.", f"{_SOURCE}; checked since 7.1 and 6.12.93 (3b041514cb6e)",
         needs=Fact.EXEC_BRINGS_WRITE | Fact.MAPPED_WRITABLE, variant=EXEC, reason=_MAPPED),
    Rule("add-write-pinned", _OPS, "EBUSY",
         "F_SEAL_WRITE cannot be added while something holds pages of the file; the kernel waits "
         "about 150 ms for them.", "mm/memfd.c:memfd_wait_for_pins",
         needs=Fact.ADDS_WRITE | Fact.SLOW, certain=False, reason="pages pinned"),
    Rule("add-write-busy", _OPS, "EBUSY",
         "A mapping that came after the call began, or a wait for pins that a signal cut short.",
         "mm/memfd.c:memfd_wait_for_pins", needs=Fact.ADDS_WRITE, certain=False,
         reason="neither a writable mapping nor a wait for pinned pages was seen",
         denied=Verdict.INDETERMINATE),
    Rule("add-seals-kept", _OPS, OK,
         "After a success the file has all seals that it had and that were asked for.", _SOURCE,
         needs=Fact.SEALS_LOST, reason="a seal reported as added is not there"),
)  # fmt: skip

_CREATE_OPS = (Op.CREATE,)
_MADE = (Kind.MEMFD, Kind.HUGETLB)
_FAILED = (Kind.UNKNOWN,)
"""A call that failed made no file of any kind."""
_KINDS = (*_MADE, *_FAILED)
_SYSCALL = "mm/memfd.c:memfd_create"
_FLAGS = "0x8 and 0x10 came with 6.3 (105ff5339f49)"

CREATE_RULES = (
    unknown("create-unknown", _CREATE_OPS, "unknown flag", f"{_SYSCALL}, MFD_ALL_FLAGS",
            kinds=_KINDS, needs=Fact.ASKS_UNKNOWN),
    unknown("create-no-noexec", _CREATE_OPS, "this kernel has no MFD_NOEXEC_SEAL",
            f"{_SYSCALL}, MFD_ALL_FLAGS; {_FLAGS}", kinds=_KINDS, needs=Fact.ASKS_BIT3,
            variant=NO_BIT5),
    unknown("create-no-exec", _CREATE_OPS, "this kernel has no MFD_EXEC",
            f"{_SYSCALL}, MFD_ALL_FLAGS; {_FLAGS}", kinds=_KINDS, needs=Fact.ASKS_EXEC,
            variant=NO_BIT5),
    unknown("create-no-exec-proposal", _CREATE_OPS, "this kernel has no MFD_EXEC",
            f"{_SYSCALL}, MFD_ALL_FLAGS of list patch v4 02/12 of 18 Jan 2022", kinds=_KINDS,
            needs=Fact.ASKS_EXEC, variant=INACCESSIBLE),
    unknown("create-inaccessible-sealable", _CREATE_OPS,
            "MFD_INACCESSIBLE and MFD_ALLOW_SEALING exclude each other",
            f"{_SYSCALL}, list patch v4 02/12 of 18 Jan 2022", kinds=_KINDS,
            needs=Fact.ASKS_BIT3 | Fact.ASKS_SEALABLE, variant=INACCESSIBLE),
    unknown("create-inaccessible-hugetlb", _CREATE_OPS, "hugetlb files cannot be inaccessible",
            f"{_SYSCALL}, tests/vm/inaccessible after list patch v4 02/12 of 18 Jan 2022",
            kinds=_KINDS, needs=Fact.ASKS_BIT3 | Fact.ASKS_HUGETLB, variant=INACCESSIBLE),
    unknown("create-exec-and-noexec", _CREATE_OPS,
            "MFD_EXEC and MFD_NOEXEC_SEAL exclude each other",
            f"{_SYSCALL}, since 6.3 (105ff5339f49)", kinds=_KINDS,
            needs=Fact.ASKS_BIT3 | Fact.ASKS_EXEC),
    refusal("create-sysctl", _CREATE_OPS, "EACCES",
            "vm.memfd_noexec forbids executable memory files",
            "mm/memfd.c:check_sysctl_memfd_noexec, since 6.3; per pid namespace", kinds=_FAILED,
            unless=Fact.ASKS_BIT3, variant=EXEC, certain=False),
    Rule("create-sealed", _CREATE_OPS, OK,
         "A file made with MFD_NOEXEC_SEAL (or MFD_INACCESSIBLE) is born with that seal.",
         f"{_SYSCALL}; list patch v4 02/12 says &= where it means |=, and never sets it",
         kinds=_MADE, without=BIT5, needs=Fact.ASKS_BIT3,
         reason="born without the seal that was asked for"),
    Rule("create-noexec", _CREATE_OPS, OK, "A file made with MFD_NOEXEC_SEAL has no execute bit.",
         f"{_SYSCALL}, since 6.3 (105ff5339f49)", kinds=_MADE,
         needs=Fact.ASKS_BIT3 | Fact.EXECUTABLE, variant=EXEC,
         reason="born executable in spite of MFD_NOEXEC_SEAL"),
    Rule("create-unsealable", _CREATE_OPS, OK,
         "A file made without MFD_ALLOW_SEALING is born sealed SEAL, unless it is born sealed "
         "EXEC (or INACCESSIBLE).",
         f"{_SYSCALL}; vm.memfd_noexec can stand in for MFD_NOEXEC_SEAL since 6.3", kinds=_MADE,
         without=int(Seal.SEAL) | BIT5, unless=Fact.ASKS_SEALABLE,
         reason="born sealable without MFD_ALLOW_SEALING"),
    Rule("create-sealable", _CREATE_OPS, OK, "A file made with MFD_ALLOW_SEALING can be sealed.",
         _SYSCALL, kinds=_MADE, seals=int(Seal.SEAL), needs=Fact.ASKS_SEALABLE,
         reason="born unsealable in spite of MFD_ALLOW_SEALING", broken=Verdict.UNEXPLAINED),
    Rule("create-other", _CREATE_OPS, OK,
         "A new file has no seals beside SEAL and EXEC (or INACCESSIBLE).", _SYSCALL, kinds=_MADE,
         seals=Seal.SHRINK | Seal.GROW | Seal.WRITE | Seal.FUTURE_WRITE,
         reason="born with seals that nobody asked for", broken=Verdict.UNEXPLAINED),
)  # fmt: skip
