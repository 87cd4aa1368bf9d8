"""Whether a recorder still writes a recording, on this machine or on another."""

import time
from pathlib import Path

from tracer.store import lock
from tracer.store.folder import Folder

_SILENCE_S = 5.0
"""A recorder whose lock cannot be seen (another machine) is dead after so long without a sign."""
_CLOCKS_S = 5.0
"""So much may this machine's clock and that of the file server, which dates the signs, differ."""


class Recorder:
    """The one that writes, or wrote, the recording in ``folder``: whether it lives is asked here.

    A virtual machine, or another host, that writes to a shared folder holds a lock that cannot be
    seen here; but it says every second that it lives.
    """

    def __init__(self, folder: Folder, boot: object, *, watches: bool = False) -> None:
        """``boot``: the manifest's ``boot_id``, None where it has none.

        ``watches``: it is asked again and again, so that the first answer may wait for a sign;
        otherwise the date of the last sign decides.
        """
        self._folder = folder
        self._local = boot is None or boot == boot_id()
        self._watches = watches
        self._beat: int | None = None
        self._heard_s = time.monotonic()

    def alive(self) -> bool:
        """By its lock where that can be seen, by its beats where not."""
        if lock.held(self._folder):
            return True
        if self._local:
            return False
        last = lock.beat(self._folder)
        if last != self._beat:
            age_s = time.time() - last / 1e9 - _CLOCKS_S
            dated = self._beat is None and not self._watches
            self._heard_s = time.monotonic() - (max(0.0, age_s) if dated else 0.0)
            self._beat = last
        return time.monotonic() - self._heard_s < _SILENCE_S


def boot_id() -> str | None:
    """Of this machine; None where the kernel does not tell."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return None
