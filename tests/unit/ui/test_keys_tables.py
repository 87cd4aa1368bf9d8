"""Every key of the tables does what its help says, on a recording of a real kernel."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from textual.widgets import Input

from tests.unit.ui.pressed import main_grid, name, presses
from tests.unit.ui.still import run, shown, still
from tracer.live.snapshot import of_columns
from tracer.rules.verdicts import Verdict
from ui.screens.base import AskScreen
from ui.widgets.details import CoverageNotes
from ui.widgets.filterline import FilterLine
from ui.widgets.preview import Preview


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
            assert f"[{key} " in one.lines()[2]
            titles.append(one.lines()[3])
        assert "command" in titles[0]
        assert "file" in titles[1]
        assert "time" in titles[2]
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
        assert "future-write-merge" in one.lines()[4]


@presses("Rows", "move(-1)", "move(1)", "page(-1)", "page(1)", "edge('top')", "edge('bottom')")
@presses("Rows", "column(-1)", "column(1)")
@presses("Tables", "sort", "reverse", "cell_filter", "clear")
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
        assert grid.column.name == "name"
        await one.press("left", "right", "right")
        assert grid.column.name == "seals"
        await one.press("s")
        assert grid.sort == ("seals", True), "by the column of the cell cursor"
        assert "seals ▼" in one.lines()[3]
        seals = [grid.rows.value("seals", place) for place in grid.rows.order.tolist()]
        assert seals == sorted(seals, reverse=True)
        await one.press("s")
        assert grid.sort == ("seals", False), "and again: backwards"
        assert "seals ▲" in one.lines()[3]
        await one.press("S")
        assert grid.sort == ("seals", True)
        await one.press("home")
        wanted = grid.value("seals")
        await one.press("F")
        assert len(grid.rows) == seals.count(wanted) < every
        assert f"of {every}" in one.text()
        await one.press("escape")
        assert not one.app.request.query
        assert len(grid.rows) == every
        await one.press("left", "left", "left", "left", "s")
        assert grid.column is None
        assert grid.sort == ("worst_comm", False), "without a cell cursor: the next column"
        await one.press("s")
        assert grid.sort == (None, False), "the worst first"
        assert "worst decision ▼" in one.lines()[3]


@presses("Tables", "scroll_preview(4)", "scroll_preview(-4)")
@run
async def test_the_preview_says_why_and_what_else() -> None:
    async with shown(still(), (120, 40)) as one:
        preview = one.app.screen.query_one(Preview)
        grid = main_grid(one)
        key = tuple(int(grid.value(part)) for part in ("dev", "ino", "gen"))
        assert one.app.request.object == key
        said = preview.text
        for words in (
            "went through, F_SEAL_FUTURE_WRITE should have refused it, known hole",
            "rule mmap-write: A sealed file cannot be mapped",
            "mm/memfd.c:check_write_seal",
            "add_seals FUTURE_WRITE ok; late: already mapped",
            "Was held by",
            f"{grid.value('worst_comm')}/{grid.value('worst_pid')} fd 7, reads and writes",
        ):
            assert words in " ".join(said.split())
        await one.press("J")
        assert preview.scroll_y == 4
        await one.press("J", "K", "K", "J")
        assert preview.scroll_y == 4
        await one.press("down")
        assert preview.scroll_y == 0
        assert preview.text != said
        assert "future-write-mremap" in preview.text
        await one.press("2")
        assert "future-write-merge" in preview.text
        await one.press("3")
        assert f"{grid.value('comm')}/{grid.value('pid')}" in preview.text
        assert one.app.request.object is None
        await one.press("4", "home")
        assert "boot clock" in preview.text
        await one.press("5")
        assert not preview.display


@run
async def test_who_and_what_in_the_table() -> None:
    """The worst decision of each row is that of the log."""
    async with shown(still(), (200, 50)) as one:
        grid = main_grid(one)
        log = one.app.feed.book.log.take(np.arange(one.app.feed.book.rows))
        assert log is not None
        rows = of_columns("", log)
        names = ("dev", "ino", "gen")
        worst: dict[tuple[int, ...], tuple[int, int, int]] = {}
        for place in range(len(rows)):
            key = tuple(rows.value(name, place) for name in names)
            here = (rows.value("verdict", place), rows.value("time_ns", place), place)
            if here[0] > 0:
                worst[key] = max(worst.get(key, here), here)
        for place in grid.rows.order.tolist():
            key = tuple(grid.rows.value(name, place) for name in names)
            if key not in worst:
                assert grid.rows.value("worst_op", place) is None
                continue
            verdict, time_ns, at = worst[key]
            assert grid.rows.value("worst", place) == verdict
            for name in ("op", "pid", "comm", "arg", "answer", "reason", "hole"):
                assert grid.rows.value(f"worst_{name}", place) == rows.value(name, at), name
            assert grid.rows.value("worst_last_ns", place) == time_ns


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
        assert one.app.clipboard.split("\t")[:3] == ["✗", name(one)[len("memfd:") :], "----f-"]
        await one.press("space", "space")
        assert len(grid.marked) == 2
        assert [line[:3] for line in one.lines()[4:6]] == ["*✗ ", "*✗ "]
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
