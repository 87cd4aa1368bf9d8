"""Whose events are recorded, where a filter names units, containers, machines or programs."""

import numpy as np
import pytest

from tests.unit.cgroup_forms import ID
from tests.unit.recording.test_places import ROOT, SLICE
from tests.unit.recording.test_places import row as cgroup
from tests.unit.recording.test_tasks import command
from tests.unit.recording.test_tasks import row as task
from tracer.capture.actors import ActorFilter
from tracer.filter.query import parse
from tracer.record import EVENT, HEAD, Hook, RecordType
from tracer.recording.tasks import Actor
from tracer.words import Op

SSH, WEB, TORN, UNTOLD = 3, 4, 5, 99
QEMU, CAT, NEW = Actor(7, 1000, 3), Actor(8, 1000, 3), Actor(9, 1000, 3)
KNOWN = (
    ROOT,
    SLICE,
    cgroup(SSH, 2, b"ssh.service"),
    cgroup(WEB, 2, f"docker-{ID}.scope".encode()),
    cgroup(TORN, 77, b"ssh.service"),
    task(text=b"/usr/bin/qemu-system-x86_64", actor=QEMU),
    *(one for one in command(b"qemu\0-name\0guest=web,x=y\0")),
    task(text=b"/usr/bin/cat", actor=CAT),
)


def event(number: int, cgroup: int = SSH, actor: Actor = CAT, op: Op = Op.WRITE) -> np.ndarray:
    found = np.zeros(1, EVENT)
    found["type"], found["hook"], found["op"], found["seq"] = (
        RecordType.EVENT, Hook.WRITE, op, number,
    )  # fmt: skip
    found["cgroup"] = cgroup
    found["pid"], found["start_ns"], found["exec_id"] = actor
    return found.view(HEAD)


EVENTS = (
    event(0),
    event(1, WEB, QEMU),
    event(2, TORN),
    event(3, UNTOLD, NEW),
    event(4, op=Op.CREATE),
    event(5, WEB, CAT, Op.ADD_SEALS),
)


def kept(filter_: ActorFilter, *rows: np.ndarray) -> list[int]:
    found = filter_.of(np.concatenate(rows))
    return [int(one["seq"]) for one in found if one["type"] == RecordType.EVENT]


@pytest.mark.parametrize(
    ("query", "numbers"),
    [
        ("unit:ssh.service", [0, 2, 3, 4, 5]),
        ("container:*", [1, 2, 3, 4, 5]),
        ("!container:*", [0, 2, 3, 4, 5]),
        ("exe:*/cat", [0, 2, 3, 4, 5]),
        ("exe:*/qemu*", [1, 3, 4, 5]),
        ("vm:web", [1, 2, 3, 4, 5]),
        ("vm:x", [2, 3, 4, 5]),
        ("unit:ssh.service exe:*/qemu*", [3, 4, 5]),
    ],
)
def test_whose_are_recorded(query: str, numbers: list[int]) -> None:
    """Whoever is not known, and whatever made or sealed a file, is recorded too."""
    filter_ = ActorFilter(parse(query), cmdlines=True)
    found = filter_.of(np.concatenate([*KNOWN, *EVENTS]))
    assert [int(one["seq"]) for one in found if one["type"] == RecordType.EVENT] == numbers
    assert len(found) == len(KNOWN) + len(numbers)
    assert int(filter_.left_out[Hook.WRITE]) == len(EVENTS) - len(numbers)


def test_what_comes_later_is_known_from_then_on() -> None:
    filter_ = ActorFilter(parse("unit:ssh.service"), cmdlines=True)
    assert kept(filter_, event(1, WEB)) == [1]
    assert kept(filter_, *KNOWN, event(2, WEB), event(3, SSH)) == [3]
    assert kept(filter_, event(4, WEB)) == []
    assert filter_.left_out.sum() == 2


def test_without_command_lines_only_cgroups_name_machines() -> None:
    known = [one for one in KNOWN if one.view(EVENT)["type"] != RecordType.TASK]
    programs = (task(text=b"/usr/bin/qemu-system-x86_64", actor=QEMU),)
    filter_ = ActorFilter(parse("vm:web"), cmdlines=False)
    assert kept(filter_, *known, *programs, event(1, WEB, QEMU)) == []
    filter_ = ActorFilter(parse("vm:web"), cmdlines=True)
    assert kept(filter_, *known, *programs, event(1, WEB, QEMU)) == [1]
