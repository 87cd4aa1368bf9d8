"""Who called: beside the tables, and on an event's page."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.recording import stack_records
from tests.unit.stacks.compiled import Program, compiled, record
from tests.unit.ui.still import Shown, Still, StillReplay, run, shown
from tracer.stacks.files import Files
from tracer.stacks.names import Names
from ui.widgets.preview import Preview


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Program:
    return compiled(tmp_path_factory.mktemp("program"))


@pytest.fixture(scope="module")
def path(program: Program, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return record(program, tmp_path_factory.mktemp("recording") / "r.seal")


@pytest.fixture
def names() -> Iterator[Names]:
    with Names(Files([])) as found:
        yield found


def feed(path: Path, names: Names) -> Still:
    found = Still(path)
    found.names = names
    return found


async def settle(one: Shown) -> None:
    """Until the cursor has rested, and names are there."""
    for _ in range(3):
        await asyncio.sleep(0.4)
        one.app.ask()
        await one.draw()


def plain(program: Program) -> str:
    return f"plain (prog.c:{program.calls['plain'].line}) in prog"


@run
async def test_beside_an_event(program: Program, path: Path, names: Names) -> None:
    async with shown(feed(path, names), (170, 40)) as one:
        await one.press("4", "home")
        await settle(one)
        text = one.app.screen.query_one(Preview).text
        assert "Called by" in text
        assert plain(program) in text
        await one.press("down", "down")
        await settle(one)
        text = one.app.screen.query_one(Preview).text
        assert plain(program) not in text
        assert f"map_ring (prog.c:{program.calls['map_ring'].line}) inlined" in text
        await one.press("end")
        await settle(one)
        assert "Called by" not in one.app.screen.query_one(Preview).text


@run
async def test_beside_a_file_of_what_was_refused_last(
    program: Program, path: Path, names: Names
) -> None:
    async with shown(feed(path, names), (170, 40)) as one:
        await one.press("1")
        await settle(one)
        text = one.app.screen.query_one(Preview).text
        assert "Called by (the newest that was refused: write by prog/100)" in text
        assert "… the stack was lost" in text


@run
async def test_on_the_page_of_an_event(program: Program, path: Path, names: Names) -> None:
    async with shown(feed(path, names), (120, 40)) as one:
        await one.press("4", "home", "enter")
        await settle(one)
        text = one.text()
        assert "called by libc.so.6+0x1018ad" in text
        assert plain(program) in text


@run
async def test_in_a_replay(program: Program, path: Path, names: Names) -> None:
    feed = StillReplay(path)
    feed.names = names
    async with shown(feed, (170, 40)) as one:
        feed.pass_time(60)
        await one.press("4", "home")
        await settle(one)
        assert plain(program) in one.app.screen.query_one(Preview).text


@run
async def test_paths_that_paint_are_text(tmp_path: Path, names: Names) -> None:
    path = stack_records.write_stacks(tmp_path / "s.seal")
    async with shown(feed(path, names), (170, 40)) as one:
        await one.press("4", "home", "down", "down", "down")
        await settle(one)
        text = one.app.screen.query_one(Preview).text
        assert "evil\\x1b[2J+0x55 [gone]" in text
        assert "\x1b" not in one.text()
