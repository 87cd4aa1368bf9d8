"""Who a thread is, by a made-up /proc and the kernel's own events."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tracer.capture.ftrace import tasks as tasks_module
from tracer.capture.ftrace.decode import ROW, THREAD_BIT
from tracer.capture.ftrace.pages import What
from tracer.capture.ftrace.tasks import Tasks


@pytest.fixture(autouse=True)
def no_tree(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of this host's cgroups is below those that are wanted."""
    monkeypatch.setattr(tasks_module, "below", set)


def lay(root: Path, tid: int, pid: int, uid: int, cgroup: str = "/") -> None:
    for folder in (root / "proc" / str(tid), root / "proc" / str(pid) / "task" / str(tid)):
        folder.mkdir(parents=True, exist_ok=True)
    (root / "proc" / str(tid) / "status").write_text(
        f"Name:\tx\nTgid:\t{pid}\nPid:\t{tid}\nUid:\t{uid}\t0\t0\t0\n"
    )
    (root / "proc" / str(tid) / "cgroup").write_text(f"1:name=x:/y\n0::{cgroup}\n")


def tasks(root: Path, **options: Any) -> Tasks:
    given = {"follow": None, "uids": (), "cgroups": (), "own": 1} | options
    return Tasks(**given, root=root)


def changes(*told: tuple[int, What, int, int]) -> Any:
    """(time, what, tid, number) as rows."""
    rows = np.zeros(len(told), ROW)
    for place, (time, what, tid, number) in enumerate(told):
        rows[place]["time_ns"], rows[place]["what"] = time, what
        rows[place]["tid"], rows[place]["number"] = tid, number
    return rows


def ask(asked: Tasks, *who: tuple[int, int], rows: Any = None) -> list[tuple[Any, ...]]:
    """(tid, time) each → (pid, uid, cgroup, wanted)."""
    tids = np.array([tid for tid, _ in who], np.uint32)
    times = np.array([time for _, time in who], np.uint64)
    found = asked.who(tids, times, changes() if rows is None else rows)
    return [tuple(row) for row in found[["pid", "uid", "cgroup", "wanted"]].tolist()]


def test_who_was_there_before(tmp_path: Path) -> None:
    lay(tmp_path, 10, 10, 1000)
    lay(tmp_path, 11, 10, 1000)
    lay(tmp_path, 1, 1, 0)
    asked = tasks(tmp_path)
    asked.look_around()
    for file in ("status", "cgroup"):  # gone, but known
        (tmp_path / "proc" / "11" / file).unlink()
    assert ask(asked, (11, 5), (10, 5), (1, 5)) == [
        (10, 1000, 1, True),
        (10, 1000, 1, True),
        (1, 0, 1, False),  # ourselves
    ]


def test_which_program_of_which_process(tmp_path: Path) -> None:
    """The start is /proc's for who was there, the event's for who came; execs are counted."""
    lay(tmp_path, 10, 10, 1000)
    (tmp_path / "proc" / "10" / "stat").write_text("10 (x) S" + " 0" * 18 + " 42 0\n")
    asked = tasks(tmp_path)
    asked.look_around()
    rows = changes(
        (100, What.EXEC, 10, 0), (200, What.NEWTASK, 10, 20), (300, What.EXEC, 20, 0),
        (350, What.NEWTASK, 20, 21 | THREAD_BIT),
    )  # fmt: skip
    at = [(10, 50), (10, 150), (20, 250), (20, 400), (21, 400)]
    found = asked.who(
        np.array([tid for tid, _ in at], np.uint32),
        np.array([time for _, time in at], np.uint64),
        rows,
    )
    assert found[["pid", "start_ns", "exec_id"]].tolist() == [
        (10, 420_000_000, 0), (10, 420_000_000, 1), (20, 200, 1), (20, 200, 2), (20, 200, 2),
    ]  # fmt: skip


def test_a_stranger_that_is_gone_is_taken_for_a_process(tmp_path: Path) -> None:
    (tmp_path / "proc").mkdir()
    assert ask(tasks(tmp_path), (77, 5)) == [(77, 0, 0, True)]


def test_each_change_holds_from_its_time_on(tmp_path: Path) -> None:
    lay(tmp_path, 10, 10, 1000)
    asked = tasks(tmp_path, uids=(1000,))
    rows = changes((20, What.CREDS, 10, 0), (40, What.CREDS, 10, 1000))
    uids = [row[1] for row in ask(asked, (10, 50), (10, 10), (10, 30), rows=rows)]
    assert uids == [1000, 1000, 0]
    assert [row[3] for row in ask(asked, (10, 60))] == [True]


def test_births(tmp_path: Path) -> None:
    lay(tmp_path, 10, 10, 1000)
    rows = changes(
        (20, What.NEWTASK, 10, 20),
        (30, What.NEWTASK, 20, 21 | THREAD_BIT),
        (40, What.NEWTASK, 21, 22),
        (60, What.NEWTASK, 99, 22),  # the number comes again
    )
    asked = tasks(tmp_path, follow=(10,))
    found = ask(asked, (20, 25), (21, 35), (22, 45), (22, 65), (99, 65), rows=rows)
    assert [row[0] for row in found] == [20, 20, 22, 22, 99]
    assert [row[1] for row in found] == [1000, 1000, 1000, 0, 0]
    assert [row[3] for row in found] == [True, True, True, False, False]


def test_cgroups_by_event_and_for_the_newborn_by_proc(tmp_path: Path) -> None:
    lay(tmp_path, 10, 10, 0)
    asked = tasks(tmp_path, cgroups=(555,))
    rows = changes((20, What.CGROUP, 10, 555), (30, What.NEWTASK, 10, 20))
    found = ask(asked, (10, 10), (10, 25), (20, 35), rows=rows)
    assert [row[2:] for row in found] == [(1, False), (555, True), (555, True)]
    lay(tmp_path, 30, 30, 0)  # CLONE_INTO_CGROUP: it is in the root's
    rows = changes((50, What.NEWTASK, 10, 30))
    assert ask(asked, (30, 60), rows=rows)[0][2:] == (1, False)


def test_a_cgroup_below_one_that_is_wanted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[set[int]] = []

    def below(wanted: set[int]) -> set[int]:
        looked.append(set(wanted))
        return wanted | {556}

    monkeypatch.setattr(tasks_module, "below", below)
    lay(tmp_path, 10, 10, 0)
    asked = tasks(tmp_path, cgroups=(555,))
    rows = changes((20, What.CGROUP, 10, 556), (40, What.CGROUP, 10, 777))
    found = ask(asked, (10, 10), (10, 25), (10, 45), (10, 46), rows=rows)
    assert [row[2:] for row in found] == [(1, False), (556, True), (777, False), (777, False)]
    assert len(looked) == 2, "the tree is looked at once for each one that is new"


def test_a_self_test_is_past_all_filters(tmp_path: Path) -> None:
    (tmp_path / "proc").mkdir()
    asked = tasks(tmp_path, follow=(), uids=(5,))
    asked.test = 40
    assert [row[3] for row in ask(asked, (40, 1), (41, 1))] == [True, False]
