"""What a scan of /proc finds: memory files, who holds them, where they are mapped."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from tracer.capture.inode import Inode
from tracer.capture.mounts import Mounts
from tracer.capture.processes import Bond, MapsLine, Who
from tracer.model.args import SEALS_UNKNOWN, is_writable
from tracer.model.record import Kind

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
    :data:`tracer.model.args.SEALS_UNKNOWN` where they could not be read. Kinds without seals
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
        if self.name.startswith(b"/memfd:"):
            return self.name[1:][:_NAME_MAX]
        return self.name.rpartition(b"/")[2].removeprefix(b"anon_inode:")[:_NAME_MAX]

    @property
    def shown_name(self) -> bytes:
        """The name as its maker gave it: a memfd's alone, any other file's with its folders."""
        if self.kind in (Kind.GUEST_MEMFD, Kind.SECRETMEM):
            return self.kernel_name
        return self.name.removeprefix(b"/memfd:")

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
