"""One row for whatever the ring tells, of any event: what pairing and the records are made from."""

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.void]

NAME_BYTES = 256
NO_SYSCALL = 0xFFFF

ROW = np.dtype(
    [
        ("time_ns", "<u8"),
        ("cpu", "<u2"),
        ("what", "u1"),
        ("hook", "u1"),
        ("op", "u1"),
        ("kind", "u1"),
        ("told", "u1"),  # a fact whose record was made already
        ("later", "u1"),  # a return that has seals and size of its own
        ("tid", "<u4"),
        ("inode", "<u8"),  # the kernel's address of it, 0: not told
        ("ino", "<u8"),
        ("dev", "<u4"),
        ("gen", "<u4"),
        ("seals", "<u4"),
        ("size", "<u8"),
        ("mode", "<u2"),
        ("fmode", "<u2"),
        ("writable", "<i4"),
        ("offset", "<i8"),
        ("length", "<u8"),
        ("arg", "<u8"),
        ("ret", "<i8"),
        ("fd", "<i4"),
        ("nr", "<u2"),
        ("flags", "<u4"),
        ("bound", "<u4"),  # the flags that explain a refusal: APPEND_ONLY, IMMUTABLE
        ("mm", "<u8"),
        ("comm", "V16"),
        ("number", "<u8"),  # NEWTASK, EXIT, CREDS, CGROUP: its one fact
        ("sp", "<u8"),  # ENTRY, RETURN: the kernel stack's pointer
        ("key", "<u8"),  # of the object: its inode, device and generation mixed
    ]
)

SEEN = np.dtype(
    [
        ("key", "<u8"),
        ("uid", "<u4"),
        ("gid", "<u4"),
        ("mapping_flags", "<u8"),
        ("is_memfd", "u1"),
        ("name", f"V{NAME_BYTES}"),
    ]
)
"""What an announcement has besides an event's own facts."""

THREAD_BIT = 1 << 32
"""In ``number`` of NEWTASK: it is a thread of the same process."""
