"""Events of those alone whom ``record --filter`` names: by unit, container, pod, machine, program.

The kernel side knows a cgroup by its number and a program by its inode. What they are called is
compared here, with what it has told before each event. Whoever is not known is recorded: he may be
one of them. So is what tells how a file was made and sealed, whoever did it.
"""

import numpy as np
from numpy.typing import NDArray

from tracer.capture.bpf_source import HOOKS
from tracer.capture.ring import Records
from tracer.filter.mask import ACTOR, PLACES, told
from tracer.filter.query import Query
from tracer.record import EVENT, HEAD, RECORD_SIZE, RecordType
from tracer.recording.places import Places
from tracer.recording.tables import tables
from tracer.recording.tasks import NOBODY, Actor, Tasks, is_qemu
from tracer.words import Op

KEPT = (Op.CREATE, Op.ADD_SEALS, Op.EVICT)
_RAW = np.dtype(f"V{RECORD_SIZE}")
_CONTEXT = ("cgroups", "tasks")
_MOST_ACTORS = 1 << 17


class ActorFilter:
    """Leaves out the events of others, and counts them."""

    def __init__(self, query: Query, cmdlines: bool) -> None:
        """``cmdlines``: they are recorded."""
        self._query, self._cmdlines = query, cmdlines
        self._places, self._tasks = Places(), Tasks()
        self.left_out: NDArray[np.uint64] = np.zeros(HOOKS, np.uint64)
        """By hook."""

    def of(self, records: Records) -> Records:
        """What is to be recorded of them, in the same order."""
        types = records["type"]
        if np.isin(types, (RecordType.CGROUP, RecordType.TASK)).any():
            found = tables(records, _CONTEXT)
            if "cgroups" in found:
                self._places.add(found["cgroups"])
            if "tasks" in found:
                self._tasks.add(found["tasks"])
                self._tasks.keep_newest(_MOST_ACTORS)  # the others' events are recorded, all
        raw = records.view(_RAW)
        rows = np.flatnonzero(types == RecordType.EVENT)
        events = raw[rows].view(EVENT)
        others = rows[~self._wanted(events) & ~np.isin(events["op"], KEPT)]
        if not len(others):
            return records
        np.add.at(self.left_out, records["hook"][others], 1)
        keep = np.ones(len(raw), np.bool_)
        keep[others] = False
        return raw[keep].view(HEAD)

    def _wanted(self, events: Records) -> NDArray[np.bool_]:
        who = [events[name] for name in ACTOR]
        columns = told(events["cgroup"], who, self._places, self._tasks)
        wanted = np.ones(len(events), np.bool_)
        for term in self._query.terms:
            # One by one: who is not known by one of them may be known by another.
            wanted &= Query((term,)).mask(columns) | ~self._known(events, term.columns())
        return wanted

    def _known(self, events: Records, names: frozenset[str]) -> NDArray[np.bool_]:
        """Of whom all that these columns say is known."""
        known = np.ones(len(events), np.bool_)
        if not names.isdisjoint(PLACES):
            cgroups, codes = np.unique(events["cgroup"], return_inverse=True)
            whole = [self._places.of(cgroup).whole for cgroup in cgroups.tolist()]
            known &= np.array(whole, np.bool_)[codes]
        if "exe" in names or "vm_claimed" in names:
            keys = np.stack([events[name].astype(np.int64) for name in ACTOR])
            actors, codes = np.unique(keys, axis=1, return_inverse=True)
            told_of = [self._is_known(Actor(*one), names) for one in actors.T.tolist()]
            known &= np.array(told_of, np.bool_)[codes.reshape(-1)]
        return known

    def _is_known(self, actor: Actor, names: frozenset[str]) -> bool:
        task = self._tasks.of(actor)
        if task is NOBODY or not task.exe or task.exe.startswith("?"):
            return False
        if "exe" in names or not self._cmdlines or task.cmdline:
            return True
        return not is_qemu(task.exe.encode())  # it claims nothing, whatever its command line is
