"""Baseline records, read back through the store's own tables."""

import mmap
import os

import numpy as np
import pytest

from tracer.capture.baseline import baseline_records
from tracer.capture.memoryfile import MemoryFile, Scan
from tracer.capture.procfs import Scanner
from tracer.model.escape import unescape
from tracer.model.record import HEAD, USER_CPU, Kind
from tracer.store.tables import tables


@pytest.mark.parametrize("name", [b"x" * 249, b"a/b\n\xff", b""], ids=ascii)
def test_baseline_records(name: bytes) -> None:
    fd = os.memfd_create(os.fsdecode(name), os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.ftruncate(fd, 8192)
    ino = os.fstat(fd).st_ino
    with mmap.mmap(fd, 8192) as mapped:
        scan = Scanner().scan()
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


def test_baseline_of_nothing_is_empty() -> None:
    assert len(baseline_records(Scan(0, []))) == 0
    file = MemoryFile(Kind.MEMFD, 1, 2, b"/memfd:x")
    assert len(baseline_records(Scan(0, [file]))) == 0
