"""Seals added by one thread while another works on the file: every event is true or says not."""

import json
from collections import Counter

import numpy as np
import pandas as pd
import pytest

from tests.kernel.booted import Booted
from tracer.record import Flag

EPERM, EBUSY = -1, -16
SHRINK, GROW, WRITE, FUTURE_WRITE = 2, 4, 8, 16
OPS = ("write", "mmap", "truncate", "allocate", "punch_hole", "add_seals")
_RACED = int(Flag.RACED_SEALS | Flag.RACED_SIZE)


def _refused(events: pd.DataFrame) -> "pd.Series[bool]":
    """Whether the seals at entry forbid the operation; all mappings are shared and writable."""
    seals, size = events["seals"].to_numpy(), events["size"].to_numpy().astype("i8")
    length = events["length"].to_numpy().astype("i8")
    end = events["offset"].to_numpy() + length
    no_write = seals & (WRITE | FUTURE_WRITE) != 0
    resized = (length > size) & (seals & GROW != 0) | (length < size) & (seals & SHRINK != 0)
    grown = (end > size) & (seals & GROW != 0)
    op = events["op"].astype(str).to_numpy()
    forbidden = np.select(
        [np.isin(op, ["write", "mmap", "punch_hole"]), op == "truncate", op == "allocate"],
        [no_write, resized, grown],
    )
    return pd.Series(forbidden.astype(bool), events.index)


@pytest.mark.parametrize("method", ["fexit", "kprobe"])
def test_race(kernel: Booted, method: str, capsys: pytest.CaptureFixture[str]) -> None:
    run = kernel.run(f"race-{method}")
    assert run.code == 0, run.stderr
    # Of a file that is gone before its creation has returned, the name may be gone, too.
    whole = kernel.is_whole(run, method, ("name",))
    told = json.loads(run.stdout.splitlines()[0])
    events = run.events[run.events["op"].isin(list(OPS)) & (run.events["name"] == "memfd:race")]
    # every call once, with the answer that it had
    outcome = events["answer"].where(events["answer"] < 0, 0)
    missing = 0
    for op in OPS:
        counts = outcome[events["op"] == op].value_counts()
        found = [int(counts.get(answer, 0)) for answer in (0, EPERM, EBUSY)]
        if whole:
            assert found == told[op], op
        assert all(have <= did for have, did in zip(found, told[op], strict=True)), op
        missing += sum(told[op]) - sum(found)
    assert missing <= run.misses

    work = events[events["op"] != "add_seals"]
    flagged = work["flags"] & int(Flag.RACED_SEALS) != 0
    changed = work["seals"] != work["seals_after"]
    raced = work["flags"] & _RACED != 0
    wrong = work[(_refused(work) != (work["answer"] == EPERM)) & ~raced]
    with capsys.disabled():
        print(f"\n  {kernel.release} {method}: {len(events)} events, {int(raced.sum())} raced")
    assert flagged[changed].all()
    # A seal in the making forbids writable mappings before it shows (mm/memfd.c).
    early = work[flagged & ~changed]
    assert ((early["op"] == "mmap") & (early["answer"] == EPERM)).all()
    assert wrong.empty, f"{len(wrong)} contradictions, the first:\n{wrong.iloc[0]}"
    assert flagged.any(), "nothing raced, so nothing was shown"


@pytest.mark.parametrize("method", ["fexit", "kprobe"])
def test_tasks_that_compete_for_a_slot(kernel: Booted, method: str) -> None:
    """Their thread ids end alike, one comes again, and each call is told once, by its own task."""
    run = kernel.run(f"race-{method}")
    assert run.code == 0, run.stderr
    told = json.loads(run.stdout.splitlines()[1])
    events = run.events[run.events["op"] == "write"]
    for file, place, answer in (("open", 0, 8), ("sealed", 1, EPERM)):
        mine = events[events["name"] == f"memfd:slots-{file}"]
        found = Counter(zip(mine["pid"].tolist(), mine["answer"].tolist(), strict=True))
        assert found == {(int(pid), answer): counts[place] for pid, counts in told.items()}
        assert set(mine["checks"]) == {1}


@pytest.mark.parametrize("method", ["fexit", "kprobe"])
def test_what_a_creation_made_is_not_what_stands_at_its_number(kernel: Booted, method: str) -> None:
    """Another thread puts another file there before the call returns."""
    run = kernel.run(f"race-{method}")
    assert run.code == 0, run.stderr
    told = json.loads(run.stdout.splitlines()[2])
    assert told["raced"], "no number was taken, so nothing was shown"
    mine = run.events[(run.events["op"] == "create") & (run.events["tid"] == told["tid"])]
    mine = mine.assign(name=mine["name"].astype(object).fillna(""))
    names = mine.sort_values("time_ns")["name"].astype(str).tolist()
    made = [name for name in names if name != "memfd:creators-other"]
    assert len(made) == len(names) - 1, "the other file was made once"
    # Gone before its creation had returned: it has a number, and no name any more.
    unnamed = mine[mine["name"].astype(str) == ""]
    assert unnamed["ino"].is_unique
    found = {name for name in made if name}
    assert len(found) + len(unnamed) == len(made), "two creations made one file"
    wanted = [f"memfd:creators-{number}" for number in range(told["times"])]
    assert found <= set(wanted)
    assert len(wanted) - len(made) <= run.misses
    if not run.misses:
        assert all(name in (want, "") for name, want in zip(made, wanted, strict=True))
        assert (mine["ino"] != 0).all()
