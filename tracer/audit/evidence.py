"""Reads what an audit needs of a recording, once.

What a program does a million times becomes one row with a count: rows that no claim can tell apart
are put together, and the first of them stays as the proof. So what an audit holds grows with the
number of files and of those that use them. It does not grow with how often they do something, which
anybody can do as often as he likes.
"""

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from tracer.analysis import private
from tracer.analysis.batches import Batch, Source
from tracer.analysis.decisions import NEEDED, Decisions, batches
from tracer.analysis.decisions import Window as Part
from tracer.analysis.frames import enum, shown
from tracer.audit import objects as files
from tracer.audit.doubts import Plan, of_period, of_reading, of_recording, plan_of
from tracer.audit.objects import KEY, VM_FAULT_ERROR, Key3, MemoryFile, Row, Slots
from tracer.audit.policy import BY_ADDRESS, CLAIMS, UNSEEN, Claim
from tracer.audit.result import Doubt, Window
from tracer.audit.scope import OUT, early
from tracer.escape import printable
from tracer.recording.format import EVENTS
from tracer.recording.identity import EVENT_COLUMNS, Identities
from tracer.recording.manifest import End, Filters, Manifest
from tracer.recording.places import Places
from tracer.recording.reader import Recording
from tracer.recording.tasks import Tasks
from tracer.walltime import ALWAYS, Period, WallClock, iso
from tracer.words import Op, ops

Mask = npt.NDArray[np.bool_]
_TIME = ["time_ns", "cpu", "seq"]
_COLUMNS = [name for name in EVENTS.names if name in Row._fields or name == "hook"]
_JUDGED = ["verdict", "reason", "rule", "hole", "expected"]
EXACT = 64
"""So many mappings of a file by somebody, and so many places of accesses by address, are kept as
they are; of more the audit knows only between which addresses and times they were."""

_WHOLE = frozenset({"receive", "give", "trace", "share_mm", "device", "exec"})
"""Of these ops who gave, who is traced and the like stands in the columns :data:`_BY_WHOLE`."""
_BY_WHOLE = ["offset", "arg", "check_answer", "vm"]
_ALWAYS = [Op[word.upper()] for word in BY_ADDRESS | UNSEEN | {"memslot", "vm_end", "convert"}]
"""Ops that may touch a claim about a file that they do not name."""
_EACH = {"map", "unmap", "evict", "open", "create", "memslot", "vm_end", "mapped", "attach"}
"""Ops of which each row is kept."""
_MANY = ops() - _EACH
"""Ops of which equal rows are put together; mappings are when they have ended (`_ended`)."""

_PIECE = 1 << 15
"""Rows that are read at once: a frame of them takes several times the room of a batch."""

_WHO = ["pid", "start_ns", "exec_id", "own_mm", "uid", "cgroup", "comm", "flags", "seals",
        "seals_after"]  # fmt: skip
_SAME = [*KEY, "op", "kind", *_WHO, "mm", "checks", "privacy"]
_MAPPING = [*KEY, "kind", *_WHO, "mm", "arg", "privacy"]


@dataclass(frozen=True)
class Evidence:
    """A recording as claims look at it."""

    manifest: Manifest
    plan: Plan
    known: Mapping[Key3, MemoryFile]
    by_address: Sequence[Row]
    """Accesses by address, whatever file they name."""
    unseen: Sequence[Row]
    """After which somebody can reach an address space's memory unseen."""
    slots: Slots
    conversions: Sequence[Row]
    """Of guest memory, of any virtual machine."""
    privacy: private.Privacy | None
    """None: no claim asks what was private."""
    doubts: Sequence[Doubt]
    losses: Mapping[tuple[str, str], int]
    window: Window
    part: Part
    """In which violations are looked for."""
    clock: WallClock
    places: Places
    """Its cgroups."""
    tasks: Tasks
    """Who acted."""
    baseline: str
    """Empty if the look at the start missed nothing; else why it may have."""
    older_machines: str
    """Empty if memslots from before the trace are known; else why some may not be."""
    bit_0x20: str
    """What seal 0x20 means: ``exec``, ``inaccessible``, or empty: not known."""

    @property
    def filters(self) -> Filters:
        """What the recorder left out."""
        return self.manifest.filters or Filters()


def load(recording: Recording, claims: Sequence[Claim], period: Period = ALWAYS) -> Evidence:
    """Reads everything that may touch ``claims``.

    :param period: when a claim must be broken to count; all is read whatever it is.
    :raises StoreError: the recording cannot be read.
    :raises UserError: the period cannot be found in it.
    """
    doubts, losses = of_recording(recording)
    clock, told = recording.clock(), list[str]()
    part = Part(*period.limits(recording.path, clock, recording.last_ns, told.append))
    manifest, identities = recording.manifest, Identities()
    [listed] = recording.tables("objects")
    identities.announce(listed)
    announced = listed.to_pandas().astype({"kind": object, "comm": object})
    start = _baseline(recording, identities)
    with_rows = any(claim.scope.where for claim in claims)
    scopes = {claim.scope for claim in claims}
    left_out = {
        key
        for key, file in files.announced(announced, with_rows).items()
        if all(early(scope, file) is OUT for scope in scopes)
    }
    judged = any(one.claim == "no-breach" for one in claims)
    asked = any(CLAIMS[one.claim].by_state for one in claims)
    privacy = private.of(recording) if asked else None
    found = _events(recording, listed, identities, left_out, judged=judged, privacy=privacy)
    # Only now, that all rows of an inode are here, is its generation known.
    files.give_generations(announced, identities)
    files.give_generations(start, identities, twice=True)
    known = files.announced(announced, with_rows)
    both = _ordered([start, found])
    files.observed(known, both)
    bit = manifest.tested.bit_0x20
    all_ = files.of_exits(list(files.rows(both)))
    for row in all_:
        if row.ino:
            known[row.key].rows.append(row)
    for file in known.values():
        file.ranges = files.ranges(file.rows)
    window = _window(recording, clock, both, part)
    return Evidence(
        manifest=manifest,
        plan=plan_of(manifest, start),
        known=known,
        by_address=[row for row in all_ if row.op in BY_ADDRESS],
        unseen=[row for row in all_ if row.op in UNSEEN],
        slots=Slots(row for row in all_ if row.op in ("memslot", "vm_end")),
        conversions=[row for row in all_ if row.op == "convert"],
        privacy=privacy,
        losses=losses,
        window=window,
        part=part,
        clock=clock,
        places=Places.of_tables(recording.tables("cgroups")),
        tasks=Tasks.of_tables(recording.tables("tasks")),
        baseline=_looked(recording, start),
        older_machines=_machines(recording),
        bit_0x20=bit if manifest.tested.ran and bit in ("exec", "inaccessible") else "",
        # Of the rows when all have been read.
        doubts=[*of_reading(recording, doubts), *of_period(*part, window, told)],
    )


def _wanted(batch: Batch, left_out: Container[Key3]) -> Mask:
    """The rows that may touch a claim: those of files that may be in a scope, and some always."""
    mine = pd.MultiIndex.from_arrays([batch[name] for name in KEY], names=KEY)
    out = [key for key in mine.unique() if key in left_out]
    wanted = ~mine.isin(out) if out else np.ones(len(batch), bool)
    mask: Mask = wanted | np.isin(batch["op"], _ALWAYS)
    return mask


def _events(
    recording: Recording,
    listed: pa.Table,
    identities: Identities,
    left_out: Container[Key3],
    *,
    judged: bool,
    privacy: private.Privacy | None = None,
) -> pd.DataFrame:
    """The events that may touch a claim, equal ones together, in the order of their times.

    ``listed``: the table of objects; ``left_out``: files that are in no scope; ``judged``: with the
    columns :data:`_JUDGED`; ``privacy``: tells what each met.
    """
    source, decisions = Source.of(recording), Decisions()
    decisions.objects(listed, source, complete=True)
    held = [_empty()]
    room = least = 1 << 17
    needed = [*_COLUMNS, *EVENT_COLUMNS, *(NEEDED if judged else ())]
    for batch in batches(recording, needed, source=source, rows=_PIECE):
        if identities.needs_events:
            identities.observe(_words(batch))  # also of files that no claim is about
        batch = batch.take(_wanted(batch, left_out))
        if not len(batch):
            continue
        found = _frame(batch.frame(_COLUMNS), "events")
        if privacy:
            found["privacy"] = _met(found, privacy)
        if judged:
            outcome = decisions.judge(batch)
            columns = shown({name: outcome[name] for name in _JUDGED})
            found = found.join(columns.astype(object))
        held.append(found)
        room -= len(found)
        if room < 0:
            held = [_together(_concat(held))]
            room = max(least, len(held[0]))
    return _ordered([_together(_concat(held))])


def _words(batch: Batch) -> pa.Table:
    """A batch as :class:`Identities` takes it."""
    op = enum("op", batch["op"])
    columns = {name: batch[name] for name in EVENT_COLUMNS}
    return pa.table({**columns, "op": pa.DictionaryArray.from_arrays(op.codes, op.words)})


def _baseline(recording: Recording, identities: Identities) -> pd.DataFrame:
    """Who held or mapped what before the trace (and, with Flag.FINAL, at its end)."""
    pieces = [_empty()]
    for table in recording.tables("mappings"):
        identities.sweep(table)
        pieces.append(_frame(table.to_pandas(), "mappings"))
    return _ordered(pieces)


def _frame(found: pd.DataFrame, name: str) -> pd.DataFrame:
    """The columns that are held, with plain words, and with what is known of rows put together."""
    found = found[_COLUMNS].astype(dict.fromkeys(("op", "kind", "comm", "hook"), object))
    return found.assign(
        table=name, times=1, last_ns=found["time_ns"], blurred=False, privacy=private.SHARED
    )


def _met(rows: pd.DataFrame, privacy: private.Privacy) -> npt.NDArray[np.int8]:
    """What of guest_memfds was private when each row reached it."""
    found = np.full(len(rows), private.SHARED, np.int8)
    places = np.flatnonzero((rows["kind"] == "guest_memfd") & (rows["ino"] != 0))
    if len(places):
        some = rows.iloc[places]
        found[places] = privacy.state(some)
        # A range of addresses goes on behind the file's mapping: that it began there is all.
        more = places[some["op"].isin(BY_ADDRESS).to_numpy() & (found[places] == private.PRIVATE)]
        first = rows.iloc[more].assign(length=np.uint64(1))
        sure = privacy.state(first) == private.PRIVATE
        found[more[~sure]] = private.UNKNOWN
    return found


@cache
def _empty() -> pd.DataFrame:
    return _frame(EVENTS.empty_table().to_pandas(), "events")


def _concat(pieces: list[pd.DataFrame]) -> pd.DataFrame:
    there = [one for one in pieces if len(one)]
    return pd.concat(there, ignore_index=True) if there else pieces[0]


def _ordered(pieces: list[pd.DataFrame]) -> pd.DataFrame:
    return _concat(pieces).sort_values(_TIME, kind="stable", ignore_index=True)


def _together(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows with equal ones put together: ``times`` and ``last_ns`` say how many and until when.

    Rows that come in have ``times`` and ``last_ns``, so that this can be done again and again.
    """
    many = rows["op"].isin(_MANY)
    rest, rows = _ended(rows[~many]), rows[many]
    if rows.empty:
        return rest
    rows = rows.sort_values(_TIME, kind="stable")
    op, by_address = rows["op"], rows["op"].isin(BY_ADDRESS)
    # A fault's answer is a set of bits, some of which refuse it.
    refused = ((rows["answer"] & VM_FAULT_ERROR) != 0).astype(np.int64)
    alike = {
        "_answered": np.sign(rows["answer"]).where(op != "fault", refused),
        "_some": (rows["check_answer"] > 0) & (op == "sev_debug"),
        "_grows": (op == "allocate") & (rows["size_after"] > rows["size"]),
        **{f"_{name}": rows[name].where(op.isin(_WHOLE), 0) for name in _BY_WHOLE},
        "_of": rows["vm"].where(op == "convert", 0),
    }
    same = [*_SAME, *(name for name in _JUDGED if name in rows), *alike]
    where = [*same, "_from", "_bytes", "_page"]
    private_ = rows["privacy"] == private.PRIVATE
    rows = rows.assign(
        **alike,
        _from=rows["size_after"].where(by_address, 0),
        _bytes=rows["length"].where(by_address, 0),
        _page=rows["offset"].where(private_, 0),
    )
    rows = _first(rows, where)
    # Of more places than that it is not kept which they were (see tracer.audit.evaluate).
    places = rows.groupby(same, dropna=False, sort=False, observed=True).cumcount()
    beyond = rows["op"].isin(BY_ADDRESS) & (places >= EXACT)
    if beyond.any():
        nowhere = rows[beyond].assign(size_after=0, length=0, checks=1, _from=0, _bytes=0)
        nowhere = nowhere.astype(rows.dtypes)  # a whole column of others would become float
        rows = pd.concat([rows[~beyond], _first(nowhere, where)])
    # Which private pages somebody reached is told of as many.
    many = rows.groupby(same, dropna=False, sort=False, observed=True).cumcount() >= EXACT
    many &= (rows["privacy"] == private.PRIVATE) & ~rows["op"].isin(BY_ADDRESS)
    if many.any():
        rows = pd.concat([rows[~many], _first(rows[many], same)])
    return _concat([rest, rows.drop(columns=[*alike, "_from", "_bytes", "_page"])])


def _first(rows: pd.DataFrame, same: list[str]) -> pd.DataFrame:
    """The first of those that are equal in ``same``, with ``times`` and ``last_ns`` of all."""
    groups = rows.groupby(same, dropna=False, sort=False, observed=True)
    counts, last = groups["times"].transform("sum"), groups["last_ns"].transform("max")
    return rows.assign(times=counts, last_ns=last)[~rows.duplicated(same)]


def _ended(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows with mappings that began and ended put together, but the first ``EXACT`` of each.

    A mapping has ended where the next row about its address in that address space is its end.
    """
    plain = rows["op"].isin(["map", "unmap"]) & (rows["table"] == "events") & (rows["mm"] != 0)
    blurred = rows["blurred"].to_numpy(bool)
    plain = plain.to_numpy() & ~blurred
    if plain.sum() <= 2 * EXACT:
        return rows
    place = [*KEY, "mm", "answer", "length"]
    there = rows[plain].sort_values([*place, *_TIME], kind="stable")
    begin = (there["op"] == "map").to_numpy()
    alike = (there[place].to_numpy()[1:] == there[place].to_numpy()[:-1]).all(axis=1)
    pairs = np.flatnonzero(begin[:-1] & ~begin[1:] & alike)
    begins, ends = there.iloc[pairs], there.iloc[pairs + 1]
    both = begins[_MAPPING].reset_index(drop=True)
    both = both.join(ends[_WHO].reset_index(drop=True).add_suffix("_end"))
    group = both.groupby(list(both), dropna=False, sort=False, observed=True).ngroup().to_numpy()
    order = np.lexsort([begins[name].to_numpy() for name in reversed(_TIME)])
    rank = np.empty(len(order), np.int64)
    rank[order] = pd.Series(group[order]).groupby(group[order]).cumcount().to_numpy()
    many = rank >= EXACT
    if not many.any():
        return rows
    begins, ends = begins[many], ends[many]
    rest = rows[~blurred].drop(index=[*begins.index, *ends.index])
    # Until its end, for a begin.
    begins = begins.assign(last_ns=ends["last_ns"].to_numpy())
    merged = pd.concat([rows[blurred], begins, ends]).assign(blurred=True)
    return pd.concat([rest, _hull(merged.sort_values(_TIME, kind="stable"))])


def _hull(rows: pd.DataFrame) -> pd.DataFrame:
    """One row for all that are somebody's mappings of one kind: from the lowest address on."""
    same = ["op", *_MAPPING]
    rows = rows.assign(_until=rows["answer"] + rows["length"].astype(np.int64))
    groups = rows.groupby(same, dropna=False, sort=False, observed=True)
    low = groups["answer"].transform("min")
    rows = rows.assign(
        answer=low, length=(groups["_until"].transform("max") - low).astype(np.uint64)
    )
    return _first(rows.drop(columns="_until"), same)


def _window(recording: Recording, clock: WallClock, both: pd.DataFrame, part: Part) -> Window:
    times = [one.boot_ns for one in clock.anchors]
    if recording.end is None and len(both):
        times.append(int(both["time_ns"].max()))
    walls = [iso(one.wall_ns, 3) for one in clock.anchors] or [None]
    ended = recording.end is not None and len(walls) > 1
    return Window(
        start_ns=min(times, default=None),
        end_ns=max(times, default=None),
        start=walls[0],
        end=walls[-1] if ended else None,
        wall_jump_s=clock.jump_s,
        since=_limit(clock, part.since_ns),
        until=_limit(clock, part.until_ns),
    )


def _limit(clock: WallClock, time_ns: int | None) -> str | None:
    """A recording without any reading of the clock gives the boot clock's time."""
    return None if time_ns is None else iso(clock.at(time_ns), 3) or f"{time_ns} ns after boot"


def _machines(recording: Recording) -> str:
    """Why memslots from before the trace may not be known; empty: all are."""
    look = (recording.end or End()).baseline.start
    if look is None or look.machines is None:
        return "KVM's list of virtual machines was not read"
    return printable(look.machines_problem)


def _looked(recording: Recording, start: pd.DataFrame) -> str:
    """Why the baseline may have missed something; empty where it says itself that it did not."""
    look = (recording.end or End()).baseline.start
    if look is None or (look.problems is None and not len(start)):
        return "there is no baseline."
    if look.problems is None:
        return "the recording does not say whether the baseline could look at every process."
    return " ".join(map(printable, look.problems))
