"""Runs the verbs and the API as a user does, and writes down all they give as one text.

What an output could take from the machine is set here, so that nothing has to be removed from it:
the zone, the terminal, the working directory, the version of sealsnoop, and when a recorder was
last heard of. The verbs are reached by the entry point that ``pyproject.toml`` names and the API as
documented, so that modules may move without a change here.
"""

import contextlib
import importlib
import io
import os
import shutil
import sys
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from tests.unit import zones
from tracer.analysis import api

ROOT = Path(__file__).resolve().parents[3]
HERE = Path(__file__).parent
VERSION = "0.0.golden"
ENVIRONMENT = {"TZ": "UTC", "COLUMNS": "100", "LINES": "40", "TERM": "dumb", "LC_ALL": "C.UTF-8"}
UNSET = ("NO_COLOR", "FORCE_COLOR", "CLICOLOR", "CLICOLOR_FORCE", "LANGUAGE", "PYTHONIOENCODING")
MISSING = "∅"
"""A cell without a value, which is not an empty text."""
SUMS = (
    "by_object", "by_fd", "by_process", "by_op", "by_rule", "listed", "seals", "late_seals",
    "busy", "losses",
)  # fmt: skip


def recordings() -> dict[str, Path]:
    """Where each recording lies, by its name: those of two kernels, and small ones made up.

    The small ones have what the others lack: losses, gaps, hostile names, an unexplained refusal,
    a recorder that was killed. tests/fuzz/bases.py and
    tests/unit/output/report_recordings.py wrote them.
    """
    folders = (ROOT / "samples" / "recordings", HERE / "recordings")
    return {path.stem: path for folder in folders for path in sorted(folder.glob("*.seal"))}


def policies() -> dict[str, Path]:
    """Where each policy lies, by its name."""
    paths = [*(ROOT / "samples" / "policies").glob("*.toml"), HERE / "every-claim.toml"]
    return {path.stem: path for path in sorted(paths)}


def _entry() -> Callable[[list[str]], int]:
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["scripts"]
    module, _, name = scripts["sealsnoop"].partition(":")
    found: Callable[[list[str]], int] = getattr(importlib.import_module(module), name)
    return found


def _rename_version(old: str, new: str) -> None:
    # Modules that took the name at their import have one of their own.
    for name, module in list(sys.modules.items()):
        ours = name.partition(".")[0] in ("tracer", "ui", "sealsnoop")
        if ours and getattr(module, "__version__", None) == old:
            vars(module)["__version__"] = new


@contextlib.contextmanager
def machine(folder: Path) -> Iterator[None]:
    """The same machine everywhere, in an empty folder that holds the recordings and policies."""
    for path in recordings().values():
        shutil.copytree(path, folder / path.name)
        if (folder / path.name / "lock").exists():  # a checkout has just touched it
            os.utime(folder / path.name / "lock", (0, 0))
    for path in policies().values():
        shutil.copy(path, folder)
    import tracer

    actual = tracer.__version__
    with pytest.MonkeyPatch.context() as patch:
        for name, value in ENVIRONMENT.items():
            patch.setenv(name, value)
        for name in UNSET:
            patch.delenv(name, raising=False)
        patch.chdir(folder)
        zones.changed()
        _rename_version(actual, VERSION)
        try:
            yield
        finally:
            _rename_version(VERSION, actual)
    zones.changed()


def run(*words: str, files: tuple[str, ...] = ()) -> str:
    """One command as a transcript: its words, exit code, both outputs, and ``files`` it wrote."""
    out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8", newline="") for _ in range(2))
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code: object = _entry()(list(words))
        except SystemExit as stop:
            code = stop.code
    parts = [f"$ sealsnoop {' '.join(words)}\n", _text(out), f"[exit {code}]\n"]
    if said := _text(err):
        parts += ["[standard error]\n", said]
    for name in files:
        parts += [f"[{name}]\n", Path(name).read_bytes().decode(), "\n"]
    return "".join(parts)


def _text(stream: io.TextIOWrapper) -> str:
    stream.flush()
    raw = stream.buffer
    assert isinstance(raw, io.BytesIO)
    return raw.getvalue().decode()


def frames(*names: str, rows: bool = True) -> str:
    """The DataFrames of the API for these recordings, types before values; ``rows``: all of them.

    Without, only the sums.
    """
    with api.load(*names) as found:
        tables = {name: getattr(found, name) for name in SUMS}
        tables["over_time()"] = found.over_time()
        tables["over_time(10 ms)"] = found.over_time(10_000_000)
        if rows:
            tables["decisions"] = found.decisions
            tables["objects"] = found.objects
            tables["events()"] = found.events()
        parts = [_frame(name, frame) for name, frame in tables.items()]
        parts.append(f"# unannounced\n{found.unannounced}\n# problems\n")
        return "".join([*parts, *(f"{sentence}\n" for sentence in found.problems)])


def _frame(name: str, frame: pd.DataFrame) -> str:
    types = "".join(f"  {column}: {_type(frame[column])}\n" for column in frame.columns)
    index = f"{type(frame.index).__name__} {frame.index.names}"
    # How many digits a time is written with differs between versions of pandas.
    times = {
        str(name): frame[name].map(
            lambda one: one.isoformat(timespec="nanoseconds"), na_action="ignore"
        )
        for name in frame.select_dtypes("datetimetz")
    }
    rows = frame.assign(**times).to_csv(na_rep=MISSING, lineterminator="\n")
    return f"# {name}: {len(frame)} rows, {index}\n{types}{rows}"


def _type(column: "pd.Series[Any]") -> str:
    """The type of a column, by the names of pandas 3: 2 calls texts ``object``."""
    if isinstance(column.dtype, pd.CategoricalDtype):
        order = " < " if column.dtype.ordered else ", "
        return f"category {order.join(map(str, column.dtype.categories))}"
    if pd.__version__.startswith("2.") and column.dtype == object:
        texts = pd.api.types.infer_dtype(column, skipna=True) in ("string", "empty")
        return "str" if texts else "object"
    return str(column.dtype)
