"""Records that the recorder itself makes: clocks, names, and what the kernel side counted.

LOSS and TOTALS records tell only what moved since the last look.
"""

import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tracer.capture.ring import Records
from tracer.record import (
    CLOCK,
    HEAD,
    LOSS,
    NAME,
    NO_SYSCALL,
    TOTALS,
    USER_CPU,
    Hook,
    LossCause,
    RecordType,
)
from tracer.words import CONTEXT, WANTED

_TOTALS = ("decided", "dropped")
_PIECE: int = NAME["text"].itemsize


def own_records(
    count: int, dtype: np.dtype[Any], record_type: RecordType, time_ns: int = 0
) -> Records:
    """Records of the recorder's own making, zero but for what all of them have.

    ``time_ns``: boot clock, 0: now.
    """
    rows = np.zeros(count, dtype)
    rows["time_ns"] = time_ns or time.clock_gettime_ns(time.CLOCK_BOOTTIME)
    rows["cpu"] = USER_CPU
    rows["nr"] = NO_SYSCALL
    rows["type"] = record_type
    return rows


def name_records(name: bytes, of: np.void) -> Records:
    """NAME records with the pieces of a name, ``of`` the object of that OBJECT record."""
    pieces = [name[at : at + _PIECE] for at in range(0, len(name), _PIECE)]
    rows = np.zeros(len(pieces), NAME)
    for field in ("time_ns", "ino", "dev", "gen", "cpu", "hook", "kind"):
        rows[field] = of[field]
    rows["type"], rows["nr"] = RecordType.NAME, NO_SYSCALL
    for place, piece in enumerate(pieces):
        rows["part"][place], rows["length"][place] = place, len(piece)
        rows["text"][place] = np.void(piece.ljust(_PIECE, b"\0"))
    return rows


def clock_record() -> Records:
    """The boot, real-time and monotonic clocks, read one after the other (nanoseconds)."""
    row = own_records(1, CLOCK, RecordType.CLOCK)
    row["realtime_ns"] = time.clock_gettime_ns(time.CLOCK_REALTIME)
    row["monotonic_ns"] = time.clock_gettime_ns(time.CLOCK_MONOTONIC)
    return row.view(HEAD)


class Ledger:
    """Remembers the last counts, shape (hooks, causes) and (hooks,), summed over CPUs."""

    def __init__(self, hooks: int, causes: int) -> None:
        self._lost = np.zeros((hooks, causes), "u8")
        self._totals = np.zeros((hooks, len(_TOTALS)), "u8")

    @property
    def lost(self) -> int:
        """Events so far."""
        return int(self._lost.sum()) - int(self._lost[:, [*CONTEXT, *WANTED]].sum())

    @property
    def decided(self) -> int:
        """Decisions that passed the filters so far, those included that were lost."""
        decided, dropped = self._totals.sum(axis=0)
        return int(decided - dropped) - int(self._lost[:, list(WANTED)].sum())

    def by_cause(self) -> dict[str, int]:
        """``{cause: count}`` of what was lost so far, without the zeros."""
        sums = self._lost.sum(axis=0)
        return {
            cause.name.lower(): int(sums[cause.value]) for cause in LossCause if sums[cause.value]
        }

    def update(
        self, counts: Records, missed: dict[int, int], filtered: NDArray[np.uint64] | None = None
    ) -> Records:
        """Records for everything that moved.

        ``counts`` has one row a CPU (`tracer.capture.program.COUNTS`); ``missed`` is
        ``{hook: times}`` that the kernel skipped a program, which it counts itself; ``filtered``:
        by hook, what was not to be recorded.
        """
        lost = counts["lost"].sum(axis=0)
        if filtered is not None:
            lost[:, LossCause.FILTERED] = filtered
        for hook, times in missed.items():
            if hook == Hook.CODE:  # no event is lost by that
                lost[hook, LossCause.STACK_MAP] += times
            else:
                lost[hook, LossCause.MISSED] = times
        totals = np.stack([counts["totals"][name].sum(axis=0) for name in _TOTALS], axis=1)
        # What the kernel did not tell this time is as it was: a count never goes back.
        lost, totals = np.maximum(lost, self._lost), np.maximum(totals, self._totals)
        records = np.concatenate([self._losses(lost), self._sums(totals)])
        self._lost, self._totals = lost, totals
        return records

    def _losses(self, lost: NDArray[np.uint64]) -> Records:
        hooks, causes = np.nonzero(lost != self._lost)
        rows = own_records(len(hooks), LOSS, RecordType.LOSS)
        rows["hook"], rows["cause"] = hooks, causes
        rows["total"] = lost[hooks, causes]
        rows["count"] = rows["total"] - self._lost[hooks, causes]
        return rows.view(HEAD)

    def _sums(self, totals: NDArray[np.uint64]) -> Records:
        (hooks,) = np.nonzero((totals != self._totals).any(axis=1))
        rows = own_records(len(hooks), TOTALS, RecordType.TOTALS)
        rows["hook"] = hooks
        for place, name in enumerate(_TOTALS):
            rows[name] = totals[hooks, place]
        return rows.view(HEAD)
