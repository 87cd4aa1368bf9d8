"""What a verdict can depend on, of all rows at once: one 64-bit key a row.

Decisions with equal keys have equal outcomes, and a recording of millions has some hundred keys.
:func:`keys_of` makes keys from columns; :class:`Key` takes one apart again into the cases that it
stands for. Few passes over few bytes: the parts that every decision has are made for all rows, the
parts of one operation only for its own rows, and those not even where neither a seal nor an error
is in play.
"""

from collections.abc import Callable, Iterator, Mapping
from itertools import product
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from tracer.labels import ERRNOS, MAX_ERRNO, MEMORY_ATTRIBUTE_PRIVATE, MREMAP_OLD_SHIFT
from tracer.rules import DECISIONS, is_decision
from tracer.rules.rule import ASKED_SHIFT, SIZE_FACTS, Fact
from tracer.words import OPS, Flag, Hook, Kind, Op, Seal

U64 = npt.NDArray[np.uint64]
Bools = npt.NDArray[np.bool_]

# Keys and cases

ALT_SHIFT = 7
"""The size facts stand a second time this much higher, as the size at return gives them."""
OP_SHIFT, KIND_SHIFT, ANSWER_SHIFT, SEALS_SHIFT, AFTER_SHIFT = 40, 44, 47, 50, 57
"""Behind the facts: op (4 bits), kind (3), answer (3), seals at entry (7) and at return (7)."""

NO_DECISION, UNKNOWN_OP = 0, 15
CODES = {op: code for code, op in enumerate(DECISIONS, 1)}
"""Codes of operations that are decisions, in a key."""
_OPS = {code: int(op) for op, code in CODES.items()}
_MAPS = tuple(op for op, entry in OPS.items() if Hook.MMAP in entry.hooks)
"""Operations that end in do_mmap and in its seal check."""
OK, OTHER = "ok", "other"
ANSWERS = (OK, "EPERM", "EBUSY", "EACCES", "EINVAL", "EOPNOTSUPP", OTHER)
"""Answers that verdicts tell apart; ``ok`` is 0, a count or an address."""
BEYOND_SIX = 0x40
"""In the seven bits of seals: bits above 0x3f were set. All seven: the seals were not known."""

_FACTS = (1 << OP_SHIFT) - 1
_SIZE = int(SIZE_FACTS)
_ROW_FACTS = (1 << ASKED_SHIFT) - 1 | int(Fact.PROTECTED)
_FROZEN = int(Fact.LOCKED)
"""The place in a key of Fact.FROZEN, for operations that are not of _MAPS."""
_EXEC_BRINGS = int(Seal.SHRINK | Seal.GROW | Seal.WRITE | Seal.FUTURE_WRITE)
_MFD = (
    (0x02, Fact.ASKS_SEALABLE),
    (0x04, Fact.ASKS_HUGETLB),
    (0x08, Fact.ASKS_BIT3),
    (0x10, Fact.ASKS_EXEC),
    (BEYOND_SIX, Fact.ASKS_UNKNOWN),
)
_EXEC_INFERRED = 1


class Case(NamedTuple):
    """One decision as it may have been: at one moment, with one size."""

    op: int
    kind: int
    seals: int
    facts: int
    answer: str


class Key(NamedTuple):
    """A key taken apart."""

    op: int
    kind: int
    answer: str
    seals: int
    seals_after: int
    facts: int
    """Fact bits; the size facts at entry, and ``ALT_SHIFT`` higher those at return."""

    @classmethod
    def of(cls, key: int) -> "Key":
        """The parts of ``key``."""
        code = key >> OP_SHIFT & 0xF
        return cls(
            _OPS.get(code, code),
            key >> KIND_SHIFT & 7,
            ANSWERS[key >> ANSWER_SHIFT & 7],
            key >> SEALS_SHIFT & 0x7F,
            key >> AFTER_SHIFT & 0x7F,
            key & _FACTS,
        )

    @property
    def asked(self) -> int:
        """What F_ADD_SEALS or memfd_create asked for, in seven bits."""
        return self.facts >> ASKED_SHIFT & 0x7F

    def cases(self) -> Iterator[tuple[str, Case]]:
        """``(what is open, case)`` for each way in which it may have been; the first as at entry.

        What is open names the things in which a case differs from the first, as a reason.
        """
        for (why_chunk, chunk), (why_size, facts) in product(self._chunks(), self._sizes()):
            if chunk:
                facts &= ~Fact.NO_CHUNK_FITS
                facts |= Fact.NO_CHUNK_FITS if facts & chunk else 0
            for why_seals, seals in self._seals_at_decision():
                open_things = [why for why in (why_seals, why_size, why_chunk) if why]
                case = Case(self.op, self.kind, seals & 0x3F, int(facts), self.answer)
                yield " and ".join(open_things), case

    def _sizes(self) -> Iterator[tuple[str, int]]:
        """The facts with the size at entry, and where it raced those with the size at return."""
        row = self.facts & _ROW_FACTS
        if row & _FROZEN and self.op not in _MAPS:
            row = row & ~_FROZEN | Fact.FROZEN
        if self.op == Op.ADD_SEALS:
            yield "", row | self._sealing()
        elif self.op == Op.CREATE:
            yield "", row | sum(fact for flag, fact in _MFD if self.asked & flag)
        elif self.op == Op.EXEC:
            yield "", row | (Fact.INFERRED if self.asked & _EXEC_INFERRED else 0)
        elif self.op == Op.CONVERT:
            yield "", row | (Fact.ASKS_UNKNOWN if self.asked & BEYOND_SIX else 0)
        else:
            yield "", row | self.facts & _SIZE
            if self.facts & Fact.RACED_SIZE:
                yield "size changed meanwhile", row | self.facts >> ALT_SHIFT & _SIZE

    def _by_exec(self) -> bool:
        return bool(self.asked & Seal.EXEC and self.facts & Fact.EXECUTABLE)

    def _sealing(self) -> int:
        asked = self.asked
        write = asked & Seal.WRITE
        new = not self.seals & Seal.WRITE
        facts = Fact.ASKS_UNKNOWN if asked & BEYOND_SIX else Fact(0)
        if asked & Seal.EXEC:
            facts |= Fact.ASKS_BIT5
        if new and (write or self._by_exec()):
            facts |= Fact.ADDS_WRITE
        if new and not write and self._by_exec():
            facts |= Fact.EXEC_BRINGS_WRITE
        if (self.seals | asked) & 0x3F & ~self.seals_after:
            facts |= Fact.SEALS_LOST
        return int(facts)

    def _seals_at_decision(self) -> Iterator[tuple[str, int]]:
        yield "", self.seals
        if not self.facts & Fact.RACED_SEALS:
            return
        after = self.seals_after
        if self.op == Op.ADD_SEALS and self.answer == OK:  # not those that this very call added
            own = self.asked | (_EXEC_BRINGS if self._by_exec() else 0)
            after = after & ~own | self.seals
        yield "seals changed meanwhile", after
        if self.op in _MAPS:
            # While F_SEAL_WRITE is being added, writable mappings are forbidden before the seal
            # shows, and it may never come (mm/memfd.c:memfd_add_seals).
            yield "seals changed meanwhile", after | Seal.WRITE

    def _chunks(self) -> Iterator[tuple[str, int]]:
        """What stands in for NO_CHUNK_FITS: as if the largest folio were a page, or 2 MiB."""
        if not self.facts & Fact.CHUNK_UNKNOWN:
            yield "", 0
            return
        yield "", int(Fact.NO_PAGE_FITS)
        yield "the file's largest folio is not known", int(Fact.NO_HUGE_FITS)


def unfit(key: Key) -> str:
    """Why this cannot be judged at all; empty where it can."""
    if key.op == UNKNOWN_OP:
        return "no rules for this operation"
    if key.facts & Fact.ENTRY_MISSING:
        return "its entry was not seen"
    if key.facts & Fact.RETURN_MISSING:
        return "its return was not seen"
    if (
        key.kind == Kind.UNKNOWN
        and key.op != Op.CONVERT
        and (  # which is about no file
            key.op != Op.CREATE or key.answer == OK
        )
    ):
        return "unknown kind of file"
    if 0x7F in (key.seals, key.seals_after):
        return "seals not known"
    if (key.seals | key.seals_after) & BEYOND_SIX:
        return "unknown seal bits"
    return ""


# Some rows of a batch, and facts about them as bits


class Rows:
    """Some rows of a batch."""

    def __init__(
        self,
        columns: Mapping[str, npt.NDArray[Any]],
        places: npt.NDArray[np.intp],
        seals: npt.NDArray[np.uint8],
    ) -> None:
        self.places = places
        self._columns = columns
        self._seals = seals

    def get(self, name: str, kind: type[np.generic]) -> npt.NDArray[Any]:
        """These rows of a column."""
        return self._columns[name].take(self.places).astype(kind, copy=False)

    def unsigned(self, name: str) -> U64:
        """As 64 bits without sign: sizes, offsets and lengths add up to no more."""
        return self.get(name, np.uint64)

    def sealed(self, seals: int) -> Bools:
        """Which have one of these seals, be it only at return."""
        chosen: Bools = self._seals.take(self.places) & np.uint8(seals) != 0
        return chosen

    def of_kind(self, kind: Kind) -> Bools:
        chosen: Bools = self._columns["kind"].take(self.places) == kind
        return chosen

    def where(self, chosen: Bools) -> "Rows":
        """Some of them."""
        return Rows(self._columns, self.places[chosen], self._seals)


def bit(holds: npt.NDArray[Any], fact: Fact) -> U64:
    """The fact in each row where it holds, else 0."""
    bits: U64 = np.left_shift(holds.astype(bool), int(fact).bit_length() - 1, dtype=np.uint64)
    return bits


def on(rows: Rows, chosen: Bools, detail: Callable[[Rows], U64]) -> U64:
    """``detail`` of the chosen rows, 0 for the others."""
    facts = np.zeros(len(chosen), np.uint64)
    if chosen.any():
        facts[chosen] = detail(rows.where(chosen))
    return facts


# The facts of each operation's own rows (tracer.rules.rule), as bits

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
_VM_WRITE, _VM_EXEC, _VM_SHARED = 2, 4, 8  # include/linux/mm.h
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


def _of_mapping(rows: Rows) -> U64:
    return _vm_facts(rows) | on(rows, rows.of_kind(Kind.HUGETLB), _hugetlb_mmap)


def _vm_facts(rows: Rows) -> U64:
    vm_flags = rows.unsigned("arg") >> np.uint64(8)
    return (
        bit(vm_flags & np.uint64(_VM_SHARED), Fact.SHARED)
        | bit(vm_flags & np.uint64(_VM_WRITE), Fact.PROT_WRITE)
        | bit(vm_flags & np.uint64(_VM_EXEC), Fact.PROT_EXEC)
    )


def _mremap(rows: Rows) -> U64:
    old = (rows.unsigned("arg") >> np.uint64(MREMAP_OLD_SHIFT)) * np.uint64(PAGE)
    return _vm_facts(rows) | bit(rows.unsigned("length") > old, Fact.PAST_END)


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


def _exec(rows: Rows) -> U64:
    inferred = rows.get("flags", np.uint32) & np.uint32(Flag.INFERRED) != 0
    asked = inferred.astype(np.uint64) * np.uint64(_EXEC_INFERRED)
    return _asked(asked, np.zeros(len(asked), np.uint8)) | _executable(rows)


def _convert(rows: Rows) -> U64:
    attributes, known = rows.unsigned("arg"), np.uint64(MEMORY_ATTRIBUTE_PRIVATE)
    return _asked(attributes & known, attributes & ~known)


DETAILS: dict[Op, Callable[[Rows], U64]] = {
    **{op: _of_mapping for op, entry in OPS.items() if entry.of_mapping},
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
    Op.EXEC: _exec,
    Op.CONVERT: _convert,
}
"""By operation: all facts of its rows, with the size at entry."""

SIZE_DETAILS: dict[Op, Callable[[Rows, str], U64]] = {
    **dict.fromkeys(_MAPS, _mmap_size),
    Op.WRITE: _write_size,
    Op.READ: _read_size,
    Op.TRUNCATE: _truncate_size,
    Op.ALLOCATE: _past_end,
}
"""The facts that the size decides, with the size in the given column."""


# Keys from columns

Columns = Mapping[str, npt.NDArray[Any]]

COLUMNS: tuple[str, ...] = (
    "op",  # numbers of tracer.words.Op
    "kind",  # numbers of tracer.words.Kind
    "uid",
    "seals",
    "seals_after",
    "size",
    "size_after",
    "offset",
    "length",
    "arg",
    "answer",
    "duration_ns",
    "flags",
    "writable",
    "mode",
    "fmode",
    "check_answer",
    "folio_order_max",  # of the object; 255: never announced
    "owner_uid",  # of the object; 0xffffffff: unknown
)
"""The columns that judging needs: those of a recording's events, and two of its objects."""

_DECIDES = int(Seal.SHRINK | Seal.GROW | Seal.WRITE | Seal.FUTURE_WRITE | Seal.EXEC)
"""Without one of these a success is no matter, whatever was asked."""
_ALWAYS = (Op.ADD_SEALS, Op.CREATE, Op.CONVERT)
"""Operations whose success can be wrong on a file without seals."""
_RACED_SIZE = int(Flag.RACED_SIZE)
_FLAGS = 0x3F
"""Flags that are facts as they stand: the lowest six."""
_PROTECTED = int(Flag.APPEND_ONLY | Flag.IMMUTABLE)
_FMODE = int(Fact.FD_READ).bit_length() - 1


def _table(size: int, number: Callable[[int], int], shift: int) -> U64:
    return np.array([number(place) << shift for place in range(size)], np.uint64)


def _op_code(pair: int) -> int:
    op, kind = divmod(pair, len(_KIND_CODES))
    if is_decision(op, kind if kind in set(Kind) else Kind.UNKNOWN):
        return CODES[Op(op)]
    return NO_DECISION if op in set(Op) else UNKNOWN_OP


def _answer_codes() -> list[int]:
    codes = [0, *[ANSWERS.index(OTHER)] * MAX_ERRNO, 0]
    for code, name in enumerate(ANSWERS):
        if name in ERRNOS:
            codes[ERRNOS[name]] = code
    return codes


# Looked up with clipping: the last entry stands for all that is larger, the first for the smaller.
_KIND_CODES = _table(8, lambda number: number if number in set(Kind) else 0, KIND_SHIFT)
_OP_CODES = _table(256 * len(_KIND_CODES), _op_code, OP_SHIFT)
_ANSWER_CODES = _table(MAX_ERRNO + 2, _answer_codes().__getitem__, ANSWER_SHIFT)


def keys_of(columns: Columns) -> U64:
    """One key a row (:class:`Key`). KeyError: a column is missing."""
    op, flags = columns["op"], columns["flags"]
    seals, after = _seven(columns["seals"]), _seven(columns["seals_after"])
    answer: U64 = _ANSWER_CODES.take(np.negative(columns["answer"], dtype=np.int64), mode="clip")
    kind = np.clip(columns["kind"], 0, len(_KIND_CODES) - 1).astype(np.uint16)
    pair = np.clip(op, 0, 255).astype(np.uint16) * np.uint16(len(_KIND_CODES)) + kind
    keys: U64 = _OP_CODES.take(pair)
    keys |= _KIND_CODES.take(kind)
    keys |= answer
    keys |= np.left_shift(seals, SEALS_SHIFT, dtype=np.uint64)
    keys |= np.left_shift(after, AFTER_SHIFT, dtype=np.uint64)
    keys |= _of_any(columns)
    seals |= after
    matters = (seals & _DECIDES).astype(bool)
    matters |= answer != 0
    _add_protected(keys, op, flags)
    _add_frozen(keys, op, flags)
    raced = bool((flags & _RACED_SIZE).any())
    for number, detail in DETAILS.items():
        mine = op == number
        if number not in _ALWAYS:
            mine &= matters
        places = np.flatnonzero(mine)
        if len(places):
            rows = Rows(columns, places, seals)
            keys[places] |= detail(rows)
            if raced and number in SIZE_DETAILS:
                _at_return(keys, rows, SIZE_DETAILS[number])
    return keys


def _add_protected(keys: U64, op: npt.NDArray[Any], flags: npt.NDArray[Any]) -> None:
    """Of refused calls alone, and of few of these."""
    marked = np.flatnonzero(flags & np.uint32(_PROTECTED))
    if not len(marked):
        return
    immutable = flags[marked] & np.uint32(_PROTECTED) == Flag.IMMUTABLE
    keys[marked[~(np.isin(op[marked], _MAPS) & immutable)]] |= np.uint64(Fact.PROTECTED)


def _add_frozen(keys: U64, op: npt.NDArray[Any], flags: npt.NDArray[Any]) -> None:
    marked = np.flatnonzero(flags & np.uint32(Flag.FROZEN))
    if len(marked):
        keys[marked[~np.isin(op[marked], _MAPS)]] |= np.uint64(_FROZEN)


def _at_return(keys: U64, rows: Rows, detail: Callable[[Rows, str], U64]) -> None:
    """The size facts a second time, with the size at return, where the size raced."""
    raced = rows.where(rows.get("flags", np.uint32) & np.uint32(_RACED_SIZE) != 0)
    facts = detail(raced, "size_after") & np.uint64(SIZE_FACTS)
    keys[raced.places] |= facts << np.uint64(ALT_SHIFT)


def _seven(column: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    """Six bits of seals, and a seventh where there were others."""
    seven = column.astype(np.uint8)
    if len(column) and column.max() > 0x3F:
        seven &= np.uint8(0x3F)
        seven[column > 0x3F] |= np.uint8(BEYOND_SIX)
    return seven


def _of_any(columns: Columns) -> npt.NDArray[np.uint16]:
    """The facts that any operation has: flags, open mode, check and writable mappings."""
    facts: npt.NDArray[np.uint16] = columns["flags"].astype(np.uint16)
    facts &= np.uint16(_FLAGS)
    facts |= (columns["fmode"].astype(np.uint16) & np.uint16(3)) << np.uint16(_FMODE)
    for name, holds, fact in (
        ("check_answer", np.less, Fact.CHECK_DENIED),
        ("writable", np.greater, Fact.MAPPED_WRITABLE),
    ):
        bits = holds(columns[name], 0).astype(np.uint16)
        facts |= bits << np.uint16(int(fact).bit_length() - 1)
    return facts
