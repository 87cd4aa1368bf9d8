"""Names of files in little room: one that is cut, and many as one, ``memfd:hole-{0,1,2}``.

Two hundred breaches of one kind are one thing to know. What a row says of its file stays; the names
stand in braces as a shell has them, bounded, with the number of those that had no room.
"""

import re
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from typing import Any

from tracer.escape import cells, clip

MOST_ROWS = 10_000
"""Rows of a table that are looked at; what comes behind them is counted."""
NAMES = 44
"""Cells that the names of one row take at most, if the first of them is not longer."""
_FIRST = 28
_IDENTITY = ("boot_id", "dev", "ino", "gen")

Row = Mapping[str, Any]

_SIGN = re.compile(r"\\(?:x..|u.{4}|U.{8}|.)|.", re.DOTALL)
"""A character, or what stands for one in escaped text (tracer.escape)."""
_TOKEN = re.compile(r"\\(?:x..|u.{4}|U.{8}|.)|\d+|[^\W\d]+|.", re.DOTALL)
"""A sign, or several that make a number or a word."""
_HEX = re.compile(r"[0-9a-fA-F]+")


def shortened(text: str, width: int) -> str:
    """At most ``width`` cells of ``text``: its start, ``…``, and its end, where names differ most.

    No escape sequence is cut apart.
    """
    if cells(text) <= width:
        return text
    tail: list[str] = []
    room = (width - 1) // 2
    for token in reversed(_SIGN.findall(text)):
        if cells(token) > room:
            break
        room -= cells(token)
        tail.insert(0, token)
    end = "".join(tail)
    return clip(text, width - cells(end)) + end


def braces(texts: Sequence[str], most: int = NAMES) -> str:
    """``memfd:a-{0,1,2,+197}`` for the texts of several files.

    :param texts: at least one; equal ones count each.
    :param most: cells.
    """
    different = list(dict.fromkeys(texts))
    if len(different) == 1:
        return different[0] if len(texts) == 1 else f"{different[0]} ({len(texts):,} files)"
    parts = [_TOKEN.findall(text) for text in different]
    head = _common(parts)
    tail = _common([part[head:][::-1] for part in parts])
    start = "".join(parts[0][:head])
    end = "".join(parts[0][len(parts[0]) - tail :])
    room = most - cells(start) - cells(end) - len("{,+999}")
    shown: list[str] = []
    for part in parts:
        middle = "".join(part[head : len(part) - tail])
        if shown and cells(",".join([*shown, middle])) > room:
            break
        shown.append(middle if shown or cells(middle) <= max(room, _FIRST)
                     else shortened(middle, max(room, _FIRST)))  # fmt: skip
    more = len(different) - len(shown)
    text = f"{start}{{{','.join(shown)}{f',+{more:,}' if more else ''}}}{end}"
    return text if len(texts) == len(different) else f"{text} ({len(texts):,} files)"


def _common(parts: Sequence[Sequence[str]]) -> int:
    """How many first tokens all of them share."""
    shortest = min(map(len, parts))
    return next((at for at in range(shortest) if len({part[at] for part in parts}) > 1), shortest)


def _number(found: re.Match[str]) -> str:
    """``#`` for hex digits of which one at least is decimal."""
    return "#" if any(map(str.isdecimal, found[0])) else found[0]


def folded(
    entries: Iterable[Mapping[str, Any]],
    same: Callable[[Row], Hashable],
    file: Callable[[Row], str],
) -> list[dict[str, Any]]:
    """The rows, those that say the same of files with like names as one, where the first stood.

    Names are alike if they differ in numbers alone. A row has the texts of its ``files``, how many
    rows it was (``times``), the sum of their ``count``, the earliest ``first_ns``, and no ``fd`` if
    they differ.

    :param same: what a row says, but for its file.
    :param file: the text of its file.
    """
    found: dict[Hashable, dict[str, Any]] = {}
    seen: set[Hashable] = set()
    for row in entries:
        text = file(row)
        key = (same(row), _HEX.sub(_number, text))
        first = found.setdefault(key, {**row, "files": [], "times": 0})
        if first["times"]:
            if "count" in row:
                first["count"] += row["count"]
                first["first_ns"] = min(first["first_ns"], row["first_ns"])
            if row.get("fd") != first.get("fd"):
                first["fd"] = None
        first["times"] += 1
        one = (key, text, *(row.get(name) for name in _IDENTITY))
        if one not in seen:
            seen.add(one)
            first["files"].append(text)
    return list(found.values())
