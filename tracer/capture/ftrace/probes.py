"""The kprobe events for a plan: what each fetches, by offsets from BTF, and which it lets pass.

Syntax: Documentation/trace/kprobetrace.rst. Nothing that a user typed becomes part of it: numbers
from BTF, function names of ours, and filters over numbers.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from tracer.capture.ftrace.pages import What
from tracer.capture.memory_files import HUGETLBFS_MAGIC, TMPFS_MAGIC
from tracer.kernel.offsets import THREAD_SIZE
from tracer.kernel.plan import Step
from tracer.words import Hook, Kind, Op

_ARRAY_WORDS = 64
"""MAX_ARRAY_LEN of kernel/trace/trace_probe.h."""
_ARRAYS, _DEEP_ARRAYS = 4, 5
"""The user's registers lie within so many arrays of a probe's stack pointer: system calls begin up
to 1 KiB deeper than need be (CONFIG_RANDOMIZE_KSTACK_OFFSET), and the way from there to a hooked
function took up to 0.3 KiB on 6.1, to the deep ones (setattr, read, write) up to 1 KiB."""
_BEYOND = 3072
"""From vm_mmap_pgoff's stack pointer: more than it is below the top, and not a page more."""
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
            f"sflags={self.at('SHMEM_FLAGS', inode)}:u32",
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


_F_ADD_SEALS = 1033
_ATTR_MODE_OR_SIZE = 9
_MAXACTIVE = 1024
"""Calls of one function at the same time whose returns are seen (KRETPROBE_MAXACTIVE_MAX: 4096)."""
_REGISTERS = ("%di", "%si", "%dx", "%cx", "%r8", "%r9")
_REGS_CX, _REGS_SI, _REGS_ORIG_AX = 88, 104, 120  # struct pt_regs of x86-64


@dataclass(frozen=True, slots=True)
class Probe:
    """One event. ``definition`` lacks group and name; ``event`` is the name's beginning."""

    event: str
    family: str
    hook: Hook
    what: What
    op: Op | None
    kind: str
    place: str
    arguments: tuple[str, ...]
    condition: str = ""
    narrow: bool = False
    """The function returns an int."""

    def definition(self, group: str, name: str) -> str:
        return f"{self.kind}:{group}/{name} {self.place} {' '.join(self.arguments)}"


def for_step(step: Step, fetch: Fetch, unsealable: bool) -> Iterator[Probe]:
    """The events that serve one family of a plan; none: that one needs what no fetch can do."""
    if step.program == "created":
        yield _install(step, fetch)
    if step.program == "exec_open":
        yield _opened(step, fetch, fetch.sealable(True))
    if step.program not in _ENTRIES and step.program not in _RETURNS:
        return
    place, hook = step.symbol or "", Hook[step.hook.upper()]
    if step.program in _ENTRIES:
        make = _ENTRIES[step.program]
        what, op, fetched, condition = make(step, fetch, fetch.sealable(unsealable))
        yield Probe(step.family, step.family, hook, what, op, "p", place, tuple(fetched), condition)
    if step.at_return:
        what = _RETURNS.get(step.program, What.RETURN)
        arguments = ["ret=$retval:s64", *([SP] if what == What.RETURN else [])]
        yield Probe(
            f"{step.family}_ret", step.family, hook, what, None, f"r{_MAXACTIVE}", place,
            (*arguments, *_at_return(step, fetch)), narrow=step.program in _INT,
        )  # fmt: skip


_INT = frozenset(
    {"mmap_check", "create_check", "shmem_mmap", "hugetlb_mmap", "setattr", "write_check", "exec"}
)
_RETURNS = {
    "mmap_check": What.CHECK,
    "create_check": What.CHECK,
    "write_check": What.CHECK,
    "shmem_mmap": What.FILE_MMAP,
    "hugetlb_mmap": What.FILE_MMAP,
    "exec": What.EXECUTED,
}

_Made = tuple[What, Op | None, list[str], str]


def _install(step: Step, fetch: Fetch) -> Probe:
    """A new file gets its number, and nobody else has it yet; a filter keeps other files back."""
    arguments = ("fd=%di:s32", *fetch.object(fetch.inode("%si")))
    return Probe(
        "install", step.family, Hook.CREATE, What.INSTALL, None, "p", "fd_install",
        arguments, fetch.sealable(True),
    )  # fmt: skip


def _opened(step: Step, fetch: Fetch, sealable: str) -> Probe:
    """What open_exec returns: a loader. Of an error nothing can be fetched."""
    arguments = [
        f"fmode={fetch.at('FILE_MODE', '$retval')}:u32",
        *fetch.object(fetch.inode("$retval")),
        *fetch.task(deep=True),
    ]
    return Probe(
        "exec_open_ret", step.family, Hook.EXEC, What.IN_HAND, Op.EXEC, f"r{_MAXACTIVE}",
        step.symbol or "", tuple(arguments), sealable,
    )  # fmt: skip


def _in_hand(step: Step, fetch: Fetch, sealable: str) -> _Made:
    """A program, or an interpreter in its place. Files that cannot be sealed are executed too."""
    file = fetch.at("BPRM_FILE", "%di")
    arguments = [f"fmode={fetch.at('FILE_MODE', file)}:u32", *fetch.object(fetch.inode(file))]
    arguments += fetch.task(deep=True)
    if step.program == "exec_begin":
        path = at(0, fetch.at("BPRM_FILENAME", "%di"))
        arguments += [f"path={path}:x64[4]", f"fdpath={fetch.at('BPRM_FDPATH', '%di')}:x64"]
    return What.IN_HAND, Op.EXEC, arguments, fetch.sealable(True)


def _mmap(step: Step, fetch: Fetch, sealable: str) -> _Made:
    inode = fetch.inode("%di")
    arguments = ["file=%di:x64", "length=%dx:u64", "prot=%cx:u64", "mflag=%r8:u64", "pgoff=%r9:u64"]
    arguments += [f"fmode={fetch.at('FILE_MODE', '%di')}:u32", *fetch.object(inode), *fetch.task()]
    return What.ENTRY, Op.MMAP, arguments, f"file != 0 && {sealable}"


def _setattr(step: Step, fetch: Fetch, sealable: str) -> _Made:
    places = dict(step.defines)
    dentry = _REGISTERS[places["ARG_SETATTR_DENTRY"]]
    iattr = _REGISTERS[places["ARG_SETATTR_IATTR"]]
    inode = fetch.at("DENTRY_INODE", dentry)
    arguments = [
        f"valid={fetch.at('IATTR_VALID', iattr)}:u32",
        f"amode={fetch.at('IATTR_MODE', iattr)}:u16",
        f"asize={fetch.at('IATTR_SIZE', iattr)}:u64",
        *fetch.object(inode),
        *fetch.task(deep=True),
    ]
    return What.ENTRY, Op.TRUNCATE, arguments, f"valid & {_ATTR_MODE_OR_SIZE} && {sealable}"


def _io(step: Step, fetch: Fetch, sealable: str) -> _Made:
    file = fetch.file("%di")
    inode = fetch.inode(file)
    arguments = [
        f"pos={fetch.at('KIOCB_POS', '%di')}:s64",
        f"length={fetch.at('IOV_COUNT', '%si')}:u64",
        f"fmode={fetch.at('FILE_MODE', file)}:u32",
        *fetch.object(inode),
        *fetch.task(deep=True),
    ]
    return What.ENTRY, Op.WRITE if step.program == "write" else Op.READ, arguments, sealable


def _chunk(step: Step, fetch: Fetch, sealable: str) -> _Made:
    inode = fetch.at("MAPPING_HOST", "%si")
    arguments = ["pos=%dx:s64", *fetch.identity(inode)]
    return What.CHUNK, Op.WRITE, arguments, sealable


def _allocate(step: Step, fetch: Fetch, sealable: str) -> _Made:
    inode = fetch.inode("%di")
    arguments = ["fmask=%si:u32", "pos=%dx:s64", "length=%cx:u64"]
    arguments += [f"fmode={fetch.at('FILE_MODE', '%di')}:u32", *fetch.object(inode), *fetch.task()]
    return What.ENTRY, Op.ALLOCATE, arguments, sealable


def _seals(step: Step, fetch: Fetch, sealable: str) -> _Made:
    """Also on files that cannot be sealed: the refusal is a decision too."""
    inode = fetch.inode("%di")
    # What the kernel's function is given: what it cuts off itself, or refuses (mm/memfd.c).
    size = dict(step.defines).get("BYTES_SEALS_ARG", 4)
    arguments = ["cmd=%si:u32", f"sarg=%dx:u{8 * size}"]
    arguments += [f"fmode={fetch.at('FILE_MODE', '%di')}:u32", *fetch.object(inode), *fetch.task()]
    return What.ENTRY, Op.ADD_SEALS, arguments, f"cmd == {_F_ADD_SEALS} && {fetch.sealable(True)}"


def _create(step: Step, fetch: Fetch, sealable: str) -> _Made:
    """memfd_create(name, flags) by its system call's registers."""
    compat = (step.symbol or "").startswith("__ia32_")
    name, register = ("compat_cflags", _REGS_CX) if compat else ("cflags", _REGS_SI)
    arguments = [
        f"{name}={at(register, '%di')}:u32",
        f"snr={at(_REGS_ORIG_AX, '%di')}:u64",
        "comm=$comm:string",
        SP,
    ]
    return What.ENTRY, Op.CREATE, arguments, ""


def _vma(step: Step, fetch: Fetch, sealable: str) -> _Made:
    file = fetch.at("VMA_FILE", "%di")
    arguments = [
        f"file={file}:x64",
        f"mm={fetch.at('MM_NUMBER', fetch.at('VMA_MM', '%di'))}:u64",
        f"vstart={fetch.at('VMA_START', '%di')}:u64",
        f"vend={fetch.at('VMA_END', '%di')}:u64",
        f"pgoff={fetch.at('VMA_PGOFF', '%di')}:u64",
        f"vflags={fetch.at('VMA_FLAGS', '%di')}:u64",
        *fetch.object(fetch.inode(file)),
        "comm=$comm:string",
    ]
    op = Op.MAP if step.program == "map" else Op.UNMAP
    return What.FACT, op, arguments, f"file != 0 && {sealable}"


def _evict(step: Step, fetch: Fetch, sealable: str) -> _Made:
    return What.FACT, Op.EVICT, [*fetch.identity("%di"), "comm=$comm:string"], ""


_ENTRIES = {
    "mmap": _mmap,
    "setattr": _setattr,
    "write": _io,
    "read": _io,
    "write_check": _chunk,
    "allocate": _allocate,
    "seals": _seals,
    "create": _create,
    "map": _vma,
    "unmap": _vma,
    "evict": _evict,
    "exec_begin": _in_hand,
    "exec_check": _in_hand,
}


def _at_return(step: Step, fetch: Fetch) -> list[str]:
    """What is looked at again at the return: kernels that keep the arguments (6.9) tell it."""
    argument = "$arg1"
    if not fetch.keeps_arguments:
        return []
    if step.program in ("mmap", "allocate", "seals"):
        inode = fetch.inode(argument)
    elif step.program == "setattr":
        argument = f"$arg{dict(step.defines)['ARG_SETATTR_DENTRY'] + 1}"
        inode = fetch.at("DENTRY_INODE", argument)
    elif step.program in ("write", "read"):
        inode = fetch.inode(fetch.file(argument))
    else:
        return []
    found = [f"held={argument}:x64", f"inode={inode}:x64", *fetch.state(inode)]
    if step.program in ("write", "read"):
        found.append(f"pos={fetch.at('KIOCB_POS', argument)}:s64")
    if step.program == "seals":
        found.append(fetch.writable(inode))
    return found


TRACEPOINTS = (
    ("task", "task_newtask", What.NEWTASK),
    ("sched", "sched_process_exit", What.EXIT),
    ("sched", "sched_process_exec", What.EXEC),
    ("cgroup", "cgroup_attach_task", What.CGROUP),
)


CONVERT = Step(
    family="convert_trace",
    program="tracepoint",
    hook=Hook.CONVERT.name.lower(),
    ops=(Op.CONVERT.name.lower(),),
    symbol="kvm:kvm_vm_set_mem_attributes",
    method="tracepoint",
    reason="KVM has this tracepoint (7.2, 7.3)",
    unseen="which ranges of guest memory are made private or shared",
    essential=False,
    module="kvm",
)
"""The step of conversions, which only a module tells. Of which machine they are, and what came of
them, is not told, nor what KVM refuses before it looks at the range."""
CONVERT_FIELDS = frozenset({"start", "end", "attr"})
"""Guest pages, and KVM_MEMORY_ATTRIBUTE_* (include/trace/events/kvm.h)."""


WITNESSES = tuple(
    Probe("mmap_seen", "", Hook.MMAP, What.NONE, None, "p", place, (), "common_pid == 0")
    for place in ("security_mmap_file", "do_mmap")
)
"""For kernels where a fault in a fetch counts as a miss (`Fetch.faults_are_misses`): whoever maps
without a file makes mmap's own fetches fault, each time. The first of these that is there fetches
nothing and is never told; it is entered within the same calls, and missed where they are missed: a
kernel skips a probe for another one that is being handled on that CPU."""


def supplements(fetch: Fetch) -> tuple[Probe, ...]:
    """The kprobe events among them; `TRACEPOINTS` are the others."""
    return (
        Probe(
            "creds", "", Hook.NONE, What.CREDS, None, "p", "commit_creds",
            (f"cuid={fetch.at('CRED_UID', '%di')}:u32",),
        ),
    )  # fmt: skip
