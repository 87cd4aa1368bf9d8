"""Known kernel holes: shipped kernels that let through what a seal forbids.

A hole never excuses anything. It gives a breach its name, so that a known one can be told from one
that nobody has seen before.
"""

from dataclasses import dataclass

from tracer.model.rules.facts import Fact
from tracer.model.rules.rule import NOTHING, SEALABLE, SHMEM
from tracer.model.seals import Seal
from tracer.model.words import Kind


@dataclass(frozen=True, kw_only=True)
class Hole:
    """Conditions beyond those of the broken rule, as in :class:`tracer.model.rules.Rule`."""

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
    Hole(
        name="future-write-merge",
        rule="mmap-write",
        kinds=SHMEM,
        without=int(Seal.WRITE),
        needs=Fact.MAPPED_WRITABLE,
        unless=Fact.FILE_MMAP_REACHED | Fact.CHECK_REACHED,
        text="Right behind a shared writable mapping from before F_SEAL_FUTURE_WRITE another one "
        "is granted: the kernel merges the two and never asks the file.",
        source="mm/mmap.c:mmap_region merges before ->mmap, where the check stood until 6.13 and "
        "6.12.92 (fa00b8ef1803); executed on 6.1.192",
    ),
    Hole(
        name="future-write-mremap",
        rule="mremap-write",
        without=int(Seal.WRITE),
        text="A shared writable mapping from before F_SEAL_FUTURE_WRITE can grow by mremap, and "
        "further pages of the file are writable then.",
        source="mm/mremap.c asks no seal on any version; executed on 5.10, 6.1, 6.12 and 7.3",
    ),
    Hole(
        name="hugetlb-future-write",
        rule="mmap-write",
        kinds=(Kind.HUGETLB,),
        without=int(Seal.WRITE),
        text="A hugetlb file sealed FUTURE_WRITE can be mapped shared and writable.",
        source="fs/hugetlbfs/inode.c:hugetlbfs_file_mmap asks seal_check_future_write since 5.13 "
        "and 5.10.38",
    ),
    Hole(
        name="hugetlb-grow",
        rule="mmap-hugetlb-grow",
        text="A writable mapping past the end of a hugetlb file makes it larger in spite of "
        "F_SEAL_GROW.",
        source="fs/hugetlbfs/inode.c:hugetlbfs_file_mmap, i_size_write; executed on 6.1.192, "
        "6.12.117 and 6.19.14",
    ),
    Hole(
        name="exec-implies-write",
        rule="add-exec-mapped",
        text="F_SEAL_EXEC on an executable file sets F_SEAL_WRITE although a shared mapping may "
        "write, and that mapping goes on writing.",
        source="mm/memfd.c:memfd_add_seals before 3b041514cb6e (7.1, 6.12.93); executed on 6.19.14",
    ),
    Hole(
        name="hugetlb-exec",
        rule="chmod-exec",
        kinds=(Kind.HUGETLB,),
        text="The execute bits of a hugetlb file sealed EXEC can change.",
        source="fs/hugetlbfs/inode.c:hugetlbfs_setattr has no such check on any version; executed "
        "on 6.18.44",
    ),
)
