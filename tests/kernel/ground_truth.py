"""Compares a recording's events with what samples/workload wrote down about its own calls.

The truth comes from the system calls' return values alone, so nothing here depends on a kernel
version: a call that one kernel refuses early and another late says so in its own line.
``compare`` judges decisions, ``compare_mappings`` the begin and end of mappings. Neither forgives
a missing, doubled or displaced event.
"""

import difflib
import json
from collections import defaultdict
from collections.abc import Collection, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from tracer.record import Flag, Hook, Kind, Op, words

Row = dict[str, Any]

HOOKS = {
    "mmap": "mmap",
    "mremap": "mremap",
    "write": "write",
    "read": "read",
    "truncate": "setattr",
    "chmod": "setattr",
    "allocate": "allocate",
    "punch_hole": "allocate",
    "add_seals": "seals",
    "create": "create",
    "remap_file_pages": "mmap",
}
"""Ops that the workload knows, and the hook family that must report each."""

_EVERYWHERE = ("pid", "dev", "gen", "kind", "hook", "flags", "seals", "seals_after", "size",
               "size_after", "answer")  # fmt: skip
_OWN = {
    "mmap": ("fd", "offset", "length", "arg"),
    "mremap": ("fd", "offset", "length", "arg"),
    "write": ("fd", "offset", "length"),
    "read": ("fd", "offset", "length"),
    "truncate": ("fd", "offset", "length", "arg"),
    "chmod": ("fd", "arg"),
    "allocate": ("fd", "offset", "length", "arg"),
    "punch_hole": ("fd", "offset", "length", "arg"),
    "add_seals": ("fd", "arg"),
    "remap_file_pages": ("fd", "offset", "length", "arg"),
    "create": ("arg",),  # no fd goes in; the one that comes out is the answer
}
"""Which fields mean something for an op, and so have to agree."""

REQUIRED = ("op", "pid", "tid", "fd", "dev", "ino", "gen", "seals", "seals_after", "size",
            "offset", "length", "arg", "answer", "flags", "kind", "hook")  # fmt: skip
"""Columns of ``events``; ``size_after`` and ``mm`` are compared where present."""

SHOWN = 20
"""At most so many differences are spelled out."""

_ATTR_MODE, _ATTR_SIZE = 1, 8  # include/linux/fs.h; what ia_valid must say at the least
_VM_WRITE, _VM_MAYSHARE = 0x2, 0x80  # MAYSHARE: MAP_SHARED as asked; SHARED goes on O_RDONLY
_F_SEAL_SEAL = 1
_INCOMPLETE = (
    Flag.RACED_SIZE
    | Flag.ENTRY_MISSING
    | Flag.RETURN_MISSING
    | Flag.OTHER_MM
    | Flag.KERNEL_TASK
    | Flag.COMPAT
)
"""No call of a truth races with another or comes from a kernel thread; 32-bit ones say so."""


@dataclass(frozen=True)
class Truth:
    run: Row
    calls: list[Row]
    mappings: list[Row]

    @property
    def pids(self) -> set[int]:
        return {row["pid"] for row in (*self.calls, *self.mappings)}


@dataclass(frozen=True)
class Comparison:
    expected: int
    """Calls (or mappings) of the truth that had to be found."""
    events: int
    """Events of the workload's processes that were held against them."""
    differences: tuple[str, ...]
    """Spelled out, at most ``SHOWN``."""
    total: int
    """All differences."""

    @property
    def ok(self) -> bool:
        return self.total == 0

    def __str__(self) -> str:
        head = f"{self.expected} expected, {self.events} events, {self.total} differences"
        rest = self.total - len(self.differences)
        more = [f"... and {rest} more"] if rest else []
        return "\n".join([head, *self.differences, *more])


def load_truth(path: Path) -> Truth:
    """Reads the workload's JSON lines; names may hold any bytes, hence surrogateescape."""
    with path.open(encoding="utf-8", errors="surrogateescape") as lines:
        rows: list[Row] = [json.loads(line) for line in lines]
    runs = [row for row in rows if row["type"] == "run"]
    if len(runs) != 1 or runs[0]["version"] != 1:
        raise ValueError(f"{path}: not one workload run of version 1")
    numbered = [row for row in rows if row["type"] != "run"]
    if [row["i"] for row in numbered] != list(range(len(numbered))):
        raise ValueError(f"{path}: lines are missing")
    return Truth(
        runs[0],
        [row for row in numbered if row["type"] == "call"],
        [row for row in numbered if row["type"] == "mapping"],
    )


def expected_calls(
    truth: Truth,
    ops: Collection[str] = frozenset(HOOKS),
    unsealable_ops: Collection[str] = frozenset(),
    tmpfs_ops: Collection[str] = frozenset(),
) -> list[Row]:
    """The calls that a complete recording holds, in the order of the truth.

    A file whose only seal is F_SEAL_SEAL can never be sealed, and a recorder drops it unless
    asked: ``unsealable_ops`` and ``tmpfs_ops`` name the ops for which it was asked. A file *made*
    unsealable has its seal only after the call.
    """

    def recorded(row: Row) -> bool:
        op = row["op"]
        if op not in ops or not row["reaches_kernel_hook"]:
            return False
        if row["object"] == "tmpfs":
            return op in tmpfs_ops
        if op != "create" and row["object"] not in ("memfd", "hugetlb"):
            return False
        seals = row["seals_after"] if op == "create" else row["seals"]
        return seals != _F_SEAL_SEAL or op in unsealable_ops

    return [row for row in truth.calls if recorded(row)]


def compare(
    truth: Truth,
    events: pd.DataFrame,
    *,
    ops: Collection[str] = frozenset(HOOKS),
    unsealable_ops: Collection[str] = frozenset(),
    tmpfs_ops: Collection[str] = frozenset(),
) -> Comparison:
    """Every call of the truth that reaches a hook is one event, and there are no others.

    ``events`` are rows in the order of the recording; other processes' are left out here. ``ops``
    restricts both sides, for a recording that leaves an op out.
    """
    expected = [_wanted(row) for row in expected_calls(truth, ops, unsealable_ops, tmpfs_ops)]
    got = _rows(events, set(ops), truth.pids, {row["tid"] for row in truth.calls})
    found: list[str] = []
    agreeing = _compare_groups(expected, got, found)
    for tid, tid_rows in _grouped(got, ("tid",)).items():
        if tid[0] in agreeing:
            found += _order(tid[0], [r for r in expected if r["tid"] == tid[0]], tid_rows)
    return Comparison(len(expected), len(got), tuple(found[:SHOWN]), len(found))


def _wanted(call: Row) -> Row:
    """A truth line in the terms of an event."""
    op = call["op"]
    arg = {"truncate": _ATTR_SIZE}.get(op, call["arg"])
    kind = call["object"] if call["object"] != "none" else "unknown"
    # There is no file at memfd_create's entry: the event has the seals it was born with.
    seals = call["seals_after"] if op == "create" else call["seals"]
    row = call | {"arg": arg, "kind": kind, "hook": HOOKS[op], "flags": 0, "seals": seals}
    # Of a 32-bit system call (programs/compat.c) the number and the descriptor are not told.
    return row | {"flags": int(Flag.COMPAT), "fd": -1} if call.get("abi") == "i386" else row


def _rows(events: pd.DataFrame, ops: set[str], pids: set[int], tids: set[int]) -> list[Row]:
    """The workload's own events, words for numbers, and only the bits that can be judged."""
    missing = [name for name in REQUIRED if name not in events.columns]
    if missing:
        raise ValueError(f"columns are missing: {', '.join(missing)}")
    mine = events[events["pid"].isin(pids) | events["tid"].isin(tids)]
    names = [name for name in (*REQUIRED, "size_after", "mm") if name in events.columns]
    rows = []
    for number, values in zip(
        mine.index, zip(*(mine[name].tolist() for name in names), strict=True), strict=True
    ):
        row: Row = dict(zip(names, values, strict=True)) | {"row": number}
        row["op"] = _word(row["op"], words(Op))
        if row["op"] in ops:
            row["kind"] = _word(row["kind"], words(Kind))
            row["hook"] = _word(row["hook"], words(Hook))
            rows.append(_judgeable(row))
    return rows


def _word(value: Any, table: dict[int, str]) -> str:
    return value if isinstance(value, str) else table.get(int(value), str(value))


def _judgeable(row: Row) -> Row:
    """Leaves of an event's ``arg`` and ``flags`` what user space can know about them."""
    op, arg = row["op"], int(row["arg"])
    if op not in HOOKS:
        return row
    if op == "truncate":
        row["arg"] = arg & _ATTR_SIZE
    elif op == "chmod":  # a valid mode, else a number that no mode can be
        row["arg"] = arg >> 32 & 0o7777 if arg & _ATTR_MODE else -1
    judged = _INCOMPLETE if op == "add_seals" else _INCOMPLETE | Flag.RACED_SEALS
    row["flags"] = int(row["flags"]) & judged
    return row


def _grouped(rows: Iterable[Row], key: Sequence[str]) -> dict[tuple[Hashable, ...], list[Row]]:
    groups: dict[tuple[Hashable, ...], list[Row]] = {}
    for row in rows:
        groups.setdefault(tuple(row[name] for name in key), []).append(row)
    return groups


def _compare_groups(expected: list[Row], got: list[Row], found: list[str]) -> set[Hashable]:
    """Adds the differences of every (tid, op, file); returns the tids that have none."""
    key = ("tid", "op", "dev", "ino")  # two filesystems may use one inode number
    want_groups, got_groups = _grouped(expected, key), _grouped(got, key)
    spoilt = set()
    for group in dict.fromkeys((*want_groups, *got_groups)):
        differences = list(_align(want_groups.get(group, []), got_groups.get(group, [])))
        if differences:
            spoilt.add(group[0])
            found += differences
    return {row["tid"] for row in got} - spoilt


def _fields(op: str, want: Row, got: Row) -> list[str]:
    """What is compared of one pair: nothing about a file that user space could not learn."""
    unknown = {"gen"} if want["gen"] is None else set()
    if want["ino"] == 0:  # a memfd_create that failed has no file to be of a kind
        unknown |= {"kind", "gen"}  # what stands for the generation keeps such calls apart
    return [name for name in (*_EVERYWHERE, *_OWN[op]) if name in got and name not in unknown]


def _align(want: list[Row], got: list[Row]) -> Iterator[str]:
    if not want or not got:
        yield from (f"missing: {_call(row)}" for row in want)
        yield from (f"too many: {_event(row)}" for row in got)
        return
    fields = _fields(want[0]["op"], want[0], got[0])
    # identical runs on both sides stay paired, so one lost event is one difference
    matcher = difflib.SequenceMatcher(
        None,
        [tuple(row[name] for name in fields) for row in want],
        [tuple(row[name] for name in fields) for row in got],
        autojunk=False,
    )
    for tag, a, a_end, b, b_end in matcher.get_opcodes():
        if tag == "equal":
            continue
        pairs = min(a_end - a, b_end - b)
        for w, g in zip(want[a : a + pairs], got[b : b + pairs], strict=True):
            names = [name for name in fields if w[name] != g[name]]
            sides = "; ".join(f"{name} {w[name]}, event says {g[name]}" for name in names)
            yield f"different: {_call(w)}: {sides} (row {g['row']})"
        yield from (f"missing: {_call(row)}" for row in want[a + pairs : a_end])
        yield from (f"too many: {_event(row)}" for row in got[b + pairs : b_end])


def _order(tid: Hashable, want: list[Row], got: list[Row]) -> list[str]:
    """Where the sequence of a whole thread first leaves that of its calls."""
    for w, g in zip(want, got, strict=True):
        if (w["op"], w["ino"]) != (g["op"], g["ino"]):
            return [f"order: tid {tid}: next is {_call(w)}, but there comes {_event(g)}"]
    return []


def _call(row: Row) -> str:
    return (
        f"call {row['i']} {row['op']} ({row['call']}, {row['variant']}, {row['set']}) by tid "
        f"{row['tid']} on ino {row['ino']} fd {row['fd']}: seals {row['seals']:#x} "
        f"{row['offset']}+{row['length']} arg {row['arg']:#x} = {row['answer']}"
        f" {row['errno'] or ''}".rstrip()
    )


def _event(row: Row) -> str:
    return (
        f"row {row['row']} {row['op']} by pid {row['pid']} tid {row['tid']} on ino {row['ino']} "
        f"fd {row['fd']}: seals {row['seals']:#x} {row['offset']}+{row['length']} "
        f"arg {row['arg']:#x} = {row['answer']}"
    )


# ---- mappings -----------------------------------------------------------------------------


class _Place(NamedTuple):
    """What the kernel files a mapping under: it is taken out with the bounds it was put in with."""

    pid: int
    dev: int
    ino: int
    address: int
    length: int
    offset: int

    def holds(self, other: "_Place") -> bool:
        """``other`` is part of this mapping, showing the same part of the file."""
        within = other.address - self.address
        return (
            self[:3] == other[:3]
            and other.offset - self.offset == within
            and 0 <= within <= self.length - other.length
        )


@dataclass
class _Life:
    """One stay in the kernel's tree: the rows (by position) that began and ended it."""

    place: _Place
    began: int
    ended: int | None
    shared: bool
    writable: bool


def expected_mappings(truth: Truth, unsealable: bool = False) -> list[Row]:
    return [
        row
        for row in truth.mappings
        if row["object"] in ("memfd", "hugetlb")
        and (unsealable or _F_SEAL_SEAL not in (row["seals"], row["seals_after"]))
    ]


def compare_mappings(truth: Truth, events: pd.DataFrame, *, unsealable: bool = False) -> Comparison:
    """Each mapping of the truth begins and ends once, where and when it should.

    A merge or a split takes a mapping out of the kernel's tree and puts it back with other
    bounds; how often, and whether the new one comes before the old one goes, depends on the
    kernel. The truth marks such mappings ``reinserted``, and for these the first begin and the
    last end count. All others have exactly one of each. An end always has its own begin.
    """
    want = sorted(expected_mappings(truth, unsealable), key=lambda r: (r["worker"], r["began"]))
    got = _rows(events, {"map", "unmap"}, truth.pids, set())
    found: list[str] = []
    _own_forks(want, got)
    _one_mm(got, found)
    lives = _lives(got, found)
    _in_order(_match(want, lives, found), found)
    return Comparison(len(want), len(got), tuple(found[:SHOWN]), len(found))


def _own_forks(want: list[Row], got: list[Row]) -> None:
    """A mapping that fork made is seen in the parent's task, but is the child's."""
    children = {(r["ino"], r["address"]): r["pid"] for r in want if r["cause"] == "fork"}
    for row in got:
        if row["op"] == "map" and int(row["flags"]) & Flag.OTHER_MM:
            row["pid"] = children.get((row["ino"], row["answer"]), row["pid"])


def _one_mm(got: list[Row], found: list[str]) -> None:
    spaces: dict[int, set[int]] = defaultdict(set)
    for row in got:
        if "mm" in row:
            spaces[row["pid"]].add(row["mm"])
    for pid, space in spaces.items():
        if len(space) > 1:
            found.append(f"mm: pid {pid} has {len(space)} address spaces: {sorted(space)}")


def _place(row: Row, address: int) -> _Place:
    return _Place(row["pid"], row["dev"], row["ino"], address, row["length"], row["offset"])


def _lives(got: list[Row], found: list[str]) -> dict[_Place, list[_Life]]:
    lives: dict[_Place, list[_Life]] = defaultdict(list)
    for at, row in enumerate(got):
        place = _place(row, row["answer"])
        known = lives[place]
        is_open = bool(known) and known[-1].ended is None
        if row["op"] == "map":
            if is_open:
                found.append(f"begins a mapping that is there already: {_event(row)}")
            shared, writable = row["arg"] & _VM_MAYSHARE, row["arg"] & _VM_WRITE
            known.append(_Life(place, at, None, bool(shared), bool(writable)))
        elif is_open:
            known[-1].ended = at
        else:
            found.append(f"ends a mapping that is not there: {_event(row)}")
    return lives


@dataclass
class _Times:
    """The rows with which one mapping of the truth began and ended."""

    row: Row
    began: int
    ended: int


def _match(want: list[Row], lives: dict[_Place, list[_Life]], found: list[str]) -> list[_Times]:
    """Takes what each mapping of the truth explains out of ``lives``; nothing may be left."""
    times = []
    reinserted: set[_Place] = set()
    for row in want:
        place = _place(row, row["address"])
        if row["reinserted"]:
            places = [other for other in lives if other.holds(place)]
            taken = [life for other in places for life in lives[other]]
            reinserted.update(places)
        else:
            taken = lives.get(place, [])[:1]
            del lives[place][:1]
        problem = _judge_lives(row, taken)
        if problem:
            found.append(f"{problem}: {_mapping(row)}")
        else:
            ends = [life.ended for life in taken if life.ended is not None]
            times.append(_Times(row, min(life.began for life in taken), max(ends)))
    left = [life for place, rest in lives.items() if place not in reinserted for life in rest]
    found += [f"mapping too many, from map event {life.began} on: {life.place}" for life in left]
    return times


def _judge_lives(row: Row, taken: list[_Life]) -> str | None:
    if not taken:
        return "missing mapping"
    if any(life.ended is None for life in taken):
        return "mapping without end"
    if any(life.shared != row["shared"] for life in taken):
        return "mapping of the other sharing"
    if any(life.writable != row["writable"] for life in taken):
        return "mapping of the other protection"
    return None


def _in_order(times: list[_Times], found: list[str]) -> None:
    """Begins and ends of one worker happen in the order of its steps."""
    moments: dict[int, list[tuple[int, int, str, Row]]] = defaultdict(list)
    for time in times:
        moments[time.row["worker"]] += [
            (time.row["began"], time.began, "begin", time.row),
            (time.row["ended"], time.ended, "end", time.row),
        ]
    for listed in moments.values():
        latest = -1
        for _, at, what, row in sorted(listed, key=lambda moment: moment[0]):
            if at <= latest:
                found.append(f"order: {what} of {_mapping(row)} comes too early")
            latest = max(latest, at)


def _mapping(row: Row) -> str:
    rights = ("shared" if row["shared"] else "private") + (" writable" if row["writable"] else "")
    return (
        f"line {row['i']} ({row['cause']}) pid {row['pid']} ino {row['ino']} "
        f"{row['address']:#x}+{row['length']:#x} at {row['offset']:#x}, {rights}"
    )
