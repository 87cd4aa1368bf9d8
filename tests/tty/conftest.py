"""A terminal for each test."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.tty.tmux import Terminal


@pytest.fixture
def short_path() -> Iterator[Path]:
    """A folder whose path is short enough for a socket in it."""
    folder = Path(tempfile.mkdtemp(prefix="tty-"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def terminal(short_path: Path) -> Iterator[Terminal]:
    if shutil.which("tmux") is None:
        pytest.fail("tmux is not installed; `make setup` does it", pytrace=False)
    with Terminal(short_path) as one:
        yield one
