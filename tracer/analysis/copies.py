"""Guest memory that is there twice: private pages whose shared copy the VMM has not given back.

A page that becomes private gets a place in the machine's guest_memfd. What it was before stays in
the VMM's own shared file, at the addresses of the same memslot, until the VMM punches a hole there:
memory that nobody uses, and that the host can still read. That is a waste and no breach.

A recording tells when such a file was written and given its pages by calls (``write``,
``allocate``), and when they were taken out of it (``punch_hole``, ``truncate``). Stores through its
mapping are not seen. So there are two numbers: ``both`` is in memory twice for certain, and
``both_at_most`` is what was not given back since it became private, whether it was ever touched or
not. What is touched once more after it was given back is not seen, either.
"""

from collections.abc import Callable, Iterator, Sequence, Set
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from tracer.analysis import private, strip
from tracer.analysis.mappings import MAPPED, lifetimes
from tracer.analysis.private import FOREVER, PRIVATE, Privacy
from tracer.labels import is_shared
from tracer.words import CONTEXT, WANTED, HookState, Op

if TYPE_CHECKING:
    from tracer.analysis.batches import Array, Batch, Source
    from tracer.recording.reader import Recording

Ints = npt.NDArray[np.int64]

COLUMNS = ("both", "both_at_most")
"""Bytes; ``both_at_most`` is null where what is shared is in no memory file, or in none that is
known."""
_PAGE_SHIFT = 12
_PAGE = 1 << _PAGE_SHIFT
_EVER = FOREVER >> _PAGE_SHIFT
"""A page that no file has."""
_HUGE = 1 << 9
"""Pages: less than a huge one is never taken out of a hugetlb file."""
SLOTS = 1 << 12
_LOOKS = 1 << 31
"""A VMM can make any number of memslots and calls: of so many nothing is counted, and not known."""
_KEEP_SIZE = 1
_MAPS = (Op.MAP, Op.UNMAP)
_CALLS = (Op.WRITE, Op.ALLOCATE, Op.PUNCH_HOLE, Op.TRUNCATE, Op.EVICT)
_OF_CALL = ("time_ns", "op", "kind", "dev", "ino", "arg", "offset", "length", "answer")
_HOOKS = ("shmem_fallocate", "shmem_setattr")
"""Without these it is not seen that pages are taken out of a file."""
_HARMLESS = frozenset(cause.name.lower() for cause in (*CONTEXT, *WANTED))
"""Causes by which no event is lost."""


class Picture(NamedTuple):
    """Of one machine's memory over time."""

    host: str
    boot_id: str
    vm: int
    strip: strip.Strip


def machines(
    readings: "Sequence[tuple[Recording, Source]]", pictures: int = 0
) -> tuple[pd.DataFrame, list["Picture"]]:
    """:meth:`Privacy.machines` of several recordings, with :data:`COLUMNS`, ``host`` and
    ``boot_id``: of machines that have a guest_memfd, or whose memory somebody wanted converted.

    :param pictures: of so many of those whose memory was converted, or is private, a picture.
    """
    names = ["host", "boot_id", *private.MACHINE, *COLUMNS]
    pieces, drawn = [], list[Picture]()
    for recording, source in readings:
        if not recording.manifest.audit:
            continue  # nobody looked
        found = private.of(recording)
        told = found.machines()
        gmem = set(found.slots.loc[found.slots["gmem"], "vm"])
        asked = told["conversions"] + told["refused"] > 0
        told = told[asked | told["vm"].isin(gmem)]
        told = told.merge(of(recording, found), on="vm", how="left")
        moved = told["conversions"] + told["private"] + told["unknown"] > 0
        for vm in told.loc[moved, "vm"].tolist()[: pictures - len(drawn)]:
            shown = strip.of(found, vm, recording.last_ns())
            if shown is not None:
                drawn.append(Picture(source.host, source.boot_id, vm, shown))
        pieces.append(told.assign(host=source.host, boot_id=source.boot_id)[names])
    there = [one for one in pieces if len(one)]
    whole = pd.concat(there, ignore_index=True) if there else pd.DataFrame(columns=names)
    return whole, drawn


def of(recording: "Recording", found: Privacy, until_ns: int = FOREVER) -> pd.DataFrame:
    """``vm`` and :data:`COLUMNS` of each machine of ``found``, as it was when its memory was last
    in memslots and mapped. StoreError: the recording cannot be read.

    :param until_ns: what began later has not happened yet.
    """
    from tracer.analysis import decisions as reading
    from tracer.analysis import frames

    slots = found.second_places()
    vms = found.machines()["vm"].tolist()
    if slots.empty:
        return _answer(dict.fromkeys(vms, (0, 0)))
    if len(slots) > SLOTS:
        return _answer(dict.fromkeys(vms, (0, 0)), set(slots["vm"].tolist()))
    parts = list(pieces(slots, mapped(recording, slots, until_ns)))
    inodes = {one.ino for one in parts} - {0}

    def mine(batch: "Batch") -> "Array":
        mine_: Array = np.isin(batch["ino"], list(inodes))
        return mine_

    calls = frames.concat(reading.batches(recording, _OF_CALL, _CALLS, where=mine), _OF_CALL)
    calls = calls[calls["time_ns"] <= until_ns].astype({"op": str, "kind": str})
    if len(parts) * len(calls) > _LOOKS:
        return _answer(dict.fromkeys(vms, (0, 0)), {one.vm for one in parts})
    by_file = dict(tuple(calls.groupby(["dev", "ino"])))
    sure, sums = _is_sure(recording), dict.fromkeys(vms, (0, 0))
    unknown = set[int]()
    for one in parts:
        pages = found.odd_pages(one.vm, one.start, one.end, one.at_ns)
        if len(pages) and (one.nothing or (pages["state"] != PRIVATE).any()):
            unknown.add(one.vm)
        pages = pages[pages["state"] == PRIVATE]
        if one.nothing or pages.empty:
            continue
        file = by_file.get((one.dev, one.ino), calls[:0])
        both, most = _count(pages, one, file)
        before = sums[one.vm]
        sums[one.vm] = before[0] + (both if sure else 0), before[1] + most
    return _answer(sums, unknown)


def mapped(recording: "Recording", slots: pd.DataFrame, until_ns: int = FOREVER) -> pd.DataFrame:
    """The lives of mappings at addresses of memslots (`tracer.analysis.mappings`)."""
    if slots.empty:
        return _lives(recording, until_ns, lambda batch: np.zeros(len(batch), bool))
    first, last = _ends(slots)

    def near(batch: "Batch") -> "Array":
        address = batch["answer"].astype(np.uint64)
        near_: Array = (address < last) & (address + batch["length"] > first)
        return near_

    return _lives(recording, until_ns, near)


def mappings(recording: "Recording", inodes: Set[int], until_ns: int = FOREVER) -> pd.DataFrame:
    """The lives of mappings of files with these inode numbers."""

    def mine(batch: "Batch") -> "Array":
        mine_: Array = np.isin(batch["ino"], list(inodes))
        return mine_

    found = _lives(recording, until_ns, mine)
    return found[found["ino"].isin(inodes)]


def _lives(
    recording: "Recording", until_ns: int, where: "Callable[[Batch], Array]"
) -> pd.DataFrame:
    from tracer.analysis import decisions as reading
    from tracer.analysis import frames

    maps = frames.concat(reading.batches(recording, MAPPED, _MAPS, where=where), MAPPED)
    maps = maps[maps["time_ns"] <= until_ns]
    swept = recording.frame("mappings", list(MAPPED))
    swept = swept[swept["op"].isin(["map", "unmap"])]
    boot = {"boot_id": ""}
    return lifetimes(maps.astype({"op": str}).assign(**boot), swept.assign(**boot))


def _answer(sums: dict[int, tuple[int, int]], unknown: Set[int] = frozenset()) -> pd.DataFrame:
    found = pd.DataFrame(
        [(vm, *both) for vm, both in sums.items()], columns=["vm", *COLUMNS], dtype=np.int64
    )
    most = found["both_at_most"].astype("Int64")
    return found.assign(both_at_most=most.mask(found["vm"].isin(unknown)))


def _is_sure(recording: "Recording") -> bool:
    """Whether no call that takes pages out of a file can have been missed."""
    from tracer.recording.reader import ALIVE

    manifest = recording.manifest
    filters = manifest.filters
    if filters is not None and (
        filters.pids or filters.uids or filters.cgroups or filters.name or filters.seals
        or filters.denied or filters.follow_command or filters.files or filters.actors
    ):  # fmt: skip
        return False
    if any(one != ALIVE for one in recording.problems):
        return False
    live = {one.family for one in manifest.hooks if one.state(()) == HookState.LIVE}
    if not live.issuperset(_HOOKS):
        return False
    lost = recording.frame("losses", ["cause", "count"])
    lost = lost[~lost["cause"].astype(str).isin(_HARMLESS)]
    return not (lost["count"] > 0).any()


class Piece(NamedTuple):
    """A part of a memslot, and where its shared memory is: ``dev`` 0 and ``ino`` 0: not known."""

    vm: int
    start: int
    end: int
    """Pages of the guest."""
    at_ns: int
    """The last moment at which both were there."""
    dev: int = 0
    ino: int = 0
    shift: int = 0
    """From pages of the guest to pages of the file."""

    @property
    def nothing(self) -> bool:
        """It is in no memory file that is known."""
        return not self.ino


def _ends(slots: pd.DataFrame) -> tuple[np.uint64, np.uint64]:
    address = slots["address"].to_numpy(np.uint64)
    size = ((slots["end"] - slots["start"]) * _PAGE).to_numpy(np.uint64)
    return address.min(), (address + size).max()


def pieces(slots: pd.DataFrame, lives: pd.DataFrame) -> Iterator[Piece]:
    """Each memslot in parts, by what was mapped there last."""
    by_pid = dict(tuple(lives.sort_values("end_ns").groupby("pid", sort=False)))
    slot: Any
    for slot in slots.itertuples(index=False):
        left = [(slot.start, slot.end)]
        near = by_pid.get(slot.pid, lives[:0])
        address = near["address"].to_numpy(np.int64)
        size = (slot.end - slot.start) << _PAGE_SHIFT
        meets = (
            (address < slot.address + size)
            & (address + near["length"].to_numpy(np.int64) > slot.address)
            & (near["begin_ns"] < slot.gone_ns) & (near["end_ns"] > slot.set_ns)
        )  # fmt: skip
        for life in near[meets][::-1].itertuples(index=False):
            first = slot.start + ((life.address - slot.address) >> _PAGE_SHIFT)
            last = first + (life.length >> _PAGE_SHIFT)
            at_ns = min(slot.gone_ns, life.end_ns) - 1
            shift = (life.offset >> _PAGE_SHIFT) - first
            rest = []
            for start, end in left:
                begin, stop = max(start, first), min(end, last)
                if begin >= stop:
                    rest.append((start, end))
                    continue
                rest += [part for part in ((start, begin), (stop, end)) if part[0] < part[1]]
                file = (life.dev, life.ino, shift) if is_shared(life.arg) else (0, 0, 0)
                if life.ino != slot.ino or life.dev != slot.dev:  # else one copy is for both
                    yield Piece(slot.vm, begin, stop, at_ns, *file)
            left = rest
        for start, end in left:
            yield Piece(slot.vm, start, end, slot.gone_ns - 1)


def _count(pages: pd.DataFrame, piece: Piece, calls: pd.DataFrame) -> tuple[int, int]:
    """Bytes of private ``pages`` that are in the file as well, for certain and at most."""
    start, end = (pages[name].to_numpy(np.int64) + piece.shift for name in ("start", "end"))
    calls = calls[calls["time_ns"] <= piece.at_ns]
    given, filled = _given_back(calls), _filled(calls)
    cuts = np.unique(np.concatenate([start, end, given[0], given[1], filled[0], filled[1]]))
    gone, there = _latest(cuts, *given), _latest(cuts, *filled)
    since = _latest(cuts, start, end, pages["from_ns"].to_numpy(np.int64))
    mine = np.zeros(len(cuts), bool)
    place = np.searchsorted(start, cuts[:-1], "right") - 1
    mine[:-1] = (place >= 0) & (cuts[:-1] < end[np.maximum(place, 0)])
    sizes = np.append(np.diff(cuts), 0) << _PAGE_SHIFT
    both = mine & (there > gone)
    most = both | (mine & (gone < since))
    return int(sizes[both].sum()), int(sizes[most].sum())


Spans = tuple[Ints, Ints, Ints]
"""From which page to which, and when."""


def _given_back(calls: pd.DataFrame) -> Spans:
    """What was taken out of a file; of a page that is cut in two the rest stays."""
    done = calls[calls["answer"] == 0]
    punched = done[done["op"] == "punch_hole"]
    cut = done[done["op"] == "truncate"]
    gone = calls[calls["op"] == "evict"]
    offset, length = punched["offset"].to_numpy(np.int64), punched["length"].to_numpy(np.int64)
    begin, end = -(-offset >> _PAGE_SHIFT), offset + length >> _PAGE_SHIFT
    huge = (punched["kind"] == "hugetlb").to_numpy()
    begin[huge], end[huge] = -(-begin[huge] // _HUGE) * _HUGE, end[huge] // _HUGE * _HUGE
    rest = -(-cut["length"].to_numpy(np.uint64).clip(0, FOREVER).astype(np.int64) >> _PAGE_SHIFT)
    first = np.concatenate([begin, rest, np.zeros(len(gone), np.int64)])
    ever = np.full(len(cut) + len(gone), _EVER, np.int64)
    last = np.concatenate([end, ever])
    return _spans(first, last, pd.concat([punched, cut, gone])["time_ns"])


def _filled(calls: pd.DataFrame) -> Spans:
    """What calls put into it."""
    wrote = calls[(calls["op"] == "write") & (calls["answer"] > 0)]
    made = calls[(calls["op"] == "allocate") & (calls["answer"] == 0)]
    made = made[(made["arg"].astype(np.int64) & ~_KEEP_SIZE) == 0]
    both = pd.concat([wrote, made])
    length = np.concatenate([wrote["answer"].to_numpy(np.int64), made["length"].to_numpy(np.int64)])
    offset = both["offset"].to_numpy(np.int64)
    return _spans(offset >> _PAGE_SHIFT, -(-(offset + length) >> _PAGE_SHIFT), both["time_ns"])


def _spans(first: Ints, last: Ints, time_ns: "pd.Series[int]") -> Spans:
    some = (first >= 0) & (last > first)
    when = time_ns.to_numpy().astype(np.int64)
    return first[some], last[some], when[some]


def _latest(cuts: Ints, begin: Ints, end: Ints, time_ns: Ints) -> Ints:
    """For each segment between cuts the time of the last span over it; before all times: none.

    A span is at most two stretches whose length is a power of two (a sparse table, backwards), so
    that many long ones cost no more than short ones.
    """
    found = np.full(len(cuts), private.BEFORE, np.int64)
    if not len(begin):
        return found
    first, last = np.searchsorted(cuts, begin), np.searchsorted(cuts, end)
    level = np.floor(np.log2(last - first)).astype(np.int64)
    rows = np.full((int(level.max()) + 1, len(cuts)), private.BEFORE, np.int64)
    np.maximum.at(rows, (level, first), time_ns)
    np.maximum.at(rows, (level, last - (1 << level)), time_ns)
    for power in range(len(rows) - 1, 0, -1):
        half = 1 << (power - 1)
        np.maximum(rows[power - 1], rows[power], out=rows[power - 1])
        np.maximum(rows[power - 1, half:], rows[power, :-half], out=rows[power - 1, half:])
    latest: Ints = rows[0]
    return latest
