"""Synthetic events for the ring benchmark: a busy host, and one program that floods it.

Busy: four CPUs interleave in the ring as the kernel's do (by reservation, locally out of time
order); each CPU runs one task for a stretch and then another; a task works on its own few memory
files, and what it does next has nothing to do with what it did before.

Flood: one task writes to one memory file as fast as it can, which is how so many events come about.
"""

from collections.abc import Callable

import numpy as np

from tracer.record import EVENT, Flag, Hook, Kind, Op, RecordType

CPUS = 4
STRETCH = 400
"""Records of one task on one CPU before the next task runs there (about one scheduler slice)."""
COMMS = (b"firefox", b"Xwayland", b"qemu-system-x86", b"pulseaudio", b"gnome-shell")
TASKS = 24
OBJECTS_PER_TASK = 6
PAGE = 4096

# op, hook, system call number, share of the mix
_OPS = (
    (Op.MMAP, Hook.MMAP, 9, 0.20),
    (Op.MAP, Hook.MAP, 9, 0.14),
    (Op.UNMAP, Hook.UNMAP, 11, 0.14),
    (Op.WRITE, Hook.WRITE, 1, 0.22),
    (Op.READ, Hook.READ, 0, 0.10),
    (Op.TRUNCATE, Hook.SETATTR, 77, 0.06),
    (Op.ALLOCATE, Hook.ALLOCATE, 285, 0.03),
    (Op.PUNCH_HOLE, Hook.ALLOCATE, 285, 0.03),
    (Op.ADD_SEALS, Hook.SEALS, 72, 0.04),
    (Op.CREATE, Hook.CREATE, 319, 0.02),
    (Op.EVICT, Hook.EVICT, 3, 0.02),
)
_EPERM = 1


def busy(count: int) -> np.ndarray:
    """``count`` EVENT records in ring order, sequence numbers from 0 on each CPU."""
    rng = np.random.default_rng(1)
    out = np.zeros(count, EVENT)
    cpu = rng.integers(0, CPUS, count)
    out["cpu"] = cpu
    for one in range(CPUS):
        rows = np.flatnonzero(cpu == one)
        out["seq"][rows] = np.arange(len(rows))
        stretch = np.arange(len(rows)) // STRETCH
        task = rng.integers(0, TASKS, stretch[-1] + 1 if len(rows) else 0)
        _task_fields(out, rows, task[stretch])
    _times(out, rng)
    _object_fields(out, rng)
    _op_fields(out, rng)
    return out


def flood(count: int) -> np.ndarray:
    """As :func:`busy`, of one task on one CPU."""
    out = np.zeros(count, EVENT)
    _times(out, np.random.default_rng(1))
    out["seq"] = np.arange(count)
    out["pid"] = out["tid"] = 2000
    out["uid"], out["cgroup"], out["comm"] = 1000, 4000, b"writer"
    out["dev"], out["ino"], out["kind"], out["fd"], out["fmode"] = 1, 77, Kind.MEMFD, 3, 3
    out["op"], out["hook"], out["nr"] = Op.WRITE, Hook.WRITE, 1
    out["offset"] = np.arange(count) * 64 % (1 << 24)
    out["size"] = out["size_after"] = 1 << 24
    out["length"] = out["answer"] = 64
    out["flags"], out["checks"] = Flag.CHECK_REACHED, 1
    return out


def _times(out: np.ndarray, rng: np.random.Generator) -> None:
    # Time is taken at entry, the record is written at return: locally not sorted.
    out["duration_ns"] = rng.lognormal(7.2, 0.6, len(out)).astype("<u8")
    step = rng.integers(60, 400, len(out))
    out["time_ns"] = 9_000_000_000_000 + np.cumsum(step) - out["duration_ns"]
    out["type"] = RecordType.EVENT


def _task_fields(out: np.ndarray, rows: np.ndarray, task: np.ndarray) -> None:
    comm = np.array([np.void(c.ljust(16, b"\0")) for c in COMMS])
    out["pid"][rows] = 2000 + task // 3 * 17
    out["tid"][rows] = 2000 + task // 3 * 17 + task % 3
    out["uid"][rows] = np.where(task < 18, 1000, 0)
    out["comm"][rows] = comm[task % len(COMMS)]
    out["cgroup"][rows] = 4000 + task // 6
    out["mm"][rows] = 0xFFFF888100000000 + (task // 3).astype("<u8") * 0x4C0


def _object_fields(out: np.ndarray, rng: np.random.Generator) -> None:
    which = rng.integers(0, OBJECTS_PER_TASK, len(out))
    out["ino"] = out["tid"].astype("<u8") * 16 + which
    out["dev"] = 1
    out["kind"] = np.where(which == 5, int(Kind.TMPFS), int(Kind.MEMFD))
    out["seals"] = np.array([0, 0, 0x0F, 0x0E, 0x1, 0x16], "<u4")[which]
    out["fd"] = 5 + which * 3
    out["mode"] = 0o100777
    out["fmode"] = 3
    sizes = (1 + rng.integers(0, 512, 64)) * PAGE
    out["size"] = sizes[(out["tid"] * 3 + which + np.arange(len(out)) // 4096) % 64]


def _op_fields(out: np.ndarray, rng: np.random.Generator) -> None:
    count = len(out)
    pick = rng.choice(len(_OPS), count, p=[share for *_, share in _OPS])
    out["op"] = np.array([int(op) for op, *_ in _OPS])[pick]
    out["hook"] = np.array([int(hook) for _, hook, *_ in _OPS])[pick]
    out["nr"] = np.array([nr for _, _, nr, _ in _OPS])[pick]
    pages = np.maximum(out["size"] // PAGE, 1)
    out["offset"] = (rng.integers(0, 1 << 30, count).astype("<u8") % pages * PAGE).astype("<i8")
    out["length"] = rng.integers(1, 65536, count)
    out["arg"] = np.array([0x1_0000_0003, 0xFB, 0xFB, 0, 0, 8, 0, 3, 4, 2, 0], "<u8")[pick]
    maps = np.isin(out["op"], [int(Op.MMAP), int(Op.MAP), int(Op.UNMAP)])
    address = 0x7F0000000000 + rng.integers(0, 1 << 24, count) * PAGE
    copies = np.isin(out["op"], [int(Op.READ), int(Op.WRITE)])
    out["answer"] = np.where(maps, address, np.where(copies, out["length"].astype("<i8"), 0))
    denied = (out["seals"] & 0x8 > 0) & np.isin(out["op"], [int(Op.MMAP), int(Op.WRITE)])
    out["answer"][denied] = -_EPERM
    out["check_answer"][denied] = -_EPERM
    out["flags"] = np.where(denied, int(Flag.CHECK_REACHED), 0)
    out["checks"] = copies
    out["size_after"] = out["size"]
    out["seals_after"] = out["seals"] | np.where(out["op"] == Op.ADD_SEALS, 4, 0).astype("<u4")
    out["writable"] = np.where(maps, 1, 0)


LOADS: dict[str, Callable[[int], np.ndarray]] = {"busy host": busy, "flood": flood}
