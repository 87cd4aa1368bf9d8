"""How a guest that stands still is noticed, and made to say where."""

import json
import socket
import threading
from pathlib import Path

import pytest

from tests.vm.pulse import Pulse, provoke, without_beats


def test_a_pulse_stops_when_nothing_came_for_so_long(tmp_path: Path) -> None:
    console = tmp_path / "console.log"
    pulse = Pulse(console, 120)
    assert not pulse.stopped(1000)  # there is no console yet
    console.write_text("[ 1.0] booting\n")
    assert not pulse.stopped(1119)
    assert not pulse.stopped(1239)
    assert pulse.stopped(1239.5)
    with console.open("a") as more:
        more.write("[ 5.0] sealsnoop: beat\n")
    assert not pulse.stopped(1240)
    assert pulse.stopped(1361)


def test_a_pulse_that_never_was_has_stopped(tmp_path: Path) -> None:
    pulse = Pulse(tmp_path / "none", 10)
    assert [pulse.stopped(now) for now in (5, 15, 16)] == [False, False, True]


def test_beats_are_not_worth_reading() -> None:
    assert without_beats("[1] a\n[5] sealsnoop: beat\r\n[6] b\n") == ["[1] a", "[6] b"]


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
