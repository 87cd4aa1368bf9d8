"""Every key that works everywhere."""

from pathlib import Path

import pytest

from tests.unit.ui.pressed import presses
from tests.unit.ui.still import DEBIAN_6_1, StillReplay, run, shown, still
from tracer.errors import UserError
from ui.screens.base import HelpScreen
from ui.screens.main import MainScreen
from ui.screens.object import EventScreen


@presses("Everywhere", "help", "quit", "pause", "acknowledge", "show_alert", "picture")
@presses("Everywhere", "change_theme", "command_palette")
@run
async def test_everywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    async with shown(still()) as one:
        more = int(one.app.shot.verdicts.counts[5]) - 1
        assert f"KNOWN HOLE (and {more} more): hugetlb-grow-10, holes/184: " in one.text()
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
        assert "k play" in one.text()
        assert "> violation" in one.text()
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
        await press("g")
        await one.write("100%")
        await press("enter")
        assert "✗ KNOWN HOLE (and 7 more)" in one.text()
        await press("g")
        await one.write("1%")
        await press("enter")
        assert "HOLE" not in one.text(), "what is still to come is not told"
        assert "✗" not in one.text()


@run
async def test_replay_keys_do_nothing_in_a_live_view() -> None:
    async with shown(still()) as one:
        await one.press("k", "full_stop", "greater_than_sign", "plus", "minus", "g")
        assert isinstance(one.app.screen, MainScreen)


@run
async def test_a_view_in_a_browser_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    async with shown(still(), read_only=True) as one:
        for key in ("ctrl+s", "e", "r"):
            await one.press(key)
            assert "Nothing is written from a browser" in one.said()[-1]
            one.app.clear_notifications()
            assert isinstance(one.app.screen, MainScreen), "no name is asked for"
        one.app.export(one.app.shot.rows, {})
        one.app.action_picture()
        one.app.action_record()
        await one.draw()
        assert isinstance(one.app.screen, MainScreen)
    assert list(tmp_path.iterdir()) == []
