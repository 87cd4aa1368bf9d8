"""Following all tables of a recording: every row once, and what is missing."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.unit.recording.store_records import SMALL, Records, mixed, numbered, rows_of, stored
from tracer.record import HEAD, NAME, OBJECT, RecordType
from tracer.recording.follow import EVERYTHING, MISSING, Follower
from tracer.recording.format import TABLES
from tracer.recording.reader import Recording
from tracer.recording.writer import RecordingWriter

PIECE: int = NAME["text"].itemsize


def announced(objects: int, seed: int) -> Records:
    """Objects with their names behind them, as BPF sends them, among rows of other tables."""
    rng = np.random.default_rng(seed)
    parts: list[Records] = []
    for number in range(objects):
        one = np.zeros(1, OBJECT)
        name = bytes(rng.integers(33, 126, int(rng.integers(0, 250)), np.uint8))
        one["type"], one["ino"], one["name_len"] = RecordType.OBJECT, number, len(name)
        pieces = np.zeros(-(-len(name) // PIECE), NAME)
        pieces["type"], pieces["ino"] = RecordType.NAME, number
        for part in range(len(pieces)):
            text = name[part * PIECE : (part + 1) * PIECE]
            pieces["part"][part], pieces["length"][part] = part, len(text)
            pieces["text"][part] = text
        others = mixed(int(rng.integers(0, 6)), number, (1, 4, 5, 6, 7))
        others["cpu"] = 1
        raw = f"V{HEAD.itemsize}"
        parts += [one.view(raw), pieces.view(raw), others.view(raw)]
    records = np.concatenate(parts).view(HEAD)
    records["seq"] = np.arange(len(records))
    return records


@pytest.mark.slow
@pytest.mark.parametrize("batch", [1, 7, 60])
def test_every_row_of_every_table_once(tmp_path: Path, batch: int) -> None:
    limits = replace(SMALL, group_rows=64)
    records = announced(70 if batch > 1 else 25, seed=batch)
    writer = RecordingWriter(tmp_path / "r.seal", {}, limits=limits)
    found: dict[str, list[Any]] = {name: [] for name in TABLES}
    with Recording.open(tmp_path / "r.seal") as recording:
        follower = Follower(recording, EVERYTHING)

        def read() -> None:
            for name, table in follower.step():
                found[name].append(table)

        for turn, start in enumerate(range(0, len(records), batch)):
            writer.append(records[start : start + batch])
            writer.tick(turn * 0.3)
            read()
            assert not follower.over
        writer.close("done")
        read()
        assert follower.over
        assert follower.ended
        follower.close()
        want = stored(recording)
    for name in TABLES:
        rows = rows_of(found[name], name)
        if name == "objects":  # an object is told again when the rest of its name has come
            rows = list({(row["cpu"], row["seq"]): row for row in rows}.values())
            want[name].sort(key=lambda row: (row["cpu"], row["seq"]))
            rows.sort(key=lambda row: (row["cpu"], row["seq"]))
        if name != "names":
            assert rows == want[name], name


def test_missing_rows_keep_the_numbers_of_the_others(tmp_path: Path) -> None:
    with RecordingWriter(tmp_path / "r.seal", {}, limits=SMALL) as writer:
        writer.append(numbered(120))
        writer.close("done")
    (tmp_path / "r.seal" / "events" / "000001.parquet").unlink()
    with Recording.open(tmp_path / "r.seal") as recording:
        found = [(name, table.num_rows) for name, table in Follower(recording, EVERYTHING).step()]
    assert (MISSING, 40) in found
    assert sum(rows for _, rows in found) == 120
