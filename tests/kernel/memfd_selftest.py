"""A run of the kernel's own memfd selftest: as strace saw it, and as we judged the same calls."""

import errno
from collections import Counter

import pandas as pd

from tests.kernel import strace_log
from tests.kernel.booted import Booted, Run
from tests.kernel.judged import judged
from tests.kernel.strace_log import Call

REFUSED = ("EPERM", "EBUSY")
NOT_RECORDED = ("write", "EINVAL")
"""write(2) on a hugetlb memfd: it has no write method, so no hook is reached."""
RUNS = ("memfd_test", "memfd_test-hugetlb")
Count = Counter[tuple[str, str]]


def ended(kernel: Booted, name: str) -> int:
    return int((kernel.folder / f"{name}.code").read_text())


def said(kernel: Booted, name: str) -> str:
    return (kernel.folder / f"{name}.said").read_text(errors="replace")


def seen_by_strace(kernel: Booted, name: str) -> list[Call]:
    return strace_log.read(kernel.folder / f"{name}.strace")


def judged_of(run: Run, calls: list[Call]) -> pd.DataFrame:
    """The decisions of the threads that strace saw; others may share the recording."""
    rows = judged(run.path)
    rows = rows[rows["tid"].isin({call.pid for call in calls})].copy()
    rows["outcome"] = ["ok" if a >= 0 else errno.errorcode[-a] for a in rows["answer"].tolist()]
    return rows


def counts(rows: pd.DataFrame) -> Count:
    return Counter(zip(rows["op"].astype(str), rows["outcome"], strict=True))


def strace_counts(calls: list[Call]) -> Count:
    found: Count = Counter((call.op, call.errno or "ok") for call in calls)
    del found[NOT_RECORDED]
    return found


def refused(found: Count) -> Count:
    """What was refused, by whatever errno."""
    return Counter({key: count for key, count in found.items() if key[1] != "ok"})
