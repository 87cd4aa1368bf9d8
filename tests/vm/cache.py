"""The folder outside the repository where fetched things are kept, and how it is filled."""

from __future__ import annotations

import fcntl
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def cache_folder() -> Path:
    """Where kernels are kept: the user's cache, never the repository."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base).absolute() / "sealsnoop" / "kernels"


@contextmanager
def lock(what: str = "") -> Iterator[None]:
    """Only one process at a time fetches; the others wait and then find it done.

    ``what``: for what takes long and has nothing to do with the rest.
    """
    cache_folder().mkdir(parents=True, exist_ok=True)
    with (cache_folder() / f".lock{what and '-'}{what}").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextmanager
def new_folder(final: Path) -> Iterator[Path]:
    """A folder that appears under its final name only when it is complete."""
    final.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=final.parent, prefix=".new-") as folder:
        work = Path(folder) / "root"
        work.mkdir()
        yield work
        shutil.rmtree(final, ignore_errors=True)
        work.rename(final)


def say(text: str) -> None:
    """Tell the user something beside the command's own output."""
    print(f"boot: {text}", file=sys.stderr, flush=True)
