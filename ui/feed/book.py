"""Everything that was read of a recording so far, summed up."""

from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tracer.analysis import load
from tracer.analysis.batch import Batch, Vocabulary
from tracer.analysis.fold import Fold
from tracer.analysis.judged import Judged
from tracer.analysis.source import Source
from tracer.analysis.timebins import TimeBins
from tracer.model.verdicts import Verdict
from tracer.store.reader import Recording
from tracer.store.schema import TABLES
from tracer.text.narrate import CONTEXT
from ui import cells
from ui.feed.judging import Judging, readable, taken
from ui.feed.log import Log
from ui.feed.pager import Pager
from ui.feed.protocol import OnAlert
from ui.feed.tail import MISSING
from ui.snapshot import Alert

if TYPE_CHECKING:
    from tracer.analysis.snapshot import Tables

Numbers = npt.NDArray[np.int64]
INDEXED = (Verdict.BREACH, Verdict.UNEXPLAINED, Verdict.BLOCKED)
"""Verdicts whose events can be jumped to."""
_MOST = 1 << 20
"""Events of one verdict that are known by number; the oldest are forgotten."""
_TRIES = 5000
_PIECES = 512
_ALERTS = 100
_ALERTS_A_BATCH = 10


class Book:
    """Sums of one recording; :meth:`take` is given its tables in the order they come."""

    def __init__(self, recording: Recording, on_alert: OnAlert | None = None) -> None:
        self.source = Source.of(recording)
        self.comms = Vocabulary()
        self.pager = Pager(recording, self.source, self.comms)
        self.judging = Judging(self.source)
        self.log = Log(self.judging, self.pager)
        self.counts = np.zeros(len(Verdict), np.int64)
        self.bins = TimeBins(len(Verdict))
        self.alerts: deque[Alert] = deque(maxlen=_ALERTS)
        self.losses: dict[str, int] = {}
        """By cause: events lost, and events without context."""
        self.decided: dict[str, int] = {}
        """By hook: calls that it decided, whether or not they were recorded."""
        self.anchors: list[tuple[int, int]] = []
        """Boot clock and real time, ns, each time that the recorder read both."""
        self.start_ns: int | None = None
        self.last_ns: int | None = None
        self.baseline: list[pa.Table] = []
        self.announced: list[pa.Table] = []
        self.is_complete = False
        """No announcement is to come any more."""
        self.version = 0
        """Counts changes."""
        self._fold = Fold(keep=self._judged)
        self._index: dict[Verdict, list[Numbers]] = {verdict: [] for verdict in INDEXED}
        self._on_alert = on_alert
        self._alerted = 0
        self._raised = 0  # alerts that an earlier reading raised
        self._looking = False

    @property
    def rows(self) -> int:
        """Events so far."""
        return self.log.rows

    @property
    def lost(self) -> int:
        """Events lost, as far as the recorder told."""
        return sum(count for cause, count in self.losses.items() if cause not in CONTEXT)

    def quiet(self, on_alert: OnAlert | None, alerts: Sequence[Alert]) -> None:
        """Goes on from ``alerts`` that were raised before, when this part was seen first."""
        self._on_alert = on_alert
        self._raised = alerts[-1].number if alerts else 0
        self.alerts.extend(alerts)

    # What comes

    def take(self, name: str, table: pa.Table) -> None:
        """The next rows of table ``name``."""
        self.version += 1
        if name == "events":
            self._events(table)
        elif name == MISSING:
            self.log.skip(table.num_rows)
        elif name == "objects":
            self.announced.append(table)
            self._fold.objects(table.to_pandas(), self.source, complete=self.is_complete)
            self.judging.objects(table)
        elif name == "mappings":
            self.baseline.append(table)
            self._fold.mappings(table.to_pandas(), self.source)
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
        self._fold.objects(TABLES["objects"].empty_table().to_pandas(), self.source, complete=True)
        self.version += 1

    def _clocks(self, table: pa.Table) -> None:
        boot, real = (table.column(name).to_pylist() for name in ("time_ns", "realtime_ns"))
        self.anchors += list(zip(boot, real, strict=True))
        if self.start_ns is None and self.anchors:
            self.start_ns = self.anchors[0][0]
        self._saw(max(boot, default=None))

    def _saw(self, time_ns: int | None) -> None:
        if time_ns is not None:
            self.last_ns = max(time_ns, self.last_ns or time_ns)

    def _events(self, table: pa.Table) -> None:
        for start in range(0, table.num_rows, load.MANY):
            piece = table.slice(start, load.MANY)
            self.add(load.batch(piece, load.ALL, self.source, self.comms, self.rows))

    def add(self, batch: Batch) -> None:
        """The next events."""
        if not len(batch):
            return
        self.version += 1
        self.log.add(batch)
        times = batch["time_ns"]
        if self.start_ns is None:
            self.start_ns = int(times[0])
        self._saw(int(times.max()))
        self._fold.add(batch)

    def _judged(self, judged: Judged) -> npt.NDArray[np.bool_]:
        """Looks on while decisions are counted; all of them are."""
        verdicts = judged["verdict"]
        every = np.ones(len(verdicts), bool)
        if self._looking:
            return every
        self.counts += np.bincount(verdicts, minlength=len(Verdict))
        self.bins.add(judged["time_ns"], verdicts)
        rows = judged["row"]
        for verdict, known in list(self._index.items()):
            found = rows[verdicts == verdict]
            if len(found):
                known.append(found)
                if len(known) > _PIECES:
                    self._index[verdict] = [np.sort(np.concatenate(known))[-_MOST:]]
                if verdict is Verdict.BREACH:
                    self._alert(judged, np.flatnonzero(verdicts == verdict))
        return every

    def _alert(self, judged: Judged, places: npt.NDArray[np.intp]) -> None:
        self._alerted += len(places)
        shown = places[-_ALERTS_A_BATCH:]
        columns = readable(taken(judged, shown))
        new = []
        for place in range(len(shown)):
            event = {name: _value(column, place) for name, column in columns.items()}
            number = self._alerted - len(shown) + place + 1
            new.append(Alert(number, "breach", _sentence(event), event))
        new = [alert for alert in new if alert.number > self._raised]
        self.alerts.extend(new)
        if new and self._on_alert is not None:
            self._on_alert(new)

    # What is known

    def tables(self) -> "Tables":
        """The sums of now."""
        self._looking = True
        try:
            return self._fold.tables()
        finally:
            self._looking = False

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
        best: int | None = None
        for verdict in INDEXED:
            if verdict not in verdicts or not self._index[verdict]:
                continue
            rows = np.sort(np.concatenate(self._index[verdict]))[-_MOST:]
            self._index[verdict] = [rows]
            place = int(np.searchsorted(rows, start, "left" if forward else "right"))
            place -= 0 if forward else 1
            if 0 <= place < len(rows):
                row = int(rows[place])
                best = row if best is None else (min if forward else max)(best, row)
        return best

    def wall(self, time_ns: int | None) -> int | None:
        """Real time at a moment of the boot clock, by the nearest earlier anchor."""
        if time_ns is None or not self.anchors:
            return None
        boot, real = next(
            (one for one in reversed(self.anchors) if one[0] <= time_ns), self.anchors[0]
        )
        return real + time_ns - boot


def _value(column: Any, place: int) -> Any:
    if hasattr(column, "words"):
        code = int(column.codes[place])
        return None if code < 0 else column.words[code]
    value = column[place]
    return value.item() if isinstance(value, np.generic) else value


def _sentence(event: dict[str, Any]) -> str:
    name = cells.name_of(event["kind"], event["name"], event["dev"], event["ino"])
    who = cells.who(event["comm"], event["pid"])
    hole = f" [hole: {cells.text(event['hole'])}]" if event["hole"] else ""
    return f"{cells.text(event['reason'])} did not stop {event['op']} of {name} by {who}{hole}"
