"""A scene in the guest: ``sealsnoop live`` on a terminal, while a program is refused a mapping."""

import json
import shutil
import sys
import tempfile
from pathlib import Path

from tests.kernel.guest_tools import Results, boottime_ns
from tests.tty.tmux import SEALSNOOP, Terminal

NAME = "ui-blocked"
_PATIENCE_S = 300.0  # bcc compiles slowly in the emulated guest
_PROGRAM = f"""
import fcntl, json, mmap, os, sys, time
log = sys.argv[1]
fd = os.memfd_create("{NAME}", os.MFD_ALLOW_SEALING)
os.ftruncate(fd, 4096)
fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_WRITE)
while not os.path.exists(log + ".go"):
    time.sleep(0.05)
began_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
try:
    mmap.mmap(fd, 4096, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE)
    error = None
except OSError as caught:
    error = caught.errno
with open(log + ".new", "w") as file:
    json.dump({{"pid": os.getpid(), "errno": error, "began_ns": began_ns}}, file)
os.rename(log + ".new", log)
time.sleep(3600)
"""


def live_view(results: Results) -> None:
    """The view shows the file, then the refusal soon after it; q ends recorder and program."""
    script, log = results.out / "ui.py", results.out / "ui.json"
    script.write_text(_PROGRAM)
    folder = Path(tempfile.mkdtemp(prefix="ui-"))
    command = f"{SEALSNOOP} live -o {results.out}/ui.seal -- {sys.executable} {script} {log}"
    try:
        with Terminal(folder) as terminal:
            terminal.patience_s = _PATIENCE_S
            terminal.run(f"clear; {command}; echo ended with $?")
            before = terminal.wait_for("LIVE", NAME)
            Path(f"{log}.go").touch()
            shown = terminal.wait_for("refused by F_SEAL_WRITE")
            results.tell("ui", before=before, shown=shown, shown_ns=boottime_ns())
            terminal.keys("Enter")
            terminal.wait_for("Decisions", "verdict")
            terminal.keys("b")
            results.tell("ui", why=terminal.wait_for("because WRITE"))
            terminal.keys("Escape")
            terminal.wait_gone("because")
            terminal.keys("q")
            terminal.wait_for("ended with")
            results.tell("ui", end=terminal.history, modes=terminal.modes())
        results.tell("ui", truth=json.loads(log.read_text()))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
