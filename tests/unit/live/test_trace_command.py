"""The whole of ``sealsnoop trace [-- CMD]`` but the kernel: tests.tty.writer is its recorder."""

import json
import os
import pty
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from tracer.cli.main import main
from tracer.recording.reader import Recording

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[3]
SCRIPT = """
import sys
from tracer.cli import main
from tracer.cli.trace import Trace
Trace.recorder = ({python!r}, "-m", "tests.tty.writer", *{options!r})
sys.exit(main.main(["trace", *{words!r}]))
"""
_PATIENCE_S = 60.0


class Traced:
    """A running ``sealsnoop trace`` in a session of its own."""

    def __init__(
        self,
        home: Path,
        words: Sequence[str],
        options: Sequence[str] = (),
        stderr: int | None = None,
    ) -> None:
        self.out, self.err = home / "stdout", home / "stderr"
        script = SCRIPT.format(python=sys.executable, options=tuple(options), words=list(words))
        with self.out.open("wb") as out, self.err.open("wb") as err:
            self.process = subprocess.Popen(
                [sys.executable, "-c", script], cwd=ROOT, stdin=subprocess.DEVNULL, stdout=out,
                stderr=err if stderr is None else stderr, start_new_session=True,
                env={**os.environ, "XDG_STATE_HOME": str(home / "state"), "TERM": "xterm"},
            )  # fmt: skip

    def until(self, ready: Callable[[str], bool]) -> None:
        """Until what it has printed is enough."""
        until_s = time.monotonic() + _PATIENCE_S
        while not ready(self.out.read_text()):
            if self.process.poll() is not None or time.monotonic() > until_s:
                raise RuntimeError(self.err.read_text())
            time.sleep(0.02)

    def ctrl_c(self) -> None:
        """As a terminal sends it: to all that are in its session's group."""
        os.killpg(self.process.pid, signal.SIGINT)

    def end(self) -> tuple[int, list[str], str]:
        """Exit code, lines, and what was said."""
        code = self.process.wait(_PATIENCE_S)
        return code, self.out.read_text().splitlines(), self.err.read_text()


def reason(path: Path) -> str | None:
    with Recording.open(path) as recording:
        return recording.end.reason if recording.end else None


def test_a_command_is_traced_and_its_code_is_ours(tmp_path: Path) -> None:
    run = Traced(tmp_path, ["--all", "--", "sh", "-c", "echo hello; sleep 1; exit 7"])
    code, lines, said = run.end()
    assert code == 7
    assert said == "hello\n", "what it prints is not among the lines"
    assert len(lines) > 100
    assert all(" memfd:" in line for line in lines)
    assert list((tmp_path / "state/sealsnoop").iterdir()) == [], "a recording of nobody is gone"


def test_what_was_allowed_is_left_out(tmp_path: Path) -> None:
    code, lines, said = Traced(tmp_path, ["--json"], ["--events", "2000"]).end()
    verdicts = {json.loads(line)["verdict"] for line in lines}
    assert (code, said) == (0, "")
    assert "blocked" in verdicts
    assert "allowed" not in verdicts


def test_nothing_can_be_recorded(tmp_path: Path) -> None:
    code, lines, said = Traced(tmp_path, ["--", "true"], ["--fail", "no kprobes here"]).end()
    assert (code, lines, said) == (1, [], "sealsnoop: no kprobes here\n")


def test_ctrl_c_is_the_commands_own(tmp_path: Path) -> None:
    """It comes to the command, to its recorder and to us at once, and the command may go on."""
    path, script = tmp_path / "r.seal", tmp_path / "script"
    script.write_text("#!/bin/sh\ntrap 'sleep 0.5; exit 5' INT\nwhile :; do sleep 0.05; done\n")
    script.chmod(0o755)
    run = Traced(tmp_path, ["-o", str(path), "--", str(script)])
    run.until(lambda printed: printed.count("\n") > 10)
    run.ctrl_c()
    code, lines, said = run.end()
    assert (code, said) == (5, f"sealsnoop: the recording is {path}\n")
    assert reason(path) == "command exited with 5"
    assert len(lines) > 10


def test_the_second_ctrl_c_does_not_wait_for_a_deaf_command(tmp_path: Path) -> None:
    path, script = tmp_path / "r.seal", tmp_path / "script"
    script.write_text("#!/bin/sh\ntrap '' INT\nwhile :; do sleep 0.05; done\n")
    script.chmod(0o755)
    run = Traced(tmp_path, ["-o", str(path), "--", str(script)])
    run.until(lambda printed: printed.count("\n") > 10)
    run.ctrl_c()
    time.sleep(0.5)
    assert run.process.poll() is None
    run.ctrl_c()
    run.end()
    assert reason(path) == "interrupted by SIGINT"


def test_ctrl_c_ends_a_trace_of_the_host(tmp_path: Path) -> None:
    path = tmp_path / "r.seal"
    run = Traced(tmp_path, ["-o", str(path)])
    run.until(lambda printed: printed.count("\n") > 10)
    run.ctrl_c()
    assert run.end()[0] == 0
    assert reason(path) == "interrupted by SIGINT"


@pytest.mark.parametrize(
    ("words", "events", "code"),
    [
        (["--fail-on", "blocked,loss"], "2000", 2),
        (["--fail-on", "blocked", "--filter", "op:create"], "2000", 2),
        (["--fail-on", "loss"], "2000", 0),
        (["--fail-on", "loss"], "0", 4),
        ([], "0", 0),
    ],
)
def test_fail_on(tmp_path: Path, words: list[str], events: str, code: int) -> None:
    found, _, said = Traced(tmp_path, words, ["--events", events]).end()
    assert found == code
    assert ("--fail-on: there is blocked" in said) == (code == 2)


def test_fail_on_comes_before_the_commands_code(tmp_path: Path) -> None:
    words = ["--fail-on", "blocked", "--", "sh", "-c", "sleep 1; exit 7"]
    code, _, said = Traced(tmp_path, words).end()
    assert code == 2
    assert said.endswith("sealsnoop: the command's exit code was 7\n")


def test_that_nothing_was_seen_is_not_certain_after_losses(tmp_path: Path) -> None:
    """As with report. What was seen counts all the same."""
    sample = tmp_path / "killed.seal"
    shutil.copytree(ROOT / "samples/recordings/debian-7.3.seal", sample)
    (sample / "end.json").unlink()
    words = [str(sample), "--filter", "name:nobody"]
    assert Traced(tmp_path, [*words, "--fail-on", "breach"]).end()[0] == 2
    code, _, said = Traced(tmp_path, [*words, "--fail-on", "unexplained"]).end()
    assert code == main(["report", str(sample), "--fail-on", "unexplained"]) == 3
    assert "--fail-on: not certain: " in said


def test_a_recording_is_judged_likewise(tmp_path: Path) -> None:
    sample = str(ROOT / "samples/recordings/debian-7.3.seal")
    assert Traced(tmp_path, [sample]).end()[0] == 0
    assert Traced(tmp_path, [sample, "--fail-on", "breach"]).end()[0] == 2


def test_the_steps_stand_in_one_line_that_goes_away(tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    run = Traced(tmp_path, [], ["--events", "2000"], stderr=theirs)
    os.close(theirs)
    shown = b""
    try:
        while piece := os.read(ours, 4096):
            shown += piece
    except OSError:  # its last writer has gone
        pass
    os.close(ours)
    assert run.end()[0] == 0
    assert shown.startswith(b"\r\x1b[Kstarting the recorder")
    assert b"\n" not in shown
    assert shown.endswith(b"\r\x1b[K")
