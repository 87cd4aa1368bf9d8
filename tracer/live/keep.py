"""Keeps a temporary recording under a name: as it is now, or, at the end, as a whole.

Whoever may write to the folder that was named can exchange what lies in it while we, maybe as
root, fill a new recording there. So that folder and the new one are opened once, everything goes by
these descriptors, no symbolic link is followed, and every file is a new one.
"""

import errno
import json
import os
import shutil
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path

from tracer.errors import UserError
from tracer.escape import printable
from tracer.recording import chain as chains
from tracer.recording import folder as lock
from tracer.recording.chain import CHAIN, END, ENDS, MANIFEST, TAIL_FOLDER, Link, PartInfo, info
from tracer.recording.folder import Folder
from tracer.recording.format import DOCUMENT_BYTES, TAIL_BYTES
from tracer.recording.tail import TailReader

REASON = "kept from a live view, which went on"
_TRIES = 20
_NOT_BY_RENAMING = (errno.EXDEV, errno.EINVAL, errno.ENOSYS)
"""Another file system, or one that cannot rename without replacing."""


class Keeper:
    """Keeps ``source``, which somebody is writing."""

    def __init__(self, source: Path) -> None:
        self.name: str | None = None
        """The recording that is being kept now."""
        self._source = source
        self._target = source
        self._around: Folder | None = None
        """The folder that is to hold it, as it was when it was named."""

    def start(self, name: str) -> str:
        """Remembers where to keep it. UserError: there is something, or nothing can be made there.

        What was recorded before is kept too: a seal's history starts before anybody looks.
        """
        target = Path(name.strip()).expanduser().absolute()
        if not name.strip():
            raise UserError("give the recording a name")
        if os.path.lexists(target):
            raise UserError(f"{name} is there already; choose another name")
        nowhere = UserError(f"{target.parent}: nothing can be made there")
        try:
            around = Folder.around(target.parent)
        except OSError:
            raise nowhere from None
        if not os.access(".", os.W_OK | os.X_OK, dir_fd=around.fd):
            around.close()
            raise nowhere
        self.name, self._target, self._around = name.strip(), target, around
        return f"Keeping {target}: what was recorded so far and what comes, until r or the end."

    def stop(self) -> str:
        """Copies what was recorded until now. UserError: the system refuses."""
        with self._named() as around:
            self._guard(lambda: copy(self._source, around, self._target.name))
        return f"Kept {self._target}. The view goes on."

    def finish(self) -> Path | None:
        """To be called when the recorder has ended: moves the whole recording if it is kept.

        Where it is now; None: it was not to be kept. UserError: the system refuses, and it stays
        where it was.
        """
        if self.name is None:
            return None
        with self._named() as around:
            self._guard(lambda: move(self._source, around, self._target.name))
        return self._target

    def _named(self) -> Folder:
        around, self._around, self.name = self._around, None, None
        if around is None:
            raise UserError("nothing is being kept")
        return around

    def _guard(self, work: Callable[[], object]) -> None:
        try:
            work()
        except OSError as error:
            why = error.strerror or str(error)
            raise UserError(f"cannot keep {printable(str(self._target))}: {why}") from error


def move(source: Path, around: Folder, name: str) -> None:
    """The finished recording ``source`` becomes ``name`` in ``around``. OSError.

    It goes away where it was when it is on the device where it is to be.
    """
    with Folder.around(source.parent) as there:
        try:
            there.move(source.name, around, name)
        except OSError as error:
            if error.errno not in _NOT_BY_RENAMING:
                raise
        else:
            with suppress(PermissionError), around.sub(".") as readable:
                readable.sync()
            return
        with there.sub(source.name) as old, Folder.make(name, around) as new:
            for inner in sorted(old.names(), key=lambda one: one == END):
                _copy_all(old, inner, new)
            new.sync()
    shutil.rmtree(source)


def _copy_all(old: Folder, name: str, new: Folder) -> None:
    try:
        below = old.sub(name)
    except NotADirectoryError:
        old.copy(name, new)
        return
    with below, new.make_sub(name) as into:
        for inner in below.names():
            below.copy(inner, into)
        into.sync()


def copy(source: Path, around: Folder, name: str) -> None:
    """A recording of what ``source`` holds now, finished: segments are linked where that goes.

    A segment's tail goes away when the segment is in the chain, so tails are copied first. OSError.
    """
    with Folder.open(source) as old, Folder.make(name, around) as new:
        manifest = old.contents(MANIFEST, DOCUMENT_BYTES)
        new.write_durably(MANIFEST, manifest)
        os.close(new.create(lock.LOCK))
        with ExitStack() as opened:
            tails_of_old = opened.enter_context(old.sub(TAIL_FOLDER))
            tails_of_new = opened.enter_context(new.make_sub(TAIL_FOLDER))
            for _ in range(_TRIES):
                tails = _tails(tails_of_old, tails_of_new)
                chain = chains.read(old)
                first = chain.next_number
                open_ones = [number for number in tails if number >= first]
                if open_ones == list(range(first, first + len(open_ones))):
                    break  # else one of them has no tail yet: it becomes a segment soon
            left = _whole_tails(tails_of_new, tails, first)
        _segments(old, new, chain.links)
        end = json.dumps({"reason": REASON, "unsaved": 0}, indent=2).encode() + b"\n"
        new.write_durably(END, end)
        lines = [*filter(None, [chain.begin]), *chain.links]
        lines.append(
            chains.signed(ENDS, {END: info(end), **left}, lines[-1].digest if lines else "")
        )
        new.write_durably(CHAIN, b"".join(map(chains.line, lines)))


def _tails(source: Folder, target: Folder) -> list[int]:
    numbers = []
    for name in source.names():
        target.unlink(name, missing_ok=True)  # of the try before
        try:
            source.copy(name, target)
        except FileNotFoundError:
            target.unlink(name, missing_ok=True)
            continue  # it is a segment now
        numbers.append(int(name.partition(".")[0]))
    return numbers


def _segments(source: Folder, target: Folder, links: list[Link]) -> None:
    with ExitStack() as opened:
        tables: dict[str, tuple[Folder, Folder]] = {}
        for table, name in (path.split("/") for link in links for path in link.files):
            if table not in tables:
                old = opened.enter_context(source.sub(table))
                tables[table] = old, opened.enter_context(target.make_sub(table))
            old, new = tables[table]
            try:
                old.link(name, new)
            except OSError:  # another file system
                old.copy(name, new)
        for _, new in tables.values():
            new.sync()


def _whole_tails(target: Folder, tails: list[int], first: int) -> dict[str, PartInfo]:
    """Drops tails of segments that are there as a whole, and the last's unfinished block.

    What the chain has to say of those that stay.
    """
    left = {}
    for number in tails:
        name = chains.tail_name(number)
        if number < first:
            target.unlink(name)
            continue
        tail = TailReader(target, number)
        try:
            rows = sum(map(len, tail.read()))
            if tail.unread:
                target.cut(name, tail.offset)
        finally:
            tail.close()
        left[f"{TAIL_FOLDER}/{name}"] = info(target.contents(name, TAIL_BYTES), rows)
    target.sync()
    return left
