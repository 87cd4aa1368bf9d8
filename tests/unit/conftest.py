"""What every test here is held to: it ends, and leaves nothing behind."""

from collections.abc import Iterator

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
