"""One recording of those that a report is about, and the part of it that was asked for."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from tracer.analysis import load
from tracer.analysis.batch import Batch
from tracer.analysis.judged import Judged
from tracer.analysis.source import Source
from tracer.errors import UserError
from tracer.query import Query
from tracer.report import coverage as coverages
from tracer.report.model import Coverage, Question
from tracer.report.window import Anchor, Moment, boot_ns, wall_jump_s
from tracer.store.reader import Recording
from tracer.store.schema import EVENTS

COLUMNS = frozenset(
    {*EVENTS.names, "name", "expected", "reason", "rule", "verdict", "hole", "severity"}
)
"""What a filter can ask for."""

Step = Callable[[str, int], None]
"""Told how many events of a recording have been read."""
Tell = Callable[[str], None]
"""Told sentences for stderr."""


@dataclass(frozen=True)
class Request:
    """Which decisions the report is about."""

    query: Query = field(default_factory=Query)
    since: Moment | None = None
    until: Moment | None = None
    since_text: str | None = None
    until_text: str | None = None

    @property
    def question(self) -> Question:
        return Question(str(self.query) or None, self.since_text, self.until_text)


@dataclass(frozen=True)
class _Window:
    """Boot-clock times, ns; None: no limit."""

    since_ns: int | None
    until_ns: int | None


class Reader:
    """One recording of several, and the part of it that is asked for."""

    def __init__(self, recording: Recording, source: Source, request: Request, tell: Tell) -> None:
        self.recording = recording
        self.source = source
        self.last_ns: int | None = None
        self._request = request
        self._anchors = coverages.anchors(recording)
        if wall_jump_s(self._anchors) > 1 and "wall" in _bases(request):
            tell(
                f"{recording.path}: the wall clock was set by {wall_jump_s(self._anchors):.0f} s "
                "while it was recorded; times near that are not sure"
            )
        self._window = self._resolve(tell)

    def _resolve(self, tell: Tell) -> _Window:
        """The window in this recording's boot clock. UserError: it cannot be known."""
        request = self._request
        if request.since is None and request.until is None:
            return _Window(None, None)
        start_ns = self._anchors[0].boot_ns if self._anchors else None
        end_ns = _end_ns(self.recording, self._anchors)
        limits = []
        for option, moment in (("--since", request.since), ("--until", request.until)):
            limit = None if moment is None else boot_ns(moment, self._anchors, start_ns, end_ns)
            if moment is not None and limit is None and end_ns is not None:
                raise UserError(
                    f"{option}: {self.recording.path} has no clock readings, so that time cannot "
                    "be found in it; leave the option out, or count from its end (-10s)"
                )
            limits.append(limit)
        window = _Window(*limits)
        before = window.since_ns, window.until_ns
        if None not in before and before[0] >= before[1]:  # type: ignore[operator]
            raise UserError("--since is not before --until: nothing lies between them", 2)
        if start_ns is not None and window.until_ns is not None and window.until_ns <= start_ns:
            tell(f"{self.recording.path}: it began after --until, nothing of it is in the report")
        if end_ns is not None and window.since_ns is not None and window.since_ns > end_ns:
            tell(f"{self.recording.path}: it ended before --since, nothing of it is in the report")
        return window

    def batches(self, columns: Sequence[str], step: Step) -> Iterator[Batch]:
        """Events, up to the end of the window: what happened before tells how files then were.

        ``columns``: those that are needed beside what judging and counting need.
        """
        until_ns = self._window.until_ns
        read = 0
        names = dict.fromkeys([*load.NEEDED, *columns, *self._request.query.columns()])
        wanted = [name for name in names if name in EVENTS.names]
        for batch in load.batches(self.recording, wanted, source=self.source):
            read += len(batch)
            step(self.recording.path, read)
            self.last_ns = max(int(batch["time_ns"].max()), self.last_ns or 0)
            if until_ns is not None:
                batch = batch.take(batch["time_ns"] < until_ns)
            if len(batch):
                yield batch

    def keep(self, judged: Judged) -> npt.NDArray[np.bool_]:
        """Which decisions are asked for."""
        since_ns = self._window.since_ns
        kept: npt.NDArray[np.bool_] = (
            np.ones(judged.rows, bool) if since_ns is None else judged["time_ns"] >= since_ns
        )
        return kept & self._request.query.mask(judged) if self._request.query else kept

    @property
    def since_ns(self) -> int | None:
        """The begin of the window, boot clock; None: open."""
        return self._window.since_ns

    @property
    def narrows(self) -> bool:
        """Whether :meth:`keep` can be false."""
        return bool(self._request.query) or self._window.since_ns is not None

    def coverage(self, decisions: int) -> Coverage:
        """What it could see and lost; to be called when it has been read."""
        found = coverages.coverage(
            self.recording, self.source.host, self.source.boot_id, self.last_ns
        )
        return replace(found, decisions=decisions)


def _bases(request: Request) -> set[str]:
    return {moment.base for moment in (request.since, request.until) if moment is not None}


def _end_ns(recording: Recording, anchors: Sequence[Anchor]) -> int | None:
    """The last moment of which the recording knows; a killed one has no clock reading there."""
    times = [anchor.boot_ns for anchor in anchors]
    for table in recording.tables("events", ["time_ns"]):
        if table.num_rows:
            times.append(int(table.column("time_ns").to_numpy().max()))
    return max(times, default=None)
