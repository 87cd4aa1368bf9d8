"""Seals over time: when each object was sealed, whether too late, and who stood in the way.

Every table has ``host``, ``boot_id``, the object's ``kind``, ``name``, ``dev``, ``ino``, ``gen``,
and ``time_ns`` (boot clock), ``pid`` and ``comm`` of the call.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from tracer.analysis.batches import Array, Batch, Source
from tracer.analysis.frames import concat, shown, stacked
from tracer.analysis.grouping import BEFORE, NEVER, Codes, Places
from tracer.analysis.mappings import KEY, MAPPED, lifetimes
from tracer.analysis.sums import is_busy
from tracer.recording.format import TABLES
from tracer.words import Op, Seal, names

if TYPE_CHECKING:
    from tracer.analysis.totals import Tables
    from tracer.recording.reader import Recording

_NO_MORE_WRITES = int(Seal.WRITE | Seal.FUTURE_WRITE)
_SHOWN = 5  # holders by name


class _Sealing:
    """Rows of the table ``sealing`` in the order of time, with the objects that they are about."""

    def __init__(self, tables: "Tables", *, busy: bool = False) -> None:
        sealing, groups = tables.sums["sealing"].columns(), tables.sums["groups"]
        some = (is_busy(sealing) == busy).nonzero()[0]
        some = some[np.lexsort((sealing["rank"][some], sealing["time_ns"][some]))]
        rows = {name: column[some] for name, column in sealing.items()}
        rows |= {name: groups[name][rows["group"]] for name in ("object", "pid", "comm")}
        self.rows = rows
        self.objects = tables.same_as[rows["object"]]
        self.before = np.where(rows["op"] == Op.CREATE, 0, rows["seals"]).astype(np.int64)
        self.added = rows["seals_after"].astype(np.int64) & ~self.before
        self._tables = tables

    def frame(self, some: Array) -> pd.DataFrame:
        """Who did what when."""
        tables, rows = self._tables, {name: column[some] for name, column in self.rows.items()}
        found: dict[str, Any] = {
            **tables.file_columns(self.objects[some]),
            "time_ns": rows["time_ns"],
            "pid": rows["pid"],
            "comm": tables.comms(rows["comm"]),
        }
        return shown(found)


def seals(tables: "Tables") -> pd.DataFrame:
    """See :attr:`tracer.analysis.tables.Tables.seals`."""
    found = _Sealing(tables)
    rows = found.rows
    frame = found.frame(np.arange(len(rows["rank"]))).assign(
        op=np.where(rows["op"] == Op.CREATE, "create", "add_seals"),
        seals=found.before.astype(np.uint32),
        added=found.added.astype(np.uint32),
        seals_after=rows["seals_after"],
    )
    return frame.sort_values(KEY, kind="stable", ignore_index=True)


def late_seals(tables: "Tables") -> pd.DataFrame:
    """See :attr:`tracer.analysis.tables.Tables.late_seals`."""
    found = _Sealing(tables)
    rows = found.rows
    added = (rows["op"] == Op.ADD_SEALS) & ((found.added & _NO_MORE_WRITES) != 0)
    some = np.flatnonzero(added)
    when, objects = rows["time_ns"][some], found.objects[some]
    writable = np.maximum(rows["writable"][some], 0)
    before = tables.objects["mapped_ns"][objects] < when
    others = _others(tables, objects, rows["pid"][some], when)
    late = (writable > 0) | (others > 0)
    some, writable, others = some[late], writable[late], others[late]
    return (
        found.frame(some)
        .assign(
            seal=[names(bits & _NO_MORE_WRITES) for bits in found.added[some].tolist()],
            writable=writable,
            mapped=before[late],
            others=others,
            why=[_why(*both) for both in zip(writable.tolist(), others.tolist(), strict=True)],
        )
        .reset_index(drop=True)
    )


def _others(tables: "Tables", objects: Codes, pids: Array, when: Array) -> Codes:
    """Processes that had to do with an object before ``when``, beside the one that asked."""
    groups = tables.sums["groups"]
    of = tables.same_as[groups["object"]]
    used_ns = np.where(groups["held"], BEFORE, groups["used_ns"])
    some = np.isin(of, objects) & (used_ns != NEVER)
    uses = pd.DataFrame({"object": of, "user": groups["pid"], "first": used_ns})[some]
    used = uses.groupby(["object", "user"], as_index=False)["first"].min()
    asked = pd.DataFrame({"object": objects, "pid": pids, "when": when, "row": range(len(when))})
    both = asked.merge(used, on="object")
    both = both[(both["user"] != both["pid"]) & (both["first"] < both["when"])]
    return np.bincount(both["row"], minlength=len(when))


def _why(writable: int, others: int) -> str:
    parts = []
    if writable:
        parts.append(f"{writable} shared writable mapping{'' if writable == 1 else 's'} then")
    if others:
        parts.append(f"used by {others} other process{'' if others == 1 else 'es'} before")
    return ", ".join(parts)


def busy(tables: "Tables") -> pd.DataFrame:
    """See :attr:`tracer.analysis.tables.Tables.busy`."""
    found = _Sealing(tables, busy=True)
    return found.frame(np.arange(len(found.objects))).assign(
        added=found.rows["arg"].astype(np.uint32), writable=found.rows["writable"]
    )


# Who held the mappings or pages that F_ADD_SEALS failed for


def holders(recordings: "Sequence[Recording]", tables: "Tables") -> pd.DataFrame:
    """F_ADD_SEALS that failed EBUSY, with ``held`` and ``holders`` (:func:`with_holders`,
    :func:`with_pins`).

    Reads the map, unmap and pin events of just these objects; nothing where there was no EBUSY.
    """
    from tracer.analysis.decisions import batches

    found = tables.busy
    events: list[pd.DataFrame] = []
    baselines: list[pd.DataFrame] = []
    pins: list[pd.DataFrame] = []
    for recording in recordings if len(found) else ():
        source = Source.of(recording)
        wanted = found[found["boot_id"].astype(str) == source.boot_id].drop_duplicates(KEY[1:])
        for ops, into in (((Op.MAP, Op.UNMAP), events), ((Op.PIN,), pins)):
            parts = batches(recording, MAPPED, ops, source=source, where=_among(wanted))
            into.append(concat(parts, MAPPED))
        baselines.append(_baseline(recording, source, tables))
    if not events:
        return found.assign(held=0, holders="")
    lives = lifetimes(stacked(events), stacked(baselines))
    return with_pins(with_holders(found, lives), stacked(pins))


def _baseline(recording: "Recording", source: Source, tables: "Tables") -> pd.DataFrame:
    """What the sweep of /proc at the start found, each row with its object's generation."""
    from tracer.analysis.decisions import scanned

    swept = recording.frame("mappings", TABLES["mappings"].names)
    rows = concat([scanned(swept, source)], MAPPED)
    boot = np.full(len(rows), tables.boots.index(source.boot_id))
    place = tables.sums["objects"].keys.find([boot, *(rows[name].to_numpy() for name in KEY[1:])])
    return rows.assign(gen=tables.objects["gen"][tables.same_as[place]])


def _among(wanted: pd.DataFrame) -> Callable[[Batch], Array]:
    known = Places()
    known.of([wanted[name].to_numpy() for name in KEY[1:]])

    def found(batch: Batch) -> Array:
        return (known.find([batch[name] for name in KEY[1:]]) >= 0).nonzero()[0]

    return found


def with_holders(busy: pd.DataFrame, lives: pd.DataFrame) -> pd.DataFrame:
    """``busy`` with who held shared writable mappings at that moment.

    ``lives``: tracer.analysis.mappings.lifetimes of these objects' events and baseline. Added are
    ``held``, how many mappings are known, and ``holders``, whose they are: ``comm/pid``, the one
    with the most first (``comm/pid fork``: a child of that process, not known by its own id).
    Empty where ``writable`` is not 0: the holders mapped it unseen. Where it is 0, pages were
    pinned, or a mapping went away meanwhile.
    """
    lives = lives[lives["writable"].astype(bool)]
    lives = lives.assign(boot_id=lives["boot_id"].astype(object))
    whose = lives["comm"].astype(str) + "/" + lives["pid"].astype(str)
    codes, names = pd.factorize(
        whose.where(~lives["forked"].astype(bool), whose + " fork"), sort=True
    )
    begin_ns, end_ns = lives["begin_ns"].to_numpy(), lives["end_ns"].to_numpy()
    of_object = lives.groupby(KEY).indices
    held, holders = [], []
    for *key, when in busy[[*KEY, "time_ns"]].itertuples(index=False):
        rows = of_object.get(tuple(key), np.empty(0, np.intp))
        rows = rows[(begin_ns[rows] <= when) & (end_ns[rows] > when)]
        counts = np.bincount(codes[rows], minlength=len(names))
        most = np.argsort(-counts, kind="stable")[: np.count_nonzero(counts)]
        held.append(len(rows))
        holders.append(_listed([str(name) for name in names[most]]))
    return busy.assign(held=np.array(held, np.int64), holders=holders)


def with_pins(held: pd.DataFrame, pins: pd.DataFrame) -> pd.DataFrame:
    """What :func:`with_holders` gives, with who pinned pages where nobody had mapped the file.

    ``pins``: events of such pins, which --audit records; their end is not seen. Where the kernel
    counted no writable mapping and none is known, ``comm/pid pin`` made a long-term pin before, who
    began last stands first.
    """
    # Each process once: it may pin for ever.
    firsts = pins[pins["answer"] > 0].sort_values("time_ns", kind="stable")
    firsts = firsts.drop_duplicates([*KEY, "comm", "pid"])
    names = firsts["comm"].astype(str) + "/" + firsts["pid"].astype(str) + " pin"
    of_object = {
        key: (firsts["time_ns"].to_numpy()[rows], names.to_numpy()[rows])
        for key, rows in firsts.groupby(KEY, observed=True).indices.items()
    }
    holders = held["holders"].tolist()
    for place in ((held["holders"] == "") & (held["writable"] == 0)).to_numpy().nonzero()[0]:
        known = of_object.get(tuple(held[KEY].iloc[place]))
        if known is not None:
            count = np.searchsorted(known[0], held["time_ns"].iloc[place], "right")
            holders[place] = _listed(known[1][:count][::-1].tolist())
    return held.assign(holders=holders)


def _listed(holders: list[str]) -> str:
    more = len(holders) - _SHOWN
    return " ".join([*holders[:_SHOWN], *([f"+{more} more"] if more > 0 else [])])
