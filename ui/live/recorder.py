"""The recorder of a live view: ``sealsnoop record`` as a process of its own.

It is in its own process group, so that neither Ctrl-C nor Ctrl-Z on the terminal reaches it behind
our back. Its output, and that of the command that it traces, goes to files: the terminal is the
view's. Should the view be killed, the kernel sends it SIGHUP, maybe once for each of the view's
threads (kernel/exit.c, forget_original_parent: the next thread becomes the parent, and dies too):
without a command it then ends its recording cleanly; with one it goes on until that ends.
"""

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from tracer.errors import UserError
from tracer.store.chain import MANIFEST

RECORD = (sys.executable, "-P", "-m", "tracer.cli.main", "record")
"""-P: what lies in the folder where root happens to stand is not to be imported."""

_PR_SET_PDEATHSIG = 1
_POLL_S = 0.05
_TELL_S = 3.0  # of silence, then the user is told what is waited for
_GRACE_S = 5.0
_HURRY = (signal.SIGINT, signal.SIGINT, signal.SIGTERM, signal.SIGKILL)
"""Sent one after another while it does not end. With a command the second SIGINT is the one that
does not wait for it any more (tracer.cli.record)."""
Tell = Callable[[str], None]


class RecorderFailed(UserError):
    """The recorder ended before it recorded; the message is its own."""


class Recorder:
    """A running ``sealsnoop record``. Only the thread that starts it may end before it."""

    def __init__(
        self,
        options: Sequence[str],
        output: Path,
        command: Sequence[str],
        logs: Path,
        program: Sequence[str] = RECORD,
    ) -> None:
        """Starts it with ``record``'s own ``options``; ``logs`` is a folder for its output."""
        self.output = output
        self.command = list(command)
        self._stdout, self._stderr = logs / "stdout", logs / "stderr"
        self._before = _identity(output / MANIFEST)
        argv = [*program, *options, "-o", str(output), *(["--", *command] if command else [])]
        parent = os.getpid()
        libc = ctypes.CDLL(None)

        def die_with_us() -> None:
            signal.signal(signal.SIGHUP, signal.SIG_DFL)  # even where nohup started the view
            libc.prctl(_PR_SET_PDEATHSIG, signal.SIGHUP)
            if os.getppid() != parent:
                os._exit(1)

        with self._stdout.open("xb") as out, self._stderr.open("xb") as err:
            self._process = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                process_group=0,
                preexec_fn=die_with_us,
            )
        self.pid = self._process.pid

    @property
    def code(self) -> int | None:
        """Its exit code, negative for a signal; None while it runs."""
        return self._process.poll()

    @property
    def said(self) -> str:
        """What it and its command wrote to stderr."""
        return _tail(self._stderr)

    @property
    def printed(self) -> bytes:
        """The end of what its command wrote to stdout."""
        return _tail_bytes(self._stdout)

    def wait_ready(self, waiting: Callable[[float], None]) -> None:
        """Until there is a recording to follow. ``waiting`` is told the seconds, again and again.

        RecorderFailed: it ended before, with its exit code and what it said.
        """
        began = time.monotonic()
        while _identity(self.output / MANIFEST) in (None, self._before):
            code = self.code
            if code is not None and _identity(self.output / MANIFEST) in (None, self._before):
                said = self.said.strip().removeprefix("sealsnoop: ")
                why = said or f"the recorder ended with {_how(code)} and said nothing"
                raise RecorderFailed(why, code if code > 0 else 1)
            waiting(time.monotonic() - began)
            time.sleep(_POLL_S)

    def stop(self, tell: Tell, *, patient: bool = True) -> int:
        """Ends it and waits; its exit code. A Ctrl-C while we wait makes it hurry.

        ``patient``: a traced command is waited for as long as it likes, once it was interrupted;
        else it is ended after some seconds.
        """
        for number in _HURRY:
            if self.code is not None:
                break
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, number)
            forever = patient and bool(self.command) and number == signal.SIGINT
            try:
                self._wait(tell, None if forever else 4 * _GRACE_S if patient else _GRACE_S)
            except KeyboardInterrupt:
                continue
        return self._process.wait()

    def _wait(self, tell: Tell, seconds: float | None) -> None:
        began = time.monotonic()
        told = False
        while self.code is None and (seconds is None or time.monotonic() - began < seconds):
            if not told and time.monotonic() - began > _TELL_S:
                told = True
                what = self.command[0] if self.command else "the recorder"
                tell(f"waiting for {what} to end; Ctrl-C does not wait")
            time.sleep(_POLL_S)

    def kill(self) -> None:
        """Ends it at once, whatever it does. Its recording is readable up to the last batch."""
        if self.code is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)
            self._process.wait()


def _identity(path: Path) -> tuple[int, int] | None:
    """Tells one file of a name from the next."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns


def _tail_bytes(path: Path, most: int = 1 << 16) -> bytes:
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - most))
            return file.read()
    except OSError:
        return b""


def _tail(path: Path) -> str:
    return _tail_bytes(path).decode("utf-8", "replace")


def _how(code: int) -> str:
    return f"exit code {code}" if code >= 0 else signal.Signals(-code).name
