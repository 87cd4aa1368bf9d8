"""Whatever a key does on a row, a title or a tab, the mouse does too; and terminals change size."""

import os

import pytest

from tests.unit.ui.still import DEBIAN_6_1, StillReplay, run, shown, still
from ui.screens.base import HelpScreen
from ui.screens.main import MainScreen
from ui.screens.object import EventScreen, ObjectScreen
from ui.widgets.grid import Grid
from ui.widgets.strips import Banner, KeyLine, ReplayBar, TabBar


@run
async def test_clicks() -> None:
    async with shown(still()) as one:
        grid = one.app.screen.query_one("#grid", Grid)

        async def click(widget: object, x: int, y: int = 0, times: int = 1) -> None:
            await one.pilot.click(widget, offset=(x, y), times=times)  # type: ignore[arg-type]
            await one.draw()

        title = next(placed for placed in grid.placed if placed.column.name == "decisions")
        await click(grid, title.start + 1)
        assert grid.sort == ("decisions", True)
        values = [grid.rows.value("decisions", place) for place in grid.rows.order.tolist()]
        assert values == sorted(values, reverse=True)
        await click(grid, title.start + 1)
        assert grid.sort == ("decisions", False)
        await click(grid, 15, 3)
        assert grid.cursor == 2
        assert grid.column is not None
        assert grid.column.name == "name"
        await click(one.app.screen.query_one(TabBar), 22)
        assert "[2 Fds" in one.text()
        await click(one.app.screen.query_one(TabBar), 2)
        await click(grid, 15, 2, times=2)
        assert isinstance(one.app.screen, ObjectScreen)
        await click(one.app.screen.query_one(TabBar), 20)
        assert one.app.focused is not None
        assert one.app.focused.id == "seals"
        await one.press("escape")
        banner = one.app.screen.query_one(Banner)
        assert {str(span.style) for span in banner.render().spans} == {"bold"}
        await click(banner, 10)
        assert isinstance(one.app.screen, EventScreen)
        await one.press("escape")
        line = one.app.screen.query_one(KeyLine)
        await click(line, line.text.index("Help"))
        assert isinstance(one.app.screen, HelpScreen)


@run
async def test_a_click_on_the_replay_goes_there() -> None:
    feed = StillReplay(DEBIAN_6_1, playing=False)
    async with shown(feed) as one:
        bar = one.app.screen.query_one(ReplayBar)
        assert "k play/pause" in bar.text
        start, room = bar.track
        await one.pilot.click(bar, offset=(start + room // 2, 0))
        await one.pilot.pause()
        feed.settle()
        await one.draw()
        assert 0.4 < (feed.snapshot.now.share or 0) < 0.6


@run
async def test_sizes() -> None:
    async with shown(still(), (20, 5)) as one:
        assert "terminal too" in one.text()
        await one.pilot.resize_terminal(80, 24)
        await one.draw()
        text = one.text()
        assert "terminal too" not in text
        assert " BREACHES: " in text
        assert "future-write-merge" in text
        await one.press("enter")
        assert isinstance(one.app.screen, ObjectScreen)
        assert "Why" in one.text()
        assert "Seal x op" in one.text()  # as a tab; there is no room for a board
        assert "╭" not in one.text()
        await one.pilot.resize_terminal(120, 40)
        await one.draw()
        assert one.text().count("╭") == 6
        await one.pilot.resize_terminal(30, 8)
        await one.draw()
        assert "terminal too" in one.text()
        await one.pilot.resize_terminal(200, 60)
        await one.press("escape")
        assert isinstance(one.app.screen, MainScreen)
        assert "error" in one.lines()[8]


@run
async def test_themes_and_no_colour(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(os.environ, "NO_COLOR", "1")
    async with shown(still()) as one:
        colours = set()
        for strip in one.app.screen._compositor.render_strips():
            for segment in strip:
                if segment.style is not None and segment.style.color is not None:
                    colour = segment.style.color.get_truecolor()
                    colours.add(colour.red == colour.green == colour.blue)
        assert one.app.no_color
        assert "✗ breach" in one.text()
        # Of the terminal's own colours; textual calls it otherwise since 8.2.6.
        ansi = {"ansi-dark", "textual-ansi"} & one.app.available_themes.keys()
        assert ansi
        for theme in ("sealsnoop-light", *sorted(ansi), "textual-light", "nord", "sealsnoop"):
            one.app.theme = theme
            await one.draw()
            assert " BREACHES: " in one.text()
            assert one.app.theme_variables["v-breach"]
