"""What a reader has to know before trusting a recording: problems, gaps and losses, in words."""

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any, Protocol

import pyarrow as pa

from tracer.text.columns import column


class Source(Protocol):
    """The part of ``tracer.store.reader.Recording`` that is asked here."""

    @property
    def problems(self) -> Iterable[Any]: ...

    def tables(self, name: str) -> Iterator[pa.Table]: ...


_MEANING = {
    "ring_full": "no room in the ring buffer",
    "inflight_full": "no room for calls in flight",
    "objects_full": "object table full",
    "no_entry": "return without entry",
    "no_return": "entry without return",
    "missed": "BPF program not run",
    "seq_hole": "sequence numbers that never arrived",
    "name": "object name not readable",
}


def losses(source: Source) -> Counter[str]:
    """Lost events by cause (``enum loss_cause``, lower case); causes that lost none are absent."""
    counts: Counter[str] = Counter()
    for table in source.tables("losses"):
        causes = column(table, "cause", "unknown")
        for cause, count in zip(causes, column(table, "count", 0), strict=True):
            if count:
                counts[str(cause)] += count
    return counts


def loss_sentence(counts: Counter[str]) -> str | None:
    """One sentence about ``counts``, None where nothing was lost."""
    if not counts:
        return None
    shown = ", ".join(
        f"{count} {_MEANING.get(cause, cause)}" for cause, count in counts.most_common()
    )
    return f"LOST {counts.total()} (not in this recording): {shown}"


def narration(source: Source) -> list[str]:
    """Sentences for stderr, empty for a recording that is whole and lost nothing."""
    sentences = [str(problem) for problem in source.problems]
    lost = loss_sentence(losses(source))
    return [*sentences, lost] if lost else sentences
