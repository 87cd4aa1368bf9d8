"""A test ends, and leaves nothing behind: another one would wait for it, or stumble over it."""

import os
import signal
from collections.abc import Generator
from contextlib import contextmanager

import pytest
from hypothesis import HealthCheck, settings

# How long an example takes tells how busy this machine is. What may not take long says so itself.
settings.register_profile("unit", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("unit")

LIMIT_S = 120.0
"""For one test. The longest takes 3 s on an idle machine."""
_BEFORE = pytest.StashKey[dict[str, object]]()


def _left() -> dict[str, object]:
    """What a test may not change. A child that was not waited for counts, dead or alive."""
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        child = True
    except ChildProcessError:
        child = False
    environ = {name: word for name, word in os.environ.items() if name != "PYTEST_CURRENT_TEST"}
    return {"a child": child, "a working directory": os.getcwd(), "an environment": environ}


@contextmanager
def _limited() -> Generator[None, None, None]:
    def too_long(*_: object) -> None:
        pytest.fail(f"has not ended after {LIMIT_S:g} s")

    before = signal.signal(signal.SIGALRM, too_long)
    signal.setitimer(signal.ITIMER_REAL, LIMIT_S)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item: pytest.Item) -> Generator[None, object, object]:
    item.stash[_BEFORE] = _left()
    with _limited():
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call() -> Generator[None, object, object]:
    with _limited():
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item) -> Generator[None, object, object]:
    done = yield
    now = _left()
    changed = [name for name, was in item.stash[_BEFORE].items() if now[name] != was]
    if not now["a child"] and "a child" in changed:
        changed.remove("a child")  # another test's, which has said so
    if changed:
        pytest.fail(f"left {' and '.join(changed)} behind", pytrace=False)
    return done
