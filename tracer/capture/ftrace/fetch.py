"""Fetch arguments: how a probe reaches what it tells, by the offsets of this kernel's BTF."""

from collections.abc import Mapping

from tracer.model.words import Kind

TMPFS_MAGIC = 0x01021994
HUGETLBFS_MAGIC = 0x958458F6
_ARRAY_WORDS = 64
"""MAX_ARRAY_LEN of kernel/trace/trace_probe.h."""
_ARRAYS, _DEEP_ARRAYS = 4, 5
"""The user's registers lie within so many arrays of a probe's stack pointer: system calls begin up
to 1 KiB deeper than need be (CONFIG_RANDOMIZE_KSTACK_OFFSET), and the way from there to a hooked
function took up to 0.3 KiB on 6.1, to the deep ones (setattr, read, write) up to 1 KiB."""
_BEYOND = 3072
"""From vm_mmap_pgoff's stack pointer: more than it is below the top, and not a page more."""
THREAD_SIZE = 16384
"""arch/x86/include/asm/page_64_types.h, without KASAN."""
_WORDS, _DEEP_WORDS = range(8, 96), range(40, 128)
"""Where a fault is a miss: words of the stack, which the kernel gives one by one and not beyond its
end ($stackN). All of them together would be more arguments than an event may have. On 5.10 the
registers that are needed lay 12 to 83 words above a shallow function's stack pointer, and 43 to 120
above a deep one's."""
REGS_WORDS = 23
"""struct pt_regs at the top of the stack, and two words that kernels built for FRED keep free."""
KIND_OF_MAGIC = {TMPFS_MAGIC: Kind.TMPFS, HUGETLBFS_MAGIC: Kind.HUGETLB}
"""KIND_TMPFS stands for everything in shmem until the object's name is known."""


SP = "sp=$stack:x64"
"""The stack pointer: at a return it is a constant above what it was at the entry (`pair`)."""


def at(offset: int, base: str) -> str:
    return f"{offset:+d}({base})"


class Fetch:
    """Fetch arguments by a kernel's layout (`tracer.kernel.offsets.macros`)."""

    def __init__(
        self,
        layout: Mapping[str, int],
        keeps_arguments: bool = False,
        has_current: bool = False,
        faults_are_misses: bool = False,
    ) -> None:
        """``keeps_arguments``: $argN at a return (6.9); ``has_current``: $current.

        ``faults_are_misses``: the kernel counts what a fetch cannot read as a probe that it missed
        (until 5.13, arch/x86/kernel/kprobes/core.c:kprobe_fault_handler), so none may fail.
        """
        self._layout = layout
        self.keeps_arguments = keeps_arguments
        self._has_current = has_current
        self.faults_are_misses = faults_are_misses
        self.hugetlb = layout["OFF_HUGETLB_SEALS"] != 0

    def at(self, macro: str, base: str) -> str:
        return at(self._layout[f"OFF_{macro}"], base)

    def file(self, iocb: str) -> str:
        return self.at("KIOCB_FILE", iocb)

    def inode(self, file: str) -> str:
        return self.at("FILE_INODE", file)

    def identity(self, inode: str) -> list[str]:
        """The inode's address, key, kind, seals and size."""
        block = self.at("INODE_SB", inode)
        return [
            f"inode={inode}:x64",
            f"ino={self.at('INODE_INO', inode)}:u64",
            f"gen={self.at('INODE_GEN', inode)}:u32",
            f"dev={self.at('SB_DEV', block)}:u32",
            f"magic={self.at('SB_MAGIC', block)}:u64",
            *self.state(inode),
        ]

    def state(self, inode: str) -> list[str]:
        """What may change: seals and size."""
        found = [
            f"isize={self.at('INODE_SIZE', inode)}:u64",
            f"sseals={self.at('SHMEM_SEALS', inode)}:u32",
        ]
        if self.hugetlb:
            found.append(f"hseals={self.at('HUGETLB_SEALS', inode)}:u32")
        return found

    def details(self, inode: str) -> list[str]:
        """What else an event or an announcement has of the inode, its name among it."""
        alias = self.at("INODE_DENTRY", inode)
        back = self._layout["OFF_DENTRY_ALIAS"]

        def dentry(macro: str) -> str:
            return at(self._layout[f"OFF_DENTRY_{macro}"] - back, alias)

        mapping = self._layout["OFF_INODE_DATA"]
        return [
            f"imode={self.at('INODE_MODE', inode)}:u16",
            f"iuid={self.at('INODE_UID', inode)}:u32",
            f"igid={self.at('INODE_GID', inode)}:u32",
            f"iflags={self.at('INODE_FLAGS', inode)}:u32",
            f"mflags={at(mapping + self._layout['OFF_MAPPING_FLAGS'], inode)}:x64",
            self.writable(inode),
            f"alias={alias}:x64",
            f"parent={dentry('PARENT')}:x64",
            f"name={at(0, dentry('NAME'))}:string",
        ]

    def writable(self, inode: str) -> str:
        place = self._layout["OFF_INODE_DATA"] + self._layout["OFF_MAPPING_WRITABLE"]
        return f"writable={at(place, inode)}:s32"

    def object(self, inode: str) -> list[str]:
        return [*self.identity(inode), *self.details(inode)]

    def task(self, deep: bool = False) -> list[str]:
        """Command name, and the user's registers or where they must be (`userregs.fill`)."""
        found = ["comm=$comm:string", SP]
        if self._has_current:
            stack = self.at("TASK_STACK", "$current")
            top = at(THREAD_SIZE - 8 * REGS_WORDS, stack)
            status = self.at("TASK_STATUS", "$current")
            return [*found, f"status={status}:x32", f"regs={top}:x64[{REGS_WORDS}]"]
        if self.faults_are_misses:
            return [*found, *(f"w{n}=$stack{n}" for n in (_DEEP_WORDS if deep else _WORDS))]
        return found + [
            f"stk{part}={at(part * _ARRAY_WORDS * 8, '$stack')}:x64[{_ARRAY_WORDS}]"
            for part in range(_DEEP_ARRAYS if deep else _ARRAYS)
        ]

    def sealable(self, unsealable: bool) -> str:
        """A condition: a memory file, and one that can be sealed unless all are asked for."""
        shmem, huge = f"magic == {TMPFS_MAGIC}", f"magic == {HUGETLBFS_MAGIC}"
        if not unsealable:
            shmem, huge = f"({shmem} && sseals != 1)", f"({huge} && hseals != 1)"
        return f"({shmem} || {huge})" if self.hugetlb else shmem


def trials(layout: Mapping[str, int], group: str) -> tuple[str, str]:
    """Events that kernels take which keep arguments for the return, and which know $current."""
    fetch = Fetch(layout)
    inode = fetch.inode("$arg1")
    return (
        f"r:{group}/try vm_mmap_pgoff inode={inode}:x64",
        f"p:{group}/try vm_mmap_pgoff stack={fetch.at('TASK_STACK', '$current')}:x64",
    )


def faulting(group: str, name: str) -> str:
    """An event that fetches from the page behind a stack, where there never is anything."""
    return f"p:{group}/{name} vm_mmap_pgoff beyond=+{_BEYOND}($stack):x64"
