"""Counts of judged decisions, in the finest groups, from which every table is summed."""

from typing import Self

import numpy as np

from tracer.analysis.batch import Array, Batch
from tracer.analysis.cases import Cases
from tracer.analysis.growing import Growing
from tracer.analysis.keys import Keys
from tracer.analysis.latest import BEFORE, NEVER, advance
from tracer.analysis.objects import packed
from tracer.analysis.timebins import TimeBins
from tracer.labels import MAX_ERRNO
from tracer.rules.verdicts import Verdict

VERDICTS = len(Verdict)
_COUNTS = (np.int64, 0, (VERDICTS,))
_REASON = {"count": (np.int64, 0), "first_ns": (np.int64, NEVER), "last_ns": (np.int64, BEFORE)}


class Totals:
    """What is counted; its ids are those of a :class:`Keys`. ``copy`` gives a snapshot."""

    def __init__(self) -> None:
        self.groups = Growing(
            {
                "counts": _COUNTS,
                "first_ns": (np.int64, NEVER),
                "last_ns": (np.int64, BEFORE),
                "last_rank": (np.int64, -1),
                "last_op": (np.uint8, 0),
                "last_answer": (np.int64, 0),
            }
        )
        self.reasons: dict[int, Growing] = {}
        """By host, then by :func:`reason`."""
        self.sources = Growing({"counts": _COUNTS})
        self.steps: dict[int, TimeBins] = {}
        """By host."""
        self.cases = {verdict: Cases() for verdict in Verdict if verdict != Verdict.ALLOWED}

    def copy(self) -> Self:
        """One that shares nothing with this."""
        other = type(self)()
        other.groups = self.groups.copy()
        other.reasons = {host: rows.copy() for host, rows in self.reasons.items()}
        other.sources = self.sources.copy()
        other.steps = {host: bins.copy() for host, bins in self.steps.items()}
        other.cases = {verdict: cases.copy() for verdict, cases in self.cases.items()}
        return other

    def add(self, keys: Keys, batch: Batch, group: Array, rank: Array, outcome: Array) -> None:
        """Counts a batch of one source.

        ``group`` and ``outcome``: each row's ids in ``keys``; ``rank``: see ``latest.advance``.
        """
        if not len(batch):
            return
        host, when = keys.host(batch.source), batch["time_ns"]
        verdict = keys.verdicts[outcome]
        groups = self.groups
        groups.resize(len(keys.groups))
        np.add.at(groups["counts"].reshape(-1), group * VERDICTS + verdict, 1)
        np.minimum.at(groups["first_ns"], group, when)
        last = advance(group, when, rank, groups["last_ns"], groups["last_rank"])
        groups["last_op"][group[last]] = batch["op"][last]
        groups["last_answer"][group[last]] = batch["answer"][last]
        self._reasons(host, batch, outcome)
        self._cases(keys, batch, group, rank, outcome, verdict)
        self.steps.setdefault(host, TimeBins(VERDICTS)).add(when, verdict)
        source = keys.source(batch.source)
        self.sources.resize(source + 1)
        self.sources["counts"][source] += np.bincount(verdict, minlength=VERDICTS)

    def _reasons(self, host: int, batch: Batch, outcome: Array) -> None:
        reasons = self.reasons.setdefault(host, Growing(_REASON))
        ids = reason(outcome, batch["op"])
        reasons.resize(int(ids.max()) + 1)
        reasons["count"][:] += np.bincount(ids, minlength=len(reasons))
        np.minimum.at(reasons["first_ns"], ids, batch["time_ns"])
        np.maximum.at(reasons["last_ns"], ids, batch["time_ns"])

    def _cases(
        self, keys: Keys, batch: Batch, group: Array, rank: Array, outcome: Array, verdict: Array
    ) -> None:
        for kind, cases in self.cases.items():
            rows = (verdict == kind).nonzero()[0]
            if len(rows):
                key = (
                    packed(group[rows], outcome[rows]),
                    packed(batch["op"][rows], _error(batch["answer"][rows])),
                    batch["arg"][rows],
                )
                cases.add(keys.cases[kind], key, batch, rows, rank)


def reason(outcome: Array, op: Array) -> Array:
    """(outcome, op) as one small number; ``divmod(number, 256)`` gives them back."""
    ids = outcome.astype(np.int64)
    ids <<= 8
    ids |= op
    return ids


def _error(answers: Array) -> Array:
    """The error number of each answer, 0 where it is none."""
    return np.where((answers < 0) & (answers >= -MAX_ERRNO), -answers, 0).astype(np.uint32)
