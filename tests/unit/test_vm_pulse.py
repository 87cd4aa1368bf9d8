"""How a guest that stands still is noticed, and made to say where."""

import json
import socket
import threading
from pathlib import Path

import pytest

from tests.vm.pulse import Pulse, leap_s, provoke, without_beats


def test_a_pulse_stops_when_nothing_came_for_so_long(tmp_path: Path) -> None:
    console = tmp_path / "console.log"
    pulse = Pulse(console, 120)

    def stops(*times: float) -> list[bool]:
        return [pulse.stopped(now) for now in times]

    assert stops(1000, 1060) == [False, False]  # there is no console yet
    console.write_text("[ 1.0] booting\n")
    assert stops(1119, 1179, 1239) == [False, False, False]
    assert stops(1239.5) == [True]
    with console.open("a") as more:
        more.write("[ 5.0] sealsnoop: beat\n")
    assert stops(1240, 1300, 1360, 1361) == [False, False, False, True]


def test_a_pulse_that_never_was_has_stopped(tmp_path: Path) -> None:
    pulse = Pulse(tmp_path / "none", 10)
    assert [pulse.stopped(now) for now in (5, 10, 15, 16)] == [False, False, False, True]


def test_a_pulse_that_nobody_felt_has_not_stopped(tmp_path: Path) -> None:
    """As where this machine was halted and let go on: the guest was as well."""
    pulse = Pulse(tmp_path / "none", 10)
    assert [pulse.stopped(now) for now in (100, 104, 1000, 1005, 1010, 1010.5)] == [False] * 5 + [
        True
    ]


def test_beats_are_not_worth_reading() -> None:
    assert without_beats("[1] a\n[5] sealsnoop: beat\r\n[6] b\n") == ["[1] a", "[6] b"]


@pytest.mark.parametrize(
    ("at", "leapt"),
    [((), None), ((5,), None), ((5, 10, 130), None), ((5, 10, 130.25, 140), 120.25)],
)
def test_a_clock_that_leaps(at: tuple[float, ...], leapt: float | None) -> None:
    assert leap_s("".join(f"[{s:11.6f}] sealsnoop: beat\n[ 900.0] a\n" for s in at)) == leapt


def test_provoking(tmp_path: Path) -> None:
    asked = []

    def qemu(server: socket.socket) -> None:
        connection, _ = server.accept()
        with connection, connection.makefile("rwb") as stream:
            stream.write(b'{"QMP": {}}\n')
            stream.flush()
            for line in stream:
                asked.append(json.loads(line))
                stream.write(b'{"return": {}}\n')
                stream.flush()

    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as server:
        server.bind(str(tmp_path / "qmp"))
        server.listen()
        thread = threading.Thread(target=qemu, args=(server,))
        thread.start()
        provoke(tmp_path / "qmp")
        thread.join()
    assert asked == [{"execute": "qmp_capabilities"}, {"execute": "inject-nmi"}]


def test_provoking_who_does_not_listen(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        provoke(tmp_path / "qmp")
