"""Columns of a recording: exact values, words, names, and no influence of how records arrive."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.cli.imported import HEAVY, imported
from tests.unit.recording.store_records import SMALL, expected, mixed, pick, rows_of, stored, write
from tracer.record import EVENT, HEAD, LOSS, NAME, OBJECT
from tracer.recording import tables as comms
from tracer.recording.format import EVENTS, Limits
from tracer.recording.reader import Recording
from tracer.recording.tables import EventColumns, tables
from tracer.recording.writer import RecordingWriter


def test_every_event_field_arrives_exactly() -> None:
    records = mixed(300, types=(1,))
    rows = rows_of([tables(records)["events"]], "events")
    words = {"op", "kind", "hook", "comm"}
    for row, record in zip(rows, records.view(f"V{HEAD.itemsize}").view(EVENT), strict=True):
        for name in set(EVENTS.names) - words:
            want = int(record[name])
            if name.endswith("_ns") and want >= 1 << 63:
                want -= 1 << 64
            assert row[name] == want, name


def test_words_known_and_unknown() -> None:
    records = np.zeros(3, EVENT)
    records["type"] = 1
    records["op"] = [1, 8, 77]
    records["kind"] = [0, 4, 200]
    records["hook"] = [0, 14, 255]
    table = tables(records.view(f"V{HEAD.itemsize}").view(HEAD))["events"]
    assert table["op"].to_pylist() == ["mmap", "punch_hole", "op_77"]
    assert table["kind"].to_pylist() == ["unknown", "guest_memfd", "kind_200"]
    assert table["hook"].to_pylist() == ["none", "fork", "hook_255"]


def test_comm_is_escaped_and_cut_at_the_first_nul() -> None:
    records = np.zeros(4, EVENT)
    records["type"] = 1
    names = [b"a\0rest", b"\x1b[31m\n", b"sixteen bytes 16", b""]
    records["comm"] = [np.void(name.ljust(16, b"\0")) for name in names]
    table = tables(records.view(f"V{HEAD.itemsize}").view(HEAD))["events"]
    assert table["comm"].to_pylist() == ["a", r"\x1b[31m\n", "sixteen bytes 16", ""]
    assert table["comm"].chunk(0).dictionary.to_pylist().count("a") == 1


@pytest.mark.parametrize("name", ["c", "in eight"])
@pytest.mark.parametrize("bits", [1, 3])
def test_comms_that_share_a_slot_are_kept_apart(
    bits: int, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By either half of their sixteen bytes."""
    monkeypatch.setattr(comms, "_SLOT_BITS", bits)
    monkeypatch.setattr(comms, "_SHIFT", np.uint64(64 - bits))
    monkeypatch.setattr(comms, "_KEEP", 50)
    table = comms.Comms()
    for turn in range(5):
        texts = [f"{name}{(n * 7 + turn) % 40 or ''}" for n in range(200)]
        raw = np.frombuffer(b"".join(t.encode().ljust(16, b"\0") for t in texts), np.uint64)
        codes = np.empty(200, np.int32)
        table.codes(raw[::2], raw[1::2], codes)
        assert table.array(codes).to_pylist() == texts
        table.renew()


def _announced(parts: list[bytes], length: int) -> np.ndarray:
    records = np.zeros(1 + len(parts), NAME)
    records["type"] = [2] + [3] * len(parts)
    records["seq"] = np.arange(len(records))
    objects = records.view(OBJECT)
    objects["name_len"][0] = length
    objects["create_flags_known"][0] = 1
    objects["create_flags"][0] = 3
    objects["mapping_flags"][0] = 2 << 16 | 9 << 21
    for place, part in enumerate(parts):
        records["part"][place + 1] = place
        records["length"][place + 1] = len(part)
        records["text"][place + 1] = np.void(part.ljust(NAME["text"].itemsize, b"\0"))
    return records.view(f"V{HEAD.itemsize}").view(HEAD)


def test_object_name_is_joined_and_escaped() -> None:
    table = tables(_announced([b"x" * 124, b"tail\x07"], 129))["objects"]
    row = table.to_pylist()[0]
    assert row["name"] == "x" * 124 + r"tail\x07"
    assert row["name_complete"] is True
    assert (row["create_flags"], row["folio_order_min"], row["folio_order_max"]) == (3, 2, 9)


def test_missing_piece_of_a_name_is_told() -> None:
    records = _announced([b"x" * 124, b"y" * 124, b"z"], 249)
    row = tables(pick(records, [0, 1, 3]))["objects"].to_pylist()[0]
    assert (row["name"], row["name_complete"]) == ("x" * 124, False)
    row = tables(pick(records, [0]))["objects"].to_pylist()[0]
    assert (row["name"], row["name_complete"]) == (None, False)


def test_name_cut_apart_by_a_segment_is_whole_for_the_reader(tmp_path: Path) -> None:
    path = tmp_path / "r.seal"
    records = _announced([b"x" * 124, b"y" * 5], 129)
    with RecordingWriter(path, {}, limits=Limits(rows=2, threads=False)) as writer:
        writer.append(records)
    with Recording.open(path) as recording:
        (table,) = recording.tables("objects", ["name", "name_complete"])
        assert table.to_pylist() == [{"name": "x" * 124 + "y" * 5, "name_complete": True}]


def test_losses() -> None:
    records = np.zeros(1, LOSS)
    records[["type", "cause", "hook", "count", "total"]] = (5, 1, 5, 7, 9)
    row = tables(records.view(f"V{HEAD.itemsize}").view(HEAD))["losses"].to_pylist()[0]
    assert (row["cause"], row["hook"], row["count"], row["total"]) == ("ring_full", "write", 7, 9)


@pytest.mark.slow
@settings(max_examples=20, deadline=None)
@given(
    seed=st.integers(0, 1000),
    steps=st.lists(st.tuples(st.integers(0, 30), st.floats(0, 1)), max_size=12),
    only_events=st.booleans(),
)
def test_how_records_arrive_does_not_matter(
    tmp_path_factory: pytest.TempPathFactory,
    seed: int,
    steps: list[tuple[int, float]],
    only_events: bool,
) -> None:
    records = mixed(
        sum(count for count, _ in steps), seed, (1,) if only_events else (1, 1, 2, 3, 4, 5, 6, 7)
    )
    path = tmp_path_factory.mktemp("any") / "r.seal"
    writer = RecordingWriter(path, {}, limits=SMALL)
    start, now_s = 0, 0.0
    for count, wait_s in steps:
        writer.append(records[start : start + count])
        start += count
        now_s += wait_s
        writer.tick(now_s)
    with Recording.open(path) as recording:
        assert len(stored(recording)["events"]) <= len(expected(records)["events"])
    writer.close("done")
    with Recording.open(path) as recording:
        assert recording.problems == []
        assert stored(recording) == expected(records)


def test_append_copies_and_takes_any_stride(tmp_path: Path) -> None:
    records = mixed(100, types=(1,))
    ring = np.zeros((100, HEAD.itemsize + 8), np.uint8)
    ring[:, 8:] = records.view(np.uint8).reshape(100, -1)
    view = np.ndarray(100, HEAD, ring, 8, ring.strides[:1])
    with RecordingWriter(tmp_path / "r.seal", {}, limits=Limits()) as writer:
        writer.append(view)
        ring[:] = 0xFF
    with Recording.open(tmp_path / "r.seal") as recording:
        assert stored(recording) == expected(records)


def test_what_is_gathered_does_not_take_much_memory() -> None:
    columns = EventColumns(Limits().group_rows)
    assert sum(column.nbytes for column in columns._columns.values()) <= 12 << 20


def test_parts_open_with_plain_pandas(tmp_path: Path) -> None:
    records = mixed(200)
    path = write(tmp_path / "r.seal", records)
    want = expected(records)
    for name in ("events", "losses", "clocks", "totals", "mappings", "names"):
        frame = pd.read_parquet(path / name)
        assert frame["seq"].tolist() == [row["seq"] for row in want[name]], name
    assert str(pd.read_parquet(path / "events")["op"].dtype) == "category"


def test_frame_joins_the_last_name_of_the_object(tmp_path: Path) -> None:
    named = _announced([b"first"], 5)
    again = _announced([b"second"], 6)
    again["seq"] += 2
    events = np.zeros(2, EVENT)
    events["type"], events["seq"], events["ino"] = 1, [4, 5], [0, 9]
    raw = [named, again, events]
    records = np.concatenate([one.view(f"V{HEAD.itemsize}") for one in raw]).view(HEAD)
    with Recording.open(write(tmp_path / "r.seal", records)) as recording:
        frame = recording.frame("events", ["seq", "ino"], names=True)
        assert frame.columns.tolist() == ["seq", "ino", "name"]
        assert frame["name"].tolist()[0] == "second"
        assert pd.isna(frame["name"].tolist()[1])
        assert recording.frame("clocks").empty


def test_importing_the_package_is_cheap() -> None:
    found = imported("import tracer.recording, tracer.cli.verify, tracer.recording.errors")
    assert found & HEAVY == set()


@pytest.mark.slow
def test_the_writer_does_not_load_pandas(tmp_path: Path) -> None:
    code = (
        "import sys\n"
        "from tests.unit.recording.store_records import SMALL, mixed\n"
        "from tracer.recording.writer import RecordingWriter\n"
        "with RecordingWriter(sys.argv[1], {}, limits=SMALL) as writer:\n"
        "    for turn in range(9):\n"
        "        writer.append(mixed(20, turn))\n"
        "        writer.tick(turn)\n"
        "assert 'pandas' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "r")], check=True, timeout=60)


def test_frames_have_the_time_by_the_wall_clock() -> None:
    sample = Path(__file__).parents[3] / "samples" / "recordings" / "debian-6.1.seal"
    with Recording.open(sample) as recording:
        clock = recording.clock()
        for name in ("events", "objects", "clocks"):
            frame = recording.frame(name)
            assert str(frame["time"].dtype) == "datetime64[ns, UTC]"
            assert list(frame)[list(frame).index("time_ns") - 1] == "time"
            first = frame.iloc[0]
            assert first["time"].value == clock.at(int(first["time_ns"]))
        assert "time" not in recording.frame("events", ["time_ns"])
        assert [*recording.frame("events", names=True)][-1] == "name"
