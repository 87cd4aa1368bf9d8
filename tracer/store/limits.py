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
    direct_rows: int = 1 << 15
    """So many records since the last look at the tail: a segment is cut instead."""
    group_rows: int = 1 << 16
    """Events in one row group; this bounds the memory."""
    chunk_rows: int = 1 << 13
    """Records gathered before they are encoded: few enough for the processor's cache."""
    reserve_bytes: int = 1 << 16
    """Kept on the disk, to be given up for ``end.json`` when the disk is full."""
    threads: bool = True
    """Wait for the disk in a thread."""
