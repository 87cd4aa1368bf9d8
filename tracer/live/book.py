"""Everything that was read of a recording so far: sums, history, alerts, what to jump to."""

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tracer.analysis import decisions
from tracer.analysis.batches import Batch, Source, Vocabulary
from tracer.analysis.decisions import Decisions, Judged
from tracer.analysis.sums import Steps
from tracer.live import cells
from tracer.live.log import Log, Pager, readable
from tracer.live.snapshot import HISTORY, Alert, Now, OnAlert, Verdicts, of_columns
from tracer.live.wording import sentence
from tracer.output.coverage import NO_EVENT, modules_that_came
from tracer.recording.follow import MISSING
from tracer.recording.format import TABLES
from tracer.recording.reader import Recording
from tracer.rules.verdicts import Verdict
from tracer.stacks.recorded import TABLES as STACKS
from tracer.walltime import WallClock

Numbers = npt.NDArray[np.int64]
INDEXED = (Verdict.BREACH, Verdict.UNEXPLAINED, Verdict.BLOCKED)
"""Verdicts whose events can be jumped to."""
_MOST = 1 << 20
"""Events of one verdict that are known by number; the oldest are forgotten."""
_PIECES = 512
_TRIES = 5000
_ALERTS = 100
_ALERTS_A_BATCH = 10


class Watch:
    """An observer: sees each judged decision once."""

    def __init__(self, on_alert: OnAlert | None = None) -> None:
        self.counts = np.zeros(len(Verdict), np.int64)
        self.bins = Steps()
        self.alerts: deque[Alert] = deque(maxlen=_ALERTS)
        self._index: dict[Verdict, list[Numbers]] = {verdict: [] for verdict in INDEXED}
        self._on_alert = on_alert
        self._number = 0  # of the last alert
        self._breaches = 0
        self._in_holes = 0
        self._raised = 0  # breaches that were alerts in an earlier reading

    def resume(self, on_alert: OnAlert | None, before: "Watch") -> None:
        """Goes on from the alerts that were raised when this part was seen ``before``."""
        self._on_alert = on_alert
        self._raised = max(before._breaches, before._raised)
        self._number = before._number
        self.alerts.extend(before.alerts)

    def __call__(self, judged: Judged) -> None:
        """The next decisions."""
        verdicts = judged["verdict"]
        self.counts += np.bincount(verdicts, minlength=len(Verdict))
        self.bins.add(judged["time_ns"], verdicts)
        for verdict in INDEXED:
            places = np.flatnonzero(verdicts == verdict)
            if len(places):
                self._note(verdict, judged["row"][places])
                if verdict is Verdict.BREACH:
                    hole = judged["hole"]
                    named = [word is not None for word in hole.words]
                    self._in_holes += int(np.take(named, hole.codes[places]).sum())
                    self._breached(judged, places)

    def _note(self, verdict: Verdict, rows: Numbers) -> None:
        known = self._index[verdict]
        known.append(rows)
        if len(known) > _PIECES:
            self._rows_of(verdict)

    def _rows_of(self, verdict: Verdict) -> Numbers:
        """The numbers of events with a verdict, ascending."""
        known = self._index[verdict]
        if len(known) > 1:
            known[:] = [np.sort(np.concatenate(known))[-_MOST:]]
        return known[0] if known else np.empty(0, np.int64)

    def _breached(self, judged: Judged, places: npt.NDArray[np.intp]) -> None:
        self._breaches += len(places)
        new = min(len(places), self._breaches - self._raised)
        if new <= 0:
            return
        shown = places[-min(new, _ALERTS_A_BATCH) :]
        rows = of_columns("", readable(judged, shown))
        found = [rows.record(place) for place in range(len(rows))]
        bit5 = judged.source.bit5
        self.alert(Verdict.BREACH.word, [(sentence(one.get, bit5), one) for one in found], new)

    def alert(self, word: str, found: Sequence[tuple[str, dict[str, Any]]], count: int) -> None:
        """Raises alerts: a sentence and an event each; ``count``: so many there really are."""
        first = self._number + count - len(found) + 1
        self._number += count
        new = [Alert(first + place, word, *one) for place, one in enumerate(found)]
        self.alerts.extend(new)
        if new and self._on_alert is not None:
            self._on_alert(new)

    def verdicts(self, now: Now, span_ns: int | None) -> Verdicts:
        """Counts and history; ``span_ns``: width of a bar, None: the whole time in one picture."""
        step_ns, bins_first, counts = self.bins.counts()
        start_ns, end_ns = now.start_ns, now.now_ns
        if not len(counts) or end_ns is None:
            return Verdicts(self.counts.copy(), in_holes=self._in_holes)
        if span_ns is None:
            first = min(end_ns if start_ns is None else start_ns, bins_first * step_ns)
            edges = np.linspace(first, end_ns + step_ns, HISTORY + 1)
        else:
            end = (end_ns // span_ns + 1) * span_ns
            edges = end - np.arange(HISTORY, -1, -1, dtype=np.float64) * span_ns
        places = np.ceil(edges / step_ns).astype(np.int64) - bins_first
        sums = np.zeros((len(counts) + 1, len(Verdict)), np.int64)
        np.cumsum(counts, axis=0, out=sums[1:])
        history = np.diff(sums[np.clip(places, 0, len(counts))], axis=0).T
        return Verdicts(
            self.counts.copy(), np.ascontiguousarray(history), int(edges[0]), end_ns, self._in_holes
        )

    def find(
        self,
        verdicts: Sequence[int],
        start: int,
        forward: bool,
        wanted: Callable[[int], bool] = lambda row: True,
    ) -> int | None:
        """The next event with one of ``verdicts`` from row ``start`` on that is ``wanted``.

        None: there is none, or none among the next some thousand.
        """
        row = self._next(verdicts, start, forward)
        for _ in range(_TRIES):
            if row is None or wanted(row):
                return row
            row = self._next(verdicts, row + (1 if forward else -1), forward)
        return None

    def _next(self, verdicts: Sequence[int], start: int, forward: bool) -> int | None:
        found = []
        for verdict in INDEXED:
            if verdict in verdicts:
                rows = self._rows_of(verdict)
                place = int(np.searchsorted(rows, start, "left" if forward else "right"))
                place -= 0 if forward else 1
                found += [int(rows[place])] if 0 <= place < len(rows) else []
        return (min if forward else max)(found, default=None)


class Book:
    """Sums of one recording; :meth:`take` is given its tables in the order they come."""

    def __init__(self, recording: Recording, on_alert: OnAlert | None = None) -> None:
        self.source = Source.of(recording)
        self.comms = Vocabulary()
        self.pager = Pager(recording, self.source, self.comms)
        self.watch = Watch(on_alert)
        self.decisions = Decisions(observers=[self.watch], timeline=False)
        self.log = Log(self.decisions, self.pager)
        self.losses: dict[str, int] = {}
        """By cause: events lost, and events without context."""
        self.decided: dict[str, int] = {}
        """By hook: calls that it decided, whether or not they were recorded."""
        self.clock = WallClock()
        self.start_ns: int | None = None
        self.last_ns: int | None = None
        self.baseline: list[Batch] = []
        """What the sweep at the start found."""
        self.came: frozenset[str] = frozenset()
        """Hooks of modules that were loaded while it was recorded."""
        self.announced: list[pa.Table] = []
        self.is_complete = False
        """No announcement is to come any more."""
        self.version = 0
        """Counts changes."""

    @property
    def rows(self) -> int:
        return self.log.rows

    @property
    def lost(self) -> int:
        """Events lost, as far as the recorder counted."""
        return sum(count for cause, count in self.losses.items() if cause not in NO_EVENT)

    # What comes

    def take(self, name: str, table: pa.Table) -> None:
        self.version += 1
        if name == "events":
            self._events(table)
        elif name == MISSING:
            self.log.skip(table.num_rows)
        elif name == "objects":
            self.announced.append(table)
            self.decisions.objects(table, self.source, complete=self.is_complete)
        elif name == "mappings":
            self.baseline.append(decisions.scanned(table, self.source))
            self.came |= modules_that_came([table])
            self.decisions.mappings(table, self.source)
        elif name == "cgroups":
            self.source.places.add(table)
        elif name in STACKS:
            self.source.stacks.take(name, table)
        elif name == "tasks":
            self.source.tasks.add(table)
        elif name == "losses":
            causes, lost = (table.column(column).to_pylist() for column in ("cause", "count"))
            for cause, count in zip(map(cells.text, causes), lost, strict=True):
                if count:
                    self.losses[cause] = self.losses.get(cause, 0) + count
        elif name == "clocks":
            self._clocks(table)
        elif name == "totals":
            hooks, counts = (table.column(column).to_pylist() for column in ("hook", "decided"))
            self.decided |= dict(zip(map(str, hooks), counts, strict=True))

    def complete(self) -> None:
        """No more announcements will come: nothing has to wait for one."""
        self.is_complete = True
        self.decisions.objects(TABLES["objects"].empty_table(), self.source, complete=True)
        self.version += 1

    def _clocks(self, table: pa.Table) -> None:
        boot, real = (table.column(name).to_pylist() for name in ("time_ns", "realtime_ns"))
        self.clock.extend(zip(boot, real, strict=True))
        if self.start_ns is None:
            self.start_ns = self.clock.start_ns
        self._saw(max(boot, default=None))

    def _saw(self, time_ns: int | None) -> None:
        if time_ns is not None:
            self.last_ns = max(time_ns, self.last_ns or time_ns)

    def _events(self, table: pa.Table) -> None:
        for start in range(0, table.num_rows, decisions.MANY):
            piece = table.slice(start, decisions.MANY)
            batch = decisions.batch_of(piece, decisions.ALL, self.source, self.comms, self.rows)
            self.add(batch)

    def add(self, batch: Batch) -> None:
        """The next events; there are some."""
        self.version += 1
        self.log.add(batch)
        times = batch["time_ns"]
        if self.start_ns is None:
            self.start_ns = int(times[0])
        self._saw(int(times.max()))
        self.decisions.add(batch)
