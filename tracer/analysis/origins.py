"""Where judged decisions come from: which functions called, how often, with which verdict.

Nothing here is worked out for each event: stacks are counted by their numbers, and only then is
looked up what stands for a number.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from tracer.analysis.batches import Source
from tracer.filter.mask import Coded
from tracer.rules.verdicts import Verdict
from tracer.stacks.names import Names
from tracer.stacks.recorded import Stack
from tracer.stacks.shown import Call, Callers
from tracer.words import Op, words

if TYPE_CHECKING:
    import pandas as pd

    from tracer.analysis.decisions import Judged
    from tracer.recording.reader import Recording

_OPS = words(Op)
_MOST = 1 << 18
"""Different counts; beyond that decisions are counted as from nowhere."""
COLUMNS = (
    "host", "boot_id", "verdict", "count", "op", "rule", "function", "file", "line", "module",
    "origin", "stacks", "comm",
)  # fmt: skip


class Kind(NamedTuple):
    """What is counted: decisions with one stack that are alike."""

    stack: int
    kernel: int
    """The number of the kernel's own; 0: none."""
    verdict: int
    op: int
    rule: str | None
    comm: str


@dataclass
class Origins:
    """An observer: how often which stack led to which decision.

    It needs the column ``user_stack``, and each source's stacks before its events.
    """

    counts: dict[Source, dict[Kind, int]] = field(default_factory=dict)

    def __call__(self, judged: "Judged") -> None:
        """The next decisions."""
        samples = judged["user_stack"]
        rows = np.flatnonzero(samples)
        if not len(rows):
            return
        rule, comm = judged["rule"], judged["comm"]
        columns = [
            judged.source.stacks.numbers(samples[rows]),
            judged.source.stacks.numbers(samples[rows], kernel=True),
            *(judged[name][rows] for name in ("verdict", "op")),
            rule.codes[rows],
            comm.codes[rows],
        ]
        whole = np.stack([column.astype(np.int64) for column in columns], axis=1)
        found, times = np.unique(whole, axis=0, return_counts=True)
        counts = self.counts.setdefault(judged.source, {})
        for (*numbers, rule_, comm_), count in zip(found.tolist(), times.tolist(), strict=True):
            stack, kernel, verdict, op = numbers
            words_ = _word(rule, rule_), _word(comm, comm_) or ""
            self._count(counts, Kind(stack, kernel, verdict, op, *words_), count)

    def add(self, source: Source, counts: Mapping[Kind, int]) -> None:
        """What was counted elsewhere."""
        if not counts:
            return
        mine = self.counts.setdefault(source, {})
        for kind, count in counts.items():
            self._count(mine, kind, count)

    @staticmethod
    def _count(counts: dict[Kind, int], kind: Kind, count: int) -> None:
        if kind not in counts and len(counts) >= _MOST:
            kind = kind._replace(stack=0, kernel=0, comm="")
        counts[kind] = counts.get(kind, 0) + count


def _word(column: Coded, code: int) -> str | None:
    return None if code < 0 else column.words[code]


def recorded(recording: "Recording") -> bool:
    """Whether it has any stack."""
    return any(table.num_rows for table in recording.tables("callers", ["sample"]))


class Way(NamedTuple):
    """Decisions of one verdict that came one way."""

    comm: str
    calls: tuple[Call, ...]
    """Innermost first, the kernel's own before the program's."""
    op: str
    verdict: str
    times: int


@dataclass
class Found:
    """What :class:`Origins` counted, with names."""

    counts: Mapping[Source, Mapping[Kind, int]]
    names: Names

    def _stacks(self) -> Iterator[tuple[Source, Callers, dict[int, tuple[Call, ...]]]]:
        for source, counts in self.counts.items():
            callers = Callers(source.stacks, self.names)
            numbers = sorted({kind.stack for kind in counts})
            frames = {number: source.stacks.frames(number) for number in numbers}
            self.names.ask(frame for some in frames.values() for frame in some)
            calls = {
                number: tuple(callers.calls(Stack(number, some, "")))
                for number, some in frames.items()
            }
            yield source, callers, calls

    def _below(self, source: Source, callers: Callers) -> dict[int, tuple[Call, ...]]:
        numbers = {kind.kernel for kind in self.counts[source]} - {0}
        frames = {number: source.stacks.frames(number) for number in numbers}
        return {
            number: tuple(callers.kernel_calls(Stack(0, (), "", kernel=some)))
            for number, some in frames.items()
        }

    def ways(self) -> Iterator[Way]:
        """Each way that decisions came, with how many came so."""
        for source, callers, calls in self._stacks():
            below = self._below(source, callers)
            for kind, count in self.counts[source].items():
                verdict = Verdict(kind.verdict).word
                op = _OPS.get(kind.op, f"op_{kind.op}")
                whole = (*below.get(kind.kernel, ()), *calls[kind.stack])
                yield Way(kind.comm, whole, op, verdict, count)

    def frame(self) -> "pd.DataFrame":
        """Decisions by where they come from, the worst and the most frequent first.

        :return: a table with :data:`COLUMNS`: ``origin`` in words, ``stacks`` how many different
            ways lead through it, ``comm`` of the command that came so most often.
        """
        import pandas as pd

        sums: dict[tuple[Any, ...], dict[str, Any]] = {}
        for source, callers, calls in self._stacks():
            origins = {number: callers.origin_of(some) for number, some in calls.items()}
            for kind, count in self.counts[source].items():
                origin = origins[kind.stack]
                text = "not known" if origin is None else origin.origin
                # Two calls on one line of the source are one origin.
                key = source.host, source.boot_id, kind.verdict, kind.op, kind.rule, text
                one = sums.setdefault(
                    key, {"count": 0, "stacks": set(), "comms": {}, "origin": origin}
                )
                one["count"] += count
                one["stacks"].add((source.path, kind.stack))
                one["comms"][kind.comm] = one["comms"].get(kind.comm, 0) + count
        rows = [_row(key, one) for key, one in sums.items()]
        rows.sort(key=lambda row: (-row[2], -row[3], row[10]))
        named = [(host, boot, Verdict(verdict).word, *rest) for host, boot, verdict, *rest in rows]
        return pd.DataFrame(named, columns=[*COLUMNS])


def _row(key: tuple[Any, ...], one: Mapping[str, Any]) -> tuple[Any, ...]:
    host, boot, verdict, op, rule, text = key
    origin: Call | None = one["origin"]
    place, module = (None, None) if origin is None else (origin.place, origin.frame.module)
    comms = one["comms"]
    return (
        host,
        boot,
        verdict,
        one["count"],
        _OPS.get(op, f"op_{op}"),
        rule or None,
        (place.function or None) if place else None,
        (place.file or None) if place else None,
        (place.line or None) if place else None,
        module.path if module else None,
        text,
        len(one["stacks"]),
        max(comms, key=lambda comm: (comms[comm], comm)),
    )
