"""A kernel of our own: Debian's source of a release, patched, with a small configuration.

Built once and kept by content: the key is made of patch, configuration and the name of the source
package as kernels.toml has it, so a change of any of them builds anew. Where that name is a
pattern, the newest package that is served when it is built is taken; `package` says which it was.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import time
from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from tests.vm.cache import cache_folder, lock, new_folder, say
from tests.vm.debian import HarnessError, Registry, run, version_key
from tests.vm.packages import KERNEL_BUILD


def options(config: str) -> list[str]:
    """What a file names, one a line: options without CONFIG_, or programs. Remarks begin with #."""
    lines = (line.partition("#")[0].strip() for line in config.splitlines())
    return [line for line in lines if line]


def find(name: str, folder: Path, package: str, suites: Sequence[str]) -> tuple[str, Path]:
    """Release and bzImage of the kernel that ``folder`` (``NAME.patch``, ``config``) describes.

    HarnessError naming the step when it cannot be built. ``selftests`` beside it, where there is
    one, names programs below tools/testing/selftests, which are then in ``selftests`` beside the
    bzImage.
    """
    digest = _digest(package, [folder / part for part in (f"{name}.patch", "config", "selftests")])
    home = cache_folder() / "built" / f"{name}-{digest}"
    if not (home / "bzImage").exists():
        with lock("built"):
            if not (home / "bzImage").exists():  # perhaps built while we waited
                _build(name, folder, package, suites, home)
    return (home / "release").read_text().strip(), home / "bzImage"


def _digest(package: str, files: Sequence[Path]) -> str:
    whole = hashlib.sha256()
    for file in files:
        if file.exists():
            whole.update(file.read_bytes())
    if "*" in package:
        whole.update(package.encode())
    return whole.hexdigest()[:12]


def _build(name: str, folder: Path, package: str, suites: Sequence[str], home: Path) -> None:
    _install()
    patch, config, selftests = (folder / part for part in (f"{name}.patch", "config", "selftests"))
    with new_folder(home) as work:
        tree, taken = _source(package, suites, work)
        _step(tree, "patch", "-p1", "-s", "-i", str(patch.resolve()))
        if selftests.exists():
            _build_selftests(tree, options(selftests.read_text()), work / "selftests")
        _configure(tree, options(config.read_text()))
        say(f"building the kernel {name} of {taken} (10 to 30 minutes, once)")
        began = time.monotonic()
        suffix = f"LOCALVERSION=-{name}"
        _step(tree, "make", "-s", f"-j{os.cpu_count()}", suffix, "bzImage")
        say(f"built the kernel {name} in {(time.monotonic() - began) / 60:.0f} min")
        release = _step(tree, "make", "-s", suffix, "kernelrelease").strip().splitlines()[-1]
        shutil.move(tree / "arch/x86/boot/bzImage", work / "bzImage")
        (work / "release").write_text(release + "\n")
        (work / "package").write_text(taken + "\n")
        shutil.rmtree(tree)


def _install() -> None:
    """The packages that are missing, through the machine's own apt."""
    shown = subprocess.run(
        ["dpkg-query", "-W", "-f", "${Package} ${db:Status-Status}\n", *KERNEL_BUILD],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    here = {line.split()[0] for line in shown.stdout.splitlines() if line.endswith(" installed")}
    missing = [package for package in KERNEL_BUILD if package not in here]
    if missing:
        say(f"installing {' '.join(missing)}")
        sudo = [] if os.geteuid() == 0 else ["sudo"]
        apt = [*sudo, "env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-qq", "install", "-y"]
        run([*apt, "--no-install-recommends", *missing])


def newest(served: Sequence[str], pattern: str) -> str:
    """The newest source package that a pattern means; HarnessError where none is served."""
    packages = [name for name in served if fnmatchcase(name, pattern)]
    if not packages:
        raise HarnessError(f"no package like {pattern} is served")
    return max(packages, key=version_key)


def _source(pattern: str, suites: Sequence[str], work: Path) -> tuple[Path, str]:
    """The unpacked source, and the package it is from."""
    registry = Registry(cache_folder() / "apt-built", suites)
    registry.update()
    package = newest(registry.names("linux-source-"), pattern)
    say(f"fetching {package}")
    registry.unpack([package], work)
    registry.forget()
    (archive,) = (work / "usr" / "src").glob("linux-source-*.tar.*")
    tree = work / "tree"
    tree.mkdir()
    run(["tar", "-xf", str(archive), "-C", str(tree), "--strip-components=1"])
    shutil.rmtree(work / "usr")
    return tree, package


def _configure(tree: Path, wanted: Sequence[str]) -> None:
    _step(tree, "make", "-s", "tinyconfig")
    _step(tree, "scripts/config", *(word for option in wanted for word in ("-e", option)))
    _step(tree, "make", "-s", "olddefconfig")
    have = (tree / ".config").read_text().splitlines()
    missing = [option for option in wanted if f"CONFIG_{option}=y" not in have]
    if missing:
        raise HarnessError(f"this source cannot be built with {', '.join(missing)}")


def _build_selftests(tree: Path, wanted: Sequence[str], target: Path) -> None:
    """``kvm/x86/name`` becomes ``target/name``: the kernel's own word on what it promises."""
    target.mkdir()
    _step(tree, "make", "-s", "tinyconfig")
    _step(tree, "make", "-s", "headers")
    for name in wanted:
        folder = tree / "tools/testing/selftests" / name.partition("/")[0]
        program = tree / "tools/testing/selftests" / name
        _step(folder, "make", "-s", "ARCH=x86", str(program))
        shutil.move(program, target / program.name)


def _step(tree: Path, *command: str) -> str:
    """One step of the build; the end of what it said, when it fails."""
    done = subprocess.run(command, cwd=tree, capture_output=True, text=True, check=False)
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines()[-12:]
        raise HarnessError(f"{' '.join(command[:2])} failed:\n" + "\n".join(said))
    return done.stdout
