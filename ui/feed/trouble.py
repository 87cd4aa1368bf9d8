"""What somebody did to a recording while it is watched."""

import os

from tracer.store.chain import MANIFEST
from tracer.store.follow import Follower
from tracer.store.reader import Recording


def trouble(recording: Recording, follower: Follower) -> str:
    """In a sentence; empty: nothing."""
    try:
        if os.fstat(recording.folder.fd).st_nlink == 0 or not recording.folder.has(MANIFEST):
            return "The recording was deleted; what was read of it stays on the screen."
        if follower.cut_short:
            return "The recording was cut short; what was read of it stays on the screen."
        if not os.path.isdir(recording.path):
            return "The recording was moved or renamed; it is still followed."
    except OSError as error:
        return f"The recording cannot be read any more: {error.strerror}."
    return ""
