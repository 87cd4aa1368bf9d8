"""The table of decisions over time."""

import numpy as np
import pandas as pd

from tracer.analysis.columns import VERDICT_WORDS
from tracer.analysis.timebins import TimeBins, summed
from tracer.analysis.view import View

STEPS = 200
"""Steps at most, where no width was asked for."""


def _width(bins: TimeBins) -> int:
    """The smallest 1, 2 or 5 x 10^n ns that needs at most STEPS steps."""
    power = bins.step_ns
    while True:
        for digit in (1, 2, 5):
            if len(summed(bins.counts, bins.first, digit * power // bins.step_ns)[0]) <= STEPS:
                return digit * power
        power *= 10


def over_time(view: View, step_ns: int | None) -> pd.DataFrame:
    """See :meth:`tracer.analysis.tables.Tables.over_time`."""
    pieces = []
    for host, bins in sorted(view.state.totals.steps.items()):
        step = step_ns or _width(bins)
        factor = max(1, -(-step // bins.step_ns))
        counts, first = summed(bins.counts, bins.first, factor)
        used = np.flatnonzero(counts.any(axis=1))
        counts, first = counts[used[0] : used[-1] + 1], first + int(used[0])
        width = factor * bins.step_ns
        times = (first + np.arange(len(counts))) * width
        frame = {
            **view.whence(np.full(len(times), host)),
            "time_ns": times,
            "step_ns": np.full(len(times), width),
            **dict(zip(VERDICT_WORDS, counts.T, strict=True)),
            "decisions": counts.sum(axis=1),
        }
        pieces.append(pd.DataFrame(frame))
    if not pieces:
        names = ["host", "boot_id", "time_ns", "step_ns", *VERDICT_WORDS, "decisions"]
        return pd.DataFrame({name: [] for name in names})
    return pd.concat(pieces, ignore_index=True)
