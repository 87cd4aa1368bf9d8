"""What every test here is held to: it ends, and leaves nothing behind."""

from collections.abc import Iterator
from multiprocessing import forkserver, resource_tracker

import pytest

from tests.leftovers import pytest_runtest_call as pytest_runtest_call
from tests.leftovers import pytest_runtest_setup as pytest_runtest_setup
from tests.leftovers import pytest_runtest_teardown as pytest_runtest_teardown
from tests.unit import zones


@pytest.fixture
def zone(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Local time is UTC, or that of the ``TZ`` in the parameter: on every machine."""
    with monkeypatch.context() as patched:
        patched.setenv("TZ", getattr(request, "param", "UTC"))
        zones.changed()
        yield
    zones.changed()


@pytest.fixture
def servers_end() -> Iterator[None]:
    """What multiprocessing starts once for all pools of a process ends with the test."""
    yield
    forkserver._forkserver._stop()  # type: ignore[attr-defined]
    resource_tracker._resource_tracker._stop()  # type: ignore[attr-defined]
