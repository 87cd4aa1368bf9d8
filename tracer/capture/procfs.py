"""All memory files that processes of this host hold open or have mapped, at about one moment.

What the scan cannot see it says: processes whose descriptors or mappings may not be read, a /proc
that hides processes, another pid namespace. Descriptors in flight over a socket or registered with
io_uring, and tables that one thread alone has, are in nobody's ``/proc/PID/fd``: the trace sees
their use, a scan cannot.
"""

import stat
import time
from collections.abc import Callable
from contextlib import suppress
from os import fsencode, lstat, readlink
from pathlib import Path

from tracer.capture import inode, processes, visibility
from tracer.capture.kinds import FileSystems, kind_of, strip_deleted
from tracer.capture.memoryfile import Holder, Mapping, MemoryFile, Scan
from tracer.capture.processes import MapsLine, Who
from tracer.model.args import SEALS_UNKNOWN
from tracer.model.record import Kind

_SEAL_SEAL = 1
_ROUNDS = 3  # processes that were born during the scan are looked at too


class Scanner:
    """Scans ``root`` (/proc); ``look`` is how a path is statted, both to be replaced by tests."""

    def __init__(
        self,
        root: Path = Path("/proc"),
        look: Callable[[bytes], inode.Inode] = inode.look,
        all_tmpfs: bool = False,
    ) -> None:
        self._root = root
        self._base = fsencode(root)
        self._look = look
        self._all_tmpfs = all_tmpfs
        self._systems = FileSystems(root)
        self._files: dict[tuple[int, int], MemoryFile] = {}
        self._who: dict[int, Who] = {}

    def scan(self) -> Scan:
        """Looks at every process once. OSError: there is no /proc."""
        scan = Scan(time.clock_gettime_ns(time.CLOCK_BOOTTIME), [])
        seen: set[int] = set()
        for _ in range(_ROUNDS):
            fresh = [pid for pid in processes.pids(self._root) if pid not in seen]
            if not fresh:
                break
            for pid in fresh:
                self._process(pid, scan)
            seen.update(fresh)
        scan.processes = len(seen)
        scan.duration_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME) - scan.time_ns
        for file in self._files.values():
            self._complete(file)
        scan.files = [
            file for file in self._files.values() if self._all_tmpfs or file.kind != Kind.TMPFS
        ]
        scan.problems = visibility.problems(
            self._root,
            len(seen),
            scan.denied_fds,
            scan.denied_maps,
            sum(file.seals == SEALS_UNKNOWN for file in scan.files),
        )
        return scan

    def _process(self, pid: int, scan: Scan) -> None:
        if self._task(pid, pid, scan):
            return
        # A kernel thread, or a process whose first thread has ended while others go on: what
        # it holds is then seen through those alone.
        for tid in processes.threads(self._root, pid):
            if self._task(pid, tid, scan):
                return

    def _task(self, pid: int, tid: int, scan: Scan) -> bool:
        """Whether the task has any descriptor or mapping, or would not tell."""
        alive = False
        try:
            for fd, link in processes.links(self._root, tid):
                alive = True
                self._descriptor(pid, tid, fd, link)
        except PermissionError:
            alive = True
            scan.denied_fds += 1
        try:
            for line in processes.maps(self._root, tid):
                alive = True
                self._mapping(pid, tid, line)
        except PermissionError:
            alive = True
            scan.denied_maps += 1
        return alive

    def _whose(self, pid: int) -> Who:
        if pid not in self._who:
            self._who[pid] = processes.who(self._root, pid)
        return self._who[pid]

    def _descriptor(self, pid: int, tid: int, fd: int, link: bytes) -> None:
        path = b"%s/%d/fd/%d" % (self._base, tid, fd)
        try:
            found = self._look(path)
            mode = lstat(path).st_mode
        except OSError:
            return  # closed meanwhile, or on a file system that does not answer
        if not stat.S_ISREG(found.mode):
            return
        magic = self._systems.magic(found.dev, path)
        kind = kind_of(link, found.dev, magic, self._systems.internal)
        if kind == Kind.UNKNOWN:
            return
        file = self._file(kind, found.dev, found.ino, link)
        if not file.holders:
            file.stat = found
            file.name = strip_deleted(link)  # exact, unlike the one in maps
        fmode = (1 if mode & stat.S_IRUSR else 0) | (2 if mode & stat.S_IWUSR else 0)
        file.holders.append(Holder(pid, tid, self._whose(pid), fd, fmode))

    def _mapping(self, pid: int, tid: int, line: MapsLine) -> None:
        known = self._files.get((line.dev, line.ino))
        if known is None:
            path = b"%s/%d/map_files/%s" % (self._base, tid, line.range)
            magic = self._systems.magic_in(line.dev, tid, path)
            kind = kind_of(line.link, line.dev, magic, self._systems.internal)
            if kind == Kind.UNKNOWN:
                return
            known = self._file(kind, line.dev, line.ino, line.link)
        known.mappings.append(Mapping(pid, tid, self._whose(pid), line))

    def _file(self, kind: Kind, dev: int, ino: int, link: bytes) -> MemoryFile:
        new = MemoryFile(kind, dev, ino, strip_deleted(link))
        return self._files.setdefault((dev, ino), new)

    def _complete(self, file: MemoryFile) -> None:
        """Stat, name, generation and seals, by the first way that leads to the file."""
        if file.kind in (Kind.GUEST_MEMFD, Kind.SECRETMEM):
            file.seals = 0
        elif file.kind == Kind.TMPFS:
            file.seals = _SEAL_SEAL  # mm/shmem.c: only memfd_create ever takes it off
        for path in file.paths(self._base):
            with suppress(OSError):
                if file.stat is None:
                    self._stat_mapped(file, path)
                file.gen = file.gen or inode.generation(path, file.dev, file.ino)
            if file.seals == SEALS_UNKNOWN:
                with suppress(OSError):
                    file.seals = inode.seals(path, file.dev, file.ino)
            if file.stat is not None and file.seals != SEALS_UNKNOWN:
                return

    def _stat_mapped(self, file: MemoryFile, path: bytes) -> None:
        found = self._look(path)
        if (found.dev, found.ino) == (file.dev, file.ino):
            file.stat = found
            file.name = strip_deleted(readlink(path))
