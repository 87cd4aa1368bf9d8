"""What the tracing ring gives: event formats as numpy dtypes, and pages cut into events.

Formats are those of ``events/GROUP/EVENT/format``, pages as ``trace_pipe_raw`` gives them.

Layout: events/header_page and events/header_event in tracefs; kernel/trace/ring_buffer.c
(rb_event_data_length, rb_event_time_stamp, ring_buffer_read_page). A page begins with the time of
its first event (u64) and the bytes in use (u64, with marks for missed events above bit 29). An
event's first word is its type (5 bits) and the time since the one before it (27 bits).
"""

import re
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.void]
"""Of `tracer.capture.ftrace.decode.ROW`, or another dtype with named fields."""


class What(IntEnum):
    """What an event tells."""

    NONE = 0
    ENTRY = 1
    RETURN = 2
    CHECK = 3
    """The return of a seal check inside a call."""
    FILE_MMAP = 4
    CHUNK = 5
    """The entry of a write's seal check, where the inode is locked."""
    INSTALL = 6
    """A descriptor gets its file."""
    FACT = 7
    """Something that has no return: map, unmap, evict, convert."""
    NEWTASK = 8
    EXIT = 9
    CREDS = 10
    CGROUP = 11
    EXEC = 12
    """A process has become another program."""
    IN_HAND = 13
    """An execve has one of its files open."""
    EXECUTED = 14
    """It returns."""
    CONVERT = 15
    """Guest memory is to become private, or shared: told by KVM's own tracepoint."""


_ID = re.compile(r"^ID: (\d+)$", re.M)
_FIELD = re.compile(r"^\tfield:([^;]+);\toffset:(\d+);\tsize:(\d+);\tsigned:([01]);$", re.M)
_NAME = re.compile(r"(\w+)(\[\d*\])?$")
_WORD = 8


@dataclass(frozen=True, slots=True)
class Format:
    """One event's number in the ring and its fixed part. A string is a u4: length << 16 | place."""

    number: int
    dtype: np.dtype[Any]


def _field_type(declared: str, array: str | None, size: int, signed: bool) -> np.dtype[Any]:
    if declared.startswith("__data_loc"):
        return np.dtype("<u4")
    if array is not None:
        if declared.startswith("char"):
            return np.dtype(f"V{size}")
        return np.dtype(("<u8", (size // _WORD,)))
    return np.dtype(f"<{'i' if signed else 'u'}{size}")


def parse(text: str) -> Format:
    """A format file's text. ValueError where it is none.

    Arrays are of 64-bit words, or of characters, as all are that we ask for.
    """
    number = _ID.search(text)
    names, formats, offsets, end = [], [], [], 0
    for declared, offset, size, signed in _FIELD.findall(text):
        found = _NAME.search(declared)
        if found is None:
            raise ValueError(f"no name in the field {declared!r}")
        names.append(found[1])
        formats.append(_field_type(declared, found[2], int(size), signed == "1"))
        offsets.append(int(offset))
        end = max(end, int(offset) + int(size))
    if number is None or not names:
        raise ValueError("not the format of an event")
    layout = {"names": names, "formats": formats, "offsets": offsets, "itemsize": end}
    return Format(int(number[1]), np.dtype(layout))  # type: ignore[call-overload]


def page_size(header: str) -> int:
    """Bytes of a page of the ring by ``events/header_page``. ValueError: of an unknown layout."""
    fields = {
        found[1]: (int(offset), int(size))
        for declared, offset, size, _ in _FIELD.findall(header)
        if (found := _NAME.search(declared))
    }
    if fields.get("timestamp") != (0, 8) or fields.get("commit") != (8, 8) or "data" not in fields:
        raise ValueError("the ring's pages have a layout that sealsnoop does not know")
    return sum(fields["data"])


def strings(raw: NDArray[np.uint8], starts: NDArray[np.int64], where: Any, width: int) -> Any:
    """The strings of a ``__data_loc`` field as ``V{width}``, cut there, NUL behind the end.

    ``raw``: all pages; ``starts``: where each event begins in it; ``where``: the field.
    """
    begin = starts + (where & 0xFFFF).astype(np.int64)
    length = (where >> 16).astype(np.int64)
    place = np.arange(width)
    index = np.minimum(begin[:, None] + place, len(raw) - 1)
    text = raw[index]
    text[place >= length[:, None]] = 0
    ended = np.maximum.accumulate(text == 0, axis=1)
    text[ended] = 0
    return np.ascontiguousarray(text).view(f"V{width}").ravel()


HEADER = 16
_MISSED = 1 << 31
_LENGTH = (1 << 20) - 1  # include/linux/ring_buffer.h: the rest of the word is marks
_MOST_WORDS = 28
_TYPE = 2  # an event's data begin with the number of its type (struct trace_entry)
_PADDING, _TIME_EXTEND, _TIME_STAMP = 29, 30, 31
_TIME_BITS = 27
_TIME_STAMP_TOP = np.uint64(0xF8 << 56)  # rb_fix_abs_ts: an absolute time has 59 bits

Ints = NDArray[np.int64]


class Events(NamedTuple):
    """Events of some pages, page by page in the order of each page."""

    page: Ints
    start: Ints
    """Where the event's data begin, in bytes from the first page's begin."""
    length: Ints
    time_ns: NDArray[np.uint64]


def cut(pages: NDArray[np.uint8]) -> Events:
    """All events in ``pages`` (shape: pages, bytes of a page). Steps through all pages at once."""
    count, size = pages.shape if pages.size else (0, HEADER)
    words = pages.reshape(-1).view("<u4")
    heads = pages[:, :HEADER].copy().view("<u8") if count else np.zeros((0, 2), "<u8")
    base = np.arange(count, dtype=np.int64) * size
    time = heads[:, 0].copy()
    place = base + HEADER
    end = np.minimum(place + (heads[:, 1] & np.uint64(_LENGTH)).astype(np.int64), base + size)
    live = np.flatnonzero(place + 4 <= end)
    found: list[tuple[Ints, Ints, Ints, NDArray[np.uint64]]] = []
    while len(live):
        at = place[live] // 4
        head = words[at].astype(np.int64)
        kind, delta = head & 31, head >> 5
        more = words[np.minimum(at + 1, len(words) - 1)].astype(np.int64)
        data = (kind > 0) & (kind <= _MOST_WORDS)
        large = kind == 0
        extend, stamp = kind == _TIME_EXTEND, kind == _TIME_STAMP
        long = (more << _TIME_BITS) + delta
        total = np.where(data, 4 + 4 * kind, np.where(extend | stamp, 8, 4 + more))
        step = np.where(extend, long, np.where(stamp, 0, delta)).astype(np.uint64)
        now = time[live] + step
        now[stamp] = long[stamp].astype(np.uint64) | (now[stamp] & _TIME_STAMP_TOP)
        time[live] = now
        events = data | large
        start = place[live] + np.where(large, 8, 4)
        length = np.where(large, more - 4, 4 * kind)
        inside = (total >= 4) & (place[live] + total <= end[live])
        # The rest of a page without events is padding without a time.
        good = inside & ~((kind == _PADDING) & (delta == 0))
        keep = events & good & (length >= _TYPE)
        found.append((live[keep], start[keep], length[keep], now[keep]))
        place[live] += total
        live = live[good & (place[live] + 4 <= end[live])]
    if not found:
        nothing = np.zeros(0, np.int64)
        return Events(nothing, nothing, nothing, np.zeros(0, np.uint64))
    page, start, length = (np.concatenate([one[part] for one in found]) for part in range(3))
    time = np.concatenate([one[3] for one in found])
    order = np.lexsort((start, page))
    return Events(page[order], start[order], length[order], time[order])


def has_gaps(pages: NDArray[np.uint8]) -> bool:
    """Whether a mark says that events before one of these pages went missing."""
    commit = pages[:, 8:HEADER].copy().view("<u8") if pages.size else np.zeros(0, "<u8")
    return bool((commit & np.uint64(_MISSED)).any())
