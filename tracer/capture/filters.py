"""What the kernel side lets through. Values go into BPF maps; only their presence shapes code."""

from dataclasses import asdict, dataclass
from typing import Any

from tracer.capture.bpf_source import Shape


@dataclass(frozen=True, slots=True)
class Filters:
    """Conditions that must all hold; an empty one always does."""

    pids: tuple[int, ...] = ()
    """Thread group ids; their children are followed."""
    uids: tuple[int, ...] = ()
    cgroups: tuple[int, ...] = ()
    """cgroup ids: the inode number of the folder in the cgroup v2 tree."""
    name: bytes = b""
    """What the file's name begins with (a memfd's without ``memfd:``), at most 249 bytes."""
    seals: int = 0
    """All of these F_SEAL_* are set."""
    denied: bool = False
    """Only operations that failed."""
    unsealable: bool = False
    """Also files that can never be sealed."""
    follow_command: bool = False
    """The pid filter is on, though its first pid is not known yet."""

    def shape(self, ring_bytes: int, audit: bool = False) -> Shape:
        return Shape(
            audit=audit,
            filter_pid=bool(self.pids) or self.follow_command,
            filter_uid=bool(self.uids),
            filter_cgroup=bool(self.cgroups),
            filter_name=bool(self.name),
            filter_seals=bool(self.seals),
            filter_denied=self.denied,
            filter_unsealable=not self.unsealable,
            ring_bytes=ring_bytes,
        )

    def to_json(self) -> dict[str, Any]:
        return asdict(self) | {"name": self.name.decode("utf-8", "backslashreplace")}
