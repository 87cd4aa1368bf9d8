"""A test leaves nothing behind: what one leaves, another one would stumble over."""

import os
from collections.abc import Generator

import pytest


def _left() -> dict[str, object]:
    """What a test may not change. A child that was not waited for counts, dead or alive."""
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        child = True
    except ChildProcessError:
        child = False
    environ = {name: word for name, word in os.environ.items() if name != "PYTEST_CURRENT_TEST"}
    return {"a child": child, "the working directory": os.getcwd(), "the environment": environ}


_BEFORE = pytest.StashKey[dict[str, object]]()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item: pytest.Item) -> Generator[None, object, object]:
    item.stash[_BEFORE] = _left()
    return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item) -> Generator[None, object, object]:
    done = yield
    now = _left()
    changed = [name for name, was in item.stash[_BEFORE].items() if now[name] != was]
    if changed:
        pytest.fail(f"left {' and '.join(changed)} behind", pytrace=False)
    return done
