"""Where code lies: what the kernel tells of forks and executions, and what /proc adds to it."""

import os
from pathlib import Path
from typing import Any

import numpy as np

from tracer.capture.stacks.maps import Spaces, started, vdso
from tracer.capture.stacks.samples import (
    CODE_ANONYMOUS,
    CODE_FILE,
    CODE_FORK,
    CODE_MAP,
    SAMPLE,
    path_of,
)
from tracer.record import MapsFrom

K = 4096


def row(mm: int, pid: int, start: int = 0, end: int = 0, **more: Any) -> Any:
    found = np.zeros(1, CODE_MAP)[0]
    path = b"prog\0bin\0usr\0"
    found["mm"], found["pid"], found["start_ns"] = mm, pid, pid * 1000
    found["start"], found["end"], found["kind"] = start * K, end * K, CODE_FILE
    found["path"], found["length"] = np.void(path.ljust(1280, b"x")), len(path)
    for name, value in more.items():
        found[name] = value
    return found


def fork(mm: int, pid: int, from_mm: int) -> Any:
    return row(mm, pid, kind=CODE_FORK, from_mm=from_mm)


def sample(mm: int, pid: int, maps_lost: int = 0) -> Any:
    found = np.zeros(1, SAMPLE)[0]
    found["mm"], found["pid"], found["start_ns"] = mm, pid, pid * 1000
    found["maps_lost"] = maps_lost
    return found


def parts(spaces: Spaces, mm: int, pid: int) -> list[tuple[int, int, int]]:
    space, _ = spaces.of(sample(mm, pid))
    return sorted((one.start // K, one.end // K, one.pgoff // K) for one in space.ranges)


def told(*rows: Any, followed: int = 1, proc: Path = Path("/nowhere")) -> Spaces:
    spaces = Spaces(proc)
    spaces.follow(followed)
    for one in rows:
        spaces.add(one)
    return spaces


def test_what_lies_over_another_takes_its_place() -> None:
    spaces = told(row(5, 1, 10, 20, pgoff=100), row(5, 1, 13, 15, pgoff=7), row(5, 1, 18, 30))
    assert parts(spaces, 5, 1) == [(10, 13, 100), (13, 15, 7), (15, 18, 105), (18, 30, 0)]


def test_a_child_has_its_parents_and_then_its_own() -> None:
    spaces = told(row(5, 1, 1, 2), fork(6, 2, 5), row(5, 1, 3, 4), row(6, 2, 8, 9))
    assert parts(spaces, 6, 2) == [(1, 2, 0), (8, 9, 0)]
    assert parts(spaces, 5, 1) == [(1, 2, 0), (3, 4, 0)]
    assert spaces.of(sample(6, 2))[1] is MapsFrom.KERNEL


def test_what_is_executed_is_seen_from_its_start() -> None:
    """Also by a child of vfork, which has its parent's address space until then."""
    spaces = told(row(5, 1, 1, 2), fork(5, 2, 5), row(7, 2, 3, 4))
    assert parts(spaces, 7, 2) == [(3, 4, 0)]
    assert spaces.of(sample(7, 2))[1] is MapsFrom.KERNEL
    assert spaces.of(sample(7, 2))[0].whole
    assert spaces.of(sample(5, 1))[0].pid == 1, "whose /proc is looked at"


def test_another_process_of_the_same_number_is_not_known() -> None:
    later = row(7, 2, 3, 4, start_ns=999)
    spaces = told(row(5, 1, 1, 2), fork(6, 2, 5), later)
    assert not spaces.of(sample(7, 2))[0].whole


def test_one_that_was_there_before_is_not_whole() -> None:
    spaces = told(row(5, 3, 1, 2), fork(6, 4, 5))
    assert not spaces.of(sample(5, 3))[0].whole
    assert not spaces.of(sample(6, 4))[0].whole
    assert spaces.of(sample(5, 3))[1] is MapsFrom.KERNEL, "of the part that was told"
    assert spaces.of(sample(99, 9))[1] is MapsFrom.NONE


def test_after_a_loss_nothing_is_known() -> None:
    spaces = told(row(5, 1, 1, 2))
    space, told_by = spaces.of(sample(5, 1, maps_lost=1))
    assert (space.ranges, told_by) == ((), MapsFrom.NONE)


def own(spaces: Spaces) -> Any:
    """A sample of this process."""
    found = sample(5, os.getpid())
    found["start_ns"] = started(Path("/proc/self"))
    assert spaces.of(found)[1] is MapsFrom.PROC
    return found


def test_what_came_behind_a_look_at_proc_is_left_out() -> None:
    spaces = told(proc=Path("/proc"))
    mine = own(spaces)
    space, _ = spaces.of(mine)
    first = space.ranges[0]
    late = row(5, os.getpid(), first.start // K, first.end // K)
    spaces.came_late(mine, late)
    assert first not in space.ranges
    assert space.ranges
    spaces.came_late(mine, row(6, os.getpid(), 1, 2))
    assert not space.ranges, "it has executed something since"
    assert space.told_by is MapsFrom.NONE


def test_proc_of_another_process_is_not_taken() -> None:
    spaces = told(proc=Path("/proc"))
    other = sample(5, os.getpid())
    other["start_ns"] = 12345
    assert spaces.of(other) == (spaces.of(other)[0], MapsFrom.NONE)


def test_what_the_kernel_told_says_more_than_proc() -> None:
    spaces = told(proc=Path("/proc"))
    mine = own(spaces)
    [one, *_] = [r for r in spaces.of(mine)[0].ranges if r.file is not None]
    known = row(5, os.getpid(), one.start // K, one.end // K, pgoff=one.pgoff // K, size=77)
    known["start_ns"] = mine["start_ns"]
    fresh = told(known, proc=Path("/proc"))
    [again] = [r for r in fresh.of(mine)[0].ranges if r.start == one.start]
    assert again.file is not None
    assert again.file.size == 77
    assert len(fresh.of(mine)[0].ranges) > 1


def test_paths() -> None:
    assert path_of(b"prog\0bin\0usr\0junk", 13) == b"/usr/bin/prog"
    assert path_of(b"", 0) == b""
    assert path_of(b"a\0" * 9, 0xFFFF).startswith(b"/a/a")
    assert row(1, 1)["kind"] != CODE_ANONYMOUS


def test_the_vdso_is_a_program() -> None:
    assert vdso().startswith(b"\x7fELF")
