"""User stacks in a recording: what is written comes back, in tables and in a redacted copy."""

from pathlib import Path

import numpy as np
import pyarrow as pa

from tests.unit.recording import stack_records
from tests.unit.recording.stack_records import FRAMES, LIBC, LONG, PROGRAM
from tracer.capture.stacks.records import File, module_records
from tracer.record import HEAD, MODULE, RecordType
from tracer.recording.format import TABLES
from tracer.recording.reader import Recording
from tracer.recording.redact import redact
from tracer.recording.tables import tables
from tracer.recording.verify import verify


def table(path: Path, name: str) -> list[dict[str, object]]:
    with Recording.open(path) as recording:
        return list(pa.concat_tables(recording.tables(name)).to_pylist())


def test_what_was_written_comes_back(tmp_path: Path) -> None:
    path = stack_records.write_stacks(tmp_path / "s.seal")
    assert verify(path).damage == []
    callers = table(path, "callers")
    assert [(one["sample"], one["stack"], one["state"], one["maps_from"]) for one in callers] == [
        (1, 1, "whole", "kernel"),
        (2, 1, "whole", "kernel"),
        (3, 2, "unknown", "kernel"),
        (4, 3, "cut", "proc"),
        (5, 4, "no_unwinder", "kernel"),
        (6, 0, "lost", "none"),
    ]
    assert [row["user_stack"] for row in table(path, "events")] == [1, 2, 3, 4, 5, 6, 0]
    frames = table(path, "stacks")
    assert [
        (one["stack"], one["depth"], one["module"], one["offset"], one["what"], one["interrupted"])
        for one in frames
    ] == [
        (number, depth, one.module, one.offset, one.what.name.lower(), one.interrupted)
        for number, some in FRAMES.items()
        for depth, one in enumerate(some)
    ]
    assert {one["cpu"] for one in (*callers, *frames)} == {65535}


def test_paths_come_in_pieces(tmp_path: Path) -> None:
    path = stack_records.write_stacks(tmp_path / "s.seal")
    rows = table(path, "modules")
    for number, file in ((1, PROGRAM), (2, LIBC), (3, LONG)):
        mine = [row for row in rows if row["module"] == number]
        assert b"".join(row["text"] for row in mine) == file.path  # type: ignore[misc]
        assert [row["more"] for row in mine] == [True] * (len(mine) - 1) + [False]
        assert [row["part"] for row in mine] == [*range(len(mine))]
        assert {(row["dev"], row["ino"], row["gen"], row["size"]) for row in mine} == {
            (file.dev, file.ino, file.gen, file.size)
        }
    assert {row["build_id"] for row in rows if row["module"] == 1} == {
        "00112233445566778899aabbccddeeff00112233"
    }
    assert {row["build_id"] for row in rows if row["module"] == 3} == {""}


def test_a_copy_has_neither_paths_nor_build_ids(tmp_path: Path) -> None:
    path = stack_records.write_stacks(tmp_path / "s.seal")
    redact(str(path), str(tmp_path / "copy.seal"))
    rows = table(tmp_path / "copy.seal", "modules")
    assert {row["build_id"] for row in rows} == {""}
    assert [row["text"] for row in rows if row["part"] == 0] == [b"path-1", b"path-2", b"path-3"]
    assert table(tmp_path / "copy.seal", "stacks") == table(path, "stacks")


def test_what_the_records_cannot_hold() -> None:
    long = File(1, 2, 3, 4, b"/" * 5000)
    rows = module_records(1, long, b"x" * 33)
    assert (rows.view(MODULE)["id_length"] == 0).all()
    found = tables(rows)["modules"].to_pylist()
    assert b"".join(row["text"] for row in found) == long.path[:4096]


def test_lengths_that_no_recorder_writes() -> None:
    row = np.zeros(1, MODULE)
    row["type"], row["length"], row["id_length"] = RecordType.MODULE, 0xFFFF, 0xFFFF
    [found] = tables(row.view(HEAD))["modules"].to_pylist()
    assert (len(found["text"]), len(found["build_id"])) == (120, 64)
    assert found.keys() == set(TABLES["modules"].names)
