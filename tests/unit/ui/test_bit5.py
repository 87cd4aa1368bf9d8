"""Seal 0x20 and memfd_create's flag 0x8 have the names that the recorded kernel gives them."""

from pathlib import Path

import pytest

from tests.unit.audit.audit_story import Story, self_test
from tests.unit.ui.pressed import main_grid
from tests.unit.ui.still import Shown, Still, StillReplay, run, shown
from tracer.live.replay import MAX
from ui.screens.object import EventScreen

WORDS = {
    "exec": ("EXEC", "NOEXEC_SEAL"),
    "none": ("EXEC", "NOEXEC_SEAL"),
    "inaccessible": ("INACCESSIBLE", "INACCESSIBLE"),
    "unknown": ("0x20", "0x8"),
}
"""By what the self-test found: the seal's name and the flag's."""
FILE = 7


def recording(path: Path, meaning: str) -> Path:
    story = Story()
    story.create(FILE, arg=8, seals=0x20, seals_after=0x20)
    story.event("add_seals", FILE, arg=0x21, fmode=3, seals=0x20, seals_after=0x21)
    return story.write(path, self_test=self_test(bit_0x20=meaning))


async def find(one: Shown, column: str) -> None:
    """Moves the cursor of the table to a column."""
    grid = main_grid(one)
    for _ in grid.columns:
        if grid.column is not None and grid.column.name == column:
            return
        await one.press("right")
    raise AssertionError(column)


@pytest.mark.parametrize(("meaning", "words"), WORDS.items())
@run
async def test_all_screens(tmp_path: Path, meaning: str, words: tuple[str, str]) -> None:
    seal, flag = words
    async with shown(Still(recording(tmp_path / "x.seal", meaning)), (160, 45)) as one:
        seen: list[str] = []

        async def look(*keys: str) -> str:
            await one.press(*keys)
            seen.append(one.text())
            return seen[-1]

        log = (await look("4", "home")).splitlines()
        assert f" {flag} " in next(line for line in log if " create " in line)
        assert f" SEAL|{seal} " in next(line for line in log if " add_seals " in line)

        await look("end", "enter")
        assert isinstance(one.app.screen, EventScreen)
        assert f"add_seals SEAL|{seal}" in one.text()
        assert f"-----X  {seal}" in one.text()
        assert f"S----X  SEAL|{seal}" in one.text()
        await one.press("y")
        assert f"seals after: S----X  SEAL|{seal}" in one.app.clipboard

        assert f"SEAL|{seal}" in await look("o"), "among the decisions of its object"
        assert f"-----X → S----X  +SEAL|{seal} vmm/100" in await look("2")

        await one.press("escape", "1")
        await find(one, "seals")
        assert f"seals:=SEAL|{seal}" in await look("F")
        assert len(main_grid(one).rows) == 1

        others = {name for pair in WORDS.values() for name in pair} - {seal, flag}
        shown_words = {word for text in seen for word in text.replace("|", " ").split()}
        assert not shown_words & others


@pytest.mark.parametrize("meaning", ["exec", "inaccessible"])
@run
async def test_a_replay(tmp_path: Path, meaning: str) -> None:
    feed = StillReplay(recording(tmp_path / "x.seal", meaning), speed=MAX)
    async with shown(feed, (160, 45)) as one:
        await one.press("4")
        assert f" SEAL|{WORDS[meaning][0]} " in one.text()


@pytest.mark.parametrize("word", ["exec", "inaccessible", "X", "0x20"])
@run
async def test_a_filter_takes_both_names(tmp_path: Path, word: str) -> None:
    async with shown(Still(recording(tmp_path / "x.seal", "inaccessible"))) as one:
        await one.press("4", "slash")
        await one.write(f"seals:=seal|{word}")
        await one.press("enter")
        assert len(main_grid(one).rows) == 0
        await one.press("slash", "ctrl+u")
        await one.write(f"seals:+{word}")
        await one.press("enter")
        assert len(main_grid(one).rows) == 2
