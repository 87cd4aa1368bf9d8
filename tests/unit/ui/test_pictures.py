"""Pictures of screens, compared with those in golden/.

Where a screen was changed on purpose: ``REDRAW=1 .venv/bin/pytest tests/unit/ui/test_pictures.py``,
then look at what git shows.
"""

import os
import re
from pathlib import Path

import pytest

from tests.unit.ui.still import run, shown, still

GOLDEN = Path(__file__).parent / "golden"
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
_FONT = re.compile(r"@font-face \{.*?\}", re.DOTALL)


def picture(svg: str) -> str:
    """An SVG that asks nobody for a font."""
    return _FONT.sub("", svg).replace("Fira Code", "monospace")


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
            found = picture(one.app.export_screenshot(simplify=True))
            path = GOLDEN / f"{name}-{width}x{height}.svg"
            if os.environ.get("REDRAW"):
                GOLDEN.mkdir(exist_ok=True)
                path.write_text(found)
            elif not path.exists() or path.read_text() != found:
                wrong.append(path.name)
    assert not wrong, f"{wrong} changed; if that is right, see the top of this file"
