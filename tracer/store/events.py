"""Event records (rows) to Arrow columns, in blocks that stay in the processor's cache.

A record is 224 bytes, so each column touches every cache line of the records. Taking all columns
of a few thousand records before going on to the next reads the memory once instead of thirty times.
"""

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tracer.model.record import EVENT
from tracer.store.arrays import integers
from tracer.store.comms import Comms
from tracer.store.schema import EVENTS
from tracer.store.words import HOOKS, KINDS, OPS

_BLOCK = 4096
_WORDS = {"op": OPS, "kind": KINDS, "hook": HOOKS}


def _halves() -> np.dtype[np.void]:
    """EVENT with the comm as two integers."""
    fields = dict(EVENT.fields or {})
    offset = fields.pop("comm")[1]
    return np.dtype(
        {
            "names": [*fields, "comm_low", "comm_high"],
            "formats": [*(field[0] for field in fields.values()), "<u8", "<u8"],
            "offsets": [*(field[1] for field in fields.values()), offset, offset + 8],
            "itemsize": EVENT.itemsize,
        }
    )


_HALVES = _halves()


def _column_type(name: str) -> np.dtype[np.generic]:
    return np.dtype("<i8") if name.endswith("_ns") else EVENT[name]


class EventColumns:
    """Gathers at most ``capacity`` events as columns; their memory is used again and again."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.rows = 0
        names = [name for name in EVENTS.names if name != "comm"]
        self._columns = {name: np.empty(capacity, _column_type(name)) for name in names}
        self._comm = np.empty(capacity, np.int32)
        self._comms = Comms()

    def add(self, records: npt.NDArray[np.void]) -> int:
        """Takes as many of ``records`` (EVENT or BASELINE) as there is room for; how many."""
        count = min(len(records), self.capacity - self.rows)
        rows = records.view(_HALVES)
        for start in range(0, count, _BLOCK):
            block = rows[start : min(start + _BLOCK, count)]
            part = slice(self.rows, self.rows + len(block))
            for name, column in self._columns.items():
                column[part] = block[name]
            self._comms.codes(block["comm_low"], block["comm_high"], self._comm[part])
            self.rows += len(block)
        return count

    def sequence(self) -> tuple[npt.NDArray[np.uint16], npt.NDArray[np.uint64]]:
        """``cpu`` and ``seq`` of what was taken, without a copy."""
        return self._columns["cpu"][: self.rows], self._columns["seq"][: self.rows]

    def table(self) -> pa.Table:
        """What was taken, without a copy: it holds until the next :meth:`add`."""
        return pa.Table.from_arrays([self._array(name) for name in EVENTS.names], schema=EVENTS)

    def clear(self) -> None:
        """Begins anew."""
        self.rows = 0
        self._comms.renew()

    def _array(self, name: str) -> pa.Array:
        if name == "comm":
            return self._comms.array(self._comm[: self.rows])
        column = self._columns[name][: self.rows]
        return _WORDS[name].array(column) if name in _WORDS else integers(column)


def event_table(records: npt.NDArray[np.void]) -> pa.Table:
    """``records`` (EVENT or BASELINE) as a table of EVENTS with memory of its own."""
    columns = EventColumns(len(records))
    columns.add(records)
    return columns.table()
