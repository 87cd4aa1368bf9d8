"""Pages of the tracing ring, as ``trace_pipe_raw`` gives them, cut into events.

Layout: events/header_page and events/header_event in tracefs; kernel/trace/ring_buffer.c
(rb_event_data_length, rb_event_time_stamp, ring_buffer_read_page). A page begins with the time of
its first event (u64) and the bytes in use (u64, with marks for missed events above bit 29). An
event's first word is its type (5 bits) and the time since the one before it (27 bits).
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

HEADER = 16
_MISSED, _MISSED_STORED = 1 << 31, 1 << 30
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


class Missed(NamedTuple):
    """What the marks of some pages say: how often events went missing before one, and how many."""

    gaps: int
    events: int
    """As far as the pages tell."""


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
        told = data | large
        start = place[live] + np.where(large, 8, 4)
        length = np.where(large, more - 4, 4 * kind)
        inside = (total >= 4) & (place[live] + total <= end[live])
        # The rest of a page without events is padding without a time.
        good = inside & ~((kind == _PADDING) & (delta == 0))
        keep = told & good & (length >= _TYPE)
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


def missed(pages: NDArray[np.uint8]) -> Missed:
    """Gaps before these pages; how many events went is stored behind a page's data, if it fits."""
    if not pages.size:
        return Missed(0, 0)
    commit = pages[:, 8:HEADER].copy().view("<u8").ravel()
    gaps = np.flatnonzero(commit & np.uint64(_MISSED))
    count = 0
    for page in gaps[(commit[gaps] & np.uint64(_MISSED_STORED)) != 0]:
        behind = HEADER + (int(commit[page]) & _LENGTH)
        count += int.from_bytes(pages[page, behind : behind + 8].tobytes(), "little")
    return Missed(len(gaps), count)
