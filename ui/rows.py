"""The rows of a table as they are to be shown: columns of numbers, and an order."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tracer.model.bit5 import UNKNOWN, Bit5
from tracer.query.columns import Coded, Numbers

Column = npt.NDArray[Any] | Coded | Numbers


@dataclass(frozen=True, eq=False)
class Rows:
    """A table as it is to be shown: all columns, and the rows that are shown in their order."""

    table: str
    columns: Mapping[str, Column]
    ids: npt.NDArray[np.int64]
    """What stays with a row from one snapshot to the next."""
    order: npt.NDArray[np.intp]
    """Places of the rows that pass the filter, as they are sorted."""
    total: int
    """Rows there are without the filter."""
    start_ns: int | None = None
    now_ns: int | None = None
    before: bool = False
    """There are more rows before the first one, which can be asked for."""
    after: bool = False
    """There are more rows behind the last one."""
    busy: float | None = None
    """The filter has seen so much of the recording, 0 to 1; None: all."""
    problem: str = ""
    """Why the filter could not be applied."""
    bit5: Bit5 = UNKNOWN
    """What the recorded kernel calls seal 0x20; rows of the tables of events have it."""

    def __len__(self) -> int:
        return len(self.order)

    def value(self, name: str, place: int) -> Any:
        """One cell as a Python value; None: no such column, or null."""
        column = self.columns.get(name)
        if column is None:
            return None
        if isinstance(column, Coded):
            code = int(column.codes[place])
            return None if code < 0 else column.words[code]
        if isinstance(column, Numbers):
            known = column.valid is None or column.valid[place]
            return column.values[place].item() if known else None
        found = column[place]
        return found.item() if isinstance(found, np.generic) else found

    def record(self, place: int) -> dict[str, Any]:
        """Every column of one row."""
        return {name: self.value(name, place) for name in self.columns}

    def find(self, row_id: int) -> int:
        """Where in the order the row with this id stands, -1: it is not shown."""
        found = np.flatnonzero(self.ids[self.order] == row_id)
        return int(found[0]) if len(found) else -1


def no_rows(table: str) -> Rows:
    """An empty table."""
    return Rows(table, {}, np.empty(0, np.int64), np.empty(0, np.intp), 0)
