"""The rules of the seals, as data: what each operation is refused for, in the kernel's own order.

The first certain rule whose conditions hold says what the kernel has to answer; where none holds,
the call may go through. Read from the kernel's source and seen on booted kernels: each rule names
the function that carries it.
"""

from collections.abc import Mapping

from tracer.rules.rule import SEALABLE, Fact, Rule
from tracer.rules.table import RULES
from tracer.words import Kind, Op

_KINDS = {op: {kind for rule in RULES if op in rule.ops for kind in rule.kinds} for op in Op}
DECISIONS: Mapping[Op, frozenset[Kind]] = {
    op: frozenset({Kind.UNKNOWN, *SEALABLE, *kinds}) for op, kinds in _KINDS.items() if kinds
}
"""What is a decision: an operation that has rules, on a file that can have seals (or may be one, if
its kind is not known), or on another kind that its rules are about.

Everything else is a fact: it has an answer and no verdict, and nothing counts it as a decision.
"""


def is_decision(op: int, kind: int) -> bool:
    """Whether ``op`` on a file of this kind is judged (numbers of :mod:`tracer.words`)."""
    return op in DECISIONS and kind in DECISIONS[Op(op)]


__all__ = ["DECISIONS", "RULES", "Fact", "Rule", "is_decision"]
