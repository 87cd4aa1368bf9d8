"""Cgroups by their numbers: paths and who runs there, as far as it can be believed."""

import numpy as np
import pytest

from tests.unit.cgroup_forms import ID
from tracer.cgroups import UNKNOWN_USER, Place
from tracer.record import CGROUP, HEAD, RecordType
from tracer.recording.places import NOWHERE, Places
from tracer.recording.tables import tables

PIECE = CGROUP["text"].itemsize - 1


def row(
    cgroup: int, parent: int, name: bytes, user: int = 0, part: int = 0, more: bool = False
) -> np.ndarray:
    found = np.zeros(1, CGROUP)
    found["type"], found["cgroup"], found["parent"] = RecordType.CGROUP, cgroup, parent
    found["named_by"], found["part"], found["more"] = user, part, more
    found["length"] = len(name)
    found["text"] = np.void(name.ljust(CGROUP["text"].itemsize, b"\0"))
    return found.view(HEAD)


def places(*rows: np.ndarray) -> Places:
    found = Places()
    found.add(tables(np.concatenate(rows))["cgroups"])
    return found


ROOT = row(1, 0, b"")
SLICE = row(2, 1, b"system.slice")


def test_a_unit_and_a_container() -> None:
    known = places(ROOT, SLICE, row(3, 2, b"ssh.service"), row(4, 2, f"docker-{ID}.scope".encode()))
    assert known.of(3).path == "/system.slice/ssh.service"
    assert known.of(3).place == Place(slice="system.slice", unit="ssh.service")
    assert known.of(4).place.container == ID
    assert known.of(1).path == "/"
    assert known.of(2).place.unit == ""


def test_in_any_order_and_later() -> None:
    known = places(row(3, 2, b"ssh.service"))
    assert known.of(3).path == "?/ssh.service"
    assert known.of(3).place == Place(inner=Place(unit="ssh.service"))
    known.add(tables(SLICE)["cgroups"])  # the root has its number everywhere
    assert known.of(3).path == "/system.slice/ssh.service"
    assert known.of(3).place.unit == "ssh.service"


def test_what_was_never_told_is_nowhere() -> None:
    assert places(ROOT).of(77) is NOWHERE
    assert Places().of(0) is NOWHERE


@pytest.mark.parametrize("user", [1000, UNKNOWN_USER])
def test_what_others_named_is_not_believed(user: int) -> None:
    known = places(SLICE, row(3, 2, b"x.service"), row(4, 3, f"docker-{ID}.scope".encode(), user))
    assert known.of(4).path == f"/system.slice/x.service/docker-{ID}.scope"
    assert (known.of(4).place.container, known.of(4).place.unit) == ("", "x.service")
    below = places(row(3, 1, b"x", user), row(4, 3, f"docker-{ID}.scope".encode()))
    assert below.of(4).place.container == ""


def test_a_long_name_is_put_together() -> None:
    name = b"a" * 200 + b".service"
    first = row(3, 2, name[:PIECE], more=True)
    assert places(SLICE, first).of(3) is NOWHERE, "half of a name is none"
    assert places(SLICE, first, row(4, 3, b"x")).of(4).path == "?/x"
    rest = row(3, 2, name[PIECE:], part=1)
    for order in ((first, rest), (rest, first)):
        assert places(SLICE, *order).of(3).place.unit == name.decode()


def test_a_name_that_could_not_be_read_is_not_known() -> None:
    assert places(SLICE, row(3, 2, b"")).of(3) is NOWHERE


def test_a_circle_ends() -> None:
    known = places(row(3, 4, b"a"), row(4, 3, b"b"))
    assert known.of(3).path.startswith("?/")
    assert known.of(3).place.unit == ""


def test_texts_are_harmless() -> None:
    scope = b"machine-qemu\\x2d1\\x2da\\x1b\\x0a.scope"
    known = places(row(2, 1, b"machine.slice"), row(3, 2, scope), row(4, 2, b"\x1b[2J\xff.service"))
    assert known.of(3).place.vm == "a\\x1b\\n"
    assert known.of(3).path.isprintable()
    assert known.of(4).path == "/machine.slice/\\x1b[2J\\xff.service"
