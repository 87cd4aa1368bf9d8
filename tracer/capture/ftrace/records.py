"""From paired rows to the records that the BPF source would have sent, filters applied.

Objects by key, with whether each was announced; EVENT records, field by field as bpf/calls.h and
bpf/hooks.h fill them.
"""

import errno
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from tracer.capture.bpf_source import CAUSES, HOOKS, Filters
from tracer.capture.ftrace.calls import NOWHERE, After, Paired, Sealings, after, is_error, pair
from tracer.capture.ftrace.execs import Executions, Over, state_after
from tracer.capture.ftrace.pages import Rows, What
from tracer.capture.ftrace.tasks import Tasks
from tracer.capture.ledger import name_records
from tracer.capture.ring import Records
from tracer.record import EVENT, HEAD, NO_SYSCALL, OBJECT, RecordType
from tracer.words import Flag, Hook, Kind, LossCause, Op

_LONGEST_NAME = 255
_MEMFD = b"memfd:"
_SHMEM = (Kind.MEMFD, Kind.TMPFS)


@dataclass(slots=True)
class Object:
    name: bytes
    uid: int
    gid: int
    mapping_flags: int
    is_memfd: bool
    unwanted: bool
    """The name filter turns it away."""
    announced: bool = False
    followed: bool = False
    """One of the command's processes had to do with it: what others do to it is recorded too."""


class Objects:
    """All that was seen and still lives. ``prefix``: what wanted names begin with."""

    def __init__(self, prefix: bytes) -> None:
        self._prefix = prefix
        self._known: dict[int, Object] = {}

    def learn(self, seen: Rows) -> None:
        """``seen``: `tracer.capture.ftrace.decode.SEEN`."""
        for row in seen:
            key = int(row["key"])
            if key in self._known:
                continue
            name = bytes(row["name"]).split(b"\0", 1)[0][:_LONGEST_NAME]
            is_memfd = bool(row["is_memfd"])
            given = name.removeprefix(_MEMFD) if is_memfd else name
            self._known[key] = Object(
                name,
                int(row["uid"]),
                int(row["gid"]),
                int(row["mapping_flags"]),
                is_memfd,
                not given.startswith(self._prefix),
            )

    def forget_all(self) -> None:
        self._known.clear()

    def forget(self, keys: NDArray[np.uint64]) -> None:
        for key in keys.tolist():
            self._known.pop(key, None)

    def follow(self, key: int) -> None:
        """From now on, until it is forgotten."""
        if key in self._known:
            self._known[key].followed = True

    def follows(self, key: int) -> bool:
        return key in self._known and self._known[key].followed

    def find(self, keys: NDArray[np.uint64]) -> tuple[NDArray[np.bool_], ...]:
        """Of each key: whether it is a memfd, was announced, is unwanted."""
        different, which = np.unique(keys, return_inverse=True)
        facts = np.zeros((len(different), 3), bool)
        for place, key in enumerate(different.tolist()):
            one = self._known.get(key)
            if one is not None:
                facts[place] = one.is_memfd, one.announced, one.unwanted
        return tuple(facts[which].T) if len(keys) else (np.zeros(0, bool),) * 3

    def announce(self, key: int, event: np.void, row: np.void) -> Rows | None:
        """OBJECT and NAME records in front of an object's first event, None: there are some.

        ``event``: that EVENT record; ``row``: the row that it was made from.
        """
        one = self._known.get(key)
        if one is None or one.announced:
            return None
        one.announced = True
        head = np.zeros(1, OBJECT)
        for name in ("time_ns", "ino", "dev", "gen", "cpu", "op", "hook", "kind", "seals",
                     "pid", "tid", "uid", "comm", "cgroup", "size", "mode"):  # fmt: skip
            head[name] = event[name]
        head["type"], head["nr"] = RecordType.OBJECT, NO_SYSCALL
        head["mode"], head["size"] = row["mode"], row["size"]
        head["owner_uid"], head["owner_gid"] = one.uid, one.gid
        head["mapping_flags"] = one.mapping_flags
        head["name_len"] = len(one.name)
        names = name_records(one.name, head[0])
        return np.frombuffer(bytearray(head.tobytes() + names.tobytes()), HEAD)


_WITH_DETAILS = (Hook.MMAP, Hook.SETATTR, Hook.SEALS, Hook.CREATE)
"""Whose events have the inode's mode and count of writable mappings (bpf/hooks.h)."""
_READ_WRITE = 3


def call_events(
    rows: Rows, paired: Paired, found: After, who: Rows, objects: Objects
) -> tuple[Rows, Rows]:
    """Events of finished calls, and rows with the objects that they are about."""
    entries, exits = rows[paired.entry], rows[paired.exit]
    made = entries["op"] == Op.CREATE
    source = entries.copy()
    answer = exits["ret"]
    placed = made & (paired.install != NOWHERE) & (answer >= 0)
    install = rows[paired.install[placed]]
    for name in ("key", "inode", "ino", "dev", "gen", "kind", "seals", "size", "mode"):
        source[name][placed] = install[name]
    events = _events(source, who, objects)
    events["cpu"], events["nr"], events["flags"] = exits["cpu"], source["nr"], found.flags
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
    _bind(events, source, answer)
    _finish_creates(events, made, placed, exits)
    return events, source


def exec_events(over: Over, found: After, objects: Objects) -> Rows:
    """Events of executions (bpf/exec.h:exec_record); the address space that it got is not told."""
    files, exits = over.files, over.exits
    events = _events(files, over.who, objects)
    answer = exits["ret"]
    for name in ("nr", "mode", "writable", "fmode"):
        events[name] = files[name]
    events["cpu"], events["flags"] = exits["cpu"], found.flags
    events["answer"], events["duration_ns"] = answer, exits["time_ns"] - files["time_ns"]
    events["size_after"], events["seals_after"] = found.size, found.seals
    _bind(events, files, answer)
    return events


def _bind(events: Rows, source: Rows, answer: NDArray[np.int64]) -> None:
    """What of the file's flags explains a refusal (bpf/kernel.h:inode_flags)."""
    refused = np.isin(answer, (-errno.EPERM, -errno.EACCES))
    flags = source["bound"][refused]
    # Of other files something else stood where shmem has its flags.
    flags[~np.isin(events["kind"][refused], _SHMEM)] &= ~np.uint32(Flag.FROZEN)
    events["flags"][refused] |= flags


def fact_events(facts: Rows, who: Rows, objects: Objects) -> Rows:
    """Events of what has no return: map, unmap, evict, convert."""
    events = _events(facts, who, objects)
    for name in ("cpu", "offset", "mm", "writable", "flags"):
        events[name] = facts[name]
    events["nr"], events["answer"] = NO_SYSCALL, facts["ret"]
    events["size_after"], events["seals_after"] = facts["size"], facts["seals"]
    return events


def _events(source: Rows, who: Rows, objects: Objects) -> Rows:
    """EVENT records with what all of them take from their rows."""
    events = np.zeros(len(source), EVENT)
    events["type"] = RecordType.EVENT
    for name in ("time_ns", "ino", "dev", "gen", "op", "hook", "seals", "tid", "comm",
                 "fd", "size", "length", "arg"):  # fmt: skip
        events[name] = source[name]
    for name in ("pid", "uid", "cgroup", "start_ns", "exec_id"):
        events[name] = who[name]
    memfd = (source["kind"] == Kind.TMPFS) & objects.find(source["key"])[0]
    events["kind"] = np.where(memfd, Kind.MEMFD, source["kind"])
    return events


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


_EVER = 2**64 - 1


@dataclass
class Window:
    """When what happens is told: from ``since`` on; calls that begin after ``until`` are not."""

    since: int = _EVER
    until: int = _EVER


@dataclass
class Maker:
    """Makes records batch by batch; remembers what is still open."""

    filters: Filters
    tasks: Tasks
    objects: Objects
    window: Window = field(default_factory=Window)
    doubts: list[tuple[int, int]] = field(default_factory=list)
    """Times (ns) in which the kernel dropped events: returns may be others' there."""

    def __post_init__(self) -> None:
        self._carried: Rows | None = None
        self._sealings = Sealings()
        self._executions = Executions()
        self._seq: dict[int, int] = {}
        self.lost = np.zeros((HOOKS, CAUSES), np.uint64)
        self.decided = np.zeros(HOOKS, np.uint64)
        self.dropped = np.zeros(HOOKS, np.uint64)

    @property
    def in_flight(self) -> int:
        """Calls that have begun, and not returned yet, as far as they are wanted."""
        executions = int(self._inside(self._executions.wanted_since).sum())
        rows = self._carried
        if rows is None:
            return executions
        rows = rows[(rows["what"] == What.ENTRY) & self._inside(rows["time_ns"])]
        who = self.tasks.who(rows["tid"], rows["time_ns"], rows[:0])
        return int(who["wanted"].sum()) + executions

    @property
    def sequence(self) -> dict[int, int]:
        """``{cpu: how many records it has}``"""
        return dict(self._seq)

    def forget_counts(self) -> None:
        """As if nothing had been sent yet."""
        self.lost[:], self.decided[:], self.dropped[:] = 0, 0, 0
        self._seq.clear()
        self.objects.forget_all()

    def make(self, ready: Rows) -> Records:
        """Records (`HEAD`) of new rows, in the order of time and later than all before."""
        rows = ready if self._carried is None else np.concatenate([self._carried, ready])
        paired = pair(rows)
        carried = rows[paired.open]
        begun = carried["time_ns"][carried["what"] == What.ENTRY]
        oldest = int(begun.min()) if len(begun) else int(rows["time_ns"].max(initial=0))
        oldest = min(oldest, self._executions.begun_ns or oldest)
        execs = self._executions.rows(ready)
        sealings = self._sealings.take(rows, paired, oldest)
        found = after(rows, paired, sealings)
        facts = rows[(rows["what"] == What.FACT) & (rows["recorded"] == 0)]
        carried["recorded"] = 1
        self._carried = carried if len(carried) else None
        doubts = self.doubts
        self.doubts = [doubt for doubt in doubts if doubt[1] >= oldest]

        exits = rows[paired.exit]
        abandoned = rows[paired.abandoned]
        times = np.concatenate([one["time_ns"] for one in (exits, facts, abandoned, execs)])
        who = self.tasks.who(
            np.concatenate([one["tid"] for one in (exits, facts, abandoned, execs)]), times, ready
        )
        calls, others, executed = len(exits), len(facts), len(who) - len(execs)
        events, source = call_events(rows, paired, found, who[:calls], self.objects)
        self._follow(np.concatenate([source, facts, abandoned, execs]), times, who)
        self._count_abandoned(abandoned, who[calls + others : executed])
        one = self._calls(rows, paired, events, source, who[:calls], doubts)
        two = self._facts(facts, who[calls : calls + others])
        three = self._executed(execs, who[executed:], sealings, doubts)
        records = self._in_order([one, two, three])
        self.objects.forget(facts["key"][facts["op"] == Op.EVICT])
        return records

    def _follow(self, rows: Rows, times: NDArray[np.uint64], who: Rows) -> None:
        """Adds to ``wanted`` what others did to followed files; of --file nothing else is left.

        A command's file is followed from the first time on that one of its processes had to do
        with it.
        """
        if self.tasks.test is not None:
            return
        if self.filters.files:
            shown = (
                f"{row['dev'] >> 20}:{row['dev'] & 0xFFFFF}/{row['ino']}/{row['gen']}"
                for row in rows[["dev", "ino", "gen"]]
            )
            who["wanted"] &= np.fromiter((one in self.filters.files for one in shown), bool)
        if self.filters.follow_command:
            own = np.flatnonzero(who["wanted"])
            own = own[np.argsort(times[own], kind="stable")]
            keys, first = np.unique(rows["key"][own], return_index=True)
            since = dict(zip(keys.tolist(), times[own][first].tolist(), strict=True))
            rest = np.flatnonzero(who["others"] & ~who["wanted"] & (rows["key"] != 0))
            keys, which = np.unique(rows["key"][rest], return_inverse=True)
            from_ns = [
                0 if self.objects.follows(key) else since.get(key, _EVER) for key in keys.tolist()
            ]
            who["wanted"][rest] = times[rest] >= np.array(from_ns, np.uint64)[which]
            for key in since:
                self.objects.follow(key)

    def _inside(self, times: NDArray[np.uint64]) -> NDArray[np.bool_]:
        inside: NDArray[np.bool_] = (times >= self.window.since) & (times <= self.window.until)
        return inside

    def _count_abandoned(self, rows: Rows, who: Rows) -> None:
        mine = who["wanted"] & self._inside(rows["time_ns"])
        np.add.at(self.lost[:, LossCause.NO_RETURN], rows["hook"][mine].astype(np.int64), 1)

    def _calls(
        self,
        rows: Rows,
        paired: Paired,
        events: Rows,
        source: Rows,
        who: Rows,
        doubts: list[tuple[int, int]],
    ) -> tuple[Rows, Rows, Rows]:
        """EVENT records, the rows with their objects, and the time that each is told at."""
        begun, over = rows["time_ns"][paired.entry], rows["time_ns"][paired.exit]
        _mark(events, begun, over, doubts)
        mine = who["wanted"] & self._inside(begun)
        refused = is_error(events["answer"])
        unwanted = self.objects.find(source["key"])[2]
        nameless = (events["op"] == Op.CREATE) & (events["ino"] == 0) & bool(self.filters.name)
        return self._pass(events, source, over, mine, refused, unwanted | nameless)

    def _executed(
        self, rows: Rows, who: Rows, sealings: Rows, doubts: list[tuple[int, int]]
    ) -> tuple[Rows, Rows, Rows]:
        over, lost = self._executions.take(rows, who)
        self._count_abandoned(*lost)
        events = exec_events(over, state_after(over, sealings), self.objects)
        begun, ended = over.files["time_ns"], over.exits["time_ns"]
        _mark(events, begun, ended, doubts)
        mine = over.who["wanted"] & self._inside(begun)
        unwanted = self.objects.find(over.files["key"])[2]
        refused = is_error(events["answer"])
        return self._pass(events, over.files, ended, mine, refused, unwanted)

    def _facts(self, facts: Rows, who: Rows) -> tuple[Rows, Rows, Rows]:
        events = fact_events(facts, who, self.objects)
        unwanted = self.objects.find(facts["key"])[2]
        unwanted |= (facts["op"] == Op.CONVERT) & bool(self.filters.name)  # of no file
        gone = facts["op"] == Op.EVICT
        # Whoever ends a file's life, it is the end of what was recorded of it.
        mine = who["wanted"] | (gone & (self.tasks.test is None))
        mine &= self._inside(facts["time_ns"]) & ~(gone & unwanted)
        if self.filters.denied:
            mine &= gone
        return self._pass(events, facts, facts["time_ns"], mine, gone, unwanted)

    def _pass(
        self,
        events: Rows,
        source: Rows,
        times: NDArray[np.uint64],
        mine: NDArray[np.bool_],
        refused: NDArray[np.bool_],
        unwanted: NDArray[np.bool_],
    ) -> tuple[Rows, Rows, Rows]:
        """Counts and keeps what the filters let through; nothing is turned away for a self-test."""
        wanted = self.filters.seals if self.tasks.test is None else 0
        gone = events["op"] == Op.EVICT
        kept = ((events["seals"] | events["seals_after"]) & wanted == wanted) | gone
        kept &= ~unwanted
        if self.filters.denied:
            kept &= refused
        hooks = events["hook"].astype(np.int64)
        np.add.at(self.decided, hooks[mine & ~gone], 1)
        np.add.at(self.dropped, hooks[mine & ~gone & ~kept], 1)
        chosen = mine & kept
        return events[chosen], source[chosen], times[chosen]

    def _in_order(self, parts: list[tuple[Rows, Rows, Rows]]) -> Records:
        """By the time at which each was over, announcements in front; numbered by CPU."""
        events, source, times = (np.concatenate([part[n] for part in parts]) for n in range(3))
        order = np.argsort(times, kind="stable")
        events, source = events[order], source[order]
        first = np.zeros(len(events), bool)
        first[np.unique(source["key"], return_index=True)[1]] = True
        gone = events["op"] == Op.EVICT
        kept = np.ones(len(events), bool)
        blocks: list[Records] = []
        start = 0
        for place in np.flatnonzero((first | gone) & (source["key"] != 0)).tolist():
            key = int(source["key"][place])
            if gone[place]:
                # The end of a file of which nothing was recorded is dropped silently.
                kept[place] = bool(self.objects.find(source["key"][place : place + 1])[1][0])
                if kept[place]:
                    self.decided[int(events["hook"][place])] += 1
                continue
            announcement = self.objects.announce(key, events[place], source[place])
            if announcement is not None:
                _create_flags(announcement, events[place])
                blocks += [events[start:place][kept[start:place]].view(HEAD), announcement]
                start = place
        blocks.append(events[start:][kept[start:]].view(HEAD))
        records = np.concatenate(blocks)
        self._number(records)
        return records

    def _number(self, records: Records) -> None:
        for cpu in np.unique(records["cpu"]).tolist():
            mine = np.flatnonzero(records["cpu"] == cpu)
            start = self._seq.get(cpu, 0)
            records["seq"][mine] = np.arange(start, start + len(mine), dtype=np.uint64)
            self._seq[cpu] = start + len(mine)


def _mark(
    events: Rows,
    begun: NDArray[np.uint64],
    over: NDArray[np.uint64],
    doubts: list[tuple[int, int]],
) -> None:
    """Those of a time in which the kernel dropped events: their return may be another's."""
    for begin, end in doubts:
        events["flags"][(begun <= end) & (over >= begin)] |= np.uint32(Flag.RETURN_MISSING)


def _create_flags(announcement: Records, event: np.void) -> None:
    if event["op"] == Op.CREATE:
        first = announcement[:1].view(OBJECT)
        first["create_flags_known"], first["create_flags"] = 1, event["arg"]
