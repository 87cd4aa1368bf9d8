"""Follows a recording, growing or finished."""

import os
import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from tracer.store.alive import boot_id
from tracer.store.follow import EVERYTHING, Follower, Piece
from tracer.store.reader import Recording
from tracer.store.snapshot import ALIVE, KILLED
from ui.feed.protocol import OnAlert
from ui.feed.trouble import trouble
from ui.feed.worker import Worker
from ui.snapshot import Now, State

if TYPE_CHECKING:
    from tracer.audit.policy import Policy

_LOOK_S = 1.0
"""How often it is looked whether somebody did something to the recording."""
_MANY = 1 << 14
"""Events given at once: whoever waits for a key waits for those."""


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
        boot = self.recording.manifest.get("boot_id")
        self._here = boot is not None and boot == boot_id()

    def stop(self) -> None:
        super().stop()
        self._follower.close()

    def pause_s(self) -> float:
        return _LOOK_S if self._follower.over else 0.1

    def span_ns(self) -> int | None:
        return 10**9 if self._caught_up and not self._follower.over else None

    def read(self, until_s: float) -> bool:
        now_s = time.monotonic()
        if now_s >= self._look_s:
            self._look_s = now_s + _LOOK_S
            self._trouble = trouble(self.recording, self._follower)
        while not self._follower.over or self._pieces is not None:
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
        """What is new, in pieces that take some milliseconds to count."""
        for name, table in self._follower.step():
            for start in range(0, table.num_rows, _MANY):
                yield name, table.slice(start, _MANY)

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
            wall_ns=book.wall(now_ns),
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
