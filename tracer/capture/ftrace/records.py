"""From paired rows to the records that the BPF source would have sent, filters applied."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from tracer.capture.filters import Filters
from tracer.capture.ftrace.after import After, Sealings, after, is_error
from tracer.capture.ftrace.events import call_events, fact_events
from tracer.capture.ftrace.objects import Objects
from tracer.capture.ftrace.pair import Paired, pair
from tracer.capture.ftrace.rows import Rows
from tracer.capture.ftrace.tasks import Tasks
from tracer.capture.ftrace.what import What
from tracer.capture.program import CAUSES, HOOKS
from tracer.model.record import HEAD, OBJECT
from tracer.model.words import Flag, LossCause, Op

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
        self._seq: dict[int, int] = {}
        self.lost = np.zeros((HOOKS, CAUSES), np.uint64)
        self.decided = np.zeros(HOOKS, np.uint64)
        self.dropped = np.zeros(HOOKS, np.uint64)

    @property
    def in_flight(self) -> int:
        """Calls that have begun, and not returned yet, as far as they are wanted."""
        rows = self._carried
        if rows is None:
            return 0
        rows = rows[(rows["what"] == What.ENTRY) & self._inside(rows["time_ns"])]
        who = self.tasks.who(rows["tid"], rows["time_ns"], rows[:0])
        return int(who["wanted"].sum())

    @property
    def sequence(self) -> dict[int, int]:
        """``{cpu: how many records it has}``"""
        return dict(self._seq)

    def forget_counts(self) -> None:
        """As if nothing had been sent yet."""
        self.lost[:], self.decided[:], self.dropped[:] = 0, 0, 0
        self._seq.clear()
        self.objects.forget_all()

    def make(self, ready: Rows) -> NDArray[np.void]:
        """Records (`HEAD`) of new rows, in the order of time and later than all before."""
        rows = ready if self._carried is None else np.concatenate([self._carried, ready])
        paired = pair(rows)
        carried = rows[paired.open]
        begun = carried["time_ns"][carried["what"] == What.ENTRY]
        oldest = int(begun.min()) if len(begun) else int(rows["time_ns"].max(initial=0))
        sealings = self._sealings.take(rows, paired, oldest)
        found = after(rows, paired, sealings)
        facts = rows[(rows["what"] == What.FACT) & (rows["told"] == 0)]
        carried["told"] = 1
        self._carried = carried if len(carried) else None
        doubts = self.doubts
        self.doubts = [doubt for doubt in doubts if doubt[1] >= oldest]

        exits = rows[paired.exit]
        abandoned = rows[paired.abandoned]
        who = self.tasks.who(
            np.concatenate([exits["tid"], facts["tid"], abandoned["tid"]]),
            np.concatenate([exits["time_ns"], facts["time_ns"], abandoned["time_ns"]]),
            ready,
        )
        calls, others = len(exits), len(facts)
        self._count_abandoned(abandoned, who[calls + others :])
        one = self._calls(rows, paired, found, who[:calls], doubts)
        two = self._facts(facts, who[calls : calls + others])
        records = self._in_order([one, two])
        self.objects.forget(facts["key"][facts["op"] == Op.EVICT])
        return records

    def _inside(self, times: NDArray[np.uint64]) -> NDArray[np.bool_]:
        inside: NDArray[np.bool_] = (times >= self.window.since) & (times <= self.window.until)
        return inside

    def _count_abandoned(self, rows: Rows, who: Rows) -> None:
        mine = who["wanted"] & self._inside(rows["time_ns"])
        np.add.at(self.lost[:, LossCause.NO_RETURN], rows["hook"][mine].astype(np.int64), 1)

    def _calls(
        self, rows: Rows, paired: Paired, found: After, who: Rows, doubts: list[tuple[int, int]]
    ) -> tuple[Rows, Rows, Rows]:
        """EVENT records, the rows with their objects, and the time that each is told at."""
        events, source = call_events(rows, paired, found, who, self.objects)
        begun, over = rows["time_ns"][paired.entry], rows["time_ns"][paired.exit]
        for begin, end in doubts:
            events["flags"][(begun <= end) & (over >= begin)] |= np.uint32(Flag.RETURN_MISSING)
        mine = who["wanted"] & self._inside(begun)
        refused = is_error(events["answer"])
        unwanted = self.objects.find(source["key"])[2]
        nameless = (events["op"] == Op.CREATE) & (events["ino"] == 0) & bool(self.filters.name)
        return self._pass(events, source, over, mine, refused, unwanted | nameless)

    def _facts(self, facts: Rows, who: Rows) -> tuple[Rows, Rows, Rows]:
        events = fact_events(facts, who, self.objects)
        unwanted = self.objects.find(facts["key"])[2]
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

    def _in_order(self, parts: list[tuple[Rows, Rows, Rows]]) -> NDArray[np.void]:
        """By the time at which each was over, announcements in front; numbered by CPU."""
        events, source, times = (np.concatenate([part[n] for part in parts]) for n in range(3))
        order = np.argsort(times, kind="stable")
        events, source = events[order], source[order]
        first = np.zeros(len(events), bool)
        first[np.unique(source["key"], return_index=True)[1]] = True
        gone = events["op"] == Op.EVICT
        kept = np.ones(len(events), bool)
        blocks: list[NDArray[np.void]] = []
        start = 0
        for place in np.flatnonzero((first | gone) & (source["key"] != 0)).tolist():
            key = int(source["key"][place])
            if gone[place]:
                # Of a file of which nothing was told, the end goes without a word.
                kept[place] = bool(self.objects.find(source["key"][place : place + 1])[1][0])
                if kept[place]:
                    self.decided[int(events["hook"][place])] += 1
                continue
            said = self.objects.announce(key, events[place], source[place])
            if said is not None:
                _create_flags(said, events[place])
                blocks += [events[start:place][kept[start:place]].view(HEAD), said]
                start = place
        blocks.append(events[start:][kept[start:]].view(HEAD))
        records = np.concatenate(blocks)
        self._number(records)
        return records

    def _number(self, records: NDArray[np.void]) -> None:
        for cpu in np.unique(records["cpu"]).tolist():
            mine = np.flatnonzero(records["cpu"] == cpu)
            start = self._seq.get(cpu, 0)
            records["seq"][mine] = np.arange(start, start + len(mine), dtype=np.uint64)
            self._seq[cpu] = start + len(mine)


def _create_flags(said: NDArray[np.void], event: np.void) -> None:
    if event["op"] == Op.CREATE:
        first = said[:1].view(OBJECT)
        first["create_flags_known"], first["create_flags"] = 1, event["arg"]
