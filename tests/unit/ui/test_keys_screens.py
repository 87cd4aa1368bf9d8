"""Every key of the screens of one object and one event."""

import re

from tests.unit.ui.pressed import main_grid, name, presses
from tests.unit.ui.still import run, shown, still
from ui.screens.main import MainScreen
from ui.screens.object import EventScreen, ObjectScreen
from ui.widgets.grid import Grid


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
        await one.press("up")
        elsewhere = decisions.cursor
        assert elsewhere != here
        screen.show(one.app.shot)  # the next one: who looks around is left alone
        assert decisions.cursor == elsewhere
        await one.press("n")
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
