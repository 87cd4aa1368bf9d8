"""``--file``: the memory files that a user names, held from then on until the hooks know them.

Nothing of a file but the file itself is an identity: numbers are given again. So what a path or a
number leads to is held by a descriptor (O_PATH, which opens nothing and wakes nobody) while the
hooks are set, and the kernel side is told of it by that descriptor.
"""

import os
import re
import stat
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tracer.capture.memory_files import Mounts, generation, look, seals
from tracer.capture.procfs import Scanner
from tracer.errors import UserError
from tracer.escape import printable
from tracer.words import Seal

_AS_SHOWN = re.compile(r"(?:[a-z_]+:)?(\d+):(\d+)/(\d+)(?:/(\d+))?", re.ASCII)
"""As reports name a file without a name: memfd:0:1/42."""
_AS_COLUMNS = re.compile(r"(\d+):(\d+)(?::(\d+))?", re.ASCII)
"""dev, ino and gen of a recording."""


@dataclass(frozen=True, slots=True)
class NamedFile:
    """A memory file; ``fd`` is ours, and holds it."""

    text: str
    """What the user called it."""
    fd: int
    dev: int
    ino: int
    gen: int
    """0: this file system does not tell."""
    sealable: bool

    @property
    def key(self) -> str:
        """For a manifest: ``0:1/42/7``, with the generation behind device and inode."""
        return f"{self.dev >> 20}:{self.dev & 0xFFFFF}/{self.ino}/{self.gen}"


@contextmanager
def held(texts: Sequence[str]) -> Iterator[list[NamedFile]]:
    """The files that ``texts`` name, for as long as the block lasts.

    UserError: a text leads to nothing, or to no memory file.
    """
    with ExitStack() as stack:
        mounts = Mounts(Path("/proc")) if texts else None
        yield [_found(text, mounts, stack) for text in texts if mounts is not None]


def _found(text: str, mounts: Mounts, stack: ExitStack) -> NamedFile:
    shown = printable(text)
    try:
        fd = stack.enter_context(mounts.held(os.fsencode(text)))
    except FileNotFoundError:
        if os.path.lexists(text):
            raise UserError(
                f"--file: {shown} is no memory file (a memfd, or a file on tmpfs or hugetlbfs)"
            ) from None
        numbers = _numbers(text)
        if numbers is None:
            raise UserError(f"--file: there is no {shown}") from None
        fd = _by_numbers(shown, *numbers, mounts, stack)
    except (OSError, ValueError) as error:  # ValueError: a NUL in it
        why = getattr(error, "strerror", None) or error
        raise UserError(f"--file: {shown}: {why}") from None
    found = look(fd)
    if not stat.S_ISREG(found.mode):
        raise UserError(f"--file: {shown} is no file that could be mapped or written to")
    return NamedFile(text, fd, found.dev, found.ino, generation(fd), _sealable(fd))


def _sealable(fd: int) -> bool:
    """F_SEAL_SEAL alone, from birth, is what files have that nobody can seal."""
    try:
        return seals(fd) != Seal.SEAL
    except OSError:
        return True


def _numbers(text: str) -> tuple[int, int, int | None] | None:
    """Device, inode number and generation, None: any."""
    if found := _AS_SHOWN.fullmatch(text):
        major, minor, ino, gen = found.groups()
        return int(major) << 20 | int(minor), int(ino), int(gen) if gen else None
    if found := _AS_COLUMNS.fullmatch(text):
        dev, ino, gen = found.groups()
        return int(dev), int(ino), int(gen) if gen else None
    return None


def _by_numbers(
    shown: str, dev: int, ino: int, gen: int | None, mounts: Mounts, stack: ExitStack
) -> int:
    """Whoever has it open or mapped leads to it."""
    scan = Scanner(mounts=mounts, all_tmpfs=True).scan()
    for file in scan.files:
        if (file.dev, file.ino) != (dev, ino):
            continue
        for path in file.paths():
            try:
                fd = stack.enter_context(mounts.held(path, dev, ino))
            except OSError:
                continue  # gone meanwhile: another of its users may still have it
            if gen is None or generation(fd) == gen:
                return fd
    raise UserError(f"--file: nobody has a memory file {shown} open or mapped")
