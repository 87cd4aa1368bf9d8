"""The help lists every key, and every key has a test."""

from tests.unit.ui import (  # register
    test_audit,
    test_keys_app,
    test_keys_screens,
    test_keys_tables,
    test_machine,
)
from tests.unit.ui.pressed import TESTED, presses
from tests.unit.ui.still import run, shown, still
from ui import bindings
from ui.app import SealsnoopApp
from ui.screens.machine import MachineScreen
from ui.screens.main import MainScreen
from ui.screens.object import EventScreen, EvidenceScreen, ObjectScreen
from ui.widgets.grid import Grid


@presses("Everywhere", "suspend_process")
def test_every_binding_is_tested_and_has_help() -> None:
    # Suspending stops this very process; tests of the real binary do it under tmux.
    every = {
        f"{group}: {entry.action}"
        for group, entries in SealsnoopApp.key_groups()
        for entry in entries
    }
    assert {test_audit, test_keys_app, test_keys_screens, test_keys_tables, test_machine}
    assert every == TESTED
    screens = (MainScreen, ObjectScreen, MachineScreen, EventScreen, EvidenceScreen)
    for owner in (SealsnoopApp, *screens, Grid):
        assert len(bindings.of(owner)) == len(vars(owner)["BINDINGS"])


@run
async def test_help_lists_every_binding() -> None:
    async with shown(still(), size=(140, 200)) as one:
        await one.press("question_mark")
        text = one.text()
        for group, entries in SealsnoopApp.key_groups():
            assert group in text
            for entry in entries:
                assert f"{entry.key}  {entry.text}" in text


@run
async def test_the_palette_has_every_key_of_a_screen() -> None:
    async with shown(still()) as one:
        for keys, owners in (((), (MainScreen, Grid)), (("enter",), (ObjectScreen, Grid))):
            await one.press(*keys)
            told = [(one.title, one.help) for one in one.app.get_system_commands(one.app.screen)]
            for owner in (*owners, SealsnoopApp):
                for entry in bindings.of(owner):
                    assert (entry.text, f"key {entry.key}") in told
