"""Looks on while decisions are counted: totals, history, what to jump to, what to cry out."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt

from tracer.analysis.judged import Judged
from tracer.analysis.timebins import TimeBins
from tracer.model.verdicts import Verdict
from ui import cells
from ui.feed.judging import readable, taken
from ui.feed.protocol import OnAlert
from ui.rows import Rows
from ui.snapshot import HISTORY, Alert, Now, Verdicts

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
    """Is given to a fold as its ``keep``: sees each judged decision once, and keeps all."""

    def __init__(self, on_alert: OnAlert | None = None) -> None:
        self.counts = np.zeros(len(Verdict), np.int64)
        self.bins = TimeBins(len(Verdict))
        self.alerts: deque[Alert] = deque(maxlen=_ALERTS)
        self._index: dict[Verdict, list[Numbers]] = {verdict: [] for verdict in INDEXED}
        self._on_alert = on_alert
        self._number = 0  # of the last alert
        self._breaches = 0
        self._raised = 0  # breaches of which an earlier reading cried out
        self._away = False

    def resume(self, on_alert: OnAlert | None, before: "Watch") -> None:
        """Goes on from the alerts that were raised when this part was seen ``before``."""
        self._on_alert = on_alert
        self._raised = max(before._breaches, before._raised)
        self._number = before._number
        self.alerts.extend(before.alerts)

    @contextmanager
    def away(self) -> Iterator[None]:
        """Meanwhile it sees nothing: decisions that still wait are judged only for a look."""
        self._away = True
        try:
            yield
        finally:
            self._away = False

    def __call__(self, judged: Judged) -> npt.NDArray[np.bool_]:
        """All rows, True."""
        verdicts = judged["verdict"]
        if not self._away:
            self.counts += np.bincount(verdicts, minlength=len(Verdict))
            self.bins.add(judged["time_ns"], verdicts)
            for verdict in INDEXED:
                places = np.flatnonzero(verdicts == verdict)
                if len(places):
                    self._note(verdict, judged["row"][places])
                    if verdict is Verdict.BREACH:
                        self._alert(judged, places)
        return np.ones(len(verdicts), bool)

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

    def _alert(self, judged: Judged, places: npt.NDArray[np.intp]) -> None:
        self._breaches += len(places)
        new = min(len(places), self._breaches - self._raised)
        if new <= 0:
            return
        shown = places[-min(new, _ALERTS_A_BATCH) :]
        rows = Rows("", readable(taken(judged, shown)), shown, shown, len(shown))
        found = [rows.record(place) for place in range(len(shown))]
        self.cry(Verdict.BREACH.word, [(sentence(one), one) for one in found], new)

    def cry(self, word: str, found: Sequence[tuple[str, dict[str, Any]]], count: int) -> None:
        """Raises alerts: a sentence and an event each; ``count``: so many there really are."""
        first = self._number + count - len(found) + 1
        self._number += count
        new = [Alert(first + place, word, *one) for place, one in enumerate(found)]
        self.alerts.extend(new)
        if new and self._on_alert is not None:
            self._on_alert(new)

    def verdicts(self, now: Now, span_ns: int | None) -> Verdicts:
        """Counts and history; ``span_ns``: width of a bar, None: the whole time in one picture."""
        bins, start_ns, end_ns = self.bins, now.start_ns, now.now_ns
        if not len(bins.counts) or end_ns is None:
            return Verdicts(self.counts.copy())
        if span_ns is None:
            first = min(end_ns if start_ns is None else start_ns, bins.first * bins.step_ns)
            edges = np.linspace(first, end_ns + bins.step_ns, HISTORY + 1)
        else:
            end = (end_ns // span_ns + 1) * span_ns
            edges = end - np.arange(HISTORY, -1, -1, dtype=np.float64) * span_ns
        places = np.ceil(edges / bins.step_ns).astype(np.int64) - bins.first
        sums = np.zeros((len(bins.counts) + 1, len(Verdict)), np.int64)
        np.cumsum(bins.counts, axis=0, out=sums[1:])
        history = np.diff(sums[np.clip(places, 0, len(bins.counts))], axis=0).T
        return Verdicts(self.counts.copy(), np.ascontiguousarray(history), span_ns is None)

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


def sentence(event: dict[str, Any]) -> str:
    """What happened, for a banner."""
    name = cells.name_of(event["kind"], event["name"], event["dev"], event["ino"])
    who = cells.who(event["comm"], event["pid"])
    hole = f" [hole: {cells.text(event['hole'])}]" if event["hole"] else ""
    return f"{cells.text(event['reason'])} did not stop {event['op']} of {name} by {who}{hole}"
