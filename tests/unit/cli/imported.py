"""What a piece of code imports, in a Python of its own."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
HEAVY = {"pandas", "pyarrow", "rich", "numpy", "bcc"}


def imported(code: str) -> set[str]:
    """The modules that are there when ``code`` has run."""
    told = f"import sys\n{code}\nprint(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", told], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return set(done.stdout.split())
