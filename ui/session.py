"""One live view: a recorder or none, the view, and everything in order at the end."""

import contextlib
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tracer.errors import UserError
from tracer.escape import printable
from tracer.filter.query import Query
from tracer.live import recorder as signals
from tracer.live.alerts import OnViolation
from tracer.live.feed import LiveFeed, Worker
from tracer.live.keep import Keeper
from tracer.live.recorder import RECORD, Place, Recorder
from tracer.output.console import tell
from tracer.steps import StatusLine
from ui.app import SealsnoopApp

if TYPE_CHECKING:
    from tracer.audit.policy import Policy
    from tracer.stacks.names import Names

_LINES = 40
"""Lines of what the recorder and its command wrote that are shown at the end."""


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
    query: Query | None = None
    """The filter that it starts with."""
    names: "Names | None" = None
    """Looks up who called."""

    def app(self, feed: Worker, keeper: Keeper | None = None) -> SealsnoopApp:
        """The application for a feed."""
        feed.names = self.names
        return SealsnoopApp(
            feed,
            bell=self.bell,
            theme=self.theme,
            keeper=keeper,
            read_only=self.read_only,
            query=self.query,
        )


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
    place = Place(recording=output is None)
    for left in place.left() if output is None else ():
        tell(f"a view that did not end in order left the recording {left}")
    path = place.recording if output is None else Path(output)
    keeper = Keeper(path) if output is None else None
    enough = False  # only who has seen it may let it go
    try:
        recorder = Recorder(options, path, command, place.folder, program)
        ended: int | None = None
        try:
            with StatusLine() as line:
                recorder.wait_ready(line.show)
            code = show(os.fspath(path), view, keeper)
            ended = recorder.code
            enough = code == 0  # else a signal ended the view, or it failed: nobody waits
        finally:
            with signals.ignored():
                recorder.stop(tell, patient=enough)
        _report(recorder)
        if keeper is None:
            tell(f"the recording is {path}")
    finally:
        with signals.ignored():
            _kept(place, keeper, enough=enough)
    return code or ended or 0


def _report(recorder: Recorder) -> None:
    """What the recorder and its command wrote, which could not be shown before."""
    with contextlib.suppress(OSError):
        sys.stdout.buffer.write(recorder.stdout)
        sys.stdout.flush()
        lines = recorder.stderr.splitlines()
        if len(lines) > _LINES:
            print(f"[{len(lines) - _LINES} lines before]", file=sys.stderr)
        for line in lines[-_LINES:]:
            print(printable(line), file=sys.stderr)
    if (recorder.code or 0) < 0:
        tell(f"the recorder was ended by signal {-(recorder.code or 0)}")


def _kept(place: Place, keeper: Keeper | None, *, enough: bool) -> None:
    """Nothing is thrown away that was to be kept, or that nobody chose to throw away."""
    if keeper is None:
        place.remove()
        return
    try:
        kept = keeper.finish()
    except UserError as error:
        tell(f"{error}; the recording is {_saved(place)}")
        return
    if kept is not None:
        place.remove()
        tell(f"the recording is {kept}")
    elif enough:
        place.remove()
        tell("the recording was temporary and is gone; -o S.seal, or r in the view, keeps one")
    elif place.holds_recording:
        tell(f"the view did not end in order; the recording is {_saved(place)}")
    else:
        place.remove()


def _saved(place: Place) -> Path:
    try:
        return place.save()
    except OSError:
        return place.recording
