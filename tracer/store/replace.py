"""Makes the folder of a new recording, in place of an old one only if that was asked for."""

import json
import os
import re

from tracer.store import lock
from tracer.store.chain import CHAIN
from tracer.store.errors import AlreadyExists, StoreError, from_os
from tracer.store.folder import Folder
from tracer.store.schema import TABLES
from tracer.store.tail import TAIL_FOLDER

MANIFEST = "manifest.json"
END = "end.json"
RESERVE = "reserve"
FORMAT = "sealsnoop recording"
"""``format`` in the manifest: what tells our folders from anybody's."""

_FILES = {MANIFEST, CHAIN, END, RESERVE, lock.LOCK, f".{MANIFEST}.tmp", f".{END}.tmp"}
_UNBORN = {lock.LOCK, f".{MANIFEST}.tmp", TAIL_FOLDER, *TABLES}
_PART = re.compile(r"[0-9]{6,}\.(parquet|arrow)|\.[0-9]{6,}\.parquet\.tmp")


def new_folder(path: str, *, force: bool) -> tuple[Folder, int]:
    """The empty folder ``path`` and the descriptor that holds its lock.

    StoreError: AlreadyExists, Busy, NoPermission or DiskFull.
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
        folder, held = _claimed(path, force)
    except OSError as error:
        raise from_os(error, f"making the recording {path}") from error
    os.close(held)
    folder.close()


def _replaced(path: str, force: bool) -> tuple[Folder, int]:
    folder, held = _claimed(path, force)
    try:
        _empty(folder, path)
    except BaseException:
        os.close(held)
        folder.close()
        raise
    return folder, held


def _claimed(path: str, force: bool) -> tuple[Folder, int]:
    """An existing recording that may be replaced, locked."""
    if not _is_recording(path):
        raise AlreadyExists(
            f"{path} exists and is no sealsnoop recording, so it is left alone; "
            "record under another name"
        )
    folder = Folder.open(path)
    try:
        held = lock.acquire(folder, path)
        try:
            if not force:
                raise AlreadyExists(
                    f"{path} is there already; record under another name, "
                    "or give --force to replace that recording"
                )
        except BaseException:
            os.close(held)
            raise
    except BaseException:
        folder.close()
        raise
    return folder, held


def _is_recording(path: str) -> bool:
    try:
        with Folder.open(path) as folder:
            if folder.has(MANIFEST):
                manifest = json.loads(folder.read(MANIFEST))
                return isinstance(manifest, dict) and manifest.get("format") == FORMAT
            # What is left of a recorder that was killed before it wrote the manifest.
            return _UNBORN.issuperset(folder.names())
    except (NotADirectoryError, ValueError):
        return False


def _empty(folder: Folder, path: str) -> None:
    """Removes a recording's files, the manifest last: until then it can be replaced again."""
    subs = [name for name in folder.names() if name in TABLES or name == TAIL_FOLDER]
    strangers = sorted(set(folder.names()) - _FILES - set(subs))
    for name in subs:
        with folder.sub(name) as sub:
            strangers += [f"{name}/{inner}" for inner in sub.names() if not _PART.fullmatch(inner)]
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
    for name in sorted(_FILES - {MANIFEST, lock.LOCK}):
        folder.unlink(name, missing_ok=True)
    folder.sync()
    folder.unlink(MANIFEST, missing_ok=True)
