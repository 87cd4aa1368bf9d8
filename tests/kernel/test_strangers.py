"""Programs that others wrote, beside strace: nothing is missing, nothing doubtful."""

from collections import Counter

import pytest

from tests.kernel.booted import LIVES, Booted
from tests.kernel.memfd_selftest import (
    counts,
    ended,
    judged_of,
    refused,
    said,
    seen_by_strace,
    strace_counts,
)

pytestmark = pytest.mark.parametrize("kernel", [LIVES], indirect=True)

PROGRAMS = ("stress-ng", "qemu", "qemu-storage-daemon")
STRESS_OPS = 20
EACH_OP = Counter(create=1, truncate=3, add_seals=5, mmap=1, write=1)
"""What one bogo operation of stress-ng's stressor ``seal`` calls (stress-seal.c)."""
BLOCKED = 4
"""Of these, what a seal must refuse."""


@pytest.mark.parametrize("name", PROGRAMS)
def test_strace_saw_the_same(kernel: Booted, name: str) -> None:
    run = kernel.run("strangers")
    assert run.code == 0, run.stderr
    run.check_whole()
    assert ended(kernel, name) == 0, said(kernel, name)
    calls = seen_by_strace(kernel, name)
    rows = judged_of(run, calls)
    got, want = counts(rows), strace_counts(calls)
    assert refused(got) == refused(want)
    assert all(count <= want[key] for key, count in got.items())
    for op in ("create", "add_seals"):
        assert got[op, "ok"] == want[op, "ok"]
    verdicts = set(rows["verdict"].astype(str))
    assert verdicts <= {"allowed", "blocked", "error"}, rows.to_string()


def test_each_operation_of_stress_ng(kernel: Booted) -> None:
    rows = judged_of(kernel.run("strangers"), seen_by_strace(kernel, "stress-ng"))
    sealable = rows[rows["op"].isin(list(EACH_OP))]
    wanted = {op: STRESS_OPS * count for op, count in EACH_OP.items()}
    assert sealable["op"].astype(str).value_counts().to_dict() == wanted
    verdicts = sealable["verdict"].astype(str).value_counts().to_dict()
    assert verdicts["blocked"] == STRESS_OPS * BLOCKED
    assert verdicts["allowed"] == STRESS_OPS * (EACH_OP.total() - BLOCKED)


def test_guest_memory_is_sealed_and_mapped(kernel: Booted) -> None:
    """QEMU's memory backend: its size is sealed, then it is mapped shared and writable."""
    rows = judged_of(kernel.run("strangers"), seen_by_strace(kernel, "qemu"))
    backend = rows[rows["name"].astype(str) == "memfd:memory-backend-memfd"]
    assert backend["op"].astype(str).tolist()[:4] == ["create", "truncate", "add_seals", "mmap"]
    assert (backend["answer"] >= 0).all()
