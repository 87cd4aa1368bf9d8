"""How a guest that stands still is noticed, and made to say where."""

import json
import re
import socket
import threading
from pathlib import Path

import pytest

from tests.vm.pulse import STANDSTILL, Pulse, leap_s, provoke, without_beats


def test_a_pulse_stops_when_nothing_came_for_so_long(tmp_path: Path) -> None:
    console = tmp_path / "console.log"
    pulse = Pulse(console, 2, 120)

    def stops(*times: float) -> list[list[int]]:
        return [pulse.stopped(now) for now in times]

    assert stops(1000, 1060) == [[], []]  # there is no console yet
    console.write_text("[ 1.0] booting\n[ 5.0] sealsnoop: beat of CPU 1\r\n")
    assert stops(1110, 1120, 1120.5) == [[], [], [0]]
    with console.open("a") as more:
        more.write("[ 6.0] sealsnoop: beat of CPU 0\n[ 7.0] other words\n[10.0] sealsnoop: beat")
    assert stops(1121, 1181, 1230, 1230.5) == [[], [], [], [1]]
    with console.open("a") as more:
        more.write(" of CPU 1\n")
    assert stops(1231, 1241, 1241.5, 1300, 1351.5) == [[], [], [0], [0], [0, 1]]


def test_a_pulse_that_never_was_has_stopped(tmp_path: Path) -> None:
    pulse = Pulse(tmp_path / "none", 1, 10)
    assert [pulse.stopped(now) for now in (5, 10, 15, 16)] == [[], [], [], [0]]


def test_a_pulse_that_nobody_felt_has_not_stopped(tmp_path: Path) -> None:
    """As where this machine was halted and let go on: the guest was as well."""
    pulse = Pulse(tmp_path / "none", 1, 10)
    times = (100, 104, 1000, 1005, 1010, 1010.5)
    assert [pulse.stopped(now) for now in times] == [[]] * 5 + [[0]]


def test_beats_are_not_worth_reading() -> None:
    assert without_beats("[1] a\n[5] sealsnoop: beat of CPU 0\r\n[6] b\n") == ["[1] a", "[6] b"]


@pytest.mark.parametrize(
    ("at", "leapt"),
    [((), None), ((5,), None), ((5, 10, 130), None), ((5, 10, 130.25, 140), 120.25)],
)
def test_a_clock_that_leaps(at: tuple[float, ...], leapt: float | None) -> None:
    assert (
        leap_s("".join(f"[{s:11.6f}] sealsnoop: beat of CPU 1\n[ 900.0] a\n" for s in at)) == leapt
    )


# What QEMU 7.2 said of a guest whose CPU 1 a debugger had put into a jump to itself.
LOOK = """\r
CPU#0\r
RAX=0000000000020 RBX=0000000000000000\r
RIP=ffffffffa200dfeb RFL=00000246 [---Z-P-] CPL=0 II=0 A20=1 SMM=0 HLT=1\r
ES =0000 0000000000000000 000fffff 00000000\r
\r
CPU#1\r
RAX=0000000000020 RBX=0000000000000000\r
RIP=ffffffffa1695360 RFL=00000046 [---Z-P-] CPL=0 II=0 A20=1 SMM=0 HLT=0\r
"""


def test_provoking(tmp_path: Path) -> None:
    asked = []
    looks = iter([LOOK, LOOK.replace("1695360", "1695362"), LOOK.replace("0246", "0006")])

    def qemu(server: socket.socket) -> None:
        connection, _ = server.accept()
        with connection, connection.makefile("rwb") as stream:
            stream.write(b'{"QMP": {}}\n')
            stream.flush()
            for line in stream:
                asked.append(json.loads(line))
                answer = next(looks) if asked[-1]["arguments"] else {}
                stream.write(b'{"event": "NIC_RX_FILTER_CHANGED"}\n')
                stream.write(json.dumps({"return": answer}).encode() + b"\n")
                stream.flush()

    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as server:
        server.bind(str(tmp_path / "qmp"))
        server.listen()
        thread = threading.Thread(target=qemu, args=(server,))
        thread.start()
        places = provoke(tmp_path / "qmp", [1], sleep=lambda _: None)
        thread.join()
    look = {
        "execute": "human-monitor-command",
        "arguments": {"command-line": "info registers -a"},
    }
    assert asked == [
        {"execute": "qmp_capabilities", "arguments": {}},
        *[look] * 3,
        {"execute": "inject-nmi", "arguments": {}},
    ]
    assert places == [
        "sealsnoop: CPU 0, interrupts on, at ffffffffa200dfeb",
        "sealsnoop: CPU 1 is silent, interrupts off, at ffffffffa1695360 ffffffffa1695362",
    ]
    assert [bool(re.match(STANDSTILL, place)) for place in places] == [False, True]


def test_provoking_who_does_not_listen(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        provoke(tmp_path / "qmp", [0])
