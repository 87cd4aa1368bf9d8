"""Which keys the tests press."""

from collections.abc import Callable
from typing import TypeVar

from tests.unit.ui.still import Shown
from ui.widgets.grid import Grid

Test = TypeVar("Test", bound=Callable[..., None])
TESTED: set[str] = set()
"""Actions, as ``group: action``, that some test presses a key for."""


def presses(group: str, *actions: str) -> Callable[[Test], Test]:
    """Says which actions of a group a test presses keys for."""
    TESTED.update(f"{group}: {action}" for action in actions)
    return lambda test: test


def main_grid(one: Shown) -> Grid:
    return one.app.screen.query_one("#grid", Grid)


def name(one: Shown) -> str:
    return str(main_grid(one).value("name"))
