"""What a recording consists of at one moment, while somebody may be writing it."""

import json
import os
from dataclasses import dataclass, field
from typing import Any

from tracer.store import chain as chains
from tracer.store.alive import Recorder
from tracer.store.chain import CHAIN, Chain, Link
from tracer.store.errors import FutureSchema, NotARecording, from_os
from tracer.store.folder import Folder
from tracer.store.replace import END, FORMAT, MANIFEST
from tracer.store.schema import SCHEMA_VERSION
from tracer.store.tail import TAIL_FOLDER, TailReader

ALIVE = "The recording is still being written."
KILLED = (
    "The recorder was killed or the machine went down: there is no end.json, and the last records "
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
    """The manifest and its bytes. NotARecording, FutureSchema, NoPermission."""
    try:
        data = folder.read(MANIFEST)
    except FileNotFoundError:
        raise NotARecording(
            f"{path} is no sealsnoop recording: it has no {MANIFEST}; give a NAME.seal folder"
        ) from None
    except OSError as error:
        raise from_os(error, f"reading {path}/{MANIFEST}") from error
    try:
        manifest = json.loads(data)
        known = manifest["format"] == FORMAT
        version = int(manifest["schema_version"])
    except (ValueError, KeyError, TypeError):
        known, version = False, 0
    if not known:
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
    return manifest, data


def read_end(folder: Folder) -> dict[str, Any] | None:
    """``end.json``, None where it is not there or not readable as JSON."""
    try:
        end = json.loads(folder.read(END))
    except (FileNotFoundError, ValueError):
        return None
    return end if isinstance(end, dict) else None


def read_chain(folder: Folder, manifest: bytes) -> Chain:
    """The chain's links and what is wrong with them."""
    try:
        data = folder.read(CHAIN)
    except FileNotFoundError:
        return Chain()  # killed between the manifest and the chain: nothing was recorded
    return chains.read(data, manifest)


def open_tail(folder: Folder, number: int) -> TailReader | None:
    """The tail of segment ``number``, None where there is none."""
    try:
        with folder.sub(TAIL_FOLDER) as tails:
            return TailReader(tails, number)
    except FileNotFoundError:
        return None


@dataclass
class Snapshot:
    """One consistent view: segments of the chain, then the open tails that follow them."""

    links: list[Link]
    end: dict[str, Any] | None
    alive: bool
    tails: dict[int, TailReader]
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


def _open_tails(folder: Folder, first: int) -> dict[int, TailReader]:
    tails = {number: open_tail(folder, number) for number in range(first, first + _IN_FLIGHT)}
    return {number: tail for number, tail in tails.items() if tail is not None}


def take(folder: Folder, manifest: bytes, recorder: Recorder) -> Snapshot:
    """The recording as it is now. OSError where the system refuses."""
    for _ in range(_TRIES):
        alive = recorder.alive()
        end = read_end(folder)
        chain = read_chain(folder, manifest)
        first = chain.links[-1].number + 1 if chain.links else 0
        shot = Snapshot(chain.links, end, alive, _open_tails(folder, first), chain.damage)
        # A tail may have been exchanged for its segment while we looked; then look again.
        if not alive or read_chain(folder, manifest).links == chain.links:
            break
        shot.close()
    if chain.unfinished and not alive:
        shot.missing.append(
            "The last line of chain.jsonl is unfinished; its segment is taken from the tail."
        )
    if end is None:
        shot.missing.append(ALIVE if alive else KILLED)
    else:
        _check_end(shot, end)
    return shot


def _check_end(shot: Snapshot, end: dict[str, Any]) -> None:
    if end.get("error"):
        shot.missing.append(f"The recording ended because of an error: {end['error']}")
    unsaved = end.get("unsaved")
    if isinstance(unsaved, int) and unsaved:
        shot.missing.append(f"{unsaved} records came from the kernel but could not be stored.")
    last = shot.links[-1].digest if shot.links else None
    if end.get("segments") != len(shot.links) or last not in (None, end.get("chain")):
        shot.damage.append(
            f"chain.jsonl has {len(shot.links)} segments where end.json says "
            f"{end.get('segments')}, or ends with another one: segments were removed or changed."
        )
