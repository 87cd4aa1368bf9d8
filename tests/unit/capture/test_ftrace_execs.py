"""Executions by ftrace: paired by process, as what each file was executed, and what is not told."""

from typing import Any

import numpy as np
import pytest

from tests.unit.capture.ftrace_rows import INODE, KEY, Story, events, maker
from tests.unit.capture.test_ftrace_userregs import SYSCALL, filled
from tracer.capture.bpf_source import Filters
from tracer.capture.ftrace.decode import ROW, THREAD_BIT
from tracer.capture.ftrace.execs import fill_file
from tracer.capture.ftrace.pages import What
from tracer.words import EXEC_CHECK, ExecForm, ExecRole, Flag, Hook, Kind, LossCause, Op

PROGRAM = ExecForm.PATH | ExecRole.PROGRAM << 8
INTERPRETER, LOADER = ExecRole.INTERPRETER << 8, ExecRole.LOADER << 8
ENOEXEC, EACCES = -8, -13


def hand(story: Story, tid: int, arg: int, **fields: Any) -> None:
    about = {"op": Op.EXEC, "key": KEY, "inode": INODE, "ino": 5, "dev": 1, "kind": Kind.TMPFS}
    story.inside(What.IN_HAND, tid, Hook.EXEC, arg=arg, **(about | fields))


def over(story: Story, tid: int, ret: int = 0) -> None:
    story.inside(What.EXECUTED, tid, Hook.EXEC, ret=ret)


def test_of_ordinary_programs_nothing_is_told() -> None:
    story, made = Story(), maker()
    over(story, 7)
    hand(story, 8, PROGRAM, seals=15)
    over(story, 7)
    over(story, 8)
    over(story, 8)
    found = events(made.make(story.take()))
    assert found[["pid", "op", "answer", "seals", "arg"]].tolist() == [(8, Op.EXEC, 0, 15, PROGRAM)]
    over(story, 8)
    assert len(events(made.make(story.take()))) == 0


@pytest.mark.parametrize("batches", [1, 2])
def test_a_thread_that_executes_goes_on_as_its_process_s_first(batches: int) -> None:
    story, made = Story(), maker()
    story.inside(What.NEWTASK, 7, Hook.NONE, number=71 | THREAD_BIT)
    story.inside(What.NEWTASK, 7, Hook.NONE, number=72 | THREAD_BIT)
    hand(story, 71, PROGRAM)
    begun, found = story.now, []
    if batches == 2:
        assert len(events(made.make(story.take()))) == 0
        assert made.in_flight == 1
    story.inside(What.EXIT, 7, Hook.NONE)
    story.inside(What.EXEC, 7, Hook.NONE)
    over(story, 7)
    found = events(made.make(story.take()))
    assert found[["pid", "tid", "time_ns", "exec_id"]].tolist() == [(7, 71, begun, 0)]
    assert found["duration_ns"].tolist() == [story.now - begun]
    assert made.in_flight == 0


def test_each_file_of_a_call_is_told_once_and_as_what() -> None:
    """A script in a memory file, its interpreter in another, and that one's loader in a third."""
    story, made = Story(), maker()
    hand(story, 7, PROGRAM, fd=3)
    begun = story.now
    hand(story, 7, INTERPRETER)  # security_bprm_check of the program itself
    hand(story, 7, LOADER, key=KEY + 1, ino=6)
    hand(story, 7, INTERPRETER, key=KEY + 1, ino=6)
    hand(story, 7, INTERPRETER, key=KEY + 1, ino=6)
    hand(story, 7, LOADER, key=KEY + 2, ino=7)
    over(story, 7)
    found = events(made.make(story.take()))
    assert found[["ino", "arg", "fd"]].tolist() == [
        (5, PROGRAM, 3),
        (6, INTERPRETER, -1),
        (7, LOADER, -1),
    ]
    assert set(found["time_ns"].tolist()) == {begun}


def test_an_ordinary_program_s_loader_is_told_alone() -> None:
    story, made = Story(), maker()
    hand(story, 7, LOADER)
    over(story, 7, ENOEXEC)
    found = events(made.make(story.take()))
    assert found[["arg", "answer"]].tolist() == [(LOADER, ENOEXEC)]


def test_a_return_that_never_came_is_lost() -> None:
    story, made = Story(), maker()
    hand(story, 7, PROGRAM, seals=1)
    hand(story, 7, PROGRAM, seals=2)
    over(story, 7)
    assert events(made.make(story.take()))["seals"].tolist() == [2]
    assert made.lost[Hook.EXEC, LossCause.NO_RETURN] == made.lost.sum() == 1


def test_an_execution_while_events_were_dropped_is_marked() -> None:
    story, made = Story(), maker()
    hand(story, 7, PROGRAM)
    made.doubts.append((story.now + 1, story.now + 5))
    made.make(story.take())
    hand(story, 8, PROGRAM)
    over(story, 7)
    over(story, 8)
    found = events(made.make(story.take()))
    marked = {int(one["tid"]): bool(one["flags"] & Flag.RETURN_MISSING) for one in found}
    assert marked == {7: True, 8: False}


@pytest.mark.parametrize("answer", [0, -1])
def test_a_seal_added_meanwhile_is_a_race(answer: int) -> None:
    """Also one whose call was over before the execution's return came."""
    story, made = Story(), maker()
    hand(story, 7, PROGRAM, seals=1)
    story.call(9, Op.ADD_SEALS, answer, arg=8)
    made.make(story.take())
    story.call(10, Op.WRITE, 1)
    made.make(story.take())
    over(story, 7)
    [found] = events(made.make(story.take()))
    after, flag = (9, Flag.RACED_SEALS) if answer == 0 else (1, 0)
    assert (found["seals"], found["seals_after"]) == (1, after)
    assert found["flags"] & Flag.RACED_SEALS == flag


@pytest.mark.parametrize(
    ("filters", "kept"),
    [
        (Filters(), [7, 8]),
        (Filters(denied=True), [8]),
        (Filters(pids=(7,)), [7]),
        (Filters(seals=8), [7]),
        (Filters(files=("0:1/6/0",)), [8]),
    ],
)
def test_filters(filters: Filters, kept: list[int]) -> None:
    story, made = Story(), maker(filters)
    hand(story, 7, PROGRAM, seals=15)
    over(story, 7)
    hand(story, 8, PROGRAM, ino=6)
    over(story, 8, EACCES)
    assert events(made.make(story.take()))["tid"].tolist() == kept


def test_what_is_refused_says_what_the_inode_refuses_by_itself() -> None:
    story, made = Story(), maker()
    hand(story, 7, PROGRAM, bound=int(Flag.IMMUTABLE))
    over(story, 7, EACCES)
    [found] = events(made.make(story.take()))
    assert found["flags"] & Flag.IMMUTABLE


# ---- how it was named ---------------------------------------------------------------------------


def named(path: bytes, fdpath: int = 0, family: str = "exec_begin") -> tuple[int, int]:
    data = np.zeros(1, [("path", "<u8", 4), ("fdpath", "<u8")])
    data["path"] = np.frombuffer(path.ljust(32, b"\0")[:32], "<u8")
    data["fdpath"] = fdpath
    rows = np.zeros(1, ROW)
    rows["fd"] = -1
    fill_file(rows, data, data.dtype.names or (), family)
    return int(rows["arg"][0]) & 0xFF, int(rows["fd"][0])


@pytest.mark.parametrize(
    ("path", "fdpath", "form", "fd"),
    [
        (b"/bin/true", 0, ExecForm.PATH, -1),
        (b"/proc/self/fd/7", 0, ExecForm.PROC_FD, 7),
        (b"/proc/thread-self/fd/1234567", 0, ExecForm.PROC_FD, 1234567),
        (b"/dev/fd/0", 0, ExecForm.PROC_FD, 0),
        (b"/dev/fd/12", 0xFFFF, ExecForm.EMPTY_PATH, 12),
        (b"/dev/fd/12/name", 0xFFFF, ExecForm.PATH, -1),
        (b"/dev/fd/", 0, ExecForm.PATH, -1),
        (b"/dev/fd/ 7", 0, ExecForm.PATH, -1),
        (b"/dev/fd/12345678", 0, ExecForm.PATH, -1),
        (b"/proc/self/fd/7\0/and what lay there", 0, ExecForm.PROC_FD, 7),
        (b"/proc/42/fd/7", 0, ExecForm.PATH, -1),
    ],
)
def test_the_form_is_the_kernel_s_name_of_it(path: bytes, fdpath: int, form: int, fd: int) -> None:
    assert named(path, fdpath) == (form, fd)


def test_of_an_interpreter_or_loader_no_form_is_told() -> None:
    for family, role in (("exec_check", INTERPRETER), ("exec_open", LOADER)):
        rows = np.zeros(1, ROW)
        fill_file(rows, np.zeros(1, [("ino", "<u8")]), ("ino",), family)
        assert rows["arg"].tolist() == [role]


def test_whether_it_was_only_asked() -> None:
    """The fifth argument of execveat: r8, of 32-bit calls di."""
    asks = SYSCALL | {"orig_ax": 322, "r8": EXEC_CHECK | 0x1000}
    compat = SYSCALL | {"orig_ax": 358, "di": EXEC_CHECK, "cs": 0x23, "cx": 0}
    others = (
        asks | {"r8": 0x1000},
        asks | {"orig_ax": 59},
        compat | {"orig_ax": 322},
        compat | {"di": 0, "r8": EXEC_CHECK},
    )
    for regs, told in ((asks, True), (compat, True), *((one, False) for one in others)):
        row = filled(regs, "arrays", op=Op.EXEC)
        assert bool(row["arg"] & EXEC_CHECK) is told
    assert not filled(asks, "arrays")["arg"] & EXEC_CHECK  # of a read it means something else
