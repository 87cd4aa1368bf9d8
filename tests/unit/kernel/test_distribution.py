"""What set-up says is missing, by the names that a distribution's packages have."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.vm import packages
from tracer.kernel.requirements import host as distribution

MISSING = {
    "debian": ("ID=ubuntu\nID_LIKE=debian\n", "apt-get install",
               ["python3-venv", "python3-bpfcc", "gcc libc6-dev", "make"]),
    "fedora": ("ID=fedora\n", "dnf install",
               ["python3", "python3-bcc", "gcc glibc-devel", "make"]),
    "arch": ("ID=arch\n", "pacman -S",
             ["python", "python-bcc", "gcc", "make"]),
    "suse": ('ID="opensuse-tumbleweed"\n', "zypper install",
             ["python3", "python3-bcc", "gcc glibc-devel", "make"]),
}  # fmt: skip


def program(path: Path, code: int) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!/bin/sh\nexit {code}\n")
    path.chmod(0o755)


@pytest.mark.parametrize("name", MISSING)
def test_everything_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    said, command, names = MISSING[name]
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/os-release").write_text(said)
    program(tmp_path / "bin/python", 1)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    lines = list(distribution.missing(tmp_path, str(tmp_path / "bin/python")))
    assert [line.partition(" is missing: ")[2] for line in lines] == [
        f"{command} {packages}" for packages in names
    ]


def test_nothing_is_said_where_nothing_is_missing(tmp_path: Path) -> None:
    for name in ("python", "cc", "make"):
        program(tmp_path / "bin" / name, 0)
    done = subprocess.run(
        [sys.executable, packages.__file__, "missing", tmp_path / "bin/python"],
        env={"PATH": str(tmp_path / "bin")},
        capture_output=True,
        text=True,
        check=True,
    )
    assert (done.stdout, done.stderr) == ("", "")


def test_the_tool_is_a_part_of_all() -> None:
    def names(what: str) -> list[str]:
        command = [sys.executable, "-S", packages.__file__, what]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()

    assert names("tool") == ["python3-venv", "python3-bpfcc", "gcc", "libc6-dev", "make"]
    assert set(names("all")) > set(names("tool"))
    assert "file" in names("all"), "virtme-ng calls it"
