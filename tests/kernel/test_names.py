"""Cgroups and programs by name, also of those that are gone before anybody could look."""

import json
from collections import Counter
from typing import Any

import pytest

from tests.kernel.booted import Booted, Run
from tests.kernel.programs.actors import WRITES
from tests.kernel.scenes_names import ACTING, FILTERED, RECORDED
from tracer.recording.places import Places
from tracer.recording.reader import Recording
from tracer.recording.tasks import Actor, Tasks

ON_ONE = True  # see conftest.py: one kernel, unless all are asked


def _truth(kernel: Booted, name: str) -> dict[int, str]:
    told = kernel.facts(f"names-{name}")["cgroups"]
    return {int(cgroup): path for cgroup, path in told.items()}


def _places(run: Run) -> Places:
    found = Places()
    with Recording.open(run.path) as recording:
        for table in recording.tables("cgroups"):
            found.add(table)
    return found


@pytest.mark.parametrize("name", RECORDED)
def test_each_is_named(kernel: Booted, name: str) -> None:
    run, truth = kernel.run(f"names-{name}"), _truth(kernel, name)
    assert len(truth) == 100
    run.check_whole()
    made = run.events[(run.events["op"] == "create") & (run.events["name"] != "memfd:outside")]
    assert Counter(made["cgroup"]) == dict.fromkeys(truth, 1)
    places = _places(run)
    assert {cgroup: places.of(cgroup).path for cgroup in truth} == truth


@pytest.mark.parametrize("name", RECORDED)
def test_what_a_user_named_is_not_believed(kernel: Booted, name: str) -> None:
    places, forged = _places(kernel.run(f"names-{name}")), 0
    for cgroup, path in _truth(kernel, name).items():
        place = places.of(cgroup).place
        if "/given.service/" in path:
            assert (place.unit, place.container) == ("given.service", "")
            forged += 1
        else:
            assert bool(place.container) == ("/docker-" in path)
    assert forged == 10


def test_only_what_is_below_is_recorded(kernel: Booted) -> None:
    outside = {
        name: sum(kernel.run(f"names-{name}").events["name"] == "memfd:outside")
        for name in RECORDED
    }
    assert outside["all"] > 0
    assert outside["below"] == 0


CMDLINE = 16 * 127
"""Bytes of a command line that are kept behind a path of one piece: bpf/tasks.h."""


Acting = tuple[Run, list[dict[str, Any]], Tasks, dict[Actor, bytes]]


def _acting(kernel: Booted, name: str) -> Acting:
    """What was recorded, the truth, who is known, and command lines as they are."""
    told = kernel.facts(f"acting-{name}")["tasks"]
    run = kernel.run(f"acting-{name}")
    with Recording.open(run.path) as recording:
        tables = list(recording.tables("tasks"))
    commands: dict[Actor, bytes] = {}
    for table in tables:
        for row in table.to_pylist():
            actor = Actor(row["pid"], row["start_ns"], row["exec_id"])
            if not row["of_exe"]:
                commands[actor] = commands.get(actor, b"") + row["cmdline"]
    return run, told, Tasks.of_tables(tables), commands


@pytest.mark.parametrize("name", ACTING)
def test_each_program_is_told(kernel: Booted, name: str) -> None:
    run, told, tasks, commands = _acting(kernel, name)
    assert len(told) == 20
    run.check_whole()
    writes = run.events[(run.events["op"] == "write") & (run.events["name"] == "memfd:shared")]
    columns = (writes[column].tolist() for column in ("pid", "start_ns", "exec_id"))
    found = {pid: Actor(pid, *more) for pid, *more in zip(*columns, strict=True)}
    assert found.keys() == {one["pid"] for one in told}
    for one in told:
        actor = found[one["pid"]]
        task = tasks.of(actor)
        assert (task.exe, task.ino) == (one["exe"], one["ino"]), one
        assert (task.parent, task.ns_pid) == (one["parent"], one["ns_pid"]), one
        whole = b"".join(word.encode() + b"\0" for word in one["argv"])
        assert commands.get(actor, b"") == (b"" if name == "silent" else whole[:CMDLINE]), one
        assert task.cmdline.endswith("...") == (len(whole) > CMDLINE and name != "silent")
        assert "NOBODYS" not in task.cmdline


@pytest.mark.parametrize("name", ACTING)
def test_all_who_act_are_told(kernel: Booted, name: str) -> None:
    """Whatever they did, and the launcher too."""
    run, told, tasks, _ = _acting(kernel, name)
    who = run.events[["pid", "start_ns", "exec_id"]].drop_duplicates().itertuples(index=False)
    found = {tuple(one): tasks.of(Actor(*map(int, one))) for one in who}
    assert [one for one, task in found.items() if not task.exe] == []
    starts = {pid: start for pid, start, _ in found}
    for one in told:
        parents = {task.parent_start_ns for who, task in found.items() if who[0] == one["pid"]}
        if one["parent"] in starts:
            assert parents == {starts[one["parent"]]}


WHOSE = {
    "all": {"claims", "ordinary", "unit", "outranked"},
    "claims": {"claims"},
    "unit": {"unit"},
    "machine": {"outranked"},
    "ftrace": {"claims", "ordinary", "unit", "outranked"},
}


def _who(kernel: Booted, name: str) -> dict[str, dict[str, Any]]:
    told = kernel.facts(f"filtered-{name}")["actors"]
    assert {one["code"] for one in told} == {0}
    return {one["name"]: one for one in told}


@pytest.mark.parametrize("name", FILTERED)
def test_whom_a_filter_names_is_recorded(kernel: Booted, name: str) -> None:
    """All that they did, nothing of the others but that they made files, and no loss."""
    run, who = kernel.run(f"filtered-{name}"), _who(kernel, name)
    events = run.events
    writes = Counter(events["pid"][(events["op"] == "write") & (events["name"] == "memfd:own")])
    assert writes == {who[one]["pid"]: WRITES for one in WHOSE[name]}
    made = set(events["pid"][(events["op"] == "create") & (events["name"] == "memfd:own")])
    assert made == {one["pid"] for one in who.values()}
    assert run.verified.exit_code == 0, run.verified.lines()
    assert not run.verified.unexplained
    causes = set(run.table("losses")["cause"])
    assert causes == (set() if name in ("all", "ftrace") else {"filtered"})
    if name not in ("all", "ftrace"):
        left_out = run.table("losses").groupby("hook")["total"].max()
        assert int(left_out["write"]) == run.totals("decided")["write"] - run.totals("dropped")[
            "write"
        ] - run.per("hook").get("write", 0)
    coverage = json.loads(run.report("--json").stdout)["recordings"][0]
    assert coverage["lost"] == {}


@pytest.mark.parametrize("name", ["all", "ftrace"])
def test_what_a_command_line_claims(kernel: Booted, name: str) -> None:
    """It is shown as a claim, and counts for nothing where the cgroup says more."""
    run, who = kernel.run(f"filtered-{name}"), _who(kernel, name)
    rows = [json.loads(line) for line in run.script("--json").stdout.splitlines()]
    told = {row["pid"]: row for row in rows if row["name"] == "memfd:own" and row["op"] == "write"}
    for one in who.values():
        row = told[one["pid"]]
        assert row["exe"] == one["exe"]
        assert row["build_id"] == one["build_id"] != ""
    claims, outranked = told[who["claims"]["pid"]], told[who["outranked"]["pid"]]
    assert (claims["vm_name"], claims["vm_claimed"]) == (None, "web")
    assert claims["place"].endswith("claims vm web")
    assert (outranked["vm_name"], outranked["vm_claimed"]) == ("bank", None)
    assert told[who["ordinary"]["pid"]]["vm_claimed"] is None
    found = run.script("--json", "--filter", "vm:web").stdout.splitlines()
    assert {json.loads(line)["pid"] for line in found} == {who["claims"]["pid"]}
