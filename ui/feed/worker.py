"""A thread that reads, and publishes a snapshot four to five times a second or when asked.

Whatever needs pandas is imported in the thread, so that the first screen is there before it.
"""

import ctypes
import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from tracer.errors import UserError
from tracer.store.reader import Recording
from ui.feed.manifest import facts
from ui.feed.protocol import INTERVAL_S, OnAlert
from ui.request import Request
from ui.snapshot import Audited, Now, Snapshot, State

if TYPE_CHECKING:
    from tracer.audit.policy import Policy
    from ui.feed.auditing import Auditing
    from ui.feed.book import Book
    from ui.feed.compose import Composer

_IDLE_S = 1.0
"""Nothing new: the clock goes on all the same."""
_MOST_ALERTS = 10
"""Of an audit, at once; more are counted."""
_TRIM_S = 20.0
"""Memory that is free goes back to the system so often; it takes some milliseconds."""
_SLICE_S = 0.02
"""How long the thread works before it looks whether somebody asked for something."""


class Worker:
    """What the live feed and the replay have in common."""

    def __init__(
        self,
        recording: Recording,
        on_alert: OnAlert | None = None,
        policy: "Policy | None" = None,
    ) -> None:
        """``policy``: the recording is audited by it while it is shown."""
        self.recording = recording
        self._policy = policy
        self._auditing: Auditing | None = None
        self._on_alert = on_alert
        self._facts = facts(recording.path, recording.manifest)
        self._snapshot = Snapshot(facts=self._facts)
        self._request = Request()
        self._wake = threading.Event()
        self._stopping = False
        self._broken = ""  # why nothing can be read any more
        self._thread: threading.Thread | None = None
        self._arrivals: deque[tuple[float, int]] = deque()
        self._published: tuple[object, ...] = ()
        self._published_s = 0.0
        self.book: Book
        self._composer: Composer

    # For the UI thread

    @property
    def snapshot(self) -> Snapshot:
        """The newest one."""
        return self._snapshot

    def start(self) -> None:
        """Begins to read."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="feed", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """Reads no more; the recording is closed."""
        self._stopping = True
        self._wake.set()
        if self._auditing is not None:
            self._auditing.stop()
        if self._thread is not None:
            self._thread.join(5)
        self.recording.close()

    def ask(self, request: Request) -> None:
        """What snapshots show from now on."""
        self._request = request
        self._wake.set()

    # In the thread

    def open(self, on_alert: OnAlert | None) -> None:
        """A new book, with nothing read."""
        from ui.feed.book import Book
        from ui.feed.compose import Composer

        self.book = Book(self.recording, on_alert)
        self._composer = Composer(self.recording, self._facts, self.book)

    def read(self, until_s: float) -> bool:
        """Reads until a moment of the monotonic clock; False: there is nothing more for now."""
        raise NotImplementedError

    def now(self) -> Now:
        """Where the recording stands."""
        raise NotImplementedError

    def problems(self) -> Sequence[str]:
        """What is missing or damaged, in sentences."""
        return []

    def pause_s(self) -> float:
        """How long to wait for something new."""
        return 0.1

    def span_ns(self) -> int | None:
        """Width of a bar in the history; None: the whole recording in one picture."""
        return None

    def moving(self) -> bool:
        """Whether the clock moves although nothing is read."""
        return False

    def audit_version(self) -> object:
        """Is another one when an audit would see more than before."""
        return self.book.version

    def _audit(self, until_ns: int | None) -> None:
        """Cries out what the audit found."""
        from ui.feed.auditing import AUDIT

        assert self._auditing is not None
        self._auditing.look(self.audit_version())
        new = self._auditing.new_violations(until_ns)
        if new:
            shown = [(one.text, one.event) for one in new[-_MOST_ALERTS:]]
            self.book.watch.cry(AUDIT, shown, len(new))

    def _run(self) -> None:
        try:
            self.open(self._on_alert)
            if self._policy is not None:
                from ui.feed.auditing import Auditing

                self._auditing = Auditing(self._policy, self.recording.path)
                self._auditing.start()
            self._loop()
        except Exception as error:
            # A thread that ends in silence would leave a screen that looks alive.
            said = f"The reader failed ({type(error).__name__}: {error}); nothing moves any more."
            now = replace(self._snapshot.now, state=State.BROKEN, message=said)
            self._snapshot = replace(self._snapshot, now=now, request=self._request)
            raise

    def _read(self) -> bool:
        """Reads for a while; what cannot be read ends reading, and nothing else."""
        if self._broken:
            return False
        try:
            return self.read(time.monotonic() + _SLICE_S)
        except (UserError, OSError) as error:
            self._broken = str(error)
            return True

    def _now(self) -> Now:
        now = self.now()
        return replace(now, state=State.BROKEN, message=self._broken) if self._broken else now

    def _loop(self) -> None:
        due_s = trim_s = 0.0
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc's own
        answered: Request | None = None
        while not self._stopping:
            # Somebody who waits for rows does not wait for new events too.
            more = self._read() if self._request is answered else True
            request = self._request
            asked = request is not answered
            more |= self._composer.work(request, time.monotonic() + (0.01 if asked else _SLICE_S))
            now_s = time.monotonic()
            if asked or now_s >= due_s:
                if asked or more or self._news(now_s):
                    self._publish(request, quick=asked)
                    answered = request
                due_s = now_s + INTERVAL_S
            if trim is not None and now_s >= trim_s:
                # Else what batches of every size leave behind grows for hours.
                trim_s = now_s + _TRIM_S
                trim(0)
            if not more and self._request is answered:
                self._wake.wait(max(0.005, min(self.pause_s(), due_s - time.monotonic())))
            self._wake.clear()

    def _news(self, now_s: float) -> bool:
        """Whether a new snapshot would show anything else than the one before."""
        changed = self._published != (self.book.version, self._now().state, self._audited)
        return changed or now_s >= self._published_s + _IDLE_S or self.moving()

    def _publish(self, request: Request, quick: bool) -> None:
        now = self._now()
        if self._auditing is not None:
            self._audit(now.now_ns)
        self._published = self.book.version, now.state, self._audited
        self._published_s = time.monotonic()
        self._snapshot = self._composer.snapshot(
            request, now, self.problems(), self.span_ns(), self._audited, quick=quick
        )

    @property
    def _audited(self) -> Audited | None:
        return None if self._auditing is None else self._auditing.audited

    def rate(self) -> float:
        """Events per second over the last two seconds."""
        now_s = time.monotonic()
        self._arrivals.append((now_s, self.book.rows))
        while len(self._arrivals) > 2 and self._arrivals[0][0] < now_s - 2:
            self._arrivals.popleft()
        (first_s, first), (last_s, last) = self._arrivals[0], self._arrivals[-1]
        return max(0.0, (last - first) / (last_s - first_s)) if last_s - first_s > 0.2 else 0.0
