"""A terminal that tests can type into and look at: tmux, with a server of its own."""

import os
import shlex
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Self

ROOT = Path(__file__).resolve().parents[2]
PYTHON = str(ROOT / ".venv" / "bin" / "python")
SEALSNOOP = f"{PYTHON} -m sealsnoop"
"""What the console script runs, found from this checkout."""
PROMPT = "ready> "
PATIENCE_S = 90.0
"""On a busy machine; nothing here is about speed."""


class Terminal:
    """A shell in a terminal of ``width`` x ``height`` cells."""

    def __init__(self, folder: Path, width: int = 120, height: int = 40) -> None:
        self.patience_s = PATIENCE_S
        self.folder = folder
        self._socket = str(folder / "tmux")
        environ = {key: value for key, value in os.environ.items() if not key.startswith("TMUX")}
        environ |= {"PYTHONPATH": str(ROOT), "LANG": "C.UTF-8", "LC_ALL": "C.UTF-8"}
        environ |= {"TERM": "xterm-256color", "HISTFILE": ""}
        setup = folder / "bashrc"
        setup.write_text(f"PS1={shlex.quote(PROMPT)}\n")
        shell = ["bash", "--noprofile", "--rcfile", str(setup), "-i"]
        size = ["-x", str(width), "-y", str(height)]
        command = [*self._tmux, "new-session", "-d", "-s", "test", *size, shlex.join(shell)]
        subprocess.run(command, cwd=ROOT, env=environ, check=True)
        self.wait_for(PROMPT.strip())

    @property
    def _tmux(self) -> list[str]:
        return ["tmux", "-u", "-f", "/dev/null", "-S", self._socket]

    def _do(self, *words: str) -> str:
        done = subprocess.run(
            [*self._tmux, *words], capture_output=True, text=True, check=True, timeout=60
        )
        return done.stdout

    @property
    def pid(self) -> int:
        """The shell's process."""
        return int(self._do("display-message", "-p", "-t", "test", "#{pane_pid}"))

    # Typing

    def keys(self, *names: str) -> None:
        """Presses keys, by tmux's names."""
        self._do("send-keys", "-t", "test", *names)

    def write(self, text: str) -> None:
        """Types text as it is."""
        self._do("send-keys", "-t", "test", "-l", text)

    def run(self, command: str) -> None:
        """A command line for the shell."""
        self.write(command)
        self.keys("Enter")

    def resize(self, width: int, height: int) -> None:
        """Another size of the terminal."""
        self._do("resize-window", "-t", "test", "-x", str(width), "-y", str(height))

    # Looking

    @property
    def screen(self) -> str:
        """What is shown now."""
        return self._do("capture-pane", "-p", "-t", "test")

    @property
    def history(self) -> str:
        """What was shown on the normal screen, wrapped lines as one."""
        return self._do("capture-pane", "-p", "-J", "-S", "-", "-t", "test")

    def modes(self) -> dict[str, str]:
        """What programs switch on and off: the alternate screen, the cursor, the mouse."""
        names = ("alternate_on", "cursor_flag", "mouse_any_flag", "keypad_flag")
        form = ",".join(f"{name}=#{{{name}}}" for name in names)
        answer = self._do("display-message", "-p", "-t", "test", form).strip()
        return dict(one.split("=") for one in answer.split(","))

    def wait(self, what: str, ready: Callable[[str], object]) -> str:
        """Until ``ready`` likes the screen; the screen."""
        until = time.monotonic() + self.patience_s
        while not ready(screen := self.screen):
            if time.monotonic() > until:
                raise AssertionError(f"{what} did not come; the screen is\n{screen}")
            time.sleep(0.1)
        return screen

    def wait_for(self, *words: str) -> str:
        """Until all of ``words`` are on the screen; the screen."""
        return self.wait(repr(words), lambda screen: all(word in screen for word in words))

    def wait_gone(self, word: str) -> str:
        """Until ``word`` is not on the screen."""
        return self.wait(f"the end of {word!r}", lambda screen: word not in screen)

    def kill(self) -> None:
        """Ends the terminal, as if its window was closed."""
        subprocess.run([*self._tmux, "kill-server"], check=False, capture_output=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()


def children(pid: int) -> dict[int, str]:
    """Processes below ``pid``: pid and command line."""
    found: dict[int, str] = {}
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        try:
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
            words = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        except OSError:
            continue
        if int(fields[1]) == pid:
            found |= {int(folder.name): words} | children(int(folder.name))
    return found
