"""Sums of judged decisions at one moment, as tables.

Every table has, for each row, how many decisions got which verdict (``allowed``, ``error``,
``blocked``, ``indeterminate``, ``unexplained``, ``breach``), their number ``decisions``, the
``worst`` verdict, the time of the first and of the last one in ns of the boot clock (``first_ns``,
``last_ns``), and ``host`` and ``boot_id``, which tell several recordings apart. Rows come worst
first. What is not known is NA. Text is escaped text (tracer.escape).
"""

from functools import cached_property

import numpy as np
import pandas as pd

from tracer.analysis import columns, timeline
from tracer.analysis.by_object import by_object
from tracer.analysis.by_reason import by_op, by_rule
from tracer.analysis.by_who import by_fd, by_process
from tracer.analysis.columns import VERDICT_WORDS
from tracer.analysis.latest import NEVER
from tracer.analysis.listed import listed
from tracer.analysis.lost import losses
from tracer.analysis.over_time import over_time
from tracer.analysis.state import State
from tracer.analysis.view import View
from tracer.words import Seal


class Tables:
    """What a :class:`tracer.analysis.fold.Fold` had counted; a table is made when asked for."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._view = View(state, columns)

    @property
    def verdicts(self) -> dict[str, int]:
        """Decisions by verdict, all six."""
        counts = self._state.totals.sources["counts"].sum(axis=0)
        return dict(zip(VERDICT_WORDS, counts.tolist(), strict=True))

    @property
    def decisions(self) -> int:
        """How many decisions were counted."""
        return sum(self.verdicts.values())

    @cached_property
    def recordings(self) -> pd.DataFrame:
        """One row a recording: path, host, boot_id, kernel, decisions by verdict."""
        sources = self._state.sources
        counts = self._state.totals.sources["counts"]
        frame = {
            name: columns.texts(getattr(source, attribute) for source in sources)
            for name, attribute in (
                ("path", "path"), ("host", "host"), ("boot_id", "boot_id"), ("kernel", "release")
            )
        }  # fmt: skip
        verdicts = dict(zip(VERDICT_WORDS, counts.T, strict=True))
        return pd.DataFrame({**frame, **verdicts, "decisions": counts.sum(axis=1)})

    @cached_property
    def by_object(self) -> pd.DataFrame:
        """One row a memory file, those without decisions too.

        ``kind``, ``name``, ``dev``, ``ino``, ``gen``; as it is now: ``seals``, ``size`` (bytes),
        ``mappings`` that exist and those of them that are shared and ``writable`` (as far as events
        and the baseline tell); ``owner_uid``; how many ``processes`` asked, through how many
        ``fds``; ``last_op``, ``last_answer`` and ``last_errno`` of the latest decision;
        ``created_ns`` (NA: before the trace, or not seen), ``evicted_ns`` (NA: still there);
        ``age_ns``: from when it was first heard of to its end, or to the last that was heard of
        its host. It may be older if ``created_ns`` is NA.
        """
        return pd.DataFrame(by_object(self._view))

    @cached_property
    def by_fd(self) -> pd.DataFrame:
        """One row for each (process, file descriptor, object) that decisions were asked for.

        ``pid``, ``comm`` and ``uid`` (as they were at the last decision), ``fd`` (-1: not known, as
        in a kernel thread), the object's ``kind``, ``name``, ``dev``, ``ino``, ``gen``. A number
        that was closed and opened for another object has a row for each.
        """
        # There may be millions: they need not be there twice.
        return pd.DataFrame(by_fd(self._view), copy=False)

    @cached_property
    def by_process(self) -> pd.DataFrame:
        """One row a process id; ``comm`` and ``uid`` are those of its last decision.

        ``comms`` and ``uids`` say how many it had: threads have names of their own, exec gives a
        new one, and a process id that was used again looks just like that (events do not tell the
        one from the other). ``objects`` and ``fds``: how many it asked about and through.
        """
        return pd.DataFrame(by_process(self._view))

    @cached_property
    def by_op(self) -> pd.DataFrame:
        """One row an operation: op x verdict."""
        return by_op(self._view)

    @cached_property
    def by_rule(self) -> pd.DataFrame:
        """One row for each (verdict, op, expected, reason, rule, hole), with severity."""
        return by_rule(self._view)

    @cached_property
    def listed(self) -> pd.DataFrame:
        """Decisions that were not simply allowed; equal ones are one row with ``count``.

        Equal: same process, user, comm, fd, object, op, argument, error and outcome. ``tid``,
        ``seals``, ``size``, ``offset``, ``length``, ``answer`` and the rest are those of the first.
        Where no rule is the ``reason`` of an error, its errno is (tracer.labels.cause).
        At most :data:`tracer.analysis.cases.MOST` rows a verdict; :attr:`unlisted` has the others.
        """
        return listed(self._view)

    @property
    def unlisted(self) -> dict[str, int]:
        """Decisions by verdict that :attr:`listed` has no room for; ``{}``: none."""
        cases = self._state.totals.cases
        return {verdict.word: one.unlisted for verdict, one in cases.items() if one.unlisted}

    @property
    def unannounced(self) -> int:
        """Decisions on objects that the kernel side never announced.

        Their owner, folio order and perhaps name are not known, so that verdicts which depend on
        these are ``indeterminate``.
        """
        view, state = self._view, self._state
        objects = state.keys.objects_of[view.which]
        never = (state.known["announced_ns"] == NEVER) & (state.ino != 0)
        return int(view.groups["counts"][view.which][never[objects]].sum())

    @property
    def left_out(self) -> int:
        """Memory files that can never be sealed: only their creation was recorded."""
        state = self._state
        boots = [one.boot_id for one in state.sources if one.leaves_out]
        hosts = [place for place, boot in enumerate(state.hosts) if boot in boots]
        sealed = (state.known["seals"] == int(Seal.SEAL)) & (state.ino != 0)
        shown = state.same_as == np.arange(len(state.ino))
        return int((sealed & shown & np.isin(state.host, hosts)).sum())

    def over_time(self, step_ns: int | None = None) -> pd.DataFrame:
        """Decisions by verdict in steps of ``step_ns``; ``time_ns`` is the begin of a step.

        Each host has a clock of its own, so its steps are its own: from the first to the last with
        a decision, those without between them too. ``step_ns`` is rounded up to a multiple of what
        was counted by (1 ms, in a long recording ten, hundred ... times as much). None: the
        smallest 1, 2 or 5 x 10^n that gives at most 200 steps.
        """
        return over_time(self._view, step_ns)

    @cached_property
    def seals(self) -> pd.DataFrame:
        """One row for each creation and each change of an object's seals; by object, then by time.

        host, boot_id, kind, name, dev, ino, gen, ``time_ns``, pid, comm, ``op`` (``create`` or
        ``add_seals``), ``seals`` before, ``added``, ``seals_after``.
        """
        return timeline.seals(self._view)

    @cached_property
    def late_seals(self) -> pd.DataFrame:
        """Seals against writing that came when others could have written already.

        One row for each F_ADD_SEALS that added WRITE or FUTURE_WRITE to an object which was mapped
        shared and writable at that moment, or had been used by another process: what is in it may
        be theirs. (That its maker had mapped and filled it is how sealing is meant.) host, boot_id,
        kind, name, dev, ino, gen, ``time_ns``, pid, comm; ``seal``: its names; ``writable``:
        mappings that could write at that moment, as the kernel counted (under FUTURE_WRITE they
        still can); ``mapped``: whether one was seen at any time before; ``others``: processes that
        had used it before; ``why``: all that in words.
        """
        return timeline.late_seals(self._view)

    @cached_property
    def busy(self) -> pd.DataFrame:
        """F_ADD_SEALS that failed EBUSY, at most tracer.analysis.sealing.MOST_BUSY.

        host, boot_id, kind, name, dev, ino, gen, ``time_ns``, pid, comm, ``added`` (the seals asked
        for), ``writable`` (shared writable mappings, as the kernel counted at entry; 0: pages were
        pinned). tracer.analysis.holders.busy adds who held them.
        """
        return timeline.busy(self._view)

    @property
    def problems(self) -> list[str]:
        """What could not be read, in sentences; with several recordings, each behind its path."""
        several = len(self._state.sources) > 1
        return [
            f"{source.path}: {sentence}" if several else sentence
            for source, found in self._state.problems.items()
            for sentence in found
        ]

    @cached_property
    def losses(self) -> pd.DataFrame:
        """What was lost: path, host, boot_id, cause, hook, ``count`` events."""
        return losses(self._state.losses)
