"""The form of a rule: everything that decides is data, nothing is code."""

from dataclasses import dataclass, replace

from tracer.model import bit5
from tracer.model.rules.facts import Fact
from tracer.model.seals import Seal, names
from tracer.model.verdicts import Verdict
from tracer.model.words import Kind, Op

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


@dataclass(frozen=True, kw_only=True)
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
    """(question, choice) of :mod:`tracer.model.variants`: a rule of those kernels alone."""
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
