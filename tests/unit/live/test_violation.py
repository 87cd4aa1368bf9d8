"""``--on-violation``: what the command reads, how often it runs, and that it cannot hurt."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from tracer.live.alerts import OnViolation, document
from tracer.live.snapshot import Alert


def alert(number: int, **event: Any) -> Alert:
    return Alert(number, "breach", f"number {number}", {"op": "mmap", "pid": number, **event})


def keeping(path: Path) -> list[str]:
    """A command that writes what it reads behind what is there."""
    return ["sh", "-c", 'cat >>"$1"', "sh", str(path)]


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_the_document() -> None:
    told = document(alert(7, verdict=5, name="a\\x1b[2J", fd=None), "/r.seal", 3)
    assert told == {
        "op": "mmap", "pid": 7, "verdict": "breach", "name": "a\\x1b[2J", "fd": None,
        "text": "number 7", "recording": "/r.seal", "suppressed": 3,
    }  # fmt: skip


def test_it_runs_with_the_event_on_stdin(tmp_path: Path) -> None:
    out = tmp_path / "out"
    hook = OnViolation(keeping(out), "/r.seal", period_s=0)
    hook([])
    hook([alert(1)])
    hook.start()
    hook.close()
    assert [(one["pid"], one["suppressed"]) for one in read(out)] == [(1, 0)]


def test_no_shell_reads_the_words(tmp_path: Path) -> None:
    out = tmp_path / "out"
    argv = ["sh", "-c", 'cat >/dev/null; printf %s "$1" >"$2"', "sh", "$(id); `id` > x", str(out)]
    hook = OnViolation(argv, "/r.seal", period_s=0)
    hook([alert(1)])
    hook.start()
    hook.close()
    assert out.read_text() == "$(id); `id` > x"


def test_alerts_that_come_too_fast_are_counted(tmp_path: Path) -> None:
    """While the first run is held, five more come: one run for them, which is told of four."""
    out, gate = tmp_path / "out", tmp_path / "gate"
    os.mkfifo(gate)
    argv = ["sh", "-c", 'cat >>"$1"; [ ! -e "$2" ] || cat "$2"', "sh", str(out), str(gate)]
    hook = OnViolation(argv, "/r.seal", period_s=0)
    hook([alert(1), alert(2)])
    hook.start()
    with gate.open("w"):  # opens when the first run reads it
        hook([alert(3)])
        hook([alert(4), alert(5), alert(6)])
        hook([alert(7)])
        gate.unlink()
    hook.close()
    assert [(one["pid"], one["suppressed"]) for one in read(out)] == [(2, 1), (7, 4)]
    assert hook.runs == 2


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (
            ["sh", "-c", "cat >/dev/null; echo no disk >&2; exit 3"],
            "ended with exit code 3: no disk",
        ),
        (["sh", "-c", "kill -9 $$"], "ended by SIGKILL"),
        (["/no/such/program"], "No such file or directory"),
        (["/etc/passwd"], "Permission denied"),
        (["sh", "-c", "exec sleep 60"], "did not end in 0.2 s and was killed"),
        (["false"], "ended with exit code 1"),  # it does not read its stdin
    ],
)
def test_a_failure_is_told_and_the_next_one_runs(argv: list[str], words: str) -> None:
    failures: list[str] = []
    hook = OnViolation(argv, "/r.seal", period_s=0, limit_s=0.2 if "killed" in words else 30)
    hook.failed = failures.append
    hook([alert(1)])
    hook.start()
    hook.close()
    assert failures == [f"--on-violation {argv[0]}: {words}"]


def test_an_event_larger_than_a_pipe_to_a_command_that_does_not_read() -> None:
    failures: list[str] = []
    hook = OnViolation(["true"], "/r.seal", period_s=0)
    hook.failed = failures.append
    hook([alert(1, name="x" * (1 << 18))])
    hook.start()
    hook.close()
    assert (failures, hook.runs) == ([], 1)
