"""Where a live view's recording lies when nobody named a place for it.

In the state folder of who records: ``$XDG_STATE_HOME/sealsnoop``, else ``/var/lib/sealsnoop`` for
root and ``~/.local/state/sealsnoop`` for others. Not in /tmp or /var/tmp, where anybody can make a
name first, nor in /run, which is memory: a recording may become large.
"""

import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tracer.errors import UserError
from tracer.model.escape import printable
from tracer.store import lock
from tracer.store.chain import MANIFEST
from tracer.store.folder import Folder

_OURS = "sealsnoop"
_RECORDING = "live.seal"
_PREFIX = "live-"


class Place:
    """A folder of our own, mode 0700, with the recorder's output and maybe the recording.

    It is removed when somebody says that the recording is not wanted, and not before: whatever
    ends us leaves it.
    """

    def __init__(self, recording: bool = True) -> None:
        """``recording``: it is to lie here, not the output alone (any temporary folder will do).

        UserError: there is no folder that nobody else can change.
        """
        self.base = _base() if recording else Path(tempfile.gettempdir())
        self.folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=self.base))
        self.recording = self.folder / _RECORDING

    def left(self) -> list[Path]:
        """Recordings of views that ended without a word: nobody writes them any more."""
        found = sorted(self.base.glob(f"{_PREFIX}*/{_RECORDING}"))
        return [path for path in found if path != self.recording and not _written(path)]

    @property
    def holds_recording(self) -> bool:
        """Whether a recording has begun here."""
        return (self.recording / MANIFEST).exists()

    def save(self) -> Path:
        """Puts the recording beside this folder, which goes away; where it is now. OSError."""
        saved = Path(f"{self.folder}.seal")
        os.rename(self.recording, saved)
        self.remove()
        return saved

    def remove(self) -> None:
        """Removes it with what lies in it; what cannot be removed stays."""
        shutil.rmtree(self.folder, ignore_errors=True)


def _written(path: Path) -> bool:
    try:
        with Folder.open(path) as folder:
            return lock.held(folder)
    except OSError:
        return False


def _base() -> Path:
    tried = []
    for base in _candidates():
        folder = base / _OURS
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            danger = _danger(folder)
        except OSError as error:
            danger = error.strerror or str(error)
        if not danger:
            return folder
        tried.append(f"{printable(str(folder))} ({danger})")
    raise UserError(
        f"there is no place for a temporary recording: {', '.join(tried)}; name one with -o S.seal"
    )


def _candidates() -> Iterator[Path]:
    state = os.environ.get("XDG_STATE_HOME", "")
    if os.path.isabs(state):
        yield Path(state)
    home = "/var/lib" if os.geteuid() == 0 else os.path.expanduser("~/.local/state")
    if os.path.isabs(home):
        yield Path(home)


def _danger(folder: Path) -> str:
    """Who else could exchange the folder or what lies in it; empty: nobody.

    Under sudo $XDG_STATE_HOME may be another user's.
    """
    for place in (real := folder.resolve(), *real.parents):
        found = place.stat()
        if found.st_uid not in (0, os.geteuid()):
            return f"{printable(str(place))} belongs to user {found.st_uid}"
        # A user's own group is often that user alone (umask 002). In a sticky folder others can
        # make names, and not change ours.
        ours = found.st_gid in (0, os.getegid())
        shared = found.st_mode & (stat.S_IWOTH if ours else stat.S_IWGRP | stat.S_IWOTH)
        if shared and (place == real or not found.st_mode & stat.S_ISVTX):
            return f"others may write to {printable(str(place))}"
    return ""
