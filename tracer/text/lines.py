"""One event, one line: what ``sealsnoop script`` prints by default.

``  1.234567 writer/4242     mmap       memfd:frame      Ss-w-- SHARED rw- 0+4096 fd3   EPERM``
"""

from collections.abc import Iterator
from functools import lru_cache

import pyarrow as pa

from tracer.model.args import describe, seals_text
from tracer.model.bit5 import Bit5
from tracer.model.errnos import MAX_ERRNO, errno_name
from tracer.model.escape import clip, pad
from tracer.model.words import DOUBTS, Flag
from tracer.text.columns import column
from tracer.text.names import Names

DEFAULT_WIDTH = 100
MIN_WIDTH = 60

_ADDRESS_OPS = frozenset({"mmap", "map", "unmap", "mremap"})
_ARGS = 23  # usual cells of arguments and fd, so that most answers stand below each other
# Plain integers: `&` on an IntFlag costs a microsecond, and there are millions of rows.
_MARKS = {
    int(flag): f" !{word}" if flag in DOUBTS else f" {word}"
    for flag, word in (
        (Flag.RACED_SEALS, "raced"),
        (Flag.RACED_SIZE, "raced-size"),
        (Flag.ENTRY_MISSING, "no-entry"),
        (Flag.RETURN_MISSING, "no-return"),
        (Flag.OTHER_MM, "other-mm"),
        (Flag.KERNEL_TASK, "kernel"),
        (Flag.COMPAT, "compat"),
        (Flag.FINAL, "final"),
        (Flag.APPEND_ONLY, "append-only"),
        (Flag.IMMUTABLE, "immutable"),
    )
}
_RETURN_MISSING = int(Flag.RETURN_MISSING)
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


def _answer(op: str, answer: int, flags: int) -> str:
    if flags & _RETURN_MISSING:
        return "= ?"
    if -MAX_ERRNO <= answer < 0:
        return errno_name(answer) or ""
    return f"= {answer:#x}" if op in _ADDRESS_OPS else f"= {answer}"


@lru_cache(maxsize=4096)
def _marks(failed: int, flags: int, check: int, file: int) -> str:
    shown = [word for flag, word in _MARKS.items() if flags & flag]
    # An inner answer is worth the room only where the call then said something else.
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
        self, names: Names, start_ns: int | None, bit5: Bit5, width: int = DEFAULT_WIDTH
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
        shown = f"{dev >> 20}:{dev & 0xFFFFF}/{ino}" if name is None else name
        if kind == "unknown" and shown.startswith("memfd:"):
            kind = "memfd"  # that a refused memfd_create would have made
        if kind in ("memfd", "hugetlb"):
            shown = shown.removeprefix("memfd:")  # the kernel's prefix, not the maker's
        return pad(f"{kind}:{shown}", self._object_width)

    def of(self, table: pa.Table) -> Iterator[str]:
        """The lines of a table, without newline; printable characters only."""
        columns = [column(table, name, missing) for name, missing in _NEEDED.items()]
        dev, ino = column(table, "dev", 0), column(table, "ino", 0)
        if self._start_ns is None and table.num_rows:
            self._start_ns = columns[0][0]
        width, start, bit5 = self._width, self._start_ns or 0, self._bit5
        fixed = self._who_width + self._object_width + 5  # and the spaces between
        rows = zip(*columns, self._names.of(table), dev, ino, strict=True)
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
            asked = describe(op, kind, arg, offset, length, size, bit5)
            if fd >= 0:
                asked = f"{asked} fd{fd}" if asked else f"fd{fd}"
            tail = _answer(op, answer, flags)
            if flags:
                failed = answer if -MAX_ERRNO <= answer < 0 else 0
                tail += _marks(failed, flags, check, file)
            room = max(8, width - used - len(tail) - 1)
            if len(asked) > room:
                asked = clip(asked, room)
            asked = asked.ljust(min(_ARGS, room))
            line = f"{head}{asked} {tail}"
            yield line if used + len(asked) + 1 + len(tail) <= width else clip(line, width)
