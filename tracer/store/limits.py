"""How much is gathered before it is written."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """When things are written."""

    rows: int = 1 << 19
    """A segment is cut at so many records …"""
    seconds: float = 5.0
    """… or so long after its first, if there was one."""
    tail_s: float = 0.25
    """How often the tail is brought up to date."""
    group_rows: int = 1 << 16
    """Records in one buffer and in one row group; memory is two buffers and one set of columns."""
    direct_rows: int = 1 << 15
    """So many records since the last look at the tail: a segment is cut instead."""
    reserve_bytes: int = 1 << 16
    """Kept on the disk, to be given up for ``end.json`` when the disk is full."""
    threads: bool = True
    """Encode and wait for the disk in threads."""
