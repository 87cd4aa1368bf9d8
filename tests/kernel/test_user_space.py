"""Another Debian's Python, bcc and libraries; in it, a distribution that has no apt; and the lowest
versions of the dependencies."""

import re

from tests.kernel.booted import USER_SPACE, Booted


def test_it_is_another_user_space(user_space: Booted) -> None:
    """Of which tests/kernel/test_matrix.py asks what it asks of each kernel of the matrix."""
    assert user_space.facts("guest")["system"] == USER_SPACE.name


def test_the_fast_checks_pass(checked: tuple[int, str]) -> None:
    code, said = checked
    assert code == 0, said[-5000:]
    assert " passed" in said


def test_without_apt_make_live_records_this_host(user_space: Booted) -> None:
    assert not user_space.failed_scenes, "\n".join(user_space.failed_scenes.values())
    live = user_space.told("live-without-apt")
    assert live.code == 0, live.stderr
    assert "setup: " not in live.stderr, "nothing is missing"
    assert f" decisions of this host's own kernel, {user_space.release}: " in live.stdout
    assert re.search(r"^  .* -> EPERM  F_SEAL_\S+, set \S+ before by workload/", live.stdout, re.M)
    assert "\nLost: nothing\n" in live.stdout


def test_without_bcc_it_says_what_to_install_and_records_by_ftrace(
    user_space: Booted,
) -> None:
    live = user_space.told("live-without-bcc")
    assert live.code == 0, live.stderr
    named = "the BPF Compiler Collection's Python package is missing: dnf install python3-bcc\n"
    assert f"setup: {named}" in live.stderr
    assert "cannot be traced by BPF:\n  bcc: " in live.stdout
    assert "\n    → dnf install python3-bcc\n" in live.stdout
    assert f" decisions of this host's own kernel, {user_space.release}: " in live.stdout
    assert re.search(r"^  .* -> EPERM  F_SEAL_\S+, set \S+ before by workload/", live.stdout, re.M)
