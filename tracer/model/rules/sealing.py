"""add_seals, in the order of mm/memfd.c:memfd_add_seals."""

from dataclasses import replace

from tracer.model.rules.facts import Fact
from tracer.model.rules.rule import (
    BIT5,
    EXEC,
    INACCESSIBLE,
    NO_BIT5,
    OK,
    SHMEM,
    Rule,
    refusal,
    unknown,
)
from tracer.model.seals import Seal
from tracer.model.verdicts import Verdict
from tracer.model.words import Kind, Op

_OPS = (Op.ADD_SEALS,)
_SOURCE = "mm/memfd.c:memfd_add_seals"
_MAPPED = "writable mapping exists"
_PROPOSAL = f"{_SOURCE}, tests/vm/inaccessible after list patch v4 01/12 of 18 Jan 2022"

ADD_SEALS_RULES = (
    replace(
        refusal(
            "add-seals-fd",
            _OPS,
            "EPERM",
            "descriptor not open for writing",
            f"{_SOURCE}, FMODE_WRITE",
            unless=Fact.FD_WRITE,
        ),
        broken=Verdict.BREACH,  # only who may write may seal
    ),
    unknown(
        "add-seals-unknown",
        _OPS,
        "unknown seal",
        f"{_SOURCE}, F_ALL_SEALS",
        needs=Fact.ASKS_UNKNOWN,
    ),
    unknown(
        "add-seals-no-exec",
        _OPS,
        "this kernel has no seal 0x20",
        f"{_SOURCE}, F_ALL_SEALS without F_SEAL_EXEC until 6.2",
        needs=Fact.ASKS_BIT5,
        variant=NO_BIT5,
    ),
    Rule(
        name="add-seals-sealed",
        ops=_OPS,
        errno="EPERM",
        seals=int(Seal.SEAL),
        text="No seal can be added to a file sealed SEAL, nor one that it has already.",
        source=_SOURCE,
    ),
    unknown(
        "add-inaccessible-hugetlb",
        _OPS,
        "hugetlb files cannot be inaccessible",
        _PROPOSAL,
        kinds=(Kind.HUGETLB,),
        needs=Fact.ASKS_BIT5,
        variant=INACCESSIBLE,
    ),
    Rule(
        name="add-inaccessible-raced",
        ops=_OPS,
        errno="EINVAL",
        kinds=SHMEM,
        without=BIT5,
        needs=Fact.ASKS_BIT5 | Fact.RACED_SIZE,
        variant=INACCESSIBLE,
        reason="the size changed meanwhile",
        denied=Verdict.INDETERMINATE,
        broken=Verdict.INDETERMINATE,
        text="Whether the file was empty when the kernel looked is not known.",
        source=_PROPOSAL,
    ),
    Rule(
        name="add-inaccessible-used",
        ops=_OPS,
        errno="EINVAL",
        kinds=SHMEM,
        without=BIT5,
        needs=Fact.ASKS_BIT5,
        unless=Fact.EMPTY,
        variant=INACCESSIBLE,
        reason="the file is not empty",
        text="What was accessible once cannot be made inaccessible.",
        source=_PROPOSAL,
    ),
    Rule(
        name="add-write-mapped",
        ops=_OPS,
        errno="EBUSY",
        needs=Fact.ADDS_WRITE | Fact.MAPPED_WRITABLE,
        unless=Fact.EXEC_BRINGS_WRITE,
        reason=_MAPPED,
        text="F_SEAL_WRITE cannot be added while a shared mapping may write.",
        source=f"{_SOURCE}, mapping_deny_writable",
    ),
    Rule(
        name="add-exec-mapped",
        ops=_OPS,
        errno="EBUSY",
        needs=Fact.EXEC_BRINGS_WRITE | Fact.MAPPED_WRITABLE,
        variant=EXEC,
        reason=_MAPPED,
        text="F_SEAL_EXEC on an executable file brings F_SEAL_WRITE, which cannot be added while a "
        "shared mapping may write.",
        source=f"{_SOURCE}; checked since 7.1 and 6.12.93 (3b041514cb6e)",
    ),
    Rule(
        name="add-write-pinned",
        ops=_OPS,
        errno="EBUSY",
        needs=Fact.ADDS_WRITE | Fact.SLOW,
        certain=False,
        reason="pages pinned",
        text="F_SEAL_WRITE cannot be added while something holds pages of the file; the kernel "
        "waits about 150 ms for them.",
        source="mm/memfd.c:memfd_wait_for_pins",
    ),
    Rule(
        name="add-write-busy",
        ops=_OPS,
        errno="EBUSY",
        needs=Fact.ADDS_WRITE,
        certain=False,
        reason="neither a writable mapping nor a wait for pinned pages was seen",
        denied=Verdict.INDETERMINATE,
        text="A mapping that came after the call began, or a wait for pins that a signal cut "
        "short.",
        source="mm/memfd.c:memfd_wait_for_pins",
    ),
    Rule(
        name="add-seals-kept",
        ops=_OPS,
        errno=OK,
        needs=Fact.SEALS_LOST,
        reason="a seal reported as added is not there",
        text="After a success the file has all seals that it had and that were asked for.",
        source=_SOURCE,
    ),
)
