"""Recordings that the fuzzer begins with: ended, killed, of many segments, kept, a real one."""

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np

from tests.unit.audit.audit_story import Story, manifest
from tests.unit.recording.store_records import Records
from tracer.record import HEAD, LossCause
from tracer.recording.format import Limits
from tracer.recording.writer import RecordingWriter

SAMPLE = Path(__file__).resolve().parents[2] / "samples" / "recordings" / "debian-7.3.seal"
POLICY = b"""
name = "fuzz"
[scope]
kind = ["memfd", "hugetlb"]
[[claim]]
claim = "mapped-only-by"
by = ["creator", { comm = "ok*" }]
[[claim]]
claim = "never-read-or-written"
by = ["vmm"]
[[claim]]
claim = "sealed-with"
seals = ["WRITE"]
[[claim]]
claim = "no-breach"
[[claim]]
claim = "never-pinned-except"
"""
MANY = Limits(rows=25, seconds=1.0, tail_s=0.1, direct_rows=16, group_rows=8, chunk_rows=4,
              threads=False)  # fmt: skip


def story() -> Story:
    """A little of everything."""
    told = Story()
    told.create(5, "ram")
    told.create(6, "x" * 200, pid=101)
    told.object(8, "old", cpu=0xFFFF)
    for ino in (5, 6):
        told.map(ino)
        told.memslot(ino)
        told.event("write", ino, 200, comm=b"spy", answer=4096, length=4096)
        told.event("add_seals", ino, 100, answer=-16 if ino == 6 else 0, arg=8, seals_after=8)
        told.event("remote_read", ino, 300, comm=b"gdb", size_after=0x10000, length=64, mm=0xFF64)
        told.cpu = 1
    told.event("open", 8, 100, baseline=True, fd=7)
    told.event("map", 8, 100, baseline=True, answer=0x50000, length=4096, arg=0x29)
    told.loss(LossCause.RING_FULL, count=2)
    told.seqs[0] += 2  # which never came
    told.event("read", 5, 200, comm=b"\x1b[2J", answer=1)
    told.unmap(5)
    told.clock()
    return told


def make(where: Path) -> dict[str, Path]:
    """The recordings, by name."""
    told = story()
    found = {"ended": told.write(where / "ended.seal")}
    raw = np.frombuffer(bytearray(b"".join(told.records)), HEAD)
    found["many"] = where / "many.seal"
    with RecordingWriter(found["many"], manifest(), limits=MANY) as writer:
        writer.append(raw)
        writer.close("done", told.seqs, baseline={"start": {"problems": []}}, in_flight=0)
    found["killed"] = where / "killed.seal"
    _with_tail(found["killed"], raw, where)
    found["kept"] = where / "kept.seal"
    _kept(found["killed"], found["kept"])
    found["real"] = where / "real.seal"
    shutil.copytree(SAMPLE, found["real"])
    (found["real"] / "lock").touch()
    for path in found.values():
        os.utime(path / "lock", (0, 0))
    return found


def _with_tail(path: Path, raw: Records, where: Path) -> None:
    """Segments and a tail of two blocks, as SIGKILL leaves them."""
    live = where / "live.seal"
    limits = replace(MANY, rows=1000, seconds=0.5)
    with RecordingWriter(live, manifest(), limits=limits) as writer:
        for turn, start in enumerate(range(0, len(raw) - 8, 10)):
            writer.append(raw[start : min(start + 10, len(raw) - 8)])
            writer.tick(turn * 0.2)
        writer.tick(100.0)
        for turn in range(2):
            writer.append(raw[len(raw) - 8 + 4 * turn :][:4])
            writer.tick(101 + turn * 0.2)
        shutil.copytree(live, path)
        writer.close("done")
    if not list((path / "tail").iterdir()):
        raise AssertionError("the killed recording has no tail")
    shutil.rmtree(live)


def _kept(source: Path, target: Path) -> None:
    """The same, ended, with its tail in the chain: what a live view keeps."""
    from tracer.live.keep import copy
    from tracer.recording.folder import Folder

    with Folder.around(target.parent) as around:
        copy(source, around, target.name)
    assert "killed" not in json.loads((target / "end.json").read_bytes())["reason"]
