"""Which memory file a row is about: from its (dev, ino, gen) to the object, its name, how certain.

An inode number is used again when its file is gone; the generation tells the files apart. Rows of
the kernel's hooks have it. The sweep of /proc cannot always read it and says 0. Such a row is about
the one file of that device and inode number that existed when it was swept: the first of them that
was not gone by then, if it was not created later. Where no such file is known, the row is about a
file of its own, and no other one gets its name.

Every output asks here, so that script, report, audit and view give a file the same name.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tracer.escape import printable
from tracer.record import USER_CPU
from tracer.recording.tables import integers, values
from tracer.words import Flag

Place = tuple[int, int]
"""Device and inode number."""
KEY = ("dev", "ino", "gen")
_ANNOUNCED = {"name": None, "time_ns": 0, "cpu": 0, "create_flags": None}
OBJECT_COLUMNS = (*KEY, *_ANNOUNCED)
"""Of the table ``objects``: what :meth:`Identities.announce` needs."""
SWEEP_COLUMNS = (*KEY, "time_ns", "duration_ns", "flags")
"""Of the table ``mappings``: what :meth:`Identities.sweep` needs."""
EVENT_COLUMNS = (*KEY, "time_ns", "op", "answer")
"""Of the table ``events``: what :meth:`Identities.observe` needs."""


class Certainty(StrEnum):
    EXACT = "exact"
    """The row has a generation."""
    INFERRED = "inferred"
    """The sweep did not know it, and only one file can be meant."""
    UNKNOWN = "unknown"


class Identity(NamedTuple):
    gen: int
    """0 where it is unknown: a file of its own."""
    certainty: Certainty


@dataclass(slots=True)
class Life:
    """When a file with a generation was there, ns of the boot clock."""

    gen: int
    first_ns: int
    """Of anything about it."""
    created_ns: int | None = None
    """None: it was not seen."""
    evicted_ns: int | None = None


def swept(lives: Iterable[Life], start_ns: int, end_ns: int) -> int | None:
    """The generation of the file that was swept, None where it is unknown.

    :param lives: all files of that device and inode number that have a generation.
    :param start_ns: when the sweep first came upon it.
    :param end_ns: when that sweep was over: what was made while it went on may be in it.
    """
    for life in sorted(lives, key=lambda one: (one.first_ns, one.gen)):
        if life.evicted_ns is not None and life.evicted_ns < start_ns:
            continue
        if life.created_ns is None or life.created_ns <= end_ns:
            return life.gen
        return None  # a number is of one file at a time: all others came later
    return None


class Identities:
    """Fed with a recording's tables as they come, in any order."""

    def __init__(self) -> None:
        self._names: dict[tuple[int, int, int], str] = {}
        self._swept: dict[Place, tuple[int, int]] = {}
        """Files without a generation: when the sweep came upon them, and when it was over."""
        self._lives: dict[Place, list[Life]] = {}
        self._own: set[Place] = set()
        """Where the kernel itself says generation 0: nothing is missing there."""
        self._inodes: pa.Array | None = None
        """Of ``_swept``; None: they have changed."""

    @property
    def needs_events(self) -> bool:
        """Whether anything has no generation, so that the rest of the recording decides."""
        return bool(self._swept)

    def announce(self, objects: pa.Table) -> None:
        """Takes rows of the table ``objects``."""
        keys = (values(objects, name, 0) for name in KEY)
        more = (values(objects, name, missing) for name, missing in _ANNOUNCED.items())
        columns = *keys, *more
        for dev, ino, gen, name, when, cpu, flags in zip(*columns, strict=True):
            if name is not None:
                self._names[dev, ino, gen] = printable(name)
            if not gen and cpu == USER_CPU:
                self._sweep((dev, ino), when, when)
            else:
                self._see((dev, ino), gen, when, created=flags is not None)

    def sweep(self, baseline: pa.Table) -> None:
        """Takes rows of the table ``mappings``."""
        columns = (values(baseline, name) for name in SWEEP_COLUMNS)
        for dev, ino, gen, when, took, flags in zip(*columns, strict=True):
            if gen:
                self._see((dev, ino), gen, when)
            elif ino and not flags & Flag.FINAL:
                self._sweep((dev, ino), when, when + took)

    def observe(self, events: pa.Table) -> None:
        """Takes rows of the table ``events``: only those about files that were swept matter."""
        if not self._swept:
            return
        if self._inodes is None:
            self._inodes = integers(np.array([ino for _, ino in self._swept], np.uint64))
        mine = events.filter(pc.is_in(events.column("ino"), value_set=self._inodes))
        if not mine.num_rows:
            return
        op = mine.column("op").cast(pa.string())
        made = pc.and_(pc.equal(op, "create"), pc.greater_equal(mine.column("answer"), 0))
        lives = mine.select([*KEY, "time_ns"]).append_column("created", made)
        lives = lives.append_column("evicted", pc.equal(op, "evict"))
        found = lives.group_by([*KEY, "created", "evicted"]).aggregate([("time_ns", "min")])
        for row in found.to_pylist():
            self._see(
                (row["dev"], row["ino"]), row["gen"], row["time_ns_min"],
                created=row["created"], evicted=row["evicted"],
            )  # fmt: skip

    def _sweep(self, place: Place, start_ns: int, end_ns: int) -> None:
        start, end = self._swept.get(place, (start_ns, end_ns))
        self._swept[place] = min(start, start_ns), max(end, end_ns)
        self._inodes = None

    def _see(
        self, place: Place, gen: int, when: int, *, created: bool = False, evicted: bool = False
    ) -> None:
        if not gen:
            self._own.add(place)
            return
        lives = self._lives.setdefault(place, [])
        life = next((one for one in lives if one.gen == gen), None)
        if life is None:
            life = Life(gen, when)
            lives.append(life)
        life.first_ns = min(life.first_ns, when)
        if created:
            life.created_ns = when if life.created_ns is None else min(life.created_ns, when)
        if evicted:
            life.evicted_ns = max(life.evicted_ns or when, when)

    def of(self, dev: int, ino: int, gen: int, when: int | None = None) -> Identity:
        """The file that a row is about.

        :param when: of a row of the last sweep, which may have come upon another file than the
            first one did.
        """
        place = dev, ino
        if gen or place not in self._swept or place in self._own:
            return Identity(gen, Certainty.EXACT)
        start, end = self._swept[place] if when is None else (when, when)
        found = swept(self._lives.get(place, ()), start, end)
        return Identity(found or 0, Certainty.INFERRED if found else Certainty.UNKNOWN)

    def name(self, dev: int, ino: int, gen: int) -> str | None:
        """The last name that was announced for it, None: none was."""
        found = self._names.get((dev, ino, gen))
        if found is None and gen and (dev, ino) in self._swept and self.of(dev, ino, 0).gen == gen:
            return self._names.get((dev, ino, 0))
        return found

    def names(self, table: pa.Table) -> list[str | None]:
        """The name of each row's object, escaped; None: it was never announced."""
        if "name" in table.column_names:
            return [None if name is None else printable(name) for name in values(table, "name")]
        keys = list(zip(*(values(table, name, 0) for name in KEY), strict=True))
        found = [*map(self._names.get, keys)]
        if self._swept and None in found:
            late = {
                key: self.name(*key)
                for key in {key for key, name in zip(keys, found, strict=True) if name is None}
            }
            found = [late.get(key) if n is None else n for key, n in zip(keys, found, strict=True)]
        return found
