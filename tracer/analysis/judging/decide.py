"""Holds one case against the rules: which one decides it, and what that makes of the answer."""

from collections.abc import Iterable, Sequence

from tracer.analysis.judging.cases import OK, Case
from tracer.rules.rule import OK as PROMISE
from tracer.rules.rule import PARTIAL, Fact, Rule
from tracer.rules.variants import Hole
from tracer.rules.verdicts import DENIALS, SEVERITY, Outcome, Verdict

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
