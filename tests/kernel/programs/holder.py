"""Holds a sealed memfd and two mappings of it from before the trace until its stdin ends.

Says on stdout, as JSON, what the baseline must know.
"""

import ctypes
import fcntl
import json
import mmap
import os
import sys

PAGE = mmap.PAGESIZE


def address(mapping: mmap.mmap) -> int:
    return ctypes.addressof(ctypes.c_char.from_buffer(mapping))


def main() -> None:
    fd = os.memfd_create("from before", os.MFD_ALLOW_SEALING)
    os.ftruncate(fd, 3 * PAGE)
    shared = mmap.mmap(fd, 2 * PAGE, mmap.MAP_SHARED, offset=PAGE)
    private = mmap.mmap(fd, PAGE, mmap.MAP_PRIVATE)
    seals = fcntl.F_SEAL_GROW | fcntl.F_SEAL_SHRINK
    fcntl.fcntl(fd, fcntl.F_ADD_SEALS, seals)
    status = os.fstat(fd)
    told = {
        "pid": os.getpid(), "fd": fd, "ino": status.st_ino, "size": 3 * PAGE, "seals": seals,
        "mappings": [
            {"answer": address(shared), "length": 2 * PAGE, "offset": PAGE, "shared": True},
            {"answer": address(private), "length": PAGE, "offset": 0, "shared": False},
        ],
    }  # fmt: skip
    print(json.dumps(told), flush=True)
    sys.stdin.read()


main()
