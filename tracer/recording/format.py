"""What a recording's tables hold: each column once, with its type, unit and meaning; and limits.

Column names are those of the whole program. Integers have the width and sign that they have in
``bpf/record.h``, except times and durations: those are signed, so that differences come out right
in pandas. ``docs/schema.md`` is made from this.

The limits say how much is gathered before it is written, and so how much a reader takes: a recorder
writes no more than that, so whatever has more was made by somebody else, and a reader says so
instead of giving it all the memory and time it wants.
"""

from dataclasses import dataclass
from typing import NamedTuple

import pyarrow as pa

SCHEMA_VERSION = 2
"""Of the whole recording: raised when an older program could misread a newer recording."""

WORD = pa.dictionary(pa.int16(), pa.string())
"""op, kind, hook, …: 16 bits, so that any number of unknown values (``op_77``) finds room."""
TEXT = pa.dictionary(pa.int32(), pa.string())
"""comm: escaped text (tracer.escape), cut at the first NUL."""

_U16, _U32, _U64 = pa.uint16(), pa.uint32(), pa.uint64()
_I32, _I64 = pa.int32(), pa.int64()


class Column(NamedTuple):
    """A column of a table."""

    type: pa.DataType
    unit: str
    """Empty: it has none."""
    meaning: str
    null: bool = False
    """Whether a row may be without it."""


_WHEN = {
    "time_ns": Column(_I64, "ns", "boot clock (CLOCK_BOOTTIME), when the operation was entered"),
    "cpu": Column(_U16, "", "CPU of the return; 65535: written by the recorder itself"),
    "seq": Column(
        _U64, "", "counts the records of this CPU from 0, over all tables; a hole is a loss"
    ),
}
_WHO = {
    "pid": Column(_U32, "", "process (thread group) id, as the initial pid namespace counts"),
    "start_ns": Column(
        _I64,
        "ns",
        "boot clock, when that process started; 0: not known. A process and the "
        "program that it ran is (pid, start_ns, exec_id)",
    ),
    "exec_id": Column(
        _U32, "", "counts the programs that the process executed, from what its parent had"
    ),
    "own_mm": Column(
        _U64,
        "",
        "number of the task's own address space, never used again in this boot; "
        "0: none, as it exits or in the kernel's own threads, or not known",
    ),
    "tid": Column(_U32, "", "thread id, likewise"),
    "uid": Column(_U32, "", "user id of the thread, initial user namespace"),
    "cgroup": Column(_U64, "", "id of its cgroup v2: the inode number of the cgroup's folder"),
    "comm": Column(TEXT, "", "its command name, escaped"),
}
_KEY = {
    "kind": Column(WORD, "", "kind of memory file, a word of `kind` below"),
    "dev": Column(_U32, "", "device of the inode, as the kernel holds it: major << 20 \\| minor"),
    "ino": Column(_U64, "", "inode number; 0: which memory file is not known"),
    "gen": Column(_U32, "", "inode generation; (dev, ino, gen) names one object of one boot"),
}
_HOOK = {"hook": Column(WORD, "", "the hook family that reported it, a word of `hook` below")}
_NR = {"nr": Column(_U16, "", "number of the system call, 65535: none or unknown")}

_EVENTS = {
    **_WHEN,
    **_WHO,
    "op": Column(WORD, "", "operation, a word of `op` below"),
    **_KEY,
    "fd": Column(_I32, "", "file descriptor as the system call had it, -1: unknown"),
    "seals": Column(
        _U32,
        "F_SEAL_* bits",
        "at entry; 0 where the object has none; what 0x20 means "
        "is in `self_test.bit_0x20` of the manifest",
    ),
    "seals_after": Column(_U32, "F_SEAL_* bits", "at return"),
    "size": Column(_U64, "bytes", "of the file, at entry"),
    "size_after": Column(_U64, "bytes", "at return; ops by address: the address; convert: a time"),
    "offset": Column(_I64, "bytes", "into the file"),
    "length": Column(_U64, "bytes", "requested; truncate: the new size"),
    "arg": Column(_U64, "", "by op, see `op` below"),
    "answer": Column(_I64, "", "what the kernel returned: 0, a count, an address, or -errno"),
    "duration_ns": Column(
        _I64, "ns", "from entry to return; baseline rows: how long the sweep took"
    ),
    "flags": Column(_U32, "bits", "see `flags` below"),
    **_HOOK,
    **_NR,
    "mm": Column(
        _U64,
        "",
        "number of the address space that is meant, as `own_mm`; 0: none. receive: "
        "of the task that gave the descriptor",
    ),
    "vm": Column(
        _U32, "", "number of the virtual machine, not used again in this recording; 0: none"
    ),
    "user_stack": Column(_U32, "", "number of a sample, see `callers`; 0: none was taken"),
    "kernel_stack": Column(
        _U32, "", "likewise; the same number, where the kernel's was taken, too"
    ),
    "check_answer": Column(
        _I32,
        "",
        "of the inner seal check, if CHECK_REACHED; memslot: slot number "
        "\\| address space << 16; receive: pid of the giver; convert: see `op` below",
    ),
    "file_answer": Column(
        _I32,
        "",
        "of the file's own mmap function, if FILE_MMAP_REACHED; memslot, convert: type of the "
        "virtual machine + 1, 0: it is older than the recording",
    ),
    "writable": Column(
        _I32,
        "",
        "address_space.i_mmap_writable at entry (count of shared writable "
        "mappings, negative: denied); add_seals that succeeded: at return",
    ),
    "mode": Column(_U16, "", "i_mode of the inode at entry"),
    "fmode": Column(_U16, "bits", "how the file was opened: 1 read, 2 write; 0: no file"),
    "checks": Column(
        _U32,
        "",
        "how often the inner check ran (chunks of a write); ops by "
        "address: 1 where the range has more mappings than were looked at; "
        "memslot: KVM_MEM_* flags; convert: 1 where KVM took it",
    ),
}

_OBJECTS = {
    **_WHEN,
    **_KEY,
    "name": Column(pa.string(), "", "escaped; null: no part of it arrived", null=True),
    "name_complete": Column(pa.bool_(), "", "whether all of its bytes arrived"),
    "name_len": Column(_U32, "bytes", "length of the name before escaping"),
    "owner_uid": Column(_U32, "", "i_uid of the inode, initial user namespace"),
    "owner_gid": Column(_U32, "", "i_gid, likewise"),
    **{
        name: one._replace(meaning=f"of who was seen with it first: {one.meaning}")
        for name, one in _WHO.items()
    },
    "create_flags": Column(
        _U32, "MFD_* bits", "what memfd_create got; null: its creation was not seen", null=True
    ),
    "size": Column(_U64, "bytes", "of the file, then"),
    "seals": Column(_U32, "F_SEAL_* bits", "then"),
    "mode": Column(_U16, "", "i_mode of the inode"),
    "folio_order_min": Column(pa.uint8(), "log2 of pages", "smallest folio that the file may use"),
    "folio_order_max": Column(pa.uint8(), "log2 of pages", "largest; 0: single pages"),
    "mapping_flags": Column(_U64, "bits", "address_space.flags as the kernel holds them"),
    "flags": Column(_U32, "bits", "see `flags` below"),
    **_NR,
    "seen_by": Column(WORD, "", "the operation that showed it first, a word of `op`"),
    **_HOOK,
}

_NAMES = {
    **_WHEN,
    **_KEY,
    "part": Column(_U16, "", "number of the piece, from 0"),
    "text": Column(pa.binary(), "", "its bytes, not escaped"),
}

_CGROUPS = {
    **_WHEN,
    "cgroup": Column(_U64, "", "its id: the inode number of its folder, not used again in a boot"),
    "parent": Column(_U64, "", "of the folder above it; 0: it is the root"),
    "named_by": Column(
        _U32,
        "",
        "who made it and so chose its name, as user id of the initial user namespace; of folders "
        "that were there before the trace: who owns the folder above. 4294967295: not known",
    ),
    "part": Column(_U16, "", "number of the piece of its name, from 0"),
    "more": Column(pa.bool_(), "", "whether another piece follows"),
    "text": Column(pa.binary(), "", "the piece's bytes, not escaped"),
}

_CALLERS = {
    **_WHEN,
    "sample": Column(_U32, "", "`user_stack` of the event; counts the samples from 1"),
    "stack": Column(_U32, "", "number of the stack; 0: none of its frames is known"),
    "state": Column(WORD, "", "how far it is known, a word of `state` below"),
    "maps_from": Column(WORD, "", "who told which file lay where, a word of `maps_from` below"),
    "kernel_stack": Column(
        _U32, "", "number of the stack that has the kernel's own functions; 0: none"
    ),
}

_STACKS = {
    **_WHEN,
    "stack": Column(_U32, "", "its number, from 1; the same callers have one stack"),
    "depth": Column(_U16, "", "0: the frame that made the system call; its caller is 1, and so on"),
    "module": Column(_U32, "", "number of the file that its code is of, 0: none"),
    "offset": Column(
        _U64,
        "",
        "where the code is: code: address as the ELF file has it; vdso: bytes from its start; "
        "gone: bytes into the file; kernel: bytes into the function; else 0",
    ),
    "what": Column(WORD, "", "in what the code lies, a word of `what` below"),
    "interrupted": Column(
        pa.bool_(),
        "",
        "true: the offset is of the next instruction, as where the call was made and where a "
        "signal came; false: a return address, whose call is at offset - 1",
    ),
    "function": Column(
        pa.binary(),
        "",
        "its name, where only the recorder could know it, not escaped: kernel: with its "
        "module in brackets; vdso; jit: what the process itself says in its perf map; … at the "
        "end: it is longer; else empty",
    ),
}

_MODULES = {
    **_WHEN,
    "module": Column(_U32, "", "its number, from 1"),
    "dev": Column(_U32, "", "device of the file's inode, major << 20 \\| minor"),
    "ino": Column(_U64, "", "inode number"),
    "gen": Column(_U32, "", "inode generation; 0: it has none, or that is not known"),
    "size": Column(_U64, "bytes", "of the file when it was mapped"),
    "build_id": Column(
        pa.string(), "", "of the file, in hex; empty: it has none, or could not be read"
    ),
    "part": Column(_U16, "", "number of the piece of its path, from 0"),
    "more": Column(pa.bool_(), "", "whether another piece follows"),
    "text": Column(
        pa.binary(),
        "",
        "the piece's bytes, not escaped; as the kernel has the path, from the "
        "root of the process's mounts",
    ),
}

_TASKS = {
    **_WHEN,
    **{name: _WHO[name] for name in ("pid", "start_ns", "exec_id")},
    "parent": Column(_U32, "", "process id of its parent then, as `pid`; 0: none"),
    "parent_start_ns": Column(_I64, "ns", "boot clock, when the parent started; 0: not known"),
    "ns_pid": Column(_U32, "", "its own process id, as its own pid namespace counts; 0: not known"),
    "dev": Column(
        _U32, "", "device of its executable, as the kernel holds it: major << 20 \\| minor"
    ),
    "ino": Column(_U64, "", "inode number of its executable; 0: it has none, or it is not known"),
    "gen": Column(_U32, "", "inode generation of its executable; 0: not known"),
    "unlinked": Column(pa.bool_(), "", "whether the executable had no name any more"),
    "cut": Column(pa.bool_(), "", "whether what is above the path was not reached"),
    "of_exe": Column(
        pa.bool_(), "", "whether this is of the executable, or else a piece of `cmdline`"
    ),
    "part": Column(_U16, "", "number of the piece, from 0"),
    "more": Column(pa.bool_(), "", "whether it goes on, in the next piece if there is one"),
    "exe": Column(
        pa.binary(), "", "a piece of the executable's path as its own mounts have it, not escaped"
    ),
    "cmdline": Column(
        pa.binary(),
        "",
        "a piece of the command line, arguments end with NUL, not escaped; the process's own "
        "memory, so its own word, and evidence for nothing",
    ),
    "build_id": Column(
        pa.string(),
        "",
        "of the executable, in hex, in a row of its own whose `part` is 65535; null in the others. "
        "Read out of the file that the process still ran when it was first seen: without such a "
        "row it has none, or had ended, or its file could not be read",
        null=True,
    ),
}

_LOSSES = {
    **_WHEN,
    "cause": Column(WORD, "", "a word of `cause` below"),
    **_HOOK,
    "count": Column(_U64, "events", "lost since the row before of this cause and hook"),
    "total": Column(_U64, "events", "lost since the start"),
}

_CLOCKS = {
    **_WHEN,
    **_HOOK,
    "realtime_ns": Column(_I64, "ns", "CLOCK_REALTIME (since 1970) at `time_ns`"),
    "monotonic_ns": Column(_I64, "ns", "CLOCK_MONOTONIC at `time_ns`"),
}

_TOTALS = {
    **_WHEN,
    **_HOOK,
    "decided": Column(_U64, "calls", "that reached the hook's return and were ours, so far"),
    "dropped": Column(_U64, "calls", "of these, turned away by a filter"),
}

COLUMNS: dict[str, dict[str, Column]] = {
    "events": _EVENTS,
    "objects": _OBJECTS,
    "names": _NAMES,
    "mappings": _EVENTS,
    "cgroups": _CGROUPS,
    "callers": _CALLERS,
    "stacks": _STACKS,
    "modules": _MODULES,
    "tasks": _TASKS,
    "losses": _LOSSES,
    "clocks": _CLOCKS,
    "totals": _TOTALS,
}
"""Table (= folder) → its columns, in their order. ``mappings`` are the BASELINE records."""
TABLES: dict[str, pa.Schema] = {
    table: pa.schema([pa.field(name, one.type, one.null) for name, one in columns.items()])
    for table, columns in COLUMNS.items()
}
EVENTS, OBJECTS = TABLES["events"], TABLES["objects"]

MEANINGS = {
    "events": "One row for each decision, and for each mapping that starts or ends.",
    "objects": "One row for each memory file, when it is seen first (and again after the kernel "
    "side had forgotten it).",
    "names": "The pieces of the objects' names as they came; `objects.name` has them joined.",
    "mappings": "The columns of `events`. What was there before the trace started, read from /proc "
    "(ops `open` and `map`; with `--audit` who traces whom and who shares an address space: "
    "`trace` and `share_mm`); with `--audit` also at the stop (flag FINAL), whether an inode has "
    "any mapping (`mapped`), and when hooks in a module came and went (`attach`).",
    "cgroups": "One row for each folder of the cgroup v2 tree (longer names: two): those that were "
    "there when the trace started, and each that was made since. The path of a cgroup is its "
    "name behind its parents'; who runs there, by that path, is `tracer.cgroups`' word.",
    "callers": "One row for each sample of a user stack: what is known of an event's callers. A "
    "sample that has no row was under way when the recorder ended.",
    "stacks": "One row for each frame of each stack, the innermost first. What a program had on "
    "its stack is stored nowhere.",
    "modules": "One row for each file whose code is in a stack (with longer paths: several).",
    "tasks": "What is known of each process and program that did something: a row for each piece "
    "of the executable's path and of the command line; told with its first event, and again where "
    "the kernel side had forgotten that. The owner of a user namespace can make anything its "
    "executable (prctl PR_SET_MM_EXE_FILE).",
    "losses": "Events that happened and are not in the recording; a row each second while counts "
    "move.",
    "clocks": "Both other clocks, read at one moment with the boot clock.",
    "totals": "What each hook decided, whether or not it was recorded.",
}
"""What the rows of each table are."""

SEGMENT_ROWS = 1 << 19
"""Records of one segment, and so rows of a part."""
PART_BYTES = 1 << 28
"""A part on the disk."""
UNPACKED_BYTES = 1 << 28
"""All pages of a part, unpacked; of texts also with each repetition written out."""
FOOTER_BYTES = 1 << 20
"""The end of a part that says where its columns are. Arrow takes a hundred times as much."""
ROW_GROUPS = 1 << 12
MOST_COLUMNS = 1 << 8
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
EVERY = range(1 << 62)
"""The numbers of all segments that there can be."""


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
