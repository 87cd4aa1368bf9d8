"""``--since`` and ``--until``: a moment in words, and the boot-clock time it means."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from tracer.errors import UserError

_SECONDS = re.compile(r"([+-]?)(\d+(?:\.\d*)?|\.\d+)\s*(ms|s|m|h)?")
_UNITS = {"ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9, None: 10**9}

FORMS = (
    "seconds since the start (1.5, +2s, 3m), before the end (-10s) or a time (2026-11-22T17:48:10)"
)


@dataclass(frozen=True)
class Moment:
    """``ns`` from the ``start`` or ``end`` of a recording, or of the ``wall`` clock (Unix time)."""

    base: Literal["start", "end", "wall"]
    ns: int
    text: str = field(default="", compare=False)
    """As it was given."""


@dataclass(frozen=True)
class Anchor:
    """Both clocks read at one moment, in ns: boot clock and Unix time."""

    boot_ns: int
    wall_ns: int


def moment(text: str, option: str) -> Moment:
    """Reads a time of the command line.

    :param text: one of :data:`FORMS`; a wall-clock time without an offset is local time.
    :param option: is named in the message.
    :raises UserError: it is none of them (exit code 2).
    """
    words = text.strip()
    found = _SECONDS.fullmatch(words)
    if found:
        sign, number, unit = found.groups()
        # Digit by digit: a float holds no nanoseconds of a long time.
        whole, _, part = number.partition(".")
        scale = _UNITS[unit]
        ns = int(whole or 0) * scale + int((part + "0" * 18)[:18]) * scale // 10**18
        return Moment("end", -ns, text) if sign == "-" else Moment("start", ns, text)
    try:
        when = datetime.fromisoformat(words).astimezone()
    except (ValueError, OverflowError, OSError):
        raise UserError(f"{option} {text!r}: no moment; give {FORMS}", 2) from None
    return Moment("wall", int(when.timestamp()) * 10**9 + when.microsecond * 1000, text)


def boot_ns(
    wanted: Moment, anchors: Sequence[Anchor], start_ns: int | None, end_ns: int | None
) -> int | None:
    """The boot-clock time of a moment in a recording, ns; None: the recording does not know.

    For a wall-clock time the nearest anchor counts: the clock may have been set in between.

    :param anchors: both clocks, as the recorder read them.
    :param start_ns: when the recording started, boot clock; None: not known.
    :param end_ns: its last moment that is known, boot clock.
    """
    if wanted.base == "wall":
        if not anchors:
            return None
        near = min(anchors, key=lambda anchor: abs(anchor.wall_ns - wanted.ns))
        return near.boot_ns + wanted.ns - near.wall_ns
    base = start_ns if wanted.base == "start" else end_ns
    return None if base is None else base + wanted.ns


def wall_jump_s(anchors: Sequence[Anchor]) -> float:
    """By how many seconds the wall clock was set during a recording (largest difference)."""
    offsets = [anchor.wall_ns - anchor.boot_ns for anchor in anchors]
    return (max(offsets) - min(offsets)) / 1e9 if offsets else 0.0
