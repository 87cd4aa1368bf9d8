"""Two programs: an owner of memory files, and another one that acts on them.

``owner LOG``: makes two memfds, says in LOG which, waits for LOG.go, and tries to map both.
``other LOG``: seals both against writing, tries to write to them, and makes one of its own.
"""

import fcntl
import json
import mmap
import os
import sys
import time
from pathlib import Path
from typing import Any

NAMES = "named", "unnamed"


def say(path: Path, **facts: Any) -> None:
    fresh = path.with_suffix(".new")
    fresh.write_text(json.dumps(facts))
    fresh.rename(path)


def owner(log: Path) -> None:
    fds = [os.memfd_create(name, os.MFD_ALLOW_SEALING) for name in NAMES]
    for fd in fds:
        os.ftruncate(fd, 4096)
    files = {name: os.fstat(fd) for name, fd in zip(NAMES, fds, strict=True)}
    say(
        log, pid=os.getpid(), fds=dict(zip(NAMES, fds, strict=True)),
        dev={name: os.minor(one.st_dev) for name, one in files.items()},  # the major one is 0
        ino={name: one.st_ino for name, one in files.items()},
    )  # fmt: skip
    while not Path(f"{log}.go").exists():
        time.sleep(0.02)
    errors = []
    began_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
    for fd in fds:
        try:
            mmap.mmap(fd, 4096, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE)
        except OSError as error:
            errors.append(error.errno)
    say(Path(f"{log}.done"), errors=errors, began_ns=began_ns)


def other(log: Path) -> None:
    known = json.loads(log.read_text())
    errors = []
    for fd in known["fds"].values():
        theirs = os.open(f"/proc/{known['pid']}/fd/{fd}", os.O_RDWR)
        fcntl.fcntl(theirs, fcntl.F_ADD_SEALS, fcntl.F_SEAL_WRITE)
        try:
            os.write(theirs, b"x")
        except OSError as error:
            errors.append(error.errno)
        os.close(theirs)
    mine = os.memfd_create("its own", os.MFD_ALLOW_SEALING)
    os.write(mine, b"x")
    fcntl.fcntl(mine, fcntl.F_ADD_SEALS, fcntl.F_SEAL_WRITE)
    say(Path(f"{log}.other"), pid=os.getpid(), errors=errors)


if __name__ == "__main__":
    {"owner": owner, "other": other}[sys.argv[1]](Path(sys.argv[2]))
    if len(sys.argv) > 3:  # until somebody has seen what came of it
        sys.stdin.read()
