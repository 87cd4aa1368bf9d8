"""Changed recordings against every verb that reads one; `make fuzz` does twenty thousand."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.fuzz import bases
from tests.fuzz.mutate import Mutant
from tests.fuzz.run import Ran, judge

ROOT = Path(__file__).resolve().parents[3]


def _fuzz(first: int, count: int, controls: int) -> None:
    command = [sys.executable, "-m", "tests.fuzz", "--first", str(first), "--count", str(count)]
    done = subprocess.run(
        [*command, "--controls", str(controls)], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.startswith(f"{count} mutants, ")
    assert " 0 findings; " in done.stdout


def test_some() -> None:
    _fuzz(0, 12, 0)


@pytest.mark.slow
@pytest.mark.parametrize("first", range(1000, 1150, 50))
def test_many(first: int) -> None:
    _fuzz(first, 50, int(first == 1000))


def _judged(mutant: Mutant, *rans: Ran, whole: bool = True) -> list[str]:
    return list(judge(mutant, list(rans), whole))


def test_what_is_found() -> None:
    """The judge itself, which a fuzzer that finds nothing depends on."""
    path = Path("/x/1.seal")
    changed, fitted = Mutant(path), Mutant(path, fits=True)
    same = Mutant(path, differs=False)
    good = Ran("verify", 0)
    bad = Ran("verify", 2, out="  damage: x")
    assert _judged(changed, bad) == _judged(fitted, good) == _judged(same, good) == []
    assert _judged(changed, good) == ["verify says that it is whole"]
    assert len(_judged(same, bad)) == 1
    assert _judged(same, bad, whole=False) == []
    assert len(_judged(fitted, Ran("report", None, fault="Traceback"))) == 1
    assert len(_judged(fitted, Ran("report", 7))) == 1
    assert len(_judged(fitted, Ran("report", 0, seconds=11))) == 1
    assert len(_judged(fitted, Ran("report", 0, grown=1 << 31))) == 1
    assert len(_judged(fitted, Ran("report", 1, err="sealsnoop: no\n"))) == 1
    assert _judged(fitted, Ran("report", 1, err="sealsnoop: 1.seal: no\n")) == []
    assert len(_judged(fitted, Ran("verify", 2, out="DAMAGED"))) == 1


def test_what_it_begins_with(tmp_path: Path) -> None:
    """All tables, a hole that is declared, a tail, segments: there is something to change."""
    made = bases.make(tmp_path)
    assert sorted(made) == ["ended", "kept", "killed", "many", "real"]
    folders = {file.parent.name for path in made.values() for file in path.glob("*/*")}
    assert {"events", "objects", "names", "mappings", "losses", "clocks", "tail"} <= folders
