"""What decisions asked for, coarsely: calls of one class are comparable between two kernels.

A class is an integer with the op, the file's kind and what the seal rules look at, without
addresses, names and exact sizes. So ``mmap SHARED rw-`` at any place of any file is one class.
"""

from collections.abc import Mapping
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from tracer.model.args import MREMAP_OLD_SHIFT, create_text, mmap_text, mremap_text
from tracer.model.bit5 import Bit5
from tracer.model.flagnames import FALLOC_FL, flag_names, prot_text
from tracer.model.seals import names
from tracer.model.words import Kind, Op

COLUMNS = ("op", "kind", "arg", "offset", "length", "size", "mode", "fmode")

I64 = npt.NDArray[np.int64]
U64 = npt.NDArray[np.uint64]
Columns = Mapping[str, npt.NDArray[np.generic]]

_KIND, _PLACE, _READ_ONLY, _ARG = 8, 12, 14, 16
_WITHIN, _PAST, _EMPTY = 1, 2, 3
_SHRINK, _GROW, _SAME = 1, 2, 3
_KEEPS, _CHANGES = 1, 2
_MREMAP_ASKED = 0xFFFF
"""Of mremap's ``arg``: its flags and the mapping's own, without the old length."""
_PAGE = 4096
_MODE_GIVEN, _X = 1, 0o111
_MFD_HUGETLB = 0x4  # include/uapi/linux/memfd.h
_READ, _WRITE = 1, 2  # FMODE_READ, FMODE_WRITE (include/linux/fs.h)
_PLACES = {_WITHIN: "within the file", _PAST: "past the end", _EMPTY: "of nothing"}
_SIZES = {_SHRINK: "smaller", _GROW: "larger", _SAME: "same size"}
_LENGTHS = {_SHRINK: "shrinks", _GROW: "grows", _SAME: "same length"}
_MODES = {_KEEPS: "x bits kept", _CHANGES: "x bits changed", 0: "no mode"}


def _place(columns: Columns) -> I64:
    """Whether offset and length reach past the end of the file."""
    offset = columns["offset"].astype(np.int64)
    start = offset.clip(0).astype(np.uint64)
    length, size = (columns[name].astype(np.uint64) for name in ("length", "size"))
    room = np.where(start < size, size - np.minimum(start, size), np.uint64(0))
    place = np.where(length > room, _PAST, _WITHIN)
    return np.where(length == 0, _EMPTY, place).astype(np.int64)


def _old_size(columns: Columns) -> U64:
    """What the new length is held against: the file's size, of mremap the old length."""
    old = (columns["arg"].astype(np.uint64) >> np.uint64(MREMAP_OLD_SHIFT)) * np.uint64(_PAGE)
    return np.where(columns["op"] == Op.MREMAP, old, columns["size"].astype(np.uint64))


def _size(columns: Columns) -> I64:
    size, wanted = _old_size(columns), columns["length"].astype(np.uint64)
    found = np.where(wanted < size, _SHRINK, _GROW)
    return np.where(wanted == size, _SAME, found).astype(np.int64)


def _x_bits(columns: Columns) -> I64:
    arg = columns["arg"].astype(np.uint64)
    wanted = (arg >> np.uint64(32)).astype(np.int64)
    changed = (wanted ^ columns["mode"].astype(np.int64)) & _X
    given = (arg & np.uint64(_MODE_GIVEN)).astype(bool)
    return np.where(given, np.where(changed, _CHANGES, _KEEPS), 0).astype(np.int64)


def classes(columns: Columns) -> I64:
    """The class of each row; ``columns`` are :data:`COLUMNS`, op and kind as numbers."""
    op, kind = (columns[name].astype(np.int64) for name in ("op", "kind"))
    arg = columns["arg"].astype(np.uint64)
    low = (arg & np.uint64(0xFFFFFFFF)).astype(np.int64)
    kind_of_map = ((arg >> np.uint64(32)) & np.uint64(0xF)).astype(np.int64)
    # A creation that failed made no file, so nothing but its flags says what was wanted.
    wanted = np.where(low & _MFD_HUGETLB, int(Kind.HUGETLB), int(Kind.MEMFD))
    kind = np.where((op == Op.CREATE) & (kind == Kind.UNKNOWN), wanted, kind)
    mmap = (op == Op.MMAP) | (op == Op.MPROTECT)
    with_arg = (op == Op.ALLOCATE) | (op == Op.ADD_SEALS) | (op == Op.CREATE)
    shown = np.where(mmap, kind_of_map << 4 | low & 7, np.where(with_arg, low, 0))
    mremap = op == Op.MREMAP
    shown = np.where(mremap, low & _MREMAP_ASKED, shown)
    placed = (op == Op.WRITE) | (op == Op.ALLOCATE) | (mmap & (kind == Kind.HUGETLB))
    place = np.where(placed, _place(columns), 0)
    place = np.where((op == Op.TRUNCATE) | mremap, _size(columns), place)
    place = np.where(op == Op.CHMOD, _x_bits(columns), place)
    fmode = columns["fmode"].astype(np.int64)
    read_only = (fmode & (_READ | _WRITE)) == _READ
    found: I64 = (
        op & 0xFF
        | (kind & 0xF) << _KIND
        | place << _PLACE
        | read_only.astype(np.int64) << _READ_ONLY
        | shown << _ARG
    )
    return found


def _said(op: int, kind: str, place: int, arg: int, bit5: Bit5) -> str:
    match op:
        case Op.MMAP:
            past = ", past the end" if place == _PAST else ""
            return mmap_text(arg & 7 | arg >> 4 << 32) + past
        case Op.MREMAP:
            return f"{mremap_text(arg)}, {_LENGTHS[place]}"
        case Op.MPROTECT:
            return prot_text(arg & 7)
        case Op.WRITE:
            return _PLACES[place]
        case Op.TRUNCATE:
            return _SIZES[place]
        case Op.CHMOD:
            return _MODES[place]
        case Op.ALLOCATE:
            return f"{flag_names(arg, FALLOC_FL)}, {_PLACES[place]}"
        case Op.ADD_SEALS:
            return names(arg, bit5)
        case Op.CREATE:
            return create_text(kind, arg, bit5)
    return "any"


@lru_cache(maxsize=65536)
def described(number: int, bit5: Bit5) -> tuple[str, str, str]:
    """``("mmap", "memfd", "SHARED rw-")``: op, kind and what was asked, of a class.

    ``bit5``: what the kernels that were asked call seal 0x20.
    """
    op, kind = number & 0xFF, number >> _KIND & 0xF
    op_word = Op(op).name.lower() if op in set(Op) else f"op_{op}"
    kind_word = Kind(kind).name.lower() if kind in set(Kind) else f"kind_{kind}"
    said = _said(op, kind_word, number >> _PLACE & 3, number >> _ARG, bit5)
    read_only = " by a read-only fd" if number >> _READ_ONLY & 1 else ""
    return op_word, kind_word, said + read_only
