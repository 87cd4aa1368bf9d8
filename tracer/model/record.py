"""The record as numpy sees it: one dtype a record type, all of one size (``RECORD_SIZE`` bytes).

A batch from the ring or a recording's tail is an array of ``HEAD`` (any type) that is selected by
``type`` and then viewed as ``EVENT``, ``OBJECT``, … without a copy.
"""

from enum import IntEnum, IntFlag

import numpy as np

from tracer.model import layout

_STRUCTS = layout.structs(layout.HEADER.read_text())


def _dtype(body: str) -> np.dtype:
    return np.dtype(_STRUCTS["record_head"] + _STRUCTS[body])


EVENT = _dtype("event_body")
OBJECT = _dtype("object_body")
NAME = _dtype("name_body")
LOSS = _dtype("loss_body")
CLOCK = _dtype("clock_body")
TOTALS = _dtype("totals_body")
BASELINE = EVENT

RECORD_SIZE: int = EVENT.itemsize
_HEAD_SIZE = np.dtype(_STRUCTS["record_head"]).itemsize
HEAD = np.dtype([*_STRUCTS["record_head"], ("body", f"V{RECORD_SIZE - _HEAD_SIZE}")])
"""Any record. The body is a field, as numpy copies fields alone and would leave it behind."""

USER_CPU = 0xFFFF
"""``cpu`` of records that user space wrote: losses, clocks, baseline, totals."""
NO_SYSCALL = 0xFFFF


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
    FORK = 15
    OPEN = 16


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


class LossCause(IntEnum):
    RING_FULL = 1
    INFLIGHT_FULL = 2
    OBJECTS_FULL = 3
    NO_ENTRY = 4
    NO_RETURN = 5
    MISSED = 6
    SEQ_HOLE = 7
    NAME = 8


def words(enum: type[IntEnum]) -> dict[int, str]:
    """``{value: word}`` for an enum above: ``PUNCH_HOLE`` is shown as ``punch_hole``."""
    return {member.value: member.name.lower() for member in enum}
