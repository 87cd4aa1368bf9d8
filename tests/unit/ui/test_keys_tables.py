"""Every key of the tables does what its help says, on a recording of a real kernel."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import pandas as pd
from textual.widgets import Input

from tests.unit.ui.pressed import main_grid, name, presses
from tests.unit.ui.still import run, shown, still
from tracer.rules.verdicts import Verdict
from ui.screens.base import AskScreen
from ui.widgets.details import CoverageNotes
from ui.widgets.filterline import FilterLine


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
        notes = one.app.screen.query_one(CoverageNotes)
        whole = one.app.shot.coverage
        for cause in ("ring_full", "name"):
            cover = replace(whole, losses={cause: 3})
            notes.show(replace(one.app.shot, coverage=cover))
            assert "nothing lost" not in notes.body.text
            assert "3" in notes.body.text.splitlines()[1]
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
