"""Files that are followed in a booted kernel: by --file, or because a command had to do with them;
and ``trace``, which names the one of the others who set a seal."""

import errno
from typing import Any

import pandas as pd
import pytest

from tests.kernel.booted import Booted, Run
from tests.kernel.scenes_followed import MORE_RUNS, RUNS

_SOON_S = 1.0

ON_ONE = True  # see conftest.py: one kernel, unless all are asked


def _of(run: Run, pid: int) -> dict[str, list[tuple[str, int]]]:
    """``{name: [(op, answer), …]}`` of what a process did."""
    events: pd.DataFrame = run.events
    mine = events[(events["pid"] == pid) & ~events["op"].isin(["map", "unmap", "evict"])]
    found: dict[str, list[tuple[str, int]]] = {}
    for name, op, answer in zip(mine["name"], mine["op"], mine["answer"], strict=True):
        found.setdefault(str(name), []).append((str(op), int(answer)))
    return found


def _runs(what: str) -> list[Any]:
    short, long = ([run for run in runs if run.startswith(what)] for runs in (RUNS, MORE_RUNS))
    return [*short, *(pytest.param(run, marks=pytest.mark.at_length) for run in long)]


ITS_OWN = [("mmap", -errno.EPERM)]
OF_THE_OTHER = [("add_seals", 0), ("write", -errno.EPERM)]


@pytest.mark.parametrize("name", _runs("file"))
def test_one_file_whoever_touches_it(kernel: Booted, name: str) -> None:
    run, facts = kernel.run(name), kernel.facts(f"owner-{name}")
    assert facts["done"]["errors"] == facts["other"]["errors"] == [errno.EPERM] * 2
    assert run.code == 0, run.stderr
    run.check_whole()
    assert _of(run, facts["pid"]) == {"memfd:named": ITS_OWN}
    assert _of(run, facts["other"]["pid"]) == {"memfd:named": OF_THE_OTHER}
    assert set(run.events["pid"]) <= {facts["pid"], facts["other"]["pid"]}
    gen = int(run.events["gen"].iloc[0])
    ino, dev = facts["ino"]["named"], facts["dev"]["named"]
    assert run.manifest["filters"]["files"] == [f"{dev >> 20}:{dev & 0xFFFFF}/{ino}/{gen}"]


@pytest.mark.parametrize("name", _runs("followed"))
def test_what_others_do_to_a_commands_files(kernel: Booted, name: str) -> None:
    run, facts = kernel.run(name), kernel.facts(f"owner-{name}")
    assert facts["done"]["errors"] == facts["other"]["errors"] == [errno.EPERM] * 2
    assert run.code == 0, run.stderr
    run.check_whole()
    made = [("create", facts["fds"]["named"]), ("truncate", 0), *ITS_OWN]
    also = [("create", facts["fds"]["unnamed"]), ("truncate", 0), *ITS_OWN]
    assert _of(run, facts["pid"]) == {"memfd:named": made, "memfd:unnamed": also}
    of_the_other = {"memfd:named": OF_THE_OTHER, "memfd:unnamed": OF_THE_OTHER}
    assert _of(run, facts["other"]["pid"]) == of_the_other, "nothing of the file of its own"
    assert set(run.events["pid"]) <= {facts["pid"], facts["other"]["pid"]}


def test_what_is_no_memory_file_is_refused(kernel: Booted) -> None:
    told = kernel.told("no-file")
    assert told.code == 1
    assert "--file: /usr/bin/env is no memory file" in told.stderr


def test_the_trace_prints_it_while_the_program_runs(kernel: Booted) -> None:
    """And who set the seal, though that is none of the command's processes."""
    facts, told = kernel.facts("traced"), kernel.told("trace")
    assert facts["done"]["errors"] == [errno.EPERM] * 2, "the kernel did refuse"
    assert facts["running"]
    seconds = (facts["shown_ns"] - facts["done"]["began_ns"]) / 1e9
    print(f"\n  {kernel.name}: the trace printed it after {seconds:.2f} s")
    assert 0 < seconds < _SOON_S, f"printed after {seconds:.1f} s"
    pid, other = facts["pid"], facts["other"]["pid"]
    lines = [line for line in told.stdout.splitlines() if "mmap SHARED" in line]
    assert len(lines) == 2
    for line, name in zip(lines, ("named", "unnamed"), strict=True):
        assert f"/{pid} mmap SHARED rw- 0+4096 memfd:{name} -> EPERM  F_SEAL_WRITE, set " in line
        assert line.endswith(f"/{other}")
    assert "its own" not in told.stdout
    assert (told.code, told.stderr) == (0, "")
