"""A scene in the guest: what README shows for root, typed as it is shown there."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.kernel.guest_tools import Results, python, wait_for_end, wait_until
from tests.readme import ROOT_NEEDED
from tests.tty.tmux import Terminal

NAME = "ring"
_PATIENCE_S = 300.0  # bcc compiles slowly in the emulated guest


def readme(results: Results) -> None:
    """Each command, while a process beside it is refused a mapping again and again."""
    place = Path(tempfile.mkdtemp(prefix="readme-"))
    for name in ("program", "workload"):
        program = place / name
        program.write_text(f"#!/bin/sh\nexec {' '.join(map(str, python('ring.py', '--once')))}\n")
        program.chmod(0o755)
    try:
        with subprocess.Popen([*map(str, python("ring.py"))], cwd=place) as holder:
            try:
                for command, how in ROOT_NEEDED.items():
                    typed = command.removeprefix("sudo ").replace("4242", str(holder.pid))
                    code, said = _run(typed, how, place)
                    results.tell("readme", **{command: {"code": code, "said": said}})
            finally:
                holder.kill()
    finally:
        shutil.rmtree(place, ignore_errors=True)


def _run(command: str, how: str, place: Path) -> tuple[int, str]:
    """Its exit code and what it printed; what does not end by itself gets a Ctrl-C."""
    if how == "shows":
        return _on_a_terminal(command, place)
    out = place / "out"
    with out.open("wb") as file:
        process = subprocess.Popen(
            ["bash", "-c", command], cwd=place, stdin=subprocess.DEVNULL, stdout=file, stderr=file,
            start_new_session=True,
        )  # fmt: skip

    def enough() -> bool:
        if process.poll() is not None:
            raise RuntimeError(f"{command} ended: {out.read_text(errors='replace')}")
        if how == "prints":
            return "-> EPERM" in out.read_text(errors="replace")
        return any(chain.stat().st_size for chain in place.glob("audit-*.seal/chain.jsonl"))

    if how != "ends":
        wait_until(command, enough, _PATIENCE_S)
        os.killpg(process.pid, signal.SIGINT)
    code = wait_for_end(process, _PATIENCE_S)
    return code, out.read_text(errors="replace")


def _on_a_terminal(command: str, place: Path) -> tuple[int, str]:
    bin_ = Path(sys.executable).parent
    with Terminal(place) as terminal:
        terminal.patience_s = _PATIENCE_S
        terminal.run(f"clear; PATH={bin_}:$PATH {command}; echo ended with $?")
        shown = terminal.wait_for("LIVE", NAME)
        terminal.keys("q")
        end = terminal.wait_for("ended with")
    return int(end.rsplit("ended with ", 1)[1].split()[0]), shown
