"""Reads recordings once and makes the report, or the comparison of two."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd

from tracer.analysis.batches import Source
from tracer.analysis.decisions import EVERYTHING, Decisions, Judged, Keep, Window, read
from tracer.analysis.timeline import holders
from tracer.analysis.totals import Tables
from tracer.errors import UserError
from tracer.filter.query import Query
from tracer.output import coverage as coverages
from tracer.output import diff as diffs
from tracer.output import diff as requests
from tracer.output.report import TABLES, WORST_FIRST, Coverage, Question, Report
from tracer.recording.clock import Anchor, Moment, boot_ns, wall_jump_s
from tracer.recording.format import EVENTS
from tracer.recording.reader import Recording

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


class Reader:
    """One recording of several, and the part of it that the report is about."""

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

    def _resolve(self, tell: Tell) -> Window:
        """The window in this recording's boot clock. UserError: it cannot be known."""
        request = self._request
        if request.since is None and request.until is None:
            return EVERYTHING
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
        window = Window(*limits)
        since_ns, until_ns = window
        if since_ns is not None and until_ns is not None and since_ns >= until_ns:
            raise UserError("--since is not before --until: nothing lies between them", 2)
        if start_ns is not None and window.until_ns is not None and window.until_ns <= start_ns:
            tell(f"{self.recording.path}: it started after --until, nothing of it is in the report")
        if end_ns is not None and window.since_ns is not None and window.since_ns > end_ns:
            tell(f"{self.recording.path}: it ended before --since, nothing of it is in the report")
        return window

    def read(self, into: Decisions, step: Step, columns: Sequence[str] = ()) -> None:
        """Gives the driver everything. ``columns``: what its observers need beside the usual."""
        wanted = {*columns, *self._request.query.columns()}

        def told(count: int, last_ns: int) -> None:
            step(self.recording.path, count)
            self.last_ns = max(last_ns, self.last_ns or 0)

        read(
            self.recording, into, source=self.source, window=self._window, columns=wanted, step=told
        )

    @property
    def since_ns(self) -> int | None:
        """The start of the window, boot clock; None: open."""
        return self._window.since_ns

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


_OBJECT = ["boot_id", "dev", "ino", "gen"]
_NOTHING = pd.DataFrame()
_BEFORE = np.iinfo(np.int64).min


def _open(paths: Sequence[str], request: Request, tell: Tell, stack: ExitStack) -> list[Reader]:
    recordings = [stack.enter_context(Recording.open(path)) for path in paths]
    hosts = coverages.labels([recording.manifest for recording in recordings])
    return [
        Reader(recording, replace(Source.of(recording), host=host), request, tell)
        for recording, host in zip(recordings, hosts, strict=True)
    ]


def _keep(request: Request) -> Keep | None:
    return request.query.mask if request.query else None


def build(
    paths: Sequence[str],
    request: Request,
    step: Step,
    tell: Tell,
    wanted: Sequence[str] = TABLES,
) -> Report:
    """The report of the recordings ``paths``. StoreError, UserError.

    ``wanted``: the tables to make, for some are long; with all of them comes ``Report.seals``.
    """
    with ExitStack() as stack:
        readers = _open(paths, request, tell, stack)
        decisions = Decisions(keep=_keep(request))
        for reader in readers:
            reader.read(decisions, step)
        tables = decisions.tables()
        sums = dict(zip(tables.recordings["path"], tables.recordings["decisions"], strict=True))
        # Reads once more, if there is any, and may find more problems.
        busy = holders([reader.recording for reader in readers], tables)
        found = [reader.coverage(int(sums.get(reader.source.path, 0))) for reader in readers]
        report = _report(request, found, tables, wanted)
        windows: dict[str, int] = {}
        for reader in readers:
            start = _BEFORE if reader.since_ns is None else reader.since_ns
            windows[reader.source.boot_id] = min(start, windows.get(reader.source.boot_id, start))
        keys = _asked_about(request, tables)
        late, busy, seals = (
            _narrowed(frame, keys, windows)
            for frame in (tables.late_seals, busy, tables.seals if wanted == TABLES else _NOTHING)
        )
    return replace(report, late=late, busy=busy, seals=seals)


def _asked_about(request: Request, tables: Tables) -> pd.DataFrame | None:
    """The keys of the files that the question is about; None: all."""
    if request.question == Question():
        return None
    objects = tables.by_object
    return objects.loc[objects["decisions"] > 0, _OBJECT].astype({"boot_id": object})


def _narrowed(
    frame: pd.DataFrame, keys: pd.DataFrame | None, windows: Mapping[str, int]
) -> pd.DataFrame:
    """The rows about these files, since the start of the window of their boot."""
    if keys is None or frame.empty:
        return frame
    boots = frame["boot_id"].astype(object)
    since = boots.map(windows)
    about = frame.assign(boot_id=boots).merge(keys, on=_OBJECT, how="left", indicator=True)
    kept = (about["_merge"] == "both").to_numpy() & (frame["time_ns"] >= since).to_numpy()
    return frame[kept]


def _report(
    request: Request, found: Sequence[Coverage], tables: Tables, wanted: Sequence[str]
) -> Report:
    by_name: dict[str, pd.DataFrame] = {name: getattr(tables, f"by_{name}") for name in wanted}
    if "object" in by_name and request.question != Question():
        # Files without such a decision are no answer to a question.
        objects = by_name["object"]
        by_name["object"] = objects[objects["decisions"] > 0]
    return Report(
        question=request.question,
        coverage=tuple(found),
        verdicts=_ordered(tables.verdicts),
        listed=tables.listed,
        tables=by_name,
        over_time=tables.over_time(),
        late=_NOTHING,
        busy=_NOTHING,
        unlisted=tables.unlisted,
        left_out=tables.left_out,
        unannounced=tables.unannounced,
    )


def _ordered(verdicts: dict[str, int]) -> dict[str, int]:
    return {word: int(verdicts.get(word, 0)) for word in WORST_FIRST}


def compare(paths: Sequence[str], request: Request, step: Step, tell: Tell) -> diffs.Diff:
    """The comparison of the two recordings ``paths``. StoreError, UserError."""
    with ExitStack() as stack:
        sides = [_side(one, request, step) for one in _open(paths, request, tell, stack)]
    (a, counted_a, tables_a), (b, counted_b, tables_b) = sides
    classes, same = diffs.compare(counted_a.frame(), counted_b.frame(), diffs.common_bit5(a, b))
    return diffs.Diff(
        question=request.question,
        a=a,
        b=b,
        verdicts=(_ordered(tables_a.verdicts), _ordered(tables_b.verdicts)),
        same=same,
        variants=diffs.variants(a, b),
        decisions=classes,
        objects=diffs.objects(tables_a.by_object, tables_b.by_object),
    )


def _side(reader: Reader, request: Request, step: Step) -> tuple[Coverage, diffs.Tally, Tables]:
    tally = diffs.Tally()
    names = (*requests.COLUMNS, "seals", "answer")

    def count(judged: Judged) -> None:
        tally.add({name: judged[name] for name in names}, judged["verdict"])

    decisions = Decisions(keep=_keep(request), observers=[count])
    reader.read(decisions, step, names)
    tables = decisions.tables()
    return reader.coverage(tables.decisions), tally, tables
