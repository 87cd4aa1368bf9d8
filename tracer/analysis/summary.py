"""Folds whole recordings into tables: what the report and the notebook interface do."""

from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from tracer.analysis import load
from tracer.analysis.batch import Batch
from tracer.analysis.fold import Fold, Keep
from tracer.analysis.judged import Judged
from tracer.analysis.source import Source

if TYPE_CHECKING:
    from tracer.analysis.snapshot import Tables
    from tracer.recording.reader import Recording

Window = tuple[int | None, int | None]
"""From (inclusive) and until (exclusive), ns of the recording's boot clock; None: open."""


def summarize(
    recordings: "Sequence[Recording]",
    *,
    keep: Keep | None = None,
    columns: Collection[str] = (),
    windows: Sequence[Window] | None = None,
    progress: Callable[[int], None] | None = None,
) -> "Tables":
    """The tables of all decisions in ``recordings``, each judged by what its self-test found.

    ``keep`` gets judged columns (tracer.analysis.judged.Judged) and says which decisions count, as
    ``tracer.filter.parse(text).mask`` does; ``columns``: what it needs beside the usual
    (:data:`tracer.analysis.load.NEEDED`). ``windows``: one a recording; decisions before it do not
    count, and of what came after it nothing does: objects are as they were at its end.
    ``progress`` is told the rows read so far. Raises StoreError; what cannot be read is skipped and
    told in ``problems`` of the tables.
    """
    spans: dict[Source, Window] = {}
    fold = Fold(keep=_in_window(keep, spans))
    rows = 0
    names = [*dict.fromkeys([*load.NEEDED, *columns])]
    for place, recording in enumerate(recordings):
        source = Source.of(recording)
        spans[source] = windows[place] if windows is not None else (None, None)
        ended = recording.end is not None
        fold.losses(load.losses(recording), source)
        fold.objects(load.objects(recording), source, complete=ended)
        fold.mappings(load.mappings(recording), source)
        for batch in load.batches(recording, names, source=source, where=_until(spans[source][1])):
            fold.add(batch)
            rows += len(batch)
            if progress is not None:
                progress(rows)
        if not ended:
            # Announcements that came while the events were read.
            fold.objects(load.objects(recording), source, complete=True)
        fold.problems(recording.problems, source)
    return fold.finish()


def _until(end_ns: int | None) -> Callable[[Batch], npt.NDArray[np.bool_]] | None:
    return None if end_ns is None else lambda batch: np.asarray(batch["time_ns"] < end_ns)


def _in_window(keep: Keep | None, spans: dict[Source, Window]) -> Keep:
    def kept(judged: Judged) -> npt.NDArray[np.bool_]:
        since = spans[judged.source][0]
        late = np.ones(judged.rows, bool) if since is None else judged["time_ns"] >= since
        return late if keep is None else late & keep(judged)

    return kept
