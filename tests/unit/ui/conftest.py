"""The application driven by keys and mouse takes minutes, so most of it is not in `make check`;
what is there sees a broken column, filter line or sort."""

from pathlib import Path

import pytest

FAST = ("test_glance", "test_groups", "test_log", "test_widgets")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents and item.path.stem not in FAST:
            item.add_marker(pytest.mark.slow)


@pytest.fixture(autouse=True)
def utc(zone: None) -> None:
    """The view shows local time."""
