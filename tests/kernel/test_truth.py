"""Every call of the workload is exactly one event with the same content, by both methods."""

from collections import Counter
from typing import Any

import pandas as pd
import pytest

from tests.kernel.booted import Booted
from tests.kernel.comparable import comparable
from tests.kernel.ground_truth import (
    HOOKS,
    Truth,
    compare,
    compare_mappings,
    expected_calls,
    expected_mappings,
)
from tests.kernel.judged import ON_ANY_FILE

METHODS = ("fexit", "kprobe")


@pytest.fixture(params=METHODS)
def method(request: pytest.FixtureRequest) -> str:
    value: str = request.param
    return value


@pytest.fixture(params=["default", "quick"])
def profile(request: pytest.FixtureRequest) -> str:
    value: str = request.param
    return value


def test_every_call_is_one_event(
    kernel: Booted, profile: str, method: str, capsys: pytest.CaptureFixture[str]
) -> None:
    run, truth = kernel.run(f"{profile}-{method}"), kernel.truth(f"{profile}-{method}")
    assert run.code == 0, run.stderr
    run.check_whole()
    calls = compare(truth, run.events, **ON_ANY_FILE)
    mappings = compare_mappings(truth, run.events)
    with capsys.disabled():
        print(f"\n  {kernel.release} {profile} {method}: calls {calls}; mappings {mappings}")
        print(f"    {_counts(truth)}")
    assert calls.ok, calls
    assert mappings.ok, mappings
    assert calls.expected == calls.events > 500
    assert mappings.expected > 50


def test_counts_by_op(kernel: Booted, profile: str, method: str) -> None:
    """The same again by counting alone, which trusts nothing of the comparison's alignment."""
    run, truth = kernel.run(f"{profile}-{method}"), kernel.truth(f"{profile}-{method}")
    per_op = run.per("op")
    assert {op: per_op[op] for op in HOOKS} == _counts(truth)
    assert per_op["map"] == per_op["unmap"] >= len(expected_mappings(truth))
    assert set(per_op) <= {*HOOKS, "map", "unmap", "evict"}
    hooks = Counter(HOOKS[row["op"]] for row in _expected(truth))
    decided = run.totals("decided")
    assert {hook: decided[hook] for hook in hooks} == hooks


def test_nothing_of_others_is_there(kernel: Booted, profile: str, method: str) -> None:
    """Another recorder with its own workload ran at the same time."""
    run, truth = kernel.run(f"{profile}-{method}"), kernel.truth(f"{profile}-{method}")
    assert set(run.events["pid"]) == truth.pids
    assert len(truth.pids) == (4 if profile == "quick" else 2)  # with one that tries fork


def test_the_wider_profile_is_wider(kernel: Booted, method: str) -> None:
    """The quick run had children, threads, huge pages and an ordinary tmpfs file."""
    truth = kernel.truth(f"quick-{method}")
    assert {row["object"] for row in truth.calls} >= {"memfd", "hugetlb", "tmpfs"}
    assert len({row["tid"] for row in truth.calls}) > len(truth.pids)
    events = kernel.run(f"quick-{method}").events
    assert set(events["kind"]) == {"memfd", "hugetlb", "tmpfs", "unknown"}
    assert set(events.loc[events["kind"] == "tmpfs", "op"]) == {"add_seals", "evict"}
    hugetlb = [row for row in truth.calls if row["object"] == "hugetlb"]
    assert any(row["op"] == "mmap" and row["answer"] > 0 for row in hugetlb)


def test_both_methods_give_the_same_table(kernel: Booted, profile: str) -> None:
    fexit, kprobe = (
        comparable(kernel.run(f"{profile}-{method}"), kernel.truth(f"{profile}-{method}"))
        for method in METHODS
    )
    pd.testing.assert_frame_equal(fexit, kprobe)


def test_what_preemption_takes_is_declared(
    kernel: Booted, capsys: pytest.CaptureFixture[str]
) -> None:
    """By forced fexit, children and threads preempting each other: nothing goes in silence."""
    run, truth = kernel.run("preempted"), kernel.truth("preempted")
    assert run.code == 0, run.stderr
    whole = kernel.is_whole(run, "fexit")
    per_op, wanted = run.per("op"), _counts(truth)
    missing = {op: count - per_op.get(op, 0) for op, count in wanted.items()}
    with capsys.disabled():
        total = sum(missing.values())
        print(f"\n  {kernel.release} preempted: {total} missing, {run.misses} skips declared")
    assert all(count >= 0 for count in missing.values())
    assert sum(missing.values()) <= run.misses
    assert whole == (run.misses == 0)
    if run.misses:
        assert "LOST" in run.stderr
    assert int(run.table("losses")["count"].sum()) == run.misses


def _expected(truth: Truth) -> list[dict[str, Any]]:
    return expected_calls(truth, **ON_ANY_FILE)


def _counts(truth: Truth) -> dict[str, int]:
    return dict(Counter(row["op"] for row in _expected(truth)))
