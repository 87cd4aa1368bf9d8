"""An operation's entry says what hooks, rules and audits do with it."""

import pytest

from tracer.audit.policy import WAYS
from tracer.kernel.audit_families import AUDIT_FAMILIES
from tracer.kernel.families import FAMILIES
from tracer.labels import describe
from tracer.rules import DECISIONS
from tracer.words import OPS, UNKNOWN, Hook, Op, ops

ALL = {family.name: family for family in (*FAMILIES, *AUDIT_FAMILIES)}


@pytest.mark.parametrize("op", Op, ids=lambda op: op.name.lower())
def test_an_operation_is_one_entry(op: Op) -> None:
    entry = OPS[op]
    families = [family for family in ALL.values() if op in family.ops]
    assert entry.meaning
    assert set(entry.hooks) == {family.hook for family in families}
    assert entry.judged == (op in DECISIONS)
    assert set(entry.ways) == {
        name
        for name, way in WAYS.items()
        if any(op in ALL[one].ops for some in way.families.values() for one in some)
    }


def test_operations_are_chosen_by_what_they_are() -> None:
    assert ops(gives_address=True) == {"mmap", "map", "unmap", "mremap"}
    assert ops(hooks=()) == {"open", "mapped", "attach"}
    assert ops(hooks=(Hook.SETATTR,)) == {"truncate", "chmod"}
    assert ops(first_of_range=True) == {
        "remote_read", "remote_write", "pin", "uffd_register", "uffd_fill", "mprotect",
        "sev_debug",
    }  # fmt: skip
    assert ops(ways=("reached",)) == {"trace", "share_mm", "ring", "advise", "device"}


@pytest.mark.parametrize("op", [op for op in Op if OPS[op].fields and OPS[op].hooks])
def test_what_an_operation_asks_for_can_be_read(op: Op) -> None:
    """One whose columns mean something is described by them."""
    assert describe(op.name.lower(), "memfd", 1, 8, 16, 4, UNKNOWN)
