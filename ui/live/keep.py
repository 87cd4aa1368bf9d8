"""Keeps a temporary recording under a name: as it is now, or, at the end, as a whole."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

from tracer.errors import UserError
from tracer.model.escape import printable
from tracer.store import lock
from tracer.store.chain import CHAIN, Link, read, sha256
from tracer.store.folder import Folder
from tracer.store.replace import END, MANIFEST
from tracer.store.tail import TAIL_FOLDER, TailReader

REASON = "kept from a live view, which went on"
_TRIES = 20


class Keeper:
    """Keeps ``source``, which somebody is writing (see ui.app.Keeper)."""

    def __init__(self, source: Path) -> None:
        self.name: str | None = None
        self._source = source
        self._target = source

    def start(self, name: str) -> str:
        """Remembers where to keep it. UserError: there is something, or nothing can be made there.

        What was recorded before is kept too: a seal's history begins before anybody looks.
        """
        target = Path(name.strip()).expanduser().absolute()
        if not name.strip():
            raise UserError("give the recording a name")
        if os.path.lexists(target):
            raise UserError(f"{name} is there already; choose another name")
        if not os.access(target.parent, os.W_OK | os.X_OK):
            raise UserError(f"{target.parent}: nothing can be made there")
        self.name, self._target = name.strip(), target
        return f"Keeping {target}: what was recorded so far and what comes, until r or the end."

    def stop(self) -> str:
        """Copies what was recorded until now. UserError: the system refuses."""
        name, self.name = self.name, None
        if name is None:
            raise UserError("nothing is being kept")
        _guard(self._target, lambda: copy(self._source, self._target))
        return f"Kept {self._target}. The view goes on."

    def finish(self) -> Path | None:
        """To be called when the recorder has ended: moves the whole recording if it is kept.

        Where it is now; None: it was not to be kept. UserError: the system refuses, and it stays
        where it was.
        """
        if self.name is None:
            return None
        self.name = None
        _guard(self._target, lambda: shutil.move(self._source, self._target))
        return self._target


def _guard(target: Path, work: Callable[[], object]) -> None:
    try:
        work()
    except OSError as error:
        why = error.strerror or str(error)
        raise UserError(f"cannot keep {printable(str(target))}: {why}") from error


def copy(source: Path, target: Path) -> None:
    """A recording of what ``source`` holds now, finished: segments are linked where that goes.

    A segment's tail goes away when the segment is in the chain, so tails are copied first. OSError.
    """
    target.mkdir(mode=0o700)
    manifest = (source / MANIFEST).read_bytes()
    (target / MANIFEST).write_bytes(manifest)
    (target / lock.LOCK).touch(0o600)
    (target / TAIL_FOLDER).mkdir(0o700)
    for _ in range(_TRIES):
        tails = _tails(source, target)
        data, links = _chain(source, manifest)
        first = links[-1].number + 1 if links else 0
        open_ones = [number for number in tails if number >= first]
        if open_ones == list(range(first, first + len(open_ones))):
            break  # else one of them has no tail yet: it becomes a segment soon
    (target / CHAIN).write_bytes(data)
    for link in links:
        for path in link.files:
            _link(source / path, target / path)
    last = links[-1].digest if links else sha256(manifest)
    end = {"reason": REASON, "unsaved": 0, "segments": len(links), "chain": last}
    with Folder.open(target) as folder:
        _whole_tails(folder, target, tails, first)
        folder.write_durably(END, json.dumps(end, indent=2).encode() + b"\n")


def _tails(source: Path, target: Path) -> list[int]:
    numbers = []
    for path in sorted((source / TAIL_FOLDER).glob("*.arrow")):
        try:
            shutil.copyfile(path, target / TAIL_FOLDER / path.name)
        except FileNotFoundError:
            continue  # it is a segment now
        numbers.append(int(path.stem))
    return numbers


def _chain(source: Path, manifest: bytes) -> tuple[bytes, list[Link]]:
    data = (source / CHAIN).read_bytes()
    data = data[: data.rfind(b"\n") + 1]
    return data, read(data, manifest).links


def _link(source: Path, target: Path) -> None:
    target.parent.mkdir(mode=0o700, exist_ok=True)
    try:
        os.link(source, target)
    except OSError:  # another file system
        shutil.copyfile(source, target)


def _whole_tails(folder: Folder, target: Path, tails: list[int], first: int) -> None:
    """Drops tails of segments that are there as a whole, and the last's unfinished batch."""
    for number in tails:
        path = target / TAIL_FOLDER / f"{number:06}.arrow"
        if number < first:
            path.unlink()
            continue
        with folder.sub(TAIL_FOLDER) as sub:
            tail = TailReader(sub, number)
        try:
            tail.read()
            if tail.unread:
                os.truncate(path, path.stat().st_size - tail.unread)
        finally:
            tail.close()
