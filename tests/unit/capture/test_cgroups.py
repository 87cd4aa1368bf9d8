"""The tree of cgroups as it is when a trace starts, on folders that stand in for it."""

import os
from pathlib import Path

import pytest

from tracer.capture import cgroups
from tracer.cgroups import UNKNOWN_USER
from tracer.recording.places import Places
from tracer.recording.tables import tables


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    (tmp_path / "cgroup.controllers").touch()
    for path in ("a.slice/b.service/c", "a.slice/" + "x" * 250, "other"):
        (tmp_path / path).mkdir(parents=True)
    (tmp_path / "a.slice" / "cgroup.procs").touch()
    return tmp_path


def number(path: Path) -> int:
    return path.stat().st_ino


def test_each_folder_once_and_its_parent_before(tree: Path) -> None:
    seen: set[int] = {0}
    for one, above, _, _ in cgroups.walk(tree):
        assert above in seen
        assert one not in seen
        seen.add(one)
    assert len(seen) == 1 + 6


def test_who_named_it_is_who_owns_the_folder_above(tree: Path) -> None:
    (tree / "other" / "deep").mkdir()
    (tree / "other").chmod(0o777)
    named_by = {name: user for _, _, user, name in cgroups.walk(tree)}
    assert named_by[b"deep"] == UNKNOWN_USER, "anybody could have made it"
    assert named_by[b"c"] == os.getuid()
    assert named_by[b""] == UNKNOWN_USER, "a folder that is not the root of all"


def test_below_are_all_and_no_others(tree: Path) -> None:
    wanted = tree / "a.slice" / "b.service"
    assert cgroups.below([number(wanted)], tree) == {number(wanted), number(wanted / "c")}
    assert cgroups.below([], tree) == set()
    assert cgroups.below([5], tree / "gone") == {5}


def test_records_give_the_paths_back(tree: Path) -> None:
    known = Places()
    known.add(tables(cgroups.cgroup_records(tree))["cgroups"])
    long = tree / "a.slice" / ("x" * 250)
    for path in (tree / "a.slice" / "b.service" / "c", long):
        # The root of this tree is none: its number is a file's.
        assert known.of(number(path)).path.removeprefix("?") == f"/{path.relative_to(tree)}"


def test_without_a_tree_there_are_none(tmp_path: Path) -> None:
    assert cgroups.mounted([tmp_path]) is None
    assert len(cgroups.cgroup_records(tmp_path / "gone")) == 0
