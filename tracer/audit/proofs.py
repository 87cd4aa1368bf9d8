"""Rows as evidence that people can read and look up."""

from tracer.audit.events import BY_ADDRESS
from tracer.audit.results import Proof
from tracer.audit.rows import Row
from tracer.model.args import describe
from tracer.model.bit5 import Bit5
from tracer.model.escape import printable


def proof(row: Row, text: str, bit5: Bit5) -> Proof:
    """``row`` as evidence for ``text``, which says what its process does.

    ``bit5``: what the recorded kernel calls seal 0x20.
    """
    comm = printable(row.comm)
    who = f"{comm or '?'}/{row.pid} (uid {row.uid})"
    # The recorder itself reads what an inode says of its mappings.
    said = text if row.op == "mapped" else f"{who} {text}"
    when = "" if row.table == "events" else (
        ", as it was at the end" if row.final else ", as it was when the trace began"
    )  # fmt: skip
    return Proof(
        text=f"{said}{when}",
        table=row.table,
        cpu=row.cpu,
        seq=row.seq,
        time_ns=row.time_ns,
        pid=row.pid,
        start_ns=row.start_ns,
        exec_id=row.exec_id,
        tid=row.tid,
        uid=row.uid,
        cgroup=row.cgroup,
        comm=comm,
        op=printable(row.op),
        answer=row.answer,
        flags=row.flags,
        asked=_asked(row, bit5),
        count=row.times,
        last_ns=row.last_ns,
    )


def _asked(row: Row, bit5: Bit5) -> str:
    if row.op in ("map", "unmap"):
        said = describe(row.op, row.kind, row.arg, row.offset, row.length, row.size, bit5)
        return f"{said} at {row.address:#x}"
    if row.op in BY_ADDRESS:
        return f"{row.size_after:#x}+{row.length}"
    if row.op == "memslot":
        return f"guest {row.arg:#x}+{row.length} at {row.size_after:#x}"
    shown = describe(row.op, row.kind, row.arg, row.offset, row.length, row.size, bit5)
    return f"{shown} fd{row.fd}".strip() if row.fd >= 0 else shown
