"""Small recordings told step by step, through the real writer, for the tests of tracer.audit."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tests.unit.recording import store_records
from tracer.audit.policy import WAYS
from tracer.record import (
    BASELINE,
    CLOCK,
    EVENT,
    HEAD,
    LOSS,
    NAME,
    OBJECT,
    USER_CPU,
    Kind,
    LossCause,
    Op,
    RecordType,
)
from tracer.recording.format import Limits
from tracer.recording.writer import RecordingWriter

PIECE: int = NAME["text"].itemsize

Records = npt.NDArray[np.void]
START = 5_000_000_000
LIMITS = Limits(threads=False)
SHARED_RW = 0x1 | 0x2 | 0x8 | 0x20
SHARED_RO = 0x1 | 0x8
SHARED_RO_MAY = 0x1 | 0x8 | 0x20
OPS = {op.name.lower(): int(op) for op in Op}
OTHER_MM, FINAL, RACED, NO_RETURN = 64, 512, 1, 8
_HOOK = {
    "map": "map", "map_after": "map", "mmap": "mmap", "write": "write", "read": "read",
    "splice": "read", "seals": "seals", "create": "create", "gmem_create": "create",
}  # fmt: skip
FAMILIES = tuple(
    dict.fromkeys(
        family for way in WAYS.values() for some in way.families.values() for family in some
    )
)
"""Everything that any claim can need."""


def step(family: str, **changed: Any) -> dict[str, Any]:
    """A live family in a hook plan."""
    return {
        "family": family, "program": family, "hook": _HOOK.get(family, family), "ops": [],
        "symbol": f"{family}_fn", "method": "fexit", "reason": "", "unseen": f"what {family} sees",
        "essential": True, **changed,
    }  # fmt: skip


def self_test(families: tuple[str, ...] = FAMILIES, **changed: Any) -> dict[str, Any]:
    """A self-test that saw every hook fire."""
    return {
        "ran": True, "failed": None, "variants": {}, "bit_0x20": "exec", "unexplained": [],
        "hooks": {family: {"expected": 3, "seen": 3, "extra": 0} for family in families},
        **changed,
    }  # fmt: skip


def manifest(**changed: Any) -> dict[str, Any]:
    """A manifest of a recorder with all hooks, nothing filtered."""
    return {
        "host": "h1", "boot_id": "b1", "kernel": {"release": "9.9.9"},
        "hooks": [step(family) for family in FAMILIES],
        "self_test": self_test(),
        "filters": {"pids": [], "uids": [], "cgroups": [], "name": "", "seals": 0,
                    "denied": False, "unsealable": True, "follow_command": False},
        "blind_spots": ["the moon"], "command": [],
        **changed,
    }  # fmt: skip


COMPLETE: dict[str, Any] = {"start": {"problems": []}}
"""What end.json says of a baseline that missed nothing."""


@dataclass
class Story:
    """Records in the order of time; each step is a millisecond after the one before."""

    records: list[bytes] = field(default_factory=list)
    now_ns: int = START
    seqs: dict[int, int] = field(default_factory=dict)
    cpu: int = 0
    known: set[int] = field(default_factory=set)
    wall_ns: int = 1_790_000_000_000_000_000
    """What the wall clock is ahead of the boot clock."""

    def __post_init__(self) -> None:
        self.clock()

    def _add(self, row: Records, cpu: int | None) -> None:
        cpu = self.cpu if cpu is None else cpu
        self.now_ns += 1_000_000
        row["time_ns"] = self.now_ns
        row["cpu"] = cpu
        row["seq"] = self.seqs.get(cpu, 0)
        self.seqs[cpu] = self.seqs.get(cpu, 0) + 1
        self.records.append(row.tobytes())

    def clock(self) -> None:
        row = np.zeros(1, CLOCK)
        row["type"] = RecordType.CLOCK
        row["realtime_ns"] = self.wall_ns + self.now_ns
        self._add(row, USER_CPU)

    def object(
        self, ino: int, name: str = "ram", kind: int = Kind.MEMFD, cpu: int | None = None,
        gen: int = 7, **more: Any,
    ) -> None:  # fmt: skip
        """Announces a file once."""
        raw = ("memfd:" + name).encode("utf-8", "surrogateescape") if kind <= 2 else name.encode()
        row = np.zeros(1, OBJECT)
        row["type"], row["op"] = RecordType.OBJECT, OPS["create"]
        row["ino"], row["dev"], row["gen"], row["kind"] = ino, 1, gen, kind
        row["name_len"], row["mode"], row["size"] = len(raw), 0o777, 4096
        row["pid"], row["owner_uid"], row["comm"] = 100, 1000, b"vmm"
        for key, value in more.items():
            row[key] = value
        self._add(row, cpu)
        for part, start in enumerate(range(0, len(raw), PIECE)):
            piece = np.zeros(1, NAME)
            piece["type"] = RecordType.NAME
            piece["ino"], piece["dev"], piece["gen"], piece["kind"] = ino, 1, gen, kind
            text = raw[start : start + PIECE]
            piece["part"], piece["length"] = part, len(text)
            piece["text"] = np.void(text.ljust(PIECE, b"\0"))
            self._add(piece, cpu)
        self.known.add(ino)

    def event(
        self, op: str, ino: int, pid: int = 100, comm: bytes = b"vmm", kind: int = Kind.MEMFD,
        baseline: bool = False, gen: int = 7, **more: Any,
    ) -> None:  # fmt: skip
        row = np.zeros(1, BASELINE if baseline else EVENT)
        row["type"] = RecordType.BASELINE if baseline else RecordType.EVENT
        row["op"], row["kind"] = OPS[op], kind
        row["ino"], row["dev"], row["gen"] = ino, int(ino > 0), gen if ino else 0
        row["pid"] = row["tid"] = pid
        row["comm"], row["uid"], row["fd"] = comm, 1000, 3
        row["start_ns"], row["exec_id"] = 1_000_000_000 + pid * 20_000_000 + 1, 3
        row["own_mm"] = 0xFF00 + pid
        row["mm"] = 0 if baseline and op != "map" else 0xFF00 + pid
        row["size"] = row["size_after"] = 4096
        for key, value in more.items():
            row[key] = value
        if baseline and op != "mapped":
            row["fd"] = more.get("fd", -1)
        self._add(row, USER_CPU if baseline and op != "mapped" else None)

    def create(self, ino: int, name: str = "ram", pid: int = 100, **more: Any) -> None:
        """A file made during the trace."""
        kind = more.get("kind", Kind.MEMFD)
        self.object(ino, name, kind, create_flags_known=1, create_flags=2, pid=pid)
        self.event("create", ino, pid, **{"answer": 3, **more})

    def map(self, ino: int, pid: int = 100, address: int = 0x10000, **more: Any) -> None:
        values = {"answer": address, "length": 4096, "arg": SHARED_RW, **more}
        self.event("map", ino, pid, **values)

    def unmap(self, ino: int, pid: int = 100, address: int = 0x10000, **more: Any) -> None:
        values = {"answer": address, "length": 4096, "arg": SHARED_RW, **more}
        self.event("unmap", ino, pid, **values)

    def memslot(self, ino: int, pid: int = 100, address: int = 0x10000, **more: Any) -> None:
        values = {"size_after": address, "length": 4096, "vm": 77, "fd": -1, **more}
        self.event("memslot", ino, pid, **values)

    def loss(self, cause: LossCause, hook: int = 0, count: int = 1) -> None:
        row = np.zeros(1, LOSS)
        row["type"], row["cause"], row["hook"] = RecordType.LOSS, cause, hook
        row["count"] = row["total"] = count
        self._add(row, USER_CPU)

    def write(
        self, path: Path, without: int | None = None, end: Mapping[str, Any] | None = None,
        **changed: Any,
    ) -> Path:  # fmt: skip
        """The finished recording; ``without``: the place of a record that never arrived."""
        self.clock()
        kept = [one for place, one in enumerate(self.records) if place != without]
        rows = np.frombuffer(bytearray(b"".join(kept)), HEAD)
        more = {"baseline": COMPLETE, "in_flight": 0, **(end or {})}
        with RecordingWriter(path, manifest(**changed), limits=LIMITS) as writer:
            writer.append(rows)
            writer.close("done", self.seqs, **more)
        return path


def killed(path: Path) -> Path:
    """The same, as if its recorder had been killed behind its last segment, long ago."""
    store_records.killed(path)
    os.utime(path / "lock", (0, 0))
    return path


def policy(*claims: str, scope: str = 'kind = "memfd"') -> bytes:
    """A policy of claims as TOML lines each."""
    body = "\n".join(f"[[claim]]\n{claim}" for claim in claims)
    return f'name = "test"\n[scope]\n{scope}\n{body}\n'.encode()


def pretty(value: object) -> str:
    """For messages of failed tests."""
    return json.dumps(value, indent=1, default=str)
