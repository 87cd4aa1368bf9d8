"""A Debian of another release as a folder: its Python, bcc, C library and compiler.

Made once by debootstrap and kept beside the kernels, with a copy of this checkout and a .venv of
its own in it. Commands run in it with this machine's kernel (`Root.run`), or in a guest with
another one (``tests/vm/boot --root``). All of it takes root's rights.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.vm import debian, packages
from tests.vm.cache import cache_folder, new_folder, say
from tests.vm.debian import HarnessError

PROJECT = Path(__file__).resolve().parents[2]
CHECKOUT = Path("/root/sealsnoop")
"""In the root; the same for every checkout, so that .venv is filled once. What was
compiled here (build/) goes with it: a guest would take long for that."""

_LEFT_OUT = (".git", ".venv*", ".*_cache", ".hypothesis", "__pycache__", "*.egg-info")
_STALE_S = 30 * 86400
"""A release gets fixes; so does a root, by being made anew."""

# How this machine reaches the network and pip's index, which the root has to do in the same way.
_NETWORK = ("/etc/resolv.conf", "/etc/hosts", "/etc/ssl/certs", "/etc/pip.conf", "/etc/xdg/pip")
_HOME_PIP = (".config/pip", ".pip")


@dataclass(frozen=True)
class Root:
    """A folder that is a whole Debian."""

    suite: str
    path: Path

    def entry(self, shared: Sequence[tuple[Path, Path]] = (), seen: Sequence[Path] = ()) -> str:
        """Shell commands after which ``chroot`` into it has what a system has.

        In a mount namespace of their own, or in a guest. Beside that: ``shared``, folders and
        where they are in it, and ``seen``, which is at the same place there and only read.
        """
        place = shlex.quote(str(self.path))
        lines = [
            f"mount --bind {place} {place}",  # a root that is no mount cannot be unshared from
            f"mount -t proc proc {place}/proc",
            f"mount --rbind /dev {place}/dev",
            f"mount --rbind /sys {place}/sys",
            f"mount -t tmpfs tmpfs {place}/tmp",
            f"mount -t tmpfs tmpfs {place}/run",
        ]
        for source, target in (*shared, *((one, one) for one in seen)):
            inside = shlex.quote(f"{self.path}{target}")
            folder = shlex.quote(str(self.path) + str(target.parent))
            file = f"mkdir -p {folder} && [ -e {inside} ] || touch {inside}"
            lines.append(file if source.is_file() else f"mkdir -p {inside}")
            lines.append(f"mount --bind {shlex.quote(str(source))} {inside}")
            if source in seen:
                lines.append(f"mount -o remount,bind,ro {inside}")
        return "\n".join(lines)

    def within(self, command: Sequence[str]) -> str:
        """The shell command that runs one in the copy of the checkout there, after `entry`."""
        venv = CHECKOUT / ".venv"
        inside = (
            f"cd {CHECKOUT}; unset TMPDIR PYTHONPATH XDG_CACHE_HOME; export HOME=/root LANG=C.UTF-8"
            f" VIRTUAL_ENV={venv} PATH={venv}/bin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
            '; exec "$@"'
        )
        chroot = ["chroot", str(self.path), "sh", "-c", inside, "sh", *command]
        return shlex.join(chroot)

    def typed(self, script: str) -> subprocess.CompletedProcess[str]:
        """What root types there in an empty folder, by bash, until a command fails."""
        clean = (
            "cd $(mktemp -d); unset TMPDIR PYTHONPATH XDG_CACHE_HOME VIRTUAL_ENV; "
            "export HOME=/root LANG=C.UTF-8 DEBIAN_FRONTEND=noninteractive "
            "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin; "
            f"set -ex\n{script}"
        )
        chroot = shlex.join(["chroot", str(self.path), "bash", "-c", clean])
        whole = f"set -e\n{self.entry(seen=_network())}\nexec {chroot}"
        return subprocess.run(
            ["unshare", "--mount", "sh", "-c", whole], capture_output=True, text=True, check=False
        )

    def run(self, command: Sequence[str]) -> int:
        """Runs a command there; its exit code."""
        script = f"set -e\n{self.entry(seen=_network())}\nexec {self.within(command)}"
        return subprocess.run(["unshare", "--mount", "sh", "-c", script], check=False).returncode


def become_root() -> None:
    """Begins this program again by sudo, where it has not root's rights."""
    if os.geteuid() != 0:
        cache = f"XDG_CACHE_HOME={cache_folder().parents[1]}"
        os.execvp("sudo", ["sudo", "--", "env", cache, sys.executable, *sys.argv])


@contextlib.contextmanager
def ready(suite: str, refresh: bool = False) -> Iterator[Root]:
    """The root of a suite, with this checkout and its packages in it; nobody else's meanwhile."""
    home = cache_folder().parent / "roots"
    home.mkdir(parents=True, exist_ok=True)
    with (home / f"{suite}.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        wanted = (*packages.tool(), *packages.UNIT_TESTS)
        root = Root(suite, home / f"{suite}-{_digest(wanted)}")
        made = root.path / "var" / "lib" / "dpkg" / "status"
        if refresh or not made.exists() or time.time() - made.stat().st_mtime > _STALE_S:
            for old in home.glob(f"{suite}-*"):
                shutil.rmtree(old)
            _debootstrap(suite, wanted, root.path)
        copy_checkout(root.path / CHECKOUT.relative_to("/"))
        if code := root.run(["tests/vm/setup", "tool"]):
            raise HarnessError(f"setting up in the root of {suite} failed with exit code {code}")
        yield root


@contextlib.contextmanager
def fresh(suite: str, wanted: Sequence[str]) -> Iterator[Root]:
    """A root of a suite with these packages and nothing of ours; what is done in it is gone after.

    The one that it is a copy of is kept, as those of `ready` are.
    """
    home = cache_folder().parent / "roots"
    home.mkdir(parents=True, exist_ok=True)
    base = home / f"fresh-{suite}-{_digest(wanted)}"
    with (home / f"fresh-{suite}.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        made = base / "var" / "lib" / "dpkg" / "status"
        if not made.exists() or time.time() - made.stat().st_mtime > _STALE_S:
            for old in home.glob(f"fresh-{suite}-*"):
                shutil.rmtree(old)
            _debootstrap(suite, wanted, base)
        with tempfile.TemporaryDirectory(dir=home) as folder:
            subprocess.run(["cp", "-a", "--reflink=auto", base, f"{folder}/root"], check=True)
            yield Root(suite, Path(folder) / "root")


def _digest(words: Sequence[str]) -> str:
    return hashlib.sha256(" ".join(words).encode()).hexdigest()[:12]


def _debootstrap(suite: str, wanted: Sequence[str], final: Path) -> None:
    say(f"making a root of {suite} by debootstrap (some minutes, once)")
    mirror = debian.mirrors()["Debian"]
    with new_folder(final) as work:
        include = f"--include={','.join(wanted)}"
        command = ["debootstrap", "--variant=minbase", include, suite, str(work), mirror]
        debian.run(["env", "DEBIAN_FRONTEND=noninteractive", *command])
        shutil.rmtree(work / "var/cache/apt", ignore_errors=True)


def copy_checkout(target: Path) -> None:
    """As it lies here, whether or not it is committed."""
    target.mkdir(parents=True, exist_ok=True)
    for old in target.iterdir():
        if old.name in (".venv", ".mypy_cache"):
            continue
        shutil.rmtree(old) if old.is_dir() else old.unlink()
    leave_out = shutil.ignore_patterns(*_LEFT_OUT)
    shutil.copytree(PROJECT, target, symlinks=True, ignore=leave_out, dirs_exist_ok=True)


def _network() -> list[Path]:
    """What of this machine's set-up the root must see, to reach what this machine reaches."""
    places = [Path(name) for name in _NETWORK]
    places += [Path.home() / name for name in _HOME_PIP]
    settings = subprocess.run(
        ["python3", "-m", "pip", "config", "list"], capture_output=True, text=True, check=False
    )
    # Indexes and wheels may lie on this machine's disk; an index's files lie beside it.
    said = settings.stdout + "\n".join(v for k, v in os.environ.items() if k.startswith("PIP_"))
    named = [Path(name) for name in re.findall(r"(?<![\w/:.])(?:file://)?(/[^\s'\"]+)", said)]
    places += [place.parent if place.name == "simple" else place for place in named]
    there = sorted({place for place in places if place.exists()})
    # Not what lies in a folder that is seen already.
    return [place for place in there if not any(other in place.parents for other in there)]
