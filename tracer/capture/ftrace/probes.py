"""The kprobe events for a plan: what each fetches, by offsets from BTF, and which it lets pass.

Syntax: Documentation/trace/kprobetrace.rst. Nothing that a user typed becomes part of it: numbers
from BTF, function names of ours, and filters over numbers.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from tracer.capture.ftrace.fetch import SP, Fetch, at
from tracer.capture.ftrace.what import What
from tracer.kernel.plan import Step
from tracer.model.words import Hook, Op

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
    if step.program not in _ENTRIES and step.program not in _RETURNS:
        return
    make = _ENTRIES.get(step.program)
    place = step.symbol or ""
    hook = Hook[step.hook.upper()]

    def probe(
        suffix: str, what: What, op: Op | None, arguments: list[str], condition: str
    ) -> Probe:
        return Probe(
            f"{step.family}{suffix}", step.family, hook, what, op, "p", place,
            tuple(arguments), condition,
        )  # fmt: skip

    if make is not None:
        what, op, arguments, condition = make(step, fetch, fetch.sealable(unsealable))
        yield probe("", what, op, arguments, condition)
    if step.at_return:
        what = _RETURNS.get(step.program, What.RETURN)
        arguments = ["ret=$retval:s64", *([SP] if what == What.RETURN else [])]
        yield Probe(
            f"{step.family}_ret", step.family, hook, what, None, f"r{_MAXACTIVE}", place,
            (*arguments, *_at_return(step, fetch)), narrow=step.program in _INT,
        )  # fmt: skip


_INT = frozenset({"mmap_check", "shmem_mmap", "hugetlb_mmap", "setattr", "write_check"})
_RETURNS = {
    "mmap_check": What.CHECK,
    "write_check": What.CHECK,
    "shmem_mmap": What.FILE_MMAP,
    "hugetlb_mmap": What.FILE_MMAP,
}

_Made = tuple[What, Op | None, list[str], str]


def _install(step: Step, fetch: Fetch) -> Probe:
    """A new file gets its number, and nobody else has it yet; a filter keeps other files back."""
    arguments = ("fd=%di:s32", *fetch.object(fetch.inode("%si")))
    return Probe(
        "install", step.family, Hook.CREATE, What.INSTALL, None, "p", "fd_install",
        arguments, fetch.sealable(True),
    )  # fmt: skip


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
