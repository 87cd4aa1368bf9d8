"""A mapping of a scratch file, from its making to its end."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tracer.model.args import MREMAP_OLD_SHIFT
from tracer.model.words import Flag, Op
from tracer.selftest import syscalls
from tracer.selftest.syscalls import MREMAP_MAYMOVE, PAGE

if TYPE_CHECKING:
    from tracer.selftest.scratch import Scratch


_VM_SHARED, _VM_MAYSHARE = 0x8, 0x80  # include/linux/mm.h


@dataclass
class Mapping:
    """A live mapping of a scratch file. ``counted``: the kernel counts it as writable."""

    file: "Scratch"
    address: int
    length: int
    offset: int
    fmode: int
    counted: bool
    prot: int

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

    def resize(self, length: int) -> int:
        """mremap: another length, at another address if need be.

        How often the kernel files the mapping anew is its affair: the file has to stand in
        ``merging``.
        """
        assert self.file.ino in self.file.merging
        assert self.counted  # what else it may be is not told by the arguments here
        vm_flags = self.prot | _VM_SHARED | _VM_MAYSHARE
        answer = self.file.attempt(
            Op.MREMAP,
            lambda: syscalls.mremap(self.address, self.length, length, MREMAP_MAYMOVE),
            offset=self.offset,
            length=length,
            arg=MREMAP_MAYMOVE | vm_flags << 8 | self.length // PAGE << MREMAP_OLD_SHIFT,
            fmode=self.fmode,
        )
        if answer > 0:
            self.address, self.length = answer, length
        return answer

    def copied(self) -> None:
        """A fork has copied it into another address space."""
        self.file.note(Op.MAP, self.offset, self.length, self.address, arg=Flag.OTHER_MM)

    def unmap(self) -> None:
        syscalls.munmap(self.address, self.length)
        self.file.counted -= self.counted
        self.file.note(Op.UNMAP, offset=self.offset, length=self.length, answer=self.address)
