"""What of guest memory is private to its guest, and what is shared with the host, over time::

    found = private.of(recording)
    found.machines()                      one row a virtual machine
    found.ranges()                        its guest-physical memory: what was what, and when
    found.files()                         the same of each guest_memfd, by where it is in it
    found.state(rows)                     of calls that reached a guest_memfd: SHARED to PRIVATE

The kernel cannot be asked (Documentation/virt/kvm/api.rst has no call that gives attributes), so
this is rebuilt from what changed it: op ``convert``. A machine that was seen to begin starts with
everything shared (kvm->mem_attr_array is empty); of an older one that array was read as the
recording began (tracer.capture.virtual_machines), and where it could not be, nothing is known
before it is converted. Whatever may have gone unseen makes things unknown, never shared: a
conversion whose range was not seen, and one that is not in the recording at all, as KVM's
conversions of a machine are numbered. While a conversion is under way, what it changes is unknown.
"""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from tracer.labels import MEMORY_ATTRIBUTE_PRIVATE
from tracer.words import Flag, Op

if TYPE_CHECKING:
    from tracer.recording.reader import Recording

Ints = npt.NDArray[np.int64]
States = npt.NDArray[np.int8]
Bools = npt.NDArray[np.bool_]

SHARED, UNKNOWN, PRIVATE = range(3)
"""From what the host may touch to what it may not."""
WORDS = ("shared", "unknown", "private")
OPS = (Op.MEMSLOT, Op.CONVERT, Op.VM_END, Op.CREATE)
"""What the state is made of."""
KEY = ["dev", "ino", "gen"]
COLUMNS = (
    "time_ns", "duration_ns", "op", "kind", *KEY, "vm", "arg", "offset", "length", "size_after",
    "check_answer", "file_answer", "checks", "answer", "flags", "pid", "comm",
)  # fmt: skip
"""Of the events, with words for op and kind."""

MACHINE = (
    "vm", "pid", "comm", "type", "memory", *reversed(WORDS), "conversions", "refused",
)  # fmt: skip
"""Of :meth:`Privacy.machines`."""
_PAGE_SHIFT = 12
_PAGES = (1 << 52) - 1
"""So many guest pages there can be (virt/kvm/kvm_main.c refuses ranges that wrap), but one."""
BEFORE, FOREVER = -(1 << 63), (1 << 63) - 1
_TAKEN = 1
_SPACE = 1 << 16
"""Numbers of memslots of further address spaces begin here (that of x86's SMM)."""
_KVM_MEM_GUEST_MEMFD = 4
MOST = 1 << 23
"""So many changes are kept, of all machines together. Whoever converts memory can make any number:
of a machine that has had its part, all is unknown from then on."""
_AT_ONCE = 1 << 22
"""So many segments are looked at in one go."""


def of(recording: "Recording", until_ns: int | None = None) -> "Privacy":
    """Of a recording, finished or as far as it goes. StoreError: it cannot be read.

    :param until_ns: what began later has not happened yet; None: all has.
    """
    from tracer.analysis import decisions as reading
    from tracer.analysis import frames

    found = frames.concat(reading.batches(recording, ops=OPS), COLUMNS)
    swept = recording.frame("mappings", list(COLUMNS))
    swept = swept[swept["op"].isin([Op.MEMSLOT.name.lower(), Op.CONVERT.name.lower()])]
    found = found if until_ns is None else found[found["time_ns"] <= until_ns]
    if not len(swept):
        return Privacy(found)
    words = {"op": str, "kind": str, "comm": str}
    both = [swept.assign(swept=True).astype(words), found[list(COLUMNS)].astype(words)]
    return Privacy(pd.concat(both, ignore_index=True))


class Machine:
    """One virtual machine's guest-physical memory: segments of pages that always went together,
    and of each what it became when."""

    def __init__(
        self, conversions: pd.DataFrame, bounds: Ints, born: bool, room: int = MOST
    ) -> None:
        """:param bounds: further pages at which segments end; ``born``: it was seen to begin;
        ``room``: for so many changes."""
        self.born = born
        order, taken_ns, done_ns = _in_order(conversions)
        some = conversions.take(order)
        begin, end = _pages(some["offset"], some["length"])
        taken = (some["checks"] == _TAKEN).to_numpy()
        number = some["check_answer"].to_numpy(np.int64)
        swept = some["swept"].to_numpy(np.bool_)
        private = (some["arg"].to_numpy(np.uint64) & np.uint64(MEMORY_ATTRIBUTE_PRIVATE)) != 0
        fine = (some["answer"] == 0).to_numpy()
        self.cuts = np.unique(
            np.concatenate([[0], begin[taken & fine], end[taken & fine], bounds]).clip(0, _PAGES)
        )
        now = np.full(len(self.cuts), SHARED if born else UNKNOWN, np.int8)
        self._changes: list[tuple[Ints, int, States]] = []
        self.used = 0
        self._tell(np.arange(len(now)), BEFORE, now.copy())
        last, last_ns = 0, BEFORE
        for place in range(len(order)):
            if self.used > room:
                self._become(now, slice(None), taken_ns[place], UNKNOWN)
                break
            if not taken[place]:  # it went through, and of what is not known
                self._become(now, slice(None), taken_ns[place], UNKNOWN)
                continue
            if number[place] != last + 1 and not swept[place]:
                self._become(now, slice(None), last_ns, UNKNOWN)
            last, last_ns = int(number[place]), int(done_ns[place])
            if not fine[place]:
                continue  # KVM reserves all that it needs before it changes anything
            where = slice(*np.searchsorted(self.cuts, [begin[place], end[place]]))
            state = PRIVATE if private[place] else SHARED
            if last_ns > taken_ns[place]:
                changing = now[where] != state
                self._become(now, where, taken_ns[place], UNKNOWN, changing)
            self._become(now, where, last_ns, state)
        self._finish()

    def _tell(self, segments: Ints, time_ns: int, states: States) -> None:
        self._changes.append((segments, int(time_ns), states))
        self.used += len(segments)

    def _become(
        self, now: States, where: slice, time_ns: int, state: int, only: Bools | None = None
    ) -> None:
        changed = now[where] != state
        if only is not None:
            changed &= only
        segments = np.flatnonzero(changed) + (where.start or 0)
        if len(segments):
            now[segments] = state
            self._tell(segments, time_ns, np.full(len(segments), state, np.int8))

    def _finish(self) -> None:
        """All changes as arrays, by segment and in it by time; of equal times the last counts."""
        segments = np.concatenate([one for one, _, _ in self._changes])
        times = np.repeat([time for _, time, _ in self._changes],
                          [len(one) for one, _, _ in self._changes])  # fmt: skip
        states = np.concatenate([one for _, _, one in self._changes])
        del self._changes
        order = np.argsort(segments, kind="stable")
        self.segments, self.states = segments[order], states[order]
        self.times = _rising(times[order], self.segments)
        self._ticks = np.unique(self.times)
        self._codes = self.segments * (len(self._ticks) + 1) + np.searchsorted(
            self._ticks, self.times
        )
        self._private = np.append(0, np.cumsum(self.states == PRIVATE))
        self._odd = np.append(0, np.cumsum(self.states != SHARED))

    def _places(self, segments: Ints, times: Ints) -> Ints:
        """Which change holds for a segment at a time."""
        tick = np.searchsorted(self._ticks, times, "right") - 1
        return np.searchsorted(self._codes, segments * (len(self._ticks) + 1) + tick, "right") - 1

    def state(self, begin: Ints, end: Ints, since_ns: Ints, until_ns: Ints) -> States:
        """For each range of pages and of times: PRIVATE, where some page of it was private all the
        time; SHARED, where all of them were shared all the time; else UNKNOWN."""
        found = np.full(len(begin), SHARED, np.int8)
        first = np.searchsorted(self.cuts, begin, "right") - 1
        counts = np.maximum(np.searchsorted(self.cuts, end, "left") - first, 0)
        ends = np.cumsum(counts)
        start = 0
        while start < len(begin):
            done = int(ends[start - 1]) if start else 0
            stop = max(start + 1, int(np.searchsorted(ends, done + _AT_ONCE, "right")))
            part = slice(start, stop)
            found[part] = self._some(first[part], counts[part], since_ns[part], until_ns[part])
            start = stop
        return found

    def _some(self, first: Ints, counts: Ints, since_ns: Ints, until_ns: Ints) -> States:
        found = np.full(len(first), SHARED, np.int8)
        there = np.flatnonzero(counts)
        if not len(there):
            return found
        counts = counts[there]
        starts = np.cumsum(counts) - counts
        segments = np.repeat(first[there] - starts, counts) + np.arange(counts.sum())
        begin = self._places(segments, np.repeat(since_ns[there], counts))
        end = self._places(segments, np.repeat(until_ns[there], counts)) + 1
        always = self._private[end] - self._private[begin] == end - begin
        odd = self._odd[end] - self._odd[begin] > 0
        found[there] = np.where(
            np.logical_or.reduceat(always, starts),
            PRIVATE,
            np.where(np.logical_or.reduceat(odd, starts), UNKNOWN, SHARED),
        )
        return found

    def rectangles(self) -> pd.DataFrame:
        """``start`` and ``end`` (pages), ``from_ns``, ``until_ns``, ``state``: each segment in each
        of its times, neighbours with the same history in one."""
        until = np.append(self.times[1:], FOREVER)
        until[np.append(np.diff(self.segments) != 0, True)] = FOREVER
        lasting = until > self.times
        found = pd.DataFrame(
            {
                "start": self.cuts[self.segments],
                "end": np.append(self.cuts[1:], _PAGES)[self.segments],
                "from_ns": self.times,
                "until_ns": until,
                "state": self.states,
            }
        )[lasting]
        return _joined(found)


def _rising(times: Ints, segments: Ints) -> Ints:
    """Never smaller than before in the same segment."""
    fine = np.append(True, (np.diff(segments) != 0) | (np.diff(times) >= 0))
    if fine.all():
        return times
    return pd.Series(times).groupby(segments).cummax().to_numpy(np.int64)


def _joined(found: pd.DataFrame) -> pd.DataFrame:
    """Neighbours with the same times and state become one."""
    same = ["from_ns", "until_ns", "state"]
    found = found.sort_values([*same, "start"], kind="stable")
    new = np.ones(len(found), bool)
    new[1:] = (np.diff(found[same].to_numpy(np.int64), axis=0) != 0).any(axis=1)
    new[1:] |= found["start"].to_numpy()[1:] != found["end"].to_numpy()[:-1]
    ends = found["end"].groupby(np.cumsum(new)).max().to_numpy()
    found = found[new].assign(end=ends)
    return found.sort_values(["start", "from_ns"], kind="stable", ignore_index=True)


def _pages(begin: "pd.Series[int]", length: "pd.Series[int]") -> tuple[Ints, Ints]:
    """From which page to which; beyond what can be addressed there is nothing."""
    first = begin.to_numpy().astype(np.int64).view(np.uint64) >> np.uint64(_PAGE_SHIFT)
    count = length.to_numpy(np.uint64) >> np.uint64(_PAGE_SHIFT)
    first, end = first.astype(np.int64), (first + count).astype(np.int64)
    return first.clip(0, _PAGES), end.clip(0, _PAGES)


def _in_order(rows: pd.DataFrame) -> tuple[Ints, Ints, Ints]:
    """Places of the conversions that KVM took, in the order in which it did, and of those that went
    through unseen; and for each from when to when it worked on it."""
    taken = np.flatnonzero((rows["checks"] == _TAKEN).to_numpy())
    numbers = rows["check_answer"].to_numpy(np.int64)[taken]
    taken = taken[np.argsort(numbers, kind="stable")]
    when = np.maximum.accumulate(rows["size_after"].to_numpy(np.int64)[taken])
    unseen = np.flatnonzero(
        ((rows["checks"] != _TAKEN) & ((rows["answer"] == 0) | _unanswered(rows))).to_numpy()
    )
    places = np.concatenate([taken, unseen]).astype(np.int64)
    start = np.concatenate([when, rows["time_ns"].to_numpy(np.int64)[unseen]])
    order = np.argsort(start, kind="stable")
    places, start = places[order], start[order]
    end = _end_ns(rows).to_numpy(np.int64)[places]
    # The next one is not taken before this one is done: both hold kvm->slots_lock.
    if len(start) > 1:
        end[:-1] = np.minimum(end[:-1], start[1:])
    return places, start, np.maximum(end, start)


def _unanswered(rows: pd.DataFrame) -> "pd.Series[bool]":
    return (rows["flags"].astype(np.int64) & int(Flag.RETURN_MISSING)) != 0


def _end_ns(rows: pd.DataFrame) -> "pd.Series[int]":
    return rows["time_ns"].astype(np.int64) + rows["duration_ns"].astype(np.int64).clip(lower=0)


class Slot(NamedTuple):
    """A memslot while it is there, as a row of :attr:`Privacy.slots`."""

    vm: int
    slot: int
    start: int
    end: int
    dev: int
    ino: int
    gen: int
    at: int
    gmem: bool
    set_ns: int
    since_ns: int
    until_ns: int
    gone_ns: int
    pid: int
    address: int


class Privacy:
    """The state of all virtual machines of a recording, over time."""

    def __init__(self, events: pd.DataFrame) -> None:
        """:param events: rows of :data:`OPS` with :data:`COLUMNS`, in any order. ``swept``, where
        it is there: what was so when the recording began, as conversions and memslots."""
        if "swept" in events:
            events = events.assign(swept=events["swept"].eq(True))
        else:
            events = events.assign(swept=False)
        rows = events.sort_values("time_ns", kind="stable", ignore_index=True)
        op = rows["op"].astype(str)
        asked = rows[op == "convert"]
        # Converted in place, of which the range is the caller's word alone.
        in_place = asked[(asked["ino"] != 0) & ((asked["answer"] == 0) | _unanswered(asked))]
        self._in_place = in_place.groupby(KEY)["time_ns"].min().to_dict()
        self._conversions = asked[asked["ino"] == 0]
        self._memslots = rows[op == "memslot"]
        made = rows[(op == "create") & (rows["kind"].astype(str) == "guest_memfd")]
        made = made[made["answer"].astype(np.int64) >= 0]
        self._made = set(made[KEY].itertuples(index=False, name=None))
        self.last_ns = int(_end_ns(rows).max()) if len(rows) else 0
        self.slots = _slots(self._memslots, rows[op == "vm_end"])
        """Memslots, each while it is there: pages ``start`` to ``end``, and where it has one, its
        guest_memfd and from which page of it on (``at``); ``address``: where the VMM (``pid``) has
        what is shared, 0: nowhere."""
        self._nameless = self.slots[self.slots["gmem"] & (self.slots["ino"] == 0)]
        self._machines: dict[int, Machine] = {}
        self._told: dict[int, pd.DataFrame] = {}
        self._odd = (-1, -1), pd.DataFrame()
        numbers = pd.concat([self._conversions["vm"], self.slots["vm"]]).astype(np.int64)
        room, found = MOST, sorted(numbers.unique().tolist())
        for place, vm in enumerate(found):
            self._machines[vm] = self._machine(vm, room // (len(found) - place))
            room -= min(room, self._machines[vm].used)

    def _machine(self, vm: int, room: int) -> Machine:
        mine = self._conversions[self._conversions["vm"] == vm]
        slots = self.slots[self.slots["vm"] == vm]
        of_slots = self._memslots["vm"] == vm
        told = pd.concat([mine["file_answer"], self._memslots.loc[of_slots, "file_answer"]])
        bounds = np.concatenate([slots["start"], slots["end"]]).astype(np.int64)
        # Number 0 stands for all that there was no room to number.
        return Machine(mine if vm else mine[:0], bounds, bool(vm and (told > 0).any()), room)

    # ---- what a call reached

    def state(
        self, rows: pd.DataFrame, since_ns: Ints | None = None, until_ns: Ints | None = None
    ) -> States:
        """What each row (``dev``, ``ino``, ``gen``, ``offset``, ``length``) had before it when it
        happened: PRIVATE, where some page was private all the while; SHARED, where none was or may
        have been; else UNKNOWN.

        :param since_ns: with ``until_ns`` when it happened, instead of from entry to return.
        """
        begin = rows["offset"].to_numpy(np.int64) >> _PAGE_SHIFT
        length = rows["length"].to_numpy(np.uint64).clip(0, 1 << 62).astype(np.int64)
        end = (rows["offset"].to_numpy(np.int64) + length - 1 >> _PAGE_SHIFT) + 1
        since = rows["time_ns"].to_numpy(np.int64) if since_ns is None else since_ns
        until = _end_ns(rows).to_numpy(np.int64) if until_ns is None else until_ns
        found = np.full(len(rows), SHARED, np.int8)
        for key, places in rows.groupby(KEY, sort=False).indices.items():
            some = np.asarray(places)
            dev, ino, gen = (int(part) for part in key)  # type: ignore[attr-defined]
            found[some] = self._of_file(
                (dev, ino, gen), begin[some], end[some], since[some], until[some]
            )
        return found

    def _of_file(
        self, key: tuple[int, int, int], begin: Ints, end: Ints, since: Ints, until: Ints
    ) -> States:
        found = np.full(len(begin), SHARED, np.int8)
        mine = self._slots_of(key)
        placed = np.full(len(begin), key in self._made)
        for slot in mine:
            last = slot.at + slot.end - slot.start
            there = (begin < last) & (end > slot.at)
            near = np.flatnonzero(there & (until >= slot.set_ns) & (since <= slot.gone_ns))
            if len(near):
                shift = slot.start - slot.at
                state = self._machines[slot.vm].state(
                    np.maximum(begin[near], slot.at) + shift,
                    np.minimum(end[near], last) + shift,
                    np.maximum(since[near], slot.set_ns),
                    np.minimum(until[near], slot.gone_ns),
                )
                # At the very moment at which it began to go it may have gone.
                sure = (since[near] >= slot.since_ns) & (until[near] < slot.until_ns)
                state[~sure] = np.minimum(state[~sure], UNKNOWN)
                # Of an older file it is known by now where it is.
                placed[near[sure & _covers(slot, begin[near], end[near])]] = True
                found[near] = np.maximum(found[near], state)
            if slot.gone_ns < FOREVER:
                # What was private stays in the file; who may have it is not KVM's to say.
                ghost = there & (until >= slot.until_ns) & (since < self._again(mine, slot))
                if ghost.any() and self._was_odd(slot):
                    found[ghost] = np.maximum(found[ghost], UNKNOWN)
        if len(self._nameless):
            maybe = until >= self._nameless["set_ns"].min()
            found[maybe] = np.maximum(found[maybe], UNKNOWN)
        if key in self._in_place:
            maybe = until >= self._in_place[key]
            found[maybe] = np.maximum(found[maybe], UNKNOWN)
        found[~placed] = np.maximum(found[~placed], UNKNOWN)
        return found

    def _slots_of(self, key: tuple[int, int, int]) -> list[Slot]:
        if not hasattr(self, "_by_file"):
            gmem = self.slots[self.slots["gmem"] & (self.slots["ino"] != 0)]
            self._by_file: dict[tuple[int, int, int], list[Slot]] = {}
            for row in gmem.itertuples(index=False, name=None):
                slot = Slot._make(row)
                self._by_file.setdefault((slot.dev, slot.ino, slot.gen), []).append(slot)
        return self._by_file.get(key, [])

    @staticmethod
    def _again(mine: list[Slot], gone: Slot) -> int:
        """When another memslot has all of that part of the file."""
        pages = gone.end - gone.start
        return min(
            (
                one.since_ns
                for one in mine
                if one.since_ns >= gone.gone_ns
                and one.at <= gone.at
                and one.at + one.end - one.start >= gone.at + pages
            ),
            default=FOREVER,
        )

    def _was_odd(self, slot: Slot) -> bool:
        """Some of it was private, or may have been, at some time."""
        one = np.ones(1, np.int64)
        state = self._machines[slot.vm].state(
            one * slot.start, one * slot.end, one * slot.set_ns, one * slot.gone_ns
        )
        return bool(state[0] != SHARED)

    # ---- tables

    def ranges(self) -> pd.DataFrame:
        """One row a range of a machine's guest-physical memory and a time in which it was in one
        state: ``vm``, ``start`` and ``end`` (bytes), ``from_ns`` and ``until_ns`` (boot clock),
        ``state``. What was never anything else but shared is there, too."""
        pieces = [self.rectangles(vm).assign(vm=vm) for vm in self._machines] or [
            Machine(self._conversions, np.empty(0, np.int64), True).rectangles()[:0].assign(vm=0)
        ]
        return _shown(pd.concat(pieces, ignore_index=True), ["vm"])

    def files(self) -> pd.DataFrame:
        """The same for each guest_memfd, while it is in a memslot: ``dev``, ``ino``, ``gen``, and
        ``start`` and ``end`` in the file; with its ``vm``."""
        pieces = []
        for slots in self._all_files():
            for slot in slots:
                found = self.rectangles(slot.vm)
                found = found[
                    (found["start"] < slot.end) & (found["end"] > slot.start)
                    & (found["from_ns"] < slot.until_ns) & (found["until_ns"] > slot.set_ns)
                ]  # fmt: skip
                shift = slot.at - slot.start
                pieces.append(
                    found.assign(
                        start=found["start"].clip(slot.start, slot.end) + shift,
                        end=found["end"].clip(slot.start, slot.end) + shift,
                        from_ns=found["from_ns"].clip(lower=slot.set_ns),
                        until_ns=found["until_ns"].clip(upper=slot.until_ns),
                        vm=slot.vm,
                        dev=slot.dev,
                        ino=slot.ino,
                        gen=slot.gen,
                    )
                )
        if not pieces:
            pieces = [self.ranges()[:0].assign(dev=0, ino=0, gen=0)]
        return _shown(pd.concat(pieces, ignore_index=True), [*KEY, "vm"])

    def _all_files(self) -> Iterator[list[Slot]]:
        self._slots_of((0, 0, 0))
        yield from self._by_file.values()

    def machines(self, at_ns: int | None = None) -> pd.DataFrame:
        """One row a virtual machine: ``vm``, ``pid`` and ``comm`` of who was seen with it first,
        ``type`` (as KVM_CREATE_VM was given it; -1: it is older than the recording), ``memory``,
        ``private``, ``shared`` and ``unknown`` (bytes in its memslots at ``at_ns``, by default when
        the last of them changed), ``conversions`` that KVM carried out, and ``refused``."""
        told = pd.concat([self._memslots, self._conversions]).sort_values("time_ns", kind="stable")
        rows = []
        for vm, one in self._machines.items():
            mine = told[told["vm"] == vm]
            asked = mine[(mine["op"].astype(str) == "convert") & ~mine["swept"]]
            slots = self.memory(vm)
            when = self.last_of(slots) if at_ns is None else at_ns
            there = slots[(slots["set_ns"] <= when) & (slots["gone_ns"] > when)]
            rows.append(
                {
                    "vm": vm,
                    "pid": int(mine["pid"].iloc[0]),
                    "comm": str(mine["comm"].iloc[0]),
                    "type": int(mine["file_answer"].max()) - 1,
                    **_bytes(one, there, when),
                    "conversions": int((asked["answer"] == 0).sum()),
                    "refused": int((asked["answer"] < 0).sum()),
                }
            )
        return pd.DataFrame(rows, columns=list(MACHINE))

    def second_places(self) -> pd.DataFrame:
        """The memslots of :meth:`machines` that have both a guest_memfd and an address at which
        their shared memory is."""
        pieces = [self.slots[:0]]
        for vm in self._machines:
            slots = self.there(vm)
            pieces.append(slots[slots["gmem"] & (slots["address"] != 0)])
        return pd.concat(pieces, ignore_index=True)

    def there(self, vm: int) -> pd.DataFrame:
        """The memslots of :meth:`memory` at the last moment at which there was one."""
        slots = self.memory(vm)
        when = self.last_of(slots)
        return slots[(slots["set_ns"] <= when) & (slots["gone_ns"] > when)]

    def odd_pages(self, vm: int, start: int, end: int, at_ns: int) -> pd.DataFrame:
        """Pages of a machine from ``start`` to ``end`` that were not known to be shared then:
        ``start``, ``end``, ``state``, and ``from_ns``, since when."""
        if self._odd[0] != (vm, at_ns):
            found = self.rectangles(vm)
            then = (found["from_ns"] <= at_ns) & (found["until_ns"] > at_ns)
            # At one moment no two of them overlap: by their start is by their end.
            self._odd = (vm, at_ns), found[(found["state"] != SHARED) & then]
        _, found = self._odd
        first = int(np.searchsorted(found["end"], start, "right"))
        found = found.iloc[first : int(np.searchsorted(found["start"], end, "left"))]
        ends = {"start": found["start"].clip(lower=start), "end": found["end"].clip(upper=end)}
        return found.assign(**ends)

    def rectangles(self, vm: int) -> pd.DataFrame:
        """Of one machine (:meth:`Machine.rectangles`)."""
        if vm not in self._told:
            self._told[vm] = self._machines[vm].rectangles()
        return self._told[vm]

    def memory(self, vm: int) -> pd.DataFrame:
        """The memslots of a machine's first address space."""
        return self.slots[(self.slots["vm"] == vm) & (self.slots["slot"] < _SPACE)]

    def last_of(self, slots: pd.DataFrame) -> int:
        """The last moment at which there was a memslot."""
        gone = slots["gone_ns"].max() if len(slots) else self.last_ns
        return min(int(gone) - 1, self.last_ns)


def _covers(slot: Slot, begin: Ints, end: Ints) -> Bools:
    covered: Bools = (begin >= slot.at) & (end <= slot.at + slot.end - slot.start)
    return covered


def _bytes(machine: Machine, slots: pd.DataFrame, at_ns: int) -> Mapping[str, int]:
    """How much of the memslots is what; guest-physical memory is counted once."""
    cuts = np.append(machine.cuts, _PAGES)
    inside = np.zeros(len(cuts), np.int64)
    np.add.at(inside, np.searchsorted(cuts, slots["start"]), 1)
    np.add.at(inside, np.searchsorted(cuts, slots["end"]), -1)
    there = np.cumsum(inside)[:-1] > 0
    segments = np.flatnonzero(there)
    places = machine._places(segments, np.full(len(segments), at_ns, np.int64))
    sizes = (cuts[1:] - cuts[:-1])[segments] << _PAGE_SHIFT
    states = machine.states[places]
    found = {word: int(sizes[states == state].sum()) for state, word in enumerate(WORDS)}
    return {"memory": int(sizes.sum()), **found}


def _slots(rows: pd.DataFrame, ends: pd.DataFrame) -> pd.DataFrame:
    """Memslots from when they were set until the next call for the same number, or the VM's end."""
    fine = rows[(rows["answer"] == 0) | _unanswered(rows)]
    fine = fine.sort_values(["vm", "check_answer", "time_ns"], kind="stable")
    key = fine[["vm", "check_answer"]].to_numpy(np.int64)
    time, done = fine["time_ns"].to_numpy(np.int64), _end_ns(fine).to_numpy(np.int64)
    until = np.full(len(fine), FOREVER, np.int64)
    gone = until.copy()
    if len(fine) > 1:
        same = (key[1:] == key[:-1]).all(axis=1) & (key[1:, 0] != 0)
        until[:-1][same], gone[:-1][same] = time[1:][same], done[1:][same]
    last = ends.groupby("vm")["time_ns"].min()
    ended = last.astype(np.int64).reindex(key[:, 0], fill_value=FOREVER).to_numpy()
    begin, end = _pages(fine["arg"].astype(np.uint64).astype(np.int64), fine["length"])
    flags = fine["checks"].to_numpy(np.int64)
    sure = ~_unanswered(fine).to_numpy()
    found = pd.DataFrame(
        {
            "vm": key[:, 0],
            "slot": key[:, 1],
            "start": begin,
            "end": end,
            **{name: fine[name].to_numpy(np.int64) for name in KEY},
            "at": fine["offset"].to_numpy(np.int64) >> _PAGE_SHIFT,
            "gmem": flags & _KVM_MEM_GUEST_MEMFD != 0,
            "set_ns": time,
            "since_ns": np.where(sure, done, FOREVER),
            "until_ns": np.minimum(until, ended),
            "gone_ns": np.minimum(gone, ended),
            "pid": fine["pid"].to_numpy(np.int64),
            "address": fine["size_after"].astype(np.uint64).to_numpy().view(np.int64),
        }
    )
    return found[found["end"] > found["start"]].reset_index(drop=True)


def _shown(found: pd.DataFrame, first: list[str]) -> pd.DataFrame:
    """Bytes, and words."""
    bytes_ = {
        name: found[name].to_numpy().astype(np.uint64) << np.uint64(_PAGE_SHIFT)
        for name in ("start", "end")
    }
    words = pd.Categorical.from_codes(found["state"].to_numpy(np.intp), pd.Index(WORDS))
    found = found.assign(**bytes_, state=words)
    names = [*first, "start", "end", "from_ns", "until_ns", "state"]
    return found[names].sort_values(names[:-1], kind="stable", ignore_index=True)
