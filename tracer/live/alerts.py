"""Runs a command of the user's for violations: ``--on-violation``.

It gets one event as JSON on its stdin. At most one runs at a time and one starts a second; what
comes in between is counted, and the next one gets their number. Nothing that it does is fatal.
"""

import contextlib
import json
import os
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from tracer.capture.command import invoking_user
from tracer.live.snapshot import Alert
from tracer.rules.verdicts import Verdict

PERIOD_S = 1.0
LIMIT_S = 30.0
"""A command that runs longer is killed."""


def document(alert: Alert, recording: str, suppressed: int) -> dict[str, Any]:
    """What the command reads: the event's columns as ``script --json`` has them, and the verdict.

    ``suppressed``: alerts since the one before for which nothing was run.
    """
    event = dict(alert.event)
    if isinstance(event.get("verdict"), int):
        event["verdict"] = Verdict(event["verdict"]).word
    more = {"verdict": alert.verdict, "text": alert.text, "recording": recording}
    return {**event, **more, "suppressed": suppressed}


class OnViolation:
    """Takes alerts from the reader's thread and runs the command in one of its own."""

    def __init__(
        self,
        argv: Sequence[str],
        recording: str,
        *,
        period_s: float = PERIOD_S,
        limit_s: float = LIMIT_S,
    ) -> None:
        self.failed: Callable[[str], None] = lambda sentence: None
        """Is given, in that thread, what went wrong."""
        self.runs = 0
        self._argv = list(argv)
        self._recording = recording
        self._period_s, self._limit_s = period_s, limit_s
        self._waiting: Alert | None = None
        self._suppressed = 0
        self._closing = False
        self._change = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="on-violation", daemon=True)

    def start(self) -> None:
        """Starts running the command; alerts that came before are not lost."""
        self._thread.start()

    def __call__(self, alerts: Sequence[Alert]) -> None:
        """Takes new alerts, oldest first; returns at once."""
        if not alerts:
            return
        with self._change:
            self._suppressed += len(alerts) - (self._waiting is None)
            self._waiting = alerts[-1]
            self._change.notify()

    def close(self) -> None:
        """Runs it for what is still waiting, and returns when it has ended."""
        with self._change:
            self._closing = True
            self._change.notify()
        if self._thread.is_alive():
            self._thread.join(self._period_s + self._limit_s + 5)

    def _run(self) -> None:
        due_s = 0.0
        while True:
            with self._change:
                self._change.wait_for(lambda: self._waiting is not None or self._closing)
                if self._waiting is None:
                    return
            # Whatever comes until then joins the count.
            time.sleep(max(0.0, due_s - time.monotonic()))
            with self._change:
                alert, count = self._waiting, self._suppressed
                self._waiting, self._suppressed = None, 0
            due_s = time.monotonic() + self._period_s
            assert alert is not None
            problem = self._once(document(alert, self._recording, count))
            if problem:
                self.failed(f"--on-violation {self._argv[0]}: {problem}")

    def _once(self, event: dict[str, Any]) -> str:
        """Runs the command once; what went wrong, empty if nothing did."""
        self.runs += 1
        user = invoking_user()  # under sudo it runs as who called sudo, as a traced command does
        more: dict[str, Any] = {}
        if user is not None:
            more = {"user": user.uid, "group": user.gid, "extra_groups": list(user.groups)}
            more["env"] = user.environment(os.environ)
        with tempfile.TemporaryFile() as written:
            try:
                process = subprocess.Popen(
                    self._argv,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.DEVNULL,
                    stderr=written,
                    start_new_session=True,
                    **more,
                )
            except OSError as error:
                return error.strerror or str(error)
            problem = self._fed(process, json.dumps(event).encode() + b"\n")
            written.seek(0)
            words = written.read(500).decode("utf-8", "replace").split("\n", 1)[0].strip()
        return f"{problem}: {words}" if problem and words else problem

    def _fed(self, process: "subprocess.Popen[bytes]", data: bytes) -> str:
        try:
            process.communicate(data, timeout=self._limit_s)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            return f"did not end in {self._limit_s:g} s and was killed"
        if process.returncode < 0:
            return f"ended by {signal.Signals(-process.returncode).name}"
        return f"ended with exit code {process.returncode}" if process.returncode else ""
