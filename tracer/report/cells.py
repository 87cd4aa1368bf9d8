"""Values of table rows as text for people; text of traced programs made harmless."""

import re
from collections.abc import Mapping
from typing import Any

import pandas as pd

from tracer.model.args import describe, seals_text
from tracer.model.bit5 import UNKNOWN
from tracer.model.errnos import MAX_ERRNO, errno_name
from tracer.model.escape import cells as width_of
from tracer.model.escape import clip, printable
from tracer.model.record import Flag

Row = Mapping[str, Any]
"""One row of a table: Python values, None where the table has none."""

_TOKEN = re.compile(r"\\(?:x..|u.{4}|U.{8}|.)|.", re.DOTALL)
"""A character, or what stands for one in escaped text (tracer.model.escape)."""
_ADDRESS_OPS = frozenset({"mmap", "map", "unmap"})
_RETURN_MISSING = int(Flag.RETURN_MISSING)
_MARKS = {
    int(Flag.RACED_SEALS): "raced",
    int(Flag.RACED_SIZE): "raced-size",
    int(Flag.ENTRY_MISSING): "no-entry",
    _RETURN_MISSING: "no-return",
}


def rows(frame: pd.DataFrame, top: int | None = None) -> list[dict[str, Any]]:
    """The first ``top`` rows (all where None) as plain values; nulls of every sort become None.

    Integers that pandas made floats because of a null beside them are integers again.
    """
    part = frame if top is None else frame.head(top)
    names = [str(name) for name in part]
    columns = [
        [None if null else _whole(value) for value, null in zip(values, nulls, strict=True)]
        for values, nulls in (
            (part[name].astype(object).tolist(), part[name].isna().tolist()) for name in part
        )
    ]
    return [dict(zip(names, values, strict=True)) for values in zip(*columns, strict=True)]


def _whole(value: Any) -> Any:
    return int(value) if isinstance(value, float) and value.is_integer() else value


def plain(value: object) -> str:
    """A number with thousands separated, text printable, nothing as ``-``."""
    if value is None:
        return "-"
    if isinstance(value, bool | str):
        return printable(str(value))
    return f"{value:,}" if isinstance(value, int) else printable(str(value))


def number(value: object) -> str:
    """Digits only: process ids are no quantities."""
    return "-" if value is None else str(value)


def size(value: object) -> str:
    """Bytes with a binary unit: ``4K``, ``1.5M``; ``?`` where unknown."""
    if not isinstance(value, int | float) or value != value:
        return "?"
    scaled = float(value)
    for unit in ("", "K", "M", "G", "T", "P"):
        if abs(scaled) < 1024 or unit == "P":
            break
        scaled /= 1024
    shown = f"{scaled:.1f}".removesuffix(".0") if unit else f"{int(scaled)}"
    return f"{shown}{unit}"


def span(ns: object) -> str:
    """A duration with its unit: ``35 µs``, ``1.2 s``; ``-`` where unknown."""
    if not isinstance(ns, int | float) or ns != ns:
        return "-"
    if abs(ns) < 1000:
        return f"{int(ns)} ns"
    for scale, unit in ((1e3, "µs"), (1e6, "ms"), (1e9, "s")):
        if abs(ns) < 1000 * scale or unit == "s":
            return f"{ns / scale:.3g} {unit}" if abs(ns) < 1000 * scale else f"{ns / scale:,.0f} s"
    raise AssertionError("unreachable")


def file(row: Row) -> str:
    """``memfd:name`` of the row's object, ``memfd:0:1/42`` (device, inode) where it has no name."""
    kind, name = row.get("kind"), row.get("name")
    if name is None:
        if row.get("ino") is None or row.get("dev") is None:
            return "-"
        dev = int(row["dev"])
        name = f"{dev >> 20}:{dev & 0xFFFFF}/{row['ino']}"
    elif kind == "unknown" and str(name).startswith("memfd:"):
        return printable(str(name))  # that a refused memfd_create would have made
    elif kind in ("memfd", "hugetlb"):
        name = str(name).removeprefix("memfd:")  # the kernel's prefix, not the maker's
    return printable(f"{kind or '?'}:{name}")


def shortened(text: str, width: int) -> str:
    """At most ``width`` cells of ``text``: its begin, ``…``, and its end, where names differ most.

    No escape sequence is cut apart.
    """
    if width_of(text) <= width:
        return text
    tail: list[str] = []
    room = (width - 1) // 2
    for token in reversed(_TOKEN.findall(text)):
        if width_of(token) > room:
            break
        room -= width_of(token)
        tail.insert(0, token)
    end = "".join(tail)
    return clip(text, width - width_of(end)) + end


def who(row: Row) -> str:
    """``comm/pid``."""
    pid = row.get("pid")
    return f"{printable(str(row.get('comm') or '?'))}/{'?' if pid is None else pid}"


def seals(value: object) -> str:
    """One letter place a seal; ``??????`` where they are unknown."""
    return "??????" if value is None else seals_text(int(str(value)))


def answer(op: str, value: object, flags: int = 0) -> str:
    """What the kernel returned: ``EPERM``, ``ok``, a count, ``?`` where that was not seen."""
    if value is None or flags & _RETURN_MISSING:
        return "?"
    said = int(str(value))
    if -MAX_ERRNO <= said < 0:
        return errno_name(said) or str(said)
    return "ok" if said == 0 or op in _ADDRESS_OPS else str(said)


def asked(row: Row) -> str:
    """What a decision's call asked for, and through which descriptor."""
    arg, offset, length, size = (
        int(row.get(name) or 0) for name in ("arg", "offset", "length", "size")
    )
    bit5 = row.get("bit5", UNKNOWN)
    said = describe(str(row.get("op")), str(row.get("kind")), arg, offset, length, size, bit5)
    fd = row.get("fd")
    shown = [said] if said else []
    return " ".join([*shown, f"fd{fd}"] if fd is not None and fd >= 0 else shown) or "-"


def marks(row: Row) -> str:
    """Why a decision's evidence is incomplete: ``!raced``; mostly empty."""
    flags = int(row.get("flags") or 0)
    return " ".join(f"!{word}" for flag, word in _MARKS.items() if flags & flag)


def detail(row: Row) -> str:
    """What was wrong or right: ``answered ok, expected EPERM: FUTURE_WRITE, rule …``."""
    said = answer(str(row.get("op")), row.get("answer"), int(row.get("flags") or 0))
    expected = plain(row.get("expected"))
    as_expected = "as expected" if said == expected else f"expected {expected}"
    shown = f"answered {said}, {as_expected}"
    shown += f": {plain(row['reason'])}" if row.get("reason") else ""
    shown += f", rule {plain(row['rule'])}" if row.get("rule") else ""
    shown += f", KNOWN HOLE {plain(row['hole'])}" if row.get("hole") else ""
    return f"{shown}, {marks(row)}" if marks(row) else shown
