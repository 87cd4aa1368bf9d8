"""Where findings are looked for: the files under one root, and what the kernel itself answers."""

from __future__ import annotations

import functools
import gzip
import os
import re
import sys
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from tracer.kernel.requirements import distribution
from tracer.kernel.requirements.finding import ANYWHERE, IN_A_CHECKOUT
from tracer.kernel.symbols import Symbols, SymbolsError

Try = Callable[[], int | None]
"""Asks the kernel itself: 0 or an errno, None when it could not be tried."""


@dataclass(frozen=True)
class Host:
    """Where to look. The defaults are an unprivileged x86-64 host whose files lie under `root`.

    Each ``try_…`` has the kernel make one small thing and drops it at once (`tries`); without them
    files and symbols alone decide. Use `live` for the real host.
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
        from tracer.kernel.requirements import tries

        return cls(
            Path("/"),
            os.uname().machine,
            os.geteuid(),
            tuple(sys.path),
            tries.trampoline,
            tries.kprobe,
            tries.ring,
            (Path(__file__).resolve().parents[3] / "tests/vm/boot").exists(),
        )

    @property
    def words(self) -> dict[str, str]:
        """What remedies say in other words on other hosts."""
        return {
            "ELSEWHERE": self.elsewhere,
            "INSTALL_BCC": distribution.how_to_install(distribution.BCC, self.root),
        }

    @property
    def elsewhere(self) -> str:
        """How to trace another kernel."""
        here = self.checkout and distribution.is_debian(self.root)
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
