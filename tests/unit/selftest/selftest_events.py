"""What hooks that miss nothing would have sent of a self-test's attempts."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from tracer.record import EVENT, HEAD, Flag, Kind, Op, RecordType
from tracer.selftest.scratch import Attempt

FAMILIES = (
    "mmap", "mmap_check", "shmem_mmap", "hugetlb_mmap", "shmem_setattr", "hugetlb_setattr",
    "write_check", "write", "shmem_fallocate", "hugetlb_fallocate", "read", "seals", "created",
    "create", "mremap", "remap_file_pages", "exec", "map", "map_after", "unmap", "shmem_evict",
    "hugetlb_evict",
)  # fmt: skip
UNTRIED = (
    "create_check", "create_compat", "mremap_compat", "remap_file_pages_compat", "exec_begin",
    "exec_check", "exec_open", "exec_refused", "exec_refused_at", "exec_refused_compat",
    "exec_refused_at_compat",
)  # fmt: skip
"""What a security module says of a memfd no kernel before 7.3 was seen to ask; a 64-bit program
makes no 32-bit system call without code of its own; of exec it makes one call, which is told where
it ends."""
_SAME = ("op", "kind", "ino", "seals", "seals_after", "size", "size_after", "offset", "length",
         "arg", "answer", "duration_ns", "writable", "mode", "fmode", "uid")  # fmt: skip
SEAL = 1


def told(one: Attempt) -> bool:
    """A hook sees it, and it is about a file that can be sealed (or that is always recorded)."""
    return bool(one.hooked) and (
        one.seals != SEAL or one.op in (Op.CREATE, Op.ADD_SEALS, Op.EXEC, Op.EVICT)
    )


def events_of(attempts: Sequence[Attempt], pid: int = 0) -> Any:
    """As EVENT, in the order of the attempts."""
    rows = np.zeros(0, EVENT)
    chosen = [one for one in attempts if told(one)]
    rows = np.zeros(len(chosen), EVENT)
    for name in _SAME:
        rows[name] = [getattr(one, name) for one in chosen]
    rows["type"], rows["pid"] = RecordType.EVENT, pid
    for row, one in zip(rows, chosen, strict=True):
        if one.op == Op.MAP:
            row["flags"] = one.arg
            row["arg"] = 0xFB  # VM_* bits
        elif one.op == Op.MMAP and one.answer > 0:
            row["flags"] = Flag.CHECK_REACHED | Flag.FILE_MMAP_REACHED
        elif one.op == Op.WRITE and one.answer > 0:
            row["flags"] = Flag.CHECK_REACHED
        elif one.op == Op.TRUNCATE:
            row["arg"] |= 0x2060  # the kernel's own marks
    return rows


def with_objects(events: Any, folio_order: int) -> Any:
    """Records as a ring has them: an announcement of a memfd, then the events."""
    from tracer.record import OBJECT

    thing = np.zeros(1, OBJECT)
    thing["type"], thing["kind"] = RecordType.OBJECT, Kind.MEMFD
    thing["mapping_flags"] = folio_order << 21
    return np.concatenate([thing.view(HEAD), events.view(HEAD)])
