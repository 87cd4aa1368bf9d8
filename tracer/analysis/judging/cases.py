"""Cases: all that a verdict can depend on, packed into one 64-bit key.

Decisions with equal keys have equal outcomes, and a recording of millions has some hundred keys.
:mod:`tracer.analysis.features` makes keys from columns; here they are taken apart again.
"""

from collections.abc import Iterator
from itertools import product
from typing import NamedTuple

from tracer.rules import DECISIONS
from tracer.rules.rule import ASKED_SHIFT, SIZE_FACTS, Fact
from tracer.words import Kind, Op, Seal

ALT_SHIFT = 7
"""The size facts stand a second time this much higher, as the size at return gives them."""
OP_SHIFT, KIND_SHIFT, ANSWER_SHIFT, SEALS_SHIFT, AFTER_SHIFT = 40, 44, 47, 50, 57
"""Behind the facts: op (4 bits), kind (3), answer (3), seals at entry (7) and at return (7)."""

NO_DECISION, UNKNOWN_OP = 0, 15
CODES = {op: code for code, op in enumerate(DECISIONS, 1)}
"""Codes of operations that are decisions, in a key."""
_OPS = {code: int(op) for op, code in CODES.items()}
OK, OTHER = "ok", "other"
ANSWERS = (OK, "EPERM", "EBUSY", "EACCES", "EINVAL", "EOPNOTSUPP", OTHER)
"""Answers that verdicts tell apart; ``ok`` is 0, a count or an address."""
BEYOND_SIX = 0x40
"""In the seven bits of seals: bits above 0x3f were set. All seven: the seals were not known."""

_FACTS = (1 << OP_SHIFT) - 1
_SIZE = int(SIZE_FACTS)
_ROW_FACTS = (1 << ASKED_SHIFT) - 1 | int(Fact.PROTECTED)
_EXEC_BRINGS = int(Seal.SHRINK | Seal.GROW | Seal.WRITE | Seal.FUTURE_WRITE)
_MFD = (
    (0x02, Fact.ASKS_SEALABLE),
    (0x04, Fact.ASKS_HUGETLB),
    (0x08, Fact.ASKS_BIT3),
    (0x10, Fact.ASKS_EXEC),
    (BEYOND_SIX, Fact.ASKS_UNKNOWN),
)


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
        if self.op == Op.ADD_SEALS:
            yield "", row | self._sealing()
        elif self.op == Op.CREATE:
            yield "", row | sum(fact for flag, fact in _MFD if self.asked & flag)
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
        if self.op == Op.MMAP:
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
    if key.kind == Kind.UNKNOWN and (key.op != Op.CREATE or key.answer == OK):
        return "unknown kind of file"
    if 0x7F in (key.seals, key.seals_after):
        return "seals not known"
    if (key.seals | key.seals_after) & BEYOND_SIX:
        return "unknown seal bits"
    return ""
