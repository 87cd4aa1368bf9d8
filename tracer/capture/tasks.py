"""Who has memory files when a trace starts: executable, command line and parent, by /proc.

Looking disturbs nobody: the executable is known by the text of its link and by the mapping of that
text, since whoever asks the file itself asks its file system, which may not answer. A command line
is read out of the process's own memory, which may be told to wait for ever (userfaultfd), so it is
read in a thread that can be left behind.
"""

import os
import re
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tracer.capture.ledger import own_records
from tracer.capture.memory_files import Scan
from tracer.capture.processes import Who, folder, start_ns
from tracer.capture.ring import Records
from tracer.escape import escape_bytes
from tracer.record import HEAD, PROC_TICK_NS, TASK, RecordType, TaskText
from tracer.recording.tasks import claimed, is_qemu

_PIECE = TASK["text"].itemsize - 1
_CMDLINE = 2047
"""Bytes of a command line that are kept, as ``bpf/tasks.h`` has it."""
_PATIENCE_S = 1.0
"""How long command lines are waited for, all together."""
_DELETED = b" (deleted)"
_LINE = re.compile(rb"^\S+ \S+ 0+ ([0-9a-f]+):([0-9a-f]+) (\d+) +(.*)$", re.MULTILINE)


class _Facts(NamedTuple):
    exe: bytes
    unlinked: bool
    dev: int
    ino: int
    parent: int
    parent_start_ns: int
    ns_pid: int


def actors(scan: Scan) -> dict[tuple[int, int, int], Who]:
    """Everybody of a look at /proc, by pid, start and number of programs."""
    everyone = [(one.pid, one.who) for one in scan.bonds]
    for file in scan.files:
        everyone += [(holder.pid, holder.who) for holder in file.holders]
        everyone += [(mapping.pid, mapping.who) for mapping in file.mappings]
    return {(pid, who.start_ns, who.exec_id): who for pid, who in everyone}


def _read(fd: int, name: str, most: int = 1 << 20) -> bytes:
    file = os.open(name, os.O_RDONLY | os.O_CLOEXEC, dir_fd=fd)
    try:
        found = b""
        while len(found) < most and (piece := os.read(file, most - len(found))):
            found += piece
        return found
    finally:
        os.close(file)


def _executable(fd: int) -> tuple[bytes, int, int]:
    """Its path as the kernel says it, and device and inode of what is mapped by that path."""
    link = b""
    with suppress(OSError):
        link = os.fsencode(os.readlink("exe", dir_fd=fd))
        for major, minor, ino, path in _LINE.findall(_read(fd, "maps")):
            if path == link:
                return link, int(major, 16) << 20 | int(minor, 16), int(ino)
    return link, 0, 0


def _facts(root: Path, fd: int) -> _Facts:
    exe, dev, ino = _executable(fd)
    status = stat = b""
    with suppress(OSError):
        status, stat = _read(fd, "status"), _read(fd, "stat")
    fields = stat[stat.rfind(b")") + 1 :].split()
    parent = int(fields[1]) if len(fields) > 1 else 0
    numbers = re.search(rb"^NSpid:\s+(.+)$", status, re.MULTILINE)
    parents_start = 0
    with suppress(OSError):
        parents_start = start_ns((root / str(parent) / "stat").read_bytes())
    return _Facts(
        exe.removesuffix(_DELETED),
        exe.endswith(_DELETED),
        dev,
        ino,
        parent,
        parents_start,
        int(numbers[1].split()[-1]) if numbers else 0,
    )


class _Patient:
    """Reads what may never come, and waits for all of it no longer than a while."""

    def __init__(self, seconds: float) -> None:
        self._until_s = time.monotonic() + seconds

    def read(self, folder: int, name: str, most: int) -> bytes:
        """Empty: it did not come in time, there was no time left, or there is nothing."""
        found: list[bytes] = []
        left_s = self._until_s - time.monotonic()
        if left_s <= 0:
            return b""
        own = os.dup(folder)  # a thread that is left behind keeps it

        def run() -> None:
            try:
                with suppress(OSError):
                    found.append(_read(own, name, most))
            finally:
                os.close(own)

        thread = threading.Thread(target=run, name="cmdline", daemon=True)
        thread.start()
        thread.join(left_s)
        return found[0] if found else b""


class Claims:
    """Which virtual machine processes claim to be on their command lines, now (tracer.qemu)."""

    def __init__(self, root: Path = Path("/proc")) -> None:
        self._root, self._patient = root, _Patient(_PATIENCE_S)
        self._known: dict[int, str] = {}

    def of(self, pid: int) -> str:
        """Escaped; empty: none."""
        if pid not in self._known:
            self._known[pid] = self._claim(pid)
        return self._known[pid]

    def _claim(self, pid: int) -> str:
        with folder(self._root, pid) as fd, suppress(OSError):
            exe = os.fsencode(os.readlink("exe", dir_fd=fd)) if fd >= 0 else b""
            if is_qemu(exe := exe.removesuffix(_DELETED)):
                command = self._patient.read(fd, "cmdline", _CMDLINE)
                return escape_bytes(claimed(exe, command.split(b"\0")[:-1]))
        return ""


def _pieces(text: bytes, most: int) -> Iterator[tuple[int, bytes, bool]]:
    for part, at in enumerate(range(0, max(min(len(text), most), 1), _PIECE)):
        piece = text[at : min(at + _PIECE, most)]
        yield part, piece, at + len(piece) < len(text)


def task_records(
    who: Iterable[tuple[int, int, int]], *, cmdlines: bool, root: Path = Path("/proc")
) -> Records:
    """A TASK record for each piece of what is known of these actors: pid, start, programs.

    :param cmdlines: their command lines, too.
    """
    rows: list[Records] = []
    patient = _Patient(_PATIENCE_S)
    for pid, start, exec_id in who:
        with folder(root, pid) as fd:
            if fd < 0 or not is_still(fd, start):
                continue
            facts, command = _facts(root, fd), b""
            if cmdlines:
                command = patient.read(fd, "cmdline", _CMDLINE + 1)
            if not is_still(fd, start):
                continue
        texts = [(TaskText.EXE, facts.exe, 1 << 12)]
        texts += [(TaskText.CMDLINE, command, _CMDLINE)] if command else []
        for what, text, most in texts:
            for part, piece, more in _pieces(text, most):
                [row] = made = own_records(1, TASK, RecordType.TASK)
                row["pid"], row["start_ns"], row["exec_id"] = pid, start, exec_id
                row["dev"], row["ino"], row["unlinked"] = facts.dev, facts.ino, facts.unlinked
                row["parent"], row["parent_start_ns"] = facts.parent, facts.parent_start_ns
                row["ns_pid"], row["what"] = facts.ns_pid, what
                row["part"], row["length"], row["more"] = part, len(piece), more
                row["text"] = np.void(piece.ljust(TASK["text"].itemsize, b"\0"))
                rows.append(made)
    found = np.concatenate(rows) if rows else own_records(0, TASK, RecordType.TASK)
    return found.view(HEAD)


def is_still(fd: int, start: int) -> bool:
    """Whether the process behind a folder of /proc is still there, and began then."""
    try:
        found = start_ns(_read(fd, "stat"))
    except OSError:
        return False
    return not start or found == start - start % PROC_TICK_NS


class Told:
    """Whom looks at /proc have found so far."""

    def __init__(self, cmdlines: bool) -> None:
        self._cmdlines = cmdlines
        self._known: set[tuple[int, int, int]] = set()
        self.records: Records = task_records((), cmdlines=False)
        """Of those that the last look found first."""

    def look(self, scan: Scan) -> None:
        """By any thread."""
        new = actors(scan).keys() - self._known
        self._known |= new
        self.records = task_records(sorted(new), cmdlines=self._cmdlines)
