"""What each filter lets through, counted exactly: all recordings are of one and the same moment."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.kernel.booted import Booted
from tests.kernel.ground_truth import HOOKS, Truth, compare, compare_mappings
from tests.kernel.guest_tools import NOBODY
from tests.kernel.judged import ON_ANY_FILE
from tests.kernel.scenes_decisions import FILTERS

Row = dict[str, Any]
GROW_WRITE = 0x4 | 0x8

ON_ONE = True  # see conftest.py: one kernel, unless all are asked


def _both(kernel: Booted) -> Truth:
    inside, outside = kernel.truth("inside"), kernel.truth("outside")
    return Truth(
        inside.run, inside.calls + outside.calls, inside.mappings + outside.mappings
    )  # fmt: skip


def _only(truth: Truth, wanted: Callable[[Row], bool]) -> Truth:
    return Truth(
        truth.run,
        [row for row in truth.calls if wanted(row)],
        [row for row in truth.mappings if wanted(row)],
    )


def test_workloads_succeeded(kernel: Booted) -> None:
    facts = kernel.facts("filters")
    assert (facts["inside"], facts["outside"]) == (0, 0)


@pytest.mark.parametrize("name", FILTERS)
def test_whole_and_without_the_recorder(kernel: Booted, name: str) -> None:
    run = kernel.run(f"filter-{name}")
    assert run.code == 0, run.stderr
    run.check_whole()
    assert run.facts["pid"] not in set(run.events["pid"])
    if name != "unsealable":  # elsewhere on the machine tmpfs files are written all the time
        assert set(run.events["pid"]) <= _both(kernel).pids


def test_pid_follows_children(kernel: Booted) -> None:
    run, truth = kernel.run("filter-pid"), kernel.truth("inside")
    assert set(run.events["pid"]) == truth.pids
    assert len(truth.pids) == 4
    result = compare(truth, run.events, **ON_ANY_FILE)
    assert result.ok, result
    result = compare_mappings(truth, run.events)
    assert result.ok, result


def test_uid(kernel: Booted) -> None:
    run, truth = kernel.run("filter-uid"), kernel.truth("outside")
    assert set(run.events["pid"]) == truth.pids
    assert set(run.events["uid"]) == {NOBODY}
    result = compare(truth, run.events, **ON_ANY_FILE)
    assert result.ok, result
    result = compare_mappings(truth, run.events)
    assert result.ok, result


def test_name(kernel: Booted) -> None:
    run = kernel.run("filter-name")
    truth = _only(_both(kernel), lambda row: (row["name"] or "").startswith("w0-mmap"))
    assert set(run.events["pid"]) == {row["pid"] for row in truth.calls}
    assert run.events["name"].str.startswith("memfd:w0-mmap").all()
    result = compare(truth, run.events, **ON_ANY_FILE)
    assert result.ok, result
    assert result.expected > 100
    for name in ("inside", "outside"):  # their workers have the same numbers
        part = _only(kernel.truth(name), lambda row: (row["name"] or "").startswith("w0-mmap"))
        result = compare_mappings(part, run.events)
        assert result.ok, result


def test_seals(kernel: Booted) -> None:
    """Seals at entry or at return: the call that adds the last of them is let through."""
    run = kernel.run("filter-seals")
    truth = _only(
        _both(kernel), lambda row: (row["seals"] | row["seals_after"]) & GROW_WRITE == GROW_WRITE
    )
    result = compare(truth, run.events, **ON_ANY_FILE)
    assert result.ok, result
    assert result.expected > 50
    had = run.events["seals"] | run.events["seals_after"]
    assert (had & GROW_WRITE == GROW_WRITE).all()
    ends = [row for row in truth.mappings if row["seals_after"] & GROW_WRITE == GROW_WRITE]
    assert run.per("op").get("unmap", 0) >= len(ends) > 0


def test_denied(kernel: Booted) -> None:
    run = kernel.run("filter-denied")
    truth = _only(_both(kernel), lambda row: row.get("answer", 0) < 0)
    result = compare(truth, run.events, **ON_ANY_FILE)
    assert result.ok, result
    assert result.expected > 50
    decisions = run.events[run.events["op"] != "evict"]
    assert (decisions["answer"] < 0).all()
    assert len(decisions) == result.expected


def test_ops(kernel: Booted) -> None:
    run, truth = kernel.run("filter-ops"), _both(kernel)
    result = compare(truth, run.events, ops={"mmap", "add_seals"}, **ON_ANY_FILE)
    assert result.ok, result
    assert set(run.per("op")) == {"mmap", "add_seals", "evict"}
    hooked = {step["family"] for step in run.manifest["hooks"] if step["method"]}
    assert "write" not in hooked
    assert "mmap" in hooked


def test_unsealable(kernel: Booted) -> None:
    run, truth = kernel.run("filter-unsealable"), kernel.truth("inside")
    result = compare(truth, run.events, unsealable_ops=HOOKS, tmpfs_ops=HOOKS)
    assert result.ok, result
    sealable = compare(truth, run.events, **ON_ANY_FILE)
    assert result.expected > sealable.expected
    mine = run.events[run.events["pid"].isin(truth.pids)]
    assert (mine["kind"] == "tmpfs").sum() > 20
    memfds = run.events[run.events["kind"] != "tmpfs"]
    result = compare_mappings(truth, memfds, unsealable=True)
    assert result.ok, result


def test_baseline(kernel: Booted) -> None:
    """A process that held and mapped a sealed memfd before the trace began."""
    holder = kernel.facts("holder")
    run = kernel.run("filter-seals")
    rows = run.table("mappings")
    mine = rows[rows["pid"] == holder["pid"]]
    assert set(mine["ino"]) == {holder["ino"]}
    assert set(mine["kind"]) == {"memfd"}
    assert set(mine["seals"]) == {holder["seals"]}
    assert set(mine["size"]) == {holder["size"]}
    held = mine[mine["op"] == "open"]
    assert sorted(held["fd"]) == holder["fds"]
    mapped = mine[mine["op"] == "map"].sort_values("answer")
    shared = 0x8  # VM_SHARED
    found = [
        {
            "answer": row.answer, "length": row.length, "offset": row.offset,
            "shared": bool(row.arg & shared),
        }
        for row in mapped.itertuples()
    ]  # fmt: skip
    assert found == sorted(holder["mappings"], key=lambda one: one["answer"])
    objects = run.table("objects")
    assert "from before" in objects.loc[objects["ino"] == holder["ino"], "name"].iloc[0]
