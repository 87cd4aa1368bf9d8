"""How much is gathered before it is written, and how much a reader takes.

The second follows from the first: a recorder writes no more than that, so whatever has more was
made by somebody else, and a reader says so instead of giving it all the memory and time it asks
for.
"""

from dataclasses import dataclass

SEGMENT_ROWS = 1 << 19
"""Records of one segment, and so rows of a part."""
PART_BYTES = 1 << 28
"""A part on the disk."""
UNPACKED_BYTES = 1 << 28
"""All pages of a part, unpacked; of texts also with each repetition written out."""
FOOTER_BYTES = 1 << 20
"""The end of a part that tells where its columns are. Arrow takes a hundred times as much."""
ROW_GROUPS = 1 << 12
COLUMNS = 1 << 8
PAGES = 1 << 14
"""Of a part."""
DICTIONARY = SEGMENT_ROWS
"""Entries of a page that the others refer to."""
WORDS = 1 << 12
"""Different words (op, kind, hook, cause) of a column."""
DOCUMENT_BYTES = 1 << 22
"""manifest.json, end.json."""
DOCUMENT_DEPTH = 16
CHAIN_BYTES = 1 << 28
"""chain.jsonl, whose lines are read one by one."""
CHAIN_LINES = 1 << 18
"""Fifteen days of a segment every five seconds."""
LINE_BYTES = 1 << 20
"""A line of chain.jsonl: 8192 CPUs take half of it."""
TAIL_BYTES = 1 << 28
"""The tail of one segment."""
BLOCK_ROWS = 1 << 15
"""Records of one block of the tail."""
PIECE_ROWS = 1 << 16
"""Rows of a table that a reader gets at once."""


@dataclass(frozen=True)
class Limits:
    """When things are written."""

    rows: int = SEGMENT_ROWS
    """A segment is cut at so many records …"""
    seconds: float = 5.0
    """… or so long after its first, if there was one."""
    tail_s: float = 0.25
    """How often the tail is brought up to date."""
    direct_rows: int = 1 << 15
    """So many records since the last look at the tail: a segment is cut instead."""
    group_rows: int = PIECE_ROWS
    """Events in one row group; this bounds the memory."""
    chunk_rows: int = 1 << 13
    """Records gathered before they are encoded: few enough for the processor's cache."""
    reserve_bytes: int = 1 << 16
    """Kept on the disk, to be given up for ``end.json`` when the disk is full."""
    threads: bool = True
    """Wait for the disk in a thread."""
