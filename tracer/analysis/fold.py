"""Judges batches of events as they come and keeps the sums; the same whatever the batches are.

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

from tracer.analysis.batch import IS_FACT, Array, Batch
from tracer.analysis.frames import batch_of
from tracer.analysis.judge import Judge
from tracer.analysis.judged import Judged
from tracer.analysis.keys import Keys
from tracer.analysis.latest import BEFORE, NEVER
from tracer.analysis.mappings import Mappings
from tracer.analysis.sealing import Sealing
from tracer.analysis.source import Source
from tracer.analysis.state import State
from tracer.analysis.totals import Totals

if TYPE_CHECKING:
    import pandas as pd

    from tracer.analysis.snapshot import Tables

Keep = Callable[[Judged], npt.NDArray[np.bool_]]
Rows = tuple[Batch, Array, Array]
"""A batch, its groups and its ranks."""
WAITING = 1 << 18
"""Decisions that wait for their object's announcement; of more, the oldest are judged without."""
UNKNOWN = Source()


class Fold:
    """Sums of any number of recordings."""

    def __init__(
        self, variants: Mapping[str, str] | None = None, *, keep: Keep | None = None
    ) -> None:
        """``variants``: what the kernel does (None: what each source's self-test found).

        ``keep``: which decisions are counted; it gets judged columns (tracer.analysis.judged) and
        gives one bool a row. ``tracer.query.parse(text).mask`` is one.
        """
        self._variants = variants
        self._keep = keep
        self._keys = Keys()
        self._totals = Totals()
        self._mappings = Mappings()
        self._sealing = Sealing()
        self._judges: dict[frozenset[tuple[str, str]], Judge] = {}
        self._waiting: list[Rows] = []
        self._problems: dict[Source, dict[str, None]] = {}
        self._losses: dict[Source, pd.DataFrame] = {}
        self._complete: set[Source] = set()

    def objects(
        self, frame: "pd.DataFrame", source: Source = UNKNOWN, *, complete: bool = False
    ) -> None:
        """Takes announcements: table ``objects`` of ``source`` as it is now; rows may come again.

        ``complete``: no more will come, so that nothing has to wait.
        """
        self._keys.objects.announce(self._keys.host(source), frame)
        if complete:
            self._complete.add(source)
        waiting, self._waiting = self._waiting, []
        for rows in waiting:
            self._decide_or_wait(rows)

    def mappings(self, frame: "pd.DataFrame", source: Source = UNKNOWN) -> None:
        """Takes the baseline: table ``mappings`` of ``source``; rows may come again."""
        keys, batch = self._keys, batch_of(frame, source)
        group = keys.group_ids(batch)
        objects = keys.objects_of[group]
        keys.objects.observe(objects, batch, np.full(len(batch), -1))
        keys.of_group["used_ns"][group] = BEFORE
        self._mappings.baseline(keys.host(source), batch, objects, keys.objects.known["mapped_ns"])

    def losses(self, frame: "pd.DataFrame", source: Source = UNKNOWN) -> None:
        """Takes the whole table ``losses`` of ``source`` as it is now."""
        self._keys.source(source)
        self._losses[source] = frame

    def problems(self, found: Iterable[str], source: Source = UNKNOWN) -> None:
        """Takes sentences about what could not be read; one that is known already is not new."""
        self._problems.setdefault(source, {}).update(dict.fromkeys(found))

    def add(self, batch: Batch) -> None:
        """Takes events: each row once, batches in any order."""
        if not len(batch):
            return
        keys = self._keys
        group, rank = keys.group_ids(batch), keys.rank(batch)
        objects = keys.objects_of[group]
        keys.used(group, batch)
        keys.objects.observe(objects, batch, rank)
        mapped_ns = keys.objects.known["mapped_ns"]
        self._mappings.add(keys.host(batch.source), batch, objects, rank, mapped_ns)
        self._sealing.add(batch, group, rank)
        self._decide_or_wait(_some((batch, group, rank), ~IS_FACT[batch["op"]]))

    def tables(self) -> "Tables":
        """The sums as they are now; what comes later does not change them."""
        from tracer.analysis.snapshot import Tables

        totals = self._totals.copy()
        for rows in self._waiting:
            self._decide(totals, rows)
        return Tables(
            State.of(
                self._keys, totals, self._mappings, self._sealing, self._losses, self._problems
            )
        )

    def _decide_or_wait(self, rows: Rows) -> None:
        batch, group, _ = rows
        if batch.source not in self._complete:
            announced = self._announced(group)
            # A call that made no file is about no object.
            announced |= batch["ino"] == 0
            if not announced.all():
                self._waiting.append(_some(rows, ~announced))
                rows = _some(rows, announced)
        while sum(len(batch) for batch, _, _ in self._waiting) > WAITING:
            self._decide(self._totals, self._waiting.pop(0))
        self._decide(self._totals, rows)

    def _decide(self, totals: Totals, rows: Rows) -> None:
        """Judges and counts."""
        batch, group, _ = rows
        if not len(batch):
            return
        objects, known = self._keys.objects_of[group], self._keys.objects.known
        judge = self._judge(batch.source)
        codes = judge.codes(
            {
                **batch.columns,
                "folio_order_max": known["order"][objects],
                "owner_uid": known["owner"][objects],
            }
        )
        if codes.min() < 0:
            judged = codes >= 0
            rows, codes = _some(rows, judged), codes[judged]
        outcome = self._keys.outcome_ids(judge.outcomes)[codes]
        if self._keep is not None:
            kept = self._keep(Judged(self._keys, rows[0], rows[1], outcome))
            rows, outcome = _some(rows, kept), outcome[kept]
        totals.add(self._keys, *rows, outcome)

    def _announced(self, group: Array) -> npt.NDArray[np.bool_]:
        """Whether the kernel side announced the object of each group."""
        known: Array = self._keys.objects.known["announced_ns"] != NEVER
        return known[self._keys.objects_of[group]]

    def _judge(self, source: Source) -> Judge:
        chosen = source.variants if self._variants is None else self._variants
        key = frozenset(chosen.items())
        if key not in self._judges:
            self._judges[key] = Judge(chosen)
        return self._judges[key]


def _some(rows: Rows, which: npt.NDArray[np.bool_]) -> Rows:
    """By places: a mask would be counted again for each column."""
    if which.all():
        return rows
    places = which.nonzero()[0]
    batch, group, rank = rows
    return batch.take(places), group[places], rank[places]
