"""Batches of recordings: every event once, numbered, whatever state the recording is in."""

import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from tests.unit.recording.store_records import SMALL, mixed, numbered, write
from tracer.analysis import batches as columns
from tracer.analysis import decisions
from tracer.analysis.batches import Batch, Source, Vocabulary, variants
from tracer.analysis.decisions import ahead
from tracer.labels import SEALS_UNKNOWN
from tracer.recording.format import EVENTS
from tracer.recording.manifest import Manifest
from tracer.recording.reader import Recording
from tracer.recording.writer import RecordingWriter
from tracer.words import Flag, Op


def events_of(path: Path) -> pa.Table:
    with Recording.open(path) as recording:
        return pa.concat_tables([EVENTS.empty_table(), *recording.tables("events")])


def test_batches_are_the_events(tmp_path: Path) -> None:
    path = write(tmp_path / "r.seal", mixed(500))
    want = events_of(path)
    with Recording.open(path) as recording:
        batches = list(decisions.batches(recording))
    assert [int(row) for batch in batches for row in batch["row"]] == list(range(want.num_rows))
    for name in EVENTS.names:
        column = np.concatenate([np.asarray(batch[name]) for batch in batches])
        if name == "comm":
            column = np.array(
                [batch.comms.texts[code] for batch in batches for code in batch[name]]
            )
        elif name in columns.ENUMS:
            words = {one.value: one.name.lower() for one in columns.ENUMS[name]}
            assert column.dtype == np.uint8
            column = np.array([words.get(code, f"{name}_{code}") for code in column.tolist()])
        assert column.tolist() == want[name].to_pylist(), name


def test_small_segments_are_put_together(tmp_path: Path) -> None:
    path = write(tmp_path / "r.seal", numbered(200))
    with Recording.open(path) as recording:
        (whole,) = decisions.batches(recording)
        assert len(whole) == 200
        parts = list(decisions.batches(recording, ["offset"], rows=3))
        assert max(map(len, parts)) < 6
        assert [n for part in parts for n in part["offset"].tolist()] == [7 * n for n in range(200)]


def test_rows_keep_their_numbers(tmp_path: Path) -> None:
    records = numbered(90)
    records["op"] = np.arange(90) % 3 + 3
    path = write(tmp_path / "r.seal", records)

    def late(batch: Batch) -> np.ndarray:
        return np.asarray(batch["time_ns"] >= 1050)

    with Recording.open(path) as recording:
        (some,) = decisions.batches(recording, ["time_ns"], {Op.READ}, where=late)
        assert some["row"].tolist() == [n for n in range(90) if n % 3 == 1 and n >= 50]
        assert set(some["op"].tolist()) == {Op.READ}
        assert list(decisions.batches(recording, ops={Op.CREATE})) == []


def test_a_recording_being_written_and_one_cut_off(tmp_path: Path) -> None:
    writer = RecordingWriter(tmp_path / "r.seal", {"boot_id": "b"}, limits=SMALL)
    writer.append(numbered(50))
    writer.tick(1)
    with Recording.open(tmp_path / "r.seal") as recording:
        assert sum(map(len, decisions.batches(recording))) == 50
        assert Source.of(recording).boot_id == "b"
    writer.close("done")
    with (tmp_path / "r.seal" / "events" / "000000.parquet").open("r+b") as file:
        file.truncate(100)
    with Recording.open(tmp_path / "r.seal") as recording:
        found = [
            n for batch in decisions.batches(recording, ["seq"]) for n in batch["seq"].tolist()
        ]
        assert found == list(range(40, 50))
        assert any("100 bytes long" in problem for problem in recording.problems)


def test_following_gives_the_same_rows(tmp_path: Path) -> None:
    path = write(tmp_path / "r.seal", mixed(300))
    with Recording.open(path) as recording:
        read, followed = (
            [
                (n, t)
                for batch in batches
                for n, t in zip(batch["row"], batch["time_ns"], strict=True)
            ]
            for batches in (decisions.batches(recording), decisions.follow(recording))
        )
    assert read == followed


def test_values_that_are_not_there() -> None:
    """Null, missing or no numbers at all: unknown, and the row says so."""
    table = pa.table(
        {
            "seals": pa.array([None, 3], pa.uint32()),
            "answer": pa.array([-1, None], pa.int64()),
            "fd": pa.array(["x", "y"]),
            "flags": pa.array([16, 16], pa.uint32()),
            "op": pa.array([None, "write"]).dictionary_encode(),
            "kind": pa.array(["memfd", "kind_200"]),
            "comm": pa.array([None, "vmm"]),
            "length": pa.nulls(2),
            "size": pa.array([5.0, 6.0]),
            "pid": pa.chunked_array([pa.array([7], pa.uint32()), pa.array([8], pa.uint32())]),
        }
    )
    comms = Vocabulary(["other"])
    names = ["seals", "answer", "fd", "flags", "op", "kind", "comm", "length", "size", "pid", "uid"]
    found = columns.columns_of(table, names, comms)
    entry, back = int(Flag.ENTRY_MISSING), int(Flag.RETURN_MISSING)
    assert {name: column.tolist() for name, column in found.items()} == {
        "seals": [SEALS_UNKNOWN, 3],
        "answer": [-1, 0],
        "fd": [-1, -1],
        "flags": [16 | entry, 16 | entry | back],
        "op": [0, Op.WRITE],
        "kind": [1, 200],
        "comm": [comms.texts.index(""), comms.texts.index("vmm")],
        "length": [0, 0],
        "size": [5, 6],
        "pid": [7, 8],
        "uid": [0xFFFFFFFF, 0xFFFFFFFF],
    }
    assert comms.texts[0] == "other"
    for name in names:
        if name not in ("op", "kind", "comm"):
            assert found[name].dtype == EVENTS.field(name).type.to_pandas_dtype(), name
    nothing = columns.columns_of(table[:0], names, comms)
    assert [len(column) for column in nothing.values()] == [0] * len(names)


def test_a_manifest_that_does_not_tell_everything() -> None:
    assert variants(Manifest()) == {}
    assert variants(Manifest.of({"self_test": None})) == {}
    assert variants(Manifest.of({"self_test": {"variants": {"a": "b"}}})) == {"a": "b"}


def test_vocabulary_codes_stay() -> None:
    words = Vocabulary(["a", "b"])
    assert words.codes(["b", "c", "b", "a"]).tolist() == [1, 2, 1, 0]
    assert words.texts == ["a", "b", "c"]


def test_ahead_keeps_the_order_and_hands_errors_on() -> None:
    def items() -> Iterator[int]:
        yield from range(5)
        raise OSError("gone")

    found: list[int] = []
    with pytest.raises(OSError, match="gone"):
        found.extend(ahead(items()))
    assert found == list(range(5))
    assert list(ahead(iter([]))) == []


def test_ahead_stops_when_nobody_wants_more() -> None:
    made = []
    closed = threading.Event()

    def items() -> Iterator[int]:
        try:
            for number in range(10**6):
                made.append(number)
                yield number
        finally:
            closed.set()

    found = ahead(items())
    assert next(found) == 0
    found.close()  # type: ignore[attr-defined]
    assert closed.is_set()
    assert len(made) <= 2
