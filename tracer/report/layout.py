"""Which columns people see of each table, in which order, and which go first for lack of room."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import pandas as pd

from tracer.model.bit5 import UNKNOWN, Bit5
from tracer.model.seals import names
from tracer.report import cells
from tracer.report.cells import Row
from tracer.report.columns import Column, derived, phrase, seconds, value, verdicts
from tracer.report.model import Coverage

TITLES = {
    "object": "Memory files",
    "fd": "File descriptors",
    "process": "Processes",
    "op": "Operations",
    "rule": "Rules and reasons",
    "late": "Late seals: others could have written before",
    "busy": "F_ADD_SEALS that failed EBUSY, and who held writable mappings",
    "seals": "Seals over time",
}
"""Headings by table."""


def _last(row: Row) -> str:
    op = row.get("last_op")
    if op is None:
        return "-"
    return f"{cells.plain(op)} {cells.answer(str(op), row.get('last_answer'))}"


def _holders(row: Row) -> str:
    # Without a mapping the seal was refused for pages that somebody holds.
    if not row.get("writable"):
        return cells.plain(row.get("holders") or "pages pinned")
    seen = "not seen: record the whole host" if row.get("narrowed") else "not seen"
    return cells.plain(row.get("holders") or seen)


def _added(row: Row) -> str:
    return names(int(row.get("added") or 0), row.get("bit5", UNKNOWN))


def _times(count: object) -> str:
    return f"{count:,}x" if isinstance(count, int) else "?"


_FILE = replace(derived("file", cells.file, least=26), cut=cells.shortened)
_WHO = derived("process", cells.who)
ASKED = derived("asked", cells.asked, rank=2, least=0)
"""Whole or not at all; then the sentence below an entry has it."""
_ALL = value("decisions", "all", right=True)
_LAST = derived("last", _last, rank=2, least=0)
_HOST = derived("host", lambda row: cells.plain(row.get("host")), rank=1)

COLUMNS: dict[str, tuple[Column, ...]] = {
    "listed": (
        value("count", "", _times, right=True),
        seconds("first_ns", "s", rank=1),
        _WHO,
        value("op", "op"),
        _FILE,
        value("seals", "seals", cells.seals),
        ASKED,
    ),
    "object": (
        _FILE,
        value("seals", "seals", cells.seals),
        value("size", "size", cells.size, right=True, rank=3),
        value("owner_uid", "owner", cells.number, right=True, rank=7),
        value("processes", "procs", right=True, rank=5),
        value("fds", "fds", right=True, rank=6),
        value("mappings", "maps", right=True, rank=4),
        value("writable", "w-maps", right=True, rank=6),
        *verdicts(),
        _ALL,
        _LAST,
        seconds("last_ns", "last s", rank=8),
        value("age_ns", "age", cells.span, right=True, rank=9),
    ),
    "fd": (
        _WHO,
        value("fd", "fd", cells.number, right=True),
        _FILE,
        *verdicts(),
        _ALL,
        _LAST,
        seconds("first_ns", "first s", rank=4),
        seconds("last_ns", "last s", rank=3),
    ),
    "process": (
        _WHO,
        value("uid", "uid", cells.number, right=True, rank=3),
        value("objects", "files", right=True, rank=4),
        value("fds", "fds", right=True, rank=5),
        *verdicts(),
        _ALL,
        _LAST,
        seconds("first_ns", "first s", rank=6),
        seconds("last_ns", "last s", rank=7),
    ),
    "op": (value("op", "op"), *verdicts(), _ALL),
    "rule": (
        value("verdict", "verdict"),
        value("op", "op"),
        value("expected", "expected"),
        phrase("reason", "reason"),
        phrase("rule", "rule", rank=2),
        phrase("hole", "hole", rank=1),
        _ALL,
    ),
    "late": (
        _FILE,
        seconds("time_ns", "sealed s", rank=1),
        derived("seal", lambda row: cells.plain(row.get("seal")), least=0),
        replace(phrase("why", "why late"), least=24),
        derived("sealed by", cells.who, rank=2),
    ),
    "busy": (
        _FILE,
        seconds("time_ns", "s", rank=1),
        derived("asked for", _added, least=0),
        derived("asked by", cells.who, rank=3),
        value("writable", "writable", right=True, rank=2),
        derived("held by", _holders),
    ),
    "seals": (
        _FILE,
        seconds("time_ns", "s", rank=1),
        value("op", "op"),
        value("seals", "before", cells.seals),
        value("seals_after", "after", cells.seals),
        derived("by", cells.who),
    ),
}
"""By table name."""


def present(frame: pd.DataFrame, table: str, several: bool) -> list[Column]:
    """The columns of ``table`` that say something here: verdicts that occur, host if several."""
    shown = []
    for column in COLUMNS[table]:
        word = column.verdict
        if word is None or (word in frame and bool((frame[word] > 0).any())):
            shown.append(column)
    return [_HOST, *shown] if several else shown


class Boot(NamedTuple):
    """What the rows of one boot have in common."""

    start_ns: int | None
    """Boot-clock time that seconds count from: the begin of its first recording."""
    bit5: Bit5
    """What its kernel calls seal 0x20."""
    narrowed: bool
    """Not the whole host was recorded."""


_UNKNOWN_BOOT = Boot(None, UNKNOWN, False)


def with_boot(found: Sequence[dict[str, Any]], known: Mapping[str, Boot]) -> list[dict[str, Any]]:
    """Rows with ``start_ns`` and ``bit5`` of their own boot."""
    return [row | known.get(str(row.get("boot_id")), _UNKNOWN_BOOT)._asdict() for row in found]


def boots(coverage: Iterable[Coverage]) -> dict[str, Boot]:
    """By boot id; of several recordings of a boot, one may know what another does not."""
    found: dict[str, Boot] = {}
    for one in coverage:
        start_ns, bit5, narrowed = found.get(one.boot_id, _UNKNOWN_BOOT)
        starts = [ns for ns in (start_ns, one.start_ns) if ns is not None]
        bit5 = one.self_test.bit5 if bit5 == UNKNOWN else bit5
        narrowed = narrowed or bool(one.filters)
        found[one.boot_id] = Boot(min(starts, default=None), bit5, narrowed)
    return found
