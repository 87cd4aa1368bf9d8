"""The words of a recording: its enums, what each operation is, and the names of the seals.

The enums are the BPF side's too (`tracer.capture.bpf_source.enumerators`); their lower-case names
are the words users see. An operation is one entry of :data:`OPS`, from which documents, help and
views take what it means.

F_SEAL_* bits are those of include/uapi/linux/fcntl.h. Bit 0x20, and flag 0x8 of memfd_create with
which a file is born so sealed, were given to different things by the January 2022 proposal and by
Linux 6.3: only the self-test of a recording tells which kernel wrote it (:class:`Bit5`).

Nothing here imports numpy: a verb's ``--help`` needs these words too.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum, IntFlag, StrEnum
from typing import NamedTuple


class Bit5(NamedTuple):
    """The two names, as they stand among those of the other bits."""

    seal: str
    flag: str


EXEC = Bit5("EXEC", "NOEXEC_SEAL")
"""F_SEAL_EXEC (6fd7353829ca) and MFD_NOEXEC_SEAL (105ff5339f49), include/uapi since 6.3."""
INACCESSIBLE = Bit5("INACCESSIBLE", "INACCESSIBLE")
"""F_SEAL_INACCESSIBLE and MFD_INACCESSIBLE, list patches v4 01/12 and 02/12 of 18 Jan 2022."""
UNKNOWN = Bit5("0x20", "0x8")
"""The number, as for every bit without a name: either name would say what nobody has seen, and
verdicts that depend on it are indeterminate for the same reason."""

_NAMES = {
    "exec": EXEC,
    "inaccessible": INACCESSIBLE,
    # The kernel refuses both bits, so the name says no more than what was asked for, and the only
    # header that was ever released has these names. Programs that try MFD_NOEXEC_SEAL first and do
    # without it on such kernels are common.
    "none": EXEC,
}


def bit5_of(meaning: object) -> Bit5:
    """The names for ``self_test.bit_0x20`` of a manifest; anything but its words is not known."""
    return _NAMES.get(meaning, UNKNOWN) if isinstance(meaning, str) else UNKNOWN


class HookState(StrEnum):
    """What became of a hook family on the kernel that was traced."""

    LIVE = "live"
    WAITING = "waiting"
    """Its module is not loaded, so that nothing can happen there yet."""
    UNSUPPORTED = "unsupported"
    """This kernel has no such function and need not have it."""
    FAILED = "failed"
    """It has, and nothing was attached; or it has none and must."""

    @classmethod
    def of(cls, method: str | None, symbol: str | None, absent: bool) -> "HookState":
        """From a step of the hook plan, as `tracer.kernel.plan` makes and manifests keep it."""
        if not method:
            return cls.UNSUPPORTED if absent else cls.FAILED
        return cls.LIVE if symbol else cls.WAITING


class RecordType(IntEnum):
    EVENT = 1
    OBJECT = 2
    NAME = 3
    BASELINE = 4
    """Held open or mapped before the trace began."""
    LOSS = 5
    CLOCK = 6
    TOTALS = 7
    CGROUP = 8
    CALLER = 9
    FRAME = 10
    MODULE = 11
    TASK = 12
    """A piece of what is known of an actor."""


class Op(IntEnum):
    """The operation that was decided; lower-case names are the words users see."""

    MMAP = 1
    MPROTECT = 2
    WRITE = 3
    READ = 4
    TRUNCATE = 5
    CHMOD = 6
    ALLOCATE = 7
    PUNCH_HOLE = 8
    ADD_SEALS = 9
    CREATE = 10
    FAULT = 11
    MAP = 12
    UNMAP = 13
    EVICT = 14
    OPEN = 16
    MEMSLOT = 17
    REMOTE_READ = 18
    REMOTE_WRITE = 19
    PIN = 20
    UFFD_REGISTER = 21
    RECEIVE = 22
    MAPPED = 23
    ATTACH = 24
    MREMAP = 25
    UFFD_FILL = 26
    TRACE = 27
    GIVE = 28
    ADVISE = 29
    SHARE_MM = 30
    VM_END = 31
    RING = 32
    DEVICE = 33
    REMAP_FILE_PAGES = 34
    EXEC = 35
    CONVERT = 36
    SEV_DEBUG = 37


class Fill(IntEnum):
    """``arg`` of UFFD_FILL: which of userfaultfd's ioctls. UFFDIO_MOVE moves anonymous memory
    alone."""

    COPY = 1
    ZERO = 2
    CONTINUE = 3
    POISON = 4


class SevDebug(IntEnum):
    """``arg`` of SEV_DEBUG: KVM_SEV_DBG_*."""

    DECRYPT = 18
    ENCRYPT = 19


class Receipt(IntEnum):
    """The low half of RECEIVE's ``arg``: how the descriptor came."""

    UNKNOWN = 0
    SCM_RIGHTS = 1
    PIDFD_GETFD = 2
    PROC_FD = 3
    MAP_FILES = 4
    MSG_RING = 5
    SECCOMP = 6


class Device(IntEnum):
    """``arg`` of DEVICE."""

    UDMABUF = 1


class ExecForm(IntEnum):
    """The lowest byte of EXEC's ``arg``: how the system call named the program."""

    PATH = 1
    PROC_FD = 2
    EMPTY_PATH = 3


class ExecRole(IntEnum):
    """The next byte: as what the memory file was executed."""

    PROGRAM = 1
    INTERPRETER = 2
    LOADER = 3


EXEC_CHECK = 1 << 16
"""Bit of EXEC's ``arg``: the caller only asked whether it may (AT_EXECVE_CHECK, since 6.14,
a5874fde3c08)."""


class Kind(IntEnum):
    UNKNOWN = 0
    MEMFD = 1
    HUGETLB = 2
    TMPFS = 3
    GUEST_MEMFD = 4
    SECRETMEM = 5


class Hook(IntEnum):
    """The hook family that reported a record; the manifest tells which symbol it was."""

    NONE = 0
    MMAP = 1
    MMAP_CHECK = 2
    FILE_MMAP = 3
    SETATTR = 4
    WRITE = 5
    WRITE_CHECK = 6
    ALLOCATE = 7
    READ = 8
    SEALS = 9
    CREATE = 10
    MAP = 11
    UNMAP = 12
    EVICT = 13
    FORK = 14
    MEMSLOT = 15
    FAULT = 16
    REMOTE = 17
    PIN = 18
    UFFD = 19
    MPROTECT = 20
    RECEIVE = 21
    MREMAP = 22
    TRACE = 23
    SHARE_MM = 24
    OPEN = 25
    ADVISE = 26
    RING = 27
    DEVICE = 28
    EXEC = 29
    CODE = 30
    CONVERT = 31


@dataclass(frozen=True, slots=True)
class Operation:
    """What an operation is."""

    meaning: str
    """In a few words."""
    fields: str
    """What its row has in columns that mean another thing for each operation; may be empty."""
    hooks: tuple[Hook, ...]
    """The families that report it; none: user space reads it from /proc."""
    ways: tuple[str, ...] = ()
    """In which ways in of audits (`tracer.audit.policy`) it is seen."""
    judged: bool = False
    """Whether there are rules for it (`tracer.rules`); else it is a fact, without a verdict."""
    gives_address: bool = False
    """Its answer is an address."""
    first_of_range: bool = False
    """It names the first memory file of an address range, though there may be more in it."""
    request: str = ""
    """How its row's request reads, from the parts in braces that `tracer.labels.describe` knows."""
    of_mapping: bool = False
    """Its ``arg`` has the VM_* flags of the mapping that is meant, and pages, as mremap's has."""


OPS: Mapping[Op, Operation] = {
    Op.MMAP: Operation(
        "a mapping of the file is requested", "arg: prot \\| flags << 32",
        (Hook.MMAP, Hook.MMAP_CHECK, Hook.FILE_MMAP), ("mmap",), judged=True, gives_address=True,
        request="{mmap} {range}"),
    Op.MPROTECT: Operation(
        "by address", "arg: the new prot", (Hook.MPROTECT,), judged=True, first_of_range=True,
        request="{prot} {range}"),
    Op.WRITE: Operation(
        "all chunks of one call", "", (Hook.WRITE_CHECK, Hook.WRITE), ("write",), judged=True,
        request="{range}"),
    Op.READ: Operation(
        "read(2) and splice", "", (Hook.READ,), ("read",), judged=True, request="{range}"),
    Op.TRUNCATE: Operation(
        "the size is set", "arg: ia_valid \\| ia_mode << 32", (Hook.SETATTR,), ("write",),
        judged=True, request="{size}→{length} {attributes}"),
    Op.CHMOD: Operation(
        "mode or owner are set", "arg: ia_valid \\| ia_mode << 32", (Hook.SETATTR,), ("write",),
        judged=True, request="{attributes}"),
    Op.ALLOCATE: Operation(
        "fallocate without a hole", "arg: its mode", (Hook.ALLOCATE,), ("write",), judged=True,
        request="{mode} {range}"),
    Op.PUNCH_HOLE: Operation(
        "fallocate with a hole", "arg: its mode", (Hook.ALLOCATE,), ("write",), judged=True,
        request="{mode} {range}"),
    Op.ADD_SEALS: Operation(
        "fcntl F_ADD_SEALS", "arg: the seals to add", (Hook.SEALS,), ("seals",), judged=True,
        request="{seals}"),
    Op.CREATE: Operation(
        "the file is made",
        "arg: MFD_* or GUEST_MEMFD_FLAG_* flags; 0x8 of memfd_create goes with seal 0x20",
        (Hook.CREATE,), ("create",), judged=True, request="{creation}"),
    Op.FAULT: Operation(
        "by address", "arg: FAULT_FLAG_*, answer: VM_FAULT_*", (Hook.FAULT,), ("fault",),
        request="{access} {range}"),
    Op.MAP: Operation(
        "a mapping begins", "arg: vm_flags, answer: address", (Hook.MAP,), ("map",),
        gives_address=True, request="{vm} {range}"),
    Op.UNMAP: Operation(
        "a mapping ends", "arg: vm_flags, answer: address", (Hook.UNMAP,), gives_address=True,
        request="{vm} {range}"),
    Op.EVICT: Operation("the object is gone", "", (Hook.EVICT,)),
    Op.OPEN: Operation("`mappings` only: a file descriptor held", "", ()),
    Op.MEMSLOT: Operation(
        "KVM sets guest memory",
        "arg: guest physical address; length 0: deleted; mm: the VM's; fd: the guest_memfd, -1 "
        "none", (Hook.MEMSLOT,), ("memslot", "convert"), request="gpa {arg:#x}{slot}"),
    Op.REMOTE_READ: Operation(
        "by address, in another process", "arg: FOLL_* flags", (Hook.REMOTE, Hook.PIN),
        ("remote", "pin"), first_of_range=True, request="{range}"),
    Op.REMOTE_WRITE: Operation(
        "by address, in another process", "arg: FOLL_* flags", (Hook.REMOTE, Hook.PIN),
        ("remote", "pin"), first_of_range=True, request="{range}"),
    Op.PIN: Operation(
        "long-term pin, by address; memfd_pin_folios: no address, mm 0", "arg: FOLL_* flags",
        (Hook.PIN,), ("remote", "pin"), first_of_range=True, request="{access} {range}"),
    Op.UFFD_REGISTER: Operation(
        "userfaultfd, by address, as the caller's memory has it at the return where the kernel's "
        "mapping agrees (`checks` 1: it does not, and only mm is known)",
        "arg: UFFDIO_REGISTER_MODE_* bits", (Hook.UFFD,), ("userfaultfd",), first_of_range=True,
        request="{modes} {range}"),
    Op.RECEIVE: Operation(
        "a descriptor arrives; its number is not known yet. Who gave it, or from whom it was "
        "taken, 0 where that is not known",
        "mm, check_answer: its pid, offset: its start_ns, arg: `receipt` below \\| its exec_id << "
        "32", (Hook.RECEIVE, Hook.OPEN), ("receive",), request="{receipt}"),
    Op.MAPPED: Operation("`mappings` only", "answer: 1 the inode has mappings, 0 none", ()),
    Op.ATTACH: Operation(
        "`mappings` only: hooks in a module",
        "answer: 0 on, -ENOENT off, -EOPNOTSUPP: it came and this one could not be set", ()),
    Op.MREMAP: Operation(
        "of the mapping at the old address",
        "arg: MREMAP_* \\| vm_flags << 8 \\| old pages << 16; length: the new length; answer: the "
        "new address", (Hook.MREMAP,), judged=True, gives_address=True,
        request="{mapping} {offset}+{pages}→{length}", of_mapping=True),
    Op.UFFD_FILL: Operation(
        "pages put there by userfaultfd, by address",
        "arg: 1 copy, 2 zero, 3 continue, 4 poison (of which only mm is known)", (Hook.UFFD,),
        ("userfaultfd",), first_of_range=True, request="{fill} {range}"),
    Op.TRACE: Operation(
        "ptrace: by the tracer, also where its task asked for it",
        "mm, arg, offset, check_answer: the tracee's address space, pid, start_ns, exec_id",
        (Hook.TRACE,), ("reached",), request="pid {arg}"),
    Op.GIVE: Operation(
        "a descriptor is sent; the receiver is not known yet", "arg: `receipt` below",
        (Hook.RECEIVE,), ("receive",), request="{receipt}"),
    Op.ADVISE: Operation(
        "process_madvise in another process, by address, when it begins", "arg: MADV_*",
        (Hook.ADVISE,), ("reached",), request="{advice} {range}"),
    Op.SHARE_MM: Operation(
        "by a process that begins in its parent's address space and is no thread; by a vfork "
        "child when it ends and has executed nothing",
        "mm, arg, offset, check_answer: its parent's, as for trace", (Hook.SHARE_MM,), ("reached",),
        request="pid {arg}"),
    Op.VM_END: Operation(
        "a virtual machine is gone, and its memslots", "", (Hook.MEMSLOT,), ("memslot",)),
    Op.RING: Operation(
        "io_uring: a ring with registered buffers of the address space mm is used from another "
        "one, or polled for requests by its own thread, which is told once",
        "length: how many buffers", (Hook.RING,), ("reached",), request="{length} buffers"),
    Op.DEVICE: Operation(
        "something reaches memory unseen", "arg: 1 udmabuf (length: of so many memfds)",
        (Hook.DEVICE,), ("reached",), request="{device} of {length}"),
    Op.REMAP_FILE_PAGES: Operation(
        "another part of the file is mapped at the start address, with the rights of the mapping "
        "there", "arg: vm_flags << 8 \\| page of the start << 16; offset: the new part; answer: 0",
        (Hook.MMAP,), judged=True, request="{mapping} {range} at {pages:#x}", of_mapping=True),
    Op.EXEC: Operation(
        "it is executed, or is the interpreter of what is; by the task as it was when it asked",
        "arg: of a program 1 path, 2 /proc/self/fd/N, 3 AT_EMPTY_PATH \\| role << 8: 1 program, 2 "
        "interpreter (`#!`, binfmt_misc), 3 loader of an ELF program \\| 0x10000 AT_EXECVE_CHECK; "
        "mm: the address space that it gets; answer: 0", (Hook.EXEC,), ("exec",), judged=True,
        request="{execution}"),
    Op.CONVERT: Operation(
        "guest memory is made private to the guest, or shared with the host "
        "(KVM_SET_MEMORY_ATTRIBUTES)",
        "offset: guest physical address; arg: KVM_MEMORY_ATTRIBUTE_*, 0: shared; mm and vm: the "
        "VM's; checks: 1 KVM took range and arg as they are here, 0 they are what the caller's "
        "memory had (`inferred`); size_after: when KVM took it, boot clock; check_answer: how many "
        "it took of this VM, with this one. Of a guest_memfd in place: offset is in it, vm 0. By "
        "ftrace: vm and checks 0, no answer (no-return)",
        (Hook.CONVERT,), ("convert", "sev_debug"), judged=True,
        request="{guest} to {privacy}"),
    Op.SEV_DEBUG: Operation(
        "the host reads or writes the memory of an encrypted guest (SEV) in plain text, by address",
        "arg: 18 KVM_SEV_DBG_DECRYPT, 19 KVM_SEV_DBG_ENCRYPT; mm and vm: the VM's; check_answer: "
        "how many pieces of at most a page were done, whatever the answer; of a command that KVM "
        "did not take, what the caller's memory had (`inferred`), without a range",
        (Hook.CONVERT,), ("sev_debug", "convert"), first_of_range=True, request="{sev} {range}"),
}  # fmt: skip
"""Each operation once, in the order of its numbers."""


def ops(**having: object) -> frozenset[str]:
    """The words of the operations with these values: ``ops(judged=True)``."""
    return frozenset(
        op.name.lower()
        for op, one in OPS.items()
        if all(getattr(one, name) == value for name, value in having.items())
    )


class Flag(IntFlag):
    RACED_SEALS = 1
    RACED_SIZE = 2
    ENTRY_MISSING = 4
    RETURN_MISSING = 8
    CHECK_REACHED = 16
    FILE_MMAP_REACHED = 32
    OTHER_MM = 64
    KERNEL_TASK = 128
    COMPAT = 256
    FINAL = 512
    APPEND_ONLY = 1024
    IMMUTABLE = 2048
    INFERRED = 4096
    FROZEN = 16384


DOUBTS = (
    Flag.RACED_SEALS | Flag.RACED_SIZE | Flag.ENTRY_MISSING | Flag.RETURN_MISSING | Flag.INFERRED
)
"""Flags of incomplete evidence; all others say what was the case."""


class LossCause(IntEnum):
    RING_FULL = 1
    INFLIGHT_FULL = 2
    OBJECTS_FULL = 3
    NO_ENTRY = 4
    NO_RETURN = 5
    MISSED = 6
    SEQ_HOLE = 7
    NAME = 8
    PIDS_FULL = 9
    FILES_FULL = 10
    CGROUP_NAME = 11
    CGROUPS_FULL = 12
    STACK = 13
    STACK_RATE = 14
    STACK_MAP = 15
    TASK_TEXT = 16
    FILTERED = 17


CONTEXT = (
    LossCause.OBJECTS_FULL, LossCause.NAME, LossCause.CGROUP_NAME, LossCause.TASK_TEXT,
    LossCause.STACK, LossCause.STACK_RATE, LossCause.STACK_MAP,
)  # fmt: skip
"""Causes by which no event is lost, only what stands around it."""
WANTED = (LossCause.FILTERED,)
"""Causes by which nothing is lost: it was not to be recorded."""


class StackState(IntEnum):
    """How far the callers of a system call are known."""

    WHOLE = 1
    CUT = 2
    UNKNOWN = 3
    LOST = 4
    NO_UNWINDER = 5


class MapsFrom(IntEnum):
    """Who told which file lay where in an address space."""

    NONE = 0
    KERNEL = 1
    PROC = 2


class FrameWhat(IntEnum):
    """In what a frame's code lies."""

    CODE = 1
    JIT = 2
    VDSO = 3
    GONE = 4
    KERNEL = 5
    UNKNOWN = 6


class TaskText(IntEnum):
    """What a TASK record has a piece of."""

    EXE = 1
    CMDLINE = 2
    BUILD_ID = 3


def words(enum: type[IntEnum]) -> dict[int, str]:
    """``{value: word}`` for an enum above: ``PUNCH_HOLE`` is shown as ``punch_hole``."""
    return {member.value: member.name.lower() for member in enum}


class Seal(IntFlag):
    SEAL = 0x01
    SHRINK = 0x02
    GROW = 0x04
    WRITE = 0x08
    FUTURE_WRITE = 0x10
    EXEC = 0x20
    """F_SEAL_EXEC since Linux 6.3 (commit 6fd7353829ca). The F_SEAL_INACCESSIBLE proposal of
    January 2022 used the same bit; which one a kernel means is for the self-test to tell
    (tracer.words), and in code this name stands for either."""


CONTENT = Seal.WRITE | Seal.SHRINK | Seal.GROW
"""With all of these a file's content can never change again; as runc seals itself."""

BY_NAME: Mapping[str, int] = {seal.name or "": int(seal) for seal in Seal} | {
    "INACCESSIBLE": int(Seal.EXEC)
}
"""The bit of each name that somebody may type."""


LETTERS = "SsgwfX"
"""One place a seal: Seal, shrink, grow, write, future write, eXec or inaccessible."""


def text(seals: int) -> str:
    """Fixed-width form, one letter place a seal: ``0x0b`` is ``Ss-w--``; unknown bits as ``+0x40``.

    >>> text(0x0B)
    'Ss-w--'
    """
    shown = "".join(c if seals >> bit & 1 else "-" for bit, c in enumerate(LETTERS))
    rest = seals & ~0x3F
    return shown if rest == 0 else f"{shown}+{rest:#x}"


def names(seals: int, bit5: Bit5 = UNKNOWN) -> str:
    """Long form: ``SEAL|WRITE``; ``0`` when none is set.

    ``bit5``: what the kernel in question calls 0x20; where there is none, it stays a number.
    """
    known = [bit5.seal if seal == Seal.EXEC else seal.name or "" for seal in Seal if seals & seal]
    rest = seals & ~0x3F
    if rest:
        known.append(f"{rest:#x}")
    return "|".join(known) or "0"
