"""One way to read columns, whatever holds them: pandas, Arrow, or a mapping of either and numpy."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tracer.store.arrays import plain

Values = npt.NDArray[Any]
Mask = npt.NDArray[np.bool_]


class Coded(NamedTuple):
    """A column of texts: ``words[codes[row]]``; a negative code is null."""

    codes: npt.NDArray[np.integer[Any]]
    words: Sequence[str | None]


class Numbers(NamedTuple):
    """A column of numbers; ``valid`` is None where no row is null."""

    values: Values
    valid: Mask | None


def _arrow(column: Any) -> list[Any]:
    """The chunks of an Arrow column."""
    return list(column.chunks) if isinstance(column, pa.ChunkedArray) else [column]


def _is_arrow(column: Any) -> bool:
    return isinstance(column, pa.Array | pa.ChunkedArray)


def _is_numpy(column: Any) -> bool:
    return isinstance(column, np.ndarray)


def _coded_chunk(chunk: Any) -> Coded:
    if not pa.types.is_dictionary(chunk.type):
        chunk = chunk.dictionary_encode()
    indices = chunk.indices
    if indices.null_count:
        indices = indices.cast(pa.int64()).fill_null(-1)
    return Coded(plain(indices), chunk.dictionary.to_pylist())


def _coded_series(series: Any) -> list[Coded]:
    import pandas as pd

    if isinstance(series.dtype, pd.CategoricalDtype):
        words = [None if word is None else str(word) for word in series.cat.categories]
        return [Coded(series.cat.codes.to_numpy(), words)]
    codes, words = pd.factorize(series)  # by hashing; nulls become -1
    return [Coded(codes, [str(word) for word in words])]


class Columns:
    """The columns of ``source``: DataFrame, Arrow table, or mapping."""

    def __init__(self, source: Any) -> None:
        self._source = source
        self._arrow = isinstance(source, pa.Table | pa.RecordBatch)

    @property
    def names(self) -> frozenset[str]:
        return frozenset(self._source.schema.names if self._arrow else self._source)

    @property
    def rows(self) -> int:
        """How many rows there are; a mapping without columns has none."""
        if self._arrow:
            return int(self._source.num_rows)
        if hasattr(self._source, "index"):
            return len(self._source.index)
        return next((self._length(column) for column in self._source.values()), 0)

    @staticmethod
    def _length(column: Any) -> int:
        return len(column.codes) if isinstance(column, Coded) else len(column)

    def texts(self, name: str) -> list[Coded] | None:
        """Column ``name`` in coded pieces; None: it has numbers."""
        column = self._source[name]
        if isinstance(column, Coded):
            return [column]
        if _is_arrow(column):
            if pa.types.is_integer(column.type):
                return None
            return [_coded_chunk(chunk) for chunk in _arrow(column)]
        if np.dtype("O") != getattr(column, "dtype", None) and self._integers(column):
            return None
        if _is_numpy(column):
            import pandas as pd

            column = pd.Series(column)
        return _coded_series(column)

    @staticmethod
    def _integers(column: Any) -> bool:
        return getattr(column.dtype, "kind", "O") in "iu"

    def numbers(self, name: str) -> Numbers:
        """Column ``name`` as numbers."""
        column = self._source[name]
        if isinstance(column, Coded):
            raise TypeError(f"column {name} is text")
        if not _is_arrow(column):
            if getattr(column.dtype, "kind", "O") in "iufb" and isinstance(column.dtype, np.dtype):
                return Numbers(np.asarray(column), None)
            column = pa.array(column, from_pandas=True)  # pandas' own types, Arrow's, objects
        if pa.types.is_null(column.type):
            return Numbers(np.zeros(len(column), np.int64), np.zeros(len(column), bool))
        if pa.types.is_dictionary(column.type):
            column = column.cast(column.type.value_type)
        if not column.null_count:
            return Numbers(_joined(column), None)
        return Numbers(_joined(column.fill_null(0)), _joined(column.is_valid()))


def _joined(column: Any) -> Values:
    pieces = [
        plain(chunk) if pa.types.is_integer(chunk.type) else chunk.to_numpy(zero_copy_only=False)
        for chunk in _arrow(column)
    ]
    if len(pieces) == 1:
        return np.asarray(pieces[0])
    return np.concatenate(pieces) if pieces else np.empty(0, np.int64)
