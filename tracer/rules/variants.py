"""Documented differences between kernels that a verdict depends on, and known kernel holes.

No kernel version is ever looked at: the self-test finds out which choice is this kernel's. A
question that it did not answer is judged under every choice, and where these lead to different
verdicts, the decision is indeterminate. A hole (a shipped kernel lets through what a seal forbids)
never excuses anything: it gives a breach its name, so that a known one differs from a new one.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from tracer.rules.rule import NOTHING, SEALABLE, SHMEM, Fact
from tracer.words import Kind, Seal

Variants = Mapping[str, str]
"""Question -> choice of this kernel; a missing question was not answered."""


class Choice(NamedTuple):
    name: str
    text: str
    source: str


QUESTIONS: dict[str, tuple[Choice, ...]] = {
    "bit_0x20": (
        Choice("exec", "F_SEAL_EXEC; memfd_create knows MFD_NOEXEC_SEAL 0x8 and MFD_EXEC 0x10",
               "since 6.3 (6fd7353829ca, 105ff5339f49)"),
        Choice("inaccessible", "F_SEAL_INACCESSIBLE, born with MFD_INACCESSIBLE 0x8",
               "never merged: list patches v4 01/12 and 02/12 of 18 Jan 2022"),
        Choice("none", "an unknown bit, as are 0x8 and 0x10 of memfd_create", "until 6.2"),
    ),
    "shared_read_of_write_sealed": (
        Choice("denied",
               "EPERM for a shared read-only mapping of a file sealed WRITE, made through a "
               "descriptor that may write",
               "until 6.6, 5.10.240, 6.1.148, 6.6.102; again in 6.12.0 to 6.12.8"),
        Choice("allowed", "granted, and never to be made writable",
               "since 6.7 (except 6.12.0 to 6.12.8), 5.10.241, 6.1.149, 6.6.103"),
    ),
    "hugetlb_partial_punch": (
        Choice("checked",
               "EPERM for a hole within one huge page of a file sealed WRITE or FUTURE_WRITE",
               "fs/hugetlbfs/inode.c:hugetlbfs_punch_hole, 6.1 and later"),
        Choice("skipped", "0, and nothing is changed", "the same function in 5.10"),
    ),
    "grow_write_chunk": (
        Choice("folio_order",
               "a write is checked in chunks of the file's largest folio (objects: "
               "folio_order_max, 0: one page)",
               "mm/filemap.c:generic_perform_write: PAGE_SIZE until 6.10, mapping_max_folio_size "
               "since 6.11, whose order is in address_space.flags since 6.12"),
        Choice("largest", "in chunks of 2 MiB, though address_space.flags say nothing of it",
               "6.11, where large folios are one bit (AS_LARGE_FOLIO_SUPPORT)"),
    ),
}  # fmt: skip
"""What the self-test has to find out, and the answers that are documented."""

VARIANTS: dict[str, tuple[str, ...]] = {
    question: tuple(choice.name for choice in choices) for question, choices in QUESTIONS.items()
}

UNEXPLAINED = "unexplained"
"""What :func:`doubt` maps to where the self-test met an answer that no variant gives."""


def doubt(op: str, rule: str) -> str:
    """The question of `Variants` whether this kernel does ``op`` otherwise than ``rule`` says."""
    return f"{op}:{rule}"


@dataclass(frozen=True, kw_only=True)
class Hole:
    """Conditions beyond those of the broken rule, as in :class:`tracer.rules.Rule`."""

    name: str
    rule: str
    """Name of the rule that it breaks."""
    text: str
    source: str
    kinds: tuple[Kind, ...] = SEALABLE
    without: int = 0
    needs: Fact = NOTHING
    unless: Fact = NOTHING


HOLES: tuple[Hole, ...] = (
    Hole(name="future-write-merge", rule="mmap-write", kinds=SHMEM, without=int(Seal.WRITE),
         needs=Fact.MAPPED_WRITABLE, unless=Fact.FILE_MMAP_REACHED | Fact.CHECK_REACHED,
         text="Right behind a shared writable mapping from before F_SEAL_FUTURE_WRITE another one "
         "is granted: the kernel merges the two and never asks the file.",
         source="mm/mmap.c:mmap_region merges before ->mmap, where the check stood until 6.13 and "
         "6.12.92 (fa00b8ef1803); executed on 6.1.192"),
    Hole(name="future-write-mremap", rule="mremap-write", without=int(Seal.WRITE),
         text="A shared writable mapping from before F_SEAL_FUTURE_WRITE can grow by mremap, and "
         "further pages of the file are writable then.",
         source="mm/mremap.c asks no seal on any version; executed on 5.10, 6.1, 6.12 and 7.3"),
    Hole(name="hugetlb-future-write", rule="mmap-write", kinds=(Kind.HUGETLB,),
         without=int(Seal.WRITE),
         text="A hugetlb file sealed FUTURE_WRITE can be mapped shared and writable.",
         source="fs/hugetlbfs/inode.c:hugetlbfs_file_mmap asks seal_check_future_write since 5.13 "
         "and 5.10.38"),
    Hole(name="hugetlb-grow", rule="mmap-hugetlb-grow",
         text="A writable mapping past the end of a hugetlb file makes it larger in spite of "
         "F_SEAL_GROW.",
         source="fs/hugetlbfs/inode.c:hugetlbfs_file_mmap, i_size_write; executed on 6.1.192, "
         "6.12.117 and 6.19.14"),
    Hole(name="exec-implies-write", rule="add-exec-mapped",
         text="F_SEAL_EXEC on an executable file sets F_SEAL_WRITE although a shared mapping may "
         "write, and that mapping goes on writing.",
         source="mm/memfd.c:memfd_add_seals before 3b041514cb6e (7.1, 6.12.93); executed on "
         "6.19.14"),
    Hole(name="hugetlb-exec", rule="chmod-exec", kinds=(Kind.HUGETLB,),
         text="The execute bits of a hugetlb file sealed EXEC can change.",
         source="fs/hugetlbfs/inode.c:hugetlbfs_setattr has no such check on any version; "
         "executed on 6.18.44"),
)  # fmt: skip
