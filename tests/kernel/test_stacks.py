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
from tests.kernel.scenes_stacks import BRIEF, PROGRAMS, STACKS
from tests.unit.recording import store_records
from tests.unit.stacks.elsewhere import read_elsewhere
from tracer.analysis.callers import read
from tracer.record import EVENT
from tracer.recording.format import TABLES
from tracer.recording.reader import Recording
from tracer.stacks import elf
from tracer.stacks.names import Names
from tracer.stacks.shown import Callers

ON_ONE = True  # see conftest.py: one kernel, unless all are asked
CONTEXT = ("stack_map",)
OTHERS = ("python3", "jit")
BRIEF_CHAIN = ["brief_call", "brief_work", "main", "_start"]
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


def chains(run: Run, name: str, known_functions: list[str] = CHAIN) -> list[list[str]]:
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
            found.append([one for one in chain if one in known_functions])
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
    assert len(refused) == REFUSED * len(STACKS) + len(OTHERS)
    assert (run.events[run.events["answer"] >= 0]["user_stack"] == 0).all()
    states = refused.merge(callers, left_on="user_stack", right_on="sample")[["comm", "state"]]
    jitted = states["comm"].astype(str) == "jit"
    assert jitted.sum() == 1
    assert set(states[jitted]["state"].astype(str)) == {"unknown"}
    assert set(states[~jitted]["state"].astype(str)) == {"whole"}
    assert set(callers["maps_from"].astype(str)) == {"kernel"}


def frames_of(run: Run, comm: str, column: str = "stack") -> list[pd.DataFrame]:
    """Of each event with a sample by a command: its frames, the innermost first."""
    callers, stacks = run.table("callers"), run.table("stacks")
    events = run.events[(run.events["comm"].astype(str) == comm) & (run.events["user_stack"] > 0)]
    found = events.merge(callers, left_on="user_stack", right_on="sample", suffixes=("", "_of"))
    number = "kernel_stack_of" if column == "kernel_stack" else column
    return [stacks[stacks["stack"] == one].sort_values("depth") for one in found[number]]


def named(run: Run, comm: str) -> list[list[tuple[str, str]]]:
    """The same as function and file, looked up on this machine."""
    with Recording.open(run.path) as recording, Names() as names:
        stacks = read(recording)
        shown = Callers(stacks, names)
        events = run.events[run.events["comm"].astype(str) == comm]
        found = []
        for sample in events["user_stack"][events["user_stack"] > 0]:
            stack = stacks.of(int(sample))
            assert stack is not None
            found.append(
                [
                    (one.place.function, one.frame.module.name if one.frame.module else "")
                    for one in shown.calls(stack)
                ]
            )
        return found


@pytest.mark.parametrize("method", METHODS)
def test_the_kernels_own_functions_stand_below(kernel: Booted, method: str) -> None:
    """From what our hook is on, or was, to where the system call came in; by name alone."""
    run = kernel.run(f"stacks-{method}")
    ways = {
        op: {tuple(one.decode() for one in frames["function"]) for frames in found}
        for op, found in (
            (op, [
                one
                for name in STACKS
                for one in kernels_of(run, op, f"stacks-{name}"[:15])
            ])
            for op in ("write", "mmap", "truncate", "add_seals")
        )
    }  # fmt: skip
    for op, inner in (
        ("write", "vfs_write"), ("mmap", "ksys_mmap_pgoff"), ("truncate", "notify_change"),
        ("add_seals", "do_fcntl"),
    ):  # fmt: skip
        assert ways[op]
        for way in ways[op]:
            assert inner in way, (op, way)
            assert way[-2:] == ("do_syscall_64", "entry_SYSCALL_64_after_hwframe")
            assert len(way) < 20
            assert not [one for one in way if "bpf" in one or "probe" in one or "rethook" in one]


def kernels_of(run: Run, op: str, comm: str) -> list[pd.DataFrame]:
    callers, stacks = run.table("callers"), run.table("stacks")
    events = run.events[run.events["user_stack"] > 0]
    assert (events["user_stack"] == events["kernel_stack"]).all()
    mine = events[(events["op"].astype(str) == op) & (events["comm"].astype(str) == comm)]
    kernel = callers.set_index("sample")["kernel_stack"].loc[mine["user_stack"]]
    assert (kernel > 0).all()
    return [stacks[stacks["stack"] == one].sort_values("depth") for one in kernel]


@pytest.mark.parametrize("method", METHODS)
def test_no_address_of_the_kernel_is_kept(kernel: Booted, method: str) -> None:
    rows = kernel.run(f"stacks-{method}").table("stacks")
    kernels = rows[rows["what"].astype(str) == "kernel"]
    assert len(kernels)
    assert (kernels["offset"] < 1 << 16).all()
    assert not [one for one in kernels["function"] if b"ffffffff" in one]


@pytest.mark.parametrize("method", METHODS)
def test_debians_python_as_it_is(kernel: Booted, method: str) -> None:
    """Built without frame pointers, and stripped: what it exports has names."""
    [found] = named(kernel.run(f"stacks-{method}"), "python3")
    functions = [function for function, _ in found]
    assert found[0][1] == "libc.so.6"
    assert "pwrite" in functions[0]
    assert "_PyEval_EvalFrameDefault" in functions
    assert functions.index("_PyEval_EvalFrameDefault") < functions.index("Py_RunMain")
    assert functions.index("Py_RunMain") < functions.index("Py_BytesMain")
    assert functions[-1] == "_start"


@pytest.mark.parametrize("method", METHODS)
def test_a_perf_map_names_what_lies_in_no_file(kernel: Booted, method: str) -> None:
    run = kernel.run(f"stacks-{method}")
    [frames] = frames_of(run, "jit")
    assert frames["what"].astype(str).tolist()[:1] == ["jit"]
    assert frames["function"].tolist()[:1] == [b"jitted <b>write"]
    assert frames["offset"].tolist()[:1] == [0]


@pytest.mark.at_length
@pytest.mark.parametrize("method", METHODS)
def test_each_of_a_thousand_short_programs_is_named(kernel: Booted, method: str) -> None:
    run = kernel.run(f"stacks_brief-{method}")
    assert run.stdout.split() == [str(PROGRAMS)]
    found = chains(run, BRIEF, BRIEF_CHAIN)
    if kernel.is_whole(run, method, CONTEXT):
        assert found == [BRIEF_CHAIN] * PROGRAMS
        assert set(run.table("callers")["state"].astype(str)) == {"whole"}
        pids = run.events[run.events["user_stack"] > 0]["pid"]
        assert pids.nunique() == PROGRAMS


@pytest.mark.at_length
@pytest.mark.parametrize("method", METHODS)
def test_debians_qemu_as_it_is(kernel: Booted, method: str) -> None:
    run = kernel.run(f"stacks_qemu-{method}")
    found = named(run, "qemu-system-x86")
    ways = [[function for function, _ in one] for one in found]
    assert all(one[-1] == "_start" for one in ways)
    assert all("qemu_init" in one for one in ways)
    ram = [one for one in ways if "qemu_memfd_create" in one]  # before that it tries what there is
    assert [one[0] for one in ram if one[0].startswith("memfd_create")]
    assert [one[0] for one in ram if "fcntl" in one[0]]
    for one in ram:
        at = one.index("qemu_memfd_create")
        assert at < one.index("user_creatable_complete") < one.index("qemu_init")
    assert set(run.table("callers")["state"].astype(str)) == {"whole"}


def test_elsewhere_with_debug_files_alone(kernel: Booted, tmp_path: Path) -> None:
    """What ran is not there, nor what it was compiled from."""
    run = kernel.run(f"stacks-{METHODS[0]}")
    program = HERE / "programs" / "build" / "stacks-shared"
    with program.open("rb") as file:
        build_id = elf.read(file.fileno()).build_id
    debug = tmp_path / "debug"
    path = debug / ".build-id" / build_id[:2] / f"{build_id[2:]}.debug"
    path.parent.mkdir(parents=True)
    subprocess.run(["objcopy", "--only-keep-debug", program, path], check=True)
    ran = read_elsewhere(tmp_path / "root", run.path, debug, HERE / "programs" / "build")
    lines = [line.strip() for line in ran.stdout.splitlines()]
    mine = [line.split()[0] for line in lines if line.endswith(" in stacks-shared")]
    assert mine, ran.stderr
    whole = [one for one in mine if one in CHAIN]
    assert whole[: len(CHAIN)] == CHAIN
    assert len(whole) == len(mine)
    assert [line for line in lines if line.startswith("stacks-static+0x")]


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
    told = {*callers["stack"], *callers["kernel_stack"]} - {0}
    assert set(run.table("stacks")["stack"]) == told
