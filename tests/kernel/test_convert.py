"""Conversions between private and shared: each of the VMM's calls is one row, and the state that is
rebuilt from them is the array that the VMM kept itself."""

from collections import Counter, defaultdict
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tests.kernel.booted import Booted, Run
from tests.kernel.guest_tools import PROJECT
from tests.kernel.test_private import (
    ENOTTY,
    GUEST_AT,
    METHODS,
    PAGE,
    Act,
    acts,
    faults,
    of,
    touches,
)
from tracer.analysis import private
from tracer.analysis.batches import variants
from tracer.analysis.tables import judge
from tracer.audit.evaluate import audit
from tracer.audit.policy import load
from tracer.recording.reader import Recording
from tracer.words import Flag

pytestmark = pytest.mark.at_length

TAKEN = 1


@pytest.fixture(params=METHODS)
def method(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def rows_of(run: Run, told: list[Act]) -> pd.DataFrame:
    """The VMM's conversions in the order in which they were asked for, judged."""
    with Recording.open(run.path) as recording:
        rows = judge(run.events, recording.frame("objects"), variants(recording.manifest))
    found = rows[(rows["op"].astype(str) == "convert") & (rows["pid"] == told[0]["pid"])]
    assert isinstance(found, pd.DataFrame)
    return found.sort_values("time_ns", kind="stable")


def beside(run: Run, told: list[Act]) -> list[tuple[Act, dict[str, Any]]]:
    """Each call with its row: each thread's in its order, and none is left over."""
    rows: dict[int, list[dict[str, Any]]] = defaultdict(list)
    for row in rows_of(run, told).to_dict("records"):
        rows[row["tid"]].append({str(name): value for name, value in row.items()})
    asked: dict[int, list[Act]] = defaultdict(list)
    for one in of(told, "convert"):
        asked[one["tid"]].append(one)
    assert {tid: len(mine) for tid, mine in rows.items()} == {
        tid: len(mine) for tid, mine in asked.items()
    }
    return [pair for tid in asked for pair in zip(asked[tid], rows[tid], strict=True)]


def numbers(both: list[tuple[Act, dict[str, Any]]]) -> dict[int, int]:
    """Which number each of the VMM's machines has in the recording: always the same, its own."""
    found = {(want["vm"], row["vm"]) for want, row in both}
    by_vm = dict(found)
    assert len(found) == len(by_vm) == len(set(by_vm.values())) == 2
    assert 0 not in by_vm.values()
    return by_vm


def check_each(run: Run, told: list[Act]) -> None:
    """Each call exactly once, with its machine, range, wish and answer."""
    both = beside(run, told)
    numbers(both)
    for want, row in both:
        got = (row["offset"] % 2**64, row["length"], row["arg"], row["answer"])
        assert got == (want["address"], want["length"], want["attributes"], want["answer"])
        assert want["began_ns"] <= row["time_ns"] <= want["time_ns"]
        # What KVM took it told itself; of the rest there is the caller's word alone.
        assert (row["checks"] == TAKEN) is (want["answer"] == 0)
        assert bool(row["flags"] & Flag.INFERRED) is (want["answer"] != 0)
        assert row["verdict"] == ("allowed" if want["answer"] == 0 else "error")


def check_state(run: Run, told: list[Act]) -> None:
    """Page by page, what the VMM had at its end; and every machine was seen to begin."""
    number = numbers(beside(run, told))
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
        check_pages(some, told, vm["vm"])


def check_pages(ranges: pd.DataFrame, told: list[Act], vm: int) -> None:
    """Each page of a machine is as the VMM had it at its end."""
    for state in of(told, "states", vm=vm):
        first, count = GUEST_AT // PAGE + state["first"], len(state["private"])
        rebuilt = np.full(count, "?")
        one: Any
        for one in ranges.itertuples():
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
    run, told = private_host.run(f"private-{method}"), acts(private_host, name)
    check_each(run, told)
    check_state(run, told)


def test_machines_that_ran_before(private_host: Booted, method: str) -> None:
    """All that they did was before the recording; KVM's own list has what came of it."""
    run, told = private_host.run(f"private-{method}"), acts(private_host, "before")
    assert run.end is not None
    look = run.end["baseline"]["start"]
    assert (look["machines"], look["machines_problem"]) == (2, "")
    assert not len(rows_of(run, told))
    with Recording.open(run.path) as recording:
        found = private.of(recording)
        slots = recording.frame("mappings")
    slots = slots[(slots["op"] == "memslot") & (slots["pid"] == told[0]["pid"])]
    number = dict(slots[["ino", "vm"]].itertuples(index=False))
    ranges, machines = found.ranges(), found.machines().set_index("vm")
    for vm in of(told, "vm"):
        [mine] = {number[one["ino"]] for one in of(told, "create", vm=vm["vm"])
                  if one["ino"] in number}  # fmt: skip
        some = ranges[(ranges["vm"] == mine) & (ranges["until_ns"] == private.FOREVER)]
        check_pages(some, told, vm["vm"])
        row = machines.loc[mine]
        assert (row["conversions"], row["refused"], row["unknown"]) == (0, 0, 0)
        assert (row["type"], row["pid"]) == (-1, told[0]["pid"])


def test_what_the_tracepoint_tells(stock_host: Booted) -> None:
    """Each range that KVM took in hand, and no more than that. Not on our own kernel: under QEMU it
    dies of the ftrace source's probe on fd_install, each time (RIP 0)."""
    run, told = stock_host.run("by-ftrace"), acts(stock_host, "by-ftrace")
    [hook] = [one for one in run.manifest["hooks"] if one["family"] == "convert_trace"]
    assert hook["method"] == ("tracepoint" if stock_host.name == "newest-amd64" else None)
    rows = rows_of(run, told)
    if not hook["method"]:
        assert "has no tracepoint" in hook["reason"]
        assert rows.empty
        return
    wished = Counter(
        (one["tid"], one["address"], one["length"], one["attributes"])
        for one in of(told, "convert", answer=0)
    )
    places = rows["offset"] % 2**64
    found = zip(rows["tid"], places, rows["length"], rows["arg"], strict=True)
    assert Counter(found) == wished
    assert set(rows["vm"]) == set(rows["checks"]) == {0}
    assert set(rows["verdict"]) == {"indeterminate"}


def test_debug_commands_are_refused_here(stock_host: Booted, method: str) -> None:
    """No kernel here has a guest of SEV; who asked, of which machine, for what is told."""
    run = stock_host.run(f"sev-{method}")
    rows = run.events[run.events["op"].astype(str) == "sev_debug"]
    assert rows["arg"].tolist() == [18, 19, 18]
    assert set(rows["answer"]) == {ENOTTY}
    assert (rows["flags"] & Flag.INFERRED != 0).all()
    assert not rows[["length", "check_answer", "ino"]].to_numpy().any()
    assert rows["vm"].nunique() == 1
    assert (rows["vm"] != 0).all()


# ---- what was private when the host touched it


def faults_of(run: Run, told: list[Act]) -> tuple[pd.DataFrame, Any]:
    """The host's faults in the guest_memfds in the order of time, and what each met."""
    rows = faults(run, told).sort_values("time_ns", kind="stable")
    with Recording.open(run.path) as recording:
        states = private.of(recording).state(rows)
    return rows, states


def test_each_refused_touch_met_what_the_vmm_had(private_host: Booted, method: str) -> None:
    """Private or shared by the VMM's own array, at that very moment."""
    told = acts(private_host, "conversions")
    rows, states = faults_of(private_host.run(f"private-{method}"), told)
    met: dict[tuple[int, int], list[int]] = defaultdict(list)
    for tid, at, state in zip(rows["tid"], rows["size_after"], states, strict=True):
        met[tid, at].append(int(state))
    made: dict[tuple[int, int], list[int]] = defaultdict(list)
    for one in touches(told):
        made[one["tid"], one["address"]].append(
            private.PRIVATE if one["private"] else private.SHARED
        )
    assert met == made


@cache
def audited(path: Path) -> dict[str, Any]:
    policy = load(PROJECT / "samples" / "policies" / "software-protected-guest.toml")
    with Recording.open(path) as recording:
        [found] = audit(policy, [recording], "test").recordings
    return {claim.id: claim for claim in found.claims}


def violations(claim: Any) -> list[Any]:
    return [proof for finding in claim.findings for proof in finding.violations]


def test_a_kernel_that_refuses_the_host_lets_it_reach_nothing(
    private_host: Booted, method: str
) -> None:
    """Mappings are granted (the child's own, and those that the fork copied), and no page: all that
    breaks anything is what the broken kernel's VMM and its child did."""
    claims = audited(private_host.run(f"private-{method}").path)
    broken = {one["pid"] for one in touches(acts(private_host, "broken"))}
    assert len(broken) == 2
    assert {proof.pid for proof in violations(claims["never-reached-while-private"])} <= broken
    assert violations(claims["converted-only-by"]) == []


def test_what_a_broken_kernel_grants_is_found(private_host: Booted, method: str) -> None:
    """Each first touch of a private page, by its process; and none of a shared page."""
    told = acts(private_host, "broken")
    run = private_host.run(f"private-{method}")
    first: dict[tuple[int, int], int] = {}
    for one in touches(told):
        first.setdefault((one["pid"], one["address"]), one["private"])
    rows, states = faults_of(run, told)
    once = ~rows[["pid", "size_after"]].duplicated().to_numpy()
    met = {
        (pid, at): int(state)
        for pid, at, state in zip(
            rows["pid"][once], rows["size_after"][once], states[once], strict=True
        )
    }
    assert met == {key: private.PRIVATE if was else private.SHARED for key, was in first.items()}
    claim = audited(run.path)["never-reached-while-private"]
    assert claim.result.value == "fail"
    # Each with its process, file and page, and no other.
    files = {
        (one["vm"], one["part"]): (one["dev"], one["ino"])
        for one in of(told, "create", kind="guest_memfd")
    }
    first_page = {(one["vm"], one["part"]): one["first"] for one in of(told, "states")}
    wanted = set()
    for one in touches(told):
        part = one["vm"], one["part"]
        if first[one["pid"], one["address"]]:
            at = (one["page"] - first_page[part]) * PAGE
            wanted.add((one["pid"], *files[part], f"{at}+{PAGE}"))
    found = Counter(
        (proof.pid, finding.object.dev, finding.object.ino, proof.asked.split()[-1])
        for finding in claim.findings
        for proof in finding.violations
    )
    assert found == dict.fromkeys(wanted, 1)
    assert {proof.pid for proof in violations(claim)} == {pid for pid, *_ in wanted}
    assert int((states == private.PRIVATE).sum()) == len(wanted)
