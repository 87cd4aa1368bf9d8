"""In what chunks does a write ask whether it may go past the end of a file sealed GROW?

mm/filemap.c:generic_perform_write takes a write apart into chunks, and each asks the seals
(mm/shmem.c:shmem_write_begin): the first that ends past the end stops it.
"""

from collections.abc import Sequence
from typing import NamedTuple

from tracer.model.seals import Seal
from tracer.model.words import Kind, Op
from tracer.selftest.attempt import Attempt

PAGE_SIZE, LARGEST = 4096, 2 << 20
"""The chunks of kernels so far: pages until 6.10 and from 6.13 to 7.1, 2 MiB in others."""
ORDER_UNKNOWN = 255
QUESTION = "grow_write_chunk"
_EPERM = -1
_OTHERS = Seal.WRITE | Seal.FUTURE_WRITE | Seal.EXEC
"""Seals that forbid any write; 0x20 may be such a one."""


def grow_answer(size: int, offset: int, length: int, chunk: int) -> int:
    """What a write at ``offset`` into a file of ``size`` bytes sealed GROW returns."""
    at, end = offset, offset + length
    while at < end:
        stop = min(at // chunk * chunk + chunk, end)
        if stop > size:
            break
        at = stop
    return at - offset if at > offset or not length else _EPERM


def asked(calls: Sequence[Attempt]) -> list[Attempt]:
    """The writes that tell: on memfds sealed GROW, and not sealed against any write."""
    return [
        one
        for one in calls
        if one.op == Op.WRITE and one.kind == Kind.MEMFD
        and one.seals & Seal.GROW and not one.seals & _OTHERS
    ]  # fmt: skip


def wrong(writes: Sequence[Attempt], chunk: int) -> list[Attempt]:
    """Those of :func:`asked` whose answer this chunk does not explain."""
    return [
        one for one in writes if one.answer != grow_answer(one.size, one.offset, one.length, chunk)
    ]


class Chunk(NamedTuple):
    size: int | None
    """Bytes; None: no documented chunk explains the writes, or there were none."""
    order: int
    """The largest folio that a judge should reckon with, `ORDER_UNKNOWN` if that is not known."""
    choice: str | None
    """Of the question `QUESTION`; None: open."""
    wrong: list[Attempt]
    """Where there is no size: the writes that contradict what was to be expected."""


def find(writes: Sequence[Attempt], folio_order: int) -> Chunk:
    """The chunk that explains all of them.

    ``folio_order``: of a memfd, as a hook saw it (``objects.folio_order_max``). No system call
    tells it; with `ORDER_UNKNOWN` chunks of 2 MiB can have two reasons.
    """
    seen = folio_order != ORDER_UNKNOWN
    first = PAGE_SIZE << folio_order if seen else PAGE_SIZE
    size = next((size for size in (first, LARGEST) if writes and not wrong(writes, size)), None)
    if size is None:
        return Chunk(None, folio_order, None, wrong(writes, first))
    order = folio_order if seen else (size // PAGE_SIZE).bit_length() - 1
    choice = "folio_order" if size == first else "largest" if seen else None
    return Chunk(size, order, choice, [])
