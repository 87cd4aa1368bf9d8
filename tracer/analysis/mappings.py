"""Mappings of memory files: which exist now, and when each of them began and ended.

A mapping is known by object, address space and address. The baseline (read from /proc while events
already came) has no address space but a process id; as soon as events tell anything of the same
process and address they count instead of it, so nothing is counted twice.
"""

import numpy as np
import pandas as pd

from tracer.analysis.grouping import BEFORE, NEVER, Array, Codes
from tracer.analysis.sums import Sums, writable
from tracer.words import Flag

# Which exist now


def live(sums: Sums, evicted_ns: Array, same_as: Codes) -> tuple[Codes, Codes]:
    """For each object: its mappings, and those of them that are writable.

    ``evicted_ns``: when each object ended; ``same_as``: as tracer.analysis.objects.all_known.
    """
    held: list[Array] = []
    flags: list[Array] = []
    for maps, there in (
        (sums["maps"], sums["maps"]["live"]),
        (sums["baseline"], ~sums.over()),
    ):
        of = same_as[maps["object"]]
        stay = there & (maps["when"] > evicted_ns[of])
        held.append(of[stay])
        flags.append(maps["arg"][stay])
    found = np.concatenate(held)
    writes = found[writable(np.concatenate(flags))]
    return np.bincount(found, minlength=len(same_as)), np.bincount(writes, minlength=len(same_as))


# Their lives

KEY = ["boot_id", "dev", "ino", "gen"]
MAPPED = ["time_ns", "pid", "comm", "op", "dev", "ino", "gen", "arg", "answer", "offset", "length",
          "flags", "mm", "own_mm"]  # fmt: skip
"""What the life of a mapping takes of the columns of events and of the baseline."""
_MAPPING = [*KEY, "mm", "answer"]
LIFE = [*KEY, "pid", "comm", "forked", "address", "offset", "length", "arg", "writable",
        "begin_ns", "end_ns"]  # fmt: skip


def lifetimes(events: pd.DataFrame, baseline: pd.DataFrame) -> pd.DataFrame:
    """One row a mapping.

    ``events`` (op ``map`` and ``unmap``; others are ignored) and ``baseline`` (table ``mappings``,
    each row with the generation of the object that it is about) have the columns of a recording
    plus ``boot_id``. ``begin_ns``: :data:`BEFORE` where it began
    before the trace or its begin was lost; ``end_ns``: :data:`NEVER` while it lasts. ``pid`` and
    ``comm``: whose it is; ``forked``: only its parent's process id is known (a fork is told by the
    parent, and the child has done nothing since). ``writable``: shared, and written through or
    able to be.
    """
    rows = events[events["op"].isin(["map", "unmap"])]
    pieces = [_told(rows), _silent(baseline, rows)]
    # Not those without rows: an older pandas warns that it will look at their types, too.
    return pd.concat([one for one in pieces if len(one)] or pieces[:1], ignore_index=True)[LIFE]


def _told(rows: pd.DataFrame) -> pd.DataFrame:
    rows = rows.assign(order=np.arange(len(rows)))
    rows = rows.sort_values([*_MAPPING, "time_ns", "order"], kind="stable", ignore_index=True)
    begins = (rows["op"] == "map").to_numpy()
    which = rows.groupby(_MAPPING, sort=False, observed=True).ngroup().to_numpy()
    same_before = np.append(False, which[1:] == which[:-1])
    same_after = np.append(which[1:] == which[:-1], False)
    times = rows["time_ns"].to_numpy()
    # A mapping ends with its unmap, or, where that was lost, when another begins in its place.
    ends = np.where(same_after, np.append(times[1:], 0), NEVER)
    # An unmap that nothing came before ends what began before the trace.
    orphan = ~begins & ~(same_before & np.append(False, begins[:-1]))
    rows = rows.assign(
        begin_ns=np.where(begins, times, BEFORE),
        end_ns=np.where(begins, ends, times),
        address=rows["answer"],
        writable=writable(rows["arg"].to_numpy(np.uint64)),
    )
    found: pd.DataFrame = _owned(rows).loc[begins | orphan]
    return found


def _owned(rows: pd.DataFrame) -> pd.DataFrame:
    """Whose address space it is: best told by its own doings, then by who took it down.

    A task that exits has none of its own any more, and may be the last user of another's.
    """
    other = (rows["flags"].to_numpy(np.uint32) & np.uint32(Flag.OTHER_MM)) != 0
    own = (rows["own_mm"] == rows["mm"]).to_numpy()
    trust = np.where(other, np.where(rows["op"] == "unmap", 1, 0), np.where(own, 3, 2))
    best = rows.assign(trust=trust).sort_values(["trust", "time_ns"], kind="stable")
    best = best.drop_duplicates(["boot_id", "mm"], keep="last")[
        ["boot_id", "mm", "pid", "comm", "trust"]
    ]
    owned = rows.drop(columns=["pid", "comm"]).merge(best, on=["boot_id", "mm"], how="left")
    return owned.assign(forked=owned["trust"] == 0)


def _silent(baseline: pd.DataFrame, events: pd.DataFrame) -> pd.DataFrame:
    """Mappings of the baseline about whose process and address no event says anything."""
    key = ["boot_id", "pid", "answer"]
    known = pd.MultiIndex.from_frame(events.loc[~_forks(events), key])
    rows = baseline[baseline["op"] == "map"].drop_duplicates([*KEY, "pid", "answer"])
    silent: Array = ~pd.MultiIndex.from_frame(rows[key]).isin(known)
    rows = rows[silent]
    return rows.assign(
        address=rows["answer"],
        forked=False,
        writable=writable(rows["arg"].to_numpy(np.uint64)),
        begin_ns=BEFORE,
        end_ns=NEVER,
    )


def _forks(rows: pd.DataFrame) -> Array:
    """A fork is told by the parent, about an address space that is not its own."""
    other = (rows["flags"].to_numpy(np.uint32) & np.uint32(Flag.OTHER_MM)) != 0
    forks: Array = other & (rows["op"] == "map").to_numpy()
    return forks
