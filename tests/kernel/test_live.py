"""``make live`` on a host that can be traced, of a distribution that has no apt."""

from tests.kernel.booted import Booted


def test_it_records_this_host(user_space: Booted) -> None:
    assert not user_space.failed_scenes, "\n".join(user_space.failed_scenes.values())
    live = user_space.told("live-without-apt")
    assert live.code == 0, live.stderr
    assert "setup: " not in live.stderr, "nothing is missing"
    assert (
        f" decisions of this host's own kernel, {user_space.release}. The first 30:" in live.stdout
    )
    assert "EPERM" in live.stdout
    assert "\nLost: nothing\n" in live.stdout


def test_without_bcc_it_says_what_to_install_and_records_by_ftrace(user_space: Booted) -> None:
    live = user_space.told("live-without-bcc")
    assert live.code == 0, live.stderr
    named = "the BPF Compiler Collection's Python package is missing: dnf install python3-bcc\n"
    assert f"setup: {named}" in live.stderr
    assert "cannot be traced by BPF:\n  bcc: " in live.stdout
    assert "\n    → dnf install python3-bcc\n" in live.stdout
    assert (
        f" decisions of this host's own kernel, {user_space.release}. The first 30:" in live.stdout
    )
    assert "EPERM" in live.stdout
