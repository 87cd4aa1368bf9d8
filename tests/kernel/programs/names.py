"""Memfds with the worst names there can be; says on stdout who it is, and ends with 7."""

import contextlib
import fcntl
import json
import os
import sys

NAMES = (
    b"plain",
    b"",
    b"\x1b[2J\x1b[31mred\x07",
    b"two\nlines\r\tand a tab",
    b"not \xff\xfe utf-8 \xc3\x28",
    "\u202eright to left\u200b".encode(),
    b"back\\slash \\x41",
    b"' \" $(reboot) ; ,",
    bytes(range(1, 250)),  # 249 bytes, the most that there can be; no NUL
)


def main() -> None:
    told = {"uid": os.getuid(), "gid": os.getgid(), "groups": os.getgroups(), "pid": os.getpid()}
    for name in NAMES:
        fd = os.memfd_create(os.fsdecode(name), os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        os.pwrite(fd, b"data", 0)
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_WRITE)
        with contextlib.suppress(PermissionError):
            os.pwrite(fd, b"data", 0)
        os.close(fd)
    print(json.dumps({**told, "names": [name.hex() for name in NAMES]}))
    sys.exit(7)


main()
