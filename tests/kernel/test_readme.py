"""README's commands for root, in a booted kernel: each did what it is shown for."""

import pytest

from tests.kernel.booted import Booted
from tests.readme import ROOT_NEEDED

ON_ONE = True  # see conftest.py

pytestmark = pytest.mark.at_length


@pytest.mark.parametrize("command", ROOT_NEEDED)
def test_as_it_is_shown(kernel: Booted, command: str) -> None:
    facts = kernel.facts("readme")[command]
    said = facts["said"]
    assert "Traceback" not in said
    # A host without guests has nothing that the policy is about.
    assert facts["code"] == (4 if " audit " in command else 0), said
    if " trace " in command:
        [line, *_] = [line for line in said.splitlines() if "-> EPERM" in line]
        assert "mmap SHARED rw- 0+4096 memfd:ring -> EPERM  F_SEAL_FUTURE_WRITE" in line
