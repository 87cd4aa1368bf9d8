"""Samples of processes that stand still in a system call, taken by ptrace instead of by BPF."""

import ctypes
import os
import struct
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from tracer.capture.stacks.maps import _ranges, started
from tracer.capture.stacks.samples import CODE_MAP, PAGE, SAMPLE, SP

HERE = Path(__file__).parent
_ATTACH, _GETREGS, _DETACH = 16, 12, 17
_libc = ctypes.CDLL(None, use_errno=True)
MM = 77


def build(folder: Path, *flags: str, name: str = "deep") -> Path:
    """The program."""
    found = folder / name
    source = str(HERE / "deep.c")
    subprocess.run(["gcc", "-O2", *flags, "-o", str(found), source], check=True)
    return found


@contextmanager
def stopped(program: Path) -> Iterator[tuple[int, Any]]:
    """Its pid, and a sample of it while it waits."""
    with subprocess.Popen([str(program)]) as process:
        try:
            until = time.monotonic() + 10
            while time.monotonic() < until:
                if Path(f"/proc/{process.pid}/syscall").read_text().startswith("34 "):
                    break
                time.sleep(0.01)
            yield process.pid, sample(process.pid)
        finally:
            process.kill()


def sample(pid: int, number: int = 1) -> Any:
    """What ``bpf/stacks.h`` would send."""
    row = np.zeros(1, SAMPLE)
    assert _libc.ptrace(_ATTACH, pid, 0, 0) == 0
    os.waitpid(pid, 0)
    try:
        raw = ctypes.create_string_buffer(27 * 8)
        assert _libc.ptrace(_GETREGS, pid, None, raw) == 0
        row["regs"][0] = struct.unpack("<27Q", raw.raw)[:21]
        base = int(row["regs"][0][SP]) & ~(PAGE - 1)
        pages = bytearray(5 * PAGE)
        with Path(f"/proc/{pid}/mem").open("rb", buffering=0) as memory:
            for place in range(5):
                try:
                    memory.seek(base + place * PAGE)
                    pages[place * PAGE : (place + 1) * PAGE] = memory.read(PAGE)
                except OSError:
                    continue
                row["present"] |= 1 << place
        row["base"], row["pages"] = base, np.void(bytes(pages))
    finally:
        _libc.ptrace(_DETACH, pid, 0, 0)
    row["pid"] = row["tid"] = pid
    row["mm"], row["sample"], row["time_ns"] = MM, number, 1000
    row["start_ns"] = started(Path(f"/proc/{pid}"))
    return row


def mapped(pid: int) -> Any:
    """What ``bpf/stacks.h`` would have sent of its mappings."""
    ranges = list(_ranges(Path(f"/proc/{pid}/maps").read_bytes()))
    rows = np.zeros(len(ranges), CODE_MAP)
    for row, one in zip(rows, ranges, strict=True):
        row["start"], row["end"], row["pgoff"], row["kind"] = (
            one.start, one.end, one.pgoff // PAGE, one.kind,
        )  # fmt: skip
        if one.file is not None:
            row["dev"], row["ino"] = one.file.dev, one.file.ino
            row["size"] = Path(os.fsdecode(one.file.path)).stat().st_size
            path = b"\0".join(reversed(one.file.path[1:].split(b"/"))) + b"\0"
            row["path"], row["length"] = np.void(path.ljust(1280, b"\0")), len(path)
    rows["pid"], rows["mm"], rows["time_ns"] = pid, MM, 500
    rows["start_ns"] = started(Path(f"/proc/{pid}"))
    return rows


class Ring:
    """Gives what it was given, once."""

    def __init__(self, rows: Any) -> None:
        self.rows = rows
        self._taken = 0

    def poll(self, most: int = 1 << 13) -> Any:
        self._taken = min(most, len(self.rows))
        return self.rows[: self._taken]

    def release(self) -> None:
        self.rows = self.rows[self._taken :]
        self._taken = 0
