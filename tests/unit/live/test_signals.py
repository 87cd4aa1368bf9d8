"""A closed terminal sends SIGHUP twice: the second must not interrupt the way out."""

import os
import signal
from collections.abc import Iterator

import pytest

from tracer.live import recorder as signals


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
    signals.arm()
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def test_the_second_signal_does_not_interrupt_the_way_out() -> None:
    ordered = []

    def leave() -> None:
        try:
            os.kill(os.getpid(), signal.SIGHUP)
        finally:
            os.kill(os.getpid(), signal.SIGHUP)
            with signals.ignored():
                os.kill(os.getpid(), signal.SIGTERM)
                ordered.append("stopped")

    with pytest.raises(SystemExit) as raised:
        leave()
    assert raised.value.code == 128 + signal.SIGHUP
    assert ordered == ["stopped"]


def test_a_signal_while_signals_are_being_ignored_is_kept_for_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ignore, ordered = signals.ignore, []

    def interrupted() -> None:
        monkeypatch.setattr(signals, "ignore", ignore)
        os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(signals, "ignore", interrupted)
    with pytest.raises(SystemExit) as raised, signals.ignored():
        ordered.append("stopped")
    assert raised.value.code == 128 + signal.SIGTERM
    assert ordered == ["stopped"]


def test_armed_again_they_end_us() -> None:
    with signals.ignored():
        os.kill(os.getpid(), signal.SIGHUP)
    with pytest.raises(SystemExit):
        os.kill(os.getpid(), signal.SIGHUP)
