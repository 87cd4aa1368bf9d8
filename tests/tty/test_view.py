"""The real command on a real terminal: recordings that are finished."""

import os
import re
import signal
import time

import pytest

from tests.tty.tmux import ROOT, SEALSNOOP, Terminal, children
from tracer.recording.reader import KEY, Recording

SAMPLE = ROOT / "samples" / "recordings" / "debian-6.1.seal"
with Recording.open(SAMPLE) as _sample:
    # A creation that the kernel refused has a row of its own, and no inode.
    _OBJECTS = len(_sample.frame("objects", KEY).query("ino != 0").drop_duplicates())
    _COUNT = _sample.frame("events", ["seq"]).shape[0]
EVENTS, OBJECTS = f"{_COUNT:,} events", f"Objects {_OBJECTS}"
FILTERED = f" of {_OBJECTS}"
NORMAL = {"alternate_on": "0", "cursor_flag": "1", "mouse_any_flag": "0", "keypad_flag": "0"}


def started(terminal: Terminal, command: str) -> None:
    """Runs it with the terminal's state before and after in files, and its exit code shown."""
    terminal.run(f"clear; stty -g >{terminal.folder}/before; {command}; echo ended with $?")


def viewer(terminal: Terminal) -> int:
    """The pid of the viewer that runs in the terminal."""
    below = children(terminal.pid)
    return next(pid for pid, words in sorted(below.items()) if "sealsnoop" in words)


def restored(terminal: Terminal, code: int) -> None:
    """The viewer has ended so, and the terminal is as it was."""
    terminal.wait_for(f"ended with {code}")
    assert terminal.modes() == NORMAL
    terminal.run(f"stty -g >{terminal.folder}/after; echo it is 'written'")
    terminal.wait_for("it is written")
    before, after = ((terminal.folder / name).read_text() for name in ("before", "after"))
    assert after == before


def live(terminal: Terminal, options: str = "") -> str:
    started(terminal, f"{SEALSNOOP} live {SAMPLE} {options}")
    return terminal.wait_for(EVENTS, "ENDED")


def test_first_look(terminal: Terminal) -> None:
    screen = live(terminal)
    for word in ("✗ 8 breaches by known holes", "blocked", "worst decision ▼", OBJECTS, "lost 0"):
        assert word in screen
    assert terminal.modes()["alternate_on"] == "1"
    terminal.keys("q")
    restored(terminal, 0)


@pytest.mark.parametrize("key", ["q", "C-c"])
def test_leaving(terminal: Terminal, key: str) -> None:
    live(terminal)
    terminal.keys(key)
    restored(terminal, 0)


def test_resize(terminal: Terminal) -> None:
    live(terminal)
    for width, height in ((80, 24), (200, 60), (50, 14)):
        terminal.resize(width, height)
        terminal.wait(
            f"a screen of {width} cells",
            lambda screen, width=width: (
                "ENDED" in screen  # type: ignore[misc]
                and "Objects" in screen
                and max(map(len, screen.splitlines())) <= width
            ),
        )
    terminal.resize(20, 5)
    terminal.wait_for("too small")
    terminal.resize(120, 40)
    terminal.wait_for(EVENTS, OBJECTS)
    terminal.keys("q")
    restored(terminal, 0)


def test_pause_filter_and_drill(terminal: Terminal) -> None:
    live(terminal)
    terminal.keys("p")
    terminal.wait_for("PAUSED")
    terminal.keys("p")
    terminal.wait_gone("PAUSED")
    terminal.keys("/")
    terminal.wait_for("op:mmap verdict:")  # as long as nothing is typed
    terminal.write("name:~hugetlb")
    found = re.compile(rf"(\d+){FILTERED}")
    screen = terminal.wait("a filtered table", lambda screen: found.search(screen))
    count = found.search(screen)
    assert count
    assert 0 < int(count[1]) < _OBJECTS
    terminal.keys("Enter")
    time.sleep(0.5)  # the second one is for the table
    terminal.keys("Enter")
    terminal.wait_gone("Objects")
    terminal.wait_for("seals", "hugetlb")
    terminal.keys("Escape")
    terminal.wait_for("[1 Objects")
    terminal.keys("Escape")
    terminal.wait_gone(FILTERED)
    terminal.keys("4")
    terminal.wait_for("mmap")
    terminal.keys("?")
    terminal.wait_for("Everywhere")
    terminal.keys("Escape")
    terminal.wait_gone("Everywhere")
    terminal.keys("q")
    restored(terminal, 0)


def test_to_the_background_and_back(terminal: Terminal) -> None:
    live(terminal)
    terminal.keys("C-z")
    terminal.wait_for("Stopped")
    assert terminal.modes() == NORMAL
    terminal.run("echo the shell $((1 + 1)) answers")
    terminal.wait_for("the shell 2 answers")
    terminal.run("fg")
    terminal.wait_for(EVENTS, OBJECTS)
    assert terminal.modes()["alternate_on"] == "1"
    terminal.keys("/")
    terminal.wait_for("op:mmap verdict:")  # as long as nothing is typed
    terminal.write("op:mmap")
    terminal.wait_for("op:mmap", FILTERED)
    terminal.keys("Enter")
    time.sleep(0.5)  # what comes next is for the table
    terminal.keys("q")
    terminal.wait_gone("Objects")
    terminal.run("(exit $?); echo ended with $?")  # the rest of the first line ran when it stopped
    restored(terminal, 0)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_restores_the_terminal(terminal: Terminal, number: signal.Signals) -> None:
    live(terminal)
    os.kill(viewer(terminal), number)
    restored(terminal, 128 + number)


def test_no_colour(terminal: Terminal) -> None:
    started(terminal, f"NO_COLOR=1 {SEALSNOOP} live {SAMPLE}")
    screen = terminal.wait_for(EVENTS, "ENDED")
    assert "✗ 8 breaches" in screen, "what colour says is said by a symbol too"
    terminal.keys("q")
    restored(terminal, 0)


def test_replay(terminal: Terminal) -> None:
    started(terminal, f"{SEALSNOOP} replay {SAMPLE} --speed max")
    terminal.wait_for(EVENTS, "100%")
    terminal.keys("q")
    restored(terminal, 0)
    started(terminal, f"{SEALSNOOP} replay {SAMPLE} --from 0.5 --speed 0.1")
    screen = terminal.wait("a part", lambda screen: re.search(r"REPLAY 0.1x [12]\d%", screen))
    assert EVENTS not in screen
    terminal.keys("k")
    terminal.wait_for("REPLAY HELD")
    terminal.keys("q")
    restored(terminal, 0)


def test_on_violation(terminal: Terminal) -> None:
    """The sample has breaches: known holes of its kernel."""
    out = terminal.folder / "out"
    script = terminal.folder / "script"
    script.write_text(f"#!/bin/sh\ncat >>{out}\n")
    script.chmod(0o755)
    started(terminal, f"{SEALSNOOP} live {SAMPLE} --no-bell --on-violation {script}")
    terminal.wait_for(EVENTS, "ENDED")
    terminal.keys("q")
    restored(terminal, 0)
    assert '"verdict": "breach"' in out.read_text()
    assert '"hole": "hugetlb-grow"' in out.read_text()


def test_on_violation_that_fails_is_said_and_not_fatal(terminal: Terminal) -> None:
    started(
        terminal, f"{SEALSNOOP} live {SAMPLE} --on-violation 'sh -c \"echo too bad >&2; false\"'"
    )
    terminal.wait_for("exit code 1: too bad")
    terminal.keys("q")
    restored(terminal, 0)


def test_an_unknown_theme(terminal: Terminal) -> None:
    started(terminal, f"{SEALSNOOP} live {SAMPLE} --theme nrod")
    terminal.wait_for("no theme 'nrod'; did you mean nord?", "ended with 1")
