"""Recordings judged as users see them, and each judged row beside the call that it is of."""

import functools
from collections import Counter, defaultdict, deque
from collections.abc import Collection, Hashable
from pathlib import Path

import pandas as pd

from tests.kernel.ground_truth import HOOKS, Truth, expected_calls
from tests.kernel.implied import Row, implied
from tracer.analysis.batches import variants
from tracer.analysis.tables import judge
from tracer.recording.reader import Recording

ON_ANY_FILE = {"unsealable_ops": ("create", "add_seals"), "tmpfs_ops": ("add_seals",)}
"""Recorded on files that can never be sealed too: the refusal is a decision."""

BAD = ("breach", "unexplained")


@functools.cache
def judged(path: Path) -> pd.DataFrame:
    """All decisions of a recording with their verdicts, in its order."""
    with Recording.open(path) as recording:
        events = recording.frame("events", names=True)
        objects = recording.frame("objects")
        rows = judge(events, objects, variants(recording.manifest))
    return rows[rows["op"].isin(list(HOOKS))].reset_index(drop=True)


def bad(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows that a user must look at."""
    return rows[rows["verdict"].isin(BAD)]


def beside_truth(path: Path, truth: Truth, ops: Collection[str] = tuple(HOOKS)) -> list[Row]:
    """Each judged decision of the truth's processes, with ``call``, the truth line that it is of.

    ``ops``: of these operations alone, where the kernel has no hook for others.

    tests.kernel.test_truth proves that events and calls correspond one to one, in order within
    each (tid, op, ino); that order is what pairs them here.
    """
    waiting: dict[tuple[Hashable, ...], deque[Row]] = defaultdict(deque)
    for named in judged(path).to_dict("records"):
        row: Row = {str(name): value for name, value in named.items()}
        if row["pid"] in truth.pids:
            waiting[row["tid"], row["op"], row["ino"]].append(row)
    both = []
    for call in expected_calls(truth, **ON_ANY_FILE):
        if call["op"] not in ops:
            continue
        rows = waiting[call["tid"], call["op"], call["ino"]]
        assert rows, f"not recorded: {call}"
        row = rows.popleft()
        assert row["answer"] == call["answer"], f"recorded otherwise: {call}"
        both.append(row | {"call": call})
    assert not any(waiting.values()), "decisions that no call made"
    return both


def table(verdicts: "pd.Series[str]", ops: "pd.Series[str]") -> pd.DataFrame:
    """How many of each op got which verdict."""
    return pd.crosstab(ops.astype(str), verdicts.astype(str))


def implied_counts(truth: Truth) -> Counter[tuple[str, str]]:
    """(op, verdict) of every call that must be recorded, counted without any recording."""
    calls: list[Row] = expected_calls(truth, **ON_ANY_FILE)
    return Counter((call["op"], implied(call).verdict) for call in calls)
