"""Between DataFrames and batches: the way in and out for notebooks."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from pandas.api.types import union_categoricals

from tracer.analysis import arrow, columns
from tracer.analysis.batch import Array, Batch, Vocabulary, joined
from tracer.analysis.source import Source
from tracer.recording.format import EVENTS


def batch_of(frame: pd.DataFrame, source: Source, comms: Vocabulary | None = None) -> Batch:
    """Events (or the table ``mappings``) as a batch; columns that are missing are unknown.

    A column ``row`` is kept, else rows are numbered from 0.
    """
    there = [name for name in EVENTS.names if name in frame]
    table = pa.table({name: _arrow(frame[name], EVENTS.field(name).type) for name in there})
    if not there:
        table = EVENTS.empty_table()
    comms = comms or Vocabulary()
    found = arrow.columns(table, EVENTS.names, comms)
    known = "row" in frame
    found["row"] = frame["row"].to_numpy(np.int64) if known else np.arange(len(frame))
    return Batch(source, found, comms)


def _arrow(column: "pd.Series[Any]", kind: pa.DataType) -> pa.Array:
    if pa.types.is_integer(kind) and column.dtype.kind == "f":
        column = column.astype("Float64").astype("Int64")  # integers that met a NaN
    return pa.array(column, from_pandas=True)


def frame_of(batch: Batch, names: Iterable[str] | None = None) -> pd.DataFrame:
    """A batch as a DataFrame with words for numbers, and ``errno`` where there is ``answer``."""
    made: dict[str, Any] = {}
    for name in batch.columns if names is None else names:
        made[name] = _shown(batch, name, batch[name])
        if name == "answer":
            made["errno"] = columns.errnos(batch["answer"])
    return pd.DataFrame(made)


def _shown(batch: Batch, name: str, values: Array) -> Any:
    if name in arrow.ENUMS:
        return columns.enum(name, values)
    return columns.words(values, batch.comms.texts) if name == "comm" else values


def concat(batches: Iterable[Batch], names: Sequence[str]) -> pd.DataFrame:
    """Batches of one source as one DataFrame: host, boot_id, the columns ``names``, and ``row``."""
    parts = list(batches)
    whole = joined(parts) if parts else batch_of(pd.DataFrame(), Source())
    frame = frame_of(whole, [*names, "row"])
    frame.insert(0, "boot_id", whole.source.boot_id)
    frame.insert(0, "host", whole.source.host)
    return frame


def stacked(pieces: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """DataFrames with the same columns, one below the other; categoricals stay such."""
    made: dict[str, Any] = {}
    for name in pieces[0].columns:
        parts = [piece[name] for piece in pieces]
        words = all(isinstance(part.dtype, pd.CategoricalDtype) for part in parts)
        # Verdicts are ordered, and have the same categories everywhere.
        if words and not parts[0].cat.ordered:
            made[name] = union_categoricals(parts)
        else:
            made[name] = pd.concat(parts, ignore_index=True)
    return pd.DataFrame(made)
