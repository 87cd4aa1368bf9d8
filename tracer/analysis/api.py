"""Recordings judged and summed up, in two lines::

    from tracer.analysis import api
    found = api.load("program.seal")

Then ``found.decisions`` is a DataFrame with one row a decision and its verdict, and::

    found.by_object     found.by_fd      found.by_process    found.by_op    found.by_rule
    found.listed        found.seals      found.late_seals    found.busy     found.over_time()
    found.callers       found.stacks()       found.private

are its sums, ready to be sorted, filtered and plotted. ``found.problems``, ``found.losses`` and
``found.unannounced`` say what is missing. Several recordings (hosts) may be given at once: the
columns ``host`` and ``boot_id`` tell them apart. A recording that is still being written is read as
far as it goes.

Times are ns of the host's boot clock, and ``time`` is by its wall clock; seals are bit sets as in
fcntl.h (tracer.words.text shows them); answers are as the kernel gave them: 0, a count, an address,
or -errno. Text is escaped text (tracer.escape.unescape gives the bytes).
"""

import os
from collections.abc import Collection, Iterable
from concurrent.futures import Executor
from functools import cached_property
from typing import TYPE_CHECKING, Self

import pandas as pd

from tracer.analysis import decisions as reading
from tracer.analysis import frames, timeline
from tracer.analysis import tables as judging
from tracer.analysis.batches import FACTS, Source
from tracer.analysis.decisions import Keep, summarize
from tracer.recording.reader import Recording
from tracer.words import Op

if TYPE_CHECKING:
    from tracer.analysis.private import Privacy
    from tracer.analysis.totals import Tables


def load(
    *paths: str | os.PathLike[str], keep: Keep | None = None, executor: Executor | None = None
) -> "Analysis":
    """Opens recordings (``NAME.seal`` folders). StoreError: one cannot be read.

    ``keep``: which decisions count in the sums, for example
    ``tracer.filter.query.parse("op:mmap verdict:blocked,breach").mask``.
    ``executor``: who counts, for example ``tracer.analysis.parts.processes(2)`` or that of a Dask
    client; it must see the same paths. None: this process.
    """
    return Analysis([Recording.open(path) for path in paths], keep, executor)


class Analysis:
    """Open recordings. Whatever is asked for is read and worked out then, and kept."""

    def __init__(
        self,
        recordings: Iterable[Recording],
        keep: Keep | None = None,
        executor: Executor | None = None,
    ) -> None:
        self.recordings = tuple(recordings)
        self._keep, self._executor = keep, executor

    @cached_property
    def tables(self) -> "Tables":
        """All sums (tracer.analysis.tables.Tables), in one pass and with bounded memory."""
        if self._executor is None:
            return summarize(self.recordings, keep=self._keep)
        from tracer.analysis.parts import Asked, count_all

        found = reading.Decisions(keep=self._keep)
        asked = [(one, Source.of(one), Asked(keep=self._keep)) for one in self.recordings]
        count_all(self._executor, asked, found)
        return found.tables()

    @cached_property
    def decisions(self) -> pd.DataFrame:
        """One row a decision, whether kept or not, in the order of arrival.

        The columns of a recording's events (``time_ns``, ``pid``, ``comm``, ``op``, ``fd``,
        ``seals``, ``answer`` ...), ``time`` (``datetime64[ns, UTC]``), ``row`` (its number among
        the events), what numbers mean (``prot``, ``map_flags``, ``seal_list`` ...: see
        :func:`tracer.analysis.frames.with_meanings`), the object's ``name``, and ``errno``,
        ``expected``, ``reason``, ``rule``, ``verdict`` (ordered, worst last), ``hole``,
        ``severity``. All rows are in memory then: some 330 bytes each.
        """
        pieces = []
        for recording in self.recordings:
            events = self.events(set(Op) - set(FACTS), of=(recording,))
            if len(events):
                objects, variants = recording.frame("objects"), Source.of(recording).variants
                pieces.append(judging.decisions(events, objects, variants))
        return frames.stacked(pieces) if pieces else self.events(())

    def events(
        self, ops: Collection[Op] | None = None, *, of: Iterable[Recording] | None = None
    ) -> pd.DataFrame:
        """Events as they were recorded, facts (``map``, ``unmap``, ``evict``) too; of some ``ops``.

        ``of``: of some of :attr:`recordings` only.
        """
        pieces = []
        for recording in self.recordings if of is None else of:
            source = Source.of(recording)
            batches = reading.batches(recording, ops=ops, source=source)
            frame = frames.concat(batches, reading.ALL)
            pieces.append(frames.with_meanings(frame, recording.clock(), source.bit5))
        return frames.stacked(pieces)

    @cached_property
    def objects(self) -> pd.DataFrame:
        """Announcements of memory files as they were recorded, with host and boot_id."""
        pieces = []
        for recording in self.recordings:
            source = Source.of(recording)
            where = {"host": source.host, "boot_id": source.boot_id}
            pieces.append(recording.frame("objects").assign(**where))
        return frames.stacked(pieces)

    @cached_property
    def private(self) -> "tuple[Privacy, ...]":
        """Of each of :attr:`recordings` what of guest memory was private when
        (tracer.analysis.private: ``machines()``, ``ranges()``, ``files()``)."""
        from tracer.analysis import private

        return tuple(private.of(recording) for recording in self.recordings)

    @property
    def by_object(self) -> pd.DataFrame:
        """One row a memory file (:attr:`tracer.analysis.tables.Tables.by_object`)."""
        return self.tables.by_object

    @property
    def by_fd(self) -> pd.DataFrame:
        """One row a process, file descriptor and memory file (``Tables.by_fd``)."""
        return self.tables.by_fd

    @property
    def by_process(self) -> pd.DataFrame:
        """One row a process (``Tables.by_process``)."""
        return self.tables.by_process

    @property
    def by_op(self) -> pd.DataFrame:
        """One row an operation: op x verdict (``Tables.by_op``)."""
        return self.tables.by_op

    @property
    def by_rule(self) -> pd.DataFrame:
        """One row for each verdict, op and reason (``Tables.by_rule``)."""
        return self.tables.by_rule

    @property
    def listed(self) -> pd.DataFrame:
        """What was not simply allowed, equal decisions as one row (``Tables.listed``)."""
        return self.tables.listed

    @property
    def seals(self) -> pd.DataFrame:
        """How each object was made and sealed, in time (``Tables.seals``)."""
        return self.tables.seals

    @property
    def late_seals(self) -> pd.DataFrame:
        """Seals against writing that came too late to be sure of (``Tables.late_seals``)."""
        return self.tables.late_seals

    @cached_property
    def busy(self) -> pd.DataFrame:
        """F_ADD_SEALS that failed EBUSY, and who held the mappings (timeline.holders)."""
        return timeline.holders(self.recordings, self.tables)

    def over_time(self, step_ns: int | None = None) -> pd.DataFrame:
        """Decisions by verdict in steps (``Tables.over_time``)."""
        return self.tables.over_time(step_ns)

    @cached_property
    def callers(self) -> pd.DataFrame:
        """Which stack a decision's ``user_stack`` is (:func:`tracer.analysis.callers.callers`)."""
        from tracer.analysis import callers

        return callers.callers(self.recordings)

    def stacks(self, *debug_dirs: str | os.PathLike[str]) -> pd.DataFrame:
        """The functions of each stack, with names (:func:`tracer.analysis.callers.frames`)::

            at = ["host", "boot_id", "stack"]
            found.decisions.merge(found.callers).merge(found.stacks(), on=at, suffixes=("", "_of"))

        :param debug_dirs: where debug files lie by build id; none: where distributions put them.
        """
        from tracer.analysis import callers
        from tracer.stacks.files import DEBUG_DIRS, Files
        from tracer.stacks.names import Names

        folders = [os.fspath(one) for one in debug_dirs] or DEBUG_DIRS
        with Names(Files(folders)) as names:
            return callers.frames(self.recordings, names)

    @property
    def losses(self) -> pd.DataFrame:
        """What was lost: host, boot_id, cause, hook, ``count`` events (``Tables.losses``)."""
        return self.tables.losses

    @property
    def unannounced(self) -> int:
        """Decisions on objects that were never announced (``Tables.unannounced``)."""
        return self.tables.unannounced

    @property
    def problems(self) -> list[str]:
        """What could not be read, in sentences; with several recordings, each behind its path.

        ``Tables.problems``, and what reading anything else here has found since.
        """
        several = len(self.recordings) > 1
        since = [
            f"{recording.path}: {sentence}" if several else sentence
            for recording in self.recordings
            for sentence in recording.problems
        ]
        return list(dict.fromkeys([*self.tables.problems, *since]))

    def close(self) -> None:
        """Closes the recordings."""
        for recording in self.recordings:
            recording.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
