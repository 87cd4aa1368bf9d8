"""A Debian as a folder: what of the checkout is in it, and what of this machine it sees."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.vm import roots


def test_the_copy_has_what_lies_here_and_keeps_its_own_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project, copy = tmp_path / "project", tmp_path / "root"
    left_out = (
        ".git/HEAD",
        ".mypy_cache/m",
        "tracer/__pycache__/a.pyc",
        ".venv/x",
        ".venv-lowest/x",
    )
    for name in ("tracer/a.py", ".gitignore", "samples/x/build/x", *left_out):
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        (project / name).write_text("here")
    for name in (".venv/bin/python", "tracer/gone.py"):
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        (copy / name).write_text("there")
    monkeypatch.setattr(roots, "PROJECT", project)
    roots.copy_checkout(copy)
    files = {str(file.relative_to(copy)) for file in copy.rglob("*") if file.is_file()}
    assert files == {"tracer/a.py", ".venv/bin/python", ".gitignore", "samples/x/build/x"}
    assert (copy / ".venv/bin/python").read_text() == "there"


def test_an_index_on_this_machines_disk_is_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "pypi/simple").mkdir(parents=True)
    (tmp_path / "wheels").mkdir()
    monkeypatch.setenv("PIP_EXTRA_INDEX_URL", f"file://{tmp_path}/pypi/simple https://host/simple")
    monkeypatch.setenv("PIP_FIND_LINKS", f"{tmp_path}/wheels {tmp_path}/absent")
    assert {one for one in roots._network() if one.is_relative_to(tmp_path)} == {
        tmp_path / "pypi",
        tmp_path / "wheels",
    }


@pytest.mark.skipif(os.geteuid() != 0, reason="NOT TESTED: mounting takes root")
def test_what_is_seen_cannot_be_written(tmp_path: Path) -> None:
    root = roots.Root("none", tmp_path / "root")
    for name in ("proc", "dev", "sys", "tmp", "run"):
        (root.path / name).mkdir(parents=True)
    seen, shared = tmp_path / "seen", tmp_path / "shared"
    for folder in (seen, shared):
        folder.mkdir()
    (tmp_path / "file").write_text("content")
    entry = root.entry([(shared, Path("/given"))], [seen, tmp_path / "file"])
    script = (
        f"set -e; {entry}\ncd {root.path}; touch given/new; cat .{tmp_path}/file; "
        f"! touch .{seen}/new 2>/dev/null; ! touch .{tmp_path}/file 2>/dev/null; ls proc/self/fd"
    )
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", script], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("content0\n")
    assert (shared / "new").exists()
    assert not (seen / "new").exists()
    assert not any((root.path / "proc").iterdir()), "mounted for the command alone"
