"""The part of a recording that two recordings of one workload on one kernel have in common."""

import pandas as pd

from tests.kernel.booted import Run
from tests.kernel.ground_truth import HOOKS, Truth

AGREEING = (
    "uid", "comm", "op", "kind", "hook", "fd", "seals", "seals_after", "size", "size_after",
    "offset", "length", "arg", "answer", "flags", "nr", "check_answer", "file_answer", "writable",
    "mode", "fmode", "checks",
)  # fmt: skip
"""Columns that two runs of the workload on one kernel have in common."""


def comparable(run: Run, truth: Truth) -> pd.DataFrame:
    """Decisions by worker and in order, without what differs from run to run.

    Addresses do, and so do descriptors where threads share them; each run's own truth has them.
    """
    workers = {row["tid"]: row["worker"] for row in truth.calls}
    events = run.events
    rows = events[events["op"].isin(list(HOOKS)) & events["pid"].isin(truth.pids)].copy()
    rows["worker"] = rows["tid"].map(workers)
    rows["name"] = rows["name"].str.replace(r"workload-\d+", "workload-PID", regex=True)
    rows = rows.sort_values("worker", kind="stable", ignore_index=True)
    rows.loc[rows["op"].isin(["mmap", "mremap", "create"]) & (rows["answer"] > 0), "answer"] = 1
    rows.loc[rows["op"] == "remap_file_pages", "arg"] &= 0xFFFF
    rows["fd"] = rows["fd"].clip(upper=0)
    for column in ("op", "kind", "hook", "comm"):
        rows[column] = rows[column].astype(str)
    return rows[["worker", "name", *AGREEING]]
