"""Judges decisions: the expected answer beside the real one, one outcome a row.

What decides is one case (:mod:`tracer.analysis.features`) and the rules for it (:class:`Chooser`);
whole batches look their keys up (:class:`Lookup`). :func:`tracer.analysis.tables.judge` does the
same for DataFrames.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import product

import numpy as np
import numpy.typing as npt

from tracer.analysis.features import COLUMNS as COLUMNS
from tracer.analysis.features import NO_DECISION, OK, U64, Case, Columns, Key, keys_of, unfit
from tracer.rules import RULES
from tracer.rules.rule import OK as PROMISE
from tracer.rules.rule import PARTIAL, Fact, Rule
from tracer.rules.variants import HOLES, UNEXPLAINED, VARIANTS, Hole, Variants, doubt
from tracer.rules.verdicts import DENIALS, SEVERITY, Verdict
from tracer.rules.verdicts import Outcome as Outcome
from tracer.words import Op, Seal, words

# One case and the rules

UNKNOWN = "unknown"
_EARLIER = "something else refused it earlier"


def outcome(
    verdict: Verdict, expected: str, reason: str, rule: str = "", hole: str | None = None
) -> Outcome:
    """An :class:`Outcome` with the severity of its verdict."""
    return Outcome(verdict, expected, reason, rule, hole, SEVERITY[verdict])


class Chooser:
    """The rules of one operation on one kind of file, under one choice of variants."""

    def __init__(self, rules: Iterable[Rule], holes: Sequence[Hole]) -> None:
        # Plain numbers: flags are an order of magnitude slower.
        self._rules = [
            (int(rule.needs), int(rule.unless), rule.seals, rule.without, rule) for rule in rules
        ]
        self._holes = holes

    def decide(self, case: Case) -> Outcome:
        """The outcome of one case."""
        holding = [
            rule
            for needs, unless, seals, without, rule in self._rules
            if case.facts & needs == needs
            and not case.facts & unless
            and not case.seals & without
            and (not seals or case.seals & seals)
        ]
        return self._went_through(case, holding) if case.answer == OK else _denied(case, holding)

    def _went_through(self, case: Case, holding: list[Rule]) -> Outcome:
        for rule in holding:
            if not rule.certain or rule.broken is None:
                continue
            why = rule.why(case.seals)
            if rule.broken_if and not case.facts & rule.broken_if:
                if rule.errno == PARTIAL:
                    return outcome(Verdict.ALLOWED, PARTIAL, why, rule.name)
                continue
            expected = UNKNOWN if rule.broken == Verdict.INDETERMINATE else rule.errno
            hole = self._hole(case, rule) if rule.broken == Verdict.BREACH else None
            return outcome(rule.broken, expected, why, rule.name, hole)
        return outcome(Verdict.ALLOWED, "ok", "")

    def _hole(self, case: Case, rule: Rule) -> str | None:
        for hole in self._holes:
            if (
                hole.rule == rule.name
                and case.kind in hole.kinds
                and case.facts & hole.needs == hole.needs
                and not case.facts & hole.unless
                and not case.seals & hole.without
            ):
                return hole.name
        return None


def _denied(case: Case, holding: list[Rule]) -> Outcome:
    certain = next((rule for rule in holding if rule.certain and rule.errno != PROMISE), None)
    if certain and certain.errno == case.answer:
        return outcome(certain.denied, certain.errno, certain.why(case.seals), certain.name)
    expected = certain.errno if certain else "ok"
    for rule in holding:
        if not rule.certain and rule.errno == case.answer:
            if rule.denied != Verdict.ERROR:
                expected = rule.errno if rule.denied == Verdict.BLOCKED else UNKNOWN
            return outcome(rule.denied, expected, rule.why(case.seals), rule.name)
    if certain and certain.denied == Verdict.BLOCKED and certain.errno != PARTIAL:
        return outcome(Verdict.ERROR, expected, _EARLIER, certain.name)
    if case.answer not in DENIALS:
        return outcome(Verdict.ERROR, expected, "", certain.name if certain else "")
    return outcome(Verdict.UNEXPLAINED, expected, _unexplained(case, certain))


def _unexplained(case: Case, certain: Rule | None) -> str:
    if certain and certain.errno == PARTIAL:
        return "a part of it would have fitted"
    if case.facts & Fact.CHECK_DENIED:
        return "the kernel's seal check refused it, though no seal says so"
    return "no seal says so"


# Many rows

Codes = npt.NDArray[np.int32]

_BITS = 14
_SHIFT = np.uint64(64 - _BITS)
_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)  # 2^64 / golden ratio: Fibonacci hashing
_EMPTY = np.uint64(0xFFFFFFFFFFFFFFFF)
_FIRST = 4096
"""Rows that are looked at for new keys in one go: most keys show up early."""
_MOST = 1 << 18
"""So many keys are remembered; real recordings have some hundred, forged ones any number."""


def _slot(key: int) -> int:
    return (key * int(_MULTIPLIER) & 0xFFFFFFFFFFFFFFFF) >> int(_SHIFT)


def _distinct(keys: U64) -> U64:
    """numpy's unique imports masked arrays, which takes longer than printing a small recording."""
    found = np.sort(keys)
    distinct: U64 = found[np.append(True, found[1:] != found[:-1])]
    return distinct


class Lookup:
    """One slot a key, found by one multiplication; the few keys whose slot was taken are sorted."""

    def __init__(self, code: Callable[[int], int]) -> None:
        self._code = code
        self._forget()

    def _forget(self) -> None:
        self._keys = np.full(1 << _BITS, _EMPTY)
        self._keys[_slot(int(_EMPTY))] = 0  # whose own slot is the first: nothing is found here
        self._codes = np.zeros(1 << _BITS, np.int32)
        self._others: dict[int, int] = {}
        self._sort()

    def _sort(self) -> None:
        self._other_keys = np.array(sorted(self._others), np.uint64)
        self._other_codes = np.array([self._others[int(key)] for key in self._other_keys], np.int32)

    def codes(self, keys: U64) -> Codes:
        """``code(key)`` for each key; each distinct key is asked for once."""
        slots = keys * _MULTIPLIER
        slots >>= _SHIFT
        places = slots.view(np.int64)  # below 2^14: the same bits
        codes = self._codes.take(places)
        missed = np.flatnonzero(self._keys.take(places) != keys)
        first = _FIRST
        while len(missed):
            self._learn(_distinct(keys[missed[:first]]))
            first *= 4
            codes[missed], found = self._find(keys[missed])
            missed = missed[~found]
        return codes

    def _find(self, keys: U64) -> tuple[Codes, npt.NDArray[np.bool_]]:
        places = ((keys * _MULTIPLIER) >> _SHIFT).view(np.int64)
        codes = self._codes.take(places)
        found = self._keys.take(places) == keys
        if len(self._other_keys):
            near = np.searchsorted(self._other_keys, keys).clip(0, len(self._other_keys) - 1)
            other = self._other_keys[near] == keys
            codes[other] = self._other_codes[near[other]]
            found |= other
        return codes, found

    def _learn(self, keys: U64) -> None:
        if len(self._others) > _MOST:
            self._forget()
        _, found = self._find(keys)
        for key in keys[~found].tolist():
            slot = _slot(key)
            if self._keys[slot] == _EMPTY:
                self._keys[slot], self._codes[slot] = key, self._code(key)
            else:
                self._others[key] = self._code(key)
        self._sort()


_BLOCK = 1 << 15
"""Rows: what is worked out of so many stays in the processor's cache."""
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
        rows = len(columns["op"])
        if rows <= _BLOCK:
            return self._known.codes(keys_of(columns))
        found = np.empty(rows, np.int32)
        for start in range(0, rows, _BLOCK):
            block = slice(start, start + _BLOCK)
            part = {name: columns[name][block] for name in COLUMNS}
            found[block] = self._known.codes(keys_of(part))
        return found

    def outcome(self, key: int) -> Outcome:
        """The outcome of all decisions with this key (:class:`tracer.analysis.features.Key`)."""
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
