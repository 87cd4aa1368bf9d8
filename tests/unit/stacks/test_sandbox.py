"""What who looks into other people's files can still do: nothing but compute and answer."""

import os
import subprocess
import sys
from pathlib import Path

_TRIES = """
import ctypes, os, signal, socket, sys
from tracer.stacks import sandbox
parent = os.getppid()
read, write = os.pipe()
out = os.dup(1)
sandbox.drop(strict=False); sandbox.confine(4 << 30, {})
def fails(what, call):
    try:
        call()
    except OSError as error:
        os.write(out, f"{what} {error.errno}\\n".encode())
    except Exception as error:
        os.write(out, f"{what} {type(error).__name__}\\n".encode())
    else:
        os.write(out, f"{what} WENT THROUGH\\n".encode())
fails("open", lambda: os.open("/etc/passwd", os.O_RDONLY))
fails("open here", lambda: os.open(".", os.O_RDONLY))
fails("make", lambda: os.open("made", os.O_CREAT | os.O_WRONLY))
fails("list", lambda: os.listdir("/"))
fails("remove", lambda: os.unlink("/etc/passwd"))
fails("socket", lambda: socket.socket(socket.AF_INET))
fails("fork", os.fork)
fails("exec", lambda: os.execv("/bin/sh", ["sh"]))
fails("signal", lambda: os.kill(parent, 0))
fails("root", lambda: os.setuid(0))
fails("chroot", lambda: os.chroot("/"))
fails("memfd", lambda: os.memfd_create("x"))
os.write(write, b"x")
os.write(out, b"pipe " + os.read(read, 1) + b"\\n")
"""


def test_nothing_can_be_opened_started_sent_or_signalled(tmp_path: Path) -> None:
    ran = subprocess.run(
        [sys.executable, "-P", "-c", _TRIES],
        cwd=Path(__file__).parents[3], capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert ran.stderr == ""
    found = dict(line.rsplit(" ", 1) for line in ran.stdout.splitlines())
    assert found.pop("pipe") == "x"
    assert len(found) == 12
    assert {what: answer for what, answer in found.items() if not answer.isdigit()} == {}


def test_it_runs_as_nobody_where_root_reads() -> None:
    text = (
        "import os; from tracer.stacks import sandbox; held = os.open('/proc/self/status', 0)\n"
        "out = os.dup(1); sandbox.drop(strict=False); sandbox.confine(4 << 30, {})\n"
        "os.write(out, os.read(held, 1 << 16))\n"
    )
    ran = subprocess.run(
        [sys.executable, "-P", "-c", text],
        cwd=Path(__file__).parents[3], capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    status = dict(line.split(":\t", 1) for line in ran.stdout.splitlines() if ":\t" in line)
    own = str(os.geteuid() or 65534)
    assert status["Uid"].split()[1] == own
    assert status["NoNewPrivs"] == "1"
    assert status["Seccomp"] == "2"
    assert int(status["CapEff"], 16) == 0
