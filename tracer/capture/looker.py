"""A process that looks at who acts: the build id of its program, and all else where nobody told.

A recorder gives away the right to look into others' folders of /proc when its start is over
(tracer.kernel.privileges). This process keeps that right alone, and has neither the ring nor the
recording. It reads files of programs that are traced, which may not answer: then it stands still,
what it was asked meanwhile stays unknown, and nobody waits for it.
"""

import os
import select
import socket
import struct
import time
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple, Self

import numpy as np

from tracer.capture.ledger import own_records
from tracer.capture.processes import folder
from tracer.capture.ring import Records
from tracer.capture.stacks.files import Files
from tracer.capture.stacks.records import File
from tracer.capture.stacks.zygote import end_with_parent, helper, leave
from tracer.capture.tasks import is_still, task_records
from tracer.filter.mask import ACTOR
from tracer.kernel import privileges
from tracer.record import EVENT, HEAD, RECORD_SIZE, TASK, RecordType, TaskText
from tracer.stacks import elf

NO_PIECE = 0xFFFF
"""``part`` of a build id."""
_MESSAGE = 1 << 16
_WHO = struct.Struct("=QII")
_MOST_KNOWN = 1 << 16
_LAST_S = 0.5
_END = b"."
_MOST_BUILD_IDS = 1 << 12


class _Version(NamedTuple):
    """A file as it is now: whoever writes to it changes this."""

    dev: int
    ino: int
    size: int
    mtime_ns: int
    ctime_ns: int


class Looker:
    """The recorder's side."""

    def __init__(self, pid: int, sock: socket.socket, whole: bool) -> None:
        self.pid = pid
        self._sock, self._whole = sock, whole
        self._known: set[tuple[int, ...]] = set()
        self._sock.setblocking(False)

    @classmethod
    def start(cls, *, whole: bool, cmdlines: bool) -> Self:
        """Forks it. Call it before threads are started, and before hooks are there.

        :param whole: nobody else tells who acts: executable, command line (``cmdlines``), parent.
        """
        files = Files()  # makes files in memory, which nobody shall record
        return cls(*helper(lambda sock: _live(sock, files, cmdlines)), whole)

    def see(self, records: Records) -> None:
        """Asks about each who is there for the first time. What has no room is not asked."""
        types = records["type"]
        tasks = types == RecordType.TASK
        if tasks.any():
            rows = records[tasks].view(TASK)
            first = rows[(rows["what"] == TaskText.EXE) & (rows["part"] == 0) & (rows["ino"] != 0)]
            for row in first:
                # Where nobody else tells, one that is known is an answer of ours.
                if not self._whole or self._is_new(tuple(int(row[name]) for name in ACTOR)):
                    self._ask(row.tobytes())
        if not self._whole:
            return
        events = records[types == RecordType.EVENT].view(EVENT)
        if not len(events):
            return
        keys = np.stack([events[name].astype(np.int64) for name in ACTOR])
        for pid, start_ns, exec_id in np.unique(keys, axis=1).T.tolist():
            if start_ns and self._is_new((pid, start_ns, exec_id)):
                self._ask(_WHO.pack(start_ns, pid, exec_id))

    def _is_new(self, actor: tuple[int, ...]) -> bool:
        if actor in self._known:
            return False
        if len(self._known) >= _MOST_KNOWN:
            self._known.clear()
        self._known.add(actor)
        return True

    def _ask(self, question: bytes) -> None:
        with suppress(OSError):  # it has too much to do, or is gone
            self._sock.send(question)

    def take(self) -> Records | None:
        """TASK records of whom it has looked at meanwhile."""
        found: list[bytes] = []
        with suppress(OSError):
            while (data := self._sock.recv(_MESSAGE)) and data != _END:
                found.append(data)
        return _records(found)

    def finish(self) -> Records | None:
        """The last of them, if they come soon."""
        found: list[bytes] = []
        until_s = time.monotonic() + _LAST_S
        with suppress(OSError):
            self._sock.setblocking(True)
            self._sock.settimeout(_LAST_S)
            self._sock.send(_END)
            while (left_s := until_s - time.monotonic()) > 0:
                if not select.select([self._sock], [], [], left_s)[0]:
                    break
                data = self._sock.recv(_MESSAGE)
                if data in (_END, b""):
                    break
                found.append(data)
        return _records(found)

    def close(self) -> None:
        """It ends when it finds out; nobody waits for what may stand still."""
        self._sock.close()
        leave(self.pid, _LAST_S)


def _records(found: list[bytes]) -> Records | None:
    data = b"".join(one for one in found if len(one) % RECORD_SIZE == 0)
    return np.frombuffer(data, TASK).copy().view(HEAD) if data else None


def _live(sock: socket.socket, files: Files, cmdlines: bool) -> None:
    """Its whole life."""
    privileges.keep(privileges.SWEEPS)
    end_with_parent()  # who changes what it may loses that
    looks = Looks(files, cmdlines)
    while question := sock.recv(_MESSAGE):
        answer = _END if question == _END else looks.at(question)
        if answer:
            sock.send(answer)


class Looks:
    """What it does."""

    def __init__(self, files: Files, cmdlines: bool, proc: Path = Path("/proc")) -> None:
        self._files, self._cmdlines, self._proc = files, cmdlines, proc
        self._known: dict[_Version, bytes] = {}

    def at(self, question: bytes) -> bytes:
        """TASK records: a build id for such a record, all for who is named by number."""
        if len(question) == RECORD_SIZE:
            return self._with_build_id(np.frombuffer(question, TASK)).tobytes()
        if len(question) != _WHO.size:
            return b""
        start_ns, pid, exec_id = _WHO.unpack(question)
        actor = (pid, start_ns, exec_id)
        rows = task_records([actor], cmdlines=self._cmdlines, root=self._proc)
        if not len(rows):
            return b""
        return rows.tobytes() + self._with_build_id(rows.view(TASK)[:1]).tobytes()

    def _with_build_id(self, of: Records) -> Records:
        """A record with the build id of the executable in ``of``, or none."""
        [row] = of
        found = b""
        with suppress(OSError, ValueError):
            found = self._build_id(row)
        made = own_records(1 if found else 0, TASK, RecordType.TASK)
        for row_made in made:
            for name in (*ACTOR, "dev", "ino", "gen", "parent", "parent_start_ns", "ns_pid"):
                row_made[name] = row[name]
            row_made["cut"], row_made["unlinked"] = row["cut"], row["unlinked"]
            row_made["what"], row_made["part"] = TaskText.BUILD_ID, NO_PIECE
            row_made["length"] = len(found)
            row_made["text"] = np.void(found.ljust(TASK["text"].itemsize, b"\0"))
        return made

    def _build_id(self, row: np.void) -> bytes:
        """Of the very file that was named, if the process still runs it. OSError, ValueError."""
        pid = int(row["pid"])
        with folder(self._proc, pid) as fd:
            if fd < 0 or not is_still(fd, int(row["start_ns"])):
                return b""
            link = os.open("exe", os.O_PATH | os.O_CLOEXEC, dir_fd=fd)
        try:
            named = File(int(row["dev"]), int(row["ino"]), int(row["gen"]))
            file = self._files.checked(link, named, pid)
        finally:
            os.close(link)
        try:
            now = os.fstat(file)
            version = _Version(
                now.st_dev, now.st_ino, now.st_size, now.st_mtime_ns, now.st_ctime_ns
            )
            if version not in self._known:
                if len(self._known) >= _MOST_BUILD_IDS:
                    self._known.clear()
                self._known[version] = bytes.fromhex(elf.read(file).build_id)
            return self._known[version]
        finally:
            os.close(file)
