"""Tells whether a recorder is alive: it holds ``flock`` on the file ``lock`` of its recording."""

import fcntl
import os
import time

from tracer.store.errors import Busy
from tracer.store.folder import Folder

LOCK = "lock"
_PATIENCE_S = 0.3  # a reader that asks `held` keeps the lock for a moment


def acquire(folder: Folder, path: str) -> int:
    """Descriptor that holds the lock until it is closed. Busy: somebody else has it."""
    fd = folder.open_lock(LOCK)
    until = time.monotonic() + _PATIENCE_S
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return fd
        except BlockingIOError:
            if time.monotonic() > until:
                os.close(fd)
                raise Busy(
                    f"{path}: another sealsnoop is writing this recording; "
                    "stop that one first, or record under another name"
                ) from None
            time.sleep(0.02)


def held(folder: Folder) -> bool:
    """Whether a recorder on this host holds the lock."""
    try:
        fd = folder.open_file(LOCK)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False


def beat(folder: Folder) -> int:
    """When the recorder last said that it lives (ns; 0: never).

    For recordings on a share, where another machine's flock cannot be seen.
    """
    try:
        return os.stat(LOCK, dir_fd=folder.fd, follow_symlinks=False).st_mtime_ns
    except FileNotFoundError:
        return 0
