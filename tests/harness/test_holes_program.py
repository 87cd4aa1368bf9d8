"""The holes program on this machine's own kernel: it tries all, and its controls hold anywhere."""

import subprocess
from pathlib import Path

import pytest

from tests.harness.sample_programs import built, needed
from tests.kernel.ground_truth import Truth, load_truth
from tests.kernel.implied import implied

pytestmark = needed


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return built("holes", tmp_path_factory.mktemp("holes"))


@pytest.fixture(scope="module")
def truth(program: Path) -> Truth:
    out = program.parent / "truth.jsonl"
    done = subprocess.run(
        [program, "--out", out], capture_output=True, text=True, check=True, timeout=60
    )
    told = done.stderr.splitlines()
    found = load_truth(out)
    assert done.stdout == ""
    assert len(told) == sum(call["role"] == "hole" for call in found.calls)
    return found


def test_every_hole_is_tried(truth: Truth) -> None:
    tried = [call["hole"] for call in truth.calls if call["role"] == "hole"]
    assert tried.count("future-write-merge") == 3
    assert tried.count("hugetlb-future-write") == 1
    assert tried.count("hugetlb-grow") == 2
    assert tried.count("exec-implies-write") == 1
    assert all((call["opened"] is None) == (call["role"] != "hole") for call in truth.calls)
    assert all((call["must"] is None) == (call["role"] != "control") for call in truth.calls)


def test_controls_hold(truth: Truth) -> None:
    controls = [call for call in truth.calls if call["role"] == "control"]
    assert len(controls) >= 13
    for call in controls:
        if call["errno"] == "ENOMEM":  # no huge page in reserve
            assert (call["object"], call["must"]) == ("hugetlb", "ok")
        else:
            assert (call["errno"] or "ok") == call["must"], call


def test_what_is_implied_by_the_answers_is_what_the_program_saw(truth: Truth) -> None:
    """Breaches come from seals and answers alone, ``opened`` from bytes, sizes and modes."""
    breaches = [call["i"] for call in truth.calls if implied(call).verdict == "breach"]
    assert breaches == [call["i"] for call in truth.calls if call["opened"]]
    assert not [call for call in truth.calls if implied(call).verdict == "unexplained"]


def test_wrong_arguments(program: Path, tmp_path: Path) -> None:
    assert subprocess.run([program, "--what"], capture_output=True, check=False).returncode == 2
    missing: list[str | Path] = [program, "--out", tmp_path / "missing" / "x"]
    assert subprocess.run(missing, capture_output=True, check=False).returncode == 1
