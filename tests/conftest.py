"""What all tests need of the process that runs them."""

import signal


def pytest_configure() -> None:
    """As on a terminal: a shell starts what runs in the background with SIGINT ignored, nohup with
    SIGHUP, and what the tests start and interrupt would inherit that."""
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if signal.getsignal(signal.SIGHUP) == signal.SIG_IGN:
        signal.signal(signal.SIGHUP, lambda *_: None)  # still not the end of the tests themselves
