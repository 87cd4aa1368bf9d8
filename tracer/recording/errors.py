"""What can be wrong with a recording, as sentences a user can act on."""

import errno

from tracer.errors import UserError


class StoreError(UserError):
    """Anything about a recording that the user can put right; the message says how."""


class NotARecording(StoreError):
    """The path holds no sealsnoop recording."""


class FutureSchema(StoreError):
    """Written by a newer sealsnoop than this one."""


class Damaged(StoreError):
    """Something in a recording is not as a recorder writes it; a sentence with the file's name."""


class DiskFull(StoreError):
    """No space, quota or file size left; what was written before stays readable."""


class AlreadyExists(StoreError):
    """Something is there already and was not to be replaced."""


class Busy(StoreError):
    """Another process is writing this recording."""


class NoPermission(StoreError):
    """The system does not let this user read or write here."""


_FULL = {
    errno.ENOSPC: "no space left on the device",
    errno.EDQUOT: "the disk quota is used up",
    errno.EFBIG: "the file size limit is reached",
}
_DENIED = {errno.EACCES, errno.EPERM, errno.EROFS}


def from_os(error: OSError, doing: str) -> StoreError:
    """The StoreError for a failed system call; ``doing`` is like ``writing /tmp/x.seal``."""
    number = error.errno or 0
    reason = error.strerror or type(error).__name__
    if number in _FULL:
        return DiskFull(f"{doing}: {_FULL[number]}; free some, or record elsewhere with -o")
    if number in _DENIED:
        return NoPermission(
            f"{doing}: {reason}; use a folder of your own, or run as the user it belongs to"
        )
    if number == errno.ENOENT:
        return NotARecording(f"{doing}: there is no such file or folder; check the path")
    if number == errno.ELOOP:
        return StoreError(
            f"{doing}: a symbolic link is in the way and is not followed; give the real path"
        )
    if number == errno.ENOTDIR:
        return NotARecording(f"{doing}: not a folder (or a symbolic link); give the real path")
    return StoreError(f"{doing}: {reason}; check the file system")
