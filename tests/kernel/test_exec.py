"""Executions of memory files: each once, with file, seals, way and answer; others not at all."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd
import pytest

from tests.kernel.booted import Booted, Run
from tests.kernel.scenes_exec import TIMES, TIMES_AT_LENGTH
from tracer.analysis.executed import CHANGEABLE, IMMUTABLE
from tracer.record import Flag

ON_ONE = True  # see conftest.py: one kernel, unless all are asked
BY_BPF = ("fexit", "kprobe")
METHODS = (*BY_BPF, "ftrace")
COMPARED = ("pid", "tid", "ino", "seals", "size", "mode", "fd", "arg", "answer")
IN_HAND = ("no-program", "hugetlb")
"""Refused when the kernel has looked into the file, or executed."""
_CONTENT = 0x02 | 0x04 | 0x08


def told(run: Run) -> list[dict[str, Any]]:
    return [json.loads(line) for line in run.stdout.splitlines() if line.startswith("{")]


def was_in_hand(one: Mapping[str, Any]) -> bool:
    return one["answer"] == 0 or one["variant"] in IN_HAND


def execs(run: Run) -> pd.DataFrame:
    return run.events[run.events["op"] == "exec"]


def keys(rows: Iterable[Mapping[Any, Any]]) -> "Counter[tuple[int, ...]]":
    return Counter(tuple(int(row[name]) for name in COMPARED) for row in rows)


def check_each_once(kernel: Booted, name: str, method: str, times: int) -> None:
    """Of what is refused before the kernel has it in hand, the source ftrace sees nothing."""
    run = kernel.run(f"{name}-{method}")
    assert run.code == 0, run.stderr
    truth = [one for one in told(run) if method in BY_BPF or was_in_hand(one)]
    assert len([one for one in truth if one["variant"] in ("open", "sealed")]) == times
    found = keys(execs(run).to_dict("records"))
    assert not found - keys(truth)
    if kernel.is_whole(run, method):
        assert not keys(truth) - found


@pytest.mark.parametrize("method", METHODS)
def test_each_is_told_once(kernel: Booted, method: str) -> None:
    check_each_once(kernel, "execs", method, TIMES)


@pytest.mark.at_length
@pytest.mark.parametrize("method", METHODS)
def test_each_of_a_thousand_is_told_once_on_every_kernel(
    matrix_kernel: Booted, method: str
) -> None:
    check_each_once(matrix_kernel, "execs_at_length", method, TIMES_AT_LENGTH)


@pytest.mark.parametrize("method", BY_BPF)
def test_only_what_was_refused_before_is_inferred(kernel: Booted, method: str) -> None:
    run = kernel.run(f"execs-{method}")
    in_hand = {one["pid"] for one in told(run) if was_in_hand(one)}
    rows = execs(run)
    inferred = rows["flags"] & int(Flag.INFERRED) != 0
    assert inferred.any()
    assert (inferred == ~rows["pid"].isin(in_hand)).all()


@pytest.mark.parametrize("method", METHODS)
def test_who_it_becomes(kernel: Booted, method: str) -> None:
    """It is told by the task as it was: with the name and address space that it then gives up."""
    rows = execs(kernel.run(f"execs-{method}"))
    ran = rows[(rows["answer"] == 0) & (rows["arg"] & 0x10000 == 0)]
    assert set(ran["comm"].astype(str)) == {"execs"}
    assert (rows.loc[rows["answer"] < 0, "mm"] == 0).all()
    if method in BY_BPF:
        assert (ran["mm"] != 0).all()
        assert (ran["mm"] != ran["own_mm"]).all()


@pytest.mark.parametrize("method", METHODS)
def test_what_could_be_changed(kernel: Booted, method: str) -> None:
    """A copy as runc makes it can never change again; what a dropper runs can."""
    run = kernel.run(f"execs-{method}")
    done = run.script("--ops", "exec")
    assert done.returncode == 0, done.stderr
    said = run.report()
    assert "Programs run from memory files" in said.stdout
    rows = json.loads(run.report("--json").stdout)["executed"]
    state = {(row["name"], row["state"]) for row in rows}
    assert ("memfd:runc_cloned:/proc/self/exe", IMMUTABLE) in state
    assert ("memfd:dropper", CHANGEABLE) in state
    assert {name for name, _ in state} >= {"memfd:execs", "execs"}
    for row in rows:
        assert (row["state"] == IMMUTABLE) == (row["seals"] & _CONTENT == _CONTENT)
