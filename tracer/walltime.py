"""Wall-clock time: how it reads, how it is given, and which it was at a moment of the boot clock.

A recording counts ns of its host's boot clock, and holds readings of both clocks now and then
(:class:`WallClock`). People are shown local time (:func:`time_of_day`, :func:`date_and_time`), as
the journal shows it; programs get ISO 8601 in UTC (:func:`iso`), which sorts as text and is the
same on every machine. ``--since`` and ``--until`` take what :func:`moment` reads.
"""

import re
from bisect import bisect_right
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from tracer.errors import UserError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pandas as pd

S = 10**9
_END_NS = 1 << 63
"""In April 2262 a count of nanoseconds ends: later is no time at all, nor is what was before 1970.
No honest recording has such a time."""
_NO_TIME = -_END_NS
"""numpy's and pandas' NaT, as a number."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


# How a time reads


@lru_cache(maxsize=256)
def _local(second: int) -> tuple[str, str]:
    """Date and time of day here."""
    there = datetime.fromtimestamp(second)
    return there.strftime("%Y-%m-%d"), there.strftime("%H:%M:%S")


@lru_cache(maxsize=256)
def _utc(second: int) -> str:
    return datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def _fraction(wall_ns: int, digits: int) -> str:
    """Cut, not rounded: a time never reads as if it were later."""
    return f".{wall_ns % S // 10 ** (9 - digits):0{digits}}" if digits else ""


def time_of_day(wall_ns: int | None, digits: int = 3) -> str:
    """``20:16:33.451``, local time; ``?``: not known. ``digits``: decimals of the second."""
    if wall_ns is None or not 0 <= wall_ns < _END_NS:
        return "?"
    return _local(wall_ns // S)[1] + _fraction(wall_ns, digits)


def date_and_time(wall_ns: int | None, digits: int = 3) -> str:
    """``2026-11-29 20:16:33.451``, local time; ``?``: not known."""
    if wall_ns is None or not 0 <= wall_ns < _END_NS:
        return "?"
    return " ".join(_local(wall_ns // S)) + _fraction(wall_ns, digits)


def date_and_zone(written: str) -> str:
    """``2026-11-29 20:16:33 CET``, local time, of what :func:`iso` wrote."""
    return datetime.fromisoformat(written).astimezone().strftime("%Y-%m-%d %H:%M:%S %Z")


def on_day_of(written: str, other: str | None) -> str:
    """``20:16:33.451208``, local time, of what :func:`iso` wrote; with the date where that is not
    the one of ``other``."""
    here = datetime.fromisoformat(written).astimezone()
    same = other is not None and here.date() == datetime.fromisoformat(other).astimezone().date()
    return here.strftime("%H:%M:%S.%f" if same else "%Y-%m-%d %H:%M:%S.%f")


def iso(wall_ns: int | None, digits: int = 6) -> str | None:
    """``2026-11-29T19:16:33.451208Z``; None: not known."""
    if wall_ns is None or not 0 <= wall_ns < _END_NS:
        return None
    return f"{_utc(wall_ns // S)}{_fraction(wall_ns, digits)}Z"


def isos(times: "npt.NDArray[np.datetime64]") -> list[str | None]:
    """Each of :meth:`WallClock.all_at` as :func:`iso` writes it."""
    import numpy as np

    texts: list[str | None] = np.datetime_as_string(times, unit="us", timezone="UTC").tolist()
    for place in np.flatnonzero(np.isnat(times)).tolist():
        texts[place] = None
    return texts


# Which time it was


class Anchor(NamedTuple):
    """Both clocks read at one moment, in ns: boot clock and Unix time."""

    boot_ns: int
    wall_ns: int


class WallClock:
    """What the wall clock showed on a recording's host, by its readings of both clocks.

    Between two readings the earlier one counts, before the first one that: who has shown a time
    once does not change it when there are more readings. Of one moment the last given counts.
    """

    def __init__(self, anchors: Iterable[tuple[int, int]] = ()) -> None:
        """``anchors``: boot clock and Unix time at one moment each, ns, in any order."""
        self.anchors: list[Anchor] = []
        """In the order of the boot clock."""
        self.extend(anchors)

    def __bool__(self) -> bool:
        return bool(self.anchors)

    def extend(self, anchors: Iterable[tuple[int, int]]) -> None:
        """More readings. Sorted at once: somebody else's recording may have many, in any order."""
        new = dict(anchors)
        if self.anchors and new and min(new) <= self.anchors[-1].boot_ns:
            new = {**dict(self.anchors), **new}
            self.anchors.clear()
        self.anchors += (Anchor(*one) for one in sorted(new.items()))

    @property
    def start_ns(self) -> int | None:
        """Boot clock at the first reading, ns; None: there is none."""
        return self.anchors[0].boot_ns if self.anchors else None

    @property
    def jump_s(self) -> float:
        """By how many seconds the clock was set between readings (largest difference)."""
        offsets = [one.wall_ns - one.boot_ns for one in self.anchors]
        return (max(offsets) - min(offsets)) / S if offsets else 0.0

    def at(self, time_ns: int | None) -> int | None:
        """Unix time at a moment of the boot clock, ns; None: not known."""
        if time_ns is None or not self.anchors:
            return None
        place = bisect_right(self.anchors, time_ns, key=lambda one: one.boot_ns)
        near = self.anchors[max(0, place - 1)]
        return near.wall_ns + time_ns - near.boot_ns

    def all_at(self, times: "npt.NDArray[Any]") -> "npt.NDArray[np.datetime64]":
        """:meth:`at` of each: ``datetime64[ns]``, UTC; NaT where it is not known.

        ``times``: ns of the boot clock.
        """
        import numpy as np

        boots = np.asarray(times).astype(np.int64, copy=False)
        if not self.anchors:
            return np.full(len(boots), np.datetime64("NaT", "ns"))
        # A foreign recording may have any readings, and a sum that no int64 holds is no time. Those
        # that are one come out right though they pass the end of an int64 on the way.
        offsets = [one.wall_ns - one.boot_ns for one in self.anchors]
        offset = np.array([one & (1 << 64) - 1 for one in offsets], np.uint64).view(np.int64)
        some = np.array([-_END_NS < one <= 2 * _END_NS - 1 for one in offsets])
        first = np.array([_bounded(-one) for one in offsets])
        last = np.array([_bounded(_END_NS - 1 - one) for one in offsets])
        starts = np.array([one.boot_ns for one in self.anchors])
        if len(self.anchors) == 1 or not len(boots):
            place: Any = 0
        else:
            place = np.maximum(np.searchsorted(starts, boots, "right") - 1, 0)
        known = some[place] & (boots >= first[place]) & (boots <= last[place])
        walls = np.where(known, boots + offset[place], _NO_TIME)
        found: npt.NDArray[np.datetime64] = walls.view("datetime64[ns]")
        return found

    def column(self, times: "npt.NDArray[Any]") -> "pd.DatetimeIndex":
        """:meth:`all_at` for a column of a DataFrame: ``datetime64[ns, UTC]``."""
        import pandas as pd

        return pd.DatetimeIndex(self.all_at(times)).tz_localize("UTC")

    def boot(self, wall_ns: int) -> int | None:
        """The first moment of the boot clock, ns, at which the clock showed that time or later."""
        if not self.anchors:
            return None
        for here, following in zip(self.anchors, self.anchors[1:], strict=False):
            if wall_ns < here.wall_ns + following.boot_ns - here.boot_ns:
                return self._since(here, wall_ns)
        return self._since(self.anchors[-1], wall_ns)

    def _since(self, anchor: Anchor, wall_ns: int) -> int:
        passed = wall_ns - anchor.wall_ns
        return anchor.boot_ns + (passed if anchor is self.anchors[0] else max(0, passed))


def _bounded(number: int) -> int:
    """As near as an int64 comes."""
    return max(-_END_NS, min(number, _END_NS - 1))


# How a time is given

_COUNT = re.compile(r"([+-]?)(\d+(?:\.\d*)?|\.\d+)\s*(ms|s|min|m|h|d)?(\s+ago)?", re.ASCII)
_UNITS = {
    "ms": 10**6, "s": S, "m": 60 * S, "min": 60 * S, "h": 3600 * S, "d": 86400 * S, None: S,
}  # fmt: skip
_TIME = re.compile(r"(\d{1,2}):(\d{2})(?::(\d{2})(?:[.,](\d{1,9}))?)?", re.ASCII)
_DAY = re.compile(r"(today|yesterday)(?:\s+(\S+))?")
_MONTHS = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]
_JOURNAL = re.compile(rf"({'|'.join(_MONTHS)})\s+(\d{{1,2}})\s+(\S+)", re.ASCII)
_WEEKDAY = re.compile(r"(?:mon|tue|wed|thu|fri|sat|sun)[a-z]*\s+")

FORMS = (
    "03:00, yesterday 03:00, 2026-11-29 03:00 (also with Z or +01:00), Nov 29 03:00:12, 10m ago, "
    "or, by the recording's own clock, 1.5s after its start or -10s before its end"
)
"""What :func:`moment` takes, for messages and help."""


@dataclass(frozen=True)
class Moment:
    """``ns`` from the ``start`` or ``end`` of a recording, of Unix time (``wall``), or of a day."""

    base: Literal["start", "end", "wall", "day"]
    ns: int
    text: str = field(default="", compare=False)
    """As it was given."""


def moment(text: str, option: str) -> Moment:
    """Reads a time of the command line.

    :param text: one of :data:`FORMS`; a time without a zone is local time.
    :param option: is named in the message.
    :raises UserError: it is none of them.
    """
    words = " ".join(text.lower().split())
    try:
        base, ns = _counted(words) or _dated(words)
    except (ValueError, OverflowError, OSError):
        raise UserError(f"{option} {text!r} is not a time; give {FORMS}") from None
    return Moment(base, ns, text)


_Read = tuple[Literal["start", "end", "wall", "day"], int]


def _counted(words: str) -> _Read | None:
    """What counts from somewhere: ``1.5``, ``-10s``, ``10m ago``, ``@1795369690``, ``now``."""
    if words == "now":
        return "wall", _now_ns()
    base = words.startswith("@")
    found = _COUNT.fullmatch(words.removeprefix("@"))
    if not found:
        return None
    sign, number, unit, ago = found.groups()
    if (base and (sign or unit or ago)) or (sign and ago):
        return None
    # Digit by digit: a float holds no nanoseconds of a long time.
    whole, _, part = number.partition(".")
    scale = _UNITS[unit]
    ns = int(whole or 0) * scale + int((part + "0" * 18)[:18]) * scale // 10**18
    if base:
        return "wall", ns
    if ago:
        return "wall", _now_ns() - ns
    return ("end", -ns) if sign == "-" else ("start", ns)


def _dated(words: str) -> _Read:
    """What stands on a clock or in a calendar. ValueError."""
    if _TIME.fullmatch(words):
        return "day", _of_day(words)
    named = _DAY.fullmatch(words)
    if named:
        day = date.today() - timedelta(days=named[1] == "yesterday")
        return "wall", _on(day, _of_day(named[2] or "00:00"))
    listed = _JOURNAL.fullmatch(words)
    if listed:
        month, day_of, at = _MONTHS.index(listed[1]) + 1, int(listed[2]), _of_day(listed[3])
        found = _on(date(date.today().year, month, day_of), at)
        # The journal leaves the year out: nothing in it is of tomorrow.
        if found > _now_ns() + _UNITS["d"]:
            found = _on(date(date.today().year - 1, month, day_of), at)
        return "wall", found
    words = _WEEKDAY.sub("", words, count=1)
    if words.endswith(" utc"):
        words = words.removesuffix(" utc") + "+00:00"
    return "wall", _unix_ns(datetime.fromisoformat(words.upper()))


def _of_day(text: str) -> int:
    """``03:00:12.5`` in ns. ValueError."""
    found = _TIME.fullmatch(text)
    if not found:
        raise ValueError(text)
    hour, minute, second = (int(one or 0) for one in found.groups()[:3])
    time(hour, minute, second)
    return ((hour * 60 + minute) * 60 + second) * S + int((found[4] or "").ljust(9, "0"))


def _on(day: date, of_day_ns: int) -> int:
    """Unix time of a local time of day, ns. OverflowError, OSError."""
    second, rest = divmod(of_day_ns, S)
    clock = time(second // 3600, second // 60 % 60, second % 60)
    return _unix_ns(datetime.combine(day, clock)) + rest


def _unix_ns(when: datetime) -> int:
    return (when.astimezone(UTC) - _EPOCH) // timedelta(microseconds=1) * 1000


def _now_ns() -> int:
    return _unix_ns(datetime.now(UTC))


# A part of a recording


@dataclass(frozen=True)
class Period:
    """What ``--since`` and ``--until`` ask for; None: no limit."""

    since: Moment | None = None
    until: Moment | None = None

    def __bool__(self) -> bool:
        return self.since is not None or self.until is not None

    def limits(
        self,
        path: str,
        clock: WallClock,
        last_ns: Callable[[], int | None],
        tell: Callable[[str], object],
    ) -> tuple[int | None, int | None]:
        """The same for one recording: boot clock, ns; from the first on, before the second.

        :param path: of the recording, for messages.
        :param last_ns: its last moment that is known, boot clock; called where it is needed.
        :param tell: is given a sentence where nothing lies in it, or where times are not certain.
        :raises UserError: it cannot be known.
        """
        if not self:
            return None, None
        start_ns, end_ns = clock.start_ns, last_ns()
        jump_s = clock.jump_s
        bases = {one.base for one in (self.since, self.until) if one is not None}
        if jump_s > 1 and bases & {"wall", "day"}:
            tell(
                f"{path}: the wall clock was set by {jump_s:.0f} s during the recording; "
                "times near that are not certain"
            )
        since_ns = until_ns = None
        if self.since is not None:
            since_ns = _boot_ns(self.since, clock, start_ns, end_ns)
            self._check(since_ns, "--since", path, end_ns)
        if self.until is not None:
            until_ns = _boot_ns(self.until, clock, start_ns, end_ns, since_ns)
            self._check(until_ns, "--until", path, end_ns)
        for one, found in ((self.since, since_ns), (self.until, until_ns)):
            outside = found is not None and not (start_ns or found) <= found <= (end_ns or found)
            if one is not None and one.base == "day" and outside:
                there = date_and_time(clock.at(start_ns), 0), date_and_time(clock.at(end_ns), 0)
                tell(f"{path} has no {one.text.strip()}: it is from {there[0]} to {there[1]}")
        if since_ns is not None and until_ns is not None and since_ns >= until_ns:
            raise UserError("--since is not before --until: nothing lies between them")
        if start_ns is not None and until_ns is not None and until_ns <= start_ns:
            tell(f"{path} started after --until: nothing in it is of that time")
        if end_ns is not None and since_ns is not None and since_ns > end_ns:
            tell(f"{path} ended before --since: nothing in it is of that time")
        return since_ns, until_ns

    @staticmethod
    def _check(found: int | None, option: str, path: str, end_ns: int | None) -> None:
        if found is None and end_ns is not None:
            raise UserError(
                f"{option}: {path} has no clock readings, so that time cannot be found in it; "
                "leave the option out, or count from its end (-10s)"
            )


ALWAYS = Period()


def _boot_ns(
    wanted: Moment,
    clock: WallClock,
    start_ns: int | None,
    end_ns: int | None,
    since_ns: int | None = None,
) -> int | None:
    """A moment in a recording, boot clock, ns; None: the recording does not know.

    A time of day without a date is the last one before the end of the recording; behind
    ``since_ns`` the first one after that.
    """
    if wanted.base == "wall":
        return clock.boot(wanted.ns)
    if wanted.base == "day":
        near = clock.at(end_ns if since_ns is None else since_ns)
        if near is None or not 0 <= near < _END_NS:
            return None
        day = datetime.fromtimestamp(near // S).date()
        tries = [_on(day + timedelta(days=one), wanted.ns) for one in (-2, -1, 0, 1, 2)]
        if since_ns is None:
            return clock.boot(max(one for one in tries if one <= near))
        return clock.boot(min(one for one in tries if one > near))
    base = start_ns if wanted.base == "start" else end_ns
    return None if base is None else base + wanted.ns
