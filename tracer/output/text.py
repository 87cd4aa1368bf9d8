"""Events as lines, as ``sealsnoop script`` prints them: what it reads, and what is missing there.

``  1.234567 writer/4242     mmap       memfd:frame      Ss-w-- SHARED rw- 0+4096 fd3   EPERM``
"""

from collections.abc import Collection, Iterable, Iterator
from functools import lru_cache
from typing import TYPE_CHECKING

import pyarrow as pa

from tracer.escape import clip, pad, printable
from tracer.labels import MAX_ERRNO, describe, errno_name, marks, seals_text
from tracer.labels import answer as answer_text
from tracer.output.coverage import loss_sentences, losses
from tracer.output.tables import object_text
from tracer.recording.identity import (
    EVENT_COLUMNS,
    KEY,
    OBJECT_COLUMNS,
    SWEEP_COLUMNS,
    Identities,
)
from tracer.recording.tables import values
from tracer.words import Bit5, Flag

if TYPE_CHECKING:
    from tracer.recording.reader import Recording


def narration(recording: "Recording", reported: Collection[str] = ()) -> list[str]:
    """Sentences for stderr, empty for a recording that is whole and lost nothing.

    ``reported``: the earlier ones; of these only a loss comes again.
    """
    lost = loss_sentences(losses(recording))
    fresh = [problem for problem in recording.problems if problem not in reported]
    return fresh + lost


DEFAULT_WIDTH = 100
MIN_WIDTH = 60

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
}
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


class Lines:
    """Turns event tables into lines of at most ``width`` cells.

    Times count from ``start_ns`` (boot clock, ns), None: from the first event. ``bit5``: what the
    recorded kernel calls seal 0x20.
    """

    def __init__(
        self, names: Identities, start_ns: int | None, bit5: Bit5, width: int = DEFAULT_WIDTH
    ) -> None:
        self._names = names
        self._start_ns = start_ns
        self._bit5 = bit5
        self._width = max(width, MIN_WIDTH)
        spare = self._width - DEFAULT_WIDTH
        self._who_width = max(10, min(23, 15 + spare // 4))
        self._object_width = max(8, min(80, 16 + spare // 3))
        # The same few processes and objects come again and again.
        self._who = lru_cache(maxsize=65536)(self._who_text)
        self._object = lru_cache(maxsize=65536)(self._object_text)

    def header(self) -> str:
        """Names of the columns, as a comment line."""
        head = f"#{'seconds':>9} {pad('process', self._who_width)} {'op':10} "
        return f"{head}{pad('object', self._object_width)} seals  arguments, fd, answer"

    def _who_text(self, comm: str, pid: int) -> str:
        tail = f"/{pid}"
        return pad(clip(comm or "?", self._who_width - len(tail)) + tail, self._who_width)

    def _object_text(self, kind: str, name: str | None, dev: int, ino: int) -> str:
        return pad(object_text(kind, name, dev, ino), self._object_width)

    def of(self, table: pa.Table) -> Iterator[str]:
        """The lines of a table, without newline; printable characters only."""
        columns = [values(table, name, missing) for name, missing in _NEEDED.items()]
        dev, ino = values(table, "dev", 0), values(table, "ino", 0)
        if self._start_ns is None and table.num_rows:
            self._start_ns = columns[0][0]
        width, start, bit5 = self._width, self._start_ns or 0, self._bit5
        fixed = self._who_width + self._object_width + 5  # and the spaces between
        rows = zip(*columns, self._names.names(table), dev, ino, strict=True)
        for (
            time_ns, comm, pid, op, kind, seals, arg, offset, length, size, fd, answer, flags,
            check, file, name, dev_, ino_,
        ) in rows:  # fmt: skip
            micro = (time_ns - start) // 1000
            sign = "-" if micro < 0 else ""
            seconds = f"{sign}{abs(micro) // 1_000_000}.{abs(micro) % 1_000_000:06d}"
            head = (
                f"{seconds:>10} {self._who(comm, pid)} {op:10} "
                f"{self._object(kind, name, dev_, ino_)} {seals_text(seals)} "
            )
            # Cells, not characters: the padded columns have exactly the cells they should, and
            # everything that follows has one cell a character.
            used = fixed + max(10, len(seconds)) + max(10, len(op)) + len(seals_text(seals))
            request = describe(op, kind, arg, offset, length, size, bit5)
            if fd >= 0:
                request = f"{request} fd{fd}" if request else f"fd{fd}"
            tail = answer_text(op, answer, flags)
            if flags:
                failed = answer if -MAX_ERRNO <= answer < 0 else 0
                tail += _marks(failed, flags, check, file)
            room = max(8, width - used - len(tail) - 1)
            if len(request) > room:
                request = clip(request, room)
            request = request.ljust(min(_ARGS, room))
            line = printable(f"{head}{request} {tail}")
            yield line if used + len(request) + 1 + len(tail) <= width else clip(line, width)


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


_STEP = 65536  # rows turned into Python objects at once


class Feed:
    """Events of ``recording``, now or (``follow``) until it ends; :attr:`names` grows on the way.

    ``columns``: those that are needed, None: all; following gives all in any case.
    """

    def __init__(
        self, recording: "Recording", *, follow: bool = False, columns: list[str] | None = None
    ) -> None:
        self.names = Identities()
        self._recording = recording
        self._follow = follow
        self._columns = columns
        self._in_vain: set[tuple[int, int, int]] = set()
        self._refresh()

    def _refresh(self) -> None:
        for table in self._recording.tables("objects", OBJECT_COLUMNS):
            self.names.announce(table)
        if self.names.needs_events:
            for table in self._recording.tables("mappings", SWEEP_COLUMNS):
                self.names.sweep(table)
            if self._columns is not None:
                self._columns = list(dict.fromkeys([*self._columns, *EVENT_COLUMNS]))

    def _look_for_new(self, table: pa.Table) -> None:
        """An object is announced before its first event, so its name is there already."""
        keys = zip(*(values(table, name, 0) for name in KEY), strict=True)
        names = self.names.names(table)
        unknown = {key for key, name in zip(keys, names, strict=True) if name is None}
        if unknown - self._in_vain:
            self._in_vain |= unknown
            self._refresh()

    @property
    def start_ns(self) -> int | None:
        """The boot clock in ns when the recorder first read its clocks, None: not known."""
        for table in self._recording.tables("clocks", ["time_ns"]):
            if table.num_rows:
                return int(table.column("time_ns")[0].as_py())
        return None

    @property
    def bit5(self) -> Bit5:
        """What the recorded kernel calls seal 0x20."""
        return self._recording.manifest.bit5

    def tables(self) -> Iterator[pa.Table]:
        """Event tables of at most 65536 rows, in the order of arrival. StoreError."""
        if self._follow:
            source = self._recording.follow()
        else:
            source = self._recording.tables("events", self._columns)
        for table in source:
            self.names.observe(table)
            if self._follow:
                self._look_for_new(table)
            for start in range(0, table.num_rows, _STEP):
                yield table.slice(start, _STEP)
