"""Everything that tables are made of, as it was at one moment."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np
import numpy.typing as npt

from tracer.analysis.growing import Growing
from tracer.analysis.keys import Keys
from tracer.analysis.latest import BEFORE, NEVER
from tracer.analysis.mappings import Mappings
from tracer.analysis.objects import OWNER_UNKNOWN, Objects
from tracer.analysis.rollup import I64, U64, halves
from tracer.analysis.sealing import Sealing
from tracer.analysis.source import Source
from tracer.analysis.totals import Totals

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class State:
    """Ids of :class:`Keys` never change their meaning, so only what is counted was copied."""

    keys: Keys
    totals: Totals
    losses: "Mapping[Source, pd.DataFrame]"
    problems: Mapping[Source, tuple[str, ...]]
    sources: tuple[Source, ...]
    hosts: tuple[str, ...]
    """Boot ids."""
    now: I64
    """By host: the last time that anything was heard of it, ns of its boot clock."""
    sealing: Growing
    """Rows of :class:`tracer.analysis.sealing.Sealing`."""
    used_ns: I64
    """By group: when it first had to do with its object."""
    held: npt.NDArray[np.bool_]
    """By group: whether it had to do with it before the trace."""
    known: Growing
    """By object, as all that follow."""
    names: list[str | None]
    ino: U64
    dev_gen: U64
    host: I64
    same_as: I64
    """The id under which an object is shown, see :func:`_same`."""
    mappings: I64
    """Mappings that exist."""
    writable: I64
    """Those of them that are shared and writable."""

    @classmethod
    def of(
        cls,
        keys: Keys,
        totals: Totals,
        mappings: Mappings,
        sealing: Sealing,
        losses: "Mapping[Source, pd.DataFrame]",
        problems: Mapping[Source, Iterable[str]],
    ) -> Self:
        """``totals`` must not change any more; of the others nothing is kept that does."""
        totals.sources.resize(len(keys.sources))
        objects = keys.objects
        known, names = objects.known.copy(), list(objects.names)
        host = objects.keys.key(2).astype(np.int64)
        used_ns, held = keys.of_group["used_ns"].copy(), keys.of_group["held"].copy()
        np.minimum.at(known["first_ns"], keys.objects_of, used_ns)
        same_as = np.arange(len(host))
        for blank, found in _same(objects, known, host):
            same_as[blank] = found
            _merge(known, names, blank, found)
        mapped, writable = mappings.live(same_as, known["evicted_ns"])
        return cls(
            keys=keys,
            totals=totals,
            losses=dict(losses),
            problems={source: tuple(found) for source, found in problems.items()},
            sources=tuple(keys.sources),
            hosts=tuple(keys.hosts),
            now=np.array(keys.now, np.int64),
            sealing=sealing.rows.copy(),
            used_ns=used_ns,
            held=held,
            known=known,
            names=names,
            ino=objects.keys.key(0),
            dev_gen=objects.keys.key(1),
            host=host,
            same_as=same_as,
            mappings=mapped,
            writable=writable,
        )


def _same(objects: Objects, known: Growing, host: I64) -> Iterator[tuple[int, int]]:
    """Objects without a generation, and the object that each of them is.

    The sweep of /proc cannot always read an inode's generation and says 0. If nobody else speaks of
    such an object, it is the first one of its device and inode number that has a generation and was
    there when it was swept: not made later, and not gone before.
    """
    ino = objects.keys.key(0)
    dev, gen = halves(objects.keys.key(1))
    told = (known["announced_ns"] != NEVER) | known["in_events"]
    blank = np.flatnonzero((gen == 0) & ~told & (ino != 0))
    if not len(blank):
        return
    other = np.flatnonzero((gen != 0) & np.isin(ino, ino[blank]))
    of_number: dict[tuple[int, int, int], list[int]] = {}
    for place in other[np.lexsort((gen[other], known["first_ns"][other]))].tolist():
        key = int(host[place]), int(dev[place]), int(ino[place])
        of_number.setdefault(key, []).append(place)
    # A sweep takes time: what was made while it went on may be in it.
    begin_ns, created_ns, evicted_ns = (known[n] for n in ("first_ns", "created_ns", "evicted_ns"))
    end_ns = np.where(known["swept_ns"] == NEVER, begin_ns, known["swept_ns"])
    for place in blank.tolist():
        for found in of_number.get((int(host[place]), int(dev[place]), int(ino[place])), ()):
            if BEFORE < evicted_ns[found] < begin_ns[place]:
                continue
            if created_ns[found] == NEVER or created_ns[found] <= end_ns[place]:
                yield place, found
            break  # a number is of one object at a time: all others came later


def _merge(known: Growing, names: list[str | None], blank: int, found: int) -> None:
    """What was known of ``blank`` is known of ``found``, unless that knows better."""
    if names[found] is None:
        names[found] = names[blank]
    if known["owner"][found] == OWNER_UNKNOWN:
        known["owner"][found] = known["owner"][blank]
    if known["size_ns"][found] == BEFORE:
        known["size"][found] = known["size"][blank]
        known["size_ns"][found] = known["size_ns"][blank]
    for name in ("seals", "kind_told"):
        known[name][found] = max(known[name][found], known[name][blank])
    for name in ("first_ns", "mapped_ns"):
        known[name][found] = min(known[name][found], known[name][blank])
