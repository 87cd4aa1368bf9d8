"""What does not fit is said, with the file's name and the fault, before it costs memory or time."""

import io
import json
import os
import re
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.unit.recording.store_records import (
    end_changed,
    mixed,
    numbered,
    rechained,
    seqs,
    stored,
    write,
)
from tracer.record import NAME
from tracer.recording import part as pages
from tracer.recording import part as partfile
from tracer.recording.errors import AlreadyExists, Damaged, StoreError
from tracer.recording.format import DOCUMENT_BYTES, LINE_BYTES, SEGMENT_ROWS, TABLES
from tracer.recording.manifest import End, json_object
from tracer.recording.part import PartFile
from tracer.recording.reader import Recording
from tracer.recording.replace import refuse_existing
from tracer.recording.verify import verify
from tracer.recording.writer import RecordingWriter

# ---- files --------------------------------------------------------------------------------------


def _sparse(file: Path, size: int = 30 << 30) -> None:
    file.write_bytes(b"")
    os.truncate(file, size)


@pytest.mark.parametrize("name", ["manifest.json", "end.json", "events/000000.parquet"])
def test_a_file_of_thirty_gigabytes_is_not_read(tmp_path: Path, name: str) -> None:
    path = write(tmp_path / "r.seal", numbered(50))
    _sparse(path / name)
    said = f"{name} is {30 << 30} bytes long"
    if name == "manifest.json":
        with pytest.raises(StoreError, match=f"^{path}: {said}"):
            verify(path)
        for force in (False, True):
            with pytest.raises(AlreadyExists):
                refuse_existing(str(path), force=force)
            with pytest.raises(AlreadyExists):
                RecordingWriter(path, {}, force=force)
        return
    assert any(one.startswith(said) for one in verify(path).damage)
    with Recording.open(path) as recording:
        assert seqs(recording) == list(range(50) if name == "end.json" else range(40, 50))


def test_a_chain_of_thirty_gigabytes_is_not_read(tmp_path: Path) -> None:
    path = write(tmp_path / "r.seal", numbered(50))
    size = (path / "chain.jsonl").stat().st_size
    os.truncate(path / "chain.jsonl", 30 << 30)
    said = f"Line 5 of chain.jsonl is longer than {LINE_BYTES} bytes."
    assert verify(path).damage == [said]
    with Recording.open(path) as recording:
        assert recording.chain.size == size
        assert seqs(recording) == list(range(50))


def test_a_long_tail_is_not_read(tmp_path: Path) -> None:
    path = write(tmp_path / "r.seal", numbered(0))
    _sparse(path / "tail" / "000000.records")
    assert verify(path).damage == [
        "tail/000000.records is not in the chain: it was put there later."
    ]


# ---- documents ----------------------------------------------------------------------------------


def _manifest(path: Path, text: str) -> None:
    (path / "manifest.json").write_text(text)
    rechained(path)


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "a number for a text": ({"host": 5}, "host is not text"),
    "a truth for a number": ({"cpus": True}, "cpus is not number"),
    "a fraction": ({"cpus": 1.5}, "cpus is not number"),
    "a negative number": ({"cpus": -1}, "cpus is not number"),
    "no list": ({"command": "ls"}, "command is not list of text"),
    "a list of something else": ({"command": ["ls", 5]}, "command is not list of text"),
    "no object": ({"kernel": []}, "kernel is not object"),
    "an inner value": ({"kernel": {"release": None}}, "kernel.release is not text"),
    "in a list": ({"hooks": [{"symbol": "a"}, {"symbol": 5}]}, "hooks[].symbol is not text or"),
    "no objects in a list": ({"hooks": ["x"]}, "hooks is not list of objects"),
    "an object's value": ({"self_test": {"lost": {"x": "y"}}}, "lost is not object of numbers"),
    "pairs": ({"hooks": [{"defines": [["A", 1], ["B"]]}]}, "defines is not list of [text, num"),
}


@pytest.mark.parametrize("what", WRONG)
def test_types_in_the_manifest(tmp_path: Path, what: str) -> None:
    changes, said = WRONG[what]
    path = write(tmp_path / "r.seal", numbered(5))
    manifest = json.loads((path / "manifest.json").read_text())
    _manifest(path, json.dumps(manifest | changes))
    with pytest.raises(Damaged) as caught:
        verify(path)
    assert str(caught.value).startswith(f"{path}: manifest.json: ")
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"unsaved": "many"}, "unsaved is not number"),
        ({"unsaved": None}, "unsaved is not number"),
        ({"final_seq": {"0": "5"}}, "final_seq is not object of numbers"),
        ({"final_seq": {"²": 5}}, "final_seq names a CPU that is none"),
        ({"baseline": 1}, "baseline is not object"),
        ({"lost": {"ring_full": -1}}, "lost is not object of numbers"),
    ],
)
def test_types_at_the_end(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    """With a good digest: a number that is none is damage."""
    path = end_changed(write(tmp_path / "r.seal", numbered(5)), **changes)
    [damage] = verify(path).damage
    assert damage.startswith("end.json: ")
    assert said in damage


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[" * 100_000, "nested too deeply"),
        ("[" * 20 + "]" * 20, "nested too deeply"),
        ("NaN", "NaN is no number"),
        ("-Infinity", "-Infinity is no number"),
        ("1e999", "a number is too large"),
        ("9" * 40, "a number is too large"),
        ("9" * 5000, "cannot be read"),
        ('"\\ud800', "cannot be read"),
        ("\x00", "cannot be read"),
    ],
)
def test_json_that_nobody_wants(text: str, said: str) -> None:
    with pytest.raises(Damaged) as caught:
        json_object(b'{"more": ' + text.encode() + b"}", "end.json")
    assert str(caught.value).startswith("end.json ")
    assert said in str(caught.value)


def test_half_a_character_is_shown_as_it_was_written() -> None:
    """A command line that is no UTF-8 becomes that; nobody could print it, nor pandas keep it."""
    found = json_object(b'{"reason": "a\\ud800", "lost": {"\\udcff": 1}}', "end.json")
    assert found == {"reason": "a\\ud800", "lost": {"\\udcff": 1}}
    assert json.dumps(found, ensure_ascii=False).encode()


def test_keys_of_later_versions_are_taken() -> None:
    found = End.of({"more": [1, {"a": None}], "reason": "x"})
    assert (found.document["more"], found.reason) == ([1, {"a": None}], "x")


def test_a_manifest_that_no_reader_would_take_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="shorter command line"):
        RecordingWriter(tmp_path / "r.seal", {"command": ["x" * DOCUMENT_BYTES]})
    assert not (tmp_path / "r.seal").exists()


# ---- parts --------------------------------------------------------------------------------------

ROOT = Path(__file__).parents[3]
PATH = "objects/000000.parquet"


def _objects(rows: int = 3, **columns: pa.Array) -> pa.Table:
    """A table of objects, all zeros and empty texts but for ``columns``."""
    arrays = []
    for field in TABLES["objects"]:
        if field.name in columns:
            arrays.append(columns[field.name])
        elif pa.types.is_dictionary(field.type):
            arrays.append(pa.array(["x"] * rows).dictionary_encode().cast(field.type))
        elif field.nullable:
            arrays.append(pa.nulls(rows, field.type))
        else:
            arrays.append(pa.array(np.zeros(rows)).cast(field.type))
    return pa.Table.from_arrays(arrays, TABLES["objects"].names)


def _file(table: pa.Table, **options: Any) -> bytes:
    sink = io.BytesIO()
    pq.write_table(table, sink, **options)
    return sink.getvalue()


def _read(data: bytes, path: str = PATH) -> list[pa.Table]:
    part = PartFile(data, path)
    names = TABLES[path.split("/")[0]].names
    return [part.read([number], names) for number in range(len(part.groups))]


def test_a_part_of_ours_is_taken() -> None:
    [table] = _read(_file(_objects()))
    assert table.schema.equals(TABLES["objects"])
    assert table.num_rows == 3


def test_the_longest_name_that_anybody_asked_for_is_taken() -> None:
    """Of a memfd_create that was refused: longer than a file's, each byte four characters."""
    text = re.search(r"#define NAME_PARTS (\d+)", (ROOT / "bpf" / "objects.h").read_text())
    assert text
    longest = "\\xff" * (int(text[1]) * NAME["text"].itemsize)
    [table] = _read(_file(_objects(name=_text(longest))))
    assert table["name"].to_pylist() == [longest] * 3
    with pytest.raises(Damaged, match="column 'name' has"):
        _read(_file(_objects(name=_text(longest + "x"))))


def _text(value: str, rows: int = 3) -> pa.Array:
    return pa.array([value] * rows)


def _word(value: str) -> pa.Array:
    return pa.array([value] * 3).dictionary_encode()


FAULTS: dict[str, tuple[Callable[[], bytes], str]] = {
    "no Parquet": (lambda: b"x" * 100, "it is no Parquet file"),
    "nothing": (lambda: b"", "it is no Parquet file"),
    "a footer longer than the file": (
        lambda: b"PAR1" + b"\0" * 8 + b"\xff\xff\xff\x7f" + b"PAR1", "its footer has 2147483647"
    ),
    "a long footer": (
        lambda: _file(_objects().replace_schema_metadata({"x": "y" * (1 << 21)})), "its footer has"
    ),
    "many row groups": (
        lambda: _file(_objects(5000).select(["mode"]), row_group_size=1), "5000 row groups"
    ),
    "many rows": (lambda: _file(_objects(SEGMENT_ROWS + 1)), f"it has {SEGMENT_ROWS + 1} rows"),
    "many columns": (
        lambda: _file(pa.table({f"c{n}": [1] for n in range(300)})), "it has 300 columns"
    ),
    "a column is missing": (
        lambda: _file(_objects().drop_columns(["ino"])), "column 'ino' is not there just once"
    ),
    "a column twice": (
        lambda: _file(_objects().append_column("ino", pa.array([1, 2, 3]))), "column 'ino' is not"
    ),
    "another type": (
        lambda: _file(_objects(ino=pa.array([1, 2, 3], pa.int32()))), "'ino' is int32, not uint64"
    ),
    "numbers for texts": (
        lambda: _file(_objects(comm=pa.array([1, 2, 3]))), "'comm' is int64, not string"
    ),
    "lists": (
        lambda: _file(_objects(ino=pa.array([[1], [2], [3]], pa.list_(pa.uint64())))),
        "column 'ino'",
    ),
    "nulls": (
        lambda: _file(_objects(ino=pa.array([1, None, 3], pa.uint64()))), "column 'ino' has nulls"
    ),
    "no text is null": (lambda: _file(_objects(comm=pa.array(["a", None, "b"]))), "has nulls"),
    "escape sequences": (lambda: _file(_objects(comm=_word("\x1b[2J"))), "'comm' has '\\x1b[2J'"),
    "hidden characters": (lambda: _file(_objects(name=_text("a\u202eb"))), "column 'name' has"),
    "not escaped as we do": (lambda: _file(_objects(name=_text("\\x41"))), "column 'name' has"),
    "half an escape": (lambda: _file(_objects(name=_text("a\\"))), "column 'name' has"),
    "a long comm": (lambda: _file(_objects(comm=_word("a" * 65))), "column 'comm' has"),
    "a long name": (lambda: _file(_objects(name=_text("a" * 1377))), "column 'name' has"),
    "no word": (lambda: _file(_objects(kind=_word("memfd; rm"))), "column 'kind' has"),
    "many words": (
        lambda: _file(_objects(5000, kind=pa.array([f"w{n}" for n in range(5000)]))), "5000 words"
    ),
    "texts that repeat the one before": (
        lambda: _file(
            _objects(name=_text("x")), use_dictionary=False,
            column_encoding={"name": "DELTA_BYTE_ARRAY"},
        ),
        "column 'name' is encoded as no recorder does",
    ),
    "long pages": (
        lambda: _file(_objects(name=_text("a" * (1 << 22), 1), rows=1), compression="zstd"),
        "it unpacks to more than",
    ),
    "no texts in UTF-8": (
        lambda: _file(_objects(comm=_raw(b"\xff\xfe"))), "objects/000000.parquet cannot be read"
    ),
}  # fmt: skip


def _raw(value: bytes) -> pa.Array:
    """Text whose bytes are none."""
    return pa.array([value] * 3).view(pa.string())


@pytest.mark.parametrize("what", FAULTS)
def test_what_is_no_part_of_ours(what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages._Budget, "__init__", _small_budget)
    make, said = FAULTS[what]
    with pytest.raises(Damaged) as caught:
        _read(make())
    assert str(caught.value).startswith("objects/000000.parquet")
    assert said in str(caught.value)
    assert len(str(caught.value)) < 400


def _small_budget(budget: Any) -> None:
    budget.bytes, budget.pages = 1 << 22, 1 << 14


def test_codes_behind_the_end_of_a_dictionary() -> None:
    """Whoever looks them up would read memory that is not the dictionary's."""
    codes = pa.array([0, 7], pa.int32())
    bad = pa.DictionaryArray.from_arrays(codes, pa.array(["a"]), safe=False)
    with pytest.raises(ValueError, match="out of bounds"):
        partfile._fitted(pa.chunked_array([bad]), TABLES["objects"].field("comm"))


def test_short_texts_that_are_long_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """A dictionary's entry may stand in each row: that is a thousand times what is in the file."""
    data = _file(_objects(1 << 14, name=_text("a" * 1000, 1 << 14)))
    assert len(data) < 100_000
    assert sum(table.num_rows for table in _read(data)) == 1 << 14
    monkeypatch.setattr(partfile, "UNPACKED_BYTES", (1 << 14) * 1000 - 1)
    with pytest.raises(Damaged, match="the texts of column 'name' are too long together"):
        _read(data)


def test_many_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    data = _file(_objects(1000), data_page_size=1, write_batch_size=1)
    monkeypatch.setattr(pages, "PAGES", 5000)
    monkeypatch.setattr(pages._Budget, "__init__", _few_pages)
    with pytest.raises(Damaged, match="it has more than 5000 pages"):
        _read(data)


def _few_pages(budget: Any) -> None:
    budget.bytes, budget.pages = 1 << 28, 5000


def _page_headers(data: bytes) -> list[tuple[int, int]]:
    """Where the first header of each column begins and ends."""
    metadata = pq.ParquetFile(io.BytesIO(data)).metadata
    group = metadata.row_group(0)
    places = []
    for column in range(group.num_columns):
        chunk = group.column(column)
        start = chunk.dictionary_page_offset or chunk.data_page_offset
        header = pages._Compact(memoryview(data)[start:])
        header.struct()
        places.append((start, start + header.place))
    return places


def test_a_header_that_asks_for_more_memory_than_there_is() -> None:
    """Arrow would ask for what the header says; here one bit of each byte of each is another."""
    data = _file(_objects(40), compression="zstd")
    seen = set()
    for start, end in _page_headers(data):
        for place in range(start, end):
            changed = bytearray(data)
            changed[place] ^= 1 << place % 8
            with suppress(Damaged):
                _read(bytes(changed))
                continue
            seen.add(place)
    assert len(seen) > 100


# ---- and it all comes to the user ---------------------------------------------------------------


def _rewritten(path: Path, change: Callable[[pa.Table], pa.Table], **options: Any) -> Path:
    """Each part of events written again by somebody else, with a chain that fits."""
    for file in sorted((path / "events").iterdir()):
        pq.write_table(change(pq.read_table(file)), file, **options)
    return rechained(path)


def test_a_fault_with_a_good_digest(tmp_path: Path) -> None:
    path = write(tmp_path / "r.seal", numbered(50))
    _rewritten(path, lambda table: table.set_column(0, "time_ns", pa.array(["x"] * len(table))))
    report = verify(path)
    said = "events/000000.parquet cannot be read: column 'time_ns' is string, not int64."
    assert report.exit_code == 2
    assert said in report.damage
    with Recording.open(path) as recording:
        assert seqs(recording) == []
        assert f"{said} Its rows are missing." in recording.problems


def test_rows_that_the_chain_does_not_tell_of(tmp_path: Path) -> None:
    path = write(tmp_path / "r.seal", numbered(50))
    _rewritten(path, lambda table: table.slice(1))
    assert "events/000000.parquet has 39 rows where the chain says 40." in verify(path).damage


OTHERS: list[dict[str, Any]] = [
    {"compression": "gzip", "row_group_size": 7},
    {"compression": "none", "use_dictionary": False},
    {"compression": "snappy", "data_page_version": "2.0", "version": "1.0"},
    {"compression": "brotli", "data_page_size": 64, "write_page_checksum": True},
    {"compression": "zstd", "store_schema": False, "write_statistics": False},
]


@pytest.mark.parametrize("options", OTHERS, ids=lambda options: options["compression"])
def test_the_same_rows_in_another_encoding_are_the_same(
    tmp_path: Path, options: dict[str, Any]
) -> None:
    path = write(tmp_path / "r.seal", mixed(200))
    with Recording.open(path) as recording:
        before = stored(recording)
    for file in sorted(path.glob("*/*.parquet")):
        version = {} if options.get("version") != "1.0" else {"version": "2.6"}
        pq.write_table(pq.read_table(file), file, **options | version)
    report = verify(rechained(path))
    assert report.exit_code == 0, report.lines()
    with Recording.open(path) as recording:
        assert stored(recording) == before
        assert recording.problems == []


def test_a_part_under_another_number_is_read_by_nobody(tmp_path: Path) -> None:
    """Rows moved to 0000001.parquet: counted by one reader and skipped by the next."""
    path = write(tmp_path / "r.seal", numbered(80))
    (path / "events" / "000001.parquet").rename(path / "events" / "0000001.parquet")
    chain = path / "chain.jsonl"
    chain.write_bytes(chain.read_bytes().replace(b"events/000001", b"events/0000001"))
    report = verify(path)
    assert report.exit_code == 2
    assert "Line 3 of chain.jsonl cannot be read." in report.damage
    with pytest.raises(ValueError, match="files that are not its own"):
        rechained(path)


@pytest.mark.slow
def test_limits_are_above_what_a_recorder_writes(tmp_path: Path) -> None:
    """The largest segment there can be, of records that no compression makes smaller."""
    with RecordingWriter(tmp_path / "r.seal", {}) as writer:
        writer.append(mixed(SEGMENT_ROWS, types=(1,)))
    report = verify(tmp_path / "r.seal")
    assert report.exit_code == 0, report.lines()
    assert (report.segments, report.rows) == (1, {"events": SEGMENT_ROWS})
