"""Which source of events a host allows, judged on made-up trees."""

from collections.abc import Iterable
from pathlib import Path

import pytest

from tracer.kernel.requirements import checks
from tracer.kernel.requirements.checks import by_source, check_ftrace
from tracer.kernel.requirements.host import Finding, Host

GOOD = {
    "README": "tracing mini-HOWTO",
    "kprobe_events": "p:others/x do_exit\n",
    "trace_clock": "[local] global counter uptime perf mono mono_raw boot tai x86-tsc\n",
    "instances/.keep": "",
}
BCC = Finding("bcc", False, "no module bcc", "bcc is not installed", "apt-get install it")
KPROBES = Finding("kprobes", False, "no register_kprobe", "built without kprobes", "another kernel")
LOCKDOWN = Finding("lockdown", False, "confidentiality", "forbids kprobes", "boot otherwise")
TRAMPOLINES = Finding("trampolines", False, "no linker", "no trampolines", "kprobes can do")


def blocking(host: Host, findings: Iterable[Finding]) -> list[Finding]:
    return checks.blocking([*findings, *check_ftrace(host)], "ftrace")


def lay(root: Path, without: Iterable[str] = (), folder: str = "sys/kernel/tracing") -> Host:
    for name, text in GOOD.items():
        if name not in without:
            path = root / folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
    return Host(root, euid=0)


@pytest.mark.parametrize("folder", ["sys/kernel/tracing", "sys/kernel/debug/tracing"])
def test_a_host_without_bpf_can_do_with_ftrace(tmp_path: Path, folder: str) -> None:
    host = lay(tmp_path, folder=folder)
    assert [one.ok for one in check_ftrace(host)] == [True, True]
    assert blocking(host, [BCC, TRAMPOLINES]) == []
    assert checks.blocking([BCC, TRAMPOLINES]) == [BCC]
    assert by_source(host, [BCC]) == {"bpf": [BCC], "ftrace": []}


def test_looking_changes_nothing(tmp_path: Path) -> None:
    host = lay(tmp_path)
    check_ftrace(host)
    assert (tmp_path / "sys/kernel/tracing/kprobe_events").read_text() == GOOD["kprobe_events"]


@pytest.mark.parametrize(
    ("without", "name", "said"),
    [
        (["kprobe_events"], "kprobe_events", "CONFIG_KPROBE_EVENTS"),
        (["instances/.keep"], "trace_instances", "no instances"),
        (["trace_clock"], "trace_instances", "boot clock"),
        (list(GOOD), "kprobe_events", "tracefs is not mounted"),
    ],
)
def test_what_is_missing_is_named(tmp_path: Path, without: list[str], name: str, said: str) -> None:
    (found,) = blocking(lay(tmp_path, without), [BCC])
    assert found.name == name
    assert said in found.cause
    assert found.remedy


def test_kprobes_that_are_switched_off(tmp_path: Path) -> None:
    host = lay(tmp_path)
    switch = tmp_path / "sys/kernel/debug/kprobes/enabled"
    switch.parent.mkdir(parents=True)
    switch.write_text("0\n")
    (found,) = blocking(host, [])
    assert "switched off" in found.cause


def test_a_kernel_without_kprobes_is_told_so_and_not_to_mount_something(tmp_path: Path) -> None:
    assert blocking(lay(tmp_path, GOOD), [KPROBES, BCC]) == [KPROBES]


def test_perf_s_word_on_kprobes_is_not_the_last(tmp_path: Path) -> None:
    """The finding "kprobes" looks for the PMU, which tracefs does not need."""
    assert blocking(lay(tmp_path), [KPROBES]) == []


def test_confidentiality_forbids_both(tmp_path: Path) -> None:
    (tmp_path / "sys/kernel/tracing").mkdir(parents=True)  # what there is of tracefs then
    assert by_source(Host(tmp_path), [LOCKDOWN]) == {"bpf": [LOCKDOWN], "ftrace": [LOCKDOWN]}
