"""By BPF: nested calls, 32-bit system calls, wide arguments and limits, on every kernel."""

import pytest

from tests.kernel.awkward import COMPAT, check_compat, check_limits, check_nested, check_whole
from tests.kernel.booted import Booted


@pytest.fixture(params=["fexit", "kprobe"])
def method(request: pytest.FixtureRequest) -> str:
    value: str = request.param
    return value


@pytest.fixture
def name(kernel: Booted, method: str) -> str:
    found = f"awkward-{method}"
    check_whole(kernel, found, method)
    return found


@pytest.mark.parametrize("bits", COMPAT)
def test_32_bit_calls_are_recorded_too(kernel: Booted, name: str, bits: str) -> None:
    check_compat(kernel, name, bits)


def test_a_call_inside_another_takes_nothing_from_it(kernel: Booted, name: str) -> None:
    check_nested(kernel, name)


def test_what_a_limit_or_an_attribute_refuses(kernel: Booted, name: str) -> None:
    check_limits(kernel, name)


def test_append_only_was_tried_where_tmpfs_knows_it(kernel: Booted) -> None:
    """tmpfs has chattr since 6.6: a program that tries nothing shows."""
    flagged = kernel.run("awkward-kprobe").events["name"].astype(str).eq("memfd:append-only")
    assert flagged.sum() > 2 or kernel.name == "6.1"
