"""The memory files of a recording: what announcements, baseline and events tell of each.

Where an object was mapped and when: address ranges from begins, ends and the baseline.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd
import pyarrow as pa

from tracer.audit.events import KEY, Row
from tracer.audit.result import AuditedObject
from tracer.escape import printable
from tracer.labels import SEALS_UNKNOWN, is_writable
from tracer.record import USER_CPU
from tracer.recording.identity import (
    EVENT_COLUMNS,
    OBJECT_COLUMNS,
    SWEEP_COLUMNS,
    Identities,
)
from tracer.words import Flag

Key3 = tuple[int, int, int]


MOST_ROWS = 64
"""Of announcements of one object: whoever wrote the recording may repeat one for ever."""


@dataclass
class Known:
    """One memory file (or, if the kernel used an inode number again, all that had this key)."""

    key: Key3
    kinds: set[str] = field(default_factory=set)
    names: list[tuple[str | None, bool]] = field(default_factory=list)
    """Each announced name, and whether it is complete."""
    owners: set[int | None] = field(default_factory=set)
    cgroups: set[int] = field(default_factory=set)
    rows: list[dict[str, Any]] = field(default_factory=list)
    """Announcements as they are, for ``where``: the first ``MOST_ROWS``."""
    more: bool = False
    """There are others."""
    announced: bool = False
    born: bool = False
    seals: int | None = None
    """All that it was ever seen with; seals are never taken off (mm/memfd.c:memfd_add_seals)."""
    only_seal: bool = False
    """It was seen with F_SEAL_SEAL alone: from then on recorders leave it out."""
    size: int | None = None

    @property
    def kind(self) -> str:
        """The kind, ``unknown`` where none or several were told."""
        told = self.kinds - {"unknown"}
        return next(iter(told)) if len(told) == 1 else "unknown"

    def audited(self) -> AuditedObject:
        """As a finding names it."""
        name = next((name for name, _ in reversed(self.names) if name is not None), None)
        return AuditedObject(*self.key, self.kind, None if name is None else printable(name),
                             self.seals, self.size, self.born)  # fmt: skip


def same_generation(objects: pd.DataFrame, baseline: pd.DataFrame, events: pd.DataFrame) -> None:
    """Gives rows of a sweep of /proc that do not know the generation (0) that of their file."""
    known = Identities()
    known.announce(_arrow(objects, OBJECT_COLUMNS))
    known.sweep(_arrow(baseline, SWEEP_COLUMNS))
    if not known.needs_events:
        return
    known.observe(_arrow(events, EVENT_COLUMNS))
    for table in (objects, baseline):
        for row in table.index[(table["gen"] == 0) & (table["cpu"] == USER_CPU)]:
            dev, ino, when = table.loc[row, ["dev", "ino", "time_ns"]].tolist()
            final = table is baseline and bool(table.loc[[row], "flags"].item() & Flag.FINAL)
            table.at[row, "gen"] = known.of(dev, ino, 0, when if final else None).gen


def _arrow(frame: pd.DataFrame, columns: Sequence[str]) -> pa.Table:
    return pa.Table.from_pandas(frame[[*columns]], preserve_index=False)


def announced(objects: pd.DataFrame, with_rows: bool) -> dict[Key3, Known]:
    """What announcements (table ``objects``) tell; ``with_rows``: some claim has a ``where``."""
    found: dict[Key3, Known] = {}
    for row in _rows(objects):
        one = found.setdefault(_key(row), Known(_key(row)))
        one.announced = True
        one.kinds.add(str(row["kind"]))
        name, complete = row["name"], bool(row["name_complete"])
        told = (None if pd.isna(name) else str(name), complete)
        if one.names[-1:] != [told]:
            one.names.append(told)
        # The scan of /proc leaves mode 0 where it could not look at the file.
        looked = row["cpu"] != USER_CPU or row["mode"]
        one.owners.add(int(row["owner_uid"]) if looked else None)
        one.cgroups.add(int(row["cgroup"]))
        one.born |= not pd.isna(row["create_flags"])
        one.size = int(row["size"]) if looked else one.size
        _seals(one, row["seals"])
        one.more |= len(one.rows) >= MOST_ROWS
        if with_rows and not one.more:
            one.rows.append(row)
    return found


def observed(known: dict[Key3, Known], rows: pd.DataFrame) -> None:
    """Adds what events and baseline tell, and objects that were never announced."""
    rows = rows[rows["ino"] != 0]
    columns = [*KEY, "kind", "seals", "seals_after"]
    for row in _rows(rows[columns].drop_duplicates()):
        one = known.setdefault(_key(row), Known(_key(row)))
        one.kinds.add(str(row["kind"]))
        _seals(one, row["seals"])
        _seals(one, row["seals_after"])
    made = rows[(rows["op"] == "create") & (rows["answer"] >= 0) & (rows["table"] == "events")]
    for row in _rows(made[KEY].drop_duplicates()):
        known[_key(row)].born = True


def _seals(one: Known, seals: Any) -> None:
    if seals != SEALS_UNKNOWN:
        one.seals = (one.seals or 0) | int(seals)
        one.only_seal |= int(seals) == 1


def _key(row: dict[str, Any]) -> Key3:
    return int(row["dev"]), int(row["ino"]), int(row["gen"])


def _rows(found: pd.DataFrame) -> Iterable[dict[str, Any]]:
    names = [str(name) for name in found]
    for values in found.itertuples(index=False, name=None):
        yield dict(zip(names, values, strict=True))


FOREVER = (1 << 63) - 1


def of_exits(found: Sequence[Row]) -> list[Row]:
    """The rows, with mappings of others marked that a task ends as it exits.

    It has given its own address space up then, so that its row cannot tell; but what else it did
    tells which one it was. The last user of an address space may be somebody who only looked into
    it (mm/mmap.c:exit_mmap runs in whoever drops the last reference).
    """
    spaces: dict[tuple[int, int, int], set[int]] = defaultdict(set)
    for row in found:
        if row.own_mm and row.table == "events":
            spaces[row.pid, row.start_ns, row.exec_id].add(row.own_mm)
    return [
        row._replace(flags=row.flags | Flag.OTHER_MM)
        if row.op == "unmap" and not row.own_mm and row.mm
        and row.mm not in spaces.get((row.pid, row.start_ns, row.exec_id), {row.mm})
        else row
        for row in found
    ]  # fmt: skip


@dataclass(slots=True)
class Range:
    """A mapping: addresses from ``start`` to before ``end``, from ``since_ns`` until ``until_ns``.

    ``mm`` is 0 where only the process is known (the baseline).
    """

    row: Row
    """Its begin; where that was not seen, its end."""
    mm: int
    start: int
    end: int
    since_ns: int
    until_ns: int = FOREVER
    begun: bool = True
    """Its begin was seen, or the baseline has it."""
    blurred: bool = False
    """It stands for many, none of which need have been at all of these addresses or times."""

    def meets(self, start: int, end: int, since_ns: int, until_ns: int) -> bool:
        """Whether it shares addresses and time with something, whatever the address space."""
        return (
            self.start < end
            and start < self.end
            and self.since_ns <= until_ns
            and since_ns <= self.until_ns
        )

    @property
    def can_write(self) -> bool:
        """Shared, and it writes or mprotect can make it so (what i_mmap_writable counts)."""
        return is_writable(self.row.arg)


def ranges(found: Iterable[Row]) -> list[Range]:
    """The mappings of one object; ``found`` are its events and baseline in the order of time."""
    live: dict[tuple[int, int], Range] = {}
    done: list[Range] = []
    for row in found:
        if row.op == "evict":
            for one in live.values():
                one.until_ns = row.time_ns
            done += live.values()
            live = {}
        if row.op not in ("map", "unmap"):
            continue
        if row.blurred:
            if row.op == "map":
                done.append(_many(row))
            continue
        mm = row.mm
        by_mm, by_pid = (mm or -row.pid, row.address), (-row.pid, row.address)
        new = Range(row, mm, row.address, row.address + row.length, row.time_ns)
        if row.op == "map":
            known = live.get(by_mm) or live.get(by_pid)
            if row.table == "mappings" and known is not None:
                continue  # the baseline tells what events told already
            if row.baseline:
                new.since_ns = 0
            if by_mm in live:
                done.append(live[by_mm])
            live[by_mm] = new
            continue
        before = live.pop(by_mm, None) or live.pop(by_pid, None)
        if before is None:
            before = new
            before.begun, before.since_ns = False, 0
        before.until_ns = row.time_ns
        done.append(before)
    return done + list(live.values())


def _many(row: Row) -> Range:
    end = row.address + row.length
    return Range(row, row.mm, row.address, end, row.time_ns, row.last_ns, blurred=True)
