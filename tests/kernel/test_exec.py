"""Executions of memory files: each once, with file, seals, way and answer; others not at all."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd
import pytest

from tests.kernel.booted import Booted, Run
from tests.kernel.scenes_exec import TIMES
from tracer.record import Flag

METHODS = ("fexit", "kprobe")
COMPARED = ("pid", "tid", "ino", "seals", "size", "mode", "fd", "arg", "answer")
IN_HAND = ("no-program", "hugetlb")
"""Refused when the kernel has looked into the file, or executed."""
_CONTENT = 0x02 | 0x04 | 0x08


def told(run: Run) -> list[dict[str, Any]]:
    return [json.loads(line) for line in run.stdout.splitlines() if line.startswith("{")]


def execs(run: Run) -> pd.DataFrame:
    return run.events[run.events["op"] == "exec"]


def keys(rows: Iterable[Mapping[Any, Any]]) -> "Counter[tuple[int, ...]]":
    return Counter(tuple(int(row[name]) for name in COMPARED) for row in rows)


@pytest.mark.parametrize("method", METHODS)
def test_each_is_told_once(kernel: Booted, method: str) -> None:
    run = kernel.run(f"execs-{method}")
    assert run.code == 0, run.stderr
    truth, rows = told(run), execs(run)
    assert len([one for one in truth if one["variant"] in ("open", "sealed")]) == TIMES
    found = keys(rows.to_dict("records"))
    assert not found - keys(truth)
    if kernel.is_whole(run, method):
        assert not keys(truth) - found


@pytest.mark.parametrize("method", METHODS)
def test_only_what_was_refused_before_is_inferred(kernel: Booted, method: str) -> None:
    run = kernel.run(f"execs-{method}")
    in_hand = {one["pid"] for one in told(run) if one["answer"] == 0 or one["variant"] in IN_HAND}
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
    assert (ran["mm"] != 0).all()
    assert (ran["mm"] != ran["own_mm"]).all()
    assert (rows.loc[rows["answer"] < 0, "mm"] == 0).all()


@pytest.mark.parametrize("method", METHODS)
def test_what_could_be_changed(kernel: Booted, method: str) -> None:
    run = kernel.run(f"execs-{method}")
    done = run.script("--ops", "exec")
    assert done.returncode == 0, done.stderr
    said = run.report()
    assert "Programs run from memory files" in said.stdout
    assert "immutable" in said.stdout
    assert "could be changed" in said.stdout
    sealed = execs(run)["seals"] & _CONTENT == _CONTENT
    assert sealed.any()
    assert not sealed.all()
