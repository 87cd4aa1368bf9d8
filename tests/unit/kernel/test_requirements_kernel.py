"""Requirements: what the kernel itself must be able to do."""

from __future__ import annotations

import errno
from dataclasses import replace
from pathlib import Path

import pytest

from tests.unit.kernel.sound_host import GOOD, blockers, config, found, kallsyms, lay, status
from tracer.kernel.requirements.checks import check


def test_no_btf(tmp_path: Path) -> None:
    assert blockers(lay(tmp_path, {"sys/kernel/btf/vmlinux": None})) == ["btf"]


@pytest.mark.parametrize(
    "changes",
    [
        {"proc/config.gz": config("CONFIG_DEBUG_INFO_BTF=y")},
        {"proc/kallsyms": kallsyms() + f"{'0' * 16} t btf_vmlinux_init\n"},
    ],
)
def test_hidden_btf(tmp_path: Path, changes: dict[str, str | bytes]) -> None:
    finding = found(lay(tmp_path, {"sys/kernel/btf/vmlinux": None, **changes}), "btf")
    assert finding.cause == "the kernel has BTF, but something is mounted over /sys/kernel/btf"
    assert finding.remedy == "mount sysfs on /sys, or give the container the host's /sys"


def test_no_sys(tmp_path: Path) -> None:
    finding = found(
        lay(tmp_path, dict.fromkeys(name for name in GOOD if name.startswith("sys/"))), "btf"
    )
    assert finding.cause == "/sys is not mounted, so the kernel's BTF cannot be read"
    assert finding.remedy == "mount -t sysfs sysfs /sys"


@pytest.mark.parametrize(
    ("content", "said"), [(b"\xeb\x9f\x01\x00", "eb9f"), (b"\x9f", "9f"), (b"", "nothing")]
)
def test_foreign_btf(tmp_path: Path, content: bytes, said: str) -> None:
    finding = found(lay(tmp_path, {"sys/kernel/btf/vmlinux": content}), "btf")
    assert (finding.ok, finding.detail) == (False, f"/sys/kernel/btf/vmlinux begins with {said}")


def test_no_kprobes_leaves_trampolines(tmp_path: Path) -> None:
    host = lay(
        tmp_path,
        {
            "proc/kallsyms": kallsyms("register_kprobe"),
            "sys/bus/event_source/devices/kprobe/type": None,
        },
    )
    finding = found(host, "kprobes")
    assert finding.ok is False
    assert finding.cause == "the kernel was built without kprobes (CONFIG_KPROBES is not set)"
    assert blockers(host) == []


def test_kernel_like_the_build_machine(tmp_path: Path) -> None:
    """kprobes unset, lockdown=integrity, trampolines there and refused (KERNEL 6.18 seen)."""
    host = lay(
        tmp_path,
        {
            "proc/kallsyms": kallsyms("register_kprobe"),
            "proc/config.gz": config("# CONFIG_KPROBES is not set"),
            "sys/bus/event_source/devices/kprobe/type": None,
            "sys/kernel/security/lockdown": "none [integrity] confidentiality",
        },
    )
    host = replace(host, try_trampoline=lambda: errno.EPERM)
    finding = found(host, "trampolines")
    assert finding.detail == "symbols present, trying an empty fexit program gives EPERM"
    assert finding.cause == (
        "the kernel refuses fentry and fexit programs (EPERM), by lockdown or another policy"
    )
    assert blockers(host) == ["kprobes", "trampolines"]


@pytest.mark.parametrize("missing", ["bpf_trampoline_link_prog", "register_ftrace_direct"])
def test_no_trampolines_leaves_kprobes(tmp_path: Path, missing: str) -> None:
    host = lay(tmp_path, {"proc/kallsyms": kallsyms(missing)})
    assert found(host, "trampolines").detail == f"no {missing}"
    assert blockers(host) == []


def test_nothing_is_tried_without_privilege(tmp_path: Path) -> None:
    def forbidden() -> int:
        raise AssertionError("tried")

    host = lay(tmp_path, {"proc/self/status": status("0" * 16)})
    host = replace(
        host, euid=1000, try_trampoline=forbidden, try_kprobe=forbidden, try_ring=forbidden
    )
    assert found(host, "trampolines").detail == "symbols present, not tried"


def test_bpf_programs_for_kprobes_refused(tmp_path: Path) -> None:
    """As where a seccomp filter takes bpf(2)."""
    host = replace(
        lay(tmp_path), try_kprobe=lambda: errno.EPERM, try_trampoline=lambda: errno.EPERM
    )
    finding = found(host, "kprobes")
    assert finding.detail.endswith("/devices/kprobe, loading a program for it gives EPERM")
    assert finding.cause == (
        "the kernel refuses BPF programs for kprobes (EPERM), by lockdown, a seccomp filter or "
        "another policy"
    )
    assert blockers(host) == ["kprobes", "trampolines"]


@pytest.mark.parametrize(("answer", "ok"), [(0, True), (errno.EPERM, False), (None, True)])
def test_ring_buffer_is_tried(tmp_path: Path, answer: int | None, ok: bool) -> None:
    host = replace(lay(tmp_path), try_ring=lambda: answer)
    finding = found(host, "ring_buffer")
    assert finding.ok is ok
    assert blockers(host) == ([] if ok else ["ring_buffer"])
    if not ok:
        assert finding.detail == "making one gives EPERM"
        assert "(EPERM)" in finding.cause


@pytest.mark.parametrize(
    ("changes", "ok", "cause"),
    [
        (
            {"sys/kernel/debug/kprobes/enabled": "0\n"},
            False,
            "kprobes are switched off on this host",
        ),
        (
            {
                "sys/bus/event_source/devices/kprobe/type": None,
                "sys/bus/event_source/devices/x": "",
            },
            False,
            "the kernel offers no kprobe events (CONFIG_KPROBE_EVENTS is not set)",
        ),
        (
            {"sys/bus/event_source/devices/kprobe/type": None},
            None,
            "the list of event sources is hidden: /sys is not mounted or masked",
        ),
        (
            {
                "sys/bus/event_source/devices/kprobe/type": None,
                "proc/config.gz": config("# CONFIG_KPROBES is not set"),
            },
            False,
            "the kernel was built without kprobes (CONFIG_KPROBES is not set)",
        ),
    ],
)
def test_kprobes(
    tmp_path: Path, changes: dict[str, str | bytes | None], ok: bool | None, cause: str
) -> None:
    finding = found(lay(tmp_path, changes), "kprobes")
    assert (finding.ok, finding.cause) == (ok, cause)


def test_config_in_boot(tmp_path: Path) -> None:
    host = lay(
        tmp_path,
        {
            "proc/config.gz": b"\x1f\x8bdamaged",
            "proc/sys/kernel/osrelease": "6.1.0-9-amd64\n",
            "boot/config-6.1.0-9-amd64": "CONFIG_KPROBES=y\n# CONFIG_BPF_JIT is not set\n",
        },
    )
    assert host.config("KPROBES") is True
    assert host.config("BPF_JIT") is False
    assert replace(host, root=host.root / "nowhere").config("KPROBES") is None


@pytest.mark.parametrize(
    ("changes", "ok"),
    [
        ({"proc/sys/net/core/bpf_jit_enable": "0"}, False),
        ({"proc/sys/net/core/bpf_jit_enable": None}, None),
        (
            {
                "proc/sys/net/core/bpf_jit_enable": None,
                "proc/config.gz": config("CONFIG_BPF_JIT_ALWAYS_ON=y"),
            },
            True,
        ),
        (
            {
                "proc/sys/net/core/bpf_jit_enable": None,
                "proc/kallsyms": kallsyms("bpf_int_jit_compile"),
            },
            False,
        ),
    ],
)
def test_jit_never_blocks(
    tmp_path: Path, changes: dict[str, str | bytes | None], ok: bool | None
) -> None:
    host = lay(tmp_path, changes)
    assert found(host, "jit").ok is ok
    assert blockers(host) == []


def test_no_ring_buffer(tmp_path: Path) -> None:
    assert blockers(lay(tmp_path, {"proc/kallsyms": kallsyms("bpf_ringbuf_reserve")})) == [
        "ring_buffer"
    ]


def test_no_symbols_no_plan(tmp_path: Path) -> None:
    host = replace(lay(tmp_path, {"proc/kallsyms": None}), try_trampoline=None)
    oks = {f.name: f.ok for f in check(host)}
    assert oks["symbols"] is False
    assert (oks["ring_buffer"], oks["trampolines"], oks["kprobes"]) == (None, None, True)
    assert blockers(host) == ["symbols"]
