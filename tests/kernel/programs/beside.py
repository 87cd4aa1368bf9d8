"""Has a memfd open and another only mapped, says which in a file, and waits."""

import ctypes
import mmap
import os
import sys
import time
from pathlib import Path

held, mapped = (
    os.memfd_create(name, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING) for name in ("held", "mapped")
)
os.fchmod(held, 0o600)
os.ftruncate(mapped, 4096)
# Python's mmap would keep a descriptor.
function = ctypes.CDLL(None, use_errno=True).mmap
function.restype = ctypes.c_ssize_t
number = ctypes.c_long
assert function(None, number(4096), 3, mmap.MAP_SHARED, mapped, number(0)) > 0
ino = os.fstat(mapped).st_ino
os.close(mapped)
Path(sys.argv[1]).write_text(f"{os.getpid()} {os.fstat(held).st_ino} {ino}")
time.sleep(3600)
