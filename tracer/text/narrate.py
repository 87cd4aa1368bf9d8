"""What a reader has to know before trusting a recording: problems, gaps and losses, in words."""

from collections import Counter
from collections.abc import Collection
from typing import TYPE_CHECKING

from tracer.text.columns import column

if TYPE_CHECKING:
    from tracer.store.reader import Recording


_MEANING = {
    "ring_full": "no room in the ring buffer",
    "inflight_full": "no room for calls in flight",
    "objects_full": "object table full",
    "no_entry": "return without entry",
    "no_return": "entry without return",
    "missed": "BPF program not run",
    "seq_hole": "sequence numbers that never arrived",
    "name": "object name not readable",
    "pids_full": "no room to follow a child process",
}
CONTEXT = ("objects_full", "name")
"""Causes by which no event is lost, only what stands around it."""


def losses(recording: "Recording") -> Counter[str]:
    """Lost events by cause (``enum loss_cause``, lower case); causes that lost none are absent."""
    counts: Counter[str] = Counter()
    for table in recording.tables("losses"):
        causes = column(table, "cause", "unknown")
        for cause, count in zip(causes, column(table, "count", 0), strict=True):
            if count:
                counts[str(cause)] += count
    return counts


def _sentence(start: str, counts: Counter[str]) -> list[str]:
    if not counts:
        return []
    shown = (f"{count} {_MEANING.get(cause, cause)}" for cause, count in counts.most_common())
    return [start.format(counts.total()) + ", ".join(shown)]


def loss_sentences(counts: Counter[str]) -> list[str]:
    """At most two sentences about ``counts``: events lost, and events without their context."""
    context = Counter({cause: counts[cause] for cause in CONTEXT if counts[cause]})
    return _sentence("LOST {} events: ", counts - context) + _sentence("incomplete: ", context)


def narration(recording: "Recording", told: Collection[str] = ()) -> list[str]:
    """Sentences for stderr, empty for a recording that is whole and lost nothing.

    ``told``: what was said before; of that only a loss is said again.
    """
    lost = loss_sentences(losses(recording))
    fresh = [problem for problem in recording.problems if problem not in told]
    return fresh + lost
