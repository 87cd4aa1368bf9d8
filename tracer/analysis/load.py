"""Reads recordings for analysis: events in batches of numpy columns, the small tables as frames.

Memory stays bounded however long a recording is; the next batch is read while one is used.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from tracer.analysis import arrow
from tracer.analysis.batch import Array, Batch, Vocabulary, joined
from tracer.analysis.features import COLUMNS
from tracer.analysis.prefetch import ahead
from tracer.analysis.source import Source
from tracer.analysis.source import variants as _variants
from tracer.recording.format import EVENTS
from tracer.recording.reader import Recording
from tracer.words import Op

if TYPE_CHECKING:
    import pandas as pd

FEW = 1 << 16
"""Rows: smaller pieces (segments of a quiet recording) are put together up to this."""
MANY = 1 << 18
"""Rows: a batch has at most so many."""
ALL = tuple(EVENTS.names)
NEEDED = tuple(
    name
    for name in ALL
    if name in {*COLUMNS, "time_ns", "pid", "tid", "uid", "comm", "dev", "ino", "gen", "fd", "mm"}
)
"""What judging and counting need."""


def variants(recording: Recording) -> dict[str, str]:
    """What the self-test of ``recording`` chose: question to choice; ``{}`` if it did not run."""
    return _variants(recording.manifest)


def batches(
    recording: Recording,
    columns: Iterable[str] | None = None,
    ops: Collection[Op] | None = None,
    *,
    source: Source | None = None,
    where: Callable[[Batch], Array] | None = None,
) -> Iterator[Batch]:
    """The events of ``recording`` as they are now, in the order of arrival, in batches.

    ``columns``: those that are needed (default: all); ``row`` comes always.
    ``ops``: only events of these; ``where``: only those for which it gives True (one bool a row).
    A row keeps its number, whatever is left out. Raises StoreError; what cannot be read is
    skipped and told in ``recording.problems``.
    """
    names = ALL if columns is None else [name for name in ALL if name in set(columns)]
    wanted = [*dict.fromkeys([*names, *(["op"] if ops is not None else [])])]
    source = source or Source.of(recording)
    found = ahead(_pieces(recording.tables("events", wanted), wanted, source))
    for batch in found:
        if ops is not None:
            batch = batch.take(np.isin(batch["op"], list(ops)))
        if where is not None and len(batch):
            batch = batch.take(where(batch))
        if len(batch):
            yield batch


def follow(recording: Recording, poll_s: float = 0.1) -> Iterator[Batch]:
    """Batches of a recording that is being written, until it ends (Recording.follow)."""
    source, comms, row = Source.of(recording), Vocabulary(), 0
    for table in recording.follow(poll_s):
        for start in range(0, table.num_rows, MANY):
            piece = table.slice(start, MANY)
            yield batch(piece, ALL, source, comms, row)
            row += piece.num_rows


def batch(
    table: pa.Table, names: Sequence[str], source: Source, comms: Vocabulary, row: int
) -> Batch:
    """An events table as a Batch; ``row`` is the number of its first event in ``source``."""
    columns = arrow.columns(table, names, comms)
    columns["row"] = np.arange(row, row + table.num_rows)
    return Batch(source, columns, comms)


@contextmanager
def _system_memory() -> Iterator[None]:
    """Lets Arrow take memory from malloc.

    Its own pool gives memory back at once and gets it again, cleared by the kernel, for each
    batch: a fifth of all the time.
    """
    usual = pa.default_memory_pool()
    pa.set_memory_pool(pa.system_memory_pool())
    try:
        yield
    finally:
        pa.set_memory_pool(usual)


def _pieces(tables: Iterator[pa.Table], names: Sequence[str], source: Source) -> Iterator[Batch]:
    comms = Vocabulary()
    row = 0
    held: list[Batch] = []
    with _system_memory():
        for table in tables:
            for start in range(0, table.num_rows, MANY):
                piece = table.slice(start, MANY)
                held.append(batch(piece, names, source, comms, row))
                row += piece.num_rows
                if sum(map(len, held)) >= FEW:
                    yield joined(held)
                    held = []
        if held:
            yield joined(held)


def objects(recording: Recording) -> "pd.DataFrame":
    """The announcements of memory files, with names; an object may be announced more than once."""
    return recording.frame("objects")


def mappings(recording: Recording) -> "pd.DataFrame":
    """What was held open or mapped before the trace began (op ``open`` or ``map``, mm 0)."""
    return recording.frame("mappings")


def losses(recording: Recording) -> "pd.DataFrame":
    """What was lost, by cause and hook: ``count`` since the last row, ``total`` since the start."""
    return recording.frame("losses")
