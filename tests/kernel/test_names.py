"""Cgroups by name, also of those that are gone before anybody could look."""

from collections import Counter

import pytest

from tests.kernel.booted import Booted, Run
from tests.kernel.scenes_names import RECORDED
from tracer.recording.places import Places
from tracer.recording.reader import Recording

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
