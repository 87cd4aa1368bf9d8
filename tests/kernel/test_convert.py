"""Conversions between private and shared: each of the VMM's calls is one row, and the state that is
rebuilt from them is the array that the VMM kept itself."""

from collections import Counter, defaultdict
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tests.kernel.booted import Booted, Run
from tests.kernel.judged import judged
from tests.kernel.test_private import GUEST_AT, METHODS, PAGE, Act, acts, of
from tracer.analysis import private
from tracer.recording.reader import Recording
from tracer.words import Flag

pytestmark = pytest.mark.at_length

TAKEN = 1


@pytest.fixture(params=METHODS)
def method(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def rows_of(run: Run, told: list[Act]) -> pd.DataFrame:
    """The VMM's conversions in the order in which they were asked for."""
    rows = judged(run.path)
    found = rows[(rows["op"].astype(str) == "convert") & (rows["pid"] == told[0]["pid"])]
    assert isinstance(found, pd.DataFrame)
    return found.sort_values("time_ns", kind="stable")


def numbers(rows: pd.DataFrame, told: list[Act]) -> dict[int, int]:
    """Which number each of the VMM's machines has in the recording: by the descriptor."""
    fds = {vm["fd"]: vm["vm"] for vm in of(told, "vm")}
    found = {(fds[fd], vm) for fd, vm in zip(rows["fd"], rows["vm"], strict=True)}
    by_vm = dict(found)
    assert len(found) == len(by_vm) == len(set(by_vm.values())) == len(of(told, "vm"))
    assert 0 not in by_vm.values()
    return by_vm


def check_each(run: Run, told: list[Act]) -> None:
    """Each call exactly once, with its machine, range, wish and answer, by thread in its order."""
    rows = rows_of(run, told)
    number = numbers(rows, told)
    by_thread: dict[int, list[Any]] = defaultdict(list)
    for row in rows.to_dict("records"):
        by_thread[row["tid"]].append(row)
    asked: dict[int, list[Act]] = defaultdict(list)
    for one in of(told, "convert"):
        asked[one["tid"]].append(one)
    assert {tid: len(mine) for tid, mine in by_thread.items()} == {
        tid: len(mine) for tid, mine in asked.items()
    }
    for tid, mine in asked.items():
        for want, row in zip(mine, by_thread[tid], strict=True):
            got = (row["vm"], row["offset"] % 2**64, row["length"], row["arg"], row["answer"])
            assert got == (
                number[want["vm"]], want["address"], want["length"], want["attributes"],
                want["answer"],
            ), (want, row)  # fmt: skip
            assert want["began_ns"] <= row["time_ns"] <= want["time_ns"]
            # What KVM took it told itself; of the rest there is the caller's word alone.
            assert (row["checks"] == TAKEN) is (want["answer"] == 0)
            assert bool(row["flags"] & Flag.INFERRED) is (want["answer"] != 0)
            assert row["verdict"] == ("allowed" if want["answer"] == 0 else "error")


def check_state(run: Run, told: list[Act]) -> None:
    """Page by page, what the VMM had at its end; and every machine was seen to begin."""
    rows = rows_of(run, told)
    number = numbers(rows, told)
    with Recording.open(run.path) as recording:
        found = private.of(recording)
    machines = found.machines().set_index("vm")
    ranges = found.ranges()
    for vm in of(told, "vm"):
        mine = [one for one in of(told, "convert") if one["vm"] == vm["vm"]]
        answers = Counter(one["answer"] == 0 for one in mine)
        row = machines.loc[number[vm["vm"]]]
        assert (row["conversions"], row["refused"]) == (answers[True], answers[False])
        assert (row["type"], row["pid"], row["unknown"]) == (vm["type"], told[0]["pid"], 0)
        some = ranges[(ranges["vm"] == number[vm["vm"]]) & (ranges["until_ns"] == private.FOREVER)]
        assert "unknown" not in set(some["state"])
        for state in of(told, "states", vm=vm["vm"]):
            first, count = GUEST_AT // PAGE + state["first"], len(state["private"])
            rebuilt = np.full(count, "?")
            one: Any
            for one in some.itertuples():
                begin = max(0, int(one.start) // PAGE - first)
                end = max(0, min(count, int(one.end) // PAGE - first))
                rebuilt[begin:end] = "1" if one.state == "private" else "0"
            assert "".join(rebuilt) == state["private"], (vm, state["part"])


def test_stock_kernels_conversions(stock_host: Booted, method: str) -> None:
    """Accepted 0 and refused EINVAL on the generic flavour, ENOTTY on the cloud's."""
    run, told = stock_host.run(f"stock-{method}"), acts(stock_host, "stock")
    stock_host.is_whole(run, method)
    check_each(run, told)
    check_state(run, told)


def test_stock_kernels_say_what_they_lack(stock_host: Booted, method: str) -> None:
    hooks = {one["family"]: one for one in stock_host.run(f"stock-{method}").manifest["hooks"]}
    for family in ("convert", "vm_begin"):
        assert hooks[family]["method"] == method
    has = bool(of(acts(stock_host, "stock"), "kernel")[0]["attributes"])
    assert (hooks["convert_range"]["method"] is not None) is has
    assert hooks["convert_range"]["absent"] is not has


@pytest.mark.parametrize("name", ["conversions", "punched", "broken"])
def test_private_guests_conversions(private_host: Booted, name: str, method: str) -> None:
    run, told = private_host.run(f"{name}-{method}"), acts(private_host, name)
    check_each(run, told)
    check_state(run, told)
