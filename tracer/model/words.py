"""The enums of ``bpf/record.h``, whose lower-case names are the words users see.

Apart from ``tracer.model.record``, which has them too, because that one needs numpy: a verb's
``--help`` does not.
"""

from enum import IntEnum, IntFlag


class RecordType(IntEnum):
    EVENT = 1
    OBJECT = 2
    NAME = 3
    BASELINE = 4
    LOSS = 5
    CLOCK = 6
    TOTALS = 7


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


class Fill(IntEnum):
    """``arg`` of UFFD_FILL: which of userfaultfd's ioctls."""

    COPY = 1
    ZERO = 2
    CONTINUE = 3
    POISON = 4


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


DOUBTS = Flag.RACED_SEALS | Flag.RACED_SIZE | Flag.ENTRY_MISSING | Flag.RETURN_MISSING
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


def words(enum: type[IntEnum]) -> dict[int, str]:
    """``{value: word}`` for an enum above: ``PUNCH_HOLE`` is shown as ``punch_hole``."""
    return {member.value: member.name.lower() for member in enum}
