"""`make live` on a terminal: the view shows a booted kernel's decisions while they are made."""

from pathlib import Path

from tests.tty.tmux import PYTHON, Terminal

_PATIENCE_S = 900.0
"""For a boot and the BPF programs' compilation, emulated on a busy machine."""


def test_the_view_opens_while_the_workload_runs_and_lines_stay_behind_it(
    tmp_path: Path, programs: None
) -> None:
    with Terminal(tmp_path, 120, 40) as terminal:
        terminal.patience_s = _PATIENCE_S
        terminal.run(f"clear; KERNEL=6.1 {PYTHON} tests/vm/live; echo ended with $?")
        terminal.wait_for("(1 s)")  # a step is shown at once, with its time
        # The header says so of a recorder that still runs: the workload waits for the view.
        terminal.wait_for("LIVE")
        terminal.wait_for("ENDED", "w0-mmap-")
        terminal.keys("q")
        terminal.wait_for("ended with 0")
        text = terminal.history
        assert " decisions of Debian's kernel 6.1." in text
        refused = text.partition("Refused by a seal, one of each kind:\n")[2].partition("\n\n")[0]
        assert refused.count("-> EPERM  F_SEAL_") >= 3
        assert "\nLost: nothing\n" in text
        assert ".venv/bin/sealsnoop report " in text.partition("Next:")[2]
