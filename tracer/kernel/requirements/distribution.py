"""What recording needs of a Linux distribution, under the names that its packages have there.

Needs no other module, so that set-up can ask it before anything is installed.
"""

import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Family:
    """Distributions whose packages are installed by one command and have the same names."""

    name: str
    text: str
    install: str


FAMILIES = {
    one.name: one
    for one in (
        Family("debian", "Debian, Ubuntu", "apt-get install"),
        Family("fedora", "Fedora, RHEL", "dnf install"),
        Family("arch", "Arch", "pacman -S"),
        Family("suse", "openSUSE", "zypper install"),
    )
}
"""By the words that ID and ID_LIKE of os-release(5) have, or begin with."""


@dataclass(frozen=True, slots=True)
class Need:
    """One thing that a distribution has to bring; ``names`` by family, blanks between several."""

    what: str
    names: Mapping[str, str]
    module: str = ""
    """How to see that it is there: a module of the distribution's Python …"""
    program: str = ""
    """… or a program on the path."""

    def packages(self, family: Family) -> list[str]:
        """Its packages there."""
        return self.names[family.name].split()

    def is_met(self, python: str) -> bool:
        """Whether that Python, or the path, has it."""
        if self.program:
            return shutil.which(self.program) is not None
        done = subprocess.run([python, "-c", f"import {self.module}"], capture_output=True)
        return done.returncode == 0


VENV = Need(
    "Python's venv with pip",
    {"debian": "python3-venv", "fedora": "python3", "arch": "python", "suse": "python3"},
    module="venv, ensurepip; ensurepip.version",
)
BCC = Need(
    "the BPF Compiler Collection's Python package",
    {
        "debian": "python3-bpfcc",
        "fedora": "python3-bcc",
        "arch": "python-bcc",
        "suse": "python3-bcc",
    },
    module="bcc; bcc.BPF",
)
COMPILER = Need(
    "a C compiler, for the sample workload",
    {
        "debian": "gcc libc6-dev",
        "fedora": "gcc glibc-devel",
        "arch": "gcc",
        "suse": "gcc glibc-devel",
    },
    program="cc",
)
MAKE = Need("make", dict.fromkeys(FAMILIES, "make"), program="make")

NEEDS = (VENV, BCC, COMPILER, MAKE)


def family(root: Path) -> Family | None:
    """Which family the distribution below ``root`` is of, by its os-release; None: unknown."""
    known = (one for word in _identity(root) for name, one in FAMILIES.items() if _is(word, name))
    return next(known, None)


def is_debian(root: Path) -> bool:
    """Debian itself, whose kernels the tests boot with what it has for it."""
    return _identity(root)[:1] == ["debian"]


def _identity(root: Path) -> list[str]:
    """What it calls itself, then what it is like."""
    for place in ("etc/os-release", "usr/lib/os-release"):
        try:
            text = (root / place).read_text(errors="replace")
        except OSError:
            continue
        said = dict(re.findall(r"^(ID|ID_LIKE)=[\"']?([^\"'\n]*)", text, re.MULTILINE))
        return f"{said.get('ID', '')} {said.get('ID_LIKE', '')}".split()
    return []


def _is(word: str, name: str) -> bool:
    # openSUSE's are opensuse-leap and opensuse-tumbleweed, and like "suse opensuse"
    return word == name or word.startswith(f"open{name}")


def how_to_install(need: Need, root: Path) -> str:
    """The command to run there; on an unknown distribution, what to look for."""
    found = family(root)
    if found:
        return f"{found.install} {' '.join(need.packages(found))}"
    names = dict.fromkeys(" ".join(need.packages(one)) for one in FAMILIES.values())
    return f"install {need.what} ({', '.join(names)})"


def missing(root: Path, python: str) -> Iterator[str]:
    """One line for each thing that is not there, with what to do."""
    for need in NEEDS:
        if not need.is_met(python):
            yield f"{need.what} is missing: {how_to_install(need, root)}"
