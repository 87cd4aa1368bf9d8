"""Who called: of each refused call every frame to `_start`, and nothing of what the stack held."""

import bisect
import subprocess
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from tests.kernel.booted import Booted, Run
from tests.kernel.guest_tools import HERE
from tests.kernel.scenes_decisions import METHODS
from tests.kernel.scenes_stacks import STACKS
from tests.unit.recording import store_records
from tracer.record import EVENT
from tracer.recording.format import TABLES
from tracer.recording.reader import Recording

ON_ONE = True  # see conftest.py: one kernel, unless all are asked
CONTEXT = ("stack_map",)
REFUSED = 4 * 3  # by the process, its child, and what that executes
CHAIN = ["stacks_call", "stacks_compare", "stacks_sort", "stacks_secret", "main", "_start"]


def symbols(program: Path) -> tuple[list[int], list[str]]:
    """Addresses and names of its functions, by nm."""
    text = subprocess.run(["nm", program], capture_output=True, text=True, check=True).stdout
    rows = [line.split() for line in text.splitlines()]
    found = sorted((int(row[0], 16), row[2]) for row in rows if len(row) == 3 and row[1] in "tTwW")
    return [address for address, _ in found], [name for _, name in found]


def paths(run: Run) -> dict[int, str]:
    pieces: dict[int, bytes] = defaultdict(bytes)
    for row in run.table("modules").sort_values(["module", "part"]).to_dict("records"):
        pieces[row["module"]] += row["text"]
    return {module: path.decode() for module, path in pieces.items()}


def chains(run: Run, name: str) -> list[list[str]]:
    """Of each event with a stack by the program ``name``: its functions, the innermost first."""
    places, names = symbols(HERE / "programs" / "build" / f"stacks-{name}")
    known = paths(run)
    frames: dict[int, list[dict[Any, Any]]] = defaultdict(list)
    for row in run.table("stacks").sort_values(["stack", "depth"]).to_dict("records"):
        frames[row["stack"]].append(row)
    found = []
    for row in run.table("callers").to_dict("records"):
        chain = []
        for one in frames[row["stack"]]:
            if known.get(one["module"], "").endswith(f"/stacks-{name}"):
                at = one["offset"] - (not one["interrupted"])
                chain.append(names[bisect.bisect_right(places, at) - 1])
        if chain:
            found.append([one for one in chain if one in CHAIN])
    return found


@pytest.mark.parametrize("method", METHODS)
def test_every_refused_call_has_a_whole_stack(kernel: Booted, method: str) -> None:
    run = kernel.run(f"stacks-{method}")
    assert run.code == 0, run.stderr
    refused = run.events[run.events["answer"] < 0]
    callers = run.table("callers")
    assert set(refused["user_stack"]) == set(callers["sample"]) - {0}
    if not kernel.is_whole(run, method, CONTEXT):
        return
    assert len(refused) == REFUSED * len(STACKS)
    assert (run.events[run.events["answer"] >= 0]["user_stack"] == 0).all()
    assert set(callers["state"].astype(str)) == {"whole"}
    assert set(callers["maps_from"].astype(str)) == {"kernel"}


@pytest.mark.parametrize("name", STACKS)
@pytest.mark.parametrize("method", METHODS)
def test_each_frame_is_there(kernel: Booted, method: str, name: str) -> None:
    run = kernel.run(f"stacks-{method}")
    found = chains(run, name)
    if kernel.is_whole(run, method, CONTEXT):
        assert found == [CHAIN] * REFUSED
    else:  # a mapping that was not told ends a stack, and makes none that is wrong
        assert found
        assert all(one == CHAIN[: len(one)] for one in found)


def buffers(path: Path) -> Iterator[bytes]:
    """All that a recording holds: its files as they are, and each column unpacked."""
    for file in path.rglob("*"):
        if file.is_file():
            yield file.read_bytes()
    with Recording.open(path) as recording:
        for name in TABLES:
            for table in recording.tables(name):
                for column in table.columns:
                    for chunk in column.chunks:
                        whole = chunk.dictionary if pa.types.is_dictionary(chunk.type) else chunk
                        yield from (bytes(one) for one in whole.buffers() if one is not None)


def holds(path: Path, secret: bytes) -> bool:
    """Whether any eight bytes of it are anywhere there."""
    windows = [secret[at : at + 8] for at in range(len(secret) - 7)]
    return any(window in data for data in buffers(path) for window in windows)


@pytest.mark.parametrize("method", METHODS)
def test_nothing_of_the_stack_is_kept(kernel: Booted, method: str) -> None:
    run = kernel.run(f"stacks-{method}")
    secrets = [line.split()[0] for line in run.stdout.splitlines() if line.endswith(" 4")]
    assert len(secrets) == 2 * len(STACKS), "the first process and what its child executes"
    for secret in secrets:
        assert not holds(run.path, bytes.fromhex(secret))
        assert not holds(run.path, secret.encode())


def test_a_leak_would_be_found(tmp_path: Path) -> None:
    """One word of the secret in one column of one record."""
    secret = bytes(range(100, 132))
    records = store_records.numbered(3)
    path = store_records.write(tmp_path / "clean.seal", records)
    assert not holds(path, secret)
    events = records.view(EVENT)
    events["offset"][1] = np.frombuffer(secret[8:16], "<i8")[0]
    assert holds(store_records.write(tmp_path / "leak.seal", records), secret)


def test_frames_are_few_rows(kernel: Booted) -> None:
    """Each stack once, however many calls were made there."""
    run = kernel.run(f"stacks-{METHODS[0]}")
    callers: pd.DataFrame = run.table("callers")
    assert callers["stack"].nunique() < len(callers)
    assert run.table("stacks")["stack"].nunique() == callers["stack"].nunique()
