"""What every test here is held to: it ends, and leaves nothing behind."""

from tests.leftovers import pytest_runtest_call as pytest_runtest_call
from tests.leftovers import pytest_runtest_setup as pytest_runtest_setup
from tests.leftovers import pytest_runtest_teardown as pytest_runtest_teardown
