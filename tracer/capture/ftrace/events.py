"""EVENT records from rows, field by field as bpf/calls.h and bpf/hooks.h fill them."""

import errno

import numpy as np

from tracer.capture.ftrace.after import After
from tracer.capture.ftrace.objects import Objects, kinds
from tracer.capture.ftrace.pair import NOWHERE, Paired
from tracer.capture.ftrace.rows import Rows
from tracer.model.record import EVENT, NO_SYSCALL, RecordType
from tracer.model.words import Flag, Hook, Op

_WITH_DETAILS = (Hook.MMAP, Hook.SETATTR, Hook.SEALS, Hook.CREATE)
"""Whose events have the inode's mode and count of writable mappings (bpf/hooks.h)."""
_READ_WRITE = 3


def call_events(
    rows: Rows, paired: Paired, found: After, who: Rows, objects: Objects
) -> tuple[Rows, Rows]:
    """Events of finished calls, and rows with the objects that they are about."""
    entries, exits = rows[paired.entry], rows[paired.exit]
    events = np.zeros(len(entries), EVENT)
    made = entries["op"] == Op.CREATE
    source = entries.copy()
    answer = exits["ret"]
    placed = made & (paired.install != NOWHERE) & (answer >= 0)
    install = rows[paired.install[placed]]
    for name in ("key", "inode", "ino", "dev", "gen", "kind", "seals", "size", "mode"):
        source[name][placed] = install[name]
    is_memfd = objects.find(source["key"])[0]
    for name in ("time_ns", "ino", "dev", "gen", "op", "hook", "nr", "seals"):
        events[name] = source[name]
    events["type"], events["cpu"] = RecordType.EVENT, exits["cpu"]
    events["kind"] = kinds(source, is_memfd)
    events["flags"] = found.flags
    _set_task(events, source, who)
    for name in ("fd", "size", "length", "arg"):
        events[name] = source[name]
    events["size_after"], events["seals_after"] = found.size, found.seals
    events["offset"], events["answer"] = found.offset, answer
    events["duration_ns"] = exits["time_ns"] - source["time_ns"]
    detailed = np.isin(source["hook"], _WITH_DETAILS)
    events["mode"] = np.where(detailed, source["mode"], 0)
    events["writable"] = np.where(detailed, found.writable, 0)
    events["fmode"] = source["fmode"]
    checked = paired.last_check != NOWHERE
    events["checks"] = paired.checks
    events["check_answer"][checked] = rows["ret"][paired.last_check[checked]]
    events["flags"][checked] |= np.uint32(Flag.CHECK_REACHED)
    reached = paired.file_mmap != NOWHERE
    events["file_answer"][reached] = rows["ret"][paired.file_mmap[reached]]
    events["flags"][reached] |= np.uint32(Flag.FILE_MMAP_REACHED)
    refused = np.isin(answer, (-errno.EPERM, -errno.EACCES))
    events["flags"][refused] |= source["bound"][refused]
    _finish_creates(events, made, placed, exits)
    return events, source


def fact_events(facts: Rows, who: Rows, objects: Objects) -> Rows:
    """Events of what has no return: map, unmap, evict."""
    events = np.zeros(len(facts), EVENT)
    is_memfd = objects.find(facts["key"])[0]
    for name in ("time_ns", "ino", "dev", "gen", "op", "hook", "seals", "cpu"):
        events[name] = facts[name]
    events["type"], events["nr"] = RecordType.EVENT, NO_SYSCALL
    events["kind"] = kinds(facts, is_memfd)
    _set_task(events, facts, who)
    for mine, theirs in (
        ("size", "size"), ("size_after", "size"), ("seals_after", "seals"),
        ("offset", "offset"), ("length", "length"), ("arg", "arg"), ("answer", "ret"),
        ("mm", "mm"), ("writable", "writable"), ("fd", "fd"),
    ):  # fmt: skip
        events[mine] = facts[theirs]
    events["flags"] = facts["flags"]
    return events


def _set_task(events: Rows, source: Rows, who: Rows) -> None:
    events["pid"], events["uid"], events["cgroup"] = who["pid"], who["uid"], who["cgroup"]
    events["tid"], events["comm"] = source["tid"], source["comm"]
    events["start_ns"], events["exec_id"] = who["start_ns"], who["exec_id"]


def _finish_creates(events: Rows, made: Rows, placed: Rows, exits: Rows) -> None:
    """A new file is told at its return alone, as it is then (bpf/hooks.h:finish_create)."""
    events["time_ns"][made] = exits["time_ns"][made]
    events["duration_ns"][made] = 0
    events["seals_after"][made] = events["seals"][made]
    for name in ("size", "size_after", "offset", "length"):
        events[name][made] = 0
    events["fd"][made] = np.where(exits["ret"][made] >= 0, exits["ret"][made], -1)
    events["fmode"][made] = np.where(placed[made], _READ_WRITE, 0)
    events["writable"][made] = 0
