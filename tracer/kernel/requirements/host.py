"""Requirements as data, the host on which they are looked for, and what must be installed there.

Every text stands once, with its requirement: doctor prints it, and `docs.make.requirements` makes
``docs/requirements.md`` from it. Needs nothing that set-up has to install first.
"""

from __future__ import annotations

import functools
import gzip
import os
import re
import shutil
import subprocess
import sys
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from importlib.machinery import PathFinder
from pathlib import Path

from tracer.kernel.symbols import Symbols, SymbolsError

ELSEWHERE = "{ELSEWHERE}"
"""In a remedy: how to trace another kernel, which is one of these two (`Host.words`)."""
IN_A_CHECKOUT = "trace another kernel: `make live` boots a stock Debian kernel in QEMU"
ANYWHERE = "trace another kernel: a virtual machine's will do, and recordings are read anywhere"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing a tracer needs of the host.

    ``ok`` is None when it could not be found out. ``detail`` is what was seen; ``cause`` (one
    line) and ``remedy`` (what to do next, one line) are empty when ``ok`` is True.
    """

    name: str
    ok: bool | None
    detail: str
    cause: str = ""
    remedy: str = ""

    def to_json(self) -> dict[str, str | bool | None]:
        """The fields as a dict of JSON values."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Obstacle:
    """Why a requirement is not met, and what to do: one line each, ``{WORD}`` to be filled in."""

    cause: str
    remedy: str
    unknown: bool = False
    """It could not be found out, which is no refusal."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What a requirement's look found; without an obstacle it is met."""

    detail: str
    obstacle: Obstacle | None = None
    words: Mapping[str, str] = field(default_factory=dict)
    """For the obstacle's texts, besides `Host.words`."""


@dataclass(frozen=True, slots=True)
class Requirement:
    """One thing that doctor looks at."""

    name: str
    purpose: str
    """What it is for, in a sentence."""
    obstacles: tuple[Obstacle, ...]
    see: Callable[[Host], Seen]

    def look(self, host: Host) -> Finding:
        """Whether the host meets it."""
        seen = self.see(host)
        if seen.obstacle is None:
            return Finding(self.name, True, seen.detail)
        words = {**host.words, **seen.words}
        cause, remedy = (
            text.format(**words) for text in (seen.obstacle.cause, seen.obstacle.remedy)
        )
        return Finding(
            self.name, None if seen.obstacle.unknown else False, seen.detail, cause, remedy
        )


def requirement(
    purpose: str, *obstacles: Obstacle
) -> Callable[[Callable[[Host], Seen]], Requirement]:
    """Makes a requirement of the function below, by whose name it goes."""
    return lambda see: Requirement(see.__name__, purpose, obstacles, see)


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
    dict.fromkeys(FAMILIES, "python3-bcc") | {"debian": "python3-bpfcc", "arch": "python-bcc"},
    module="bcc; bcc.BPF",
)
COMPILER = Need(
    "a C compiler, for the sample workload",
    dict.fromkeys(FAMILIES, "gcc glibc-devel") | {"debian": "gcc libc6-dev", "arch": "gcc"},
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
        fields = dict(re.findall(r"^(ID|ID_LIKE)=[\"']?([^\"'\n]*)", text, re.MULTILINE))
        return f"{fields.get('ID', '')} {fields.get('ID_LIKE', '')}".split()
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


Try = Callable[[], int | None]
"""Asks the kernel itself: 0 or an errno, None when it could not be tried."""


@dataclass(frozen=True)
class Host:
    """Where to look. The defaults are an unprivileged x86-64 host whose files lie under `root`.

    Each ``try_…`` has the kernel make one small thing and drops it at once (`methods`); without
    them files and symbols alone decide. Use `live` for the real host.
    """

    root: Path
    machine: str = "x86_64"
    euid: int = 1000
    python_path: tuple[str, ...] = ()
    try_trampoline: Try | None = field(default=None, repr=False)
    try_kprobe: Try | None = field(default=None, repr=False)
    try_ring: Try | None = field(default=None, repr=False)
    checkout: bool = False
    """Whether this is sealsnoop's own source tree, which can boot kernels."""

    @classmethod
    def live(cls) -> Host:
        """The host this process runs on."""
        from tracer.kernel.requirements import methods

        return cls(
            Path("/"),
            os.uname().machine,
            os.geteuid(),
            tuple(sys.path),
            methods.trampoline,
            methods.kprobe,
            methods.ring,
            (Path(__file__).resolve().parents[3] / "tests/vm/boot").exists(),
        )

    @property
    def words(self) -> dict[str, str]:
        """What remedies say in other words on other hosts."""
        return {"ELSEWHERE": self.elsewhere, "INSTALL_BCC": how_to_install(BCC, self.root)}

    @property
    def elsewhere(self) -> str:
        """How to trace another kernel."""
        here = self.checkout and is_debian(self.root)
        return IN_A_CHECKOUT if here else ANYWHERE

    def read(self, path: str) -> str | None:
        """Text of a file without blanks around it, None when it cannot be read."""
        try:
            return (self.root / path).read_text(errors="replace").strip()
        except OSError:
            return None

    def exists(self, path: str) -> bool:
        """True when the path is there and may be looked at."""
        try:
            return (self.root / path).exists()
        except OSError:
            return False

    @functools.cached_property
    def symbols(self) -> Symbols | None:
        """The kernel's symbols, None when unreadable (the finding "symbols" then says why)."""
        try:
            return Symbols.load(self.root)
        except SymbolsError:
            return None

    @functools.cached_property
    def _config_text(self) -> str | None:
        try:
            packed = (self.root / "proc/config.gz").read_bytes()
            return gzip.decompress(packed).decode(errors="replace")
        except (OSError, EOFError, zlib.error):
            # gzip.BadGzipFile is an OSError
            release = self.read("proc/sys/kernel/osrelease")
        if not release:
            return None
        return self.read(f"boot/config-{release}") or self.read(f"lib/modules/{release}/config")

    def config(self, option: str) -> bool | None:
        """True when the kernel was built with CONFIG_`option`, None when its config is not here."""
        if self._config_text is None:
            return None
        return bool(re.search(rf"^CONFIG_{option}=[ym]$", self._config_text, re.MULTILINE))

    @functools.cached_property
    def mounted(self) -> frozenset[str] | None:
        """File system types that are mounted, None when /proc/mounts cannot be read."""
        text = self.read("proc/mounts")
        if text is None:
            return None
        lines = (line.split() for line in text.splitlines())
        return frozenset(parts[2] for parts in lines if len(parts) > 2)

    def has_symbol(self, name: str) -> bool | None:
        """True when the kernel has this function, None when its symbols cannot be read."""
        return None if self.symbols is None else self.symbols.has(name)


_BCC_MODULE = "usr/lib/python3*/*-packages/bcc/libbcc.py"
"""Where distributions have it: Debian beside all its Pythons, others beside one of them."""

_NAMESAKE = Obstacle(
    "the package `bcc` found is PyPI's unrelated one, not the BPF Compiler Collection",
    "pip uninstall bcc, then {INSTALL_BCC}",
)
_NOT_SEEN = Obstacle(
    "the distribution's bcc is installed, but this Python does not see the system's packages",
    "make the environment with {PYTHON} -m venv --system-site-packages",
)
_NOT_INSTALLED = Obstacle(
    "the BPF Compiler Collection's Python package is not installed", "{INSTALL_BCC}"
)


@requirement(
    "The BPF Compiler Collection's Python package, which compiles and loads the BPF programs "
    "(kernel headers and a compiler are not needed).",
    _NOT_INSTALLED,
    _NOT_SEEN,
    _NAMESAKE,
)
def bcc(host: Host) -> Seen:
    """The BPF Compiler Collection's Python package. It is not imported: that takes a second."""
    spec = PathFinder.find_spec("bcc", list(host.python_path))
    folders = [Path(place) for place in (spec and spec.submodule_search_locations) or ()]
    if any((place / "libbcc.py").exists() for place in folders):
        return Seen(str(folders[0]))
    if spec is not None and spec.loader is not None:
        return Seen(f"{spec.origin}", _NAMESAKE)
    for found in sorted(host.root.glob(_BCC_MODULE)):
        detail = f"{found.parent} is not on this Python's path"
        python = f"/usr/bin/{found.parents[2].name}"
        return Seen(detail, _NOT_SEEN, {"PYTHON": python})
    return Seen("no module bcc", _NOT_INSTALLED)
