"""Events as lines, as ``sealsnoop script`` prints them: what it reads, and what is missing there.

``17:48:10.396369 writer/42  blocked  mmap  memfd:frame  Ss-w-- SHARED rw- 0+4096 fd3  EPERM  …``
"""

from collections.abc import Collection, Iterable, Iterator
from functools import lru_cache
from typing import TYPE_CHECKING

import pyarrow as pa

from tracer.escape import cells, clip, pad, printable
from tracer.labels import MAX_ERRNO, cause, describe, errno_name, marks, seals_text
from tracer.labels import answer as answer_text
from tracer.output.coverage import loss_sentences, losses
from tracer.output.tables import object_text
from tracer.recording.identity import Identities
from tracer.recording.tables import values
from tracer.walltime import WallClock, date_and_time, time_of_day
from tracer.words import BY_NAME, Bit5, Flag

if TYPE_CHECKING:
    from tracer.recording.reader import Recording


def narration(recording: "Recording", reported: Collection[str] = ()) -> list[str]:
    """Sentences for stderr, empty for a recording that is whole and lost nothing.

    ``reported``: the earlier ones; of these only a loss comes again.
    """
    lost = loss_sentences(losses(recording))
    fresh = [problem for problem in recording.problems if problem not in reported]
    return fresh + lost


MIN_WIDTH = 80
_WIDTH = 100
"""Cells for which columns are as wide as their least."""
_VERDICT = 8
"""Cells: unexplained and indeterminate are rare, and push the others."""
_ARGS = 23  # usual cells of arguments and fd, so that most answers stand below each other
_CHECK_REACHED = int(Flag.CHECK_REACHED)
_FILE_REACHED = int(Flag.FILE_MMAP_REACHED)
_NEEDED: dict[str, object] = {
    "time_ns": 0,
    "comm": "?",
    "pid": 0,
    "op": "?",
    "kind": "",
    "seals": 0,
    "arg": 0,
    "offset": 0,
    "length": 0,
    "size": 0,
    "fd": -1,
    "answer": 0,
    "flags": 0,
    "check_answer": 0,
    "file_answer": 0,
    "vm": 0,
}
_JUDGED = ("verdict", "expected", "reason", "hole")
COLUMNS = [*_NEEDED, "dev", "ino", "gen"]
"""What has to be read from a recording for :meth:`Lines.of`."""


@lru_cache(maxsize=4096)
def _marks(failed: int, flags: int, check: int, file: int) -> str:
    shown = [f" {word}" for word in marks(flags)]
    # An inner answer is worth the room only where the call then returned something else.
    if flags & _CHECK_REACHED and min(check, 0) != failed:
        shown.append(f" !check={errno_name(check) or check}")
    if flags & _FILE_REACHED and min(file, 0) != failed:
        shown.append(f" !file={errno_name(file) or file}")
    return "".join(shown)


@lru_cache(maxsize=4096)
def because(
    op: str, answer: int, verdict: str, expected: str | None, reason: str | None, hole: str | None
) -> str:
    """What a verdict rests on, behind the answer: ``F_SEAL_WRITE``; empty where all is said."""
    if verdict == "error":
        return cause(op, answer)
    names = (reason or "").split("|")
    why = "|".join(f"F_SEAL_{name}" if name in BY_NAME else name for name in names)
    if verdict != "breach":
        return "" if verdict == "allowed" else why
    known = f" (a known hole: {hole})" if hole else ""
    return f"should be {expected}: {why}{known}"


class Lines:
    """Turns event tables (of `tracer.analysis.stream`) into lines.

    ``width``: they have at most so many cells, cut at the ends of columns; None: nothing is cut.
    ``bit5``: what the recorded kernel calls seal 0x20. ``dated``: with the date.
    """

    def __init__(
        self,
        names: Identities,
        clock: WallClock,
        bit5: Bit5,
        width: int | None = None,
        *,
        dated: bool = False,
    ) -> None:
        self._names, self._clock, self._bit5 = names, clock, bit5
        self._width = None if width is None else max(width, MIN_WIDTH)
        spare = 0 if self._width is None else self._width - _WIDTH
        self._digits = 3 if spare < 0 else 6
        self._shown_time = date_and_time if dated else time_of_day
        self._time_width = (20 if dated else 9) + self._digits
        self._who_width = max(10, min(23, 15 + spare // 4))
        self._object_width = max(8, min(80, 16 + spare // 3))
        self._start_ns: int | None = None
        # The same few processes and objects come again and again.
        self._who = lru_cache(maxsize=65536)(self._who_text)
        self._object = lru_cache(maxsize=65536)(self._object_text)

    def header(self) -> str:
        """Names of the columns, as a comment line."""
        head = f"{pad('# time', self._time_width)} {pad('process', self._who_width)} "
        head += f"{pad('verdict', _VERDICT)} {'op':10} {pad('object', self._object_width)} "
        return f"{head}seals  arguments, fd, answer, why"

    def _fitted(self, text: str, width: int) -> str:
        return text.ljust(width) if self._width is None else pad(text, width)

    def _who_text(self, comm: str, pid: int) -> str:
        tail = f"/{pid}"
        comm = comm or "?"
        if self._width is not None:
            comm = clip(comm, self._who_width - len(tail))
        return self._fitted(comm + tail, self._who_width)

    def _object_text(self, kind: str, name: str | None, dev: int, ino: int, vm: int) -> str:
        return self._fitted(object_text(kind, name, dev, ino, vm), self._object_width)

    def _time(self, time_ns: int) -> str:
        """By the wall clock; where the recording never read it, in seconds since the start."""
        wall_ns = self._clock.at(time_ns)
        if wall_ns is not None:
            return self._shown_time(wall_ns, self._digits)
        if self._start_ns is None:
            self._start_ns = time_ns
        micro = (time_ns - self._start_ns) // 1000
        sign = "-" if micro < 0 else ""
        return f"{sign}{abs(micro) // 1_000_000}.{abs(micro) % 1_000_000:06d}"

    def of(self, table: pa.Table) -> Iterator[str]:
        """The lines of a table, without newline; printable characters only."""
        columns = [values(table, name, missing) for name, missing in _NEEDED.items()]
        judged = [values(table, name) for name in _JUDGED]
        dev, ino = values(table, "dev", 0), values(table, "ino", 0)
        width, bit5 = self._width, self._bit5
        rows = zip(*columns, *judged, self._names.names(table), dev, ino, strict=True)
        for (
            time_ns, comm, pid, op, kind, seals, arg, offset, length, size, fd, answer, flags,
            check, file, vm, verdict, expected, reason, hole, name, dev_, ino_,
        ) in rows:  # fmt: skip
            head = (
                f"{self._time(time_ns):>{self._time_width}} {self._who(comm, pid)} "
                f"{verdict or '-':{_VERDICT}} {op:10} {self._object(kind, name, dev_, ino_, vm)} "
                f"{seals_text(seals)} "
            )
            request = describe(op, kind, arg, offset, length, size, bit5)
            if fd >= 0:
                request = f"{request} fd{fd}" if request else f"fd{fd}"
            tail = answer_text(op, answer, flags)
            if flags:
                failed = answer if -MAX_ERRNO <= answer < 0 else 0
                tail += _marks(failed, flags, check, file)
            if verdict and verdict != "allowed":
                why = because(op, answer, verdict, expected, reason, hole)
                tail += f"  {why}" if why else ""
            if width is None:
                yield printable(f"{head}{request.ljust(_ARGS)} {tail}")
                continue
            # Cells, not characters: in one column the answers stand below each other.
            used = cells(head)
            room = max(8, width - used - len(tail) - 1)
            yield clip(
                printable(f"{head}{clip(request, room).ljust(min(_ARGS, room))} {tail}"), width
            )


def limited(tables: Iterable[pa.Table], limit: int | None) -> Iterator[pa.Table]:
    """The first ``limit`` rows of ``tables``; takes no table after they are reached."""
    if limit is None:
        yield from tables
        return
    if limit <= 0:
        return
    for table in tables:
        yield table.slice(0, limit)
        limit -= table.num_rows
        if limit <= 0:
            return
