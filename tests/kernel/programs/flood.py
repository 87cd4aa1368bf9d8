"""Writes a memfd more often than the smallest ring has room for."""

import os

fd = os.memfd_create("flood", os.MFD_ALLOW_SEALING)
for _ in range(20_000):
    os.pwrite(fd, b"x", 0)
