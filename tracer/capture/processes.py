"""Reads single processes under /proc: descriptors, mappings, who they are."""

import contextlib
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from tracer.record import PROC_TICK_NS
from tracer.words import Op

# Only lines that can be memory files: an anonymous device (major 0), an inode, a path.
_MAPS_LINE = re.compile(
    rb"^([0-9a-f]+)-([0-9a-f]+) ([rwxsp-]{4}) ([0-9a-f]+) 00:([0-9a-f]+) ([1-9][0-9]*) +(\S.*)$",
    re.MULTILINE,
)
_OCTAL = re.compile(rb"\\([0-3][0-7]{2})")
_VM_BITS = ((0, ord("r"), 1), (1, ord("w"), 2), (2, ord("x"), 4), (3, ord("s"), 8))
_BORING = (b"socket:[", b"pipe:[", b"/dev/null", b"/dev/pts/", b"/dev/tty")
_GONE = (FileNotFoundError, ProcessLookupError, NotADirectoryError)
GMEM_LINKS = (b"anon_inode:[kvm-gmem]", b"anon_inode:[guest_memfd]")


class MapsLine(NamedTuple):
    """One mapping as /proc/PID/maps tells it; ``offset`` in bytes, ``vm_flags`` as VM_* bits."""

    start: int
    end: int
    vm_flags: int
    offset: int
    dev: int
    ino: int
    link: bytes

    @property
    def range(self) -> bytes:
        """Its name in /proc/PID/map_files."""
        return b"%x-%x" % (self.start, self.end)


class Identity(NamedTuple):
    """Which process, program and address space it is, as the kernel has it (``bpf/emit.h``)."""

    start_ns: int
    exec_id: int
    own_mm: int


class Who(NamedTuple):
    """Whose process it is: comm as raw bytes, real uid, cgroup id (0: unknown).

    ``start_ns``: boot clock when it began, 0: unknown. Where only /proc tells, it is in steps of
    ``PROC_TICK_NS``, and ``exec_id`` and ``own_mm`` are 0.
    """

    comm: bytes
    uid: int
    cgroup: int
    start_ns: int = 0
    exec_id: int = 0
    own_mm: int = 0


class Bond(NamedTuple):
    """A process that can reach another one's memory since before the trace.

    ``op``: it traces the other by ptrace, or shares its address space and is no thread of it.
    """

    op: Op
    pid: int
    who: Who
    other: int
    others: Identity


def bonds(root: Path, alive: Mapping[int, Identity], tracers: Mapping[int, int]) -> list[Bond]:
    """Who traces whom, by ``tracers`` (tracee to tracer), and who shares an address space.

    Of those that share one, the first is the one whose it is.
    """
    found = [
        Bond(Op.TRACE, tracer, known(root, tracer, alive.get(tracer)), pid, alive[pid])
        for pid, tracer in tracers.items()
        if pid in alive
    ]
    first: dict[int, int] = {}
    for pid, one in sorted(alive.items(), key=lambda each: (each[1].start_ns, each[0])):
        if one.own_mm and (owner := first.setdefault(one.own_mm, pid)) != pid:
            found.append(Bond(Op.SHARE_MM, pid, known(root, pid, one), owner, alive[owner]))
    return found


def known(root: Path, pid: int, identity: Identity | None) -> Who:
    """As :func:`who`, exactly where the kernel told."""
    found = who(root, pid)
    return found if identity is None else found._replace(**identity._asdict())


def tracer(root: Path, pid: int) -> int:
    """Who traces a process or one of its threads by ptrace, 0: nobody, or it is gone."""
    for task in (str(pid), *(f"{pid}/task/{tid}" for tid in threads(root, pid))):
        with contextlib.suppress(OSError):
            status = (root / task / "status").read_bytes()
            found = re.search(rb"^TracerPid:\s+([1-9]\d*)", status, re.MULTILINE)
            if found:
                return int(found[1])
    return 0


def pids(root: Path) -> list[int]:
    """Process ids now, in order. OSError: no /proc there."""
    return sorted(int(entry.name) for entry in os.scandir(root) if entry.name.isdecimal())


def links(root: Path, pid: int) -> Iterator[tuple[int, bytes]]:
    """(fd, link text) of the descriptors worth a look. PermissionError; vanished: silent."""
    folder = os.fsencode(root / str(pid) / "fd")
    try:
        with os.scandir(folder) as entries:
            names = [entry.name for entry in entries]
    except _GONE:
        return
    for name in names:
        try:
            link = os.readlink(folder + b"/" + name)
        except _GONE:
            continue
        if link.startswith(b"anon_inode:") and link not in GMEM_LINKS:
            continue
        if not link.startswith(_BORING):
            yield int(name), link


@contextlib.contextmanager
def folder(root: Path, pid: int) -> Iterator[int]:
    """A descriptor that stands for this process for good, whoever gets its number; -1: gone."""
    try:
        fd = os.open(root / str(pid), os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        yield -1
        return
    try:
        yield fd
    finally:
        os.close(fd)


def threads(root: Path, pid: int) -> list[int]:
    """Thread ids of ``pid`` beside the first; empty for most, and for what has vanished."""
    try:
        tids = [int(entry.name) for entry in os.scandir(root / str(pid) / "task")]
    except OSError:
        return []
    return sorted(tid for tid in tids if tid != pid)


def parse_maps(content: bytes) -> Iterator[MapsLine]:
    """The lines of a maps file that can be memory files."""
    for match in _MAPS_LINE.finditer(content):
        start, end, perms, offset, minor, ino, path = match.groups()
        flags = sum(bit for place, letter, bit in _VM_BITS if perms[place] == letter)
        # The kernel writes a newline as \012 and leaves a backslash as it is.
        link = _OCTAL.sub(lambda octal: bytes([int(octal[1], 8)]), path)
        yield MapsLine(
            int(start, 16), int(end, 16), flags, int(offset, 16), int(minor, 16), int(ino), link
        )


def maps(root: Path, pid: int) -> list[MapsLine]:
    """Mappings of memory files, perhaps of other files too. PermissionError; vanished: none."""
    try:
        return list(parse_maps((root / str(pid) / "maps").read_bytes()))
    except _GONE:
        return []


def _cgroup(lines: bytes) -> int:
    """Id of a cgroup (v2) by a cgroup file, which is the inode number of its folder; 0: unknown."""
    found = re.search(rb"^0::(.*)$", lines, re.MULTILINE)
    try:
        return os.stat(b"/sys/fs/cgroup" + found[1]).st_ino if found else 0
    except OSError:
        return 0


def start_ns(stat: bytes) -> int:
    """When a process began, by its /proc/PID/stat; 0: not there.

    The kernel tells it in ticks (fs/proc/array.c:do_task_stat, nsec_to_clock_t), so that of a
    boot-clock time ``t`` it is ``t - t % PROC_TICK_NS``. The comm before it may hold anything.
    """
    fields = stat[stat.rfind(b")") + 1 :].split()
    return int(fields[19]) * PROC_TICK_NS if len(fields) > 19 else 0


def who(root: Path, pid: int) -> Who:
    """Comm, uid, cgroup and start of ``pid``; what cannot be read any more is ``?`` and 0."""

    def read(name: str, otherwise: bytes = b"") -> bytes:
        try:
            return (root / str(pid) / name).read_bytes()
        except OSError:
            return otherwise

    uid = re.search(rb"^Uid:\s+(\d+)", read("status"), re.MULTILINE)
    return Who(
        read("comm", b"?").removesuffix(b"\n")[:15],
        int(uid[1]) if uid else 0,
        _cgroup(read("cgroup")),
        start_ns(read("stat")),
    )
