"""What a decision was, once the rules and the kernel's answer are compared."""

from enum import IntEnum
from typing import NamedTuple


class Verdict(IntEnum):
    """Higher is worse: the worst of several decisions is their maximum."""

    ALLOWED = 0
    ERROR = 1
    """ENOMEM, EBADF, EINTR and the like."""
    BLOCKED = 2
    """Denied by a seal, or by a rule that guards sealing."""
    INDETERMINATE = 3
    """Raced seals or size, no entry or return, or a variant of the kernel that is not known."""
    UNEXPLAINED = 4
    """Denied as a seal denies: EPERM, EBUSY, EACCES."""
    BREACH = 5

    @property
    def word(self) -> str:
        """The word users see: ``blocked``."""
        return self.name.lower()

    @property
    def meaning(self) -> str:
        """What it says, in a few words."""
        return _MEANING[self]


_MEANING = {
    Verdict.ALLOWED: "went through, as it should",
    Verdict.ERROR: "failed for a reason that has nothing to do with seals",
    Verdict.BLOCKED: "a seal denied it, as it should",
    Verdict.INDETERMINATE: "the evidence is incomplete",
    Verdict.UNEXPLAINED: "denied, though no seal and no rule says so",
    Verdict.BREACH: "a seal should have denied it, and it went through",
}
SEVERITY = {
    Verdict.ALLOWED: 0,
    Verdict.ERROR: 0,
    Verdict.BLOCKED: 0,
    Verdict.INDETERMINATE: 1,
    Verdict.UNEXPLAINED: 2,
    Verdict.BREACH: 3,
}
"""Severity of a verdict, 0 (nothing to see) to 3."""

DENIALS = ("EPERM", "EBUSY", "EACCES")
"""Errors by which seals and what guards them deny; they need an explanation."""


def words() -> tuple[str, ...]:
    """The words of all verdicts, ``words()[verdict]``."""
    return tuple(verdict.word for verdict in Verdict)


class Outcome(NamedTuple):
    """What is known of a decision once it is judged; a few dozen differ in a whole recording."""

    verdict: Verdict
    expected: str
    """What the rules say the kernel should have answered: ``ok``, ``partial``, an errno symbol
    (``EPERM``), or ``unknown``."""
    reason: str
    """Seals that decide (``WRITE``, ``FUTURE_WRITE|WRITE``) or a short plain phrase; empty where
    nothing stands in the way."""
    rule: str
    """Name of the rule in :data:`tracer.rules.RULES`; empty where none applies."""
    hole: str | None
    """Name of the known kernel hole behind a breach (:data:`tracer.rules.variants.HOLES`)."""
    severity: int
    """:data:`SEVERITY` of the verdict; a late seal is raised by tracer.analysis.timeline."""
