"""Which mappings of memory files exist now, from their begins and ends and the baseline.

A mapping is known by object, address space and address. The baseline (read from /proc while events
already came) has no address space but a process id; as soon as events tell anything of the same
process and address they count instead of it, so nothing is counted twice.
"""

import numpy as np
import numpy.typing as npt

from tracer.analysis.batch import Array, Batch
from tracer.analysis.growing import Growing
from tracer.analysis.keytable import KeyTable
from tracer.analysis.latest import BEFORE, advance
from tracer.labels import VM_MAYWRITE, VM_SHARED, VM_WRITE
from tracer.words import Flag, Op

_LATE_NS = 60 * 10**9
"""Events arrive in another order than they happened, but never so late."""
_MANY = 1 << 20
"""Mappings that have ended are forgotten when there are so many."""


def writable(vm_flags: Array) -> npt.NDArray[np.bool_]:
    """:func:`tracer.labels.is_writable` of a whole column."""
    may = (vm_flags & np.uint64(VM_WRITE | VM_MAYWRITE)) != 0
    found: npt.NDArray[np.bool_] = may & ((vm_flags & np.uint64(VM_SHARED)) != 0)
    return found


class Mappings:
    """Takes ``map`` and ``unmap`` events and the baseline in any order; counts what is left."""

    def __init__(self) -> None:
        self._keys = KeyTable(3)  # object, mm, address
        self._state = Growing(
            {
                "when": (np.int64, BEFORE),
                "rank": (np.int64, -1),
                "live": (np.bool_, 0),
                "arg": (np.uint64, 0),
            }
        )
        self._told = KeyTable(2)  # host << 32 | pid, address
        self._old_keys = KeyTable(3)  # object, host << 32 | pid, address
        self._old = Growing({"arg": (np.uint64, 0), "when": (np.int64, 0), "over": (np.bool_, 0)})
        self._most = _MANY

    def add(self, host: int, batch: Batch, objects: Array, rank: Array, mapped_ns: Array) -> None:
        """Takes the map and unmap events of a batch; brings on ``mapped_ns`` (one an object)."""
        ops = batch["op"]
        rows = ((ops == Op.MAP) | (ops == Op.UNMAP)).nonzero()[0]
        if not len(rows):
            return
        batch, rank, ids = batch.take(rows), rank[rows], objects[rows].astype(np.uint64)
        address = batch["answer"].view(np.uint64)
        begun = ((batch["op"] == Op.MAP) & writable(batch["arg"])).nonzero()[0]
        np.minimum.at(mapped_ns, objects[rows][begun], batch["time_ns"][begun])
        key = self._keys.ids(ids, batch["mm"], address)
        state = self._state
        state.resize(len(self._keys))
        last = advance(key, batch["time_ns"], rank, state["when"], state["rank"])
        state["live"][key[last]] = batch["op"][last] == Op.MAP
        state["arg"][key[last]] = batch["arg"][last]
        # A fork is told by the parent, about an address space that is not its own.
        forked = ((batch["flags"] & np.uint32(Flag.OTHER_MM)) != 0) & (batch["op"] == Op.MAP)
        own = (~forked).nonzero()[0]
        self._told.ids(_process(host, batch["pid"][own]), address[own])
        if len(self._keys) > self._most:
            self._prune()

    def baseline(self, host: int, batch: Batch, objects: Array, mapped_ns: Array) -> None:
        """Takes the table ``mappings`` of a recording; what was taken before may come again."""
        rows = (batch["op"] == Op.MAP).nonzero()[0]
        batch, ids = batch.take(rows), objects[rows].astype(np.uint64)
        address = batch["answer"].view(np.uint64)
        key = self._old_keys.ids(ids, _process(host, batch["pid"]), address)
        self._old.resize(len(self._old_keys))
        self._old["arg"][key] = batch["arg"]
        self._old["when"][key] = batch["time_ns"]
        mapped_ns[objects[rows][writable(batch["arg"])]] = BEFORE

    def live(
        self, same_as: Array, evicted_ns: Array
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """For each object: its mappings, and those of them that are writable.

        ``same_as``: the id under which each object is counted; ``evicted_ns``: when it went away.
        """
        new, old = (same_as[keys.key(0).astype(np.int64)] for keys in (self._keys, self._old_keys))
        stay = self._state["live"] & (self._state["when"] > evicted_ns[new])
        stay_old = ~self._over() & (self._old["when"] > evicted_ns[old])
        held = np.concatenate([new[stay], old[stay_old]])
        flags = np.concatenate([self._state["arg"][stay], self._old["arg"][stay_old]])
        count = len(same_as)
        return np.bincount(held, minlength=count), np.bincount(
            held[writable(flags)], minlength=count
        )

    def _over(self) -> npt.NDArray[np.bool_]:
        """Of the baseline: about which process and address events have told since."""
        told = self._told.find(self._old_keys.key(1), self._old_keys.key(2)) >= 0
        over: npt.NDArray[np.bool_] = self._old["over"] | told
        return over

    def _prune(self) -> None:
        """Forgets mappings that ended long ago."""
        self._old["over"][:] = self._over()
        self._told = KeyTable(2)
        keys, state = self._keys, self._state
        keep = (state["live"] | (state["when"] > state["when"].max() - _LATE_NS)).nonzero()[0]
        self._keys = KeyTable(3)
        ids = self._keys.ids(*(keys.key(place)[keep] for place in range(3)))
        self._state = Growing({name: (state[name].dtype, 0) for name in state.names})
        self._state.resize(len(ids))
        for name in state.names:
            self._state[name][ids] = state[name][keep]
        self._most = max(_MANY, 2 * len(ids))


def _process(host: int, pids: Array) -> npt.NDArray[np.uint64]:
    return pids.astype(np.uint64) | np.uint64(host << 32)
