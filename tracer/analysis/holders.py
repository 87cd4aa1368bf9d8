"""Reads from recordings who held the mappings that F_ADD_SEALS failed for."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from tracer.analysis import load
from tracer.analysis.batch import Array, Batch
from tracer.analysis.frames import concat, stacked
from tracer.analysis.keytable import U64, KeyTable
from tracer.analysis.lifetimes import lifetimes
from tracer.analysis.objects import packed
from tracer.analysis.rollup import halves
from tracer.analysis.source import Source
from tracer.analysis.timeline import with_holders
from tracer.words import Flag, Op

if TYPE_CHECKING:
    from tracer.analysis.snapshot import Tables
    from tracer.recording.reader import Recording

_COLUMNS = ["time_ns", "pid", "comm", "op", "dev", "ino", "gen", "arg", "answer", "length",
            "flags", "mm", "own_mm"]  # fmt: skip


def busy(recordings: "Sequence[Recording]", tables: "Tables") -> pd.DataFrame:
    """F_ADD_SEALS that failed EBUSY, with ``held`` and ``holders`` (timeline.with_holders).

    Reads the map and unmap events of just these objects; nothing where there was no EBUSY.
    """
    found = tables.busy
    events, baselines = [], []
    for recording in recordings if len(found) else ():
        source = Source.of(recording)
        wanted = KeyTable(2)
        wanted.ids(*_key(found[found["boot_id"].astype(str) == source.boot_id]))
        batches = load.batches(
            recording, _COLUMNS, (Op.MAP, Op.UNMAP), source=source, where=_among(wanted)
        )
        events.append(concat(batches, _COLUMNS))
        baselines.append(_baseline(recording, source, wanted))
    if not events:
        return found.assign(held=0, holders="")
    lives = lifetimes(stacked(events), stacked(baselines))
    return with_holders(found, lives)


def _baseline(recording: "Recording", source: Source, wanted: KeyTable) -> pd.DataFrame:
    """What the sweep of /proc at the start found.

    Without a generation an object is the one with this device and inode number.
    """
    dev, gen = halves(wanted.key(1))
    known = pd.DataFrame({"dev": dev, "ino": wanted.key(0), "found": gen})
    rows = load.mappings(recording)
    rows = rows[(rows["flags"].fillna(0).astype("int64") & int(Flag.FINAL)) == 0]
    rows = rows.merge(known, on=["dev", "ino"])
    rows = rows[(rows["gen"] == rows["found"]) | (rows["gen"] == 0)]
    return rows.assign(gen=rows["found"], boot_id=source.boot_id).drop(columns="found")


def _key(frame: pd.DataFrame) -> tuple[U64, U64]:
    dev, ino, gen = (frame[name].to_numpy() for name in ("dev", "ino", "gen"))
    return ino.astype(np.uint64), packed(dev, gen)


def _among(wanted: KeyTable) -> Callable[[Batch], Array]:
    def found(batch: Batch) -> Array:
        key = batch["ino"].astype(np.uint64), packed(batch["dev"], batch["gen"])
        return (wanted.find(*key) >= 0).nonzero()[0]

    return found
