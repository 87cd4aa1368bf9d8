"""The cgroup v2 tree as it stands when a trace starts: what is made later the kernel side tells."""

import os
from collections.abc import Collection, Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np

from tracer.capture.ledger import own_records
from tracer.capture.ring import Records
from tracer.cgroups import ROOT, UNKNOWN_USER
from tracer.record import CGROUP, HEAD, RecordType

MOUNTS = (Path("/sys/fs/cgroup"), Path("/sys/fs/cgroup/unified"))
"""Where the cgroup v2 tree is mounted: alone, or beside those of v1 (systemd's hybrid)."""
_PIECE: int = CGROUP["text"].itemsize
_WRITABLE_BY_OTHERS = 0o022


def mounted(mounts: Collection[Path] = MOUNTS) -> Path | None:
    """The tree's folder; None: it is not mounted."""
    return next((root for root in mounts if (root / "cgroup.controllers").exists()), None)


def walk(root: Path) -> Iterator[tuple[int, int, int, bytes]]:
    """``(id, id of the folder above, who named it, name)`` of every folder, those above first.

    Who named one that is there already cannot be told for certain: whoever may write to the folder
    above could. Folders that go meanwhile are left out.
    """
    try:
        top = root.stat()
    except OSError:
        return
    # A cgroup namespace shows a part of the tree, and what is above that is not known.
    yield (top.st_ino, 0, 0 if top.st_ino == ROOT else UNKNOWN_USER, b"")
    waiting = [(os.fsencode(root), top)]
    while waiting:
        path, above = waiting.pop()
        shared = above.st_mode & _WRITABLE_BY_OTHERS
        named_by = UNKNOWN_USER if shared else above.st_uid
        with suppress(OSError), os.scandir(path) as entries:
            for entry in entries:
                with suppress(OSError):
                    if entry.is_dir(follow_symlinks=False):
                        found = entry.stat(follow_symlinks=False)
                        yield found.st_ino, above.st_ino, named_by, entry.name
                        waiting.append((entry.path, found))


def below(wanted: Collection[int], root: Path | None = None) -> set[int]:
    """``wanted`` and the numbers of all cgroups below them."""
    found = set(wanted)
    root = root or mounted()
    if found and root:
        found.update(one for one, above, _, _ in walk(root) if above in found or one in found)
    return found


def cgroup_records(root: Path | None = None) -> Records:
    """A CGROUP record for each folder of the tree now, and one more for each long name."""
    root = root or mounted()
    pieces = [
        (one, above, named_by, part, name[at : at + _PIECE - 1], at + _PIECE - 1 < len(name))
        for one, above, named_by, name in (walk(root) if root else ())
        for part, at in enumerate(range(0, max(len(name), 1), _PIECE - 1))
    ]
    rows = own_records(len(pieces), CGROUP, RecordType.CGROUP)
    for row, (one, above, named_by, part, text, more) in enumerate(pieces):
        rows["cgroup"][row], rows["parent"][row], rows["named_by"][row] = one, above, named_by
        rows["part"][row], rows["length"][row], rows["more"][row] = part, len(text), more
        rows["text"][row] = np.void(text.ljust(_PIECE, b"\0"))
    return rows.view(HEAD)
