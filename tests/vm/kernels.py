"""Chooses a Debian kernel by name, fetches it once and keeps it outside the repository."""

from __future__ import annotations

import json
import lzma
import shutil
import tomllib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from tests.vm import built
from tests.vm.cache import cache_folder, lock, new_folder, say
from tests.vm.debian import HarnessError, Registry, run, version_key

DATA = Path(__file__).with_name("kernels.toml")
_PARTS = ("base", "binary", "modules")


@dataclass(frozen=True)
class Wanted:
    """One entry of kernels.toml."""

    name: str
    suites: tuple[str, ...]
    image: str
    """A pattern over package names; of a kernel of our own, the package of its source."""
    note: str
    folder: str = ""
    """Where the patch and the configuration of a kernel of our own are; else empty."""


@dataclass(frozen=True)
class Kernel:
    """A kernel on this machine, ready to boot."""

    name: str
    release: str
    image: Path


def known() -> dict[str, Wanted]:
    """The kernels that can be asked for by name."""
    entries = tomllib.loads(DATA.read_text())["kernels"]
    return {
        name: Wanted(
            name, tuple(entry["suites"]), entry["image"], entry["note"], entry.get("folder", "")
        )
        for name, entry in entries.items()
    }


def candidates(names: Sequence[str], pattern: str) -> list[str]:
    """The image packages that match a pattern, newest first in Debian's version order."""
    matching = {name for name in names if fnmatchcase(name, pattern)}
    return sorted(matching, key=version_key, reverse=True)


@dataclass(frozen=True)
class Build:
    """One build of a kernel: the packages to unpack, and whether its modules are among them."""

    image: str
    packages: tuple[str, ...]
    modules: bool


def build(image: str, depends: Sequence[str], served: set[str]) -> Build | None:
    """What is served of the kernel of an image package, or None when it cannot boot.

    Older images hold kernel and modules. Newer ones are empty and depend on linux-binary-REL,
    linux-modules-REL and linux-base-REL, of which the registry forgets some after a while. The
    base is dispensable; without modules a kernel boots with what is built in.
    """
    release = image.removeprefix("linux-image-")
    split = [name for name in depends if name in {f"linux-{p}-{release}" for p in _PARTS}]
    packages = (image, *(name for name in split if name in served))
    missing = {name.removesuffix(f"-{release}") for name in split} - {"linux-base"}
    missing -= {name.removesuffix(f"-{release}") for name in packages}
    return None if "linux-binary" in missing else Build(image, packages, not missing)


def cached(name: str) -> Kernel | None:
    """The kernel that this name meant when it was last fetched, if it is still here."""
    try:
        record = json.loads((cache_folder() / f"{name}.json").read_text())
        kernel = Kernel(record["name"], record["release"], Path(record["image"]))
    except (OSError, ValueError, KeyError):
        return None
    return kernel if kernel.image.exists() else None


def find(name: str, refresh: bool = False) -> Kernel:
    """The kernel of a name in kernels.toml, or the kernel image file of that path."""
    entry = known().get(name)
    if entry is None:
        image = Path(name)
        if not image.is_file():
            raise HarnessError(
                f"unknown kernel {name!r}: neither a file nor in {', '.join(known())}"
            )
        return Kernel(name, release_of(image), image.resolve())
    if entry.folder:
        release, image = built.find(name, DATA.parent / entry.folder, entry.image, entry.suites)
        return Kernel(name, release, image)
    kernel = None if refresh else cached(name)
    if kernel is None:
        with lock():
            kernel = None if refresh else cached(name)  # perhaps fetched while we waited
            kernel = kernel or _fetch(entry)
    return kernel


def release_of(image: Path) -> str:
    """The release that an x86 kernel image carries in its header."""
    with image.open("rb") as file:
        head = file.read(1 << 16)
    start = int.from_bytes(head[0x20E:0x210], "little") + 0x200
    words = head[start:].partition(b"\0")[0].split()
    if head[0x202:0x206] != b"HdrS" or not words:
        raise HarnessError(f"{image} is not a kernel image (bzImage)")
    return words[0].decode(errors="replace")


def _fetch(entry: Wanted) -> Kernel:
    """Take the newest whole build of an entry from the registry."""
    say(f"looking for kernel {entry.name} in {', '.join(entry.suites)}")
    registry = Registry(cache_folder() / "apt", entry.suites)
    registry.update()
    served = set(registry.names("linux-"))
    images = candidates(sorted(served), entry.image)
    builds = [found for image in images if (found := build(image, registry.depends(image), served))]
    if not builds:
        raise HarnessError(f"no package like {entry.image} is served in {', '.join(entry.suites)}")
    chosen = next((found for found in builds if found.modules), builds[0])
    if not chosen.modules:
        say(f"{chosen.image}: its modules are not served any more, it boots with what is built in")
    release = chosen.image.removeprefix("linux-image-")
    final = cache_folder() / "releases" / release
    if not final.exists():
        say(f"fetching {' '.join(chosen.packages)}")
        with new_folder(final) as work:
            registry.unpack(chosen.packages, work)
            _arrange(work, release)
    kernel = Kernel(entry.name, release, final / "boot" / f"vmlinuz-{release}")
    record = cache_folder() / f"{entry.name}.json"
    fresh = record.with_suffix(".new")
    fresh.write_text(json.dumps({**asdict(kernel), "image": str(kernel.image)}) + "\n")
    fresh.replace(record)
    registry.forget()
    return kernel


def _arrange(root: Path, release: str) -> None:
    """Bring an unpacked kernel into one layout: boot/vmlinuz-REL and lib/modules/REL.

    virtme-ng finds the modules beside the image, so the machine's own /lib/modules stays as it
    is. Its early init loads modules with busybox, which cannot read compressed ones.
    """
    modules = root / "lib" / "modules" / release
    modules.mkdir(parents=True, exist_ok=True)
    elsewhere = root / "usr" / "lib" / "modules" / release
    if elsewhere.exists():
        elsewhere.rename(modules)
    image = root / "boot" / f"vmlinuz-{release}"
    if not image.exists():
        image.parent.mkdir(exist_ok=True)
        (modules / "vmlinuz").rename(image)
    shutil.rmtree(root / "usr", ignore_errors=True)
    for packed in modules.rglob("*.ko.xz"):
        packed.with_suffix("").write_bytes(lzma.decompress(packed.read_bytes()))
        packed.unlink()
    if not any(modules.iterdir()):
        modules.rmdir()  # virtme-ng then knows that there are none
        return
    run(["/sbin/depmod", "-b", str(root), release])
