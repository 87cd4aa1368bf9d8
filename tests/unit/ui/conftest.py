"""The application driven by keys and mouse takes minutes, so most of it is not in `make check`;
what is there sees a broken column, filter line or sort."""

import os
import time
from pathlib import Path

import pytest

# Times of day are local ones.
os.environ["TZ"] = "UTC"
time.tzset()

FAST = ("test_glance", "test_groups", "test_log", "test_widgets")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents and item.path.stem not in FAST:
            item.add_marker(pytest.mark.slow)
