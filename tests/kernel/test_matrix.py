"""Every kernel that Debian serves: each call once, the right verdict, and no breach but its holes.

One short boot each. What is asked in more depth of two of them is in the other modules here.
"""

from collections import Counter
from pathlib import Path

import pandas as pd
import pytest

from tests.kernel.booted import BESIDE, KERNELS, MATRIX, Booted, Run
from tests.kernel.booting import Matrix
from tests.kernel.comparable import comparable
from tests.kernel.ground_truth import HOOKS, Truth, compare, compare_mappings
from tests.kernel.implied import implied, punched_nothing
from tests.kernel.judged import ON_ANY_FILE, bad, beside_truth, judged
from tests.kernel.matrix import BY_BPF, METHODS, markdown, shown, shown_proposal, truths
from tests.kernel.memfd_selftest import (
    RUNS,
    counts,
    judged_of,
    refused,
    seen_by_strace,
    strace_counts,
)
from tracer.rules.variants import HOLES, VARIANTS

AT_LEAST = 6
EVERYWHERE = {"future-write-mremap", "hugetlb-grow"}
SEEN = {
    "5.10.0-46-cloud-amd64": {"future-write-merge"},
    "6.1.0-56-cloud-amd64": {"future-write-merge"},
    "6.12.117+deb13-cloud-amd64": {"hugetlb-exec"},
    "6.17.13+deb13-cloud-amd64": {"hugetlb-exec", "exec-implies-write"},
    "6.18.15+deb13-cloud-amd64": {"hugetlb-exec", "exec-implies-write"},
    "6.19.14+deb13-cloud-amd64": {"hugetlb-exec", "exec-implies-write"},
    "7.0.13+deb13-cloud-amd64": {"hugetlb-exec"},
    "7.1.13+deb13-cloud-amd64": {"hugetlb-exec"},
    "7.2.13+deb14-cloud-amd64": {"hugetlb-exec"},
    "7.3.4+deb13-cloud-amd64": {"hugetlb-exec"},
}
"""Holes that these builds were seen to have besides; of other builds the program's word holds."""


@pytest.fixture(params=METHODS)
def method(request: pytest.FixtureRequest) -> str:
    value: str = request.param
    return value


@pytest.fixture
def run(matrix_kernel: Booted, method: str) -> Run:
    run = matrix_kernel.run(f"matrix-{method}")
    assert run.code == 0, run.stderr
    # Where tasks are preempted inside fexit's programs, what is declared missing is of others: the
    # workload is not preempted (scenes_decisions.UNPREEMPTED), and none of its calls may miss.
    matrix_kernel.is_whole(run, method)
    return run


@pytest.fixture
def workload(matrix_kernel: Booted, method: str) -> Truth:
    return truths(matrix_kernel, method)[0]


@pytest.fixture
def holes(matrix_kernel: Booted, method: str) -> Truth:
    return truths(matrix_kernel, method)[1]


def test_every_call_is_one_event(
    matrix_kernel: Booted, method: str, run: Run, workload: Truth, holes: Truth
) -> None:
    """On 5.10 writes begin at a function of seven parameters, too many for its trampolines."""
    missing = {"fexit": {"write"}, "ftrace": {"mremap", "remap_file_pages"}}
    assert set(HOOKS) - run.hooked <= missing.get(method, set())
    for truth in (workload, holes):
        calls = compare(truth, run.events, ops=run.hooked, **ON_ANY_FILE)
        assert calls.ok, calls
    mappings = compare_mappings(workload, run.events)
    assert mappings.ok, mappings
    assert mappings.expected > 50


def test_every_verdict_is_what_the_errno_implies(
    matrix_kernel: Booted, run: Run, workload: Truth, holes: Truth
) -> None:
    rows = [row for truth in (workload, holes) for row in beside_truth(run.path, truth, run.hooked)]
    opened = [row for row in rows if row["call"].get("opened")]
    wrong = [
        (row["verdict"], row["rule"], row["call"])
        for row in rows
        if not row["call"].get("opened") and row["verdict"] != implied(row["call"]).verdict
    ]
    assert not wrong, wrong[:10]
    skipped = any(punched_nothing(row["call"]) for row in rows)
    assert skipped == (matrix_kernel.name == "5.10")
    assert len(rows) > 900
    for row in opened:
        assert (row["verdict"], row["hole"]) == ("breach", row["call"]["hole"]), row


def test_no_breach_but_the_known_holes(
    matrix_kernel: Booted, run: Run, workload: Truth, holes: Truth
) -> None:
    """The workload and the kernel's selftest go through open holes too, by the way."""
    all_opened = [call for call in holes.calls if call["role"] == "hole" and call["opened"]]
    opened = [call for call in all_opened if call["op"] in run.hooked]
    found = bad(judged(run.path))
    mine = found[found["pid"].isin(holes.pids)]
    assert Counter(mine["hole"].astype(str)) == Counter(call["hole"] for call in opened)
    others = found[~found["pid"].isin(holes.pids)]
    selftest = {call.pid for name in RUNS for call in seen_by_strace(matrix_kernel, name)}
    calls = [call for call in workload.calls if implied(call).verdict == "breach"]
    by_workload = others["pid"].isin(workload.pids)
    assert int(by_workload.sum()) == len([call for call in calls if call["op"] in run.hooked])
    assert set(others.loc[~by_workload, "tid"]) <= selftest, others.to_string()
    assert set(others["verdict"].astype(str)) <= {"breach"}, others.to_string()
    assert set(others["hole"].astype(str)) <= {call["hole"] for call in opened}, others.to_string()
    if matrix_kernel.release in SEEN:
        assert {call["hole"] for call in all_opened} == EVERYWHERE | SEEN[matrix_kernel.release]
    assert {call["hole"] for call in all_opened} <= {hole.name for hole in HOLES}


def test_the_self_test_explains_this_kernel(run: Run, method: str) -> None:
    told = run.manifest["self_test"]
    assert (told["ran"], told["unexplained"], told["open"]) == (True, [], [])
    assert set(told["variants"]) == set(VARIANTS)
    if method != "fexit":  # fexit: see test_truth.test_what_preemption_takes_is_declared
        hooks = told["hooks"].values()
        assert all(hook["seen"] == hook["expected"] and not hook["extra"] for hook in hooks)


def test_both_methods_give_the_same_table(matrix_kernel: Booted) -> None:
    tables = [
        comparable(matrix_kernel.run(f"matrix-{method}"), truths(matrix_kernel, method)[0])
        for method in BY_BPF
    ]
    both = set(HOOKS).intersection(*(matrix_kernel.run(f"matrix-{m}").hooked for m in BY_BPF))
    assert both >= set(HOOKS) - {"write"}
    fexit, kprobe = (table[table["op"].isin(both)].reset_index(drop=True) for table in tables)
    pd.testing.assert_frame_equal(fexit, kprobe)


@pytest.mark.parametrize("name", RUNS)
def test_the_kernels_own_selftest_is_refused_as_strace_saw(
    matrix_kernel: Booted, name: str
) -> None:
    calls = seen_by_strace(matrix_kernel, name)
    rows = judged_of(matrix_kernel.run("matrix-kprobe"), calls)
    assert refused(counts(rows)) == refused(strace_counts(calls))
    blocked = rows[rows["outcome"].isin(["EPERM", "EBUSY"])]
    assert set(blocked["verdict"].astype(str)) <= {"blocked", "error"}
    assert (blocked["expected"].astype(str) == blocked["outcome"]).all()


def test_at_least_six_kernels(
    matrix: Matrix,
    proposal: Booted,
    request: pytest.FixtureRequest,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Prints the table, and writes it where ``--matrix-doc`` says."""
    everything = request.config.getoption("--all-kernels")
    found = [matrix.kernel(name) for name in (MATRIX if everything else BESIDE)]
    played = {each.release: each for each in found if each}
    rows = [*map(shown, played.values()), shown_proposal(proposal)]
    text = markdown(rows, matrix.absent)
    with capsys.disabled():
        print(f"\n{text}")
    wanted: Path | None = request.config.getoption("--matrix-doc")
    if wanted:
        wanted.write_text(text)
    elsewhere = set() if everything else set(KERNELS)  # the other kernel tests boot these
    assert len({*played, *elsewhere, proposal.release}) >= AT_LEAST, matrix.absent
