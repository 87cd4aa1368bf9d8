"""The tables of a recording as Arrow schemas; the column names are those of the whole program.

Integers have the width and sign they have in ``bpf/record.h``, except times and durations: those
are signed, so that differences come out right in pandas.

How much is gathered before it is written, and how much a reader takes.

The second follows from the first: a recorder writes no more than that, so whatever has more was
made by somebody else, and a reader says so instead of giving it all the memory and time it asks
for.
"""

from dataclasses import dataclass

import pyarrow as pa

from tracer.record import RECORD_SIZE

SCHEMA_VERSION = 2
"""Of the whole recording: raised when an older program could misread a newer recording."""

WORD = pa.dictionary(pa.int16(), pa.string())
"""op, kind, hook, cause: 16 bits, so that any number of unknown values (``op_77``) finds room."""
TEXT = pa.dictionary(pa.int32(), pa.string())
"""comm: escaped text (tracer.escape), cut at the first NUL."""

_U16, _U32, _U64 = pa.uint16(), pa.uint32(), pa.uint64()
_I32, _I64 = pa.int32(), pa.int64()


def _schema(*columns: tuple[str, pa.DataType], nullable: frozenset[str] = frozenset()) -> pa.Schema:
    return pa.schema([pa.field(name, kind, name in nullable) for name, kind in columns])


_KEY = (("dev", _U32), ("ino", _U64), ("gen", _U32))
_WHEN = (("time_ns", _I64), ("cpu", _U16), ("seq", _U64))
_WHO = (
    ("pid", _U32),
    ("start_ns", _I64),
    ("exec_id", _U32),
    ("own_mm", _U64),
    ("tid", _U32),
    ("uid", _U32),
    ("cgroup", _U64),
    ("comm", TEXT),
)

EVENTS = _schema(
    *_WHEN,
    *_WHO,
    ("op", WORD),
    ("kind", WORD),
    *_KEY,
    ("fd", _I32),
    ("seals", _U32),
    ("seals_after", _U32),
    ("size", _U64),
    ("size_after", _U64),
    ("offset", _I64),
    ("length", _U64),
    ("arg", _U64),
    ("answer", _I64),
    ("duration_ns", _I64),
    ("flags", _U32),
    ("hook", WORD),
    ("nr", _U16),
    ("mm", _U64),
    ("vm", _U32),
    ("user_stack", _U32),
    ("kernel_stack", _U32),
    ("check_answer", _I32),
    ("file_answer", _I32),
    ("writable", _I32),
    ("mode", _U16),
    ("fmode", _U16),
    ("checks", _U32),
)

OBJECTS = _schema(
    *_WHEN,
    ("kind", WORD),
    *_KEY,
    ("name", pa.string()),  # escaped; null: no part of it arrived
    ("name_complete", pa.bool_()),
    ("name_len", _U32),  # bytes, before escaping
    ("owner_uid", _U32),
    ("owner_gid", _U32),
    *_WHO,
    ("create_flags", _U32),  # null: its creation was not seen
    ("size", _U64),
    ("seals", _U32),
    ("mode", _U16),
    ("folio_order_min", pa.uint8()),
    ("folio_order_max", pa.uint8()),
    ("mapping_flags", _U64),
    ("flags", _U32),
    ("nr", _U16),
    ("seen_by", WORD),
    ("hook", WORD),
    nullable=frozenset({"name", "create_flags"}),
)

NAMES = _schema(*_WHEN, ("kind", WORD), *_KEY, ("part", _U16), ("text", pa.binary()))
"""The pieces of names as they came: `objects` has them joined, this keeps every seq."""

LOSSES = _schema(*_WHEN, ("cause", WORD), ("hook", WORD), ("count", _U64), ("total", _U64))

CLOCKS = _schema(*_WHEN, ("hook", WORD), ("realtime_ns", _I64), ("monotonic_ns", _I64))

TOTALS = _schema(
    *_WHEN,
    ("hook", WORD),
    ("decided", _U64),
    ("dropped", _U64),
)

TABLES: dict[str, pa.Schema] = {
    "events": EVENTS,
    "objects": OBJECTS,
    "names": NAMES,
    "mappings": EVENTS,
    "losses": LOSSES,
    "clocks": CLOCKS,
    "totals": TOTALS,
}
"""Table (= folder) name → schema. ``mappings`` are the BASELINE records."""

TAIL = pa.schema([pa.field("record", pa.binary(RECORD_SIZE), nullable=False)])
"""The tail: records as they are in the ring buffer, of all types, in the order of arrival."""

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
