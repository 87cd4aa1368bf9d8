"""Where a live view's recording lies when nobody named a place for it."""

import os
import shutil
import tempfile
from pathlib import Path
from typing import Self

_BESIDE_TMP = "/var/tmp"
"""Of the disk, where /tmp is often memory: a recording may become large."""


class Place:
    """A folder of our own, mode 0700, with the recorder's output and maybe the recording.

    It is removed at the end, whatever lies in it.
    """

    def __init__(self) -> None:
        base = None if os.environ.get("TMPDIR") or not os.path.isdir(_BESIDE_TMP) else _BESIDE_TMP
        self.folder = Path(tempfile.mkdtemp(prefix="sealsnoop-live-", dir=base))
        self.recording = self.folder / "live.seal"

    def remove(self) -> None:
        """Removes it; what cannot be removed stays."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.remove()
