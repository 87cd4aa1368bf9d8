"""The kernel's own memfd selftest, as we judge it and as strace saw the same run.

Its checks are loose about errno (a failing write only has to be -1), so strace's view of the run
is what the recording is held against.
"""

from collections import Counter

import pytest

from tests.kernel.booted import Booted, Run
from tests.kernel.judged import bad
from tests.kernel.memfd_selftest import (
    REFUSED,
    RUNS,
    counts,
    ended,
    judged_of,
    refused,
    said,
    seen_by_strace,
    strace_counts,
)


@pytest.fixture
def run(kernel: Booted) -> Run:
    run = kernel.run("memfd_test")
    assert run.code == 0, run.stderr
    run.check_whole()
    return run


@pytest.mark.parametrize("name", RUNS)
def test_strace_saw_the_same(
    kernel: Booted, run: Run, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    calls = seen_by_strace(kernel, name)
    got, want = counts(judged_of(run, calls)), strace_counts(calls)
    with capsys.disabled():
        print(f"\n  {kernel.release} {name}: {len(calls)} calls, refused {dict(refused(want))}")
    assert refused(got) == refused(want)
    assert all(count <= want[key] for key, count in got.items())
    for op in ("create", "add_seals"):  # recorded on files that cannot be sealed, too
        assert got[op, "ok"] == want[op, "ok"] > 0


def test_it_passes_and_nothing_is_bad(kernel: Booted, run: Run) -> None:
    assert ended(kernel, "memfd_test") == 0, said(kernel, "memfd_test")
    assert said(kernel, "memfd_test").splitlines()[-1] == "memfd: DONE"
    rows = bad(judged_of(run, seen_by_strace(kernel, "memfd_test")))
    assert rows.empty, rows.to_string()


@pytest.mark.parametrize("name", RUNS)
def test_every_refusal_is_blocked(kernel: Booted, run: Run, name: str) -> None:
    """But for F_ADD_SEALS through a read-only descriptor, which no seal refuses."""
    calls = seen_by_strace(kernel, name)
    rows = judged_of(run, calls)
    no = rows[rows["outcome"].isin(REFUSED)]
    without_seal = [call for call in calls if call.read_only and call.errno in REFUSED]
    assert all(call.op == "add_seals" for call in without_seal)
    verdicts = Counter(no["verdict"].astype(str))
    assert verdicts == Counter(blocked=len(no) - len(without_seal), error=len(without_seal)), (
        no.to_string()
    )
    assert (no["expected"].astype(str) == no["outcome"]).all()
    assert len(no) >= (40 if ended(kernel, name) == 0 else 3)


def test_memfd_noexec_refuses_without_a_seal(kernel: Booted, run: Run) -> None:
    """vm.memfd_noexec=2 (since 6.3): documented, but no seal."""
    rows = judged_of(run, seen_by_strace(kernel, "memfd_test"))
    no = rows[rows["outcome"] == "EACCES"]
    assert set(no["op"]) <= {"create"}
    assert set(no["verdict"].astype(str)) <= {"error"}
    assert all("vm.memfd_noexec" in reason for reason in no["reason"].astype(str))


def test_hugetlb_run_ends_where_the_hole_is(kernel: Booted, run: Run) -> None:
    """Where F_SEAL_EXEC exists, the selftest itself fails on it: its last call is our breach."""
    calls = seen_by_strace(kernel, "memfd_test-hugetlb")
    rows = bad(judged_of(run, calls))
    if ended(kernel, "memfd_test-hugetlb") == 0:
        assert rows.empty, rows.to_string()
        assert said(kernel, "memfd_test-hugetlb").splitlines()[-1] == "memfd: DONE"
        return
    last = calls[-1]
    assert (last.op, last.errno, last.name) == ("chmod", None, "kern_memfd_seal_exec"), last
    assert len(rows) == 1, rows.to_string()
    found = rows.iloc[0]
    told = (found["verdict"], found["op"], found["hole"], found["name"])
    assert told == ("breach", "chmod", "hugetlb-exec", f"memfd:{last.name}")
    assert judged_of(run, calls).iloc[-1].equals(found)
