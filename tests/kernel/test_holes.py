"""Known holes of real kernels: where one is open, the recording says breach and names it."""

import pandas as pd
import pytest

from tests.kernel.booted import Booted, Run
from tests.kernel.ground_truth import Truth, compare
from tests.kernel.implied import Row, implied
from tests.kernel.judged import ON_ANY_FILE, bad, beside_truth, judged
from tracer.rules.variants import HOLES

OPEN = {
    "6.1": {"future-write-merge", "future-write-mremap", "hugetlb-grow"},
    "newest": {"future-write-mremap", "hugetlb-grow", "hugetlb-exec"},
}
"""What was seen on these kernels by hand, so that a program that tries nothing shows."""
TRIED = {
    "future-write-merge": {"behind", "before", "between"},
    "future-write-mremap": {"in place", "moved", "copied"},
    "hugetlb-future-write": {"mapped"},
    "hugetlb-grow": {"shared", "private"},
    "exec-implies-write": {"mapped"},
    "hugetlb-exec": {"chmod +x"},
}


@pytest.fixture(params=["fexit", "kprobe"])
def method(request: pytest.FixtureRequest) -> str:
    value: str = request.param
    return value


@pytest.fixture
def run(kernel: Booted, method: str) -> Run:
    run = kernel.run(f"holes-{method}")
    assert run.code == 0, run.stderr
    run.check_whole()
    return run


@pytest.fixture
def truth(kernel: Booted, method: str) -> Truth:
    return kernel.truth(f"holes-{method}")


@pytest.fixture
def pairs(run: Run, truth: Truth) -> list[Row]:
    """Judged decisions, each with its ``call``."""
    return beside_truth(run.path, truth)


def tried(truth: Truth) -> list[Row]:
    return [call for call in truth.calls if call["role"] == "hole"]


def test_the_program_found_what_is_known_of_these_kernels(kernel: Booted, truth: Truth) -> None:
    """Said by the calls themselves: the store landed, the size grew, the mode changed."""
    assert kernel.facts("holes")["huge_pages"] >= 8
    opened = {(call["hole"], call["variant"]) for call in tried(truth) if call["opened"]}
    known = {(hole, way) for hole in OPEN[kernel.name] for way in TRIED[hole]}
    assert opened == known
    closed = {(call["hole"], call["errno"]) for call in tried(truth) if not call["opened"]}
    assert closed <= {
        ("future-write-merge", "EPERM"),
        ("hugetlb-future-write", "EPERM"),
        ("exec-implies-write", "EBUSY"),
        ("exec-implies-write", "EINVAL"),  # a kernel that does not know the seal
    }
    assert {call["hole"] for call in tried(truth)} >= set(TRIED) - {"hugetlb-exec"}


def test_every_call_is_one_event(run: Run, truth: Truth) -> None:
    calls = compare(truth, run.events, **ON_ANY_FILE)
    assert calls.ok, calls
    assert calls.expected == calls.events > 50


def test_an_open_hole_is_a_breach_with_its_name(pairs: list[Row]) -> None:
    for row in pairs:
        call = row["call"]
        if call["opened"]:
            assert (row["verdict"], row["hole"], row["severity"]) == ("breach", call["hole"], 3)
            assert row["expected"] == ("EBUSY" if call["op"] == "add_seals" else "EPERM"), row


def test_breaches_are_the_open_holes_and_nothing_else(pairs: list[Row], run: Run) -> None:
    opened = [row["call"]["i"] for row in pairs if row["call"]["opened"]]
    assert opened
    assert [row["call"]["i"] for row in pairs if row["verdict"] == "breach"] == opened
    assert len(bad(judged(run.path))) == len(opened)
    assert all(row["verdict"] == "breach" or pd.isna(row["hole"]) for row in pairs)


def test_controls(pairs: list[Row]) -> None:
    """The same call but for one thing is refused, or allowed, as it should be, and judged so."""
    verdicts = {"ok": "allowed", "EPERM": "blocked", "EBUSY": "blocked", "EINVAL": "error"}
    controls = [row for row in pairs if row["call"]["role"] == "control"]
    for row in controls:
        must = row["call"]["must"]
        assert (row["call"]["errno"] or "ok") == must, row
        assert row["verdict"] == verdicts[must], row
    assert {row["call"]["hole"] for row in controls} >= set(TRIED) - {"hugetlb-exec"}


def test_every_other_verdict_is_what_the_errno_implies(pairs: list[Row]) -> None:
    wrong = [row for row in pairs if row["verdict"] != implied(row["call"]).verdict]
    assert not wrong, wrong[:10]


def test_known_holes_are_the_ones_that_are_tried() -> None:
    """A hole that the rules know is tried on real kernels, and one that is tried is known."""
    assert {hole.name for hole in HOLES} == set(TRIED)
