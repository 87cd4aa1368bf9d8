"""One look at every table, a filter and a sort, as text: fast enough for each ``make check``.

Where the view was changed on purpose: ``REDRAW=1 .venv/bin/pytest tests/unit/ui/test_glance.py``,
then look at what git shows.
"""

import os
from pathlib import Path

from tests.unit.ui.still import Shown, run, shown, still
from tracer.filter.query import parse
from ui.app import SealsnoopApp

GOLDEN = Path(__file__).parent / "golden" / "glance.txt"
LOOKS = {
    "objects": ("a",),
    "descriptors": ("2",),
    "processes": ("3",),
    "events": ("4", "home"),
    "hooks": ("5",),
    "sorted by when, the last first": ("1", "s", "s"),
    "and the first": ("S",),
    "filtered by a cell": ("home", "right", "right", "right", "F"),
    "filtered by what is typed": ("slash", "ctrl+u", *"op", "colon", *"mmap", "enter"),
    "one object": ("escape", "home", "enter"),
}
_LINES = 14


def table(one: Shown) -> str:
    """The tabs, the filter if there is one, titles and rows."""
    lines = [line.rstrip() for line in one.lines()[2:]]
    return "\n".join(lines[:_LINES]).rstrip()


@run
async def test_tables_filter_and_sort_look_as_they_did() -> None:
    found = []
    async with shown(still(), (150, 28)) as one:
        for look, keys in LOOKS.items():
            await one.press(*keys)
            found.append(f"== {look}\n{table(one)}\n")
    text = "\n".join(found)
    if os.environ.get("REDRAW"):
        GOLDEN.write_text(text)
    assert text.splitlines() == GOLDEN.read_text().splitlines(), "see the top of this file"


@run
async def test_a_view_that_starts_with_a_filter() -> None:
    app = SealsnoopApp(still(), frozen=True, query=parse("op:mmap verdict:breach"))
    async with app.run_test(size=(150, 28)) as pilot:
        one = Shown(app, pilot)
        await one.draw()
        assert "op:mmap verdict:breach" in one.text()
        await one.press("escape")
        assert not app.request.query
