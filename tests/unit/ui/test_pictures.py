"""Pictures of screens, compared with those in golden/.

Where a screen was changed on purpose: ``REDRAW=1 .venv/bin/pytest tests/unit/ui/test_pictures.py``,
then look at what git shows.
"""

import os
import re
from dataclasses import replace
from pathlib import Path

import pytest
from textual.widgets import Input

from tests.unit.ui.guests import Guests
from tests.unit.ui.still import Shown, Still, run, shown, still
from tracer.live.snapshot import Now

GOLDEN = Path(__file__).parent / "golden"
README = Path(__file__).parents[3] / "docs" / "pictures"
SIZES = ((80, 24), (120, 40), (200, 60))
SCREENS: dict[str, tuple[tuple[str, ...], tuple[tuple[int, int], ...]]] = {
    "objects": ((), SIZES),
    "object": (("a", "enter"), SIZES),
    "events": (("a", "4", "n"), SIZES[1:2]),
    "hooks": (("a", "5"), SIZES[1:2]),
    "event": (("a", "enter", "enter"), SIZES[1:2]),
    "filter": (("a", "slash", *"seals", "colon", *"+WRITE"), SIZES[:1]),
    "help": (("question_mark",), SIZES[1:2]),
}
pytestmark = pytest.mark.usefixtures("zone")
_FONT = re.compile(r"@font-face \{.*?\}", re.DOTALL)


def picture(svg: str) -> str:
    """An SVG that asks nobody for a font."""
    return _FONT.sub("", svg).replace("Fira Code", "monospace")


async def settled(one: Shown) -> str:
    """The picture when nothing changes any more: a layout may need a second try."""
    for entry in one.app.screen.query(Input):
        entry.cursor_blink = False
    found, unchanged = picture(one.app.export_screenshot(simplify=True)), 0
    while unchanged < 3:
        await one.pilot.pause(0.05)
        await one.draw()
        found, before = picture(one.app.export_screenshot(simplify=True)), found
        unchanged = unchanged + 1 if found == before else 0
    return found


def same(path: Path, found: str) -> bool:
    """Whether a picture is what it was; draws it if that is wanted."""
    if os.environ.get("REDRAW"):
        path.parent.mkdir(exist_ok=True)
        path.write_text(found)
    return path.exists() and path.read_text() == found


@pytest.mark.slow
@pytest.mark.parametrize("name", SCREENS)
@run
async def test_screens_look_as_they_did(name: str) -> None:
    keys, sizes = SCREENS[name]
    wrong = []
    async with shown(still(), sizes[0]) as one:
        await one.press(*keys)
        for width, height in sizes:
            await one.pilot.resize_terminal(width, height)
            await one.draw()
            found = await settled(one)
            if not same(GOLDEN / f"{name}-{width}x{height}.svg", found):
                wrong.append(f"{name}-{width}x{height}")
    assert not wrong, f"{wrong} changed; if that is right, see the top of this file"


class _Small(Still):
    """How many bytes it has on the disk is the compressor's business."""

    def now(self) -> Now:
        return replace(super().now(), bytes=0)


@pytest.mark.slow
@run
async def test_a_machine_looks_as_it_did(tmp_path: Path) -> None:
    wrong = []
    async with shown(_Small(Guests().play().keep(tmp_path)), SIZES[0]) as one:
        await one.press("a", "m", "4", "home", "1")
        for width, height in SIZES:
            await one.pilot.resize_terminal(width, height)
            await one.draw()
            if not same(GOLDEN / f"machine-{width}x{height}.svg", await settled(one)):
                wrong.append(f"machine-{width}x{height}")
        await one.pilot.resize_terminal(110, 32)
        await one.draw()
        assert same(README / "machine.svg", await settled(one))
    assert not wrong, f"{wrong} changed; if that is right, see the top of this file"


@pytest.mark.slow
@run
async def test_pictures_in_the_readme_are_of_this_version() -> None:
    async with shown(still(), (110, 32)) as one:
        await one.press("a")
        objects = await settled(one)
        await one.press("enter")
        drilled = await settled(one)
    assert same(README / "objects.svg", objects)
    assert same(README / "object.svg", drilled)
