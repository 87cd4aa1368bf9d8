"""A mapping of a scratch file, from its making to its end."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tracer.model.words import Flag, Op
from tracer.selftest import syscalls

if TYPE_CHECKING:
    from tracer.selftest.scratch import Scratch


@dataclass
class Mapping:
    """A live mapping of a scratch file. ``counted``: the kernel counts it as writable."""

    file: "Scratch"
    address: int
    length: int
    offset: int
    fmode: int
    counted: bool

    def protect(self, prot: int) -> int:
        """mprotect of all of it; no hook sees that."""
        file = self.file
        return file.attempt(
            Op.MPROTECT,
            lambda: syscalls.mprotect(self.address, self.length, prot),
            offset=self.offset,
            length=self.length,
            arg=prot,
            fmode=self.fmode,
            hooked=False,
        )

    def copied(self) -> None:
        """A fork has copied it into another address space."""
        self.file.note(Op.MAP, self.offset, self.length, self.address, arg=Flag.OTHER_MM)

    def unmap(self) -> None:
        syscalls.munmap(self.address, self.length)
        self.file.counted -= self.counted
        self.file.note(Op.UNMAP, offset=self.offset, length=self.length, answer=self.address)
