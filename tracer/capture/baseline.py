"""The baseline: what was held open or mapped before the trace began, as records.

A trace only sees what happens; a descriptor that a process already has and a mapping that already
stands need to be in the recording too, or an audit would have to call the past unseen. An audit
asks again at the end.
"""

from collections.abc import Collection
from typing import Any

import numpy as np

from tracer.capture.ledger import name_records, own_records
from tracer.capture.memory_files import Holder, Mapping, MemoryFile, Scan
from tracer.capture.ring import Records
from tracer.record import BASELINE, HEAD, OBJECT, Flag, Op, RecordType


def _rows_of(
    file: MemoryFile, count: int, dtype: np.dtype[Any], kind: RecordType, time_ns: int
) -> Records:
    rows = own_records(count, dtype, kind, time_ns)
    rows["ino"], rows["dev"], rows["gen"] = file.ino, file.dev, file.gen
    rows["kind"] = file.kind
    rows["seals"] = file.seals
    return rows


def _comm(comm: bytes) -> np.void:
    return np.void(comm.ljust(16, b"\0"))


def _announcement(file: MemoryFile, time_ns: int) -> Records:
    row = _rows_of(file, 1, OBJECT, RecordType.OBJECT, time_ns)
    user = (file.holders or file.mappings)[0]
    row["op"] = Op.OPEN if file.holders else Op.MAP
    row["pid"], row["tid"], row["uid"] = user.pid, user.tid, user.who.uid
    row["cgroup"], row["comm"] = user.who.cgroup, _comm(user.who.comm)
    row["start_ns"], row["exec_id"] = user.who.start_ns, user.who.exec_id
    row["own_mm"] = user.who.own_mm
    row["name_len"] = len(file.kernel_name)
    if file.stat is not None:
        row["size"], row["mode"] = file.stat.size, file.stat.mode
        row["owner_uid"], row["owner_gid"] = file.stat.uid, file.stat.gid
    return row


def _uses(file: MemoryFile, users: list[Holder] | list[Mapping], time_ns: int) -> Records:
    rows = _rows_of(file, len(users), BASELINE, RecordType.BASELINE, time_ns)
    for name in ("pid", "tid"):
        rows[name] = [getattr(user, name) for user in users]
    for name in ("uid", "cgroup", "start_ns", "exec_id", "own_mm"):
        rows[name] = [getattr(user.who, name) for user in users]
    rows["comm"] = np.array([_comm(user.who.comm) for user in users], rows.dtype["comm"])
    rows["seals_after"] = file.seals
    if file.stat is not None:
        rows["size"] = rows["size_after"] = file.stat.size
        rows["mode"] = file.stat.mode
    return rows


def _held(file: MemoryFile, time_ns: int) -> Records:
    rows = _uses(file, file.holders, time_ns)
    rows["op"] = Op.OPEN
    rows["fd"] = [holder.fd for holder in file.holders]
    rows["fmode"] = [holder.fmode for holder in file.holders]
    return rows


def _mapped(file: MemoryFile, time_ns: int) -> Records:
    lines = [mapping.line for mapping in file.mappings]
    rows = _uses(file, file.mappings, time_ns)
    rows["op"] = Op.MAP
    rows["fd"] = -1
    rows["answer"] = [line.start for line in lines]
    rows["length"] = [line.end - line.start for line in lines]
    rows["offset"] = [line.offset for line in lines]
    rows["arg"] = [line.vm_flags for line in lines]
    rows["mm"] = rows["own_mm"]
    return rows


def _bonds(scan: Scan) -> Records:
    """As bpf/ways.h tells of those that begin during the trace."""
    rows = own_records(len(scan.bonds), BASELINE, RecordType.BASELINE, scan.time_ns)
    rows["duration_ns"], rows["fd"] = scan.duration_ns, -1
    for row, one in zip(rows, scan.bonds, strict=True):
        row["op"], row["pid"], row["tid"] = one.op, one.pid, one.pid
        row["uid"], row["cgroup"], row["comm"] = one.who.uid, one.who.cgroup, _comm(one.who.comm)
        row["start_ns"], row["exec_id"] = one.who.start_ns, one.who.exec_id
        row["own_mm"], row["mm"] = one.who.own_mm, one.others.own_mm
        row["arg"], row["offset"] = one.other, one.others.start_ns
        row["check_answer"] = one.others.exec_id
    return rows


def baseline_records(
    scan: Scan, final: bool = False, announced: Collection[tuple[int, int]] = ()
) -> Records:
    """Everything in ``scan`` as an array of ``HEAD``: each object, its name, then its uses.

    OBJECT and NAME records are as the BPF side sends them. BASELINE records have op ``open`` (a
    descriptor: ``fd``, ``fmode``) or ``map`` (a mapping: ``answer`` its address, ``arg`` VM_READ 1,
    VM_WRITE 2, VM_EXEC 4, and VM_SHARED 8 where /proc shows ``s``); ``mm`` is 0 where unknown;
    ``duration_ns`` is how long the whole scan took, which is the time in which it may have missed
    something. ``final`` sets the flag FINAL, and files that are in ``announced`` by (dev, ino) are
    not announced. ``seals`` is ``SEALS_UNKNOWN`` where it could not be read, ``gen`` 0 where the
    kernel did not tell it: such a record matches by ``dev`` and ``ino``. ``cpu`` is ``USER_CPU``;
    ``seq`` is 0, the recorder numbers them.
    """
    blocks: list[bytes] = []
    for file in scan.files:
        if not file.holders and not file.mappings:
            continue
        if (file.dev, file.ino) not in announced:
            announcement = _announcement(file, scan.time_ns)
            names = name_records(file.kernel_name, announcement[0])
            blocks += [announcement.tobytes(), names.tobytes()]
        for rows in (_held(file, scan.time_ns), _mapped(file, scan.time_ns)):
            rows["duration_ns"] = scan.duration_ns
            rows["flags"] = Flag.FINAL if final else 0
            # Bytes at once: copying HEAD arrays would copy HEAD's own fields alone.
            blocks.append(rows.tobytes())
    rows = _bonds(scan)
    rows["flags"] = Flag.FINAL if final else 0
    blocks.append(rows.tobytes())
    return np.frombuffer(bytearray(b"".join(blocks)), HEAD)
