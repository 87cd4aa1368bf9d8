"""Fetches debug files by build id from servers that speak debuginfod's protocol, if that is wanted.

A server learns by it what was traced. What it gives is whatever it likes: it is as hostile as any
other file, and is used only if it has the build id.
"""

import contextlib
import os
import tempfile
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path

from tracer.errors import UserError
from tracer.escape import printable

_VARIABLE = "DEBUGINFOD_URLS"
_BYTES = 1 << 31
_TIMEOUT_S = 30.0
_PIECE = 1 << 20
_LEAST = 16
"""Digits of a build id that is asked for."""


def servers() -> list[str]:
    """Those of $DEBUGINFOD_URLS. UserError: there is none, or what is no address of one."""
    found = os.environ.get(_VARIABLE, "").split()
    if not found:
        raise UserError(
            f"--debuginfod: {_VARIABLE} names no server (for Debian: "
            f"{_VARIABLE}=https://debuginfod.debian.net)"
        )
    for one in found:
        if not one.startswith(("http://", "https://")):
            raise UserError(f"--debuginfod: {printable(one)} in {_VARIABLE} is no http address")
    return found


class Debuginfod:
    """Gets debug files, and keeps them in the user's cache."""

    def __init__(self, urls: Sequence[str], cache: Path | None = None) -> None:
        """``cache``: None: ``$XDG_CACHE_HOME/sealsnoop/debug``."""
        self._urls = [url.rstrip("/") for url in urls]
        base = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
        self._cache = cache or Path(base) / "sealsnoop" / "debug"

    def path(self, build_id: str) -> Path | None:
        """A file that a server gives for this build id; None: none has it."""
        if len(build_id) < _LEAST or not all(one in "0123456789abcdef" for one in build_id):
            return None
        kept = self._cache / build_id
        if kept.is_file():
            return kept
        for url in self._urls:
            with contextlib.suppress(OSError, ValueError):
                self._fetch(f"{url}/buildid/{build_id}/debuginfo", kept)
                return kept
        return None

    def _fetch(self, url: str, to: Path) -> None:
        """OSError, ValueError: it is not there, or too large."""
        self._cache.mkdir(mode=0o700, parents=True, exist_ok=True)
        with urllib.request.urlopen(url, timeout=_TIMEOUT_S) as answer:
            fd, part = tempfile.mkstemp(dir=self._cache)
            try:
                with os.fdopen(fd, "wb") as file:
                    size = 0
                    while piece := answer.read(_PIECE):
                        size += len(piece)
                        if size > _BYTES:
                            raise ValueError("too large")
                        file.write(piece)
                os.rename(part, to)
            except BaseException:
                os.unlink(part)
                raise
