"""The event files are put together by hand, so every reader's view is compared with the records."""

import io
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.store_records import Records, mixed
from tracer.model.record import EVENT, RECORD_SIZE
from tracer.store import delta, pages
from tracer.store.coder import CODES, Coder, Scratch
from tracer.store.eventgroup import EventGroup
from tracer.store.eventpart import EventPart
from tracer.store.events import event_table
from tracer.store.folder import Folder
from tracer.store.schema import EVENTS
from tracer.store.thrift import I32, I64, struct


def _events(records: Records) -> Records:
    return records.view(f"V{RECORD_SIZE}").view(EVENT)


def _write(where: Path, group: EventGroup, batches: list[Records]) -> Path:
    part = EventPart(Folder.open(where), 0)
    for batch in batches:
        while len(batch):
            batch = batch[group.add(batch) :]
            if group.rows == group.capacity:
                part.add(group)
                group.clear()
        if group.rows:
            part.add(group)
            group.clear()
    assert part.finish().rows == sum(map(len, batches))
    part.sink.publish()
    return where / "000000.parquet"


def _few_values(count: int, seed: int, different: int) -> Records:
    """Events of which every word takes only so many values."""
    rng = np.random.default_rng(seed)
    kinds = _events(mixed(different, seed, (1,)))
    return kinds[rng.integers(0, different, count)]


@pytest.mark.parametrize("different", [1, 2, 3, 5, 16, 17, 255, 256, 257, 3000])
def test_file_holds_what_the_records_say(tmp_path: Path, different: int) -> None:
    records = _few_values(5000, different, different)
    path = _write(tmp_path, EventGroup(2000), [records])
    assert pq.read_table(path).equals(pq.read_table(path, use_threads=False))
    table = pq.ParquetFile(path).read()
    assert table.schema.equals(EVENTS)
    assert table.to_pylist() == event_table(records).to_pylist()


def test_groups_of_different_kinds_follow_each_other(tmp_path: Path) -> None:
    counts = [1, 300, 2, 300, 400, 1, 300]
    batches = [_few_values(700, seed, count) for seed, count in enumerate(counts)]
    batches += [_few_values(700, 1, 300)[:1], _few_values(9, 5, 2)]
    path = _write(tmp_path, EventGroup(300), batches)
    want = event_table(np.concatenate(batches))
    assert pq.read_table(path).to_pylist() == want.to_pylist()


def test_old_values_do_not_fill_the_table_for_ever() -> None:
    coder = Coder(1, 100, Scratch(100))
    for turn in range(40):
        words = np.arange(20, dtype=np.uint64) % 10 + turn * 10
        coder.add([words], 0)
        if coder.raw is None:
            assert coder.values(0, 20)[coder.codes[:20]].tolist() == words.tolist()
        else:
            assert coder.raw[0, :20].tolist() == words.tolist()
        assert coder.raw is not None or coder.count <= CODES
        coder.next_group()


@pytest.mark.parametrize("width", [1, 3])
def test_zero_and_one_are_values_like_others(width: int) -> None:
    coder = Coder(width, 64, Scratch(64))
    values = np.array([0, 1, 2**64 - 1, 0, 7, 1, 1 << 63], np.uint64)
    for words in (values[:1], values, values[::-1], np.zeros(5, np.uint64)):
        coder.add([words] * width, 0)
        for word in range(width):
            found = coder.values(word, 0)[coder.codes[: len(words)]]
            assert found.tolist() == words.tolist()


def test_time_range_lets_readers_skip(tmp_path: Path) -> None:
    records = _few_values(100, 1, 1)
    records["time_ns"] = np.arange(100) + 5
    meta = pq.read_metadata(_write(tmp_path, EventGroup(50), [records]))
    ranges = []
    for group in range(meta.num_row_groups):
        statistics = meta.row_group(group).column(EVENTS.get_field_index("time_ns")).statistics
        ranges.append((statistics.min, statistics.max))
    assert ranges == [(5, 54), (55, 104)]
    found = pq.read_table(tmp_path, filters=[("time_ns", ">", 60)], columns=["time_ns"])
    assert found["time_ns"].to_pylist() == list(range(61, 105))


def _read_back(values: np.ndarray) -> list[int]:
    """The values of a column chunk, by a file around it."""
    from tracer.store.footer import MAGIC, FileShape

    kind = pa.int64() if values.itemsize == 8 else pa.int32()
    shape = FileShape(pa.schema([pa.field("x", kind, nullable=False)]))
    chunk = delta.number_chunk(values)
    shape.add_group(len(values), len(MAGIC), [chunk], {})
    data = MAGIC + chunk.data + shape.footer()
    return [int(value) for value in pq.read_table(io.BytesIO(data))["x"].to_pylist()]


@settings(max_examples=60, deadline=None)
@given(
    start=st.integers(-(2**63), 2**63 - 1),
    spread=st.sampled_from([0, 1, 100, 255, 256, 65535, 2**23, 2**24, 2**31, 2**32, 2**40, 2**62]),
    count=st.sampled_from([1, 2, 3, 31, 32, 33, 34, 127, 128, 129, 130, 161, 200, 257, 300]),
    seed=st.integers(0, 99),
    wide=st.booleans(),
)
def test_differences_are_exact(start: int, spread: int, count: int, seed: int, wide: bool) -> None:
    rng = np.random.default_rng(seed)
    kind = np.int64 if wide else np.int32
    steps = rng.integers(-spread, spread, count, np.int64, endpoint=True)
    with np.errstate(over="ignore"):
        values = (np.cumsum(steps) + np.int64(start)).astype(kind)
    assert _read_back(values) == values.tolist()


def test_differences_over_several_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delta, "_PAGE", 100)
    values = np.arange(1000, dtype=np.int64) * 3
    values[550:] += 1 << 50  # this page is stored plain
    assert _read_back(values) == values.tolist()
    encodings = delta.number_chunk(values).encodings
    assert encodings == [pages.PLAIN, pages.RLE, pages.DELTA]


@pytest.mark.parametrize("width", [1, 2, 4, 8])
@pytest.mark.parametrize("count", [1, 7, 8, 9, 64])
def test_pack(width: int, count: int) -> None:
    codes = (np.arange(count) * 7 % (1 << width)).astype(np.uint8)
    packed = int.from_bytes(pages.pack(codes, width), "little")
    assert [packed >> n * width & (1 << width) - 1 for n in range(count)] == codes.tolist()


def test_thrift_compact_bytes() -> None:
    found = struct({1: I32(-1), 2: I64(300), 4: "ab", 5: [I32(1)] * 2, 6: [{}] * 15, 12: {1: b""}})
    want = "15 01 16 d804 28 02 6162 19 25 02 02 19 fc 0f" + "00" * 15 + "6c 18 00 00 00"
    assert found.hex() == want.replace(" ", "")
