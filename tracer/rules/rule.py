"""The form of a rule: everything that decides is data, nothing is code.

What a rule may ask about a decision are small facts, one bit each; the lowest six are the record's
own flags (``tracer.words.Flag``) at their own positions.
"""

from dataclasses import KW_ONLY, dataclass, replace
from enum import IntFlag

from tracer import words as bit5
from tracer.rules.verdicts import Verdict
from tracer.words import Flag, Kind, Op, Seal, names


class Fact(IntFlag):
    RACED_SEALS = Flag.RACED_SEALS
    RACED_SIZE = Flag.RACED_SIZE
    ENTRY_MISSING = Flag.ENTRY_MISSING
    RETURN_MISSING = Flag.RETURN_MISSING
    CHECK_REACHED = Flag.CHECK_REACHED
    FILE_MMAP_REACHED = Flag.FILE_MMAP_REACHED

    FD_READ = 1 << 6
    FD_WRITE = 1 << 7
    """The descriptor's open mode (FMODE_READ, FMODE_WRITE)."""
    CHECK_DENIED = 1 << 8
    """The inner seal check itself gave an error (memfd_check_seals_mmap, shmem_write_begin)."""
    MAPPED_WRITABLE = 1 << 9
    """At entry the kernel counted mappings that may write (i_mmap_writable > 0)."""
    SLOW = 1 << 10
    """F_ADD_SEALS that took 100 ms or more: the kernel waited for pinned pages."""

    SHARED = 1 << 11
    PROT_WRITE = 1 << 12
    PROT_EXEC = 1 << 13
    LOCKED = 1 << 14
    """MAP_LOCKED."""
    EMPTY = 1 << 15
    """Length 0; of F_ADD_SEALS: the file's size is 0."""
    EXEC_CHANGED = 1 << 16
    """The new mode differs from the old one in an execute bit."""
    EXECUTABLE = 1 << 17
    """The file's mode has an execute bit."""
    NOT_OWNER = 1 << 18
    """The caller's uid is not the file's owner, or one of them is unknown."""
    UNALIGNED = 1 << 19
    """Not whole pages of 4 KiB."""
    HUGE_UNALIGNED = 1 << 20
    """Not a multiple of 2 MiB, so of no huge page size of x86-64."""
    BAD_MODE = 1 << 21
    """fallocate: other bits than KEEP_SIZE and PUNCH_HOLE."""
    WHOLE_HUGE = 1 << 22
    """The hole covers at least one whole huge page of 2 MiB."""
    CHUNK_UNKNOWN = 1 << 23
    """The largest folio of the file is not known, so neither is the chunk of a write."""
    BEYOND = 1 << 24
    """Bytes were written past the end of the file, or a mapping made it larger."""

    PAST_END = 1 << 25
    """What was asked for ends past the end of the file (truncate: a larger size; mremap: the new
    length is larger than the old one)."""
    SHRINKS = 1 << 26
    HAS_SIZE = 1 << 27
    BEFORE_END = 1 << 28
    """It begins within the file."""
    NO_PAGE_FITS = 1 << 29
    """Not even the first page of a write ends within the file."""
    NO_HUGE_FITS = 1 << 30
    """The same for a chunk of 2 MiB,"""
    NO_CHUNK_FITS = 1 << 31
    """and for a chunk of the file's own largest folio."""

    PROTECTED = 1 << 39
    """Refused, and the inode is append-only or, of other calls than mmap, immutable."""

    # From here on worked out from what F_ADD_SEALS, memfd_create or an execve asked for
    # (``ASKED_SHIFT``).
    ASKS_UNKNOWN = 1 << 40
    """A seal or a flag that none of these rules knows."""
    ASKS_BIT5 = 1 << 41
    """The seal 0x20."""
    ADDS_WRITE = 1 << 42
    """F_SEAL_WRITE would be new, be it by itself or with F_SEAL_EXEC."""
    EXEC_BRINGS_WRITE = 1 << 43
    """F_SEAL_WRITE would be new and comes with F_SEAL_EXEC alone."""
    SEALS_LOST = 1 << 44
    """Answered with success, yet a seal that was there or was added is not."""
    ASKS_SEALABLE = 1 << 45
    """MFD_ALLOW_SEALING."""
    ASKS_BIT3 = 1 << 46
    """Creation flag 0x8: MFD_NOEXEC_SEAL, in the proposal MFD_INACCESSIBLE."""
    ASKS_EXEC = 1 << 47
    """MFD_EXEC."""
    ASKS_HUGETLB = 1 << 48
    """MFD_HUGETLB."""
    INFERRED = 1 << 49
    """Of exec: which file it was follows from the descriptor that the call named."""

    FROZEN = 1 << 50
    """Refused, and a live update is to hand the file over to the next kernel. (In a key it stands
    in the place of LOCKED, which is mmap's alone.)"""


SIZE_FACTS = (
    Fact.PAST_END
    | Fact.SHRINKS
    | Fact.HAS_SIZE
    | Fact.BEFORE_END
    | Fact.NO_PAGE_FITS
    | Fact.NO_HUGE_FITS
    | Fact.NO_CHUNK_FITS
)
"""Facts that another size of the file can change."""

ASKED_SHIFT = 25
"""add_seals, create, exec and convert have no facts about the size: in their place stands what they
asked for, six bits and a seventh for anything beyond."""

SHMEM = (Kind.MEMFD, Kind.TMPFS)
"""Kinds that mm/shmem.c serves."""
SEALABLE = (*SHMEM, Kind.HUGETLB)
BIT5 = int(Seal.EXEC)
"""F_SEAL_EXEC, or F_SEAL_INACCESSIBLE of the proposal."""
EXEC = ("bit_0x20", "exec")
INACCESSIBLE = ("bit_0x20", "inaccessible")
NO_BIT5 = ("bit_0x20", "none")

NOTHING = Fact(0)
OK = "ok"
PARTIAL = "partial"


@dataclass(frozen=True)
class Rule:
    """One check of the kernel, or one promise. It holds where all its conditions hold."""

    name: str
    ops: tuple[Op, ...]
    errno: str
    """What the kernel answers: an errno symbol, ``partial`` (a write that stops before the end of
    the file), or ``ok`` for a promise about a success: a success on which the rest of the
    conditions holds breaks it."""
    text: str
    """For users: one plain sentence."""
    source: str
    """Where the check stands in the kernel tree, since when."""
    _: KW_ONLY
    kinds: tuple[Kind, ...] = SEALABLE
    seals: int = 0
    """Seals it stands for: at least one of them is set. 0: it is no seal's rule."""
    without: int = 0
    """None of these seals is set."""
    needs: Fact = NOTHING
    """All of these hold."""
    unless: Fact = NOTHING
    """None of these holds."""
    reason: str = ""
    """Why, in a few words; empty: the names of the seals."""
    variant: tuple[str, str] | None = None
    """(question, choice) of :mod:`tracer.rules.variants`: a rule of those kernels alone."""
    certain: bool = True
    """False: the event does not tell whether it applies, but if the answer is ``errno``, this
    explains it."""
    denied: Verdict = Verdict.BLOCKED
    """What a denial by this rule is."""
    broken: Verdict | None = Verdict.BREACH
    """What it is when it went through all the same; None: no seal's business, look further."""
    broken_if: Fact = NOTHING
    """If given, a success breaks the rule only where this holds."""

    def why(self, seals: int) -> str:
        """The reason on a file with these seals."""
        if self.reason:
            return self.reason
        meant = bit5.INACCESSIBLE if self.variant == INACCESSIBLE else bit5.EXEC
        return names(seals & self.seals, meant)


def refusal(
    name: str,
    ops: tuple[Op, ...],
    errno: str,
    reason: str,
    source: str,
    *,
    kinds: tuple[Kind, ...] = SEALABLE,
    needs: Fact = NOTHING,
    unless: Fact = NOTHING,
    variant: tuple[str, str] | None = None,
    certain: bool = True,
) -> Rule:
    """A rule that refuses for a reason that has nothing to do with seals."""
    return Rule(
        name=name,
        ops=ops,
        errno=errno,
        text=f"{reason[0].upper()}{reason[1:]}.",
        source=source,
        kinds=kinds,
        needs=needs,
        unless=unless,
        reason=reason,
        variant=variant,
        certain=certain,
        denied=Verdict.ERROR,
        broken=None,
    )


def unknown(
    name: str,
    ops: tuple[Op, ...],
    reason: str,
    source: str,
    *,
    needs: Fact,
    kinds: tuple[Kind, ...] = SEALABLE,
    variant: tuple[str, str] | None = None,
) -> Rule:
    """EINVAL for what the kernel does not know. One that takes it knows more than these rules."""
    rule = refusal(name, ops, "EINVAL", reason, source, needs=needs, kinds=kinds, variant=variant)
    return replace(rule, broken=Verdict.INDETERMINATE)
