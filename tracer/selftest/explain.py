"""Which of the documented variants explain what the kernel answered, and what none explains."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tracer.analysis.judge import COLUMNS, Judge
from tracer.labels import describe, errno_name
from tracer.rules import RULES
from tracer.rules.rule import PARTIAL
from tracer.rules.variants import VARIANTS, Variants
from tracer.rules.verdicts import Outcome, Verdict
from tracer.selftest import attempts as chunk
from tracer.selftest.scratch import FACTS, Attempt, columns
from tracer.words import Bit5, Kind, Op, Seal, bit5_of, names

_EPERM = -1
_BIT = "bit_0x20"
_DOUBTFUL = (Verdict.BREACH, Verdict.UNEXPLAINED)
_SCARCE = ("ENOMEM", "ENOSPC", "EDQUOT", "EMFILE", "ENFILE", "EAGAIN", "EINTR", "EFBIG")
"""What a host without room answers: no rule's business, and no evidence against one."""
_TORN = Outcome(
    Verdict.UNEXPLAINED, PARTIAL, "no known chunk size gives that count", "write-grow", None, 2
)
_MEANT = {Op.EXEC: "ENOEXEC"}
"""The error that an attempt is made for, of operations that should not go through."""
_ERRNO = {rule.name: rule.errno for rule in RULES}


@dataclass
class Unexplained:
    """Answers that no documented variant gives; the first of ``times`` alike is described."""

    op: str
    kind: str
    rule: str
    verdict: str
    seals: str
    asked: str
    expected: str
    answer: str
    times: int = 0


@dataclass(frozen=True)
class Finding:
    """What the attempts say about this kernel."""

    cases: int
    """Calls that were made."""
    variants: dict[str, str]
    open: list[str]
    """Questions that nothing that could be tried here settles."""
    bit_0x20: str
    """``exec``, ``inaccessible``, ``none`` (the bit is refused), or ``unknown``."""
    write_chunk: int | None
    """Bytes that one write asks its seals about, None where nothing told."""
    holes: list[str]
    """Known holes that this kernel has."""
    verdicts: dict[str, int]
    """How many calls had each verdict."""
    unexplained: list[Unexplained]

    def to_json(self) -> dict[str, Any]:
        return {**vars(self), "unexplained": [vars(one) for one in self.unexplained]}


def explain(attempts: Sequence[Attempt], folio_order: int = chunk.ORDER_UNKNOWN) -> Finding:
    """Chooses among the documented variants by the answers alone.

    ``folio_order``: of a memfd, as a hook saw it (``objects.folio_order_max``).
    """
    calls = [one for one in attempts if one.op not in FACTS]
    bit = bit_0x20(calls)
    known = {_BIT: bit} if bit in VARIANTS[_BIT] else {}
    size, order, choice, wrong = chunk.find(chunk.telling_writes(calls), folio_order)
    if choice:
        known[chunk.QUESTION] = choice
    variants = settle(calls, known, order)
    pairs = list(zip(calls, judged(calls, variants, order), strict=True))
    torn = {id(one) for one in wrong}
    pairs = [(one, _TORN if id(one) in torn else outcome) for one, outcome in pairs]
    return Finding(
        cases=len(calls),
        variants=dict(sorted(variants.items())),
        open=sorted(set(VARIANTS) - set(variants)),
        bit_0x20=bit,
        write_chunk=size,
        holes=sorted({outcome.hole for _, outcome in pairs if outcome.hole}),
        verdicts=dict(Counter(outcome.verdict.word for _, outcome in pairs)),
        unexplained=_unexplained(pairs, bit5_of(bit)),
    )


def bit_0x20(calls: Sequence[Attempt]) -> str:
    """What seal 0x20 means here, by what a file that carries it refuses.

    F_SEAL_EXEC (6.3, commit 6fd7353829ca) denies changing execute bits, the F_SEAL_INACCESSIBLE
    of the proposal of January 2022 denies reading. A kernel without the bit refuses it, and
    memfd_create's flag 0x8 that brings it.
    """
    mine = [one for one in calls if one.seals & Seal.EXEC and one.kind == Kind.MEMFD]
    chmod = any(one.op == Op.CHMOD and one.answer == _EPERM for one in mine)
    read = any(one.op == Op.READ and one.answer == _EPERM for one in mine)
    if chmod != read:
        return "exec" if chmod else "inaccessible"
    return "unknown" if any(one.seals_after & Seal.EXEC for one in calls) else "none"


def judged(calls: Sequence[Attempt], variants: Variants, order: int) -> list[Outcome]:
    """One outcome a call."""
    judge = Judge(variants)
    codes = judge.codes(columns(calls, COLUMNS, order))
    return [judge.outcomes[code] for code in codes.tolist()]


def _wrong(one: Attempt, outcome: Outcome) -> bool:
    """This answer contradicts the rules. A known hole explains its breach.

    On a scratch file nothing but a seal, or the want of something, gets in the way: another error
    than the rules name is as wrong as a success.
    """
    if outcome.verdict == Verdict.ERROR:
        answer = errno_name(one.answer)
        return answer not in (*_SCARCE, _ERRNO.get(outcome.rule), _MEANT.get(Op(one.op)))
    return outcome.verdict in _DOUBTFUL and not outcome.hole


def _count_wrong(calls: Sequence[Attempt], variants: Variants, order: int) -> int:
    outcomes = judged(calls, variants, order)
    return sum(_wrong(one, outcome) for one, outcome in zip(calls, outcomes, strict=True))


def settle(calls: Sequence[Attempt], known: Variants, order: int) -> dict[str, str]:
    """Chooses question by question the one choice that contradicts the fewest answers.

    A question whose choices all do equally well stays open. Only calls whose verdict depends on
    an open question are looked at: the others say nothing about it.
    """
    chosen = dict(known)
    moved = True
    while moved:
        moved = False
        calls = [
            one
            for one, outcome in zip(calls, judged(calls, chosen, order), strict=True)
            if outcome.verdict == Verdict.INDETERMINATE
        ]
        for question in set(VARIANTS) - set(chosen) - {_BIT, chunk.QUESTION}:
            wrong = {
                choice: _count_wrong(calls, {**chosen, question: choice}, order)
                for choice in VARIANTS[question]
            }
            best = [choice for choice in wrong if wrong[choice] == min(wrong.values())]
            if len(best) == 1:
                chosen[question] = best[0]
                moved = True
    return chosen


def _unexplained(pairs: Sequence[tuple[Attempt, Outcome]], bit5: Bit5) -> list[Unexplained]:
    found: dict[tuple[int, int, str, str, str], Unexplained] = {}
    for one, outcome in pairs:
        if not _wrong(one, outcome):
            continue
        op, kind = one.words
        answer = errno_name(one.answer) or ("ok" if one.op == Op.MMAP else str(one.answer))
        first = found.setdefault(
            (one.op, one.kind, outcome.rule, outcome.expected, answer),
            Unexplained(
                op=op,
                kind=kind,
                rule=outcome.rule,
                verdict=outcome.verdict.word,
                seals=names(one.seals, bit5),
                asked=describe(op, kind, one.arg, one.offset, one.length, one.size, bit5),
                expected=outcome.expected,
                answer=answer,
            ),
        )
        first.times += 1
    return list(found.values())
