"""Small recordings with known verdicts, for the tests of ``sealsnoop report``."""

from pathlib import Path
from typing import Any

import numpy as np

from tracer.record import CLOCK, EVENT, LOSS, NAME, OBJECT, USER_CPU, RecordType
from tracer.recording.writer import RecordingWriter

START = 5_000_000_000
WALL = 1_795_369_690 * 10**9  # 2026-11-22T17:48:10Z
STEP = 100_000_000

MMAP = {"op": 1, "arg": 3 | 1 << 32, "length": 4096, "fd": 3, "size": 8192, "size_after": 8192}
FUTURE = {"seals": 0x10, "seals_after": 0x10}
BREACH = MMAP | FUTURE | {"answer": 0x7F0000000000}
BLOCKED = MMAP | FUTURE | {"answer": -1}
ALLOWED = MMAP | {"answer": 0x7F0000000000}
ERROR = MMAP | {"answer": -12}
UNEXPLAINED = MMAP | {"answer": -1}

USUAL: dict[str, Any] = {"ino": 7, "gen": 1, "pid": 42, "tid": 42, "fmode": 3, "comm": b"writer"}


def events(rows: list[dict[str, Any]], start_ns: int = START) -> Any:
    """One event each 0.1 s from ``start_ns``."""
    found = np.zeros(len(rows), EVENT)
    found["type"], found["dev"], found["kind"] = RecordType.EVENT, 1, 1
    for place, row in enumerate(rows):
        found["time_ns"][place] = start_ns + place * STEP
        found["seq"][place] = 100 + place
        for name, value in (USUAL | row).items():
            raw = np.void(value.ljust(16, b"\0")) if name == "comm" else value
            found[name][place] = raw
    return found


def announcement(ino: int, name: bytes, seq: int) -> list[Any]:
    thing, piece = np.zeros(1, OBJECT), np.zeros(1, NAME)
    for row in (thing, piece):
        row["dev"], row["ino"], row["gen"], row["kind"], row["time_ns"] = 1, ino, 1, 1, START
    thing["type"], thing["seq"], thing["name_len"] = RecordType.OBJECT, seq, len(name)
    piece["type"], piece["seq"], piece["length"] = RecordType.NAME, seq + 1, len(name)
    piece["text"] = np.void(name.ljust(NAME["text"].itemsize, b"\0"))
    return [thing, piece]


def clock(boot_ns: int, wall_ns: int, seq: int) -> Any:
    row = np.zeros(1, CLOCK)
    row["type"], row["cpu"], row["seq"] = RecordType.CLOCK, USER_CPU, seq
    row["time_ns"], row["realtime_ns"] = boot_ns, wall_ns
    return row


def loss(count: int) -> Any:
    row = np.zeros(1, LOSS)
    row["type"], row["cpu"], row["seq"], row["cause"] = RecordType.LOSS, USER_CPU, 9, 1
    row["count"] = row["total"] = count
    return row


def manifest(host: str = "h1", boot_id: str = "b1", release: str = "6.1.0") -> dict[str, Any]:
    symbol = {"symbol": "vm_mmap_pgoff", "method": "fexit"}
    hooks = [{"family": "mmap", "hook": "mmap", **symbol, "essential": True}]
    return {"host": host, "boot_id": boot_id, "kernel": {"release": release}, "hooks": hooks}


def write(
    path: Path,
    rows: list[dict[str, Any]],
    *more: Any,
    name: bytes = b"memfd:frame",
    clocks: bool = True,
    start_ns: int = START,
    **about: str,
) -> Path:
    """A recording of ``rows``; ``more``: further records."""
    writer = RecordingWriter(path, manifest(**about))
    parts = announcement(7, name, 0) + announcement(8, b"memfd:other", 2)
    if clocks:
        parts = [clock(start_ns, WALL, 0), *parts]
    if rows:
        parts.append(events(rows, start_ns))
    if clocks:
        end = len(rows) * STEP
        parts.append(clock(start_ns + end, WALL + end, 1))
    for part in [*parts, *more]:
        writer.append(part)
    writer.close("command exited with 0")
    return path
