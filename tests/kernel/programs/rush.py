"""Writes to a memfd as fast as it can, at places no two of which are near, until it is ended."""

import os
import random

fd = os.memfd_create("rush", os.MFD_ALLOW_SEALING)
while True:
    os.pwrite(fd, b"x" * random.randrange(1, 999), random.randrange(1 << 25))
