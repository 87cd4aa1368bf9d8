"""What a host allows, judged on made-up /proc and /sys trees: as a whole, and around the kernel."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tests.unit.kernel.sound_host import NAMES, blockers, found, kallsyms, lay, link, status
from tracer.kernel.requirements.checks import abilities, blocking, check
from tracer.kernel.requirements.host import Host

Change = Callable[[Host], None]


def test_sound_host(tmp_path: Path) -> None:
    findings = check(lay(tmp_path))
    assert [finding.name for finding in findings] == NAMES
    assert [finding for finding in findings if finding.ok is not True] == []
    assert [finding for finding in findings if finding.cause or finding.remedy] == []
    assert blocking(findings) == []


def test_findings_are_json(tmp_path: Path) -> None:
    finding = found(lay(tmp_path, {"sys/kernel/btf/vmlinux": None}), "btf")
    assert json.loads(json.dumps(finding.to_json())) == {
        "name": "btf",
        "ok": False,
        "detail": "/sys/kernel/btf/vmlinux: No such file or directory",
        "cause": "the kernel was built without BTF (CONFIG_DEBUG_INFO_BTF)",
        "remedy": "use a kernel that has BTF, or trace another kernel: `make live` boots a stock "
        "Debian kernel in QEMU",
    }


def test_empty_host(tmp_path: Path) -> None:
    """Nothing readable at all: every finding still has its say in one line each."""
    findings = check(Host(tmp_path))
    assert [finding.name for finding in findings] == NAMES
    for finding in findings[1:]:
        assert finding.ok is not True
        assert finding.cause
        assert finding.remedy
        assert "\n" not in finding.cause + finding.remedy + finding.detail
    assert [f.name for f in blocking(findings)] == ["privilege", "btf", "symbols", "bcc"]


def test_bcc_of_pypi(tmp_path: Path) -> None:
    host = lay(tmp_path, {"site/bcc/libbcc.py": None})
    finding = found(host, "bcc")
    assert finding.detail == str(host.root / "site/bcc/__init__.py")
    assert finding.remedy == "pip uninstall bcc, then apt-get install python3-bpfcc"
    assert blockers(host) == ["bcc"]


@pytest.mark.parametrize(
    ("folder", "python"),
    [("python3/dist-packages", "python3"), ("python3.13/site-packages", "python3.13")],
)
def test_bcc_outside_the_environment(tmp_path: Path, folder: str, python: str) -> None:
    host = lay(
        tmp_path,
        {
            "site/bcc/libbcc.py": None,
            "site/bcc/__init__.py": None,
            f"usr/lib/{folder}/bcc/libbcc.py": "",
        },
    )
    assert found(host, "bcc").remedy == (
        f"make the environment with /usr/bin/{python} -m venv --system-site-packages"
    )


def test_folder_named_bcc_is_no_bcc(tmp_path: Path) -> None:
    host = lay(
        tmp_path, {"site/bcc/libbcc.py": None, "site/bcc/__init__.py": None, "site/bcc/notes": ""}
    )
    assert found(host, "bcc").remedy == "apt-get install python3-bpfcc"


@pytest.mark.parametrize(
    ("said", "remedy"),
    [
        ("ID=debian\n", "apt-get install python3-bpfcc"),
        ('NAME="Ubuntu"\nID=ubuntu\nID_LIKE=debian\n', "apt-get install python3-bpfcc"),
        ("ID=fedora\nVERSION_ID=42\n", "dnf install python3-bcc"),
        ('ID="rocky"\nID_LIKE="rhel centos fedora"\n', "dnf install python3-bcc"),
        ("ID=arch\n", "pacman -S python-bcc"),
        ("ID=endeavouros\nID_LIKE=arch\n", "pacman -S python-bcc"),
        ('ID="opensuse-tumbleweed"\nID_LIKE="opensuse suse"\n', "zypper install python3-bcc"),
        ('ID="opensuse-leap"\n', "zypper install python3-bcc"),
        ('ID="sles"\nID_LIKE="suse"\n', "zypper install python3-bcc"),
    ],
)
def test_a_package_has_the_distributions_name(tmp_path: Path, said: str, remedy: str) -> None:
    none = dict.fromkeys(("site/bcc/libbcc.py", "site/bcc/__init__.py"))
    assert found(lay(tmp_path, {**none, "etc/os-release": said}), "bcc").remedy == remedy


def test_a_distribution_that_nobody_knows(tmp_path: Path) -> None:
    none = dict.fromkeys(("site/bcc/libbcc.py", "site/bcc/__init__.py"))
    assert found(lay(tmp_path, {**none, "etc/os-release": "ID=void\n"}), "bcc").remedy == (
        "install the BPF Compiler Collection's Python package "
        "(python3-bpfcc, python3-bcc, python-bcc)"
    )


@pytest.mark.parametrize(
    ("checkout", "said", "boots"),
    [(True, "debian", True), (False, "debian", False), (True, "ubuntu", False)],
)
def test_make_live_is_advised_where_there_is_one(
    tmp_path: Path, checkout: bool, said: str, boots: bool
) -> None:
    """Not by an installed wheel, which has no Makefile, nor where Debian's kernels are not had."""
    changes: dict[str, str | bytes | None] = {"etc/os-release": f"ID={said}\nID_LIKE=debian\n"}
    host = replace(lay(tmp_path, {**changes, "sys/kernel/btf/vmlinux": None}), checkout=checkout)
    remedy = found(host, "btf").remedy
    assert remedy.startswith("use a kernel that has BTF, or trace another kernel: ")
    assert ("make live" in remedy) == boots


def test_tracefs_and_securityfs_not_mounted(tmp_path: Path) -> None:
    host = lay(
        tmp_path,
        {
            "proc/mounts": "sysfs /sys sysfs rw 0 0\n",
            "sys/kernel/security/lsm": None,
            "sys/kernel/tracing/available_filter_functions": None,
        },
    )
    assert found(host, "tracefs").remedy == "mount -t tracefs tracefs /sys/kernel/tracing"
    assert found(host, "securityfs").remedy == (
        "mount -t securityfs securityfs /sys/kernel/security"
    )
    assert blockers(host) == []


def nested_status(host: Host) -> None:
    (host.root / "proc/self/status").write_text(status(nspid="4711\t7"))


def other_namespace(host: Host) -> None:
    link(host.root, "proc/self/ns/pid", "pid:[4026532512]")


def other_than_first_process(host: Host) -> None:
    link(host.root, "proc/1/ns/pid", "pid:[4026532512]")


@pytest.mark.parametrize("make", [nested_status, other_namespace, other_than_first_process])
def test_container(tmp_path: Path, make: Change) -> None:
    host = lay(tmp_path)
    make(host)
    finding = found(host, "pid_namespace")
    assert finding.ok is False
    assert finding.remedy == "run on the host, or start the container with --pid=host"
    assert blockers(host) == []


def can(host: Host) -> dict[str, bool | None]:
    return {f"{one.source} {one.method}": one.ok for one in abilities(check(host))}


def test_what_sources_can_do(tmp_path: Path) -> None:
    assert can(lay(tmp_path)) == {"bpf fexit": True, "bpf kprobe": True}


def test_what_a_source_cannot_do(tmp_path: Path) -> None:
    no_kprobes = {
        "proc/kallsyms": kallsyms("register_kprobe"),
        "sys/bus/event_source/devices/kprobe/type": None,
    }
    assert can(lay(tmp_path, no_kprobes)) == {"bpf fexit": True, "bpf kprobe": False}


def test_what_is_not_known_leaves_a_method_open(tmp_path: Path) -> None:
    host = lay(tmp_path, {"sys/bus/event_source/devices/kprobe/type": None})
    assert can(host)["bpf kprobe"] is None
    assert abilities(check(host))[1].because == ("kprobes",)


def test_what_is_missing_for_all_is_named_for_each(tmp_path: Path) -> None:
    found = abilities(
        check(lay(tmp_path, {"site/bcc/libbcc.py": None, "site/bcc/__init__.py": None}))
    )
    assert [one.because for one in found] == [("bcc",), ("bcc",)]
    assert found[0].to_json() == {"can": False, "because": ["bcc"]}


def test_this_machine_is_judged_without_importing_bcc() -> None:
    code = (
        "import sys; from tracer.kernel.requirements.checks import check;"
        "from tracer.kernel.requirements.host import Host;"
        "print(*(finding.name for finding in check(Host.live())));"
        "print(sorted({'bcc', 'numpy', 'pandas'} & set(sys.modules)))"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.splitlines() == [" ".join(NAMES), "[]"]
