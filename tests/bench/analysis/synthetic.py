"""A recording of a busy host as the real store writer writes it: decisions on many sealed files.

Most memory files of a host are used by the process that made them and one that it was handed to: by
that, 50,000 files give 100,000 different (process, fd, file). ``sharers`` makes that more: memory
grows with these, not with the decisions.

The answers are those that the seal rules ask for, but for one in a thousand that a kernel should
not give (a breach or an unexplained refusal) and one in a hundred that fails for another reason.
"""

from pathlib import Path

import numpy as np
import numpy.typing as npt

from tracer.record import EVENT, HEAD, NAME, OBJECT, RECORD_SIZE, Flag, Hook, Kind, Op, RecordType
from tracer.recording.writer import RecordingWriter
from tracer.words import Seal

Records = npt.NDArray[np.void]

START_NS = 5_000_000_000_000
STEP_NS = 700  # between two events
DISORDER_NS = 20_000  # events arrive so much out of order
PROCESSES = 400
CPUS = 4
SIZE = 1 << 20
AT_ONCE = 1 << 17
COMMS = [f"worker-{number}" for number in range(37)]
SEALS = (
    0,
    Seal.SHRINK,
    Seal.SHRINK | Seal.GROW,
    Seal.SHRINK | Seal.GROW | Seal.FUTURE_WRITE,
    Seal.SEAL | Seal.SHRINK | Seal.GROW | Seal.WRITE,
    Seal.EXEC,
)
SEAL_SHARES = (0.4, 0.1, 0.2, 0.1, 0.15, 0.05)
OPS = {
    Op.WRITE: 0.40, Op.MMAP: 0.2, Op.READ: 0.15, Op.TRUNCATE: 0.08, Op.ALLOCATE: 0.07,
    Op.PUNCH_HOLE: 0.04, Op.ADD_SEALS: 0.04, Op.CHMOD: 0.02,
}  # fmt: skip
HOOKS = {
    Op.WRITE: Hook.WRITE, Op.MMAP: Hook.MMAP, Op.READ: Hook.READ, Op.TRUNCATE: Hook.SETATTR,
    Op.ALLOCATE: Hook.ALLOCATE, Op.PUNCH_HOLE: Hook.ALLOCATE, Op.ADD_SEALS: Hook.SEALS,
    Op.CHMOD: Hook.SETATTR,
}  # fmt: skip
VARIANTS = {
    "bit_0x20": "exec",
    "shared_read_of_write_sealed": "allowed",
    "hugetlb_partial_punch": "checked",
    "grow_write_chunk": "folio_order",
}
_EPERM, _ENOMEM = 1, 12
_PUNCH, _KEEP_SIZE = 2, 1
_ATTR_MODE, _ATTR_SIZE = 1, 8


def write(path: Path, decisions: int, objects: int, sharers: int = 2, seed: int = 1) -> None:
    """Writes the recording; each file is used by ``sharers`` processes."""
    rng = np.random.default_rng(seed)
    manifest = {
        "host": "bench",
        "boot_id": "bench",
        "kernel": {"release": "bench"},
        "self_test": {"ran": True, "variants": VARIANTS},
    }
    seals = rng.choice(np.array(SEALS, np.uint32), objects, p=SEAL_SHARES)
    with RecordingWriter(path, manifest, force=True) as writer:
        writer.append(announcements(seals))
        writer.tick(0)
        for start in range(0, decisions, AT_ONCE):
            count = min(AT_ONCE, decisions - start)
            writer.append(_head(events(rng, start, count, seals, sharers)))
            writer.tick(start / 1e6)
        writer.close("done")


def _head(records: Records) -> Records:
    return records.view(f"V{RECORD_SIZE}").view(HEAD)


def _key(rows: Records, objects: npt.NDArray[np.int64]) -> None:
    rows["dev"] = 1
    rows["ino"] = 1024 + objects
    rows["gen"] = (objects * 2654435761) & 0xFFFFFFFF
    rows["kind"] = Kind.MEMFD


def announcements(seals: npt.NDArray[np.uint32]) -> Records:
    """OBJECT and NAME records of all objects, each name behind its object."""
    count = len(seals)
    rows, names = np.zeros(count, OBJECT), np.zeros(count, NAME)
    numbers = np.arange(count)
    texts = [f"memfd:ram-{number}".encode() for number in range(count)]
    for place, part in enumerate((rows, names)):
        _key(part, numbers)
        part["time_ns"] = START_NS
        part["seq"] = 2 * numbers + place
        part["cpu"] = CPUS  # one of its own: only sequence numbers want it
        part["seals"] = seals
    rows["type"], rows["op"], rows["hook"] = RecordType.OBJECT, Op.WRITE, Hook.WRITE
    rows["mode"], rows["size"], rows["owner_uid"] = 0o100777, SIZE, 1000
    rows["name_len"] = [len(text) for text in texts]
    names["type"] = RecordType.NAME
    names["length"] = rows["name_len"]
    names["text"] = np.array([np.void(text.ljust(124, b"\0")) for text in texts])
    both = np.empty((count, 2), f"V{RECORD_SIZE}")
    both[:, 0], both[:, 1] = rows.view(f"V{RECORD_SIZE}"), names.view(f"V{RECORD_SIZE}")
    return both.reshape(-1).view(HEAD)


def events(
    rng: np.random.Generator,
    start: int,
    count: int,
    seals: npt.NDArray[np.uint32],
    sharers: int = 2,
) -> Records:
    """Decisions number ``start`` to ``start + count``, in the order of arrival."""
    rows = np.zeros(count, EVENT)
    objects = rng.integers(0, len(seals), count)
    numbers = np.arange(start, start + count)
    _key(rows, objects)
    rows["type"] = RecordType.EVENT
    rows["cpu"], rows["seq"] = numbers % CPUS, numbers // CPUS
    rows["duration_ns"] = rng.lognormal(7.2, 0.6, count).astype("<u8")
    rows["time_ns"] = START_NS + numbers * STEP_NS + rng.integers(0, DISORDER_NS, count)
    # A quarter is done by others than the file's own process.
    other = rng.integers(1, sharers, count) if sharers > 1 else 0
    process = (objects + other * (rng.random(count) < 0.25)) % PROCESSES
    rows["pid"] = 2000 + process * 7
    rows["tid"] = rows["pid"] + rng.integers(0, 4, count)
    rows["uid"] = 1000 + process % 3
    rows["fd"] = 3 + objects // PROCESSES
    rows["cgroup"] = 4000 + process % 5
    comms = np.array([np.void(comm.encode().ljust(16, b"\0")) for comm in COMMS])
    rows["comm"] = comms[process % len(COMMS)]
    rows["seals"] = rows["seals_after"] = seals[objects]
    rows["size"] = rows["size_after"] = SIZE
    rows["fmode"] = 3
    _asked(rng, rows)
    _answered(rng, rows)
    return rows


def _asked(rng: np.random.Generator, rows: Records) -> None:
    count = len(rows)
    op = rng.choice(np.array(list(OPS), np.uint8), count, p=list(OPS.values()))
    rows["op"] = op
    hooks = np.zeros(256, np.uint8)
    hooks[list(HOOKS)] = list(HOOKS.values())
    rows["hook"] = hooks[op]
    rows["offset"] = rng.integers(0, SIZE // 4096 // 2, count) * 4096
    rows["length"] = rng.integers(1, 65, count) * 64
    prot = rng.choice([3, 3, 1], count).astype("<u8")
    by_op = {
        Op.MMAP: prot | (rng.choice([1, 1, 2], count).astype("<u8") << 32),
        Op.TRUNCATE: np.full(count, _ATTR_SIZE, "<u8"),
        Op.CHMOD: np.uint64(_ATTR_MODE) | (rng.choice([0o777, 0o666], count).astype("<u8") << 32),
        Op.PUNCH_HOLE: np.full(count, _PUNCH | _KEEP_SIZE, "<u8"),
        Op.ADD_SEALS: np.full(count, Seal.SHRINK, "<u8"),
    }
    for one, arg in by_op.items():
        rows["arg"][op == one] = arg[op == one]
    past = (op == Op.ALLOCATE) & (rng.random(count) < 0.2)
    rows["offset"][past] = SIZE
    resized = op == Op.TRUNCATE
    rows["offset"][resized] = 0
    rows["length"][resized] = SIZE + rng.choice([-4096, 0, 4096], np.count_nonzero(resized))
    rows["mode"] = np.where(op == Op.WRITE, 0, 0o100777)
    rows["flags"][op == Op.WRITE] = Flag.CHECK_REACHED
    rows["checks"] = op == Op.WRITE


def _answered(rng: np.random.Generator, rows: Records) -> None:
    op, seals, arg = rows["op"], rows["seals"], rows["arg"]
    end = rows["offset"].astype("<u8") + rows["length"]
    no_write = (seals & (Seal.WRITE | Seal.FUTURE_WRITE)) != 0
    shared_write = ((arg & 2) != 0) & ((arg >> 32) == 1)
    x_changed = ((arg >> 32) & 0o111) != (rows["mode"] & 0o111)
    denied = {
        Op.WRITE: no_write,
        Op.PUNCH_HOLE: no_write,
        Op.MMAP: no_write & shared_write,
        Op.ALLOCATE: ((seals & Seal.GROW) != 0) & (end > SIZE),
        Op.TRUNCATE: (((seals & Seal.GROW) != 0) & (rows["length"] > SIZE))
        | (((seals & Seal.SHRINK) != 0) & (rows["length"] < SIZE)),
        Op.ADD_SEALS: (seals & Seal.SEAL) != 0,
        Op.CHMOD: ((seals & Seal.EXEC) != 0) & x_changed,
    }
    refused = np.zeros(len(rows), bool)
    for one, where in denied.items():
        refused |= (op == one) & where
    chance = rng.random(len(rows))
    refused ^= chance < 0.001
    counts = (op == Op.WRITE) | (op == Op.READ)
    rows["answer"] = np.where(counts, rows["length"], 0)
    mapped = op == Op.MMAP
    rows["answer"][mapped] = 0x7F0000000000 + rows["ino"][mapped].astype("<i8") * 65536
    rows["answer"][chance > 0.99] = -_ENOMEM
    rows["answer"][refused] = -_EPERM
    sealed = (op == Op.ADD_SEALS) & (rows["answer"] == 0)
    rows["seals_after"][sealed] |= np.uint32(Seal.SHRINK)
    grown = ~refused & (op == Op.TRUNCATE)
    rows["size_after"][grown] = rows["length"][grown]
