"""Requirements: the architecture, privilege and lockdown."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.unit.kernel.sound_host import blockers, config, found, lay, status
from tracer.kernel.requirements.host import Finding


def test_other_architecture(tmp_path: Path) -> None:
    host = replace(lay(tmp_path), machine="aarch64")
    assert blockers(host) == ["architecture"]
    assert found(host, "architecture").cause == "this is aarch64; the hooks read x86-64 registers"


@pytest.mark.parametrize(
    ("capabilities", "ok"),
    [
        (1 << 21, True),  # CAP_SYS_ADMIN
        (1 << 38 | 1 << 39, True),  # CAP_PERFMON and CAP_BPF
        (1 << 38, False),
        (1 << 39, False),
        ((1 << 41) - 1 & ~(1 << 21 | 1 << 38), False),
        (0, False),
    ],
)
def test_capabilities(tmp_path: Path, capabilities: int, ok: bool) -> None:
    host = replace(lay(tmp_path, {"proc/self/status": status(f"{capabilities:016x}")}), euid=1000)
    assert found(host, "privilege").ok is ok
    assert blockers(host) == ([] if ok else ["privilege"])


def test_unprivileged(tmp_path: Path) -> None:
    host = replace(lay(tmp_path, {"proc/self/status": status("0" * 16)}), euid=1000)
    assert found(host, "privilege") == Finding(
        "privilege",
        False,
        "euid 1000, unprivileged_bpf_disabled=2, perf_event_paranoid=3",
        "neither CAP_SYS_ADMIN nor both CAP_BPF and CAP_PERFMON",
        "run it with sudo; only the recorder needs it, viewing a recording does not",
    )


@pytest.mark.parametrize("name", ["kprobes", "trampolines", "ring_buffer"])
def test_what_was_not_tried_is_not_known(tmp_path: Path, name: str) -> None:
    user = replace(lay(tmp_path, {"proc/self/status": status("0" * 16)}), euid=1000)
    one = found(user, name)
    assert one.ok is None
    assert one.cause.startswith("not known without root")
    assert one.remedy
    assert found(lay(tmp_path), name).ok is True


def test_root_of_a_container_without_capabilities(tmp_path: Path) -> None:
    finding = found(lay(tmp_path, {"proc/self/status": status("00000000a80425fb")}), "privilege")
    assert finding.cause == (
        "root without CAP_SYS_ADMIN, and without CAP_BPF and CAP_PERFMON together"
    )
    assert finding.remedy == (
        "run it with all of root's capabilities (a container: start it with --privileged)"
    )


def test_root_of_a_user_namespace(tmp_path: Path) -> None:
    host = lay(tmp_path, {"proc/self/uid_map": "0 1000 1\n"})
    assert blockers(host) == ["privilege"]
    assert found(host, "privilege").remedy == (
        "run it as root of the host, not in a rootless container"
    )


@pytest.mark.parametrize("mode", ["none", "integrity", "confidentiality"])
def test_lockdown(tmp_path: Path, mode: str) -> None:
    text = "none integrity confidentiality\n".replace(mode, f"[{mode}]")
    host = lay(tmp_path, {"sys/kernel/security/lockdown": text})
    finding = found(host, "lockdown")
    assert finding.detail == f"{mode} (/sys/kernel/security/lockdown)"
    assert finding.ok is (mode != "confidentiality")
    assert blockers(host) == (["lockdown"] if mode == "confidentiality" else [])


@pytest.mark.parametrize(
    ("changes", "ok", "detail"),
    [
        ({}, None, "unknown (no /sys/kernel/security/lockdown)"),
        (
            {"proc/cmdline": "quiet lockdown=confidentiality\n"},
            False,
            "confidentiality (at least, by the kernel's config and command line)",
        ),
        (
            {"proc/config.gz": config("CONFIG_LOCK_DOWN_KERNEL_FORCE_INTEGRITY=y")},
            True,
            "integrity (at least, by the kernel's config and command line)",
        ),
        (
            {
                "proc/config.gz": config("CONFIG_LOCK_DOWN_KERNEL_FORCE_INTEGRITY=y"),
                "proc/cmdline": "lockdown=confidentiality",
            },
            False,
            "confidentiality (at least, by the kernel's config and command line)",
        ),
        (
            {"proc/mounts": "s /s securityfs rw 0 0\n"},
            True,
            "none (securityfs has no lockdown file)",
        ),
    ],
)
def test_lockdown_without_its_file(
    tmp_path: Path, changes: dict[str, str | bytes], ok: bool | None, detail: str
) -> None:
    gone = {
        "sys/kernel/security/lockdown": None,
        "sys/kernel/security/lsm": None,
        "proc/mounts": "sysfs /sys sysfs rw 0 0\n",
    }
    finding = found(lay(tmp_path, {**gone, **changes}), "lockdown")
    assert (finding.ok, finding.detail) == (ok, detail)
