"""Debian's package registry, asked through a private apt list.

The mirror is the one that this machine's own apt is set up for. Nothing of the machine's apt
set-up is changed: lists and downloads live in the cache folder that the caller gives.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

_KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")


class HarnessError(Exception):
    """Something outside the tested command failed; the message is one line for the user."""


def _order(char: str) -> int:
    """The rank of one character in Debian's version order: `~` < end < letters < the rest."""
    if char == "~":
        return -1
    if not char:
        return 0
    return ord(char) if char.isalpha() else ord(char) + 256


def version_key(version: str) -> tuple[tuple[tuple[int, ...], int], ...]:
    """A sort key that puts version strings (or package names of one family) in dpkg's order."""
    parts = re.findall(r"(\D*)(\d*)", version)
    return tuple(
        ((*(_order(char) for char in text), 0), int(digits or 0)) for text, digits in parts
    )


def run(command: Sequence[str], cwd: Path | None = None) -> str:
    """The standard output of a command; its last error line becomes a HarnessError."""
    try:
        done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        what = (
            "run `make setup`" if shutil.which("apt-get") else "guests are booted on Debian alone"
        )
        raise HarnessError(f"{command[0]} is not installed ({what})") from None
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if not line.startswith("W:")]
        raise HarnessError(f"{command[0]} failed: {lines[-1] if lines else done.returncode}")
    return done.stdout


def mirrors() -> dict[str, str]:
    """The machine's own mirrors: archive label (`Debian`, `Debian-Security`) to address."""
    listing = run(
        ["apt-get", "indextargets", "--format", "$(LABEL)|$(REPO_URI)", "Created-By: Packages"]
    )
    found: dict[str, str] = {}
    for line in listing.splitlines():
        label, _, address = line.partition("|")
        found.setdefault(label, address)
    if "Debian" not in found:
        raise HarnessError("apt on this machine has no list of Debian's (run `apt-get update`)")
    return found


class Registry:
    """Some suites of Debian, with their package lists kept in a folder of our own."""

    def __init__(self, folder: Path, suites: Sequence[str]) -> None:
        self._folder = folder / "+".join(suites)
        self._suites = suites
        self._options = [
            f"-o=Dir::Etc::sourcelist={self._folder / 'sources.list'}",
            "-o=Dir::Etc::sourceparts=/dev/null",
            "-o=Dir::Etc::preferences=/dev/null",
            "-o=Dir::Etc::preferencesparts=/dev/null",
            "-o=Dir::State::status=/dev/null",  # choose as if nothing were installed
            f"-o=Dir::State::Lists={self._folder / 'lists'}",
            f"-o=Dir::Cache={self._folder / 'cache'}",
            "-o=Acquire::Languages=none",
            "-o=Acquire::Check-Valid-Until=false",  # an archived suite is no longer re-signed
            "-o=Acquire::Retries=3",
            "-o=APT::Architecture=amd64",
            "-o=APT::Default-Release=",
            "-o=APT::Sandbox::User=root",  # the folder may be readable to its owner alone
        ]

    def update(self) -> None:
        """Fetch the package lists of the suites."""
        for part in ("lists/partial", "cache/archives/partial"):
            (self._folder / part).mkdir(parents=True, exist_ok=True)
        known = mirrors()
        trust = f"[signed-by={_KEYRING}] " if _KEYRING.exists() else ""
        lines = []
        for suite in self._suites:
            label = "Debian-Security" if suite.endswith("-security") else "Debian"
            if label in known:
                lines.append(f"deb {trust}{known[label]} {suite} main\n")
        (self._folder / "sources.list").write_text("".join(lines))
        run(["apt-get", *self._options, "-qq", "update"])

    def names(self, prefix: str) -> list[str]:
        """All package names that begin with `prefix`."""
        return run(["apt-cache", *self._options, "pkgnames", prefix]).split()

    def depends(self, package: str) -> list[str]:
        """The names that the newest version of a package depends on, or [] if it is not served."""
        shown = subprocess.run(
            ["apt-cache", *self._options, "show", "--no-all-versions", package],
            capture_output=True,
            text=True,
            check=False,
        )
        line = next((s for s in shown.stdout.splitlines() if s.startswith("Depends:")), "")
        return re.findall(r"(?:^|[,|])\s*([a-z0-9][a-z0-9.+-]+)", line.partition(":")[2])

    def unpack(self, packages: Iterable[str], target: Path) -> None:
        """Download packages and unpack them into `target`, without installing them."""
        wanted = list(packages)
        with tempfile.TemporaryDirectory(dir=self._folder) as folder:
            run(["apt-get", *self._options, "-qq", "download", *wanted], Path(folder))
            for archive in sorted(Path(folder).glob("*.deb")):
                run(["dpkg-deb", "--extract", str(archive), str(target)])

    def forget(self) -> None:
        """Remove the package lists; they are large and only good for a day."""
        shutil.rmtree(self._folder, ignore_errors=True)
