"""What a host allows, judged on made-up /proc and /sys trees."""

from __future__ import annotations

import errno
import gzip
import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from tracer.kernel.requirements import Finding, Host, abilities, blocking, check

FUNCTIONS = (
    "vm_mmap_pgoff",
    "register_kprobe",
    "bpf_trampoline_link_prog",
    "register_ftrace_direct",
    "bpf_int_jit_compile",
    "bpf_ringbuf_reserve",
)
ALL_CAPABILITIES = "000001ffffffffff"
NAMES = [
    "architecture",
    "privilege",
    "lockdown",
    "btf",
    "symbols",
    "kprobes",
    "trampolines",
    "jit",
    "ring_buffer",
    "bcc",
    "tracefs",
    "securityfs",
    "pid_namespace",
]

Change = Callable[[Host], None]
Lay = Callable[..., Host]


def kallsyms(*without: str) -> str:
    return "".join(f"{'0' * 16} T {name}\n" for name in FUNCTIONS if name not in without)


def status(capabilities: str = ALL_CAPABILITIES, nspid: str = "42") -> str:
    return f"Name:\tpython3\nNSpid:\t{nspid}\nCapEff:\t{capabilities}\n"


GOOD: Mapping[str, str | bytes] = {
    "proc/kallsyms": kallsyms(),
    "proc/self/status": status(),
    "proc/self/uid_map": "         0          0 4294967295\n",
    "proc/mounts": "sysfs /sys sysfs rw 0 0\nsecurityfs /s securityfs rw 0 0\n",
    "proc/sys/kernel/unprivileged_bpf_disabled": "2\n",
    "proc/sys/kernel/perf_event_paranoid": "3\n",
    "proc/sys/net/core/bpf_jit_enable": "1\n",
    "sys/kernel/btf/vmlinux": b"\x9f\xeb\x01\x00",
    "sys/kernel/security/lockdown": "[none] integrity confidentiality\n",
    "sys/kernel/security/lsm": "lockdown,capability,bpf\n",
    "sys/kernel/tracing/available_filter_functions": "vm_mmap_pgoff\n",
    "sys/bus/event_source/devices/kprobe/type": "8\n",
    "site/bcc/__init__.py": "",
    "site/bcc/libbcc.py": "",
}


@pytest.fixture
def lay(tmp_path: Path) -> Lay:
    """Lay out a sound host, with some files changed, or taken away by None."""

    def build(changes: Mapping[str, str | bytes | None] | None = None) -> Host:
        for name, content in {**GOOD, **(changes or {})}.items():
            if content is None:
                continue
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content.encode() if isinstance(content, str) else content)
        link(tmp_path, "proc/self/ns/pid", "pid:[4026531836]")
        return Host(tmp_path, "x86_64", 0, (str(tmp_path / "site"),), lambda: 0)

    return build


def link(root: Path, name: str, target: str) -> None:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    path.symlink_to(target)


def config(*lines: str) -> bytes:
    return gzip.compress("".join(f"{line}\n" for line in lines).encode())


def found(host: Host, name: str) -> Finding:
    return next(finding for finding in check(host) if finding.name == name)


def blockers(host: Host) -> list[str]:
    return [finding.name for finding in blocking(check(host))]


def test_sound_host(lay: Lay) -> None:
    findings = check(lay())
    assert [finding.name for finding in findings] == NAMES
    assert [finding for finding in findings if finding.ok is not True] == []
    assert [finding for finding in findings if finding.cause or finding.remedy] == []
    assert blocking(findings) == []


def test_findings_are_json(lay: Lay) -> None:
    finding = found(lay({"sys/kernel/btf/vmlinux": None}), "btf")
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


# ---- architecture, privilege, lockdown ------------------------------------------------------


def test_other_architecture(lay: Lay) -> None:
    host = replace(lay(), machine="aarch64")
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
def test_capabilities(lay: Lay, capabilities: int, ok: bool) -> None:
    host = replace(lay({"proc/self/status": status(f"{capabilities:016x}")}), euid=1000)
    assert found(host, "privilege").ok is ok
    assert blockers(host) == ([] if ok else ["privilege"])


def test_unprivileged(lay: Lay) -> None:
    host = replace(lay({"proc/self/status": status("0" * 16)}), euid=1000)
    assert found(host, "privilege") == Finding(
        "privilege",
        False,
        "euid 1000, unprivileged_bpf_disabled=2, perf_event_paranoid=3",
        "neither CAP_SYS_ADMIN nor both CAP_BPF and CAP_PERFMON",
        "run it with sudo; only the recorder needs it, viewing a recording does not",
    )


def test_root_of_a_container_without_capabilities(lay: Lay) -> None:
    finding = found(lay({"proc/self/status": status("00000000a80425fb")}), "privilege")
    assert finding.cause == (
        "root without CAP_SYS_ADMIN, and without CAP_BPF and CAP_PERFMON together"
    )
    assert finding.remedy == (
        "run it with all of root's capabilities (a container: start it with --privileged)"
    )


def test_root_of_a_user_namespace(lay: Lay) -> None:
    host = lay({"proc/self/uid_map": "0 1000 1\n"})
    assert blockers(host) == ["privilege"]
    assert found(host, "privilege").remedy == (
        "run it as root of the host, not in a rootless container"
    )


@pytest.mark.parametrize("mode", ["none", "integrity", "confidentiality"])
def test_lockdown(lay: Lay, mode: str) -> None:
    text = "none integrity confidentiality\n".replace(mode, f"[{mode}]")
    host = lay({"sys/kernel/security/lockdown": text})
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
    lay: Lay, changes: dict[str, str | bytes], ok: bool | None, detail: str
) -> None:
    gone = {
        "sys/kernel/security/lockdown": None,
        "sys/kernel/security/lsm": None,
        "proc/mounts": "sysfs /sys sysfs rw 0 0\n",
    }
    finding = found(lay({**gone, **changes}), "lockdown")
    assert (finding.ok, finding.detail) == (ok, detail)


# ---- the kernel's own abilities -------------------------------------------------------------


def test_no_btf(lay: Lay) -> None:
    assert blockers(lay({"sys/kernel/btf/vmlinux": None})) == ["btf"]


@pytest.mark.parametrize(
    "changes",
    [
        {"proc/config.gz": config("CONFIG_DEBUG_INFO_BTF=y")},
        {"proc/kallsyms": kallsyms() + f"{'0' * 16} t btf_vmlinux_init\n"},
    ],
)
def test_hidden_btf(lay: Lay, changes: dict[str, str | bytes]) -> None:
    finding = found(lay({"sys/kernel/btf/vmlinux": None, **changes}), "btf")
    assert finding.cause == "the kernel has BTF, but something is mounted over /sys/kernel/btf"
    assert finding.remedy == "mount sysfs on /sys, or give the container the host's /sys"


def test_no_sys(lay: Lay) -> None:
    finding = found(lay(dict.fromkeys(name for name in GOOD if name.startswith("sys/"))), "btf")
    assert finding.cause == "/sys is not mounted, so the kernel's BTF cannot be read"
    assert finding.remedy == "mount -t sysfs sysfs /sys"


def test_foreign_btf(lay: Lay) -> None:
    finding = found(lay({"sys/kernel/btf/vmlinux": b"\xeb\x9f\x01\x00"}), "btf")
    assert (finding.ok, finding.detail) == (False, "/sys/kernel/btf/vmlinux begins with eb9f")


def test_no_kprobes_leaves_trampolines(lay: Lay) -> None:
    host = lay(
        {
            "proc/kallsyms": kallsyms("register_kprobe"),
            "sys/bus/event_source/devices/kprobe/type": None,
        }
    )
    finding = found(host, "kprobes")
    assert finding.ok is False
    assert finding.cause == "the kernel was built without kprobes (CONFIG_KPROBES is not set)"
    assert blockers(host) == []


def test_kernel_like_the_build_machine(lay: Lay) -> None:
    """kprobes unset, lockdown=integrity, trampolines there and refused (KERNEL 6.18 seen)."""
    host = lay(
        {
            "proc/kallsyms": kallsyms("register_kprobe"),
            "proc/config.gz": config("# CONFIG_KPROBES is not set"),
            "sys/bus/event_source/devices/kprobe/type": None,
            "sys/kernel/security/lockdown": "none [integrity] confidentiality",
        }
    )
    host = replace(host, try_trampoline=lambda: errno.EPERM)
    finding = found(host, "trampolines")
    assert finding.detail == "symbols present, loading an fentry program gives EPERM"
    assert finding.cause == (
        "the kernel refuses fentry and fexit programs (EPERM), by lockdown or another policy"
    )
    assert blockers(host) == ["kprobes", "trampolines"]


@pytest.mark.parametrize("missing", ["bpf_trampoline_link_prog", "register_ftrace_direct"])
def test_no_trampolines_leaves_kprobes(lay: Lay, missing: str) -> None:
    host = lay({"proc/kallsyms": kallsyms(missing)})
    assert found(host, "trampolines").detail == f"no {missing}"
    assert blockers(host) == []


def test_nothing_is_tried_without_privilege(lay: Lay) -> None:
    def forbidden() -> int:
        raise AssertionError("tried")

    host = lay({"proc/self/status": status("0" * 16)})
    host = replace(
        host, euid=1000, try_trampoline=forbidden, try_kprobe=forbidden, try_ring=forbidden
    )
    assert found(host, "trampolines").detail == "symbols present, not tried"


def test_bpf_programs_for_kprobes_refused(lay: Lay) -> None:
    """As where a seccomp filter takes bpf(2)."""
    host = replace(lay(), try_kprobe=lambda: errno.EPERM, try_trampoline=lambda: errno.EPERM)
    finding = found(host, "kprobes")
    assert finding.detail.endswith("/devices/kprobe, loading a program for it gives EPERM")
    assert finding.cause == (
        "the kernel refuses BPF programs for kprobes (EPERM), by lockdown, a seccomp filter or "
        "another policy"
    )
    assert blockers(host) == ["kprobes", "trampolines"]


@pytest.mark.parametrize(("answer", "ok"), [(0, True), (errno.EPERM, False), (None, True)])
def test_ring_buffer_is_tried(lay: Lay, answer: int | None, ok: bool) -> None:
    host = replace(lay(), try_ring=lambda: answer)
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
    lay: Lay, changes: dict[str, str | bytes | None], ok: bool | None, cause: str
) -> None:
    finding = found(lay(changes), "kprobes")
    assert (finding.ok, finding.cause) == (ok, cause)


def test_config_in_boot(lay: Lay) -> None:
    host = lay(
        {
            "proc/config.gz": b"\x1f\x8bdamaged",
            "proc/sys/kernel/osrelease": "6.1.0-9-amd64\n",
            "boot/config-6.1.0-9-amd64": "CONFIG_KPROBES=y\n# CONFIG_BPF_JIT is not set\n",
        }
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
    lay: Lay, changes: dict[str, str | bytes | None], ok: bool | None
) -> None:
    host = lay(changes)
    assert found(host, "jit").ok is ok
    assert blockers(host) == []


def test_no_ring_buffer(lay: Lay) -> None:
    assert blockers(lay({"proc/kallsyms": kallsyms("bpf_ringbuf_reserve")})) == ["ring_buffer"]


def test_no_symbols_no_plan(lay: Lay) -> None:
    host = replace(lay({"proc/kallsyms": None}), try_trampoline=None)
    oks = {f.name: f.ok for f in check(host)}
    assert oks["symbols"] is False
    assert (oks["ring_buffer"], oks["trampolines"], oks["kprobes"]) == (None, None, True)
    assert blockers(host) == ["symbols"]


# ---- the host around it ---------------------------------------------------------------------


def test_bcc_of_pypi(lay: Lay) -> None:
    host = lay({"site/bcc/libbcc.py": None})
    finding = found(host, "bcc")
    assert finding.detail == str(host.root / "site/bcc/__init__.py")
    assert finding.remedy == "pip uninstall bcc, then apt-get install python3-bpfcc"
    assert blockers(host) == ["bcc"]


def test_bcc_outside_the_environment(lay: Lay) -> None:
    host = lay(
        {
            "site/bcc/libbcc.py": None,
            "site/bcc/__init__.py": None,
            "usr/lib/python3/dist-packages/bcc/libbcc.py": "",
        }
    )
    assert found(host, "bcc").remedy == (
        "make the environment with /usr/bin/python3 -m venv --system-site-packages"
    )


def test_folder_named_bcc_is_no_bcc(lay: Lay) -> None:
    host = lay({"site/bcc/libbcc.py": None, "site/bcc/__init__.py": None, "site/bcc/notes": ""})
    assert found(host, "bcc").remedy == "apt-get install python3-bpfcc"


def test_tracefs_and_securityfs_not_mounted(lay: Lay) -> None:
    host = lay(
        {
            "proc/mounts": "sysfs /sys sysfs rw 0 0\n",
            "sys/kernel/security/lsm": None,
            "sys/kernel/tracing/available_filter_functions": None,
        }
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
def test_container(lay: Lay, make: Change) -> None:
    host = lay()
    make(host)
    finding = found(host, "pid_namespace")
    assert finding.ok is False
    assert finding.remedy == "run on the host, or start the container with --pid=host"
    assert blockers(host) == []


# ---- what it adds up to -------------------------------------------------------------------------


def can(host: Host) -> dict[str, bool | None]:
    return {f"{one.source} {one.method}": one.ok for one in abilities(check(host))}


def test_what_sources_can_do(lay: Lay) -> None:
    assert can(lay()) == {"bpf fexit": True, "bpf kprobe": True}


def test_what_a_source_cannot_do(lay: Lay) -> None:
    no_kprobes = {
        "proc/kallsyms": kallsyms("register_kprobe"),
        "sys/bus/event_source/devices/kprobe/type": None,
    }
    assert can(lay(no_kprobes)) == {"bpf fexit": True, "bpf kprobe": False}


def test_what_is_not_known_leaves_a_method_open(lay: Lay) -> None:
    host = lay({"sys/bus/event_source/devices/kprobe/type": None})
    assert can(host)["bpf kprobe"] is None
    assert abilities(check(host))[1].because == ("kprobes",)


def test_what_is_missing_for_all_is_named_for_each(lay: Lay) -> None:
    found = abilities(check(lay({"site/bcc/libbcc.py": None, "site/bcc/__init__.py": None})))
    assert [one.because for one in found] == [("bcc",), ("bcc",)]
    assert found[0].to_json() == {"can": False, "because": ["bcc"]}


def test_this_machine_is_judged_without_importing_bcc() -> None:
    code = (
        "import sys; from tracer.kernel.requirements import Host, check;"
        "print(*(finding.name for finding in check(Host.live())));"
        "print(sorted({'bcc', 'numpy', 'pandas'} & set(sys.modules)))"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.splitlines() == [" ".join(NAMES), "[]"]
