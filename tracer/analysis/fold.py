"""Judges batches of events as they come and keeps the sums; the same whatever the batches are::

    fold = Fold()
    fold.objects(load.objects(recording), source)
    for batch in load.batches(recording, source=source):
        fold.add(batch)
    fold.tables().by_object

Objects may be announced after their events: decisions on an object whose announcement has not come
wait for it (in :meth:`Fold.tables` they are judged as they stand, without what it would tell).
"""

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tracer.analysis import arrow
from tracer.analysis.batch import IS_FACT, Array, Batch, Vocabulary
from tracer.analysis.judge import Judge
from tracer.analysis.judged import Judged
from tracer.analysis.keys import Keys
from tracer.analysis.latest import NEVER
from tracer.analysis.mappings import Mappings
from tracer.analysis.objects import Table
from tracer.analysis.sealing import Sealing
from tracer.analysis.source import Source
from tracer.analysis.state import State
from tracer.analysis.totals import Totals
from tracer.recording.format import EVENTS
from tracer.rules.verdicts import Outcome
from tracer.words import Flag, Op

if TYPE_CHECKING:
    import pandas as pd

    from tracer.analysis.snapshot import Tables

Keep = Callable[[Judged], npt.NDArray[np.bool_]]
Rows = tuple[Batch, Array, Array]
"""A batch, its groups and its ranks."""
WAITING = 1 << 18
"""Decisions that wait for their object's announcement; of more, the oldest are judged without."""
UNKNOWN = Source()
_IS_END = np.isin(np.arange(256), (Op.UNMAP, Op.EVICT))


class Fold:
    """Sums of any number of recordings."""

    def __init__(
        self,
        variants: Mapping[str, str] | None = None,
        *,
        keep: Keep | None = None,
        timeline: bool = True,
    ) -> None:
        """``variants``: what the kernel does (None: what each source's self-test found).

        ``keep``: which decisions are counted; it gets judged columns (tracer.analysis.judged) and
        gives one bool a row, as ``tracer.filter.parse(text).mask`` does.

        ``timeline``: each F_ADD_SEALS is kept, for ``seals``, ``late_seals`` and ``busy``; without,
        these are empty, and memory does not grow with their number.
        """
        self._variants = variants
        self._keep = keep
        self._keys = Keys()
        self._totals = Totals()
        self._mappings = Mappings()
        self._sealing = Sealing()
        self._timeline = timeline
        self._judges: dict[frozenset[tuple[str, str]], Judge] = {}
        self._waiting: list[Rows] = []
        self._problems: dict[Source, dict[str, None]] = {}
        self._losses: dict[Source, pd.DataFrame] = {}
        self._complete: set[Source] = set()

    def objects(self, frame: Table, source: Source = UNKNOWN, *, complete: bool = False) -> None:
        """Takes announcements: rows of the table ``objects`` of ``source``; they may come again.

        ``complete``: no more will come, so that nothing has to wait.
        """
        keys = self._keys
        keys.heard(source, keys.objects.announce(keys.host(source), frame))
        if complete:
            self._complete.add(source)
        waiting, self._waiting = self._waiting, []
        for rows in waiting:
            self._count(self._totals, self._announced(rows))

    def mappings(self, frame: Table, source: Source = UNKNOWN) -> None:
        """Takes the baseline: rows of the table ``mappings`` of ``source``; they may come again.

        What an audit asked at the end, or about something else, is no part of it.
        """
        if not len(frame):
            return
        batch = _scanned(_batch_of(frame, source))
        if not len(batch):
            return
        keys = self._keys
        group = keys.group_ids(batch)
        objects, known = keys.objects_of[group], keys.objects.known
        keys.of_group["held"][group] = True
        np.minimum.at(known["first_ns"], objects, batch["time_ns"])
        np.minimum.at(known["swept_ns"], objects, batch["time_ns"] + batch["duration_ns"])
        keys.heard(source, keys.objects.observe(objects, batch, np.full(len(batch), -1)))
        self._mappings.baseline(keys.host(source), batch, objects, known["mapped_ns"])

    def losses(self, frame: "pd.DataFrame", source: Source = UNKNOWN) -> None:
        """Takes the whole table ``losses`` of ``source`` as it is now."""
        self._keys.source(source)
        self._losses[source] = frame

    def problems(self, found: Iterable[str], source: Source = UNKNOWN) -> None:
        """Takes sentences about what could not be read; one that is known already is not new."""
        self._problems.setdefault(source, {}).update(dict.fromkeys(found))

    def add(self, batch: Batch) -> None:
        """Takes events: each row once, those of one source in their order."""
        if not len(batch):
            return
        rows = batch, self._keys.group_ids(batch), self._keys.rank(batch)
        self._observe(*rows)
        self._count(self._totals, self._announced(_some(rows, ~IS_FACT[batch["op"]])))
        while sum(len(batch) for batch, _, _ in self._waiting) > WAITING:
            self._count(self._totals, self._waiting.pop(0))

    def tables(self) -> "Tables":
        """The sums as they are now; what comes later does not change them."""
        return self._tables(self._totals.copy())

    def finish(self) -> "Tables":
        """The sums when nothing more will come: without a copy, so nothing may be added then."""
        return self._tables(self._totals)

    def _tables(self, totals: Totals) -> "Tables":
        from tracer.analysis.snapshot import Tables

        return Tables(self._state(totals))

    def state(self) -> State:
        """What :meth:`tables` are made of."""
        return self._state(self._totals.copy())

    def _state(self, totals: Totals) -> State:
        for rows in self._waiting:
            self._count(totals, rows)
        return State.of(
            self._keys, totals, self._mappings, self._sealing, self._losses, self._problems
        )

    def _announced(self, rows: Rows) -> Rows:
        """The rows whose object was announced; the others wait."""
        batch, group, _ = rows
        if batch.source in self._complete:
            return rows
        known = self._keys.objects.known["announced_ns"][self._keys.objects_of[group]] != NEVER
        # A call that made no file is about no object.
        known |= batch["ino"] == 0
        if not known.all():
            self._waiting.append(_some(rows, ~known))
        return _some(rows, known)

    def _judged(self, rows: Rows) -> tuple[npt.NDArray[np.int32], list[Outcome]]:
        """The outcome of each row, as a place in the list; -1: no decision."""
        batch, group, _ = rows
        objects, known = self._keys.objects_of[group], self._keys.objects.known
        of_objects = {
            "folio_order_max": known["order"].take(objects, mode="clip"),
            "owner_uid": known["owner"].take(objects, mode="clip"),
        }
        variants = batch.source.variants if self._variants is None else self._variants
        key = frozenset(variants.items())
        if key not in self._judges:
            self._judges[key] = Judge(variants)
        judge = self._judges[key]
        return judge.codes({**batch.columns, **of_objects}), judge.outcomes

    def _observe(self, batch: Batch, group: Array, rank: Array) -> None:
        """What events say of their objects, decisions or not."""
        keys, source, when = self._keys, batch.source, batch["time_ns"]
        objects, known = keys.objects_of[group], keys.objects.known
        ended = _IS_END[batch["op"]]
        if ended.any():
            np.minimum.at(known["first_ns"], objects[ended], when[ended])
            # The end of an object, or of an address space, is told by whoever let go of it last.
            other = (batch["flags"] & np.uint32(Flag.OTHER_MM)) != 0
            used = ~ended | ((batch["op"] == Op.UNMAP) & ~other)
            np.minimum.at(keys.of_group["used_ns"], group[used], when[used])
        else:
            np.minimum.at(keys.of_group["used_ns"], group, when)
        keys.heard(source, keys.objects.observe(objects, batch, rank))
        self._mappings.add(keys.host(source), batch, objects, rank, known["mapped_ns"])
        if self._timeline:
            self._sealing.add(batch, group, rank)

    def _count(self, totals: Totals, rows: Rows) -> None:
        """Judges and counts."""
        if not len(rows[0]):
            return
        codes, outcomes = self._judged(rows)
        if codes.min() < 0:
            judged = codes >= 0
            rows, codes = _some(rows, judged), codes[judged]
        outcome = self._keys.outcome_ids(outcomes)[codes]
        if self._keep is not None:
            kept = self._keep(Judged(self._keys, rows[0], rows[1], outcome))
            rows, outcome = _some(rows, kept), outcome[kept]
        totals.add(self._keys, *rows, outcome)


def _batch_of(frame: Table, source: Source) -> Batch:
    if not isinstance(frame, pa.Table):
        from tracer.analysis.frames import batch_of

        return batch_of(frame, source)
    comms = Vocabulary()
    found = arrow.columns(frame, EVENTS.names, comms)
    return Batch(source, {**found, "row": np.arange(len(frame))}, comms)


def _scanned(batch: Batch) -> Batch:
    """What the sweep of /proc at the start found; without permission (no mode) it knows no size."""
    final = (batch["flags"] & np.uint32(Flag.FINAL)) != 0
    batch = batch.take((np.isin(batch["op"], (Op.OPEN, Op.MAP)) & ~final).nonzero()[0])
    blind = np.where(batch["mode"] == 0, np.uint32(Flag.RETURN_MISSING), np.uint32(0))
    return Batch(batch.source, {**batch.columns, "flags": batch["flags"] | blind}, batch.comms)


def _some(rows: Rows, which: npt.NDArray[np.bool_]) -> Rows:
    """By places: a mask would be counted again for each column."""
    if which.all():
        return rows
    places = which.nonzero()[0]
    batch, group, rank = rows
    return batch.take(places), group[places], rank[places]
