"""Baseline records, read back through the store's own tables."""

import mmap
import os

import numpy as np
import pytest

from tracer.capture.baseline import baseline_records
from tracer.capture.memory_files import MemoryFile, Scan
from tracer.capture.processes import Identity
from tracer.capture.procfs import Scanner
from tracer.escape import unescape
from tracer.record import HEAD, USER_CPU, Flag, Kind, RecordType
from tracer.recording.tables import tables


@pytest.mark.parametrize("name", [b"x" * 249, b"a/b\n\xff", b""], ids=ascii)
def test_baseline_records(name: bytes) -> None:
    fd = os.memfd_create(os.fsdecode(name), os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.ftruncate(fd, 8192)
    ino = os.fstat(fd).st_ino
    with mmap.mmap(fd, 8192) as mapped:
        scan = Scanner(identify=lambda folder: Identity(5, 6, 7)).scan()
        address = np.frombuffer(mapped, "u1").ctypes.data
    os.close(fd)
    records = baseline_records(scan)
    assert records.dtype == HEAD
    assert (records["cpu"] == USER_CPU).all()
    records["seq"] = np.arange(len(records))  # what the recorder does
    found = tables(records)
    [thing] = [row for row in found["objects"].to_pylist() if row["ino"] == ino]
    assert unescape(thing["name"]) == b"memfd:" + name
    assert (thing["kind"], thing["size"], thing["name_complete"]) == ("memfd", 8192, True)
    assert thing["gen"] == next(file.gen for file in scan.files if file.ino == ino)
    rows = [row for row in found["mappings"].to_pylist() if row["ino"] == ino]
    ours = [row for row in rows if row["pid"] == os.getpid()]
    held = {row["fd"]: row["fmode"] for row in ours if row["op"] == "open"}
    assert held[fd] == 3
    [mapping] = [row for row in ours if row["op"] == "map"]
    assert (mapping["answer"], mapping["length"], mapping["arg"]) == (address, 8192, 0xB)
    assert (mapping["fd"], mapping["seals"], mapping["kind"]) == (-1, 0, "memfd")
    assert (mapping["start_ns"], mapping["exec_id"]) == (5, 6)
    assert mapping["own_mm"] == mapping["mm"] == 7, "it is mapped in its own address space"


def test_baseline_of_nothing_is_empty() -> None:
    assert len(baseline_records(Scan(0, []))) == 0
    file = MemoryFile(Kind.MEMFD, 1, 2, b"/memfd:x")
    assert len(baseline_records(Scan(0, [file]))) == 0


def test_the_final_sweep_is_marked_and_announces_what_is_new() -> None:
    fds = [os.memfd_create(name) for name in ("old", "new")]
    keys = [(os.major(s.st_dev) << 20 | os.minor(s.st_dev), s.st_ino) for s in map(os.fstat, fds)]
    scan = Scanner().scan()
    for fd in fds:
        os.close(fd)
    assert scan.duration_ns > 0
    for final in (False, True):
        announced = {(file.dev, file.ino) for file in scan.files} - {keys[1]} if final else set()
        records = baseline_records(scan, final, announced)
        rows = records[records["type"] == RecordType.BASELINE]
        assert set(rows["flags"].tolist()) == {int(Flag.FINAL) if final else 0}
        assert {key[1] for key in keys} <= set(rows["ino"].tolist())
        told = records[records["type"] == RecordType.OBJECT]
        assert [ino for _, ino in keys if ino in told["ino"]] == [keys[1][1]] if final else True
        assert len(told) == (1 if final else len(scan.files))
        for row in tables(records)["mappings"].to_pylist():
            assert row["duration_ns"] == scan.duration_ns, "how long it may have missed something"
