"""Steps of a recorder's start: told in a file or on its terminal, read, shown, and gone again."""

import io
import json
import os
import pty
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.kernel.guest_tools import wait_until
from tracer.errors import UserError
from tracer.output import console
from tracer.selftest.attempts import attempt_all
from tracer.selftest.run import prepared
from tracer.selftest.scratch import Attempts
from tracer.steps import StartStep, StatusLine, Steps, last

ROOT = Path(__file__).resolve().parents[2]
_WIPED = "\r\x1b[K"
_SOON_S = 3.0
"""From enter to the first step; 0.2 s on a quiet machine, and this one may be busy."""


class Screen(io.StringIO):
    def isatty(self) -> bool:
        return True


def terminal(monkeypatch: pytest.MonkeyPatch) -> Screen:
    """As standard error; not by a fixture, since pytest puts its own there for each phase."""
    screen = Screen()
    monkeypatch.setattr(sys, "stderr", screen)
    return screen


def test_what_is_told_is_read(tmp_path: Path) -> None:
    path = tmp_path / "steps"
    assert last(path) is None
    with Steps(str(path)) as steps:
        assert last(path) is None
        steps(StartStep("compiling"))
        assert last(path) == StartStep("compiling")
        for number in range(300):
            steps(StartStep("attaching hooks", number, 300))
        assert str(last(path)) == "attaching hooks (299 of 300)"


def test_only_a_file_is_read(tmp_path: Path) -> None:
    """The folder may be one that others write to: nothing waits for them, no link is followed."""
    (tmp_path / "file").write_text('["compiling", 0, 0]\n')
    (tmp_path / "link").symlink_to("file")
    os.mkfifo(tmp_path / "pipe")
    holder = os.open(tmp_path / "pipe", os.O_RDWR)
    os.write(holder, b'["compiling", 0, 0]\n')
    assert last(tmp_path / "file") == StartStep("compiling")
    assert [last(tmp_path / name) for name in ("link", "pipe", ".")] == [None, None, None]
    os.close(holder)


@pytest.mark.parametrize(
    "text",
    [
        "", "\n", '["half', '["half", 1, 2]', "[]\n", "{}\n", '["x", "y", 1]\n', "7\n",
        '["x", Infinity, 1]\n', "[" * 4000 + "\n",
    ],
)  # fmt: skip
def test_nonsense_is_no_step(tmp_path: Path, text: str) -> None:
    (tmp_path / "steps").write_text(text)
    assert last(tmp_path / "steps") is None


def test_what_others_write_is_harmless(tmp_path: Path) -> None:
    (tmp_path / "steps").write_text(json.dumps(["\x1b]0;x\x07\r\n", 1, 2]) + "\n")
    found = last(tmp_path / "steps")
    assert found is not None
    assert str(found).isprintable()


def test_no_file_is_written_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "steps").symlink_to(tmp_path / "other")
    with pytest.raises(UserError, match="--steps"):
        Steps(str(tmp_path / "steps"))
    assert not (tmp_path / "other").exists()


def test_a_line_on_the_terminal_that_goes_away(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = terminal(monkeypatch)
    with Steps(None) as steps:
        steps(StartStep("self-test", 3, 12))
        assert screen.getvalue() == f"{_WIPED}self-test (3 of 12)"
    assert screen.getvalue().endswith(f"12){_WIPED}")


def test_nothing_in_a_pipe_nor_when_quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = terminal(monkeypatch)
    with Steps(None, quiet=True) as steps:
        steps(StartStep("compiling"))
    monkeypatch.setattr(Screen, "isatty", lambda self: False)
    with StatusLine() as line:
        line.show(StartStep("compiling"), 5)
    assert screen.getvalue() == ""


def test_seconds_from_the_first_on(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = terminal(monkeypatch)
    with StatusLine() as line:
        line.show(StartStep("compiling"), 0.4)
        line.show(StartStep("compiling"), 0.9)
        line.show(StartStep("compiling"), 4.2)
    assert screen.getvalue() == f"{_WIPED}compiling{_WIPED}compiling (4 s){_WIPED}"


def test_a_sentence_does_not_stand_behind_the_line(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = terminal(monkeypatch)
    with Steps(None) as steps:
        steps(StartStep("compiling"))
        console.tell("unseen: x")
    assert f"{_WIPED}sealsnoop: unseen: x\n" in screen.getvalue()


def test_nor_behind_the_line_of_who_has_started_us(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    screen = terminal(monkeypatch)
    with Steps(str(tmp_path / "steps")) as steps:
        steps(StartStep("compiling"))
        console.tell("unseen: x")
        assert screen.getvalue() == f"{_WIPED}sealsnoop: unseen: x\n"
        steps.close()
        console.tell("LOST: 1")
    assert screen.getvalue().endswith("x\nsealsnoop: LOST: 1\n"), "who reads does not draw now"


def test_nor_does_an_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    screen = terminal(monkeypatch)
    with pytest.raises(UserError), Steps(str(tmp_path / "steps")):
        raise UserError("no")
    console.tell_error("no")
    assert screen.getvalue() == f"{_WIPED}sealsnoop: no\n"
    console.others_draw(False)


def test_the_self_test_tells_how_far_it_is() -> None:
    told: list[tuple[int, int]] = []
    attempt_all(Attempts(b""), False, lambda done, of: told.append((done, of)))
    assert told == sorted(told)
    assert all(done < of for done, of in told)
    with prepared(False, b"") as examiner:
        heard: list[StartStep] = []
        examiner.on_step = heard.append
        examiner.attempts()
    assert [(step.done, step.of) for step in heard] == told


@pytest.mark.slow
@pytest.mark.parametrize("words", [["record"], ["trace"], ["live"], ["audit", "p.toml", "--live"]])
def test_the_first_step_comes_at_once(tmp_path: Path, words: list[str]) -> None:
    (tmp_path / "p.toml").write_text((ROOT / "samples/policies/sealed-buffer.toml").read_text())
    ours, theirs = pty.openpty()
    began = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, "-m", "sealsnoop", *words],
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT), "TERM": "xterm"},
        stdin=theirs, stdout=theirs, stderr=theirs,
    )  # fmt: skip
    os.close(theirs)
    text = b""
    try:
        while b"looking at this kernel" not in text and b"starting the recorder" not in text:
            text += os.read(ours, 4096)
        assert time.monotonic() - began < _SOON_S
    finally:
        process.terminate()
        wait_until("its end", lambda: process.poll() is not None)
        os.close(ours)
