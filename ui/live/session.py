"""One live view: a recorder or none, the view, and everything in order at the end."""

import contextlib
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tracer.errors import UserError
from tracer.model.escape import printable
from ui.app import SealsnoopApp
from ui.feed.live import LiveFeed
from ui.feed.protocol import Feed
from ui.live import signals
from ui.live.keep import Keeper
from ui.live.place import Place
from ui.live.recorder import RECORD, Recorder
from ui.live.violation import OnViolation

if TYPE_CHECKING:
    from tracer.audit.policy import Policy

_CRASHED = 1
"""The view's exit code when it failed (textual.app.App.return_code)."""
_LINES = 40
"""So much of what the recorder and its command said is shown at the end."""


@dataclass(frozen=True)
class View:
    """How the view is to be."""

    theme: str
    bell: bool
    on_violation: Sequence[str] | None
    """The words of a command."""
    policy: "Policy | None" = None
    """What the recording is audited by meanwhile."""
    read_only: bool = False
    """For a browser: nothing is written."""

    def app(self, feed: Feed, keeper: Keeper | None = None) -> SealsnoopApp:
        """The application for a feed."""
        return SealsnoopApp(
            feed, bell=self.bell, theme=self.theme, keeper=keeper, read_only=self.read_only
        )


def tell(sentence: str) -> None:
    """Says something on stderr; nobody may be there any more."""
    with contextlib.suppress(OSError):
        print(f"sealsnoop: {printable(sentence)}", file=sys.stderr, flush=True)


def show(path: str, view: View, keeper: Keeper | None = None) -> int:
    """Shows a recording until the user has enough; the exit code."""
    hook = None if view.on_violation is None else OnViolation(view.on_violation, path)
    feed = LiveFeed(path, on_alert=hook, policy=view.policy)
    return run(view.app(feed, keeper), hook)


def run(app: SealsnoopApp, hook: OnViolation | None) -> int:
    """Runs the application with its command for violations."""
    if hook is not None:
        hook.failed = lambda sentence: _show_failure(app, sentence)
        hook.start()
    try:
        app.run()
    finally:
        signals.arm()
        if hook is not None:
            hook.close()
    return app.return_code or 0


def _show_failure(app: SealsnoopApp, sentence: str) -> None:
    # The view may be gone by now.
    with contextlib.suppress(RuntimeError):
        app.call_from_thread(
            app.notify, printable(sentence), severity="error", markup=False, timeout=10
        )


def record_and_show(
    options: Sequence[str],
    output: str | None,
    command: Sequence[str],
    view: View,
    program: Sequence[str] = RECORD,
) -> int:
    """Records and shows; the exit code is the recorder's where it ended before the view."""
    signals.arm()
    with Place() as place:
        path = place.recording if output is None else Path(output)
        recorder = Recorder(options, path, command, place.folder, program)
        keeper = Keeper(path) if output is None else None
        ended: int | None = None
        patient = False
        try:
            with contextlib.closing(_Waiting()) as waiting:
                recorder.wait_ready(waiting.show)
            code = show(os.fspath(path), view, keeper)
            ended = recorder.code
            patient = code == 0  # else a signal ended the view: nobody waits
        finally:
            with signals.ignored():
                recorder.stop(tell, patient=patient)
        _report(recorder)
        _kept(path, keeper, crashed=code == _CRASHED)
    return code or ended or 0


class _Waiting:
    """One line on the terminal while the recorder gets ready."""

    def __init__(self) -> None:
        self._shown = ""

    def show(self, seconds: float) -> None:
        text = f"starting the recorder: BPF programs, then the self-test ({seconds:.0f} s)"
        if text != self._shown and seconds > 0.5:
            self._shown = text
            sys.stderr.write(f"\r\x1b[K{text}")
            sys.stderr.flush()

    def close(self) -> None:
        if self._shown:
            with contextlib.suppress(OSError):
                sys.stderr.write("\r\x1b[K")
                sys.stderr.flush()


def _report(recorder: Recorder) -> None:
    """What the recorder and its command wrote, which could not be shown before."""
    with contextlib.suppress(OSError):
        sys.stdout.buffer.write(recorder.printed)
        sys.stdout.flush()
        lines = recorder.said.splitlines()
        if len(lines) > _LINES:
            print(f"[{len(lines) - _LINES} lines before]", file=sys.stderr)
        for line in lines[-_LINES:]:
            print(printable(line), file=sys.stderr)
    if (recorder.code or 0) < 0:
        tell(f"the recorder was ended by signal {-(recorder.code or 0)}")


def _kept(path: Path, keeper: Keeper | None, *, crashed: bool) -> None:
    if keeper is None:
        tell(f"the recording is {path}")
        return
    try:
        kept = keeper.finish()
    except UserError as error:
        # Nothing is thrown away that was to be kept.
        tell(f"{error}; the recording is {_saved(path)}")
        return
    if kept is None and crashed:
        tell(f"the view failed; the recording is {_saved(path)}")
    elif kept is None:
        tell("the recording was temporary and is gone; -o S.seal, or r in the view, keeps one")
    else:
        tell(f"the recording is {kept}")


def _saved(path: Path) -> Path:
    """Puts a temporary recording where it stays."""
    saved = Path(f"{path.parent}.seal")
    os.rename(path, saved)
    return saved
