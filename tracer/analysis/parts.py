"""Recordings in parts: what several processes, or a cluster, count of them, and the sum of that.

A part is a run of one recording's segments. Objects, names, losses and the baseline are read by
whoever counts a part of it, so that a part can be judged by itself; the sums of all parts are those
of the whole (tracer.analysis.sums), whatever the cuts are and whoever counts::

    with processes(2) as executor:
        found = Decisions()
        count_all(executor, [(recording, Source.of(recording), Asked())], found)

An executor is one of :mod:`concurrent.futures`, or what has its ``submit``.
"""

import multiprocessing
import signal
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import BrokenExecutor, Executor, Future, ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from tracer.analysis.batches import Array, Source
from tracer.analysis.decisions import EVERYTHING, MANY, Decisions, Keep, Window, read
from tracer.analysis.grouping import BEFORE, NEVER
from tracer.analysis.origins import Kind, Origins
from tracer.analysis.sums import RANK_BITS, Steps, Words
from tracer.errors import UserError
from tracer.recording.format import EVERY
from tracer.recording.places import Places
from tracer.recording.reader import Recording
from tracer.recording.tasks import Tasks
from tracer.rules.verdicts import Outcome
from tracer.stacks.recorded import Stacks

if TYPE_CHECKING:
    import pandas as pd

_MOST_CASES = 1 << 20
"""Cases of a verdict that are kept of a part: which of them are the first is known at the end."""
ROWS = 4 * MANY
"""Events of a part."""
AHEAD = 8
"""Parts that are counted, or wait for it, at once: what they add up to is in memory."""


class Part(NamedTuple):
    """A run of a recording's segments."""

    path: str
    segments: range
    first: int
    """The number of its first event, as the chain tells it."""


class Asked(NamedTuple):
    """What is to be counted of a part."""

    window: Window = EVERYTHING
    keep: Keep | None = None
    columns: Collection[str] = ()
    """What ``keep`` needs beside the usual."""
    origins: bool = False
    """Where decisions come from, too."""


@dataclass(frozen=True)
class Told:
    """What a recording tells beside its events."""

    losses: "pd.DataFrame"
    places: Places
    stacks: Stacks
    tasks: Tasks


@dataclass(frozen=True)
class Counted:
    """What a part adds up to: numbers, and the texts that they stand for."""

    tables: Mapping[str, dict[str, Array]]
    """Of :data:`tracer.analysis.sums.RULES`; boot and source are number 0."""
    steps: Steps | None
    comms: Sequence[str]
    names: Sequence[str]
    outcomes: Sequence[Outcome]
    problems: Sequence[str]
    """What could not be read, in sentences."""
    events: int
    last_ns: int | None
    """Of its events."""
    told: Told | None
    """Of the recording's first part only: the others have the same."""
    origins: Mapping[Kind, int] = field(default_factory=dict)

    def recoded(
        self, words: Words, source: Source
    ) -> tuple[dict[str, dict[str, Array]], dict[int, Steps]]:
        """The sums with the numbers that ``words`` has for the same."""
        number, boot = words.place(source)
        comms, names = words.comms.codes(self.comms), words.names.codes(self.names)
        outcomes = words.outcome_ids(self.outcomes)
        # One more at the end: that is what -1 finds.
        known: dict[str, Array] = {
            "comm": comms,
            "name": np.append(names, np.int32(-1)),
            "outcome": outcomes.astype(np.int64),
        }
        found: dict[str, dict[str, Array]] = {}
        for table, columns in self.tables.items():
            made = found[table] = dict(columns)
            for name, column in columns.items():
                if name in known:
                    made[name] = known[name][column]
                elif name == "boot":
                    made[name] = np.full_like(column, boot)
                elif name == "source":
                    made[name] = np.full_like(column, number)
                elif name.endswith("rank"):
                    there = (column != BEFORE) & (column != NEVER)
                    made[name] = np.where(there, column + (number << RANK_BITS), column)
        return found, {} if self.steps is None else {boot: self.steps}


def parts(recording: Recording) -> list[Part]:
    """The parts of a recording, at least one, each of about :data:`ROWS` events."""
    starts, first, filled = [(0, 0)], 0, 0
    shot = recording.snapshot()
    shot.close()
    for link in shot.links:
        path = link.part("events")
        if filled >= ROWS:
            starts.append((link.number, first))
            filled = 0
        count = 0 if path is None else link.files[path].rows
        first, filled = first + count, filled + count
    ends = [start for start, _ in starts[1:]] + [EVERY.stop]
    return [
        Part(recording.path, range(start, end), first)
        for (start, first), end in zip(starts, ends, strict=True)
    ]


def count(part: Part, asked: Asked) -> Counted:
    """Reads and counts a part. StoreError."""
    decisions, origins = Decisions(keep=asked.keep, most_cases=_MOST_CASES), Origins()
    if asked.origins:
        decisions.observe(origins)
    events, last_ns = 0, None

    def step(count: int, latest_ns: int) -> None:
        nonlocal events, last_ns
        events, last_ns = count, max(latest_ns, last_ns or 0)

    with Recording.open(part.path) as recording:
        source = Source.of(recording)
        read(
            recording, decisions, source=source, window=asked.window, columns=asked.columns,
            step=step, segments=part.segments, first=part.first,
        )  # fmt: skip
        problems = recording.problems
    sums, words = decisions.sums(), decisions.words
    told = Told(decisions.lost(source), source.places, source.stacks, source.tasks)
    return Counted(
        {name: table.columns() for name, table in sums.tables.items()},
        sums.steps.get(0),
        words.comms.texts,
        words.names.texts,
        words.outcomes,
        problems,
        events,
        last_ns,
        None if part.first else told,
        origins.counts.get(source, {}),
    )


def counted(
    executor: Executor, asked: Iterable[tuple[Part, Asked]], ahead: int = AHEAD
) -> Iterator[Counted]:
    """What each part adds up to, in their order; some of the next are counted meanwhile.

    :param ahead: so many; more than processes, so that none waits.
    :raises StoreError: a recording cannot be read.
    """
    waiting: deque[Future[Counted]] = deque()
    for part, question in asked:
        waiting.append(executor.submit(count, part, question))
        if len(waiting) >= ahead:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


def count_all(
    executor: Executor,
    asked: Sequence[tuple[Recording, Source, Asked]],
    into: Decisions,
    step: Callable[[str, int, int | None], None] | None = None,
    ahead: int = AHEAD,
) -> tuple[list[Source], Origins]:
    """Has whole recordings counted, and adds it up.

    :param step: told of each part, as it is added, the recording's path, how many of its events
        have been counted, and the latest time of the part's.
    :return: the recordings as ``into`` knows them, and where decisions come from.
    :raises StoreError: one cannot be read.
    """
    cut = [
        (place, part, question)
        for place, (recording, _, question) in enumerate(asked)
        for part in parts(recording)
    ]
    sources: list[Source] = []
    origins, events = Origins(), 0
    found = counted(executor, [(part, question) for _, part, question in cut], ahead)
    for (place, _, question), one in zip(cut, found, strict=True):
        recording, source, _ = asked[place]
        if one.told is not None:
            told, events = one.told, 0
            source = replace(source, places=told.places, stacks=told.stacks, tasks=told.tasks)
            sources.append(source)
            into.window(source, question.window)
            into.losses(told.losses, source)
        source = sources[place]
        into.add_counted(one, source)
        origins.add(source, one.origins)
        for problem in one.problems:
            recording.note(problem)
        events += one.events
        if step is not None:
            step(recording.path, events, one.last_ns)
    return sources, origins


@contextmanager
def processes(jobs: int, imports: Sequence[str] = ()) -> Iterator[Executor]:
    """So many processes, each of which does one thing at a time.

    :param imports: modules that all of them need: imported once.
    :raises UserError: one was killed, from inside.
    """
    # Not by fork: other threads of this process may hold locks.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([*imports])
    with ProcessPoolExecutor(jobs, context, _undisturbed) as executor:
        try:
            yield executor
        except BrokenExecutor as error:
            raise UserError(
                "a process that did a part of it was killed, as the kernel does when memory runs "
                "out; give fewer --jobs"
            ) from error
        except BaseException:
            executor.shutdown(wait=False, cancel_futures=True)
            raise


def _undisturbed() -> None:
    """Ctrl-C is for the process that they work for."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
