"""The C programs of samples/, built anew for a test."""

import subprocess
from pathlib import Path

import pytest

SAMPLES = Path(__file__).parents[2] / "samples"
_NOEXEC = Path("/proc/sys/vm/memfd_noexec")

needed = [
    pytest.mark.skipif(
        _NOEXEC.exists() and _NOEXEC.read_text().strip() != "0",
        reason="vm.memfd_noexec seals every memfd on its own",
    ),
]
"""Marks of a module that runs one."""


def built(name: str, build: Path) -> Path:
    """The program ``name`` in the folder ``build``; the compiler says nothing."""
    made = subprocess.run(
        ["make", "-C", SAMPLES / name, f"BUILD={build}"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (made.returncode, made.stderr) == (0, "")
    return build / name
