"""Holds a sealed memfd and two mappings of it from before the trace until its stdin ends.

Says on stdout, as JSON, what the baseline must know.
"""

import contextlib
import ctypes
import fcntl
import json
import mmap
import os
import sys

PAGE = mmap.PAGESIZE


def address(mapping: mmap.mmap) -> int:
    return ctypes.addressof(ctypes.c_char.from_buffer(mapping))


def descriptors() -> list[int]:
    """All of them: Python's mmap keeps a duplicate for each mapping."""
    found = []
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):  # the one that listed the folder
            if os.readlink(f"/proc/self/fd/{name}").startswith("/memfd:from before"):
                found.append(int(name))
    return sorted(found)


def main() -> None:
    fd = os.memfd_create("from before", os.MFD_ALLOW_SEALING)
    os.ftruncate(fd, 3 * PAGE)
    shared = mmap.mmap(fd, 2 * PAGE, mmap.MAP_SHARED, offset=PAGE)
    private = mmap.mmap(fd, PAGE, mmap.MAP_PRIVATE)
    seals = fcntl.F_SEAL_GROW | fcntl.F_SEAL_SHRINK
    fcntl.fcntl(fd, fcntl.F_ADD_SEALS, seals)
    status = os.fstat(fd)
    told = {
        "pid": os.getpid(), "fds": descriptors(), "ino": status.st_ino, "size": status.st_size,
        "seals": seals,
        "mappings": [
            {"answer": address(shared), "length": 2 * PAGE, "offset": PAGE, "shared": True},
            {"answer": address(private), "length": PAGE, "offset": 0, "shared": False},
        ],
    }  # fmt: skip
    print(json.dumps(told), flush=True)
    sys.stdin.read()


main()
