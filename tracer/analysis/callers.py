"""User stacks as DataFrames: which stack an event has, and which functions are on it."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd

from tracer.analysis.batches import Source
from tracer.stacks.names import Names
from tracer.stacks.recorded import TABLES, Stack, Stacks
from tracer.stacks.shown import Callers

if TYPE_CHECKING:
    from tracer.recording.reader import Recording

CALLERS = ("host", "boot_id", "user_stack", "stack", "state", "maps_from", "kernel_stack")
FRAMES = (
    "host", "boot_id", "stack", "depth", "inlined", "function", "file", "line", "module", "offset",
    "build_id", "what",
)  # fmt: skip


def read(recording: "Recording") -> Stacks:
    """All stacks of a recording. StoreError."""
    return Stacks.of_tables((name, table) for name in TABLES for table in recording.tables(name))


def callers(recordings: "Sequence[Recording]") -> pd.DataFrame:
    """One row for each ``user_stack`` that something is known of.

    :return: a table with :data:`CALLERS`, to be joined to events by ``user_stack``; ``stack`` is
        the number of its frames in :func:`frames`, 0 where none is known.
    """
    pieces = []
    for recording in recordings:
        source, found = Source.of(recording), read(recording).samples()
        pieces.append(pd.DataFrame({"host": source.host, "boot_id": source.boot_id, **found}))
    whole = pd.concat(pieces, ignore_index=True) if pieces else pd.DataFrame()
    return whole.reindex(columns=[*CALLERS])


def frames(recordings: "Sequence[Recording]", names: Names) -> pd.DataFrame:
    """One row for each function of each different stack, the innermost (depth 0) first.

    :param names: looks functions and lines up.
    :return: a table with :data:`FRAMES`; of an inlined function ``depth``, ``module`` and
        ``offset`` are those of the frame that it is part of.
    """
    rows: list[dict[str, Any]] = []
    for recording in recordings:
        source, stacks = Source.of(recording), read(recording)
        found = {number: stacks.frames(number) for number in stacks.known()}
        names.ask(frame for some in found.values() for frame in some)
        shown = Callers(stacks, names)
        for number, some in found.items():
            depth = 0
            for call in shown.calls(Stack(number, some, "")):
                where = {"host": source.host, "boot_id": source.boot_id, "stack": number}
                rows.append({**where, "depth": depth, **call.data()})
                depth += not call.inlined
    table = pd.DataFrame(rows, columns=[*FRAMES])
    return table.astype({"line": "Int64", "depth": "int64", "stack": "int64"})
