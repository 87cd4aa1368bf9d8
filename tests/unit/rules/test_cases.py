"""The committed cases have their outcomes, and no rule can change without one of them noticing."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cache

import pytest

from tests.unit.rules.rule_cases import Judged, Told, columns, outcome, told
from tests.unit.rules.rule_table import CASES
from tracer.analysis.features import keys_of
from tracer.analysis.judge import Judge
from tracer.rules import RULES
from tracer.rules.rule import OK, SEALABLE, Fact, Rule
from tracer.rules.variants import HOLES, QUESTIONS, VARIANTS, Hole
from tracer.words import Op

UNUSED_SEAL = 0x40
Changed = tuple[Told | None, Told | None]


@cache
def _keys() -> list[int]:
    return [int(key) for key in keys_of(columns([case.row for case in CASES]))]


def judged(
    rules: Sequence[Rule] = RULES, holes: Sequence[Hole] = HOLES, ops: Sequence[Op] = tuple(Op)
) -> Iterator[tuple[Judged, Told | None]]:
    """Each case of these operations with what comes out."""
    judges: dict[tuple[str, ...], Judge] = {}
    for case, key in zip(CASES, _keys(), strict=True):
        if case.row["op"] in ops:
            choices = tuple(case.variants.values())
            if choices not in judges:
                judges[choices] = Judge(case.variants, rules, holes)
            yield case, told(judges[choices].outcome(key))


@cache
def _cases() -> dict[str, Told | None]:
    return {case.name: result for case, result in judged()}


@pytest.mark.parametrize("case", CASES, ids=lambda case: str(case.name))
def test_case(case: Judged) -> None:
    assert told(outcome(case.row, case.variants)) == case.told
    assert _cases()[case.name] == case.told


def test_names_differ() -> None:
    assert len({case.name for case in CASES}) == len(CASES)
    assert len({rule.name for rule in RULES}) == len(RULES)
    assert len({hole.name for hole in HOLES}) == len(HOLES)


def _bits(flags: int) -> Iterator[int]:
    yield from (1 << place for place in range(flags.bit_length()) if flags >> place & 1)


def _weaker(rule: Rule) -> Iterator[tuple[str, Rule]]:
    """The rule with one of its conditions, seals or kinds left out."""
    for fact in map(Fact, _bits(rule.needs)):
        yield f"without needing {fact.name}", replace(rule, needs=rule.needs & ~fact)
    for fact in map(Fact, _bits(rule.unless)):
        yield f"in spite of {fact.name}", replace(rule, unless=rule.unless & ~fact)
    for seal in _bits(rule.seals):
        yield f"without seal {seal:#x}", replace(rule, seals=rule.seals & ~seal or UNUSED_SEAL)
    if rule.seals:
        yield "for all seals", replace(rule, seals=0, reason=rule.reason or "any")
    for seal in _bits(rule.without):
        yield f"in spite of seal {seal:#x}", replace(rule, without=rule.without & ~seal)
    if rule.variant:
        yield "on every kernel", replace(rule, variant=None)
    for kind in rule.kinds:
        rest = tuple(other for other in rule.kinds if other != kind)
        yield f"not on {kind.name}", replace(rule, kinds=rest)
    if len(rule.ops) > 1:
        for op in rule.ops:
            yield f"not {op.name}", replace(rule, ops=tuple(o for o in rule.ops if o != op))
    if rule.broken_if:
        yield "broken by any success", replace(rule, broken_if=Fact(0))


def _weaker_hole(hole: Hole) -> Iterator[tuple[str, Hole]]:
    for fact in map(Fact, _bits(hole.needs)):
        yield f"without needing {fact.name}", replace(hole, needs=hole.needs & ~fact)
    for fact in map(Fact, _bits(hole.unless)):
        yield f"in spite of {fact.name}", replace(hole, unless=hole.unless & ~fact)
    if hole.without:
        yield "in spite of a seal", replace(hole, without=0)
    if set(hole.kinds) != set(SEALABLE):
        yield "on all kinds", replace(hole, kinds=SEALABLE)


def _changed(rules: Sequence[Rule], holes: Sequence[Hole], ops: Sequence[Op]) -> list[Changed]:
    """The cases of these operations that come out otherwise than with the true rules."""
    return [
        (before, after)
        for case, after in judged(rules, holes, ops)
        if (before := _cases()[case.name]) != after
    ]


def _without(rule: Rule, instead: Rule | None) -> list[Rule]:
    found = [instead if one is rule else one for one in RULES]
    return [one for one in found if one is not None]


def _verdict_changes(rule: Rule, instead: Rule | None) -> bool:
    changed = _changed(_without(rule, instead), HOLES, rule.ops)
    return any(
        (before and before.verdict) != (after and after.verdict) for before, after in changed
    )


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: str(rule.name))
def test_no_rule_can_be_dropped(rule: Rule) -> None:
    assert _verdict_changes(rule, None)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: str(rule.name))
def test_no_errno_can_be_another(rule: Rule) -> None:
    instead = replace(rule, errno="EBUSY" if rule.errno == "EPERM" else "EPERM")
    if rule.errno == OK:  # a promise is about successes, which have no errno
        assert _changed(_without(rule, instead), HOLES, rule.ops)
    else:
        assert _verdict_changes(rule, instead)


CONDITIONS = [(f"{rule.name} {how}", rule, other) for rule in RULES for how, other in _weaker(rule)]


@pytest.mark.parametrize(
    ("rule", "instead"), [one[1:] for one in CONDITIONS], ids=[one[0] for one in CONDITIONS]
)
def test_no_condition_can_be_left_out(rule: Rule, instead: Rule) -> None:
    assert _changed(_without(rule, instead), HOLES, rule.ops)


def test_the_order_of_rules_matters_where_two_refuse() -> None:
    """Turned round, the rules give other outcomes."""
    for op in (Op.MMAP, Op.TRUNCATE, Op.WRITE, Op.ADD_SEALS, Op.PUNCH_HOLE):
        assert _changed(RULES[::-1], HOLES, (op,))


HOLE_MUTATIONS: list[tuple[str, Hole, Hole | None]] = [
    *((f"{hole.name} dropped", hole, None) for hole in HOLES),
    *((f"{hole.name} {how}", hole, other) for hole in HOLES for how, other in _weaker_hole(hole)),
]


@pytest.mark.parametrize(
    ("hole", "instead"),
    [one[1:] for one in HOLE_MUTATIONS],
    ids=[one[0] for one in HOLE_MUTATIONS],
)
def test_every_hole_matters(hole: Hole, instead: Hole | None) -> None:
    """And changes nothing but the name beside the breach."""
    mutated = [instead if one is hole else one for one in HOLES]
    changed = _changed(RULES, [one for one in mutated if one is not None], tuple(Op))
    assert changed
    for before, after in changed:
        assert before is not None
        assert after is not None
        assert before.verdict == after.verdict == "breach"
        assert before._replace(hole=None) == after._replace(hole=None)


def test_holes_name_rules() -> None:
    assert {hole.rule for hole in HOLES} <= {rule.name for rule in RULES}


def test_every_rule_says_what_and_where() -> None:
    for rule in RULES:
        assert rule.text.endswith(".")
        assert ":" in rule.source or "F_SEAL" in rule.source
        assert rule.reason or rule.seals
        assert set(rule.ops) <= set(Op)


def test_variants_of_rules_are_documented() -> None:
    for rule in RULES:
        if rule.variant:
            question, choice = rule.variant
            assert choice in VARIANTS[question]
    assert {rule.variant[0] for rule in RULES if rule.variant} == set(VARIANTS)
    for choices in QUESTIONS.values():
        assert all(choice.text and choice.source for choice in choices)
