"""What a recording consists of at one moment, while somebody may be writing it."""

import os
from dataclasses import dataclass, field
from typing import Any

from tracer.store import gate
from tracer.store.alive import Recorder
from tracer.store.chain import (
    END,
    MANIFEST,
    TAIL_FOLDER,
    Chain,
    Link,
    tail_name,
    tail_number,
    wrong,
)
from tracer.store.errors import Damaged, FutureSchema, NotARecording, from_os
from tracer.store.folder import Folder
from tracer.store.limits import DOCUMENT_BYTES
from tracer.store.replace import FORMAT
from tracer.store.schema import SCHEMA_VERSION
from tracer.store.tail import TailReader

ALIVE = "The recording is still being written."
KILLED = (
    "The recorder was killed or the machine went down: the chain has no end, and the last records "
    "may be missing."
)
_TRIES = 20
_IN_FLIGHT = 3  # segments that a writer may have cut and not yet put into the chain


def open_folder(path: str | os.PathLike[str]) -> Folder:
    """The recording's folder. NotARecording, NoPermission."""
    try:
        return Folder.open(path)
    except OSError as error:
        raise from_os(error, f"opening the recording {os.fspath(path)}") from error


def read_manifest(folder: Folder, path: str) -> tuple[dict[str, Any], bytes]:
    """The manifest and its bytes. NotARecording, FutureSchema, NoPermission, Damaged."""
    try:
        data = gate.contents(folder, MANIFEST, DOCUMENT_BYTES)
    except FileNotFoundError:
        raise NotARecording(
            f"{path} is no sealsnoop recording: it has no {MANIFEST}; give a NAME.seal folder"
        ) from None
    except OSError as error:
        raise from_os(error, f"reading {path}/{MANIFEST}") from error
    except Damaged as error:
        raise Damaged(f"{path}: {error}") from None
    try:
        manifest = gate.json_object(data, MANIFEST)
    except Damaged as error:
        raise NotARecording(f"{path} is no sealsnoop recording: {error}") from None
    version = manifest.get("schema_version")
    if manifest.get("format") != FORMAT or type(version) is not int:
        raise NotARecording(f"{path} is no sealsnoop recording: its {MANIFEST} is not one of ours")
    if version > SCHEMA_VERSION:
        raise FutureSchema(
            f"{path} was written by a newer sealsnoop (schema {version}, this one knows "
            f"{SCHEMA_VERSION}); update sealsnoop to read it"
        )
    if version < SCHEMA_VERSION:
        raise NotARecording(
            f"{path} is older than sealsnoop's first release (schema {version}); record it again"
        )
    try:
        gate.check_types(manifest, MANIFEST)
    except Damaged as error:
        raise Damaged(f"{path}: {error}") from None
    return manifest, data


def open_tail(folder: Folder, number: int, chain: Chain) -> TailReader | None:
    """The tail of segment ``number``, None where there is none. Damaged.

    Once the recording has ended only those count that its last line names.
    """
    said = None
    if chain.end is not None:
        said = chain.end.files.get(f"{TAIL_FOLDER}/{tail_name(number)}")
        if said is None:
            return None
    try:
        with folder.sub(TAIL_FOLDER) as tails:
            return TailReader(tails, number, said)
    except FileNotFoundError:
        if said is None:
            return None
        raise Damaged(f"{TAIL_FOLDER}/{tail_name(number)} is missing.") from None


@dataclass
class Snapshot:
    """One consistent view: segments of the chain, then the open tails that follow them."""

    links: list[Link]
    end: dict[str, Any] | None
    """``end.json``; None: there is none that the chain vouches for."""
    alive: bool
    tails: dict[int, TailReader] = field(default_factory=dict)
    damage: list[str] = field(default_factory=list)
    """What was changed, in sentences."""
    missing: list[str] = field(default_factory=list)
    """What is not there since nobody finished it, in sentences."""

    @property
    def next_number(self) -> int:
        """The first segment that is not in the chain."""
        return self.links[-1].number + 1 if self.links else 0

    def close(self) -> None:
        """Closes the tails."""
        for tail in self.tails.values():
            tail.close()


def take(folder: Folder, manifest: bytes, chain: Chain, recorder: Recorder) -> Snapshot:
    """The recording as it is now; brings ``chain`` up to date. OSError where the system refuses."""
    for _ in range(_TRIES):
        alive = recorder.alive()
        chain.update(folder)
        shot = Snapshot([*chain.links], None, alive and chain.end is None)
        _open_tails(folder, chain, shot)
        # A tail may have been exchanged for its segment while we looked; then look again.
        if not shot.alive or not chain.update(folder):
            break
        shot.close()
    shot.damage[:0] = chain.damage
    _check_begin(chain, manifest, shot)
    if chain.cut_short:
        shot.damage.append("chain.jsonl has become shorter since it was read.")
    if chain.end is not None:
        if chain.unfinished:
            shot.damage.append("Behind the end of chain.jsonl there is more.")
        shot.end = read_end(folder, chain.end, shot)
        _check_end(shot)
        return shot
    if chain.unfinished and not alive:
        shot.missing.append(
            "The last line of chain.jsonl is unfinished; its segment is taken from the tail."
        )
    shot.missing.append(ALIVE if alive else KILLED)
    if not alive and folder.has(END):
        shot.missing.append(
            f"{END} is there, and the chain does not vouch for it: it is not believed."
        )
    return shot


def _open_tails(folder: Folder, chain: Chain, shot: Snapshot) -> None:
    first = shot.next_number
    numbers = [*range(first, first + _IN_FLIGHT)] if chain.end is None else tail_numbers(chain.end)
    try:
        for number in numbers:
            try:
                tail = open_tail(folder, number, chain)
            except Damaged as error:
                shot.damage.append(str(error))
                continue
            if tail is not None:
                shot.tails[number] = tail
    except BaseException:
        shot.close()
        raise


def tail_numbers(end: Link) -> list[int]:
    """The tails that the last line names, in their order."""
    names = (path.removeprefix(f"{TAIL_FOLDER}/") for path in end.files)
    return sorted(number for name in names if (number := tail_number(name)) is not None)


def _check_begin(chain: Chain, manifest: bytes, shot: Snapshot) -> None:
    if chain.begin is not None:
        if wrong(manifest, MANIFEST, chain.begin.files[MANIFEST]):
            shot.damage.append(f"{MANIFEST} is not the one that the recording began with.")
    elif chain.links or chain.end is not None:
        shot.damage.append(f"chain.jsonl does not say which {MANIFEST} the recording began with.")


def read_end(folder: Folder, line: Link, shot: Snapshot) -> dict[str, Any] | None:
    """``end.json`` if it is the one that the chain's last line names, and has our types."""
    try:
        data = gate.contents(folder, END, DOCUMENT_BYTES)
        fault = wrong(data, END, line.files[END])
        if fault is None:
            return gate.document(data, END)
        shot.damage.append(fault)
    except FileNotFoundError:
        shot.damage.append(f"{END} is missing.")
    except Damaged as error:
        shot.damage.append(str(error))
    return None


def _check_end(shot: Snapshot) -> None:
    end = shot.end or {}
    if end.get("error"):
        shot.missing.append(f"The recording ended because of an error: {end['error']}")
    if unsaved := end.get("unsaved"):
        shot.missing.append(f"{unsaved} records came from the kernel but could not be stored.")
