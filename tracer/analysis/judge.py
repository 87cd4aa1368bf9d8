"""Judges decisions: the expected answer beside the real one, one outcome a row."""

from collections.abc import Iterator, Sequence
from itertools import product
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from tracer.analysis.features import COLUMNS as COLUMNS
from tracer.analysis.features import Columns, keys_of
from tracer.analysis.judging.cases import NO_DECISION, Key, unfit
from tracer.analysis.judging.decide import UNKNOWN, Chooser, outcome
from tracer.analysis.judging.lookup import Lookup
from tracer.rules import RULES
from tracer.rules.rule import Rule
from tracer.rules.variants import HOLES, UNEXPLAINED, VARIANTS, Hole, Variants, doubt
from tracer.rules.verdicts import Outcome as Outcome
from tracer.rules.verdicts import Verdict
from tracer.words import Op, Seal, words

if TYPE_CHECKING:
    import pandas as pd

_NOT_ASKED = "the self-test did not run"
_NO_ANSWER = "this kernel fits no documented variant"
_ODD = "the self-test met an answer that is not documented"
_OPS = words(Op)


class Judge:
    """Judges batches; keeps what it worked out, so that one judge for a whole recording is fast."""

    def __init__(
        self,
        variants: Variants,
        rules: Sequence[Rule] = RULES,
        holes: Sequence[Hole] = HOLES,
    ) -> None:
        self.outcomes: list[Outcome] = []
        self._numbers: dict[Outcome, int] = {}
        self._variants = dict(variants)
        self._rules = rules
        self._holes = holes
        self._choosers: dict[tuple[int, int], list[tuple[dict[str, str], Chooser]]] = {}
        self._unknown = {
            rule.name for rule in rules if rule.variant and rule.broken == Verdict.INDETERMINATE
        }
        self._known = Lookup(self._code)

    def codes(self, columns: Columns) -> npt.NDArray[np.int32]:
        """Index into :attr:`outcomes` for each row; -1 where the row is no decision.

        ``columns`` are those in :data:`COLUMNS`, all of one length, as in a recording's events
        (op and kind as numbers of tracer.words), plus folio_order_max and owner_uid of the
        row's object. KeyError: one is missing.
        """
        return self._known.codes(keys_of(columns))

    def outcome(self, key: int) -> Outcome:
        """The outcome of all decisions with this key (:mod:`tracer.analysis.judging.cases`)."""
        case = Key.of(key)
        why = unfit(case)
        if why:
            return outcome(Verdict.INDETERMINATE, UNKNOWN, why)
        sealed = case.seals | case.seals_after
        results = [
            _decided(case, chooser)
            for choice, chooser in self._choices(case.op, case.kind)
            # A kernel that does not know the bit cannot have set it.
            if not (sealed & Seal.EXEC and choice.get("bit_0x20") == "none")
        ]
        # Nor can it take what it does not know: then it is another kernel.
        possible = [result for result in results if not self._takes_unknown(result)] or results
        if not possible:
            return outcome(Verdict.INDETERMINATE, UNKNOWN, "unknown seal bits")
        first, *others = possible
        for other in others:
            first = _agreed(first, other, self._why_open(case))
        return self._unless_doubtful(case.op, first)

    def _unless_doubtful(self, op: int, result: Outcome) -> Outcome:
        """A denial that the self-test met as well is this kernel's way, which no rule knows.

        A breach stays one: what a seal promises does not depend on the kernel.
        """
        if result.verdict != Verdict.UNEXPLAINED:
            return result
        odd = self._variants.get(doubt(_OPS[op], result.rule)) == UNEXPLAINED
        return outcome(Verdict.INDETERMINATE, UNKNOWN, _ODD) if odd else result

    def _takes_unknown(self, result: Outcome) -> bool:
        return result.verdict == Verdict.INDETERMINATE and result.rule in self._unknown

    def _code(self, key: int) -> int:
        if Key.of(key).op == NO_DECISION:
            return -1
        result = self.outcome(key)
        if result not in self._numbers:
            self._numbers[result] = len(self.outcomes)
            self.outcomes.append(result)
        return self._numbers[result]

    def _choices(self, op: int, kind: int) -> list[tuple[dict[str, str], Chooser]]:
        if (op, kind) not in self._choosers:
            self._choosers[op, kind] = list(self._make_choices(op, kind))
        return self._choosers[op, kind]

    def _make_choices(self, op: int, kind: int) -> Iterator[tuple[dict[str, str], Chooser]]:
        """One set of rules for each combination of answers that are still possible."""
        mine = [rule for rule in self._rules if op in rule.ops and kind in rule.kinds]
        questions = list(dict.fromkeys(rule.variant[0] for rule in mine if rule.variant))
        for answers in product(*(self._possible(question) for question in questions)):
            choice = dict(zip(questions, answers, strict=True))
            rules = [
                rule
                for rule in mine
                if rule.variant is None or choice[rule.variant[0]] == rule.variant[1]
            ]
            yield choice, Chooser(rules, self._holes)

    def _possible(self, question: str) -> tuple[str, ...]:
        known = VARIANTS.get(question, ())
        answer = self._variants.get(question)
        return (answer,) if answer in known else known

    def _why_open(self, case: Key) -> str:
        for rule in self._rules:
            if rule.variant and case.op in rule.ops and case.kind in rule.kinds:
                answer = self._variants.get(rule.variant[0])
                if answer is not None and answer not in VARIANTS.get(rule.variant[0], ()):
                    return _NO_ANSWER
        return _NOT_ASKED


def _decided(key: Key, chooser: Chooser) -> Outcome:
    """The outcome under one choice of variants, whatever the event leaves open."""
    (_, case), *others = key.cases()
    first = chooser.decide(case)
    for why, case in others:
        first = _agreed(first, chooser.decide(case), why)
    return first


def _agreed(first: Outcome, other: Outcome, why: str) -> Outcome:
    """The common outcome; indeterminate for this reason where the verdicts differ."""
    if first.verdict == Verdict.INDETERMINATE or other == first:
        return first
    if other.verdict != first.verdict:
        return outcome(Verdict.INDETERMINATE, UNKNOWN, why)
    same = other.expected == first.expected
    return first if same else first._replace(expected=UNKNOWN)


def judge(
    events: "pd.DataFrame", objects: "pd.DataFrame | None", variants: Variants
) -> "pd.DataFrame":
    """``events`` with the columns expected, reason, rule, verdict, hole and severity.

    ``events`` and ``objects`` are a recording's tables with its column names; ``objects`` may be
    None, or lack some that the events name. Rows that are no decision (map, unmap, evict) have
    null in all of them and severity 0. ``verdict`` is an ordered categorical, worst last. Columns
    that are missing or null count as not known, and make what depends on them indeterminate.
    """
    from tracer.analysis.judging.frames import columns_of, with_outcomes

    judged = Judge(variants)
    return with_outcomes(events, judged.codes(columns_of(events, objects)), judged.outcomes)
