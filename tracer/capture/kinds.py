"""Which kind of memory file something is: by its file system and its name in /proc."""

from contextlib import suppress
from pathlib import Path

from tracer.capture import inode
from tracer.model.record import Kind

_MOUNT_TYPES = {"tmpfs": inode.TMPFS_MAGIC, "hugetlbfs": inode.HUGETLBFS_MAGIC}
_OTHER = 0

DELETED = b" (deleted)"
_SECRETMEM = b"/secretmem"
_GUEST_MEMFD = frozenset({b"/[kvm-gmem]", b"anon_inode:[kvm-gmem]", b"anon_inode:[guest_memfd]"})
_MEMFD = b"/memfd:"


def strip_deleted(link: bytes) -> bytes:
    """The link's text without the kernel's own ``(deleted)`` (once: a name may end in another)."""
    return link.removesuffix(DELETED)


class FileSystems:
    """``dev`` → magic number of its file system, asked for at most once each."""

    def __init__(self, proc: Path) -> None:
        self._proc = proc
        self.internal = inode.internal_devices()
        self._known = dict(self.internal)
        self._asked: set[int] = set()
        self._read_mounts("self")

    def _read_mounts(self, pid: int | str) -> None:
        with suppress(OSError):
            for line in (self._proc / str(pid) / "mountinfo").read_bytes().splitlines():
                before, _, after = line.partition(b" - ")
                major, _, minor = before.split(b" ", 3)[2].partition(b":")
                kind = after.split(b" ", 1)[0].decode("ascii", "replace")
                dev = int(major) << 20 | int(minor)
                self._known.setdefault(dev, _MOUNT_TYPES.get(kind, _OTHER))

    def magic(self, dev: int, path: bytes) -> int:
        """Magic of ``dev``, if need be by asking where ``path`` lies; 0: another or unknown."""
        if dev >> 20:
            return _OTHER  # on a block device; memory files are on anonymous ones
        if dev not in self._known:
            try:
                self._known[dev] = inode.file_system(path)
            except OSError:
                return _OTHER  # the next path may lead there
        return self._known[dev]

    def magic_in(self, dev: int, pid: int, path: bytes) -> int:
        """The same for a mapping of process ``pid``, whose file only privilege can reach.

        The mount table of that process is asked first, once for each device.
        """
        if dev in self._known or dev >> 20 or dev in self._asked:
            return self._known.get(dev, _OTHER)
        self._asked.add(dev)
        self._read_mounts(pid)
        return self.magic(dev, path)


def kind_of(link: bytes, dev: int, magic: int, internal: dict[int, int]) -> Kind:
    """Kind of the file behind a /proc link (``link``: its text), UNKNOWN: no memory file.

    A name alone proves nothing (a file may be called ``/memfd:x``), hence the file system; only
    where that could not be learnt (``magic`` 0) the kernel's own names have to do.
    """
    name = strip_deleted(link)
    if name in _GUEST_MEMFD and magic in (
        inode.ANON_INODE_FS_MAGIC,
        inode.GUEST_MEMFD_MAGIC,
        _OTHER,
    ):
        return Kind.GUEST_MEMFD
    if magic == inode.GUEST_MEMFD_MAGIC:
        return Kind.GUEST_MEMFD
    if magic == inode.SECRETMEM_MAGIC:
        return Kind.SECRETMEM
    if magic == inode.HUGETLBFS_MAGIC:
        return Kind.HUGETLB
    if magic == inode.TMPFS_MAGIC:
        internal_mount = dev in internal or not internal
        return Kind.MEMFD if internal_mount and name.startswith(_MEMFD) else Kind.TMPFS
    if magic == _OTHER and link == _SECRETMEM + DELETED:
        return Kind.SECRETMEM
    return Kind.UNKNOWN
