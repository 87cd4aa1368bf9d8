"""The daemon that shows the host's files to the guest, taken from Debian's registry.

Why not the machine's own: see kernels.toml.
"""

from __future__ import annotations

import tomllib
from pathlib import Path

from tests.vm.cache import cache_folder, lock, new_folder, say
from tests.vm.debian import Registry
from tests.vm.kernels import DATA


def find() -> Path:
    """The folder with a `virtiofsd` that runs here."""
    folder = cache_folder() / "virtiofsd"
    if not (folder / "bin" / "virtiofsd").exists():
        with lock():
            if not (folder / "bin" / "virtiofsd").exists():
                _fetch(folder)
    return folder / "bin"


def _fetch(folder: Path) -> None:
    """Unpack virtiofsd with the libraries it was linked with, and a script that joins them."""
    say("fetching virtiofsd")
    entry = tomllib.loads(DATA.read_text())["virtiofsd"]
    registry = Registry(cache_folder() / "apt", entry["suites"])
    registry.update()
    libraries = folder / "usr" / "lib" / "x86_64-linux-gnu"
    script = (
        f"#!/bin/sh\nexec {libraries}/ld-linux-x86-64.so.2 --library-path {libraries} "
        f'{folder}/usr/libexec/virtiofsd "$@"\n'
    )
    with new_folder(folder) as work:
        registry.unpack(entry["packages"], work)
        (work / "bin").mkdir()
        (work / "bin" / "virtiofsd").write_text(script)
        (work / "bin" / "virtiofsd").chmod(0o755)
    registry.forget()
