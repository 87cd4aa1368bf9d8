"""The first line of reports and comparisons: what it says, what to do, and the exit code."""

from dataclasses import replace
from typing import Any

import pandas as pd
import pytest

from tests.unit.output.report_sample import coverage
from tracer.output.coverage import Coverage, SelfTest, Unseen
from tracer.output.summary import Breach, Summary, breaches, of_diff, of_report
from tracer.output.tables import WORST_FIRST

FINE = coverage(unseen=())
OTHER = replace(FINE, kernel="7.3")
LOST = replace(FINE, lost={"ring_full": 5})
NEW, OLD = Breach("6.1", None, 1), Breach("6.1", "merge", 4)


def report(*found: Breach, covered: Coverage = FINE, question: str = "", **given: Any) -> Summary:
    return of_report(found, given, [covered], question)


@pytest.mark.parametrize(
    ("found", "given", "result", "text"),
    [
        ((NEW,), {"breach": 1}, "breach", "1 breach: 1 new"),
        ((NEW, OLD), {"breach": 5}, "breach", "5 breaches: 1 new, 4 by known holes of 6.1"),
        ((OLD,), {"breach": 4}, "known-holes", "4 breaches: 0 new, 4 by known holes of 6.1"),
        (
            (OLD, Breach("7.3", "grow", 2), Breach("7.3", "exec", 1)),
            {"breach": 7},
            "known-holes",
            "7 breaches: 0 new, 4 by known holes of 6.1, 3 by known holes of 7.3",
        ),
        ((), {"unexplained": 2}, "unexplained", "No breach, but 2 refusals that no seal explains"),
        (
            (),
            {"blocked": 3, "error": 1, "allowed": 1200},
            "fine",
            "No breach: the kernel answered all 1,204 decisions as its rules say; "
            "seals blocked 3 of them",
        ),
        ((), {}, "nothing", "Nothing to judge: no decision was recorded"),
        (
            (),
            {"indeterminate": 1, "allowed": 2},
            "uncertain",
            "No breach seen, but not certain: 1 decision could not be judged",
        ),
    ],
)
def test_the_result_of_a_report(
    found: tuple[Breach, ...], given: dict[str, Any], result: str, text: str
) -> None:
    one = report(*found, **given)
    assert (one.result, one.text) == (result, text)
    code = {"nothing": 4, "uncertain": 3}.get(result, 0)
    assert one.exit_code == code


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"lost": {"ring_full": 1200}}, "1,200 events were lost"),
        ({"state": "killed"}, "the recorder was killed"),
        ({"problems": ("events/0 is gone. Its rows are missing.",)}, "events/0 is gone"),
        ({"unseen": (Unseen("w", "writes", "no such function", True),)}, "not seen: writes"),
        ({"self_test": SelfTest(False, failed="no memory")}, "the self-test failed"),
        ({"self_test": SelfTest(True, 9, silent=("write 1 of 2",))}, "hooks missed attempts"),
        ({"self_test": SelfTest(True, 9, unexplained=1)}, "this kernel gave answers that nothing"),
    ],
)
def test_what_is_missing_makes_nothing_certain(changed: dict[str, Any], said: str) -> None:
    covered = replace(FINE, **changed)
    for allowed in (3, 0):
        one = report(covered=covered, allowed=allowed)
        assert (one.result, one.exit_code) == ("uncertain", 3)
        assert said in one.text
    one = report(OLD, covered=covered, breach=4)
    assert (one.result, one.exit_code) == ("known-holes", 3)
    assert said in one.text


@pytest.mark.parametrize(
    "changed",
    [
        {"filters": "only the command and its children"},
        {"state": "alive"},
        {"self_test": SelfTest(False)},
        {"unseen": (Unseen("w", "writes", "not asked for", True),)},
        {"unseen": (Unseen("w", "writes", "not by the source ftrace", True),)},
        {"unseen": (Unseen("w", "writes", "this kernel has none", False),)},
        {"incomplete": {"name": 2}},
    ],
)
def test_what_was_chosen_is_no_doubt(changed: dict[str, Any]) -> None:
    assert report(covered=replace(FINE, **changed), allowed=3).exit_code == 0


def test_what_to_do() -> None:
    assert any("w.seal --filter verdict:breach" in one for one in report(NEW, breach=1).todo)
    [known] = report(OLD, breach=4).todo
    assert known.endswith("merge 4")
    assert any("--ring" in one for one in report(covered=LOST, allowed=1).todo)
    odd = replace(FINE, path="a b;c.seal")
    assert any("'a b;c.seal'" in one for one in report(covered=odd, unexplained=1).todo)
    assert report(allowed=1).todo == ()


def test_the_question_stands_in_the_first_line() -> None:
    one = report(question="filter op:mmap")
    assert one.text == "Nothing to judge: no decision matches (filter op:mmap)"


def test_breaches_by_known_holes_are_told_from_new_ones() -> None:
    rows = pd.DataFrame(
        [
            {"boot_id": boot, "verdict": verdict, "hole": hole, "decisions": count}
            for boot, verdict, hole, count in (
                ("b1", "breach", "merge", 3),
                ("b1", "breach", None, 1),
                ("b2", "breach", None, 5),
                ("b3", "breach", "merge", 7),
                ("b1", "blocked", None, 9),
            )
        ]
    )
    sides = [
        coverage(boot_id="b1", kernel="6.1", self_test=SelfTest(True, 9, holes=("merge",))),
        coverage(boot_id="b2", kernel="7.3\x1b[2J", self_test=SelfTest(True, 9)),
        coverage(boot_id="b3", kernel="5.10", self_test=SelfTest(False)),
    ]
    found = breaches(rows, sides)
    assert found == (
        Breach("6.1", "merge", 3),
        Breach("6.1", None, 1),
        Breach("7.3\\x1b[2J", None, 5),
        Breach("5.10", "merge", 7),
    )


def compared(
    a: Coverage = FINE,
    b: Coverage = OTHER,
    answers: dict[str, int] | None = None,
    variants: tuple[str, ...] = (),
    only: tuple[int, int] = (0, 0),
    counts: tuple[int, int] = (3, 3),
    breached: tuple[int, int] = (0, 0),
) -> Summary:
    sides = [
        {**dict.fromkeys(WORST_FIRST, 0), "allowed": count, "breach": breach}
        for count, breach in zip(counts, breached, strict=True)
    ]
    return of_diff(a, b, answers or {}, variants, only, 203, (sides[0], sides[1]), "")


@pytest.mark.parametrize(
    ("given", "result", "code", "text"),
    [
        ({}, "same", 0,
         "The kernels do not differ (A 6.1.0-56-amd64, B 7.3): 203 classes of calls alike"),
        ({"b": FINE}, "same", 0,
         "The kernels do not differ (both 6.1.0-56-amd64): 203 classes of calls alike"),
        ({"answers": {"mmap": 2, "write": 1}, "breached": (8, 6)}, "different", 2,
         "The kernels differ (A 6.1.0-56-amd64, B 7.3) in 3 classes of calls (mmap 2, write 1); "
         "breaches: A 8, B 6"),
        ({"variants": ("bit_0x20",), "only": (0, 4)}, "different", 2,
         "The kernels differ (A 6.1.0-56-amd64, B 7.3) in what the self-tests found (bit_0x20); "
         "4 classes in B alone"),
        ({"a": LOST}, "uncertain", 3,
         "No difference seen (A 6.1.0-56-amd64, B 7.3), but not certain; A: 5 events were lost"),
        ({"counts": (3, 0)}, "nothing", 4,
         "Nothing to compare: no decision was recorded in B"),
    ],
)  # fmt: skip
def test_the_result_of_a_comparison(
    given: dict[str, Any], result: str, code: int, text: str
) -> None:
    one = compared(**given)
    assert (one.result, one.exit_code, one.text) == (result, code, text)
