"""Everything that was read of a recording so far, summed up."""

import pyarrow as pa

from tracer.analysis import load
from tracer.analysis.batch import Batch, Vocabulary
from tracer.analysis.fold import Fold
from tracer.analysis.source import Source
from tracer.analysis.state import State
from tracer.store.follow import MISSING
from tracer.store.reader import Recording
from tracer.store.schema import TABLES
from tracer.text.narrate import CONTEXT
from ui import cells
from ui.feed.judging import Judging
from ui.feed.log import Log
from ui.feed.pager import Pager
from ui.feed.protocol import OnAlert
from ui.feed.watch import Watch


class Book:
    """Sums of one recording; :meth:`take` is given its tables in the order they come."""

    def __init__(self, recording: Recording, on_alert: OnAlert | None = None) -> None:
        self.source = Source.of(recording)
        self.comms = Vocabulary()
        self.pager = Pager(recording, self.source, self.comms)
        self.judging = Judging(self.source)
        self.log = Log(self.judging, self.pager)
        self.watch = Watch(on_alert)
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
        self._fold = Fold(keep=self.watch, timeline=False)

    @property
    def rows(self) -> int:
        """Events so far."""
        return self.log.rows

    @property
    def lost(self) -> int:
        """Events lost, as far as the recorder told."""
        return sum(count for cause, count in self.losses.items() if cause not in CONTEXT)

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
            self._fold.objects(table, self.source, complete=self.is_complete)
            self.judging.objects(table)
        elif name == "mappings":
            self.baseline.append(table)
            self._fold.mappings(table, self.source)
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
        self._fold.objects(TABLES["objects"].empty_table(), self.source, complete=True)
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
        """The next events; there are some."""
        self.version += 1
        self.log.add(batch)
        times = batch["time_ns"]
        if self.start_ns is None:
            self.start_ns = int(times[0])
        self._saw(int(times.max()))
        self._fold.add(batch)

    # What is known

    def state(self) -> State:
        """The sums of now."""
        with self.watch.away():
            return self._fold.state()

    def wall(self, time_ns: int | None) -> int | None:
        """Real time at a moment of the boot clock, by the nearest earlier anchor."""
        if time_ns is None or not self.anchors:
            return None
        boot, real = next(
            (one for one in reversed(self.anchors) if one[0] <= time_ns), self.anchors[0]
        )
        return real + time_ns - boot
