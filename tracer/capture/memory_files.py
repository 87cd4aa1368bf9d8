"""Memory files that are held open or mapped: their kind, identity, seals, mount and users.

Looking disturbs nobody. A file system that does not answer (NFS without its server, FUSE of a
program that sleeps) holds whoever asks it in state D, where no signal reaches. statfs, stat and
open ask it, even a path that leads to it may. What asks nobody: the text and the mount id of a
descriptor (/proc/PID/fd, /proc/PID/fdinfo), mappings (/proc/PID/maps), and mount tables
(/proc/PID/mountinfo). A mount id belongs to one mount as long as something holds that; so a file
is held by O_PATH, which opens nothing, then its mount is looked at, and only then the file. In
between its user may have put another one under the same number.
"""

import ctypes
import fcntl
import os
import re
import stat
import struct
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import NamedTuple

from tracer.capture.processes import Bond, Identity, MapsLine, Who
from tracer.labels import SEALS_UNKNOWN, is_writable
from tracer.record import Kind

TMPFS_MAGIC = 0x01021994
HUGETLBFS_MAGIC = 0x958458F6
SECRETMEM_MAGIC = 0x5345434D
GUEST_MEMFD_MAGIC = 0x474D454D
ANON_INODE_FS_MAGIC = 0x09041934

_MEMFD_SECRET = 447  # x86-64
_MOUNT_ID = re.compile(rb"^mnt_id:\s*(\d+)", re.MULTILINE)
_HUGEPAGES = "/sys/kernel/mm/hugepages"  # hugepages-2048kB, …
_AT_EMPTY_PATH = 0x1000
_AT_HANDLE_FID = 0x200
_FILEID_SHMEM = 1  # mm/shmem.c: generation, ino, ino >> 32
_FILEID_INO64_GEN = 0x81  # fs/exportfs: ino (64 bit), generation

_libc = ctypes.CDLL(None, use_errno=True)


class Inode(NamedTuple):
    """What statx says; ``dev`` as the kernel holds it (major << 20 | minor), sizes in bytes."""

    dev: int
    ino: int
    mode: int
    nlink: int
    uid: int
    gid: int
    size: int


def look(fd: int) -> Inode:
    """What an open file is. OSError."""
    found = os.fstat(fd)
    dev = os.major(found.st_dev) << 20 | os.minor(found.st_dev)
    owner = found.st_uid, found.st_gid
    return Inode(dev, found.st_ino, found.st_mode, found.st_nlink, *owner, found.st_size)


def generation(fd: int) -> int:
    """``i_generation`` of an open file (O_PATH will do), 0 where the kernel does not tell.

    tmpfs answers no FS_IOC_GETVERSION, but puts the generation into its NFS file handles, which
    need no privilege.
    """
    ino = os.fstat(fd).st_ino
    for flags in (_AT_EMPTY_PATH, _AT_EMPTY_PATH | _AT_HANDLE_FID):
        buffer = ctypes.create_string_buffer(struct.pack("=Ii", 128, 0), 136)
        mount = ctypes.c_int()
        if _libc.name_to_handle_at(fd, b"", buffer, ctypes.byref(mount), flags) < 0:
            continue
        size, kind = struct.unpack_from("=Ii", buffer)
        if (size, kind) == (12, _FILEID_SHMEM):
            found, low, high = struct.unpack_from("=III", buffer, 8)
            of = high << 32 | low
        elif (size, kind) == (12, _FILEID_INO64_GEN):
            of, found = struct.unpack_from("=QI", buffer, 8)
        else:
            continue
        if of == ino:
            return int(found)
    return 0


def seals(fd: int) -> int:
    """F_SEAL_* bits of an open file. OSError: no permission, or a file without seals.

    The file is opened for reading, and only after it proved to be a regular one.
    """
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        raise FileNotFoundError(fd)
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
    reader = os.open(f"/proc/self/fd/{fd}", flags)
    try:
        return fcntl.fcntl(reader, fcntl.F_GET_SEALS)
    finally:
        os.close(reader)


def internal_mounts() -> dict[int, tuple[int, int]]:
    """``{mount id: (dev, f_type)}`` of the kernel's own mounts, where memory files live.

    No mount table has them, so we make a file in each and look. They are never unmounted. A hugetlb
    memfd takes no huge page before it is mapped.
    """
    sizes = []
    with suppress(OSError):
        sizes = [int(entry.name[10:-2]) * 1024 for entry in os.scandir(_HUGEPAGES)]
    huge = [os.MFD_HUGETLB | (size.bit_length() - 1) << os.MFD_HUGE_SHIFT for size in sizes]
    makers: list[tuple[Callable[[], int], int]] = [
        (partial(_memfd, 0), TMPFS_MAGIC),
        (_secret, SECRETMEM_MAGIC),
        *((partial(_memfd, flags), HUGETLBFS_MAGIC) for flags in huge),
    ]
    found = {}
    for make, magic in makers:
        with suppress(OSError):
            fd = make()
            try:
                found[mount_id(f"/proc/self/fdinfo/{fd}")] = look(fd).dev, magic
            finally:
                os.close(fd)
    return found


def _memfd(flags: int) -> int:
    return os.memfd_create("sealsnoop-probe", os.MFD_CLOEXEC | flags)


def _secret() -> int:
    fd = _libc.syscall(_MEMFD_SECRET, os.O_CLOEXEC)
    if fd < 0:
        raise OSError(ctypes.get_errno(), "memfd_secret")
    return int(fd)


def mount_id(fdinfo: str) -> int:
    """The mount on which the file of a descriptor lies, by its fdinfo. OSError: it is closed."""
    fd = os.open(fdinfo, os.O_RDONLY | os.O_CLOEXEC)
    try:
        found = _MOUNT_ID.search(os.read(fd, 4096))
    finally:
        os.close(fd)
    if found is None:
        raise FileNotFoundError(fdinfo)
    return int(found[1])


_TYPES = {b"tmpfs": TMPFS_MAGIC, b"hugetlbfs": HUGETLBFS_MAGIC}
OTHER = 0
"""No file system of memory files."""
_KERNELS_OWN = b"anon_inode:"
"""No path on a file system starts with this (fs/d_path.c: a slash or a bracket)."""
_OWN_MOUNT = (b"/[kvm-gmem] (deleted)", b"/[guest_memfd] (deleted)")
"""Where guest_memfd has a file system of its own (since 6.19) nothing of it is in a mount table."""
_NO_FILES = (b"/dev/", b"/dmabuf:")
"""Devices are opened before anything is mounted, and buffers are on a mount of the kernel's own."""
_ASK_S = 2.0


class Mounts:
    """Mount id → magic number of the file system. ``internal``: of the kernel's own mounts."""

    def __init__(self, proc: Path, internal: dict[int, tuple[int, int]] | None = None) -> None:
        """``internal``: mount id → device and magic number; None: as this kernel has it."""
        self._proc = proc
        self._internal = internal_mounts() if internal is None else internal
        self.internal = dict(self._internal.values())
        """Device → magic number."""
        self._devices: dict[int, int] = dict(self.internal)
        self._mounts: dict[int, tuple[int, str]] = {}
        """Mount id → magic number, and in whose table it was."""
        self._tables: set[tuple[str, str]] = set()
        self._missed: set[int] = set()
        self._tried = False
        self.silent = 0
        """File systems that were asked in a process of its own, and did not answer."""
        self.unknown = 0
        """Descriptors on mounts that are in nobody's table."""
        for pid in ("self", "1"):
            self.learn(pid)

    def learn(self, pid: int | str) -> None:
        """Reads the mount table of ``pid``, if none with its namespace and root was read before."""
        folder = f"{self._proc}/{pid}"
        try:
            key = os.readlink(f"{folder}/ns/mnt"), os.readlink(f"{folder}/root")
        except OSError:
            key = str(pid), ""
        if key not in self._tables:
            self._tables.add(key)
            self._read(str(pid))

    def _read(self, pid: str) -> None:
        for number, dev, magic in self._table(pid):
            self._mounts[number] = magic, pid
            self._devices.setdefault(dev, magic)

    def _table(self, pid: str) -> Iterator[tuple[int, int, int]]:
        """Mount id, device and magic number of each mount that ``pid`` sees."""
        with suppress(OSError):
            for line in (self._proc / pid / "mountinfo").read_bytes().splitlines():
                before, _, after = line.partition(b" - ")
                number, _, device, _ = before.split(b" ", 3)
                major, _, minor = device.partition(b":")
                kind = after.split(b" ", 1)[0]
                yield int(number), int(major) << 20 | int(minor), _TYPES.get(kind, OTHER)

    def of_descriptor(self, tid: int, fd: int, link: bytes) -> int | None:
        """Magic number of where a descriptor leads, OTHER, or None: no table has that mount.

        OSError: it is closed.
        """
        if link.startswith(_KERNELS_OWN):
            return ANON_INODE_FS_MAGIC
        number = mount_id(f"{self._proc}/{tid}/fdinfo/{fd}")
        if number in self._internal:
            return self._internal[number][1]
        if number not in self._mounts and tid not in self._missed:
            self._missed.add(tid)  # it was mounted since, or is in a table of its own
            self._read(str(tid))
        if number in self._mounts:
            return self._mounts[number][0]
        if link in _OWN_MOUNT and not self._tried:
            self._tried = True
            with suppress(OSError):
                self._ask(f"{self._proc}/{tid}/fd/{fd}", number)
        if number in self._internal:
            return self._internal[number][1]
        if link.startswith(b"/") and not link.startswith(_NO_FILES):
            self.unknown += 1
        return None

    def of_device(self, dev: int, tid: int) -> int:
        """The same by the device of a mapping of thread ``tid``, as far as it is known."""
        if dev >> 20:
            return OTHER  # on a block device; memory files are on anonymous ones
        if dev not in self._devices and tid not in self._missed:
            self._missed.add(tid)
            self._read(str(tid))
        return self._devices.get(dev, OTHER)

    @contextmanager
    def held(self, path: bytes, dev: int | None = None, ino: int | None = None) -> Iterator[int]:
        """An O_PATH descriptor of a memory file, of this one if ``dev`` and ``ino`` are given.

        OSError, FileNotFoundError where it is another, or none. No driver, lease or fanotify
        listener notices.
        """
        fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
        try:
            if not self._memory(fd):
                raise FileNotFoundError(path)
            if dev is not None:
                found = look(fd)
                if (found.dev, found.ino) != (dev, ino):
                    raise FileNotFoundError(path)
            yield fd
        finally:
            os.close(fd)

    def _memory(self, fd: int) -> bool:
        """Whether what we hold lies in memory; while we hold it its mount keeps its id."""
        number = mount_id(f"/proc/self/fdinfo/{fd}")
        if number in self._internal:
            return True
        if os.readlink(os.fsencode(f"/proc/self/fd/{fd}")).startswith(_KERNELS_OWN):
            return True
        if number not in self._mounts:
            return False
        found = {one: magic for one, _, magic in self._table(self._mounts[number][1])}
        return found.get(number, OTHER) != OTHER

    def _ask(self, path: str, number: int) -> None:
        """Has another process ask the file system: if that never answers, we go on without it."""
        fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
        try:
            if mount_id(f"/proc/self/fdinfo/{fd}") != number:
                return
            asking = subprocess.Popen(
                ["stat", "-f", "-c", "%t", "/proc/self/fd/0"],
                stdin=fd, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            )  # fmt: skip
            try:
                answer, _ = asking.communicate(timeout=_ASK_S)
            except subprocess.TimeoutExpired:
                asking.kill()  # and no wait for it
                self.silent += 1
                return
            if answer.strip() == b"%x" % GUEST_MEMFD_MAGIC:
                dev = look(fd).dev
                self._internal[number] = dev, GUEST_MEMFD_MAGIC
                self.internal[dev] = self._devices[dev] = GUEST_MEMFD_MAGIC
        finally:
            os.close(fd)


DELETED = b" (deleted)"
_SECRETMEM = b"/secretmem"
_GUEST_MEMFD = frozenset({b"/[kvm-gmem]", b"anon_inode:[kvm-gmem]", b"anon_inode:[guest_memfd]"})
_MEMFD = b"/memfd:"
_KINDS = {
    GUEST_MEMFD_MAGIC: Kind.GUEST_MEMFD,
    SECRETMEM_MAGIC: Kind.SECRETMEM,
    HUGETLBFS_MAGIC: Kind.HUGETLB,
}


def strip_deleted(link: bytes) -> bytes:
    """The link's text without the kernel's own ``(deleted)`` (once: a name may end in another)."""
    return link.removesuffix(DELETED)


def kind_of(link: bytes, dev: int, magic: int, internal: dict[int, int]) -> Kind:
    """Kind of the file behind a /proc link (``link``: its text), UNKNOWN: no memory file.

    A name alone proves nothing (a file may be called ``/memfd:x``), hence the file system; only
    where that could not be learnt (``magic`` 0) the kernel's own names have to do.
    """
    name = strip_deleted(link)
    if name in _GUEST_MEMFD and magic in (ANON_INODE_FS_MAGIC, OTHER):
        return Kind.GUEST_MEMFD
    if magic == TMPFS_MAGIC:
        internal_mount = dev in internal or not internal
        return Kind.MEMFD if internal_mount and name.startswith(_MEMFD) else Kind.TMPFS
    if magic == OTHER and link == _SECRETMEM + DELETED:
        return Kind.SECRETMEM
    return _KINDS.get(magic, Kind.UNKNOWN)


_NAME_MAX = 255  # as in bpf/objects.h


@dataclass(frozen=True, slots=True)
class Holder:
    """A descriptor on a memory file, by thread ``tid``; ``fmode``: 1 readable, 2 writable."""

    pid: int
    tid: int
    who: Who
    fd: int
    fmode: int


@dataclass(frozen=True, slots=True)
class Mapping:
    """A mapping of a memory file, seen by thread ``tid``."""

    pid: int
    tid: int
    who: Who
    line: MapsLine


@dataclass(slots=True)
class MemoryFile:
    """One memory file; ``name`` is raw bytes without ``(deleted)``, ``size`` in bytes.

    ``stat`` is None where the file could not be reached, ``gen`` 0 and ``seals``
    :data:`tracer.labels.SEALS_UNKNOWN` where they could not be read. Kinds without seals
    (guest_memfd, secretmem) have ``seals`` 0.
    """

    kind: Kind
    dev: int
    ino: int
    name: bytes
    stat: Inode | None = None
    gen: int = 0
    seals: int = SEALS_UNKNOWN
    holders: list[Holder] = field(default_factory=list)
    mappings: list[Mapping] = field(default_factory=list)

    @property
    def kernel_name(self) -> bytes:
        """The name as the kernel's dentry has it and a recording keeps it: no folders.

        A memfd is ``memfd:NAME``; /proc puts a slash before it, and NAME may contain slashes.
        """
        if self.name.startswith(_MEMFD):
            return self.name[1:][:_NAME_MAX]
        return self.name.rpartition(b"/")[2].removeprefix(b"anon_inode:")[:_NAME_MAX]

    @property
    def shown_name(self) -> bytes:
        """The name as its maker gave it: a memfd's alone, any other file's with its folders."""
        if self.kind in (Kind.GUEST_MEMFD, Kind.SECRETMEM):
            return self.kernel_name
        return self.name.removeprefix(_MEMFD)

    def paths(self, proc: bytes = b"/proc") -> Iterator[bytes]:
        """Ways to it, for as long as its users keep it."""
        for holder in self.holders:
            yield b"%s/%d/fd/%d" % (proc, holder.tid, holder.fd)
        for mapping in self.mappings:
            yield b"%s/%d/map_files/%s" % (proc, mapping.tid, mapping.line.range)

    @property
    def shared_writable(self) -> int:
        """How many mappings are shared and writable at this moment."""
        return sum(is_writable(mapping.line.vm_flags) for mapping in self.mappings)


@dataclass(slots=True)
class Scan:
    """What was found. ``time_ns``: boot clock at the start; ``problems``: sentences for people.

    ``duration_ns``: until the last process was read. What a process did in that time may have
    been missed, or be seen in two processes.
    """

    time_ns: int
    files: list[MemoryFile]
    processes: int = 0
    denied_fds: int = 0
    denied_maps: int = 0
    duration_ns: int = 0
    problems: list[str] = field(default_factory=list)
    mounts: Mounts | None = None
    """By which its files can be reached again."""
    bonds: list[Bond] = field(default_factory=list)
    """Of processes, where the kernel tells which they are."""
    alive: dict[int, Identity] = field(default_factory=dict)
    """By pid, where the kernel tells."""
