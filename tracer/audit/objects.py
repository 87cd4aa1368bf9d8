"""The memory files of a recording: what announcements, baseline and events tell of each."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from tracer.audit.events import KEY
from tracer.audit.results import AuditedObject
from tracer.model.args import SEALS_UNKNOWN
from tracer.model.escape import printable
from tracer.model.record import USER_CPU

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


def same_generation(objects: pd.DataFrame, *frames: pd.DataFrame) -> None:
    """Gives rows of the baseline that do not know the generation (0) that of the same inode.

    Where the same inode number was used by several files meanwhile, the baseline's is the first.
    """
    tables = [objects, *frames]
    if not any(((table["gen"] == 0) & (table["cpu"] == USER_CPU)).any() for table in tables):
        return
    known: dict[tuple[int, int], tuple[int, int]] = {}
    for table in tables:
        there = table[table["gen"] != 0]
        first = there.sort_values("time_ns", kind="stable").drop_duplicates(["dev", "ino"])
        for dev, ino, gen, when in first[["dev", "ino", "gen", "time_ns"]].itertuples(index=False):
            if (dev, ino) not in known or when < known[dev, ino][1]:
                known[dev, ino] = (gen, when)
    for table in tables:
        which = (table["gen"] == 0) & (table["cpu"] == USER_CPU)
        for row in table.index[which]:
            dev, ino = table.loc[row, ["dev", "ino"]].tolist()
            if found := known.get((dev, ino)):
                table.at[row, "gen"] = found[0]


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
