"""Doctor where things are missing for real: other users, other mounts, a chroot, a bare Python.

Each of these makes a mount namespace of its own, which ends with the command.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[3]
BARE = (
    "import sys; sys.path.insert(0, '{place}'); from tracer.cli.main import main; sys.exit(main())"
)
NOBODY = "setpriv --reuid=65534 --regid=65534 --clear-groups --inh-caps=-all"
HIDE = "mount -t tmpfs none"


def _possible() -> bool:
    done = subprocess.run(
        ["unshare", "--mount", "mount", "-t", "tmpfs", "none", "/mnt"],
        capture_output=True, check=False,
    )  # fmt: skip
    return done.returncode == 0


pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        os.geteuid() != 0 or not _possible(),
        reason="NOT TESTED: doctor on broken hosts; it takes root that may mount",
    ),
]


class Inside:
    """Runs doctor in a mount namespace where the checkout lies at a place that all can reach."""

    def __init__(self, place: Path) -> None:
        self.place = place

    def __call__(
        self, prepare: str, *words: str, through: str = "", python: str = "", env: str = ""
    ) -> "subprocess.CompletedProcess[str]":
        """``prepare``: shell commands before; ``through``: a command that runs doctor."""
        python = python or f"{self.place}/.venv/bin/python"
        code = BARE.format(place=self.place)
        script = (
            f"set -e; mount --bind {ROOT} {self.place}; {prepare or ':'}; cd {self.place}; "
            f'exec {through} env -i PATH=$PATH {env} {python} -c "{code}" doctor {" ".join(words)}'
        )
        done = subprocess.run(
            ["unshare", "--mount", "sh", "-c", script],
            capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
        assert "Traceback" not in done.stderr, done.stderr
        assert done.stderr == ""
        return done

    def report(self, prepare: str, **more: str) -> dict[str, Any]:
        """The report, by finding; exit code and the rest of it under their own names."""
        done = self(prepare, "--json", **more)
        report: dict[str, Any] = json.loads(done.stdout)
        assert report["can_record"] is (done.returncode != 2)
        for finding in report["findings"]:
            if finding["ok"] is not True:
                assert finding["cause"], finding
                assert finding["remedy"], finding
        return {"all": report, **{one["name"]: one for one in report["findings"]}}


@pytest.fixture
def inside(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Inside]:
    # Below /tmp itself, as the folders of pytest let nobody else in
    place = Path("/tmp") / f"doctor-{os.getpid()}-{tmp_path_factory.getbasetemp().name}"
    place.mkdir(exist_ok=True)
    place.chmod(0o755)
    yield Inside(place)
    place.rmdir()


def test_ordinary_user(inside: Inside) -> None:
    found = inside.report("", through=NOBODY)
    assert found["all"]["blocking"][0] == "privilege"
    assert found["privilege"]["cause"] == "neither CAP_SYS_ADMIN nor both CAP_BPF and CAP_PERFMON"
    assert found["privilege"]["remedy"].startswith("run it with sudo;")
    said = inside("", through=NOBODY)
    assert said.returncode == 2
    assert "\n  MISSING privilege: euid 65534, " in said.stdout
    alone = found["all"]["blocking"] == ["privilege"]
    verdict = "this user cannot trace; what root can" if alone else "this host cannot be traced"
    assert said.stdout.splitlines()[-1].startswith(verdict)
    assert "\nhook families (a guess: not known without root)\n" in said.stdout


def test_root_without_capabilities(inside: Inside) -> None:
    found = inside.report("", through="setpriv --bounding-set=-sys_admin,-bpf,-perfmon")
    assert "privilege" in found["all"]["blocking"]
    assert found["privilege"]["cause"].startswith("root without CAP_SYS_ADMIN, and without CAP_BPF")


def test_bpf_capabilities_do_without_sys_admin(inside: Inside) -> None:
    found = inside.report("", through="setpriv --bounding-set=-sys_admin")
    assert found["privilege"]["ok"] is True
    assert found["privilege"]["detail"].endswith(
        "without CAP_SYS_ADMIN (no hooks in modules such as kvm)"
    )


NO_BPF = """\
import ctypes, os, struct, sys
code = ((0x20, 0, 0, 0), (0x15, 0, 1, 321), (0x06, 0, 0, 0x50001), (0x06, 0, 0, 0x7FFF0000))
data = ctypes.create_string_buffer(b"".join(struct.pack("<HBBI", *one) for one in code))
libc = ctypes.CDLL(None)
libc.prctl(38, 1, 0, 0, 0)
program = struct.pack("<HxxxxxxQ", len(code), ctypes.addressof(data))
assert libc.prctl(22, 2, program, 0, 0) == 0
os.execvp(sys.argv[1], sys.argv[1:])
"""
"""seccomp: bpf(2) gives EPERM, as in a container without --privileged (linux/seccomp.h)."""


def test_seccomp_filter_takes_bpf(inside: Inside, tmp_path: Path) -> None:
    script = tmp_path / "no_bpf.py"
    script.write_text(NO_BPF)
    found = inside.report("", through=f"{sys.executable} {script}")
    assert found["privilege"]["ok"] is True, "only asking the kernel shows it"
    assert "ring_buffer" in found["all"]["blocking"]
    assert found["ring_buffer"]["detail"] == "making one gives EPERM"
    assert found["ring_buffer"]["remedy"].startswith("run outside the sandbox (docker: --priv")
    assert found["trampolines"]["ok"] is False


def test_hidden_btf(inside: Inside) -> None:
    found = inside.report(f"{HIDE} /sys/kernel/btf")
    assert "btf" in found["all"]["blocking"]
    assert found["btf"]["cause"] == (
        "the kernel has BTF, but something is mounted over /sys/kernel/btf"
    )
    assert found["all"]["hooks"] is None
    said = inside(f"{HIDE} /sys/kernel/btf").stdout
    assert "\n          → mount sysfs on /sys, or give the container the host's /sys\n" in said
    assert "\n  none    no plan: cannot read /sys/kernel/btf/vmlinux" in said


def test_no_tracefs(inside: Inside) -> None:
    found = inside.report(f"{HIDE} /sys/kernel/tracing; {HIDE} /sys/kernel/debug || :")
    assert found["tracefs"]["ok"] is False
    assert found["tracefs"]["detail"] == "not mounted"
    assert found["tracefs"]["remedy"] == "mount -t tracefs tracefs /sys/kernel/tracing"
    assert "tracefs" not in found["all"]["blocking"], "it helps, and is not needed"


def test_no_sys(inside: Inside) -> None:
    found = inside.report(f"{HIDE} /sys")
    assert found["btf"]["cause"] == "/sys is not mounted, so the kernel's BTF cannot be read"
    assert found["btf"]["remedy"] == "mount -t sysfs sysfs /sys"


def test_no_proc(inside: Inside) -> None:
    found = inside.report(f"{HIDE} /proc")
    assert found["symbols"]["cause"] == "there is no /proc/kallsyms"
    assert found["symbols"]["remedy"].startswith("mount /proc, or ")
    assert "symbols" in found["all"]["blocking"]
    assert found["jit"]["cause"] == "/proc is not mounted"
    assert found["pid_namespace"]["remedy"] == "mount /proc"


def test_chroot_without_sys_and_proc(inside: Inside) -> None:
    """Only /usr and the checkout, as in a build chroot."""
    new = f"{inside.place}.root"
    prepare = (
        f"mkdir {new}; mount -t tmpfs none {new}; mkdir -p {new}/usr {new}{inside.place}; "
        f"for link in bin lib lib64; do ln -s usr/$link {new}/$link; done; "
        f"mount --bind /usr {new}/usr; mount --bind {ROOT} {new}{inside.place}"
    )
    try:
        for words in ((), ("--json",)):
            done = inside(prepare, *words, through=f"chroot {new}")
            os.rmdir(new)
            assert done.returncode == 2
            assert {"btf", "symbols"} <= _blocking(done.stdout, bool(words))
    finally:
        if os.path.isdir(new):
            os.rmdir(new)


def _blocking(stdout: str, as_json: bool) -> set[str]:
    if as_json:
        return set(json.loads(stdout)["blocking"])
    missing = [line.split()[1] for line in stdout.splitlines() if line.startswith("  MISSING ")]
    assert "\n          → mount -t sysfs sysfs /sys\n" in stdout
    assert "\n          → mount /proc, or use a kernel built with CONFIG_KALLSYMS\n" in stdout
    return {word.rstrip(":") for word in missing}


def test_python_without_the_systems_packages(inside: Inside) -> None:
    """Nor those of an environment: doctor must work where nothing is installed yet."""
    found = inside.report("", python=f"{sys.executable} -S")
    assert "bcc" in found["all"]["blocking"]
    assert found["bcc"]["remedy"] in (
        "apt-get install python3-bpfcc",
        "make the environment with /usr/bin/python3 -m venv --system-site-packages",
    )


def test_package_of_another_project(inside: Inside) -> None:
    found = inside.report(
        f"{HIDE} /mnt; mkdir /mnt/bcc; touch /mnt/bcc/__init__.py", env="PYTHONPATH=/mnt"
    )
    assert found["bcc"]["remedy"] == "pip uninstall bcc, then apt-get install python3-bpfcc"


def test_user_namespace(inside: Inside) -> None:
    found = inside.report("", through="unshare --user --map-root-user")
    assert found["privilege"]["remedy"] == (
        "run it as root of the host, not in a rootless container"
    )


def test_pid_namespace(inside: Inside) -> None:
    found = inside.report("", through="unshare --pid --fork --mount-proc")
    assert found["pid_namespace"]["ok"] is False
    assert found["pid_namespace"]["remedy"].endswith("start the container with --pid=host")
    assert "pid_namespace" not in found["all"]["blocking"]
