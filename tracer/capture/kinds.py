"""Which kind of memory file something is: by its file system and its name in /proc."""

from tracer.capture import inode
from tracer.capture.mounts import OTHER
from tracer.model.record import Kind

DELETED = b" (deleted)"
_SECRETMEM = b"/secretmem"
_GUEST_MEMFD = frozenset({b"/[kvm-gmem]", b"anon_inode:[kvm-gmem]", b"anon_inode:[guest_memfd]"})
_MEMFD = b"/memfd:"


def strip_deleted(link: bytes) -> bytes:
    """The link's text without the kernel's own ``(deleted)`` (once: a name may end in another)."""
    return link.removesuffix(DELETED)


def kind_of(link: bytes, dev: int, magic: int, internal: dict[int, int]) -> Kind:
    """Kind of the file behind a /proc link (``link``: its text), UNKNOWN: no memory file.

    A name alone proves nothing (a file may be called ``/memfd:x``), hence the file system; only
    where that could not be learnt (``magic`` 0) the kernel's own names have to do.
    """
    name = strip_deleted(link)
    if name in _GUEST_MEMFD and magic in (
        inode.ANON_INODE_FS_MAGIC,
        inode.GUEST_MEMFD_MAGIC,
        OTHER,
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
    if magic == OTHER and link == _SECRETMEM + DELETED:
        return Kind.SECRETMEM
    return Kind.UNKNOWN
