"""Walks a recording as if it were being recorded: play, hold, step, go to a time, other speeds."""

import os
import re
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tracer.analysis import decisions
from tracer.analysis.batches import Batch
from tracer.errors import UserError
from tracer.live import cells
from tracer.live.book import Book
from tracer.live.cells import VIOLATIONS
from tracer.live.feed import Worker
from tracer.live.snapshot import Now, OnAlert, State
from tracer.recording.reader import ALIVE, KILLED, Recording, tail_tables
from tracer.stacks.recorded import TABLES as STACKS

if TYPE_CHECKING:
    from tracer.audit.policy import Policy

_SMALL = ("objects", "mappings", "losses", "clocks", "cgroups", "tasks", "totals", *STACKS)
_BY_TIME = ("objects", "losses")
_FOREVER = np.iinfo(np.int64).max


class Film:
    """Shows a book one piece after the other; to go back it starts again with another book."""

    def __init__(self, recording: Recording) -> None:
        self._tables: dict[str, pa.Table] = {}
        for name in _SMALL:
            pieces = list(recording.tables(name))
            if pieces:
                table = pa.concat_tables(pieces)
                self._tables[name] = table.sort_by("time_ns") if name in _BY_TIME else table
        with closing(recording.snapshot()) as snapshot:
            self._unfinished = [
                found["events"] for found in tail_tables(snapshot) if "events" in found
            ]

    def start(self, book: Book) -> None:
        """Shows everything from the start, to ``book``, which has seen nothing."""
        self._book = book
        book.pager.refresh()
        self._tail: list[Batch] = []
        self.rows = book.pager.rows
        """Events there are."""
        for table in self._unfinished:
            batch = decisions.batch_of(table, decisions.ALL, book.source, book.comms, self.rows)
            self._tail.append(batch)
            self.rows += len(batch)
        for name in ("clocks", "mappings", "cgroups", "tasks", *STACKS):
            if name in self._tables:
                book.take(name, self._tables[name])
        self._given = dict.fromkeys(_BY_TIME, 0)
        if book.start_ns is None:
            first = self._batch(0)
            book.start_ns = int(first["time_ns"][0]) if first is not None else 0
        self.start_ns: int = book.start_ns
        self.end_ns: int = max(self.start_ns, self._last_ns())
        self.shown_ns: int = self.start_ns
        """The latest event that was shown."""

    def _times(self, name: str) -> npt.NDArray[np.int64]:
        if name not in self._tables:
            return np.empty(0, np.int64)
        return np.asarray(self._tables[name].column("time_ns").to_numpy(), np.int64)

    def _batch(self, row: int) -> Batch | None:
        if row < self._book.pager.rows:
            return self._book.pager.batch(row)
        return next((one for one in self._tail if row <= int(one["row"][-1])), None)

    def _last_ns(self) -> int:
        """The last moment of which something is known."""
        last = self._batch(self.rows - 1)
        times = [] if last is None else [int(last["time_ns"].max())]
        clocks = [self._times(name) for name in ("clocks", "objects")]
        return max([*times, *(int(clock.max()) for clock in clocks if len(clock))], default=0)

    @property
    def over(self) -> bool:
        return self._book.rows >= self.rows

    def show(self, until_ns: int | None, most: int, *, to_violation: bool = False) -> bool:
        """Shows at most ``most`` events before a time (None: any); False: there was none.

        ``to_violation``: none behind the next breach or unexplained denial.
        """
        book = self._book
        if self.over:
            self._finish()
            return False
        batch = self._batch(book.rows)
        if batch is None:  # it cannot be read (problems say so): go on behind it
            book.log.skip(book.pager.span(book.rows)[1] - book.rows)
            return True
        at = book.rows - int(batch["row"][0])
        times = batch["time_ns"][at : at + max(0, most)]
        count = len(times)
        if until_ns is not None:
            # Events stand in the order of arrival, which is not quite that of time.
            late = np.flatnonzero(times > until_ns)
            count = int(late[0]) if len(late) else count
        if not count:
            return False
        piece = batch.take(np.arange(at, at + count))
        self._give("objects", int(piece["time_ns"].max()))
        if to_violation:
            piece = piece.take(np.arange(self._before_violation(piece)))
        book.add(piece)
        self.shown_ns = max(self.shown_ns, int(piece["time_ns"].max()))
        self._give("losses", self.shown_ns)
        return True

    def _before_violation(self, piece: Batch) -> int:
        """How many events until the first violation, itself included."""
        verdicts = self._book.decisions.judge(piece)["verdict"]
        found = np.flatnonzero(np.isin(verdicts, [int(one) for one in VIOLATIONS]))
        return int(found[0]) + 1 if len(found) else len(piece)

    def _give(self, name: str, until_ns: int) -> None:
        """The rows of a small table until a time."""
        first = self._given[name]
        end = int(np.searchsorted(self._times(name), until_ns, "right"))
        if end > first:
            self._book.take(name, self._tables[name].slice(first, end - first))
            self._given[name] = end

    def _finish(self) -> None:
        """The last event was shown: all the rest is known too."""
        if not self._book.is_complete:
            for name in _BY_TIME:
                self._give(name, _FOREVER)
            if "totals" in self._tables:
                self._book.take("totals", self._tables["totals"])
            self._book.complete()


MAX = float("inf")
"""As fast as possible."""
SPEEDS = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, MAX)
_PIECE = 4096
"""Events that are played at once; few enough for a seek to stop where it should."""
_PLACE = re.compile(r"(?:(\d{1,6}):)?(\d{1,12}(?:\.\d{0,9})?)(%?)", re.ASCII)


@dataclass
class _Goal:
    """What has to be reached: a time, a number of events, or of violations."""

    time_ns: int | None = None
    rows: int | None = None
    violations: int = 0


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
    """Plays what is in a recording when it is opened."""

    plays = True

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        speed: float = 1.0,
        playing: bool = True,
        start: str | None = None,
        on_alert: OnAlert | None = None,
        policy: "Policy | None" = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Opens ``path``; StoreError. ``speed``: how many times as fast as it was.

        ``start``: where to start, as :func:`place_of` reads it; UserError. ``clock``: the seconds
        that pass while it plays.
        """
        super().__init__(Recording.open(path), on_alert, policy)
        self._lock = threading.Lock()
        self._playing = playing
        self._speed = speed
        self._goal: _Goal | None = None
        self._restart = False
        self._clock_ns = 0  # of the recording: events up to here are shown
        self._clock = clock
        self._tick_s = clock()
        self._start = start
        if start is not None:
            place_of(start, 0)
        self._film: Film | None = None

    # For the UI thread

    def toggle(self) -> None:
        """Plays, or holds; at the end it starts again."""
        with self._lock:
            self._restart = self._at_end()
            self._playing = self._restart or not self._playing
            self._goal = None
        self._wake.set()

    def step(self) -> None:
        """One event on, and holds."""
        self._aim(_Goal(rows=self._snapshot.now.events + 1))

    def to_violation(self) -> None:
        """To the next breach or unexplained denial, and holds."""
        self._aim(_Goal(violations=self._violations() + 1))

    def faster(self, steps: int) -> None:
        """Another of :data:`SPEEDS`."""
        now = min(self._speed, 1e6)
        at = min(range(len(SPEEDS)), key=lambda place: abs(min(SPEEDS[place], 1e6) - now))
        self._speed = SPEEDS[max(0, min(at + steps, len(SPEEDS) - 1))]
        self._wake.set()

    def seek(self, where: str) -> str:
        """Goes to a place (:func:`place_of`) and goes on from there. UserError."""
        film = self._film
        if film is None:
            raise UserError("the recording is still being opened")
        seconds = place_of(where, (film.end_ns - film.start_ns) / 1e9)
        time_ns = film.start_ns + round(seconds * 1e9)
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

    # In the thread

    def open(self, on_alert: OnAlert | None) -> None:
        super().open(on_alert)
        film = self._film or Film(self.recording)
        film.start(self.book)
        self._clock_ns = film.start_ns
        if self._film is None:
            self._film = film
            self._tick_s = self._clock()
            if self._start is not None:
                self.seek(self._start)

    def _at_end(self) -> bool:
        film = self._film
        return film is not None and film.over and self._clock_ns >= film.end_ns

    def _violations(self) -> int:
        return 0 if self._film is None else int(self.book.watch.counts[list(VIOLATIONS)].sum())

    def read(self, until_s: float) -> bool:
        now_s = self._clock()
        with self._lock:
            if self._restart:
                self._restart = False
                self._start_again()
            goal = self._goal
            playing = self._playing = self._playing and not self._at_end()
        passed_s, self._tick_s = now_s - self._tick_s, now_s
        film = self._film
        assert film is not None
        if goal is not None:
            return self._towards(film, goal, until_s)
        if not playing:
            return False
        if self._speed == MAX:
            more = self._show(film, None, until_s)
            self._clock_ns = film.shown_ns if more else film.end_ns
            return more
        # A stall (a long search, a suspended terminal) is no reason to jump.
        self._clock_ns += round(min(passed_s, 0.5) * self._speed * 1e9)
        return self._show(film, self._clock_ns, until_s)

    def _start_again(self) -> None:
        """From the start: sums cannot be taken back."""
        before = self.book.watch
        self.open(None)
        # Alerts were raised the first time already.
        self.book.watch.resume(self._on_alert, before)

    def _towards(self, film: Film, goal: _Goal, until_s: float) -> bool:
        more = True
        while more and time.monotonic() < until_s:
            if goal.time_ns is not None:
                more = self._show(film, goal.time_ns, until_s)
            elif goal.rows is not None:
                more = film.show(None, goal.rows - self.book.rows)
                more = more and self.book.rows < goal.rows
            else:
                more = film.show(None, _PIECE, to_violation=True)
                more = more and self._violations() < goal.violations
        if more:
            return True
        with self._lock:
            self._goal = None if self._goal is goal else self._goal
        if goal.time_ns is not None:
            self._clock_ns = goal.time_ns
        else:
            self._clock_ns = max(self._clock_ns, film.end_ns if film.over else film.shown_ns)
        return False

    def _show(self, film: Film, time_ns: int | None, until_s: float) -> bool:
        """Shows events up to a time (None: all); True: there are more of them."""
        while time.monotonic() < until_s:
            if not film.show(time_ns, _PIECE):
                return False
        return True

    def moving(self) -> bool:
        return self._playing or self._goal is not None

    def pause_s(self) -> float:
        return 0.05 if self.moving() else 0.5

    def now(self) -> Now:
        film, book = self._film, self.book
        assert film is not None
        now_ns = min(self._clock_ns, film.end_ns)
        length = film.end_ns - film.start_ns
        done = (now_ns - film.start_ns) / length if length else float(film.over)
        return Now(
            state=State.PLAYING if self._playing and not self._at_end() else State.HELD,
            events=book.rows,
            rate=self.rate(),
            lost=book.lost,
            start_ns=film.start_ns,
            now_ns=now_ns,
            wall_ns=book.clock.at(now_ns),
            speed=self._speed,
            share=max(0.0, min(1.0, done)),
        )

    def audit_version(self) -> object:
        return True  # the recording does not change

    def problems(self) -> Sequence[str]:
        found = [*self.recording.problems, self.book.pager.problem]
        return [one for one in dict.fromkeys(found) if one and one not in (ALIVE, KILLED)]
