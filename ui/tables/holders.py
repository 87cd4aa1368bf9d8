"""Columns of who holds and who maps one object."""

from collections.abc import Sequence

from ui import cells
from ui.columns import Column
from ui.rows import Rows
from ui.tables import common, verdicts


def _access(rows: Rows, place: int) -> str:
    return {1: "r-", 2: "-w", 3: "rw"}.get(rows.value("fmode", place) or 0, "??")


def _can_write(rows: Rows, place: int) -> str | None:
    return "strong" if (rows.value("fmode", place) or 0) & 2 else "dim"


def _writes(rows: Rows, place: int) -> str:
    return "WRITABLE" if rows.value("writable", place) else "read"


HOLDERS: Sequence[Column] = (
    verdicts.mark("worst"),
    common.who(),
    common.pid(),
    common.plain("uid", "uid", 5, rank=3, right=True),
    common.fd(4),
    Column("fmode", "opened", 6, _access, style=_can_write),
    verdicts.number("decisions", "decided", 7, rank=1),
    verdicts.number("blocked", "blocked", 7, rank=4, style="blocked"),
    common.ago(2),
)
MAPPERS: Sequence[Column] = (
    common.who(),
    common.pid(),
    Column("shared", "kind", 7, lambda r, p: "shared" if r.value("shared", p) else "private"),
    Column("writable", "access", 8, _writes,
           style=lambda r, p: "unexplained" if r.value("writable", p) else "dim"),
    common.plain("perms", "perms", 5, rank=4),
    Column("offset", "offset", 8, lambda r, p: cells.size(r.value("offset", p)), right=True,
           rank=3),
    Column("length", "length", 6, lambda r, p: cells.size(r.value("length", p)), right=True),
    Column("address", "address", 14, lambda r, p: f"{r.value('address', p) or 0:x}", right=True,
           rank=5),
    common.age(2),
)  # fmt: skip
