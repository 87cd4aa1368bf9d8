"""intruder.py FILE: maps a memory file that another process holds, and touches it."""

import json
import mmap
import os
import sys

fd = os.open(sys.argv[1], os.O_RDWR)
with mmap.mmap(fd, mmap.PAGESIZE) as found:
    found[0] = found[0]
print(json.dumps({"pid": os.getpid()}))
