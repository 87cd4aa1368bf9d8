"""The real view of a recording that grows: a recorder of its own, one elsewhere, and their ends."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.tty.test_view import restored, started, viewer
from tests.tty.tmux import PYTHON, ROOT, SEALSNOOP, Terminal, children
from tracer.kernel.requirements.checks import blocking, check
from tracer.kernel.requirements.host import Host
from tracer.recording.reader import Recording

VIEW = f"{PYTHON} -m tests.tty.view"
untraceable = pytest.mark.skipif(
    not blocking(check(Host.live())), reason="this kernel can be traced: it would really record"
)


@pytest.fixture
def place(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where temporary recordings go."""
    where = terminal.folder / "tmp"
    where.mkdir()
    terminal.run(f"export XDG_STATE_HOME={where}")
    return where / "sealsnoop"


@pytest.fixture
def writer(short_path: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """Somebody who writes SHORT_PATH/live.seal."""
    path = short_path / "live.seal"
    with subprocess.Popen(
        [sys.executable, "-m", "tests.tty.writer", "-o", str(path)],
        cwd=ROOT, stderr=subprocess.DEVNULL,
    ) as process:  # fmt: skip
        while not (path / "chain.jsonl").exists():
            time.sleep(0.05)
        yield process
        process.kill()


def end(path: Path) -> str | None:
    with Recording.open(path) as recording:
        return recording.end.reason if recording.end else None


def until_end(path: Path) -> str | None:
    for _ in range(600):
        if found := end(path):
            return found
        time.sleep(0.1)
    return None


def events(screen: str) -> int:
    """How many the header has."""
    for line in screen.splitlines():
        if found := re.search(r" lost .*? ([\d,]+) events\b", line):
            return int(found[1].replace(",", ""))
    return 0


def recorder(terminal: Terminal) -> int:
    """The pid of the recorder that the view has started."""
    below = children(terminal.pid)
    return next(pid for pid, words in below.items() if "tests.tty.writer" in words)


def watching(terminal: Terminal, command: str) -> int:
    """Starts it and waits until events come; how many there are."""
    started(terminal, command)
    first = events(terminal.wait("events", lambda screen: "LIVE" in screen and events(screen)))
    terminal.wait("more events", lambda screen: events(screen) > first)
    return first


# ---- a recording that is written elsewhere ------------------------------------------------------


def test_the_recorder_is_killed(
    terminal: Terminal, writer: "subprocess.Popen[bytes]", short_path: Path
) -> None:
    """The header says so, and what was seen stays on the screen."""
    watching(terminal, f"{SEALSNOOP} live {short_path}/live.seal")
    writer.kill()
    screen = terminal.wait_for("RECORDER GONE")
    assert "Objects 40" in screen
    assert events(screen) > 0 or "ram-" in screen
    terminal.keys("Enter")
    terminal.wait_gone("Objects 40")
    terminal.keys("q")
    restored(terminal, 0)


def test_the_viewer_is_killed(
    terminal: Terminal, writer: "subprocess.Popen[bytes]", short_path: Path
) -> None:
    watching(terminal, f"{SEALSNOOP} live {short_path}/live.seal")
    os.kill(viewer(terminal), signal.SIGKILL)
    terminal.wait_for("ended with 137")
    assert writer.poll() is None
    writer.send_signal(signal.SIGINT)
    assert writer.wait(60) == 0
    assert end(short_path / "live.seal") == "interrupted by SIGINT"


def test_rows_stand_still_while_counters_go_on(
    terminal: Terminal, writer: "subprocess.Popen[bytes]", short_path: Path
) -> None:
    watching(terminal, f"{SEALSNOOP} live {short_path}/live.seal")
    terminal.keys("p")
    at = events(terminal.wait_for("PAUSED"))
    terminal.wait("counters that go on", lambda screen: events(screen) > at)
    terminal.keys("q")
    restored(terminal, 0)


# ---- with a recorder of its own -----------------------------------------------------------------


@pytest.mark.parametrize("key", ["q", "C-c"])
def test_leaving_ends_the_recorder(terminal: Terminal, place: Path, key: str) -> None:
    watching(terminal, VIEW)
    pid = recorder(terminal)
    terminal.keys(key)
    restored(terminal, 0)
    said = terminal.history
    assert "events, 0 lost" in said
    assert "the recording was temporary and is gone; -o S.seal, or r in the view, keeps one" in said
    assert list(place.iterdir()) == []
    assert not Path(f"/proc/{pid}").exists()


def test_the_named_recording_stays(terminal: Terminal, place: Path) -> None:
    path = terminal.folder / "x.seal"
    watching(terminal, f"{VIEW} -o {path}")
    terminal.keys("q")
    restored(terminal, 0)
    assert f"the recording is {path}" in terminal.history
    assert end(path) == "interrupted by SIGINT"
    assert not place.exists()


def test_keeping_one_on_request(terminal: Terminal, place: Path) -> None:
    path = terminal.folder / "kept.seal"
    watching(terminal, VIEW)
    terminal.keys("r")
    terminal.wait_for("Keep as a recording")
    terminal.write(str(path))
    terminal.keys("Enter")
    terminal.wait_for("Keeping")
    terminal.keys("q")
    restored(terminal, 0)
    assert f"the recording is {path}" in terminal.history
    assert end(path) == "interrupted by SIGINT"
    assert list(place.iterdir()) == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_both_in_order(
    terminal: Terminal, place: Path, number: signal.Signals
) -> None:
    path = terminal.folder / "x.seal"
    watching(terminal, f"{VIEW} -o {path}")
    shell = children(terminal.pid)
    os.kill(next(pid for pid, words in shell.items() if "tests.tty.view" in words), number)
    restored(terminal, 128 + number)
    assert end(path) == "interrupted by SIGINT"


def test_closing_the_window_ends_both_in_order(terminal: Terminal, place: Path) -> None:
    path = terminal.folder / "x.seal"
    watching(terminal, f"{VIEW} -o {path}")
    terminal.kill()
    assert until_end(path) == "interrupted by SIGINT"


def test_killing_the_viewer_leaves_the_recording_whole(terminal: Terminal, place: Path) -> None:
    path = terminal.folder / "x.seal"
    watching(terminal, f"{VIEW} -o {path}")
    shell = children(terminal.pid)
    os.kill(next(pid for pid, words in shell.items() if "tests.tty.view" in words), signal.SIGKILL)
    terminal.wait_for("ended with 137")
    assert until_end(path) == "interrupted by SIGHUP"


def test_the_recorder_goes_on_while_the_view_is_stopped(terminal: Terminal, place: Path) -> None:
    first = watching(terminal, VIEW)
    terminal.keys("C-z")
    terminal.wait_for("Stopped")
    time.sleep(1)
    terminal.run("fg")
    terminal.wait("what came meanwhile", lambda screen: events(screen) > first + 1000)
    terminal.keys("q")
    terminal.wait_for("temporary and is gone")


def test_a_command_is_interrupted_and_waited_for(terminal: Terminal, place: Path) -> None:
    path, mark = terminal.folder / "x.seal", terminal.folder / "mark"
    script = terminal.folder / "script"
    script.write_text(
        f"#!/bin/sh\ntrap 'sleep 1; echo done >{mark}; exit 5' INT\n"
        "echo to stdout; while :; do sleep 0.05; done\n"
    )
    script.chmod(0o755)
    watching(terminal, f"{VIEW} -o {path} -- {script}")
    assert "to stdout" not in terminal.screen
    terminal.keys("q")
    restored(terminal, 0)
    assert mark.read_text() == "done\n"
    assert "to stdout" in terminal.history, "what could not be shown is shown at the end"
    assert end(path) == "command exited with 5"


def test_ctrl_c_does_not_wait_for_a_deaf_command(terminal: Terminal, place: Path) -> None:
    path = terminal.folder / "x.seal"
    script = terminal.folder / "script"
    script.write_text("#!/bin/sh\ntrap '' INT\nwhile :; do sleep 0.05; done\n")
    script.chmod(0o755)
    watching(terminal, f"{VIEW} -o {path} -- {script}")
    terminal.keys("q")
    terminal.wait_for(f"waiting for {script} to end; Ctrl-C does not wait")
    terminal.keys("C-c")
    restored(terminal, 0)
    assert end(path) == "interrupted by SIGINT"


def test_no_view_where_nothing_can_be_recorded(terminal: Terminal, place: Path) -> None:
    started(terminal, f"{VIEW} --fail=this-kernel-cannot-be-traced")
    restored(terminal, 1)
    assert terminal.history.count("sealsnoop: this-kernel-cannot-be-traced") == 1
    assert list(place.iterdir()) == []


@untraceable
def test_this_kernel_cannot_be_traced(terminal: Terminal, place: Path) -> None:
    started(terminal, f"{SEALSNOOP} live")
    restored(terminal, 1)
    assert terminal.history.count("sealsnoop: this kernel cannot be traced") == 1
    assert list(place.iterdir()) == []
