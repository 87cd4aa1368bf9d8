"""The reader's thread: it reads a recording and publishes snapshots for the screen.

There is a new snapshot four to five times a second, and at once where one was requested.
:class:`LiveFeed` follows a recording, growing or finished; tracer.live.replay has the other reader.
Whatever needs pandas is imported in the thread, so that the first screen is there before it.
"""

import ctypes
import os
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import pyarrow as pa

from tracer.errors import UserError
from tracer.live.snapshot import INTERVAL_S, Audited, Now, OnAlert, Request, Snapshot, State
from tracer.recording.chain import MANIFEST
from tracer.recording.follow import EVERYTHING, MISSING, Follower, Piece
from tracer.recording.reader import ALIVE, KILLED, Recording, boot_id

if TYPE_CHECKING:
    from tracer.audit.policy import Policy
    from tracer.live.auditing import Auditing
    from tracer.live.book import Book
    from tracer.live.compose import Composer
    from tracer.stacks.names import Names


def trouble(recording: Recording, follower: Follower) -> str:
    """What somebody did to a recording while it is watched, in a sentence; empty: nothing."""
    try:
        if os.fstat(recording.folder.fd).st_nlink == 0 or not recording.folder.has(MANIFEST):
            return "The recording was deleted; what was read of it stays on the screen."
        if follower.cut_short:
            return "The recording was cut short; what was read of it stays on the screen."
        if not os.path.isdir(recording.path):
            return "The recording was moved or renamed; it is still followed."
    except OSError as error:
        return f"The recording cannot be read any more: {error.strerror}."
    return ""


_IDLE_S = 1.0
"""Nothing new: the clock goes on all the same."""
_MOST_ALERTS = 10
"""Of an audit, at once; more are counted."""
_TRIM_S = 20.0
"""Memory that is free goes back to the system so often; it takes some milliseconds."""
_SLICE_S = 0.02
"""How long the thread works before it looks for a new request."""
_FOREVER = float("inf")


class Worker:
    """Publishes snapshots of one recording; what the live feed and the replay have in common."""

    plays = False
    """It can be played like a film (tracer.live.replay)."""

    def __init__(
        self,
        recording: Recording,
        on_alert: OnAlert | None = None,
        policy: "Policy | None" = None,
    ) -> None:
        """``policy``: the recording is audited by it while it is shown."""
        self.recording = recording
        self.names: Names | None = None
        """Looks up who called; None: that is to be made."""
        self.auditing: Auditing | None = None
        """What audits it."""
        self._policy = policy
        self._raised: set[tuple[object, ...]] = set()  # violations that were alerts already
        self._on_alert = on_alert
        self._snapshot = Snapshot(path=recording.path, manifest=recording.manifest)
        self._request = Request()
        self._wake = threading.Event()
        self._stopping = False
        self._broken = ""  # why nothing can be read any more
        self._thread: threading.Thread | None = None
        self._arrivals: deque[tuple[float, int]] = deque()
        self._published: tuple[object, ...] = ()
        self._published_s = 0.0
        self._looking = False
        self.book: Book
        self._composer: Composer

    # For the UI thread

    @property
    def snapshot(self) -> Snapshot:
        return self._snapshot

    def start(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="feed", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """Reads no more; the recording is closed."""
        self._stopping = True
        self._wake.set()
        if self.auditing is not None:
            self.auditing.stop()
        if self._thread is not None:
            self._thread.join(5)
        if self.names is not None:
            self.names.close()
        self.recording.close()

    def ask(self, request: Request) -> None:
        """What snapshots show from now on; the next one comes soon."""
        self._request = request
        self._wake.set()

    def answer(self, request: Request) -> Snapshot:
        """Reads and searches all that there is now, in the caller's thread; not after start()."""
        if not hasattr(self, "book"):
            self.open(self._on_alert)
        while self.read(_FOREVER):
            pass
        while self._composer.work(request, _FOREVER):
            pass
        self._request = request
        self._publish(request, quick=False)
        if self._composer.settle():
            self._publish(request, quick=False)
        return self._snapshot

    # In the thread

    def open(self, on_alert: OnAlert | None) -> None:
        """A new book, with nothing read."""
        from tracer.live.book import Book
        from tracer.live.compose import Composer
        from tracer.stacks.names import Names

        self.book = Book(self.recording, on_alert)
        self.names = self.names or Names()
        self._composer = Composer(self.recording, self.book, self.names)

    def read(self, until_s: float) -> bool:
        """Reads until a moment of the monotonic clock; False: there is nothing more for now."""
        raise NotImplementedError

    def now(self) -> Now:
        raise NotImplementedError

    def problems(self) -> Sequence[str]:
        """What is missing or damaged, in sentences."""
        return []

    def pause_s(self) -> float:
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

    def _audit(self, auditing: "Auditing", until_ns: int | None) -> None:
        """Raises an alert for each violation that the audit found until a time (None: any)."""
        auditing.look(self.audit_version())
        new = [
            one
            for one in auditing.violations
            if one.key not in self._raised and (until_ns is None or one.time_ns <= until_ns)
        ]
        self._raised.update(one.key for one in new)
        if new:
            shown = [(one.text, one.event) for one in new[-_MOST_ALERTS:]]
            self.book.watch.alert("audit", shown, len(new))

    def _run(self) -> None:
        try:
            self.open(self._on_alert)
            if self._policy is not None:
                from tracer.live.auditing import Auditing

                self.auditing = Auditing(self._policy, self.recording.path)
                self.auditing.start()
            self._loop()
        except Exception as error:
            # A thread that ends in silence would leave a screen that looks alive.
            text = f"The reader failed ({type(error).__name__}: {error}); nothing moves any more."
            now = replace(self._snapshot.now, state=State.BROKEN, message=text)
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
            new = request is not answered
            more |= self._composer.work(request, time.monotonic() + (0.01 if new else _SLICE_S))
            now_s = time.monotonic()
            if new or now_s >= due_s:
                if new or more or self._news(now_s):
                    self._publish(request, quick=new)
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
        looking, self._looking = self._looking, self._composer.looking
        changed |= looking
        return changed or now_s >= self._published_s + _IDLE_S or self.moving()

    def _publish(self, request: Request, quick: bool) -> None:
        now = self._now()
        if self.auditing is not None:
            self._audit(self.auditing, now.now_ns)
        self._published = self.book.version, now.state, self._audited
        self._published_s = time.monotonic()
        found = self._composer.snapshot(
            request, now, self.problems(), self.span_ns(), self._audited, quick=quick,
            stale=lambda: self._request is not request,
        )  # fmt: skip
        self._snapshot = found or self._snapshot  # None: that of the newer request is next

    @property
    def _audited(self) -> Audited | None:
        return None if self.auditing is None else self.auditing.audited

    def rate(self) -> float:
        """Events per second over the last two seconds."""
        now_s = time.monotonic()
        self._arrivals.append((now_s, self.book.rows))
        while len(self._arrivals) > 2 and self._arrivals[0][0] < now_s - 2:
            self._arrivals.popleft()
        (first_s, first), (last_s, last) = self._arrivals[0], self._arrivals[-1]
        return max(0.0, (last - first) / (last_s - first_s)) if last_s - first_s > 0.2 else 0.0


_LOOK_S = 1.0
"""How often it is looked whether somebody did something to the recording."""
MANY = 1 << 15
"""Events that are counted at once. A key waits for them; but counting a few costs nearly as much
as counting many."""


def _pieces(held: list[pa.Table]) -> Iterator[Piece]:
    events = pa.concat_tables(held) if held else pa.table({})
    for start in range(0, events.num_rows, MANY):
        yield "events", events.slice(start, MANY)


class LiveFeed(Worker):
    """Reads what is there and goes on with what comes."""

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        on_alert: OnAlert | None = None,
        policy: "Policy | None" = None,
    ) -> None:
        """Opens ``path``; StoreError. ``on_alert`` is called in the reader's thread."""
        super().__init__(Recording.open(path), on_alert, policy)
        self._follower = Follower(self.recording, EVERYTHING)
        self._pieces: Iterator[Piece] | None = None
        self._caught_up = False
        self._trouble = ""
        self._look_s = 0.0
        self._heard_s = time.monotonic()
        boot = self.recording.manifest.boot_id
        self._here = boot is not None and boot == boot_id()

    def stop(self) -> None:
        super().stop()
        self._follower.close()

    def pause_s(self) -> float:
        # Read just before each snapshot: no sooner, as nobody would see it.
        return _LOOK_S if self._follower.over else INTERVAL_S

    def span_ns(self) -> int | None:
        return 10**9 if self._caught_up and not self._follower.over else None

    def read(self, until_s: float) -> bool:
        now_s = time.monotonic()
        again = False
        if now_s >= self._look_s:
            self._look_s = now_s + _LOOK_S
            self._trouble = trouble(self.recording, self._follower)
            again = not self._follower.sure  # a recorder elsewhere may only have been slow
        while not self._follower.over or self._pieces is not None or again:
            again = False
            if self._pieces is None:
                self._pieces = self._step()
            piece = next(self._pieces, None)
            if piece is None:
                self._pieces = None
                self._step_done()
                return False
            self.book.take(*piece)
            self._heard_s = time.monotonic()
            if self._heard_s >= until_s:
                return True
        return False

    def _step(self) -> Iterator[Piece]:
        """What is new; events in pieces that take some milliseconds to count."""
        held: list[pa.Table] = []
        for name, table in self._follower.step():
            if name == "events":
                held.append(table)
                if sum(part.num_rows for part in held) < MANY:
                    continue
            elif name != MISSING:  # which keeps its place among the events
                yield name, table
                continue
            yield from _pieces(held)
            held.clear()
            if name == MISSING:
                yield name, table
        yield from _pieces(held)

    def _step_done(self) -> None:
        self.book.pager.refresh()
        self._caught_up = True
        if self._follower.over and not self.book.is_complete:
            self.book.complete()

    def _state(self) -> State:
        if self._trouble and not self._follower.over:
            return State.GONE
        if not self._caught_up:
            return State.READING
        if not self._follower.over:
            return State.LIVE
        return State.ENDED if self._follower.ended else State.GONE

    def now(self) -> Now:
        book, state = self.book, self._state()
        now_ns = self._clock(state)
        progress = None
        if state is State.READING:
            progress = book.rows / self._follower.rows if self._follower.rows else 0.0
        message = self._trouble
        if not message and state is State.GONE:
            message = f"RECORDER GONE. {KILLED}"
        rate = self.rate()
        if state in (State.ENDED, State.GONE) and book.start_ns is not None and now_ns is not None:
            rate = book.rows / max(1e-3, (now_ns - book.start_ns) / 1e9)
        return Now(
            state=state,
            events=book.rows,
            rate=rate,
            lost=book.lost,
            bytes=self._follower.bytes,
            start_ns=book.start_ns,
            now_ns=now_ns,
            wall_ns=book.clock.at(now_ns),
            progress=progress,
            message=message,
        )

    def _clock(self, state: State) -> int | None:
        """The traced host's boot clock, as far as it is known."""
        last = self.book.last_ns
        if state is not State.LIVE or last is None:
            return last
        if self._here:
            return max(last, time.clock_gettime_ns(time.CLOCK_BOOTTIME))
        return last + int((time.monotonic() - self._heard_s) * 1e9)

    def problems(self) -> Sequence[str]:
        told_by_state = (ALIVE, KILLED)
        found = [*self._follower.damage, *self.recording.problems]
        found = [sentence for sentence in found if sentence not in told_by_state]
        if self.book.pager.problem:
            found.append(self.book.pager.problem)
        return list(dict.fromkeys(found))
