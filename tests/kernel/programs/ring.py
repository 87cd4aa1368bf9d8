"""Is refused a shared writable mapping of a sealed memfd, once (``--once``) or till it is ended."""

import contextlib
import fcntl
import mmap
import os
import sys
import time

F_SEAL_FUTURE_WRITE = 0x10
FD = 7  # as README has it

os.dup2(os.memfd_create("ring", os.MFD_ALLOW_SEALING), FD)
os.ftruncate(FD, 4096)
fcntl.fcntl(FD, fcntl.F_ADD_SEALS, F_SEAL_FUTURE_WRITE)
while True:
    with contextlib.suppress(PermissionError):
        mmap.mmap(FD, 4096, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE)
    if "--once" in sys.argv:
        break
    time.sleep(0.2)
