"""What is easily recorded wrongly, held against its own truth: the same for every method.

The programs are those of programs/awkward.sh; ``name`` is that of the recording.
"""

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

from tests.kernel.booted import Booted, Run
from tests.kernel.ground_truth import compare, compare_mappings
from tests.kernel.implied import implied
from tests.kernel.judged import ON_ANY_FILE, beside_truth, judged
from tracer.record import NO_SYSCALL
from tracer.words import Flag

EPERM, EACCES, EINVAL, EFBIG = -1, -13, -22, -27
COMPAT = {"32": ("-m32",), "64": ("-m64", "-mcmodel=small", "-mno-red-zone")}
"""Builds of programs/compat.c: a 32-bit process, and a 64-bit one that calls by int 0x80."""
Call = dict[str, Any]


def check_compat(kernel: Booted, name: str, bits: str, named: bool = True) -> None:
    """A 32-bit process, or a 64-bit one by int 0x80: no number or descriptor is made up.

    ``named``: the method reports the name that a refused memfd_create asked for.
    """
    run, truth = kernel.run(name), kernel.truth(f"{name}-{bits}")
    calls = compare(truth, run.events, ops=run.hooked, **ON_ANY_FILE)
    mappings = compare_mappings(truth, run.events)
    assert calls.ok, calls
    assert mappings.ok, mappings
    assert calls.expected > 60
    own = run.events[run.events["pid"].isin(truth.pids)]
    assert set(own["nr"]) == {NO_SYSCALL}
    refused = own[(own["op"] == "create") & (own["answer"] < 0)]
    assert refused["name"].dropna().tolist() == ([f"memfd:compat-{bits}"] if named else [])
    assert len(refused) == 1
    rows = beside_truth(run.path, truth, run.hooked)
    assert [row["verdict"] for row in rows] == [implied(row["call"]).verdict for row in rows]


def check_nested(kernel: Booted, name: str) -> None:
    """Every line of awkward.py is one decision; whether F_ADD_SEALS cuts, the kernel says.

    Of a set-uid file the kernel takes that bit inside the write or allocation, refused or not.
    """
    pairs = _pairs(kernel, name, "nested")
    said = [call for _, call in pairs]
    inside = [after for before, after in pairwise(said) if before["op"] == after["op"] == "chmod"]
    assert len(inside) >= 6
    assert any(after["answer"] == EPERM for before, after in pairwise(said) if before in inside)
    wide = [call for call in said if call.get("arg", 0) >> 32]
    assert {call["answer"] for call in wide} in ({EINVAL}, {0})
    cut = 0xFFFFFFFF if wide[0]["answer"] == 0 else 2**64 - 1
    for row, call in pairs:
        if call["op"] == "add_seals":
            assert row["arg"] == call["arg"] & cut, (row, call)
    assert not {row["verdict"] for row, _ in pairs} & {"indeterminate", "breach", "unexplained"}


def check_limits(kernel: Booted, name: str) -> None:
    """A write over RLIMIT_FSIZE has its requested length, and what chattr forbids is an error."""
    pairs = _pairs(kernel, name, "limits")
    assert EFBIG in [call["answer"] for _, call in pairs]
    short = [call for _, call in pairs if call["op"] == "write" and call["answer"] >= 0]
    assert any(call["answer"] < call["length"] for call in short)
    for row, call in pairs:
        if call["answer"] == EACCES:
            assert (row["verdict"], row["reason"]) == ("error", "append-only file"), (row, call)
            assert row["flags"] & Flag.APPEND_ONLY, (row, call)
        else:
            verdict = "error" if call["answer"] < 0 else "allowed"
            assert row["verdict"] == verdict, (row, call)


def _pairs(kernel: Booted, name: str, program: str) -> list[tuple[Call, Call]]:
    """(judged decision, call) in the order of the calls; every call is one decision."""
    run = kernel.run(name)
    said: list[Call] = list(map(json.loads, _lines(run, program)))
    rows: list[Call] = judged(run.path).to_dict("records")  # type: ignore[assignment]
    rows = [row for row in rows if row["pid"] == said[0]["pid"]]
    assert [_shown(row) for row in rows] == [_shown(call) for call in said]
    for row, call in zip(rows, said, strict=True):
        asked = {name: call[name] for name in ("offset", "length") if name in call}
        assert {name: row[name] for name in asked} == asked, (row, call)
    return list(zip(rows, said, strict=True))


def _lines(run: Run, program: str) -> list[str]:
    path = Path(f"{run.path.with_suffix('')}-{program}.jsonl")
    return path.read_text().splitlines()


def _shown(row: Call) -> tuple[str, int, int]:
    """An address differs from run to run."""
    answer = row["answer"]
    return str(row["op"]), min(answer, 1) if row["op"] == "mmap" else answer, row["seals_after"]


def check_whole(kernel: Booted, name: str, method: str) -> None:
    run = kernel.run(name)
    assert run.code == 0, run.stderr
    assert kernel.is_whole(run, method), run.stderr
