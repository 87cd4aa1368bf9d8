"""Walks a recording as if it were being made: play, hold, step, go to a time, other speeds."""

import os
import re
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tracer.errors import UserError
from tracer.store.reader import Recording
from ui import cells
from ui.feed.protocol import OnAlert
from ui.feed.worker import Worker
from ui.marks import VIOLATIONS
from ui.snapshot import Now, State

if TYPE_CHECKING:
    from tracer.analysis.batch import Batch

MAX = float("inf")
"""As fast as possible."""
SPEEDS = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, MAX)
_PIECE = 4096
"""Events that are played at once; few enough for a seek to stop where it should."""
_PLACE = re.compile(r"(?:(\d{1,6}):)?(\d{1,12}(?:\.\d{0,9})?)(%?)", re.ASCII)


@dataclass
class _Goal:
    """What has to be reached before the replay holds."""

    time_ns: int | None = None
    rows: int | None = None
    violation: bool = False


def place_of(text: str, seconds: float) -> float:
    """Seconds since the start for ``12.5``, ``1:30`` or ``40%``. UserError."""
    found = _PLACE.fullmatch(text.strip())
    if found is None or (found[1] and found[3]):
        raise UserError(f"{text!r} is no place: give seconds (12.5), minutes (1:30) or 40%")
    number = float(found[2])
    if found[3]:
        number = seconds * min(number, 100.0) / 100
    return min(seconds, number + 60 * int(found[1] or 0))


class ReplayFeed(Worker):
    """Plays a recording; it may still be growing, then its end moves on."""

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        speed: float = 1.0,
        playing: bool = True,
        start: str | None = None,
        on_alert: OnAlert | None = None,
    ) -> None:
        """Opens ``path``; StoreError. ``speed``: how many times as fast as it was.

        ``start``: where to begin, as :func:`place_of` reads it; UserError.
        """
        super().__init__(Recording.open(path), on_alert)
        self._lock = threading.Lock()
        self._playing = playing
        self._speed = speed
        self._goal: _Goal | None = None
        self._restart = False
        self._clock_ns = 0  # of the recording: events up to here are shown
        self._played_ns = 0  # the latest event that is shown
        self._tick_s = time.monotonic()
        self._ready = False
        self._first = start
        if start is not None:
            place_of(start, 0)
        self._small: dict[str, pa.Table] = {}
        self._given = 0  # announcements, by their order in time
        self._seen_violations = 0

    # For the UI thread

    def toggle(self) -> None:
        """Plays, or holds; at the end it begins anew."""
        with self._lock:
            if self._ready and self._at_end():
                self._restart = True
                self._playing = True
            else:
                self._playing = not self._playing
            self._goal = None
        self._wake.set()

    def step(self) -> None:
        """One event on, and holds."""
        if self._ready:
            self._aim(_Goal(rows=self.book.rows + 1))

    def to_violation(self) -> None:
        """To the next breach or unexplained denial, and holds."""
        if self._ready:
            self._seen_violations = self._violations()
            self._aim(_Goal(violation=True))

    def faster(self, steps: int) -> None:
        """Another of :data:`SPEEDS`."""
        at = min(range(len(SPEEDS)), key=lambda place: abs(min(SPEEDS[place], 1e6) - self._speed))
        if self._speed == MAX:
            at = len(SPEEDS) - 1
        self._speed = SPEEDS[max(0, min(at + steps, len(SPEEDS) - 1))]
        self._wake.set()

    def seek(self, where: str) -> str:
        """Goes to a place (:func:`place_of`) and goes on from there. UserError."""
        if not self._ready:
            raise UserError("the recording is still being opened")
        seconds = place_of(where, self._length_ns / 1e9)
        time_ns = self._start_ns + round(seconds * 1e9)
        with self._lock:
            self._restart = time_ns < self._clock_ns
            self._goal = _Goal(time_ns=time_ns)
        self._wake.set()
        return f"To {cells.clock(seconds)} s."

    def _aim(self, goal: _Goal) -> None:
        with self._lock:
            self._playing = False
            self._goal = goal
        self._wake.set()

    # What does not change

    def open(self, on_alert: OnAlert | None) -> None:
        super().open(on_alert)
        if not self._ready:
            self._small = self._read_small()
        self._begin()
        if not self._ready:
            self._ready = True
            self._tick_s = time.monotonic()
            if self._first is not None:
                self.seek(self._first)

    def _read_small(self) -> dict[str, pa.Table]:
        """The tables that are small, whole, in the order of time."""
        found = {}
        for name in ("objects", "mappings", "losses", "clocks", "totals"):
            pieces = list(self.recording.tables(name))
            if pieces:
                table = pa.concat_tables(pieces)
                found[name] = table.sort_by("time_ns") if name in ("objects", "losses") else table
        return found

    def _begin(self) -> None:
        """Everything as it was when the recorder began."""
        book = self.book
        book.pager.refresh()
        for name in ("clocks", "mappings"):
            if name in self._small:
                book.take(name, self._small[name])
        self._announced_ns = self._times("objects")
        self._lost_ns = self._times("losses")
        first = book.pager.batch(0)
        self._start_ns = book.start_ns or (int(first["time_ns"][0]) if first is not None else 0)
        book.start_ns = self._start_ns
        self._length_ns = max(0, self._last_ns() - self._start_ns)
        self._clock_ns = self._played_ns = self._start_ns
        self._given = 0
        self._losses_given = 0

    def _times(self, name: str) -> npt.NDArray[np.int64]:
        if name not in self._small:
            return np.empty(0, np.int64)
        return np.asarray(self._small[name].column("time_ns").to_numpy(), np.int64)

    def _last_ns(self) -> int:
        """The last moment of which something is known."""
        pager, last = self.book.pager, self._start_ns
        if pager.rows:
            batch = pager.batch(pager.rows - 1)
            if batch is not None:
                last = max(last, int(batch["time_ns"].max()))
        return max(
            [last, *(int(t.max()) for t in map(self._times, ("clocks", "objects")) if len(t))]
        )

    @property
    def _end_ns(self) -> int:
        return self._start_ns + self._length_ns

    def _all_played(self) -> bool:
        return self.book.rows >= self.book.pager.rows

    def _at_end(self) -> bool:
        return self._all_played() and self._clock_ns >= self._end_ns

    def _violations(self) -> int:
        return int(self.book.counts[list(VIOLATIONS)].sum())

    # In the thread

    def read(self, until_s: float) -> bool:
        now_s = time.monotonic()
        with self._lock:
            if self._restart:
                self._restart = False
                self._anew()
            goal = self._goal
            playing = self._playing
        passed_s, self._tick_s = now_s - self._tick_s, now_s
        if goal is not None:
            return self._towards(goal, until_s)
        if not playing or self._at_end():
            self._playing = playing and not self._at_end()
            return False
        if self._speed == MAX:
            more = self._play(None, until_s)
            self._clock_ns = self._played_ns if more else self._end_ns
            return more
        # A stall (a long search, a suspended terminal) is no reason to jump.
        self._clock_ns += round(min(passed_s, 0.5) * self._speed * 1e9)
        return self._play(self._clock_ns, until_s)

    def _anew(self) -> None:
        """From the start: sums cannot be taken back."""
        self.open(None)
        # Alerts were raised the first time already.
        self.book.quiet(self._on_alert, self._snapshot.alerts)

    def _towards(self, goal: _Goal, until_s: float) -> bool:
        more = True
        while more and time.monotonic() < until_s:
            if goal.time_ns is not None:
                more = self._play(goal.time_ns, until_s)
                if not more:
                    self._clock_ns = goal.time_ns
            elif goal.rows is not None:
                more = self._advance(None, goal.rows - self.book.rows)
                more = more and self.book.rows < goal.rows
            else:
                more = self._advance(None, _PIECE, to_violation=True)
                more = more and self._violations() == self._seen_violations
        if not more:
            with self._lock:
                if self._goal is goal:
                    self._goal = None
            if goal.time_ns is None:
                self._clock_ns = max(self._clock_ns, self._played_ns)
                if self._all_played():
                    self._clock_ns = max(self._clock_ns, self._end_ns)
            return False
        return True

    def _play(self, time_ns: int | None, until_s: float) -> bool:
        """Plays events up to a time (None: all); True: there are more of them."""
        while time.monotonic() < until_s:
            if not self._advance(time_ns, _PIECE):
                return False
        return True

    def _advance(self, time_ns: int | None, most: int, to_violation: bool = False) -> bool:
        """Plays at most ``most`` events before ``time_ns``; False: there was none."""
        book = self.book
        if book.rows >= book.pager.rows:
            self._finish()
            return False
        batch = book.pager.batch(book.rows)
        if batch is None:  # it cannot be read (problems say so): go on behind it
            book.log.skip(book.pager.span(book.rows)[1] - book.rows)
            return True
        at = book.rows - int(batch["row"][0])
        times = batch["time_ns"][at : at + max(0, most)]
        count = len(times)
        if time_ns is not None:
            # Events stand in the order of arrival, which is not quite that of time.
            late = np.flatnonzero(times > time_ns)
            count = int(late[0]) if len(late) else count
        if not count:
            return False
        piece = batch.take(np.arange(at, at + count))
        self._announce(int(piece["time_ns"].max()))
        if to_violation:
            count = self._before_violation(piece)
            piece = piece.take(np.arange(count))
        book.add(piece)
        self._played_ns = max(self._played_ns, int(piece["time_ns"].max()))
        self._lose(self._played_ns)
        return True

    def _before_violation(self, piece: "Batch") -> int:
        """How many events until the first violation, itself included."""
        verdicts = self.book.judging.judged(piece)["verdict"]
        found = np.flatnonzero(np.isin(verdicts, [int(one) for one in VIOLATIONS]))
        return int(found[0]) + 1 if len(found) else len(piece)

    def _announce(self, time_ns: int) -> None:
        """Objects that the kernel side announced until then."""
        end = int(np.searchsorted(self._announced_ns, time_ns, "right"))
        if end > self._given:
            self.book.take("objects", self._small["objects"].slice(self._given, end - self._given))
            self._given = end

    def _lose(self, time_ns: int) -> None:
        end = int(np.searchsorted(self._lost_ns, time_ns, "right"))
        if end > self._losses_given:
            piece = self._small["losses"].slice(self._losses_given, end - self._losses_given)
            self.book.take("losses", piece)
            self._losses_given = end

    def _finish(self) -> None:
        """The last event was played: all the rest is known too."""
        if not self.book.is_complete:
            self._announce(np.iinfo(np.int64).max)
            self._lose(np.iinfo(np.int64).max)
            if "totals" in self._small:
                self.book.take("totals", self._small["totals"])
            self.book.complete()

    def moving(self) -> bool:
        return self._playing or self._goal is not None

    def pause_s(self) -> float:
        return 0.05 if self.moving() and not self._at_end() else 0.5

    def now(self) -> Now:
        book = self.book
        now_ns = min(self._clock_ns, self._end_ns)
        state = State.PLAYING if self._playing and not self._at_end() else State.HELD
        done = (now_ns - self._start_ns) / self._length_ns if self._length_ns else 1.0
        return Now(
            state=state,
            events=book.rows,
            rate=self.rate(),
            lost=book.lost,
            start_ns=self._start_ns,
            now_ns=now_ns,
            wall_ns=book.wall(now_ns),
            speed=self._speed,
            share=max(0.0, min(1.0, done)),
        )

    def problems(self) -> Sequence[str]:
        return list(dict.fromkeys([*self.recording.problems, self.book.pager.problem]))
