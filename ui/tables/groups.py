"""Columns of objects, file descriptors and processes: whatever decisions are counted for."""

from collections.abc import Sequence

from tracer.model.verdicts import Verdict
from tracer.model.words import Kind
from ui.columns import Column
from ui.tables import common, verdicts

_KIND = max(len(kind.name) for kind in (Kind.MEMFD, Kind.HUGETLB, Kind.TMPFS))


def _kind(rank: int) -> Column:
    return common.plain("kind", "kind", _KIND, 11, rank=rank, ask="kind")


def _counts() -> list[Column]:
    """Counts by verdict, the worst first; some only where there are any."""
    return [
        verdicts.number("breach", "breach", 6, style="breach", ask="breach"),
        verdicts.number(
            "unexplained",
            "unexpl",
            6,
            rank=1,
            style="unexplained",
            ask="unexplained",
            only=Verdict.UNEXPLAINED,
        ),
        verdicts.number(
            "indeterminate",
            "indet",
            5,
            rank=7,
            style="indeterminate",
            ask="indeterminate",
            only=Verdict.INDETERMINATE,
        ),
        verdicts.number("blocked", "blocked", 7, style="blocked", ask="blocked"),
        verdicts.number("error", "error", 6, rank=14, style="error", ask="error"),
        verdicts.number("decisions", "decided", 7, rank=2, most=9),
    ]


OBJECTS: Sequence[Column] = (
    verdicts.mark("worst"),
    _kind(10),
    common.file(20, 44),
    common.seals(),
    common.size(rank=4),
    common.plain("owner_uid", "owner", 5, rank=12, right=True),
    verdicts.number("processes", "proc", 4, rank=8),
    verdicts.number("fds", "fds", 4, rank=11),
    verdicts.number("mappings", "maps", 4, rank=5),
    *_counts(),
    common.last(3),
    common.ago(6),
    common.age(13),
)

FDS: Sequence[Column] = (
    verdicts.mark("worst"),
    common.who(),
    common.pid(),
    common.fd(4),
    _kind(11),
    common.file(22, 44),
    common.seals(rank=4),
    *_counts(),
    common.last(3),
    common.ago(5),
    common.age(12),
)

PROCESSES: Sequence[Column] = (
    verdicts.mark("worst"),
    common.who(),
    common.pid(),
    common.plain("uid", "uid", 5, rank=8, right=True, ask="uid"),
    verdicts.number("objects", "objects", 7, rank=6),
    verdicts.number("fds", "fds", 4, rank=7),
    *_counts(),
    common.last(2),
    common.ago(4),
    common.age(12),
)
