"""Which functions the running kernel has, and which of them can be hooked.

Sources: ``/proc/kallsyms`` (kernel/kallsyms.c), the kprobe blacklist in debugfs
(kernel/kprobes.c) and ftrace's ``available_filter_functions`` in tracefs
(Documentation/trace/ftrace.rst).
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable
from pathlib import Path

# Data symbols cannot be hooked, so only the text letters are kept
_TEXT_SYMBOL = re.compile(rb"^[0-9a-f]+ [tTwW] (\S+)(?:[\t ]+\[(\S+)\])?$", re.MULTILINE)
# JITed BPF programs and ftrace's own trampolines are listed as if they were modules
_NOT_MODULES = (b"bpf", b"__builtin__")
# Endings of pieces that the compiler cut out of a function: they are not the function
_FRAGMENT = re.compile(r"\.(cold|part)(\.|$)")


# Cause and remedy of what can be wrong with the file
NO_FILE = ("there is no {PATH}", "mount /proc, or use a kernel built with CONFIG_KALLSYMS")
UNREADABLE = (
    "cannot read {PATH}: {ERROR}",
    "run as root, outside a sandbox that hides the kernel's symbols",
)
NO_FUNCTION = (
    "{PATH} lists no function",
    "use a kernel built with CONFIG_KALLSYMS, outside a sandbox that empties the file",
)


class SymbolsError(Exception):
    """The kernel's symbols cannot be read. `cause` says why, `remedy` what to do."""

    def __init__(self, cause: str, remedy: str) -> None:
        super().__init__(f"{cause}; {remedy}")
        self.cause = cause
        self.remedy = remedy


def _error(text: tuple[str, str], path: Path, error: str = "") -> SymbolsError:
    return SymbolsError(text[0].format(PATH=path, ERROR=error), text[1])


def data_address(name: str, module: str, root: str | Path = "/") -> int:
    """Address of a variable in `root`/proc/kallsyms, 0 where it is not told.

    It is a module's, or the kernel's own where that is built in.
    """
    line = rf"^([0-9a-f]+) [a-zA-Z] {re.escape(name)}"
    try:
        data = (Path(root) / "proc/kallsyms").read_bytes()
    except OSError:
        return 0
    for where in (rf"\t\[{re.escape(module)}\]$", "$"):
        found = re.search((line + where).encode(), data, re.MULTILINE)
        if found:
            return int(found[1], 16)
    return 0


class Symbols:
    """The text symbols of one kernel.

    `load` reads them; the lists of debugfs and tracefs are only read when first asked for, as
    they take longer and root alone may see them.
    """

    def __init__(self, found: Iterable[tuple[bytes, bytes]], root: Path = Path("/")) -> None:
        self._root = root
        self._modules: dict[bytes, bytes] = {}
        for name, module in found:
            self._modules.setdefault(name, module)

    @classmethod
    def load(cls, root: str | Path = "/") -> Symbols:
        """Read `root`/proc/kallsyms. Addresses are not looked at: without privilege all are 0.

        Raises SymbolsError when the file is missing, unreadable or holds no text symbol.
        """
        path = Path(root) / "proc/kallsyms"
        try:
            data = path.read_bytes()
        except FileNotFoundError as error:
            raise _error(NO_FILE, path) from error
        except OSError as error:
            raise _error(UNREADABLE, path, error.strerror or str(error)) from error
        found = _TEXT_SYMBOL.findall(data)
        if not found:
            raise _error(NO_FUNCTION, path)
        return cls(found, Path(root))

    def __len__(self) -> int:
        """Number of different names."""
        return len(self._modules)

    def has(self, name: str) -> bool:
        """True when a function of exactly this name exists (in the kernel or a loaded module)."""
        module = self._modules.get(name.encode())
        return module is not None and not module.startswith(_NOT_MODULES)

    def module_of(self, name: str) -> str | None:
        """The module a function is in, None for the kernel itself (and for no function at all).

        Of several functions the first listed counts, as it does for the kernel's own look-up.
        """
        if not self.has(name):
            return None
        return self._modules[name.encode()].decode() or None

    def has_module(self, module: str) -> bool:
        """True when a function of this module is listed: it is loaded."""
        return module.encode() in self._modules.values()

    def suffixed(self, name: str) -> tuple[str, ...]:
        """Copies that the compiler made with a changed interface, e.g. ``foo.isra.0``, sorted.

        Where only these exist, BTF may still list the plain name, but a trampoline cannot attach
        and the arguments need not be where the prototype says. Fragments (``.cold``, ``.part.0``)
        do not count.
        """
        return tuple(self._suffixed.get(name, ()))

    @functools.cached_property
    def _suffixed(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for raw in self._modules:
            if b"." not in raw:
                continue
            full = raw.decode("utf-8", "backslashreplace")
            plain = full.partition(".")[0]
            if plain and not _FRAGMENT.search(full):
                found.setdefault(plain, []).append(full)
        for names in found.values():
            names.sort()
        return found

    def traceable(self, name: str) -> bool | None:
        """True when ftrace can hook the entry of this function, which kprobes and fexit build on.

        False when it cannot or kprobes forbids it, None when the lists cannot be read.
        """
        if not self.has(name) or name.encode() in (self._blacklist or ()):
            return False
        return None if self._filterable is None else name.encode() in self._filterable

    def assume_traceable(self) -> None:
        """Do not read the lists of debugfs and tracefs: that takes long, and trying tells as well.

        `traceable` then says None.
        """
        self._blacklist = self._filterable = None

    @functools.cached_property
    def _blacklist(self) -> frozenset[bytes] | None:
        # lines: 0xSTART-0xEND<tab>name
        data = self._read("sys/kernel/debug/kprobes/blacklist")
        if data is None:
            return None
        return frozenset(parts[1] for parts in map(bytes.split, data.splitlines()) if parts[1:])

    @functools.cached_property
    def _filterable(self) -> frozenset[bytes] | None:
        # lines: name, or name<blank>[module]
        for folder in ("sys/kernel/tracing", "sys/kernel/debug/tracing"):
            data = self._read(f"{folder}/available_filter_functions")
            if data:
                return frozenset(parts[0] for parts in map(bytes.split, data.splitlines()) if parts)
        return None

    def _read(self, path: str) -> bytes | None:
        try:
            return (self._root / path).read_bytes()
        except OSError:
            return None
