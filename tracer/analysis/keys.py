"""Who and what is counted: ids that stay the same, shared by all snapshots."""

import numpy as np
import numpy.typing as npt

from tracer.analysis.batch import Batch, Vocabulary
from tracer.analysis.growing import Growing
from tracer.analysis.keytable import Ids, KeyTable
from tracer.analysis.latest import BEFORE, NEVER, RANK_BITS
from tracer.analysis.objects import Objects, packed
from tracer.analysis.source import Source
from tracer.rules.verdicts import Outcome, Verdict


class Keys:
    """Ids of hosts, sources, objects, groups, outcomes and cases.

    A *group* is all that one (pid, fd, uid, comm) did with one object.
    """

    def __init__(self) -> None:
        self.sources: list[Source] = []
        self.hosts: list[str] = []
        """Boot ids."""
        self.now: list[int] = []
        """By host: the last time that anything was heard of it, ns of its boot clock."""
        self.objects = Objects()
        self.actors: list[tuple[int, str]] = []
        """(host, comm) by their code, so that a group's key says what host it is of."""
        self.groups = KeyTable(4)
        """ino, dev << 32 | gen, pid << 32 | fd, uid << 32 | code of (host, comm)."""
        self.cases = {verdict: KeyTable(3) for verdict in Verdict}
        self.outcomes: list[Outcome] = []
        self.verdicts = np.empty(0, np.int64)
        """Of each outcome."""
        self.of_group = Growing(
            {"object": (np.int64, 0), "used_ns": (np.int64, NEVER), "held": (np.bool_, 0)}
        )
        """By group: its object, when it first had to do with it, and whether before the trace."""
        self._outcome_ids: dict[Outcome, int] = {}
        self._places: dict[Source, tuple[int, int]] = {}
        self._actor_ids: dict[tuple[int, str], int] = {}
        self._comm_ids: dict[tuple[int, Vocabulary], npt.NDArray[np.uint64]] = {}

    def _place(self, source: Source) -> tuple[int, int]:
        if source not in self._places:
            if source.boot_id not in self.hosts:
                self.hosts.append(source.boot_id)
                self.now.append(BEFORE)
            self._places[source] = len(self.sources), self.hosts.index(source.boot_id)
            self.sources.append(source)
        return self._places[source]

    def source(self, source: Source) -> int:
        """The id of a recording."""
        return self._place(source)[0]

    def host(self, source: Source) -> int:
        """The id of the boot that a recording is of."""
        return self._place(source)[1]

    def heard(self, source: Source, when: int) -> None:
        """Something was heard of a source's host."""
        host = self.host(source)
        self.now[host] = max(self.now[host], when)

    def rank(self, batch: Batch) -> npt.NDArray[np.int64]:
        """Each row's place in the order of arrival among all sources."""
        rank: npt.NDArray[np.int64] = batch["row"] + (self.source(batch.source) << RANK_BITS)
        return rank

    @property
    def objects_of(self) -> Ids:
        """The object of each group."""
        return self.of_group["object"]

    def group_ids(self, batch: Batch) -> Ids:
        """The group of each row."""
        host = self.host(batch.source)
        actors = self._actors(host, batch.comms)[batch["comm"]]
        actors |= batch["uid"].astype(np.uint64) << np.uint64(32)
        ino = batch["ino"].astype(np.uint64, copy=False)
        dev_gen = packed(batch["dev"], batch["gen"])
        groups, known = self.groups, len(self.groups)
        ids = groups.ids(ino, dev_gen, packed(batch["pid"], batch["fd"]), actors)
        if len(groups) > known:
            new = self.objects.ids(host, groups.key(0)[known:], groups.key(1)[known:])
            self.of_group.resize(len(groups))
            self.of_group["object"][known:] = new
        return ids

    def _actors(self, host: int, comms: Vocabulary) -> npt.NDArray[np.uint64]:
        known = self._comm_ids.get((host, comms))
        if known is None or len(known) < len(comms.texts):
            ids = self._actor_ids
            for text in comms.texts[0 if known is None else len(known) :]:
                ids.setdefault((host, text), len(ids))
            self.actors.extend(list(ids)[len(self.actors) :])
            known = np.array([ids[host, text] for text in comms.texts], np.uint64)
            self._comm_ids[host, comms] = known
        return known

    def outcome_ids(self, outcomes: list[Outcome]) -> npt.NDArray[np.int32]:
        """The id of each outcome."""
        ids = [self._outcome_ids.setdefault(one, len(self._outcome_ids)) for one in outcomes]
        if len(self.outcomes) < len(self._outcome_ids):
            self.outcomes.extend(list(self._outcome_ids)[len(self.outcomes) :])
            self.verdicts = np.array([one.verdict for one in self.outcomes], np.int64)
        return np.array(ids, np.int32)
