"""What each column of a recording means: ``docs/schema.md`` is made from this."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Column:
    """Its unit ("" where there is none) and its meaning."""

    unit: str
    text: str


_WHEN = {
    "time_ns": Column("ns", "boot clock (CLOCK_BOOTTIME), when the operation was entered"),
    "cpu": Column("", "CPU of the return; 65535: written by the recorder itself"),
    "seq": Column("", "counts the records of this CPU from 0, over all tables; a hole is a loss"),
}
_WHO = {
    "pid": Column("", "process (thread group) id, as the initial pid namespace counts"),
    "start_ns": Column(
        "ns",
        "boot clock, when that process began; 0: not known. A process and the "
        "program that it ran is (pid, start_ns, exec_id)",
    ),
    "exec_id": Column(
        "", "counts the programs that the process executed, from what its parent had"
    ),
    "own_mm": Column(
        "",
        "number of the task's own address space, never used again in this boot; "
        "0: none, as it exits or in the kernel's own threads, or not known",
    ),
    "tid": Column("", "thread id, likewise"),
    "uid": Column("", "user id of the thread, initial user namespace"),
    "cgroup": Column("", "id of its cgroup v2: the inode number of the cgroup's folder"),
    "comm": Column("", "its command name, escaped"),
}
_KEY = {
    "kind": Column("", "kind of memory file, a word of `kind` below"),
    "dev": Column("", "device of the inode, as the kernel holds it: major << 20 \\| minor"),
    "ino": Column("", "inode number; 0: no memory file could be told"),
    "gen": Column("", "inode generation; (dev, ino, gen) names one object of one boot"),
}
_HOOK = {"hook": Column("", "the hook family that reported it, a word of `hook` below")}
_NR = {"nr": Column("", "number of the system call, 65535: none or unknown")}

EVENTS = {
    **_WHEN,
    **_WHO,
    "op": Column("", "operation, a word of `op` below"),
    **_KEY,
    "fd": Column("", "file descriptor as the system call had it, -1: unknown"),
    "seals": Column("F_SEAL_* bits", "at entry; 0 where the object has none; what 0x20 means "
                    "is in `self_test.bit_0x20` of the manifest"),
    "seals_after": Column("F_SEAL_* bits", "at return"),
    "size": Column("bytes", "of the file, at entry"),
    "size_after": Column("bytes", "at return; ops by address: the address"),
    "offset": Column("bytes", "into the file"),
    "length": Column("bytes", "asked for; truncate: the new size"),
    "arg": Column("", "by op, see `op` below"),
    "answer": Column("", "what the kernel returned: 0, a count, an address, or -errno"),
    "duration_ns": Column("ns", "from entry to return; baseline rows: how long the sweep took"),
    "flags": Column("bits", "see `flags` below"),
    **_HOOK,
    **_NR,
    "mm": Column("", "number of the address space that is meant, as `own_mm`; 0: none. receive: "
                 "of the task that gave the descriptor"),
    "vm": Column("", "number of the virtual machine, not used again in this recording; 0: none"),
    "user_stack": Column("", "number of a stack; 0: none was taken"),
    "kernel_stack": Column("", "likewise"),
    "check_answer": Column("", "of the inner seal check, if CHECK_REACHED; memslot: slot number "
                               "\\| address space << 16; receive: pid of the giver"),
    "file_answer": Column("", "of the file's own mmap function, if FILE_MMAP_REACHED"),
    "writable": Column("", "address_space.i_mmap_writable at entry (count of shared writable "
                           "mappings, negative: denied); add_seals that succeeded: at return"),
    "mode": Column("", "i_mode of the inode at entry"),
    "fmode": Column("bits", "how the file was opened: 1 read, 2 write; 0: no file"),
    "checks": Column("", "how often the inner check was asked (chunks of a write); ops by "
                         "address: 1 where the range has more mappings than were looked at; "
                         "memslot: KVM_MEM_* flags"),
}  # fmt: skip

OBJECTS = {
    **_WHEN,
    **_KEY,
    "name": Column("", "escaped; null: no part of it arrived"),
    "name_complete": Column("", "whether all of its bytes arrived"),
    "name_len": Column("bytes", "length of the name before escaping"),
    "owner_uid": Column("", "i_uid of the inode, initial user namespace"),
    "owner_gid": Column("", "i_gid, likewise"),
    **{name: Column(one.unit, f"of who was seen with it first: {one.text}")
       for name, one in _WHO.items()},
    "create_flags": Column("MFD_* bits", "what memfd_create got; null: its creation was not seen"),
    "size": Column("bytes", "of the file, then"),
    "seals": Column("F_SEAL_* bits", "then"),
    "mode": Column("", "i_mode of the inode"),
    "folio_order_min": Column("log2 of pages", "smallest folio that the file may use"),
    "folio_order_max": Column("log2 of pages", "largest; 0: single pages"),
    "mapping_flags": Column("bits", "address_space.flags as the kernel holds them"),
    "flags": Column("bits", "see `flags` below"),
    **_NR,
    "seen_by": Column("", "the operation that showed it first, a word of `op`"),
    **_HOOK,
}  # fmt: skip

NAMES = {
    **_WHEN,
    **_KEY,
    "part": Column("", "number of the piece, from 0"),
    "text": Column("", "its bytes, not escaped"),
}

LOSSES = {
    **_WHEN,
    "cause": Column("", "a word of `cause` below"),
    **_HOOK,
    "count": Column("events", "lost since the row before of this cause and hook"),
    "total": Column("events", "lost since the start"),
}

CLOCKS = {
    **_WHEN,
    **_HOOK,
    "realtime_ns": Column("ns", "CLOCK_REALTIME (since 1970) at `time_ns`"),
    "monotonic_ns": Column("ns", "CLOCK_MONOTONIC at `time_ns`"),
}

TOTALS = {
    **_WHEN,
    **_HOOK,
    "decided": Column("calls", "that reached the hook's return and were ours, so far"),
    "dropped": Column("calls", "of these, turned away by a filter"),
}

COLUMNS: dict[str, dict[str, Column]] = {
    "events": EVENTS,
    "objects": OBJECTS,
    "names": NAMES,
    "mappings": EVENTS,
    "losses": LOSSES,
    "clocks": CLOCKS,
    "totals": TOTALS,
}
"""Table → column → what it means, in the order of `tracer.recording.format.TABLES`."""

TABLES = {
    "events": "One row for each decision, and for each mapping that begins or ends.",
    "objects": "One row for each memory file, when it is seen first (and again after the kernel "
    "side had forgotten it).",
    "names": "The pieces of the objects' names as they came; `objects.name` has them joined.",
    "mappings": "The columns of `events`. What was there before the trace began, read from /proc "
    "(ops `open` and `map`; with `--audit` who traces whom and who shares an address space: "
    "`trace` and `share_mm`); with `--audit` also at the stop (flag FINAL), whether an inode has "
    "any mapping (`mapped`), and when hooks in a module came and went (`attach`).",
    "losses": "Events that happened and are not in the recording; a row each second while counts "
    "move.",
    "clocks": "Both other clocks, read at one moment with the boot clock.",
    "totals": "What each hook decided, whether or not it was recorded.",
}

RECEIPTS = {
    "unknown": "0",
    "scm_rights": "1: a message on a unix socket",
    "pidfd_getfd": "2: taken out of another process",
    "proc_fd": "3: /proc/PID/fd/N was opened",
    "map_files": "4: /proc/PID/map_files/RANGE was opened",
    "msg_ring": "5: an io_uring put it into another one's table",
    "seccomp": "6: a supervisor put it there (SECCOMP_IOCTL_NOTIF_ADDFD)",
}

BY_ADDRESS = (
    "*By address*: `length` bytes from address `size_after` in the address space `mm` were asked "
    "for. The object is the first memory file in that range, and `offset` where the range (or, if "
    "it begins elsewhere, this file's mapping in it) stands in it."
)
