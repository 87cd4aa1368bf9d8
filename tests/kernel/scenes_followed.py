"""Scenes in the guest: files that are followed, whoever does something to them.

A recorder of a command (its files: what others do to them, too) and one with ``--file`` (one file
alone) by each method, and ``trace`` in a pipe.
"""

import contextlib
import json
import subprocess
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from tests.kernel.guest_tools import (
    Recorder,
    Results,
    Tool,
    boottime_ns,
    in_pairs,
    python,
    wait_until,
)

PROGRAM = "followed.py"
_WAYS = {
    "fexit": ("--method", "fexit"),
    "kprobe": ("--method", "kprobe"),
    "ftrace": ("--source", "ftrace"),
}
RUNS = ("file-kprobe", "followed-ftrace")
"""A recorder of one file and one of a command; `traced` is one of a command by fexit."""
MORE_RUNS = ("file-fexit", "file-ftrace", "followed-fexit", "followed-kprobe")
_PATIENCE_S = 300.0  # bcc compiles slowly in the emulated guest


def followed(results: Results) -> None:
    _play(results, RUNS)
    words: list[str | Path] = ["record", "-o", results.out / "no.seal", "--file", "/usr/bin/env"]
    Tool(results, "no-file", words).wait()


def followed_by_each(results: Results) -> None:
    _play(results, MORE_RUNS)


def _play(results: Results, runs: Sequence[str]) -> None:
    """Owners that are not recorded but for one file, and owners that are recorders' commands."""
    logs = {run: results.out / f"owner-{run}.json" for run in runs}
    with contextlib.ExitStack() as stack:
        makers = []
        for run, log in logs.items():
            what, way = run.split("-")
            options: list[str | Path] = ["--no-self-test", *_WAYS[way]]
            command = python(PROGRAM, "owner", log)
            if what == "file":
                stack.enter_context(subprocess.Popen(command))
                wait_until("an owner", log.exists)
                options += ["--file", _named(_read(log), way)]
                command = []
            makers.append(partial(Recorder, results, run, *options, command=command))
        recorders = in_pairs(makers)
        for log in logs.values():
            wait_until("an owner", log.exists)
            subprocess.run(python(PROGRAM, "other", log), check=True)
            Path(f"{log}.go").touch()
    for recorder in recorders:
        recorder.stop() if recorder.name.startswith("file") else recorder.wait()
    for run, log in logs.items():
        _tell(results, f"owner-{run}", log)


def _named(owner: Any, way: str) -> str:
    """One of its files by a path or by the numbers that a report shows."""
    if way == "kprobe":
        return f"0:{owner['dev']['named']}/{owner['ino']['named']}"
    return f"/proc/{owner['pid']}/fd/{owner['fds']['named']}"


def _tell(results: Results, name: str, log: Path) -> None:
    other, done = (_read(Path(f"{log}.{end}")) for end in ("other", "done"))
    results.tell(name, **_read(log), other=other, done=done)


def _read(path: Path) -> Any:
    return json.loads(path.read_text())


def traced(results: Results) -> None:
    """A line comes while the program still runs, and says who of the others set the seal; the
    program's end ends the trace."""
    log = results.out / "traced.json"
    command = python(PROGRAM, "owner", log, "stay")
    tool = Tool(results, "trace", ["trace", "--", *command], stdin=True)
    printed = results.out / "trace.stdout"
    tool.wait_for(log)
    subprocess.run(python(PROGRAM, "other", log), check=True)
    Path(f"{log}.go").touch()
    wait_until("the refusal", lambda: "mmap SHARED" in printed.read_text(), _PATIENCE_S)
    results.tell("traced", shown_ns=boottime_ns(), running=tool.process.poll() is None)
    assert tool.process.stdin
    tool.process.stdin.close()
    tool.wait()
    _tell(results, "traced", log)
