"""By ftrace the recording is the same: same calls, same verdicts; and tracefs is left as it was."""

import re
from collections.abc import Collection

import pandas as pd
import pytest

from tests.kernel.awkward import COMPAT, check_compat, check_limits, check_nested, check_whole
from tests.kernel.booted import Booted
from tests.kernel.ground_truth import compare, compare_mappings
from tests.kernel.judged import ON_ANY_FILE, judged
from tests.kernel.scenes_ftrace import FOREIGN
from tracer.words import Flag

ON_ONE = True  # see conftest.py: one kernel, unless all are asked
EPERM, EINVAL = -1, -22
NAME, AWKWARD = "quick-ftrace", "awkward-ftrace"
_KEY = ["op", "kind", "name", "verdict", "errno", "seals"]


def test_every_call_is_one_event(kernel: Booted, capsys: pytest.CaptureFixture[str]) -> None:
    run, truth = kernel.run(NAME), kernel.truth(NAME)
    assert run.code == 0, run.stderr
    run.check_whole()
    calls = compare(truth, run.events, ops=run.hooked, **ON_ANY_FILE)
    mappings = compare_mappings(truth, run.events)
    with capsys.disabled():
        seconds = kernel.scenes["ftrace"]
        print(f"\n  {kernel.release} ftrace: {calls}; mappings {mappings}; scene {seconds} s")
    assert calls.ok, calls
    assert mappings.ok, mappings
    assert calls.expected == calls.events > 500


@pytest.mark.parametrize("method", ["fexit", "kprobe"])
def test_the_judged_tables_are_those_of_bpf(kernel: Booted, method: str) -> None:
    ops = kernel.run(NAME).hooked
    ftrace, bpf = (_counted(kernel, name, ops) for name in (NAME, f"quick-{method}"))
    pd.testing.assert_series_equal(ftrace, bpf)
    assert ftrace.sum() > 500


def _counted(kernel: Booted, name: str, ops: Collection[str]) -> "pd.Series[int]":
    """How often each (op, object, verdict, errno) was there, in the workload's own processes."""
    rows = judged(kernel.run(name).path)
    rows = rows[rows["pid"].isin(kernel.truth(name).pids) & rows["op"].isin(ops)].copy()
    rows["name"] = rows["name"].astype(str).str.replace(r"workload-\d+", "workload-PID", regex=True)
    # Of a creation that was refused, BPF alone tells what name it asked for.
    rows.loc[(rows["op"] == "create") & (rows["answer"] < 0), "name"] = "nan"
    rows["errno"] = rows["answer"].where(rows["answer"].between(-4095, -1), 0)
    for column in ("op", "kind", "verdict"):
        rows[column] = rows[column].astype(str)
    return rows.groupby(_KEY).size().sort_index()


# ---- what is easily recorded wrongly ----------------------------------------------------------
# On all kernels: those that are tested in depth, and those of the matrix.


@pytest.mark.parametrize("bits", COMPAT)
def test_32_bit_calls_are_recorded_too(kernel: Booted, bits: str) -> None:
    check_whole(kernel, AWKWARD, "ftrace")
    check_compat(kernel, AWKWARD, bits, named=False)


@pytest.mark.parametrize("bits", COMPAT)
def test_32_bit_calls_are_recorded_on_every_kernel(matrix_kernel: Booted, bits: str) -> None:
    check_whole(matrix_kernel, AWKWARD, "ftrace")
    check_compat(matrix_kernel, AWKWARD, bits, named=False)


def test_a_call_inside_another_takes_nothing_from_it(kernel: Booted) -> None:
    check_nested(kernel, AWKWARD)
    check_limits(kernel, AWKWARD)


def test_a_call_inside_another_takes_nothing_on_every_kernel(matrix_kernel: Booted) -> None:
    check_nested(matrix_kernel, AWKWARD)
    check_limits(matrix_kernel, AWKWARD)


# ---- what it says, and what it leaves behind ----------------------------------------------------


def test_the_self_test_confirms_every_hook(kernel: Booted) -> None:
    run = kernel.run(NAME)
    self_test = run.manifest["self_test"]
    assert self_test["ran"]
    assert not self_test["unexplained"]
    assert self_test["variants"] == kernel.run("quick-kprobe").manifest["self_test"]["variants"]
    hooks = self_test["hooks"]
    wrong = {name: one for name, one in hooks.items() if one["seen"] != one["expected"]}
    assert not wrong
    assert {step["family"] for step in run.manifest["hooks"] if step["method"]} == set(hooks)


def test_it_says_what_it_is(kernel: Booted) -> None:
    manifest = kernel.run(NAME).manifest
    assert (manifest["source"], manifest["method"]) == ("ftrace", "kprobe")
    assert any(spot.startswith("by ftrace:") for spot in manifest["blind_spots"])
    assert kernel.run("quick-kprobe").manifest["source"] == "bpf"


def test_what_a_killed_recorder_left_is_cleared_away(kernel: Booted) -> None:
    facts = kernel.facts("ftrace")
    before, left, cleared = facts["before"], facts["after_kill"], facts["cleared"]
    dead = set(left["instances"]) - set(before["instances"])
    assert len(dead) == 1
    assert len(left["events"]) > len(before["events"]) + 20
    assert dead.isdisjoint(cleared["instances"])
    group = dead.pop().replace("-", "_")
    assert any(f":{group}/" in line for line in left["events"])
    assert not any(f":{group}/" in line for line in cleared["events"])
    assert group.replace("_", "-") in kernel.told("ftrace-living").stderr.replace("_", "-")


def test_nobody_else_is_touched(kernel: Booted) -> None:
    """A recorder that lives keeps its hooks while others start and end; so do strangers."""
    facts = kernel.facts("ftrace")
    assert facts["beside"] == facts["cleared"]
    living = kernel.run("ftrace-living")
    assert living.code == 0, living.stderr
    assert living.end is not None
    denied = living.events[living.events["pid"].isin(kernel.truth(NAME).pids)]
    refused = denied[denied["op"] == "mmap"]
    assert len(refused) > 20
    assert (refused["answer"] < 0).all()
    assert not (refused["flags"].astype(int) & int(Flag.RETURN_MISSING)).any()
    truth = kernel.run(NAME).events
    assert len(refused) == ((truth["op"] == "mmap") & (truth["answer"] < 0)).sum()


def test_nothing_of_ours_stays(kernel: Booted) -> None:
    facts = kernel.facts("ftrace")
    assert facts["after"] == facts["before"]
    assert facts["before"]["instances"] == [FOREIGN]
    assert not re.search(r"sealsnoop_\d", "\n".join(facts["after"]["events"]))
