"""Raw records of all types to the tables of a recording: one rule for parts, tails and tests."""

from collections.abc import Callable, Collection

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tracer.model.record import CLOCK, EVENT, HEAD, LOSS, RECORD_SIZE, TOTALS, RecordType
from tracer.store.events import event_table
from tracer.store.objects import field_array, objects_tables
from tracer.store.schema import TABLES
from tracer.store.words import CAUSES, HOOKS

Records = npt.NDArray[np.void]

_OF_TYPE = {
    RecordType.EVENT: ("events", EVENT),
    RecordType.BASELINE: ("mappings", EVENT),
    RecordType.LOSS: ("losses", LOSS),
    RecordType.CLOCK: ("clocks", CLOCK),
    RecordType.TOTALS: ("totals", TOTALS),
}
OBJECT_TYPES = (RecordType.OBJECT, RecordType.NAME)


def _small_table(name: str) -> Callable[[Records], pa.Table]:
    schema = TABLES[name]

    def build(records: Records) -> pa.Table:
        arrays = []
        for field in schema:
            if field.name == "hook":
                arrays.append(HOOKS.array(records["hook"]))
            elif field.name == "cause":
                arrays.append(CAUSES.array(records["cause"]))
            else:
                arrays.append(field_array(records, field.name, field.type))
        return pa.Table.from_arrays(arrays, schema=schema)

    return build


_BUILD: dict[str, Callable[[Records], pa.Table]] = {
    "events": event_table,
    "mappings": event_table,
    "losses": _small_table("losses"),
    "clocks": _small_table("clocks"),
    "totals": _small_table("totals"),
}


def all_events(records: Records) -> bool:
    """Whether there is nothing but events, as it nearly always is when there is much."""
    return bool((records["type"] == RecordType.EVENT).all())


def split(records: Records) -> tuple[dict[str, Records], Records, int]:
    """``(rows by table, OBJECT and NAME rows together, how many of unknown type)``.

    The order of arrival is kept; only tables that have rows are there.
    """
    types = records["type"].copy()
    raw = records.view(f"V{RECORD_SIZE}")  # numpy copies a record of one field in one go
    found: dict[str, Records] = {}
    rest = len(records)
    for kind, (name, dtype) in _OF_TYPE.items():
        rows = raw[types == kind]
        if len(rows):
            found[name] = rows.view(dtype)
            rest -= len(rows)
    objects = raw[np.isin(types, OBJECT_TYPES)].view(HEAD)
    return found, objects, rest - len(objects)


def build(name: str, rows: Records) -> pa.Table:
    """A table (not ``objects`` or ``names``) from its rows, as :func:`split` gives them."""
    return _BUILD[name](rows)


def tables(records: Records, wanted: Collection[str] = TABLES) -> dict[str, pa.Table]:
    """Every table of ``wanted`` that ``records`` (HEAD, any types) have rows for.

    Objects are not wanted without their names.
    """
    found, objects, _ = split(records)
    built = {name: build(name, rows) for name, rows in found.items() if name in wanted}
    if len(objects) and "objects" in wanted:
        built["objects"], built["names"] = objects_tables(objects)
    return {name: table for name, table in built.items() if table.num_rows}
