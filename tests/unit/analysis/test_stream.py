"""Events in the order of time, without all of them in memory."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.recording.store_records import SMALL, numbered
from tracer.analysis import api, stream
from tracer.analysis.stream import Stream, _Order
from tracer.labels import ARGUMENTS
from tracer.output.data import Rows
from tracer.recording.reader import Recording
from tracer.recording.writer import RecordingWriter

TIMES = st.lists(st.lists(st.integers(0, 50), max_size=6), max_size=6)


def tables(pieces: list[list[int]]) -> list[tuple[pa.Table, int | None]]:
    """Each piece, and the earliest time behind it."""
    numbers = iter(range(1000))
    found = []
    for place, times in enumerate(pieces):
        behind = [one for piece in pieces[place + 1 :] for one in piece]
        columns = {
            "time_ns": pa.array(times, pa.int64()),
            "number": pa.array([next(numbers) for _ in times], pa.int64()),
            "op": pa.array([f"op{one % 3}" for one in times], pa.string()).dictionary_encode(),
        }
        found.append((pa.table(columns), min(behind, default=None)))
    return found


@given(TIMES)
def test_any_pieces_come_in_order(pieces: list[list[int]]) -> None:
    order = _Order()
    given_ = tables(pieces)
    found = [row for table, floor in given_ for row in order.of(table, floor).to_pylist()]
    found += order.of(None, None).to_pylist()
    rows = [row for table, _ in given_ for row in table.to_pylist()]
    assert found == sorted(rows, key=lambda row: (row["time_ns"], row["number"]))
    assert order.late == 0


def test_what_waits_has_an_end() -> None:
    """One that comes very late stands behind others, and is counted."""
    order, most = _Order(), stream._HELD
    many = pa.table({"time_ns": np.arange(10, most + 110)})
    assert order.of(many, 0).num_rows == 100 + most // 2
    last = order.of(pa.table({"time_ns": np.array([0])}), None)
    assert (last.num_rows, order.late) == (most // 2 + 1, 1)


def recording(path: Path, *parts: list[int]) -> Path:
    """Of events at these times, each list a part of its own."""
    with RecordingWriter(path, {"host": "test"}, limits=SMALL) as writer:
        for place, times in enumerate(parts):
            whole = np.resize(np.array(times), SMALL.rows)  # so many make a part
            whole[len(times) :] = times[-1]
            records = numbered(SMALL.rows, first=place * SMALL.rows)
            records["time_ns"] = whole
            writer.append(records)
        writer.close("done", None)
    with Recording.open(path) as found:
        read = [table["time_ns"].to_pylist() for table in found.tables("events", ["time_ns"])]
    assert [list(dict.fromkeys(times)) for times in read] == [[*parts[n]] for n in range(len(read))]
    assert len(read) == len(parts)
    return path


def test_a_recording_whose_parts_overlap_comes_in_order(tmp_path: Path) -> None:
    """And as early as may be: what nothing can come before does not wait."""
    parts = [[10, 40, 30, 90], [50, 60, 95], [35, 20, 97], [93, 100], [200, 150]]
    path = recording(tmp_path / "a.seal", *parts)
    with Recording.open(path) as found:
        rows_of = Stream(found)
        pieces = [table["time_ns"].to_pylist() for table in rows_of.tables()]
    times = [one for piece in pieces for one in piece]
    assert times == sorted(times)
    assert set(times) == {one for part in parts for one in part}
    assert len(times) == len(parts) * SMALL.rows
    assert rows_of.late == 0
    assert [sorted(set(piece)) for piece in pieces] == [
        [10], [20, 30, 35, 40, 50, 60, 90], [93, 95, 97, 100], [150, 200],
    ]  # fmt: skip


def test_what_comes_too_late_is_told_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However late what came late before was."""
    monkeypatch.setattr(stream, "_HELD", 2)
    path = recording(tmp_path / "a.seal", [10, 20], [5], [7], [30])
    with Recording.open(path) as found:
        rows_of, late, latest = Stream(found), 0, 0
        for table in rows_of.tables():
            for time_ns in table["time_ns"].to_pylist():
                late += time_ns < latest
                latest = max(latest, time_ns)
            assert rows_of.late == late
    assert late == 2 * SMALL.rows


def test_data_frames_say_what_json_says() -> None:
    """Both make the same of a row's numbers."""
    path = Path(__file__).parents[3] / "samples" / "recordings" / "debian-7.3.seal"
    with api.load(path) as found:
        frame = found.decisions.sort_values("time_ns", kind="stable")
    with Recording.open(path) as recording:
        rows_of = Stream(recording)
        told = Rows(rows_of.names, rows_of.clock, recording.manifest.bit5)
        lines = [line for table in rows_of.tables() for line in told.json(table)]
    rows = [row for row in map(json.loads, lines) if row["verdict"]]
    assert len(rows) == len(frame) > 1000
    for name in (*ARGUMENTS, "seal_list", "seal_list_after", "flag_list"):
        texts = [None if (one := row.get(name)) is None else "|".join(one) for row in rows]
        assert frame[name].astype(object).where(frame[name].notna(), None).tolist() == texts
    assert frame["time"].dt.strftime("%Y-%m-%dT%H:%M:%S.%fZ").tolist() == [r["time"] for r in rows]
    assert frame["verdict"].tolist() == [row["verdict"] for row in rows]


WORDS = st.lists(st.none() | st.sampled_from(["a", "b"]), min_size=1, max_size=3)


@given(TIMES, st.lists(WORDS, min_size=6, max_size=6))
def test_dictionaries_that_do_not_go_together(
    pieces: list[list[int]], words: list[list[str | None]]
) -> None:
    """With nulls in them, as only somebody else writes them: Arrow makes no one of these."""
    order, rows, found = _Order(), [], []
    for (table, floor), known in zip(tables(pieces), words, strict=False):
        codes = pa.array([n % len(known) for n in range(table.num_rows)], pa.int16())
        column = pa.DictionaryArray.from_arrays(codes, pa.array(known, pa.string()))
        odd = table.set_column(2, "op", column)
        rows += odd.to_pylist()
        found += order.of(odd, floor).to_pylist()
    found += order.of(None, None).to_pylist()
    assert found == sorted(rows, key=lambda row: (row["time_ns"], row["number"]))


def test_judged_columns_go_together() -> None:
    path = Path(__file__).parents[3] / "samples" / "recordings" / "debian-7.3.seal"
    with Recording.open(path) as recording:
        [table] = Stream(recording).tables()
    half = table.num_rows // 2
    order, late = _Order(), table.slice(half)
    first = order.of(table.slice(0, half), int(late["time_ns"][0].as_py()) - 1)
    again = pa.concat_tables([first, order.of(late, None)])
    assert again.to_pylist() == table.to_pylist()
    assert not order._without_dictionaries
