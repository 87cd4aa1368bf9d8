"""Every key of every screen does what its help says, on a recording of a real kernel."""

import csv
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pandas as pd
import pytest
from textual.widgets import Input

from tests.unit.ui.still import DEBIAN_6_1, Shown, StillReplay, run, shown, still
from tracer.errors import UserError
from tracer.model.verdicts import Verdict
from ui import bindings
from ui.app import SealsnoopApp
from ui.screens.ask import AskScreen
from ui.screens.event import EventScreen
from ui.screens.help import HelpScreen
from ui.screens.main import MainScreen
from ui.screens.object import ObjectScreen
from ui.widgets.filterline import FilterLine
from ui.widgets.grid import Grid

Test = TypeVar("Test", bound=Callable[..., None])
TESTED: set[str] = set()
"""Actions, as ``group: action``, that some test below presses a key for."""


def presses(group: str, *actions: str) -> Callable[[Test], Test]:
    """Says which actions of a group a test presses keys for."""
    TESTED.update(f"{group}: {action}" for action in actions)
    return lambda test: test


def main_grid(one: Shown) -> Grid:
    return one.app.screen.query_one("#grid", Grid)


def name(one: Shown) -> str:
    return str(main_grid(one).value("name"))


@presses("Tables", *(f"tab('{t}')" for t in ("objects", "fds", "processes", "events", "hooks")))
@presses("Tables", "turn(1)", "turn(-1)")
@run
async def test_tables() -> None:
    async with shown(still()) as one:
        have = one.app.shot.totals
        assert f"[1 Objects {have['objects']}] 2 Fds {have['fds']}" in one.text()
        assert f"3 Processes {have['processes']}  4 Events {have['events']:,}" in one.text()
        titles = []
        for key in "2345":
            await one.press(key)
            assert f"[{key} " in one.lines()[7]
            titles.append(one.lines()[8])
        assert "command" in titles[0]
        assert "uid" in titles[1]
        assert "time s" in titles[2]
        assert "kernel function" in titles[3]
        assert "vm_mmap_pgoff" in one.text()
        assert "nothing lost" in one.text()
        await one.press("tab")
        assert "[1 Objects" in one.text()
        await one.press("shift+tab")
        assert "[5 Hooks" in one.text()
        await one.press("1")
        assert "future-write-merge" in one.lines()[9]


@presses("Rows", "move(-1)", "move(1)", "page(-1)", "page(1)", "edge('top')", "edge('bottom')")
@presses("Rows", "column(-1)", "column(1)")
@presses("Tables", "sort(1)", "reverse", "cell_filter", "clear")
@run
async def test_rows_order_and_cells() -> None:
    async with shown(still()) as one:
        grid = main_grid(one)
        every = len(grid.rows)
        await one.press("down", "down", "up")
        assert grid.cursor == 1
        await one.press("pagedown")
        page = grid.cursor
        assert page > 5
        await one.press("end")
        assert grid.cursor == every - 1
        await one.press("pageup", "home")
        assert grid.cursor == 0
        await one.press("right", "right")
        assert grid.column is not None
        assert grid.column.name == "kind"
        await one.press("left", "right", "right")
        assert grid.column.name == "name"
        await one.press("s", "s")
        assert grid.sort == ("kind", False)
        kinds = [grid.rows.value("kind", place) for place in grid.rows.order.tolist()]
        assert kinds == sorted(kinds)
        await one.press("S")
        assert grid.sort == ("kind", True)
        assert grid.rows.value("kind", int(grid.rows.order[0])) == "memfd"
        await one.press("home", "left", "F")
        assert str(one.app.request.query) == "kind:memfd"
        assert f"of {every}" in one.text()
        assert len(grid.rows) == kinds.count("memfd") < every
        await one.press("escape")
        assert not one.app.request.query
        assert len(grid.rows) == every


@presses("Tables", "filter", "export", "mark", "copy")
@presses("Filter line", "leave(True)", "leave(False)", "complete")
@run
async def test_filter_marks_and_export() -> None:
    async with shown(still()) as one:
        grid = main_grid(one)
        every = len(grid.rows)
        blocked = sum(1 for place in range(every) if grid.rows.value("blocked", place))
        await one.press("slash")
        await one.write("verdict:blo")
        assert "there is no verdict 'blo'" in one.text()
        assert len(grid.rows) == every
        await one.press("tab")
        assert one.app.screen.query_one(FilterLine).entry.value == "verdict:blocked"
        assert len(grid.rows) == blocked < every
        assert all(grid.rows.value("blocked", place) for place in grid.rows.order.tolist())
        await one.press("enter")
        assert one.app.focused is grid
        assert f"{blocked} of {every}" in one.text()
        await one.press("slash", "escape")
        assert len(grid.rows) == every
        await one.press("slash")
        await one.write("name:~merge")
        await one.press("down")
        assert one.app.focused is grid
        assert len(grid.rows) > 1
        assert all("merge" in grid.rows.value("name", place) for place in grid.rows.order.tolist())
        await one.press("y")
        assert one.app.clipboard.split("\t")[:3] == ["✗", "memfd", name(one)[len("memfd:") :]]
        await one.press("space", "space")
        assert len(grid.marked) == 2
        assert [line[:3] for line in one.lines()[10:12]] == ["*✗ ", "*✗ "]
        await one.press("e")
        assert isinstance(one.app.screen, AskScreen)
        await one.press("escape")
        await one.press("escape")  # the filter
        await one.press("escape")  # the marks
        assert not grid.marked


@run
async def test_exports_are_what_is_shown(tmp_path: Path) -> None:
    async with shown(still()) as one:
        grid = main_grid(one)
        want = [grid.rows.record(place) for place in grid.rows.order.tolist()]
        for ending in ("json", "csv", "parquet"):
            await one.press("e")
            entry = one.app.screen.query_one(Input)
            entry.value = str(tmp_path / f"x.{ending}")
            await one.press("enter")
        lines = (tmp_path / "x.json").read_text().splitlines()
        for line, record in zip(lines, want, strict=True):
            number = record["worst"]
            word = None if number < 0 else Verdict(number).word
            assert json.loads(line) == record | {"worst": word}
        frame = pd.read_parquet(tmp_path / "x.parquet")
        assert frame["name"].tolist() == [record["name"] for record in want]
        breaches = sum(1 for record in want if record["breach"])
        assert breaches
        assert frame["worst"].tolist()[:breaches] == ["breach"] * breaches
        with (tmp_path / "x.csv").open(newline="") as file:
            rows = list(csv.DictReader(file))
        assert [row["ino"] for row in rows] == [str(record["ino"]) for record in want]
        await one.press("e")
        one.app.screen.query_one(Input).value = str(tmp_path / "x.json")
        await one.press("enter")
        assert "is there already" in one.said()[-1]


@presses("Tables", "jump('violation', 1)", "jump('violation', -1)")
@presses("Tables", "jump('blocked', 1)", "jump('blocked', -1)")
@run
async def test_jumps() -> None:
    async with shown(still()) as one:
        grid = main_grid(one)
        with_breach = sum(1 for place in range(len(grid.rows)) if grid.rows.value("breach", place))
        breaches = int(one.app.shot.verdicts.counts[5])
        assert with_breach > 1
        seen = []
        for _ in range(with_breach):
            await one.press("n")
            seen.append(grid.cursor)
        assert seen == [*range(1, with_breach), 0]  # worst first
        await one.press("N")
        assert grid.cursor == with_breach - 1
        await one.press("b")
        assert grid.value("blocked") > 0
        first = grid.cursor
        await one.press("b", "B")
        assert grid.cursor == first
        # In the log: all breaches of the recording, in the order of their arrival.
        await one.press("4", "home")
        assert grid.value("row") == 0
        rows = []
        for _ in range(breaches):
            await one.press("n")
            assert grid.value("verdict") == 5
            rows.append(grid.value("row"))
        assert rows == sorted(set(rows))
        await one.press("n")
        assert one.said()[-1] == "No further one."
        await one.press("N")
        assert grid.value("row") == rows[-2]
        await one.press("b")
        assert grid.value("verdict") == 2
        assert grid.value("row") > rows[-2]


@presses("Rows", "open")
@presses("One object", "back", "pane('decisions')", "pane('seals')", "pane('matrix')")
@presses("One object", "pane('holders')", "pane('mappers')", "turn(1)", "turn(-1)", "copy")
@presses("One object", "jump('violation', 1)", "jump('violation', -1)")
@presses("One object", "jump('blocked', 1)", "jump('blocked', -1)")
@presses("One event", "back", "object", "copy")
@run
async def test_drill_down_to_the_reason() -> None:
    async with shown(still(), (120, 40)) as one:
        what = name(one)[len("memfd:") :]
        await one.press("enter")
        screen = one.app.screen
        assert isinstance(screen, ObjectScreen)
        text = one.text()
        assert f"✗ breach {what}  seals ----f-" in text
        decisions = screen.query_one("#decisions", Grid)
        who = f"{decisions.value('comm')}/{decisions.value('pid')}"
        assert f"+FUTURE_WRITE {who}" in text
        assert f"late: already mapped writable by {who}" in text
        assert "mmap-write: A sealed file cannot be mapped" in text
        assert "future-write-merge" in text
        assert decisions.value("verdict") == 5
        here = decisions.cursor
        await one.press("up", "n")
        assert decisions.cursor == here
        await one.press("down", "N")
        assert decisions.cursor == here
        await one.press("b")
        assert one.said()[-1] == "No blocked here."
        await one.press("B", "y")
        assert one.app.clipboard.split("\t")[0] == "✗"
        panes = ("seals", "matrix", "holders", "mappers", "decisions")
        for key, pane in zip("23451", panes, strict=True):
            await one.press(key)
            assert one.app.focused is not None
            assert one.app.focused.id == pane
        await one.press("tab", "shift+tab", "enter")
        event = one.app.screen
        assert isinstance(event, EventScreen)
        answer = decisions.value("answer")
        assert f"EPERM, and the kernel answered {answer:#x}" in one.text()
        await one.press("y")
        assert "hole: future-write-merge" in one.app.clipboard
        assert "check_answer: 0" in one.app.clipboard
        missing = set(event.event) - {line.split(":")[0] for line in one.app.clipboard.splitlines()}
        assert not missing
        await one.press("o")
        assert isinstance(one.app.screen, ObjectScreen)
        await one.press("escape")
        assert isinstance(one.app.screen, ObjectScreen)
        await one.press("backspace")
        assert isinstance(one.app.screen, MainScreen)


@run
async def test_enter_elsewhere() -> None:
    async with shown(still()) as one:
        await one.press("4", "home")
        op, comm = main_grid(one).value("op"), main_grid(one).value("comm")
        await one.press("enter")
        assert isinstance(one.app.screen, EventScreen)
        assert re.search(rf" {op} on \S+ by {comm}/", one.text())
        await one.press("escape", "2", "enter")
        assert isinstance(one.app.screen, ObjectScreen)
        await one.press("escape", "3")
        pid = main_grid(one).value("pid")
        await one.press("enter")
        assert str(one.app.request.query) == f"pid:{pid}"
        assert "[2 Fds" in one.text()
        assert {main_grid(one).rows.value("pid", place) for place in range(3)} == {pid}
        await one.press("5", "enter")
        assert isinstance(one.app.screen, MainScreen)


@presses("Everywhere", "help", "quit", "pause", "acknowledge", "show_alert", "picture")
@presses("Everywhere", "change_theme")
@run
async def test_everywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    async with shown(still()) as one:
        more = int(one.app.shot.verdicts.counts[5]) - 1
        assert f"BREACH (and {more} more): GROW did not stop mmap of hugetlb-grow" in one.text()
        await one.press("v")
        assert isinstance(one.app.screen, EventScreen)
        assert "hugetlb-grow" in one.text()
        await one.press("escape", "a")
        assert "v show  a acknowledge" not in one.text()
        await one.press("p")
        assert "PAUSED" in one.text()
        await one.press("p")
        assert "PAUSED" not in one.text()
        await one.press("ctrl+s")
        pictures = list(tmp_path.glob("*.svg"))
        assert len(pictures) == 1
        assert "future-write-merge" in pictures[0].read_text()
        await one.press("question_mark")
        assert isinstance(one.app.screen, HelpScreen)
        await one.press("escape", "t")
        assert "ommand" in type(one.app.screen).__name__
        await one.press("escape", "ctrl+p")
        assert "ommand" in type(one.app.screen).__name__
        await one.write("Next table")
        await one.app.workers.wait_for_complete()
        await one.press("enter")
        assert "[2 Fds" in one.text()
        await one.press("q")
        assert not one.app.is_running or one.app._exit


class _Keeper:
    """Remembers what it was told."""

    def __init__(self) -> None:
        self.name: str | None = None
        self.told: list[str] = []

    def start(self, name: str) -> str:
        if name == "bad":
            raise UserError("bad: [b]no[/b] such place")
        self.name = name
        self.told.append(f"start {name}")
        return "begun"

    def stop(self) -> str:
        self.told.append(f"stop {self.name}")
        self.name = None
        return "done"


@presses("Everywhere", "record")
@run
async def test_keeping() -> None:
    keeper = _Keeper()
    async with shown(still(), keeper=keeper) as one:
        await one.press("r")
        await one.write("bad")
        await one.press("enter")
        assert one.said()[-1] == "bad: [b]no[/b] such place"
        await one.press("r")
        await one.write("x")
        await one.press("enter", "r")
    assert keeper.told == ["start x", "stop x"]


@presses("Everywhere", "play", "step", "next_violation", "seek", "speed(1)", "speed(-1)")
@run
async def test_replay() -> None:
    feed = StillReplay(DEBIAN_6_1, playing=False)
    async with shown(feed) as one:

        async def press(*keys: str) -> None:
            for key in keys:
                await one.pilot.press(key)
                feed.settle()
                await one.draw()

        assert feed.snapshot.now.events == 0
        assert "REPLAY HELD 1x 0%" in one.text()
        assert "k play/pause" in one.text()
        await press("full_stop", "full_stop", "full_stop")
        assert feed.snapshot.now.events == 3
        await press("greater_than_sign")
        assert feed.snapshot.verdicts.counts[5] == 1
        first = feed.snapshot.now.events
        await press("greater_than_sign")
        assert feed.snapshot.verdicts.counts[5] == 2
        assert feed.snapshot.now.events > first
        await press("plus", "equals_sign", "minus")
        assert feed.snapshot.now.speed == 2.0
        await press("k")
        assert "REPLAY 2x" in one.text()
        feed.pass_time(0.002)
        await one.draw()
        assert feed.snapshot.now.events > first + 1
        await press("k")
        assert "HELD" in one.text()
        await press("g")
        await one.write("50%")
        await press("enter")
        assert 0.49 < (feed.snapshot.now.share or 0) < 0.51
        back = feed.snapshot.now.events
        await press("g")
        await one.write("1:99:x")
        await press("enter")
        assert "is no place" in one.said()[-1]
        assert feed.snapshot.now.events == back


@run
async def test_replay_keys_do_nothing_in_a_live_view() -> None:
    async with shown(still()) as one:
        await one.press("k", "full_stop", "greater_than_sign", "plus", "minus", "g")
        assert isinstance(one.app.screen, MainScreen)


@presses("Everywhere", "suspend_process")
def test_every_binding_is_tested_and_has_help() -> None:
    # Suspending stops this very process; tests of the real binary do it under tmux.
    every = {
        f"{group}: {entry.action}"
        for group, entries in SealsnoopApp.key_groups()
        for entry in entries
    }
    assert every == TESTED
    for owner in (SealsnoopApp, MainScreen, ObjectScreen, EventScreen, Grid):
        assert len(bindings.of(owner)) == len(vars(owner)["BINDINGS"])


@run
async def test_help_lists_every_binding() -> None:
    async with shown(still(), size=(140, 200)) as one:
        await one.press("question_mark")
        text = one.text()
        for group, entries in SealsnoopApp.key_groups():
            assert group in text
            for entry in entries:
                assert f"{entry.key}  {entry.text}" in text
