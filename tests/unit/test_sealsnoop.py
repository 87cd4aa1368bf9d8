"""The public API and the command, as README shows them."""

import doctest
import importlib.metadata
import subprocess
import sys
from pathlib import Path

import pytest

import sealsnoop
from tests.unit.cli.imported import imported
from tracer.cli.main import find
from tracer.recording.errors import StoreError

ROOT = Path(__file__).resolve().parents[2]
SAMPLE = ROOT / "samples" / "recordings" / "debian-6.1.seal"


def test_load_gives_data_frames() -> None:
    with sealsnoop.load(SAMPLE) as found:
        by_fd, decisions = found.by_fd, found.decisions
    assert {"pid", "fd", "name", "breach", "allowed"} <= set(by_fd)
    assert by_fd["breach"].sum() == (decisions["verdict"] == "breach").sum() == 8


def test_its_examples() -> None:
    assert doctest.testmod(sealsnoop).failed == 0
    assert doctest.testmod(sealsnoop).attempted >= 3


def test_load_says_what_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(StoreError):
        sealsnoop.load(tmp_path / "nothing.seal")


def test_importing_it_is_quick() -> None:
    assert (
        imported("import sealsnoop") & {"pandas", "pyarrow", "numpy", "rich", "argparse"} == set()
    )


def test_it_runs_as_a_module() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "sealsnoop", "--version"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout == f"sealsnoop {sealsnoop.__version__}\n"


def test_the_installed_command_is_main() -> None:
    (script,) = importlib.metadata.entry_points(group="console_scripts", name="sealsnoop")
    assert script.value == "sealsnoop:main"


@pytest.mark.parametrize("verb", sealsnoop.verbs())
def test_each_verb_is_a_class_of_that_name_with_a_summary_and_examples(verb: str) -> None:
    found = find(sealsnoop.verbs()[verb])
    assert found.name == verb
    assert found.summary[0].islower()
    assert "\n" not in found.summary
    assert found.settings()["epilog"].startswith("examples:\n")
