"""Whatever a key does on a row, a title or a tab, the mouse does too; and terminals change size."""

import os

import pytest
from textual.color import Color

from tests.unit.ui.still import DEBIAN_6_1, StillReplay, run, shown, still
from tracer.live.cells import WORST_FIRST
from ui.screens.base import HelpScreen
from ui.screens.main import MainScreen
from ui.screens.object import EventScreen, ObjectScreen
from ui.widgets.grid import Grid
from ui.widgets.preview import Preview
from ui.widgets.strips import Bar, StatusLine, VerdictLine


@run
async def test_clicks() -> None:
    async with shown(still()) as one:
        grid = one.app.screen.query_one("#grid", Grid)

        async def click(widget: object, x: int, y: int = 0, times: int = 1) -> None:
            await one.pilot.click(widget, offset=(x, y), times=times)  # type: ignore[arg-type]
            await one.draw()

        title = next(placed for placed in grid.placed if placed.column.name == "worst_last_ns")
        await click(grid, title.start + 1)
        assert grid.sort == ("worst_last_ns", True)
        assert "when ▼" in one.lines()[3]
        values = [grid.rows.value("worst_last_ns", place) for place in grid.rows.order.tolist()]
        assert values == sorted(values, reverse=True)
        await click(grid, title.start + 1)
        assert grid.sort == ("worst_last_ns", False)
        assert "when ▲" in one.lines()[3]
        title = next(placed for placed in grid.placed if placed.column.default)
        await click(grid, title.start + 1)
        assert grid.sorted_by == "worst_op"
        assert "worst decision ▼" in one.lines()[3]
        await click(grid, 15, 3)
        assert grid.cursor == 2
        assert grid.column is not None
        assert grid.column.name == "name"
        tabs = one.app.screen.query_one(Bar)
        await click(tabs, tabs.text.index("2 Fds"))
        assert "[2 Fds" in one.text()
        await click(one.app.screen.query_one(Bar), 2)
        await click(grid, 15, 2)
        assert isinstance(one.app.screen, MainScreen)
        await click(grid, 15, 2)
        assert isinstance(one.app.screen, ObjectScreen), "the second click on a row opens it"
        panes = one.app.screen.query_one(Bar)
        await click(panes, panes.text.index("2 Seals"))
        assert one.app.focused is not None
        assert one.app.focused.id == "seals"
        await one.press("escape")
        await click(one.app.screen.query_one(StatusLine), 30)
        assert isinstance(one.app.screen, EventScreen)
        await one.press("escape")
        line = one.app.screen.query_one(Bar)
        await click(line, line.text.index("keys"))
        assert isinstance(one.app.screen, HelpScreen)


@run
async def test_counts_filter_and_open() -> None:
    async with shown(still(), (120, 40)) as one:
        line = one.app.screen.query_one(VerdictLine)
        blocked = int(one.app.shot.verdicts.counts[2])
        shown_at = line.text.index(f"■ {blocked} blocked")

        async def click(x: int) -> None:
            await one.pilot.click(line, offset=(x, 0))
            await one.draw()

        await click(shown_at)
        assert str(one.app.request.query) == "verdict:blocked"
        assert one.app.request.table == "objects"
        await click(line.text.index("8 breaches"))
        assert str(one.app.request.query) == "verdict:breach"
        await click(line.text.index("8 breaches"))
        assert one.app.request.table == "events"
        assert len(one.app.shot.rows) == 8
        await click(line.text.index("8 breaches"))
        assert isinstance(one.app.screen, EventScreen)
        await one.press("escape", "5")
        await click(shown_at)
        assert one.app.request.table == "objects", "hooks have no verdicts"


@run
async def test_a_click_on_the_replay_goes_there() -> None:
    feed = StillReplay(DEBIAN_6_1, playing=False)
    async with shown(feed) as one:
        line = one.app.screen.query_one(VerdictLine)
        assert "k play" in one.lines()[2]
        start, room = line.track
        assert line.text[start : start + room] == "─" * room
        await one.pilot.click(line, offset=(start + room // 2, 0))
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
        assert " breaches by known holes" in text
        assert "future-write-m" in text
        await one.press("enter")
        assert isinstance(one.app.screen, ObjectScreen)
        assert "Why" in one.text()
        assert "3 Matrix" in one.text()  # as a tab; there is no room for a board
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
        assert "│" in one.lines()[3], "beside the table is room"


@run
async def test_the_preview_is_where_there_is_room() -> None:
    async with shown(still(), (200, 50)) as one:
        preview = one.app.screen.query_one(Preview)
        grid = one.app.screen.query_one("#grid", Grid)
        assert preview.region.x == grid.region.right, "beside the table"
        await one.pilot.resize_terminal(80, 24)
        await one.draw()
        assert preview.region.y == grid.region.bottom, "below it"
        assert grid.region.height >= 12
        await one.pilot.resize_terminal(80, 20)
        await one.draw()
        assert not preview.display
        assert grid.region.bottom == 20
        assert one.app.request.object is None, "nothing is read for what nobody sees"


@run
async def test_three_lines_are_above_every_table() -> None:
    for size in ((80, 24), (120, 40), (200, 50)):
        async with shown(still(), size) as one:
            for key in "1234":
                await one.press(key)
                assert one.app.screen.query_one("#grid", Grid).region.y == 3
                assert not one.lines()[-1].startswith(" ⏎")


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
        words = [verdict.word for verdict in WORST_FIRST]
        for theme in ("sealsnoop", "sealsnoop-light", "nord"):
            one.app.theme = theme
            await one.draw()
            paper = Color.parse(one.app.theme_variables["background"])
            shades = [Color.parse(one.app.theme_variables[f"v-{word}"]) for word in words]
            contrast = [abs(shade.brightness - paper.brightness) for shade in shades]
            assert contrast == sorted(contrast, reverse=True), "what is worse stands out more"
        # Of the terminal's own colours; textual calls it otherwise since 8.2.6.
        ansi = {"ansi-dark", "textual-ansi"} & one.app.available_themes.keys()
        assert ansi
        for theme in ("sealsnoop-light", *sorted(ansi), "textual-light", "nord", "sealsnoop"):
            one.app.theme = theme
            await one.draw()
            assert " breaches by known holes" in one.text()
            assert one.app.theme_variables["v-breach"]
