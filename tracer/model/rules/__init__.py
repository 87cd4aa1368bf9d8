"""The rules of the seals, as data: what each operation is refused for, in the kernel's own order.

The first certain rule whose conditions hold says what the kernel has to answer; where none holds,
the call may go through. Read from the kernel's source and seen on booted kernels: each rule names
the function that carries it.
"""

from tracer.model.rules.content import CHANGE_RULES, PUNCH_HOLE_RULES, READ_RULES, WRITE_RULES
from tracer.model.rules.creating import CREATE_RULES
from tracer.model.rules.facts import Fact
from tracer.model.rules.mapping import MMAP_RULES, MPROTECT_RULES, MREMAP_RULES
from tracer.model.rules.resizing import ALLOCATE_RULES, SETATTR_RULES
from tracer.model.rules.rule import Rule
from tracer.model.rules.sealing import ADD_SEALS_RULES

RULES: tuple[Rule, ...] = (
    *MMAP_RULES,
    *MREMAP_RULES,
    *MPROTECT_RULES,
    *WRITE_RULES,
    *READ_RULES,
    *SETATTR_RULES,
    *ALLOCATE_RULES,
    *PUNCH_HOLE_RULES,
    *ADD_SEALS_RULES,
    *CREATE_RULES,
    *CHANGE_RULES,
)
"""All rules; those of one operation stand in the order of the kernel's checks."""

__all__ = ["RULES", "Fact", "Rule"]
