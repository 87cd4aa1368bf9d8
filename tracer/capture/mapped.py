"""Whether anybody maps a memory file at one moment, as its inode itself has it (``i_mmap``).

/proc tells who maps it, as far as it shows every process; the inode's own tree of mappings, read
in the kernel, tells that nobody does.
"""

from collections.abc import Callable, Collection
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from tracer.capture.memoryfile import MemoryFile, Scan
from tracer.capture.mounts import Mounts

_DRAIN_EVERY = 1000


class Shows(Protocol):
    """What of `tracer.capture.program.Program` is needed."""

    def show_mapped(self, fd: int, final: bool) -> None: ...

    def show_known_mapped(self, final: bool, shown: Collection[tuple[int, int]]) -> None: ...


def show_mapped(
    program: Shows, scan: Scan | None, final: bool, drain: Callable[[], object]
) -> None:
    """One BASELINE record (op ``mapped``) for each file of ``scan`` and each object known in BPF.

    ``drain`` empties the ring in between. OSError where the kernel does not run BPF programs at
    will.
    """
    shown: set[tuple[int, int]] = set()
    mounts = (scan.mounts if scan else None) or Mounts(Path("/proc"))
    for number, file in enumerate(scan.files if scan else ()):
        if _show(program, mounts, file, final):
            shown.add((file.dev, file.ino))
        if number % _DRAIN_EVERY == 0:
            drain()
    program.show_known_mapped(final, shown)


def _show(program: Shows, mounts: Mounts, file: MemoryFile, final: bool) -> bool:
    """Whether the file could still be reached."""
    for path in file.paths():
        # Gone meanwhile: then another of its users may still have it.
        with suppress(FileNotFoundError, ProcessLookupError, PermissionError):
            with mounts.held(path, file.dev, file.ino) as fd:
                program.show_mapped(fd, final)
            return True
    return False
