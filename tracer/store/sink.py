"""The file of a part: bytes go to the disk and into the digest."""

import hashlib
import os

from tracer.store import folder as disk
from tracer.store.folder import Folder

_AT_ONCE = 1 << 18  # bytes; pages and their headers come one by one


class Sink:
    """A new file under a temporary name. Also what Arrow's writer takes for a file."""

    def __init__(self, where: Folder, name: str) -> None:
        self.digest = hashlib.sha256()
        self.closed = False  # asked by Arrow
        self._where = where
        self._name = name
        self._temporary = f".{name}.tmp"
        self._fd = where.create(self._temporary)
        self.size = 0
        """Bytes in the file."""
        self._small: list[bytes] = []
        self._waiting = 0

    def write(self, data: bytes) -> int:
        """Takes bytes; they are written when there are enough of them."""
        self._small.append(data)
        self._waiting += len(data)
        if self._waiting >= _AT_ONCE:
            self.push()
        return len(data)

    def push(self) -> None:
        """Writes what was taken."""
        data = b"".join(self._small)
        self._small.clear()
        self._waiting = 0
        if self._fd < 0:  # the writer of a discarded part wants to end its file
            return
        self.digest.update(data)
        self.size += disk.write_all(self._fd, data)

    def tell(self) -> int:
        """Bytes so far."""
        return self.size + self._waiting

    def flush(self) -> None:
        """Asked by Arrow; nothing to do before the end."""

    def close(self) -> None:
        """Asked by Arrow; the file stays open for :meth:`publish`."""
        self.closed = True

    def publish(self) -> None:
        """Waits until the file is on the device and gives it its name."""
        disk.sync(self._fd)
        os.close(self._fd)
        self._fd = -1
        self._where.rename(self._temporary, self._name)

    def discard(self) -> None:
        """Takes the unfinished file away, which may make room for others."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
        self._where.unlink(self._temporary, missing_ok=True)
