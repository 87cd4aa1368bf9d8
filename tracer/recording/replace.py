"""Makes the folder of a new recording, in place of an old one only with ``force``."""

import os
from contextlib import ExitStack

from tracer.recording import folder as lock
from tracer.recording.chain import CHAIN, END, MANIFEST, TAIL_FOLDER, part_number, tail_number
from tracer.recording.errors import AlreadyExists, Damaged, StoreError, from_os
from tracer.recording.folder import Folder
from tracer.recording.format import DOCUMENT_BYTES, TABLES
from tracer.recording.manifest import FORMAT, json_object

RESERVE = "reserve"

FILES = {MANIFEST, CHAIN, END, RESERVE, lock.LOCK, f".{MANIFEST}.tmp", f".{END}.tmp"}
"""What lies in the folder itself, beside the folders of tables and tails."""
_UNBORN = {lock.LOCK, f".{MANIFEST}.tmp", TAIL_FOLDER, *TABLES}


def is_part(folder: str, name: str) -> bool:
    """Whether a recorder may have made the file ``name`` in the folder of a table or of tails."""
    if folder == TAIL_FOLDER:
        return tail_number(name) is not None
    if name.startswith(".") and name.endswith(".tmp"):
        name = name[1:].removesuffix(".tmp")
    return part_number(name) is not None


def new_folder(path: str, *, force: bool) -> tuple[Folder, int]:
    """Makes the folder of a recording.

    :param force: whether another recording there is replaced; nothing else ever is.
    :return: the empty folder, and the descriptor that holds its lock.
    :raises StoreError: AlreadyExists, Busy, NoPermission or DiskFull.
    """
    doing = f"making the recording {path}"
    try:
        try:
            folder = Folder.make(path)
        except FileExistsError:
            return _replaced(path, force)
        return folder, lock.acquire(folder, path)
    except FileNotFoundError as error:
        raise StoreError(f"{doing}: the folder that it is to lie in does not exist") from error
    except OSError as error:
        raise from_os(error, doing) from error


def refuse_existing(path: str, *, force: bool) -> None:
    """Raises what `new_folder` would for a ``path`` that is there, before any costly work."""
    if not os.path.lexists(path):
        return
    try:
        with ExitStack() as stack:
            _claimed(path, force, stack)
    except OSError as error:
        raise from_os(error, f"making the recording {path}") from error


def _replaced(path: str, force: bool) -> tuple[Folder, int]:
    with ExitStack() as stack:
        folder, held = _claimed(path, force, stack)
        _empty(folder, path)
        stack.pop_all()
    return folder, held


def _claimed(path: str, force: bool, stack: ExitStack) -> tuple[Folder, int]:
    """An existing recording that may be replaced, locked; closed with ``stack``."""
    if not _is_recording(path):
        raise AlreadyExists(
            f"{path} exists and is no sealsnoop recording, so it is left alone; "
            "record under another name"
        )
    folder = stack.enter_context(Folder.open(path))
    held = lock.acquire(folder, path)
    stack.callback(os.close, held)
    if not force:
        raise AlreadyExists(
            f"{path} is there already; record under another name, "
            "or give --force to replace that recording"
        )
    return folder, held


def _is_recording(path: str) -> bool:
    try:
        with Folder.open(path) as folder:
            if folder.has(MANIFEST):
                manifest = folder.contents(MANIFEST, DOCUMENT_BYTES)
                return json_object(manifest, MANIFEST).get("format") == FORMAT
            # What is left of a recorder that was killed before it wrote the manifest.
            return _UNBORN.issuperset(folder.names())
    except (NotADirectoryError, Damaged):
        return False


def _empty(folder: Folder, path: str) -> None:
    """Removes a recording's files, the manifest last: until then it can be replaced again."""
    subs = [name for name in folder.names() if name in TABLES or name == TAIL_FOLDER]
    strangers = sorted(set(folder.names()) - FILES - set(subs))
    for name in subs:
        with folder.sub(name) as sub:
            strangers += [f"{name}/{inner}" for inner in sub.names() if not is_part(name, inner)]
    if strangers:
        raise AlreadyExists(
            f"{path} also holds {strangers[0]}, which is not part of a recording, "
            "so nothing was removed; record under another name"
        )
    for name in subs:
        with folder.sub(name) as sub:
            for inner in sub.names():
                sub.unlink(inner)
            sub.sync()  # else parts may come back with the power, as strangers in the new recording
    for name in sorted(FILES - {MANIFEST, lock.LOCK}):
        folder.unlink(name, missing_ok=True)
    folder.sync()
    folder.unlink(MANIFEST, missing_ok=True)
