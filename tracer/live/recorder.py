"""The recorder of a live view: a ``sealsnoop record`` process, and the folder that it writes to.

The process is in its own process group, so that neither Ctrl-C nor Ctrl-Z on the terminal reaches
it behind our back. Its output, and that of the command that it traces, goes to files: the terminal
is the view's. If the view is killed, the kernel sends it SIGHUP, maybe once for each of the view's
threads (kernel/exit.c, forget_original_parent: the next thread becomes the parent, and dies too):
without a command it then ends its recording cleanly; with one it goes on until that ends.

A recording without a name lies in the state folder of the user who records:
``$XDG_STATE_HOME/sealsnoop``, else ``/var/lib/sealsnoop`` for root and ``~/.local/state/sealsnoop``
for others. Not in /tmp or /var/tmp, where anybody can make a name first, nor in /run, which is
memory: a recording may become large.
"""

import contextlib
import ctypes
import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import FrameType

from tracer.errors import UserError
from tracer.escape import printable
from tracer.recording import folder as lock
from tracer.recording.chain import MANIFEST
from tracer.recording.folder import Folder
from tracer.steps import START, StartStep, last

_NUMBERS = (signal.SIGTERM, signal.SIGHUP)
"""They end us in order while no view is open; a view has handlers of its own."""


def ignore() -> None:
    """Makes these signals do nothing."""
    for number in _NUMBERS:
        signal.signal(number, signal.SIG_IGN)


def _leave(number: int, frame: FrameType | None) -> None:
    # A closed terminal sends SIGHUP twice, from the kernel and from its shell: the second must not
    # interrupt what the first has made us put in order.
    ignore()
    sys.exit(128 + number)


def arm() -> None:
    """Makes these signals raise SystemExit; again after asyncio has put them back."""
    for number in _NUMBERS:
        signal.signal(number, _leave)


@contextlib.contextmanager
def ignored() -> Iterator[None]:
    """They do nothing meanwhile, so that the clean-up is not interrupted."""
    leaving: SystemExit | None = None
    try:
        ignore()
    except SystemExit as signalled:  # it came while we were at it; all are ignored from then on
        leaving = signalled
    try:
        yield
    finally:
        arm()
    if leaving is not None:
        raise leaving


_OURS = "sealsnoop"
_RECORDING = "live.seal"
_PREFIX = "live-"


class Place:
    """A folder of our own, mode 0700, with the recorder's output and maybe the recording.

    It is removed when somebody says that the recording is not wanted, and not before: whatever
    ends us leaves it.
    """

    def __init__(self, recording: bool = True) -> None:
        """``recording``: it is to lie here, not the output alone (any temporary folder will do).

        UserError: there is no folder that nobody else can change.
        """
        self.base = _base() if recording else Path(tempfile.gettempdir())
        self.folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=self.base))
        self.recording = self.folder / _RECORDING

    def left(self) -> list[Path]:
        """Recordings that other views left behind: nobody writes them any more."""
        found = sorted(self.base.glob(f"{_PREFIX}*/{_RECORDING}"))
        return [path for path in found if path != self.recording and not _written(path)]

    @property
    def holds_recording(self) -> bool:
        """Whether a recording has started here."""
        return (self.recording / MANIFEST).exists()

    def save(self) -> Path:
        """Puts the recording beside this folder, which goes away; where it is now. OSError."""
        saved = Path(f"{self.folder}.seal")
        os.rename(self.recording, saved)
        self.remove()
        return saved

    def remove(self) -> None:
        """Removes it with what lies in it; what cannot be removed stays."""
        shutil.rmtree(self.folder, ignore_errors=True)


def _written(path: Path) -> bool:
    try:
        with Folder.open(path) as folder:
            return lock.held(folder)
    except OSError:
        return False


def _base() -> Path:
    tried = []
    for base in candidates():
        folder = base / _OURS
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            danger = _danger(folder)
        except OSError as error:
            danger = error.strerror or str(error)
        if not danger:
            return folder
        tried.append(f"{printable(str(folder))} ({danger})")
    raise UserError(
        f"there is no place for a temporary recording: {', '.join(tried)}; name one with -o S.seal"
    )


def candidates() -> Iterator[Path]:
    """Folders in which ours may be, the best first."""
    state = os.environ.get("XDG_STATE_HOME", "")
    if os.path.isabs(state):
        yield Path(state)
    home = "/var/lib" if os.geteuid() == 0 else os.path.expanduser("~/.local/state")
    if os.path.isabs(home):
        yield Path(home)


def _danger(folder: Path) -> str:
    """Who else could exchange the folder or what lies in it; empty: nobody.

    Under sudo $XDG_STATE_HOME may be another user's.
    """
    for place in (real := folder.resolve(), *real.parents):
        found = place.stat()
        if found.st_uid not in (0, os.geteuid()):
            return f"{printable(str(place))} belongs to user {found.st_uid}"
        # A user's own group is often that user alone (umask 002). In a sticky folder others can
        # make names, and not change ours.
        ours = found.st_gid in (0, os.getegid())
        shared = found.st_mode & (stat.S_IWOTH if ours else stat.S_IWGRP | stat.S_IWOTH)
        if shared and (place == real or not found.st_mode & stat.S_ISVTX):
            return f"others may write to {printable(str(place))}"
    return ""


RECORD = (sys.executable, "-P", "-m", "tracer.cli.main", "record")
"""-P: what lies in the folder where root happens to stand is not to be imported."""

_PR_SET_PDEATHSIG = 1
_POLL_S = 0.05
_TELL_S = 3.0  # then the user is told what takes so long
GRACE_S = 5.0
"""How long it may take to end before the next signal."""
_HURRY = (signal.SIGINT, signal.SIGINT, signal.SIGTERM, signal.SIGKILL)
"""Sent one after another while it does not end. The second SIGINT makes it stop waiting for its
command (tracer.cli.record)."""
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
        *,
        visible: bool = False,
    ) -> None:
        """Starts it with ``record``'s own ``options``; ``logs`` is a folder for its output and
        its steps.

        ``visible``: instead, all that it and its command print is seen at once, on our standard
        error. A command then reads our standard input, and is in our process group as under any
        shell: what the terminal's keys send reaches it, the recorder and us.
        """
        self.output = output
        self._ours = visible and bool(command)
        self._interrupted = 0
        self.command = list(command)
        self._stdout, self._stderr = logs / "stdout", logs / "stderr"
        self._before = _identity(output / MANIFEST)
        self._steps = logs / "steps"
        own = ["--steps", str(self._steps), "-o", str(output)]
        argv = [*program, *options, *own, *(["--", *command] if command else [])]
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
                stdin=None if self._ours else subprocess.DEVNULL,
                stdout=sys.stderr.fileno() if visible else out,
                stderr=None if visible else err,
                process_group=None if self._ours else 0,
                preexec_fn=die_with_us,
            )
        self.pid = self._process.pid

    @property
    def code(self) -> int | None:
        """Its exit code, negative for a signal; None while it runs."""
        return self._process.poll()

    @property
    def stderr(self) -> str:
        """The end of what it and its command wrote there."""
        return _end_of(self._stderr).decode("utf-8", "replace")

    @property
    def stdout(self) -> bytes:
        """The end of what its command wrote there."""
        return _end_of(self._stdout)

    @property
    def _recording(self) -> bool:
        return _identity(self.output / MANIFEST) not in (None, self._before)

    def wait_ready(self, waiting: Callable[[StartStep, float], object]) -> None:
        """Until there is a recording to follow. ``waiting`` is given the recorder's step and the
        seconds since we came, again and again.

        RecorderFailed: it ended before, with its exit code and what it wrote.
        """
        start_s = time.monotonic()
        while not self._recording:
            code = self.code
            if code is not None and not self._recording:
                text = self.stderr.strip().removeprefix("sealsnoop: ")
                why = text or f"the recorder ended with {_how(code)} and said nothing"
                raise RecorderFailed(why, code if code > 0 else 1)
            waiting(last(self._steps) or START, time.monotonic() - start_s)
            time.sleep(_POLL_S)

    def let_end(self) -> None:
        """Waits some seconds for it to end by itself, as it does when its recording has ended."""
        self._wait(lambda sentence: None, GRACE_S)

    def interrupt(self) -> None:
        """Passes a Ctrl-C on, if it was for us alone; after a few of them it is killed."""
        if not self._ours:
            self._signal(_HURRY[min(self._interrupted, len(_HURRY) - 1)])
        self._interrupted += 1

    def _signal(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            if self._ours:
                self._process.send_signal(number)
            else:
                os.killpg(self.pid, number)

    def stop(self, tell: Tell, *, patient: bool = True) -> int:
        """Ends it and waits; its exit code. A Ctrl-C while we wait makes it hurry.

        ``patient``: a traced command is waited for as long as it likes, once it was interrupted;
        else it is ended after some seconds.
        """
        for number in _HURRY:
            if self.code is not None:
                break
            self._signal(number)
            forever = patient and bool(self.command) and number == signal.SIGINT
            try:
                self._wait(tell, None if forever else 4 * GRACE_S if patient else GRACE_S)
            except KeyboardInterrupt:
                continue
        return self._process.wait()

    def _wait(self, tell: Tell, seconds: float | None) -> None:
        start_s = time.monotonic()
        reported = False
        while self.code is None and (seconds is None or time.monotonic() - start_s < seconds):
            if not reported and time.monotonic() - start_s > _TELL_S:
                reported = True
                what = self.command[0] if self.command else "the recorder"
                tell(f"waiting for {what} to end; Ctrl-C does not wait")
            time.sleep(_POLL_S)

    def kill(self) -> None:
        """Ends it at once, whatever it does. Its recording is readable up to the last batch."""
        if self.code is None:
            self._signal(signal.SIGKILL)
            self._process.wait()


def _identity(path: Path) -> tuple[int, int] | None:
    """Tells one file of a name from the next."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns


def _end_of(path: Path, most: int = 1 << 16) -> bytes:
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - most))
            return file.read()
    except OSError:
        return b""


def _how(code: int) -> str:
    return f"exit code {code}" if code >= 0 else signal.Signals(-code).name
