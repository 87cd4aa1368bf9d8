"""What all tests need of the process that runs them, and the order in which they run."""

import os
import random
import secrets
import signal

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--shuffle",
        metavar="SEED",
        help="run the modules, and the tests of each, in an order made from SEED; `any` takes one",
    )


_WISHES = ("COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR", "CLICOLOR", "CLICOLOR_FORCE")


def pytest_configure(config: pytest.Config) -> None:
    """As on a terminal: a shell starts what runs in the background with SIGINT ignored, nohup with
    SIGHUP, and what the tests start and interrupt would inherit that. What somebody wishes of their
    own terminal, by variables, is not what the tests ask for."""
    for name in _WISHES:
        os.environ.pop(name, None)
    os.environ["TERM"] = "xterm-256color"
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if signal.getsignal(signal.SIGHUP) == signal.SIG_IGN:
        signal.signal(signal.SIGHUP, lambda *_: None)  # still not the end of the tests themselves
    if config.option.shuffle == "any":
        config.option.shuffle = secrets.token_hex(4)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    seed: str | None = config.option.shuffle
    if seed is None:
        return
    # A module stays together: what its tests share is made once.
    modules: dict[str, list[pytest.Item]] = {}
    for item in items:
        modules.setdefault(item.nodeid.partition("::")[0], []).append(item)
    order = random.Random(seed)
    names = list(modules)
    order.shuffle(names)
    items.clear()
    for name in names:
        order.shuffle(modules[name])
        items += modules[name]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    seed = terminalreporter.config.option.shuffle
    if seed is not None:
        terminalreporter.write_line(f"in the order of --shuffle {seed}")
