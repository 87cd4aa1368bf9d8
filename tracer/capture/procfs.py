"""All memory files that processes of this host hold open or have mapped, at about one moment.

What the scan cannot see it says in sentences, for an empty answer must not reassure: processes
whose descriptors or mappings may not be read, a /proc that hides processes, another pid namespace.
Descriptors in flight over a socket or registered with io_uring, and tables that one thread alone
has, are in nobody's ``/proc/PID/fd``: the trace sees their use, a scan cannot.
"""

import os
import queue
import stat
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from os import fsencode, lstat, readlink
from pathlib import Path

from tracer.capture import memory_files as inode
from tracer.capture import processes
from tracer.capture.memory_files import (
    OTHER,
    Holder,
    Mapping,
    MemoryFile,
    Mounts,
    Scan,
    kind_of,
    strip_deleted,
)
from tracer.capture.processes import Identity, MapsLine, Who
from tracer.labels import SEALS_UNKNOWN
from tracer.words import Kind, Seal

_FIRST_PID_NAMESPACE = "pid:[4026531836]"  # include/linux/proc_ns.h: PROC_PID_INIT_INO


def _mount_options(root: Path) -> str:
    """Options of the proc file system at ``root``; empty where none is mounted there."""
    options = ""
    for line in (root / "self" / "mountinfo").read_text("utf-8", "surrogateescape").splitlines():
        before, _, after = line.partition(" - ")
        if before.split(" ")[4] == str(root):
            options = after.split(" ")[2]
    return options


def _hidden(root: Path) -> list[str]:
    found = []
    try:
        options = _mount_options(root).split(",")
        namespace = os.readlink(root / "self" / "ns" / "pid")
    except OSError:
        return [f"{root} does not tell about itself: processes may be hidden"]
    hiding = [option for option in options if option.startswith(("hidepid=", "subset="))]
    off = {"hidepid=0", "hidepid=off"}
    if set(hiding) - off and os.geteuid() != 0:
        found.append(
            f"{root} is mounted with {','.join(hiding)}: other users' processes are hidden"
        )
    if namespace != _FIRST_PID_NAMESPACE:
        found.append("this is a pid namespace of its own: processes outside of it are not seen")
    return found


def problems(root: Path, scan: Scan, mounts: Mounts, silent: int) -> list[str]:
    """One sentence for each thing that was not seen; empty: everything in /proc was.

    ``silent``: how many processes did not tell in time.
    """
    found = _hidden(root)
    unknown = sum(file.seals == SEALS_UNKNOWN for file in scan.files)
    unreadable = [
        f"{what} not readable"
        for count, what in (
            (scan.denied_fds, f"open files of {scan.denied_fds} of {scan.processes} processes"),
            (scan.denied_maps, f"mappings of {scan.denied_maps} of {scan.processes} processes"),
            (unknown, f"seals of {unknown} memory files"),
        )
        if count
    ]
    if unreadable and os.geteuid() != 0:
        unreadable[-1] += "; root sees them"
    found += unreadable
    if silent:
        found.append(f"{silent} processes did not tell what they have mapped in time")
    if mounts.silent:
        found.append("a file system that may have guest memory did not answer")
    if mounts.unknown:
        found.append(f"{mounts.unknown} open files are on mounts that no process shows")
    return found


_ROUNDS = 3  # processes that were born during the scan are looked at too
_PATIENCE_S = 10.0
_LEAST_PATIENCE_S = 0.05


@dataclass(slots=True)
class _Descriptor:
    """A descriptor of a memory file; ``magic``: of its file system."""

    tid: int
    fd: int
    link: bytes
    found: inode.Inode
    fmode: int
    magic: int


@dataclass(slots=True)
class _Process:
    """What one process has."""

    pid: int
    descriptors: list[_Descriptor] = field(default_factory=list)
    mappings: list[tuple[int, MapsLine, int]] = field(default_factory=list)
    """Thread, mapping, magic number of the file system."""
    who: Who | None = None
    identity: Identity | None = None
    tracer: int = 0
    denied_fds: int = 0
    denied_maps: int = 0


class Scanner:
    """Scans ``root`` (/proc); ``mounts`` and ``look`` are to be replaced by tests.

    ``look`` tells what a path leads to, if that is a memory file; ``identify`` whose folder in
    /proc a descriptor is on, exactly.
    """

    def __init__(
        self,
        root: Path = Path("/proc"),
        look: Callable[[bytes], inode.Inode] | None = None,
        all_tmpfs: bool = False,
        mounts: Mounts | None = None,
        patience_s: float = _PATIENCE_S,
        identify: Callable[[int], Identity | None] | None = None,
    ) -> None:
        self._root = root
        self._base = fsencode(root)
        self._look = look or self._held
        self._all_tmpfs = all_tmpfs
        self._mounts = mounts or Mounts(root)
        self._files: dict[tuple[int, int], MemoryFile] = {}
        self._patience_s = patience_s
        self._identify = identify
        self._reader: _Reader | None = None

    def scan(self) -> Scan:
        """Looks at every process once. OSError: there is no /proc."""
        scan = Scan(time.clock_gettime_ns(time.CLOCK_BOOTTIME), [], mounts=self._mounts)
        seen: set[int] = set()
        tracers: dict[int, int] = {}
        silent = 0
        try:
            for _ in range(_ROUNDS):
                fresh = [pid for pid in processes.pids(self._root) if pid not in seen]
                if not fresh:
                    break
                for pid in fresh:
                    found = self._patiently(pid)
                    if found is None:
                        silent += 1
                        continue
                    self._merge(found, scan)
                    if found.identity is not None:
                        scan.alive[pid] = found.identity
                    if found.tracer:
                        tracers[pid] = found.tracer
                seen.update(fresh)
        finally:
            if self._reader is not None:
                self._reader.end()
        scan.processes = len(seen)
        scan.duration_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME) - scan.time_ns
        scan.bonds = processes.bonds(self._root, scan.alive, tracers)
        for file in self._files.values():
            self._complete(file)
        scan.files = [
            file for file in self._files.values() if self._all_tmpfs or file.kind != Kind.TMPFS
        ]
        scan.problems = problems(self._root, scan, self._mounts, silent)
        return scan

    def _patiently(self, pid: int) -> _Process | None:
        """What a process has; None: it does not tell in time.

        Its mappings can be read only while it does not change them, and munmap of a file on a file
        system that is dead may never end. So another thread reads, and is left behind if need be.
        """
        if self._reader is None:
            self._reader = _Reader(self._process)
        found = self._reader.read(pid, self._patience_s)
        if found is None:
            self._reader = None
            # Many such processes must not hold us up for many times as long.
            self._patience_s = max(_LEAST_PATIENCE_S, self._patience_s / 2)
        return found

    def _process(self, pid: int) -> _Process:
        found = _Process(pid)
        if self._identify is None:
            self._read(pid, found)
            return found
        with processes.folder(self._root, pid) as folder:
            before = self._identify(folder) if folder >= 0 else None
            found.identity = before
            found.tracer = processes.tracer(self._root, pid) if before else 0
            self._read(pid, found)
            # What was read is of one program and address space if nothing was executed meanwhile.
            if found.who is not None and before is not None and before == self._identify(folder):
                found.who = found.who._replace(**before._asdict())
        return found

    def _read(self, pid: int, found: _Process) -> None:
        self._mounts.learn(pid)
        if not self._task(pid, found):
            # A kernel thread, or a process whose first thread has ended while others go on: what
            # it holds is then seen through those alone.
            for tid in processes.threads(self._root, pid):
                if self._task(tid, found):
                    break
        if found.descriptors or found.mappings:
            found.who = processes.who(self._root, pid)

    def _task(self, tid: int, found: _Process) -> bool:
        """Whether the task has any descriptor or mapping, or would not tell."""
        alive = False
        try:
            for fd, link in processes.links(self._root, tid):
                alive = True
                with suppress(OSError):  # closed meanwhile, or another by now
                    self._descriptor(tid, fd, link, found)
        except PermissionError:
            alive = True
            found.denied_fds += 1
        try:
            for line in processes.maps(self._root, tid):
                alive = True
                magic = self._mounts.of_device(line.dev, tid)
                if self._kind(line.link, line.dev, magic) != Kind.UNKNOWN:
                    found.mappings.append((tid, line, magic))
        except PermissionError:
            alive = True
            found.denied_maps += 1
        return alive

    def _kind(self, link: bytes, dev: int, magic: int) -> Kind:
        return kind_of(link, dev, magic, self._mounts.internal)

    def _descriptor(self, tid: int, fd: int, link: bytes, process: _Process) -> None:
        magic = self._mounts.of_descriptor(tid, fd, link)
        if magic is None or magic == OTHER:
            return
        path = b"%s/%d/fd/%d" % (self._base, tid, fd)
        found = self._look(path)
        mode = lstat(path).st_mode
        if stat.S_ISREG(found.mode) and self._kind(link, found.dev, magic) != Kind.UNKNOWN:
            fmode = (1 if mode & stat.S_IRUSR else 0) | (2 if mode & stat.S_IWUSR else 0)
            process.descriptors.append(_Descriptor(tid, fd, link, found, fmode, magic))

    def _held(self, path: bytes) -> inode.Inode:
        with self._mounts.held(path) as fd:
            return inode.look(fd)

    def _merge(self, process: _Process, scan: Scan) -> None:
        scan.denied_fds += process.denied_fds
        scan.denied_maps += process.denied_maps
        who = process.who
        if who is None:
            return
        for one in process.descriptors:
            file = self._file(one.link, one.found.dev, one.found.ino, one.magic)
            if not file.holders:
                file.stat = one.found
                file.name = strip_deleted(one.link)  # exact, unlike the one in maps
            file.holders.append(Holder(process.pid, one.tid, who, one.fd, one.fmode))
        for tid, line, magic in process.mappings:
            file = self._file(line.link, line.dev, line.ino, magic)
            file.mappings.append(Mapping(process.pid, tid, who, line))

    def _file(self, link: bytes, dev: int, ino: int, magic: int) -> MemoryFile:
        known = self._files.get((dev, ino))
        if known is None:
            known = MemoryFile(self._kind(link, dev, magic), dev, ino, strip_deleted(link))
            self._files[dev, ino] = known
        return known

    def _complete(self, file: MemoryFile) -> None:
        """Stat, name, generation and seals, by the first way that leads to the file."""
        if file.kind in (Kind.GUEST_MEMFD, Kind.SECRETMEM):
            file.seals = 0
        elif file.kind == Kind.TMPFS:
            file.seals = Seal.SEAL  # mm/shmem.c: only memfd_create ever takes it off
        for path in file.paths(self._base):
            with suppress(OSError), self._mounts.held(path, file.dev, file.ino) as fd:
                if file.stat is None:
                    file.stat = inode.look(fd)
                    file.name = strip_deleted(readlink(path))
                file.gen = file.gen or inode.generation(fd)
                if file.seals == SEALS_UNKNOWN:
                    file.seals = inode.seals(fd)
            if file.stat is not None and file.seals != SEALS_UNKNOWN:
                return


class _Reader:
    """A thread that reads one process after another, and that nobody has to wait for."""

    def __init__(self, work: Callable[[int], _Process]) -> None:
        self._work = work
        self._pids: queue.SimpleQueue[int | None] = queue.SimpleQueue()
        self._found: queue.SimpleQueue[_Process | BaseException] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="proc", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while (pid := self._pids.get()) is not None:
            try:
                self._found.put(self._work(pid))
            except BaseException as error:  # to be raised where it is waited for
                self._found.put(error)

    def read(self, pid: int, patience_s: float) -> _Process | None:
        """What ``work`` gives for ``pid``; None: nothing in that time, and nothing will."""
        self._pids.put(pid)
        try:
            found = self._found.get(timeout=patience_s)
        except queue.Empty:
            self._pids.put(None)  # it ends when what it does ends
            return None
        if isinstance(found, BaseException):
            raise found
        return found

    def end(self) -> None:
        """For one that does nothing now; it has ended then."""
        self._pids.put(None)
        self._thread.join()
