"""Which rows are the last of their group, across batches that overlap in time."""

import numpy as np

from tracer.analysis.batch import Array

RANK_BITS = 40
"""A row's rank is ``source << RANK_BITS | row``: the order of arrival among all sources."""
NO_RANK = np.iinfo(np.int64).max
BEFORE = np.iinfo(np.int64).min
"""A time before all times: never yet."""
NEVER = np.iinfo(np.int64).max
"""A time after all times."""


def advance(ids: Array, when: Array, rank: Array, known_when: Array, known_rank: Array) -> Array:
    """The rows that are now the last of their group; ``known_*`` (one a group) are brought on.

    Last is who has the greatest ``when``, then the greatest ``rank``. ``ids``: each row's group;
    rows come by rising rank. Of each group at most one row is returned.
    """
    before = known_when.take(ids, mode="clip")
    np.maximum.at(known_when, ids, when)
    best = (when == known_when.take(ids, mode="clip")).nonzero()[0]
    ids = ids[best]
    tied = before[best] == when[best]
    if tied.any():
        keep = ~tied | (rank[best] > known_rank[ids])
        best, ids = best[keep], ids[keep]
    # Of several with one time the one assigned last stays: the one with the greatest rank.
    known_rank[ids] = rank[best]
    last: Array = best[known_rank[ids] == rank[best]]
    return last
