"""The facts of each operation's own rows (:mod:`tracer.rules.rule`), as bits."""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from tracer.analysis.judging.rows import U64, Bools, Rows, bit, on
from tracer.labels import MREMAP_OLD_SHIFT
from tracer.rules.rule import ASKED_SHIFT, Fact
from tracer.words import Kind, Op, Seal

PAGE = 4096
HUGE_PAGE = 2 << 20
"""The smallest huge page of x86-64, and the chunk of a write where large folios are in use."""
SLOW_NS = 100_000_000
"""memfd_wait_for_pins gives up after about 150 ms; nothing else in F_ADD_SEALS waits."""
LARGEST_ORDER = 31
"""address_space.flags have five bits for the largest folio's order; more means not known."""
_ATTR_MODE = 1  # include/linux/fs.h
_EXECUTE = 0o111
_KEEP_AND_PUNCH = 0x03  # FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE
_MFD_HUGETLB, _MFD_KNOWN, _MFD_HUGE_MASK = 0x4, 0x1F, 0x3F << 26
_MAP_SHARED = (1, 3)  # MAP_SHARED, MAP_SHARED_VALIDATE
_VM_WRITE, _VM_SHARED = 2, 8  # include/linux/mm.h
_NOBODY = 0xFFFFFFFF


def _mmap_facts(number: int) -> int:
    """By PROT_* in the lowest three bits, the MAP_* type in four more, and MAP_LOCKED above."""
    fact = Fact.SHARED if number >> 3 & 0xF in _MAP_SHARED else Fact(0)
    fact |= Fact.PROT_WRITE if number & 2 else Fact(0)
    fact |= Fact.PROT_EXEC if number & 4 else Fact(0)
    fact |= Fact.LOCKED if number & 0x80 else Fact(0)
    return int(fact)


_MMAP = np.array([_mmap_facts(number) for number in range(256)], np.uint64)


def _mmap(rows: Rows) -> U64:
    arg = rows.unsigned("arg")  # prot | flags << 32; MAP_LOCKED is 0x2000
    facts = _MMAP.take(arg & 7 | arg >> 29 & 0x78 | arg >> 38 & 0x80)
    facts |= bit(rows.unsigned("length") == 0, Fact.EMPTY)
    return facts | on(rows, rows.of_kind(Kind.HUGETLB), _hugetlb_mmap)


def _hugetlb_mmap(rows: Rows) -> U64:
    grew = rows.unsigned("size_after") > rows.unsigned("size")
    return bit(grew, Fact.BEYOND) | _past_end(rows, "size")


def _mmap_size(rows: Rows, size: str) -> U64:
    return on(rows, rows.of_kind(Kind.HUGETLB), lambda huge: _past_end(huge, size))


def _past_end(rows: Rows, size: str) -> U64:
    end = rows.unsigned("offset") + rows.unsigned("length")
    return bit(end > rows.unsigned(size), Fact.PAST_END)


def _mremap(rows: Rows) -> U64:
    arg = rows.unsigned("arg")
    vm_flags = arg >> np.uint64(8)
    old = (arg >> np.uint64(MREMAP_OLD_SHIFT)) * np.uint64(PAGE)
    return (
        bit(vm_flags & np.uint64(_VM_SHARED), Fact.SHARED)
        | bit(vm_flags & np.uint64(_VM_WRITE), Fact.PROT_WRITE)
        | bit(rows.unsigned("length") > old, Fact.PAST_END)
    )


def _mprotect(rows: Rows) -> U64:
    return _MMAP.take(rows.unsigned("arg") & 7)


def _write(rows: Rows) -> U64:
    facts = bit(rows.unsigned("length") == 0, Fact.EMPTY)
    return facts | on(rows, rows.sealed(Seal.GROW), _written) | _write_size(rows, "size")


def _written(rows: Rows) -> U64:
    answer = rows.get("answer", np.int64)
    end = rows.unsigned("offset") + answer.astype(np.uint64)
    order = rows.get("folio_order_max", np.uint8)
    facts = bit((answer > 0) & (end > rows.unsigned("size")), Fact.BEYOND)
    return facts | bit(order > LARGEST_ORDER, Fact.CHUNK_UNKNOWN)


def _write_size(rows: Rows, size: str) -> U64:
    return on(rows, rows.sealed(Seal.GROW), lambda grow: _chunks(grow, size))


def _chunks(rows: Rows, size: str) -> U64:
    """Whether the first chunk of a write past the end ends within the file.

    A chunk ends at the next multiple of its size or where the write ends
    (mm/filemap.c:generic_perform_write), and is refused as a whole
    (mm/shmem.c:shmem_write_begin).
    """
    begin, now = rows.unsigned("offset"), rows.unsigned(size)
    past = begin + rows.unsigned("length") > now
    order = rows.unsigned("folio_order_max")
    known = order <= LARGEST_ORDER
    chunk = np.uint64(PAGE) << np.where(known, order, 0).astype(np.uint64)

    def none_fits(chunk: U64 | np.uint64) -> Bools:
        return past & (now & ~(chunk - np.uint64(1)) <= begin)

    return (
        bit(past, Fact.PAST_END)
        | bit(none_fits(np.uint64(PAGE)), Fact.NO_PAGE_FITS)
        | bit(none_fits(np.uint64(HUGE_PAGE)), Fact.NO_HUGE_FITS)
        | bit(known & none_fits(chunk), Fact.NO_CHUNK_FITS)
    )


def _read(rows: Rows) -> U64:
    return _read_size(rows, "size")


def _read_size(rows: Rows, size: str) -> U64:
    def before_end(rows: Rows) -> U64:
        return bit(rows.unsigned("offset") < rows.unsigned(size), Fact.BEFORE_END)

    return on(rows, rows.sealed(Seal.EXEC), before_end)


def _setattr(rows: Rows) -> U64:
    def exec_changed(rows: Rows) -> U64:
        arg = rows.unsigned("arg")  # ia_valid | ia_mode << 32
        changed = (arg >> np.uint64(32) ^ rows.unsigned("mode")) & np.uint64(_EXECUTE)
        return bit((changed != 0) & (arg & np.uint64(_ATTR_MODE) != 0), Fact.EXEC_CHANGED)

    return on(rows, rows.sealed(Seal.EXEC), exec_changed)


def _truncate(rows: Rows) -> U64:
    length = rows.unsigned("length")
    facts = _setattr(rows) | _truncate_size(rows, "size")
    huge = rows.of_kind(Kind.HUGETLB) & _odd(length, HUGE_PAGE)
    part = rows.sealed(Seal.EXEC) & _odd(length, PAGE)
    return facts | bit(huge, Fact.HUGE_UNALIGNED) | bit(part, Fact.UNALIGNED)


def _truncate_size(rows: Rows, size: str) -> U64:
    new, old = rows.unsigned("length"), rows.unsigned(size)
    facts = bit(new > old, Fact.PAST_END) | bit(new < old, Fact.SHRINKS)
    return facts | bit(rows.sealed(Seal.EXEC) & (old != 0), Fact.HAS_SIZE)


def _chmod(rows: Rows) -> U64:
    uid, owner = rows.get("uid", np.uint32), rows.get("owner_uid", np.uint32)
    return _setattr(rows) | bit((uid != owner) | (owner == _NOBODY), Fact.NOT_OWNER)


def _allocate(rows: Rows) -> U64:
    bad = rows.unsigned("arg") & ~np.uint64(_KEEP_AND_PUNCH)
    return bit(bad, Fact.BAD_MODE) | _past_end(rows, "size")


def _punch_hole(rows: Rows) -> U64:
    begin = rows.unsigned("offset")
    end = begin + rows.unsigned("length")
    bad = rows.unsigned("arg") & ~np.uint64(_KEEP_AND_PUNCH)
    part = rows.sealed(Seal.EXEC) & _odd(begin | end, PAGE)
    below = np.uint64(HUGE_PAGE - 1)
    whole = rows.of_kind(Kind.HUGETLB) & (begin + below & ~below < end & ~below)
    return bit(bad, Fact.BAD_MODE) | bit(part, Fact.UNALIGNED) | bit(whole, Fact.WHOLE_HUGE)


def _odd(place: U64, unit: int) -> Bools:
    """Not a multiple of ``unit``, a power of two: a division costs far more."""
    odd: Bools = place & np.uint64(unit - 1) != 0
    return odd


def _asked(known: npt.NDArray[Any], beyond: npt.NDArray[Any]) -> U64:
    asked: U64 = known.astype(np.uint64) | np.left_shift(beyond.astype(bool), 6, dtype=np.uint64)
    return asked << np.uint64(ASKED_SHIFT)


def _executable(rows: Rows) -> U64:
    return bit(rows.get("mode", np.uint16) & np.uint16(_EXECUTE), Fact.EXECUTABLE)


def _add_seals(rows: Rows) -> U64:
    arg = rows.unsigned("arg")
    facts = _asked(arg & np.uint64(0x3F), arg > 0x3F) | _executable(rows)
    facts |= bit(rows.unsigned("size") == 0, Fact.EMPTY)
    return facts | bit(rows.get("duration_ns", np.int64) >= SLOW_NS, Fact.SLOW)


def _create(rows: Rows) -> U64:
    flags = rows.unsigned("arg")
    beyond = flags & ~np.uint64(_MFD_KNOWN)
    huge = flags & np.uint64(_MFD_HUGETLB) != 0
    beyond[huge] &= ~np.uint64(_MFD_HUGE_MASK)
    return _asked(flags & np.uint64(_MFD_KNOWN), beyond) | _executable(rows)


DETAILS: dict[Op, Callable[[Rows], U64]] = {
    Op.MMAP: _mmap,
    Op.MPROTECT: _mprotect,
    Op.MREMAP: _mremap,
    Op.WRITE: _write,
    Op.READ: _read,
    Op.TRUNCATE: _truncate,
    Op.CHMOD: _chmod,
    Op.ALLOCATE: _allocate,
    Op.PUNCH_HOLE: _punch_hole,
    Op.ADD_SEALS: _add_seals,
    Op.CREATE: _create,
}
"""By operation: all facts of its rows, with the size at entry."""

SIZE_DETAILS: dict[Op, Callable[[Rows, str], U64]] = {
    Op.MMAP: _mmap_size,
    Op.WRITE: _write_size,
    Op.READ: _read_size,
    Op.TRUNCATE: _truncate_size,
    Op.ALLOCATE: _past_end,
}
"""The facts that the size decides, with the size in the given column."""
