"""What a verb's ``--help`` may import: nothing that takes long, nothing that may be missing."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tracer.cli.main import VERBS

ROOT = Path(__file__).resolve().parents[3]
COSTLY = {"bcc", "numpy", "pandas", "pyarrow", "textual", "rich", "tracer.recording", "asyncio"}
CODE = """
import json, sys
from tracer.cli.main import main
try:
    main(sys.argv[1:])
except SystemExit as end:
    code = end.code
print(json.dumps([code, sorted(sys.modules)]))
"""


def modules_after(*argv: str) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-c", CODE, *argv], cwd=ROOT, capture_output=True, text=True, check=True
    )
    code, modules = json.loads(done.stdout.splitlines()[-1])
    assert code == 0
    assert "tracer.cli.verb" in modules
    return set(modules)


@pytest.mark.parametrize("argv", [["--version"], *([verb, "--help"] for verb in VERBS)])
def test_help_imports_nothing_costly(argv: list[str]) -> None:
    assert modules_after(*argv) & COSTLY == set()


@pytest.mark.slow
def test_the_costly_ones_would_be_seen() -> None:
    done = subprocess.run(
        [sys.executable, "-c", "import sys, numpy, pandas, pyarrow, rich, textual\n"
         "import tracer.recording; print(*sys.modules)"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert COSTLY - {"bcc"} <= set(done.stdout.split())


SAMPLE = "samples/recordings/debian-7.3.seal"
PRINTED = f"""
import contextlib, io, sys
from tracer.cli.main import main
with contextlib.redirect_stdout(io.StringIO()):
    main(["script", {SAMPLE!r}, "--ops", "mmap,write"])
    main(["script", {SAMPLE!r}, "--filter", "comm:w* name:~w size:>0 ret:EPERM seals:+WRITE"])
print("pandas" in sys.modules)
"""


def test_printing_imports_no_pandas() -> None:
    """A quarter of a second, which only tables need."""
    done = subprocess.run(
        [sys.executable, "-c", PRINTED], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "False"
