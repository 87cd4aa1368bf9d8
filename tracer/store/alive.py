"""Whether a recorder still writes a recording, on this machine or on another."""

import time
from pathlib import Path

from tracer.store import lock
from tracer.store.folder import Folder

_SILENCE_S = 5.0
"""A recorder whose lock cannot be seen (another machine) is dead after so long without a sign."""


class Recorder:
    """The one that writes, or wrote, the recording in ``folder``."""

    def __init__(self, folder: Folder, boot: str | None) -> None:
        """``boot``: the manifest's ``boot_id``, None where it has none."""
        self._folder = folder
        self._local = boot is None or boot == boot_id()
        self._beat = 0
        self._heard_s = time.monotonic()

    def alive(self) -> bool:
        """By its lock where that can be seen, by its beats where not."""
        if lock.held(self._folder):
            return True
        if self._local:
            return False
        beat = lock.beat(self._folder)
        if beat != self._beat:
            self._beat = beat
            self._heard_s = time.monotonic()
        return time.monotonic() - self._heard_s < _SILENCE_S


def boot_id() -> str | None:
    """Of this machine; None where the kernel does not tell."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return None
