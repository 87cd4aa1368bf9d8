"""Records for the tests of tracer.recording: any bytes that the kernel could write."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tracer.record import EVENT, HEAD, LOSS, NAME, OBJECT, USER_CPU, RecordType
from tracer.recording.chain import CHAIN, Link, PartInfo, digest, info, line, parse
from tracer.recording.format import TABLES, Limits
from tracer.recording.reader import Recording
from tracer.recording.tables import tables
from tracer.recording.writer import RecordingWriter

Records = npt.NDArray[np.void]
SMALL = Limits(
    rows=40, seconds=3.0, tail_s=0.1, direct_rows=16, group_rows=8, chunk_rows=4, threads=False
)
"""Everything happens after a few records."""

COMMS = [b"bash", b"", b"a\0b", b"exactly16bytes!!", b"evil\x1b[2J", b"\xff\xfe", "ünï".encode()]


def mixed(count: int, seed: int = 0, types: tuple[int, ...] = tuple(RecordType)) -> Records:
    """``count`` records of all types, nearly every byte random, as HEAD."""
    rng = np.random.default_rng(seed)
    raw = rng.integers(0, 256, (count, HEAD.itemsize), np.uint8)
    events = raw.view(EVENT).ravel()
    events["type"] = rng.choice(types, count)
    events["cpu"] = np.where(np.isin(events["type"], (4, 5, 6, 7)), USER_CPU, count // 2 % 3)
    for cpu in np.unique(events["cpu"]):
        mine = events["cpu"] == cpu
        events["seq"][mine] = np.arange(np.count_nonzero(mine))
    events["ino"] %= 4
    events["dev"] = events["gen"] = 1
    comms = rng.integers(0, len(COMMS), count)
    padded = np.array([np.void(comm.ljust(16, b"\0")) for comm in COMMS])
    has_comm = np.isin(events["type"], (1, 4, 2))
    events["comm"][has_comm] = padded[comms[has_comm]]
    names = events["type"] == RecordType.NAME
    pieces = raw.view(NAME).ravel()
    pieces["part"][names] %= 3
    pieces["length"][names] %= 125
    objects = raw.view(OBJECT).ravel()
    objects["name_len"][events["type"] == RecordType.OBJECT] %= 300
    losses = raw.view(LOSS).ravel()
    losses["total"][events["type"] == RecordType.LOSS] = 0
    return raw.view(HEAD).ravel()


def numbered(count: int, cpu: int = 0, first: int = 0) -> Records:
    """Plain events of one CPU with rising sequence numbers and offsets, as HEAD."""
    events = np.zeros(count, EVENT)
    events["type"] = RecordType.EVENT
    events["cpu"] = cpu
    events["seq"] = np.arange(first, first + count)
    events["op"] = 3
    events["time_ns"] = 1000 + events["seq"]
    events["offset"] = events["seq"] * 7
    return events.view(f"V{HEAD.itemsize}").view(HEAD)


def pick(records: Records, which: Any) -> Records:
    """Some of ``records``."""
    return np.asarray(records[which])


def rows_of(pieces: list[pa.Table], name: str) -> list[dict[str, Any]]:
    """The rows of tables as plain Python values."""
    return list(pa.concat_tables([TABLES[name].empty_table(), *pieces]).to_pylist())


def expected(records: Records) -> dict[str, list[dict[str, Any]]]:
    """What a recording of ``records`` must hold, by table."""
    built = tables(records)
    return {name: rows_of([built[name]] if name in built else [], name) for name in TABLES}


def stored(recording: Recording) -> dict[str, list[dict[str, Any]]]:
    """What a recording holds, by table."""
    return {name: rows_of(list(recording.tables(name)), name) for name in TABLES}


def write(
    path: Path, records: Records, limits: Limits = SMALL, final: dict[int, int] | None = None
) -> Path:
    """A finished recording of ``records``."""
    with RecordingWriter(path, {"host": "test"}, limits=limits) as writer:
        writer.append(records)
        writer.close("done", final)
    return path


def seqs(recording: Recording) -> list[int]:
    """The sequence numbers of all events in the order of the recording."""
    return [n for table in recording.tables("events", ["seq"]) for n in table["seq"].to_pylist()]


_DOOMED = """
import os, sys
from tests.unit.recording.store_records import numbered
from tracer.recording.writer import RecordingWriter
writer = RecordingWriter(sys.argv[1], {})
writer.tick(0)
writer.append(numbered(9))
writer.tick(1)
print("ready", flush=True)
sys.stdin.read()
os._exit(9)
"""


@contextmanager
def doomed(path: Path) -> Iterator[Callable[[], object]]:
    """Another process records nine events to ``path``; calling what it gives kills it."""
    with subprocess.Popen(
        [sys.executable, "-c", _DOOMED, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout
        process.stdout.readline()
        yield process.communicate  # which closes its input and waits


# ---- what may have happened to it ---------------------------------------------------------------


def killed(path: Path) -> Path:
    """As if its recorder had been killed before it ended the recording."""
    (path / "end.json").unlink()
    lines = (path / CHAIN).read_bytes().splitlines(keepends=True)
    assert b'{"segment":"end"' in lines[-1]
    (path / CHAIN).write_bytes(b"".join(lines[:-1]))
    return path


def rechained(path: Path, change: Callable[[Link], Link] = lambda link: link) -> Path:
    """What somebody makes who changes files, and lines, and makes the chain fit again."""
    last = ""
    lines = []
    for text in (path / CHAIN).read_bytes().splitlines():
        link = parse(text)
        files = {name: _info(path / name, said) for name, said in link.files.items()}
        link = change(replace(link, files=files, previous=last))
        last = digest(link)
        lines.append(line(replace(link, digest=last)))
    (path / CHAIN).write_bytes(b"".join(lines))
    return path


def _info(file: Path, said: PartInfo) -> PartInfo:
    return info(file.read_bytes(), said.rows) if file.exists() else said


def end_changed(path: Path, **changes: object) -> Path:
    """Another ``end.json``, for which the chain vouches."""
    end = json.loads((path / "end.json").read_text())
    (path / "end.json").write_text(json.dumps(end | changes))
    return rechained(path)
