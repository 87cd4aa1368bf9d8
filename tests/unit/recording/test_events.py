"""Event files: every column of every reader is compared with the records that went in."""

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from tests.unit.recording.store_records import Records, mixed
from tracer.record import EVENT, RECORD_SIZE
from tracer.recording.folder import Folder
from tracer.recording.format import EVENTS
from tracer.recording.part import Part
from tracer.recording.tables import OPS, EventColumns, event_table

# What a column is called in the file is what it is called in the record, but for these.
_SPECIAL = {"comm", "op", "kind", "hook"}


def _events(count: int, seed: int) -> Records:
    return mixed(count, seed, (1,)).view(f"V{RECORD_SIZE}").view(EVENT)


def _write(where: Path, columns: EventColumns, batches: list[Records]) -> Path:
    part = Part(Folder.open(where), "events", 0)
    for batch in batches:
        while len(batch):
            batch = batch[columns.add(batch) :]
            if columns.rows == columns.capacity:
                part.add(columns.table())
                columns.clear()
    if columns.rows:
        part.add(columns.table())
        columns.clear()
    assert part.finish().rows == sum(map(len, batches)) or not batches
    part.sink.publish()
    return where / "000000.parquet"


def test_file_holds_what_the_records_say(tmp_path: Path) -> None:
    records = _events(5000, 1)
    path = _write(tmp_path, EventColumns(2000), [records])
    table = pq.ParquetFile(path).read()
    assert table.schema.equals(EVENTS)
    for name in EVENTS.names:
        if name not in _SPECIAL:
            assert table[name].to_numpy().astype("u8").tolist() == (
                records[name].astype("u8").tolist()
            ), name
    assert table["op"].to_pylist() == OPS.array(records["op"]).to_pylist()
    assert pd.read_parquet(path)["comm"].tolist() == event_table(records)["comm"].to_pylist()


def test_columns_are_used_again(tmp_path: Path) -> None:
    columns = EventColumns(300)
    batches = [_events(count, seed) for seed, count in enumerate([1, 300, 2, 700, 400, 299])]
    path = _write(tmp_path, columns, batches)
    want = event_table(np.concatenate(batches))
    assert pq.ParquetFile(path).read().to_pylist() == want.to_pylist()


def test_time_range_lets_readers_skip(tmp_path: Path) -> None:
    records = _events(100, 1)
    records["time_ns"] = np.arange(100) + 5
    meta = pq.read_metadata(_write(tmp_path, EventColumns(50), [records]))
    place = EVENTS.get_field_index("time_ns")
    found = [meta.row_group(group).column(place).statistics for group in range(2)]
    assert [(one.min, one.max) for one in found] == [(5, 54), (55, 104)]
    table = pq.read_table(tmp_path, filters=[("time_ns", ">", 60)], columns=["time_ns"])
    assert table["time_ns"].to_pylist() == list(range(61, 105))
