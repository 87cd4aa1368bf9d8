"""How the unit tests are run: what tests/conftest.py and tests/leftovers.py see to."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CONFTEST = """
from tests.conftest import *
from tests import leftovers
from tests.leftovers import *
leftovers.LIMIT_S = 2
"""
TESTS = """
import os, subprocess, time
def test_child(): subprocess.Popen(["sleep", "5"])  # one that ended is reaped by its __del__
def test_waits(): subprocess.Popen(["sleep", "0"]).wait()
def test_folder(tmp_path): os.chdir(tmp_path)
def test_environment(): os.environ["LEFT"] = "1"
def test_tidy(monkeypatch, tmp_path): monkeypatch.setenv("X", "1"); monkeypatch.chdir(tmp_path)
def test_slow(): time.sleep(30)
"""


def ran(place: Path, tests: str, *words: str) -> list[str]:
    """Lines like ``test_x.py::test_child PASSED``, in the order of the tests."""
    (place / "conftest.py").write_text(CONFTEST)
    (place / "test_x.py").write_text(tests)
    (place / "test_y.py").write_text("def test_y(): pass")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-v", "-p", "no:cacheprovider", "--tb=line",
         f"--rootdir={place}", *words],
        cwd=place, env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    lines = done.stdout.splitlines()
    ended = [" ".join(line.split()[:2]) for line in lines if line.startswith("test_")]
    return ended + [line.strip() for line in lines if "has not ended" in line]


def test_what_a_test_leaves_is_told_at_once(tmp_path: Path) -> None:
    told = ran(tmp_path, TESTS)
    bad = {
        line.split()[0].rpartition("_")[2] for line in told if line.endswith(("ERROR", "FAILED"))
    }
    assert bad == {"child", "folder", "environment", "slow"}
    assert any("has not ended after 2 s" in line for line in told)


@pytest.mark.parametrize("seed", ["1", "2"])
def test_an_order_comes_again_by_its_seed(seed: str, tmp_path: Path) -> None:
    tests = "\n".join(f"def test_{number}(): pass" for number in range(20))
    plain = ran(tmp_path, tests)
    first = ran(tmp_path, tests, "--shuffle", seed)
    assert sorted(plain) == sorted(first) != first
    assert ran(tmp_path, tests, "--shuffle", seed) == first
    assert {first[0].partition("::")[0], first[-1].partition("::")[0]} == {"test_x.py", "test_y.py"}
