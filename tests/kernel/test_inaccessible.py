"""F_SEAL_INACCESSIBLE as proposed in January 2022, on a kernel that has it.

Whatever the program was answered is the truth; what it had to be answered is in the program.
"""

import json
from collections import Counter
from typing import Any

import pandas as pd
import pytest

from tests.kernel.booted import Booted, Run, Told
from tests.kernel.judged import judged
from tests.kernel.matrix import METHODS
from tests.kernel.scenes_inaccessible import MANY_TRIES, TRIES
from tracer.record import Flag

EPERM, EINVAL = -1, -22
SHRINK, INACCESSIBLE = 0x2, 0x20
PAGE = 4096
_RACED = int(Flag.RACED_SEALS | Flag.RACED_SIZE)
Call = dict[str, Any]


@pytest.fixture(params=["fexit", "kprobe"])
def bpf_method(request: pytest.FixtureRequest) -> str:
    value: str = request.param
    return value


@pytest.fixture(params=METHODS)
def method(request: pytest.FixtureRequest) -> str:
    value: str = request.param
    return value


def calls(run: Run) -> list[Call]:
    return [json.loads(line) for line in run.stdout.splitlines()]


def beside(run: Run) -> list[tuple[Call, dict[Any, Any]]]:
    """Each call with its judged decision: one thread made them, in this order."""
    rows = judged(run.path)
    made = calls(run)
    assert rows["op"].astype(str).tolist() == [call["op"] for call in made]
    return list(zip(made, rows.to_dict("records"), strict=True))


def claims(told: Told) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(told.stdout)["recordings"][0]["claims"]
    return found


def test_the_kernel_does_what_the_proposal_says(proposal: Booted, method: str) -> None:
    run = proposal.run(f"calls-{method}")
    assert run.code == 0, run.stdout
    assert [call for call in calls(run) if call["answer"] != call["must"]] == []


def test_every_call_is_recorded_and_judged(proposal: Booted, method: str) -> None:
    run = proposal.run(f"calls-{method}")
    run.check_whole()
    for call, row in beside(run):
        if call["op"] != "create" or call["answer"] < 0:  # there the answer is a descriptor
            assert row["answer"] == call["answer"], (call, row)
        if call["op"] == "create" and call["answer"] == EINVAL:
            assert row["verdict"] == "error", (call, row)
        else:
            wanted = "blocked" if call["answer"] < 0 else "allowed"
            assert (row["verdict"], row["expected"] != "unknown") == (wanted, True), (call, row)


def test_the_reason_is_the_seal(proposal: Booted, method: str) -> None:
    for call, row in beside(proposal.run(f"calls-{method}")):
        if call["answer"] < 0 and call["op"] not in ("create", "add_seals"):
            first = "SHRINK" if row["seals"] & SHRINK and row["length"] < row["size"] else ""
            by = first if first and call["op"] == "truncate" else "INACCESSIBLE"
            assert row["reason"] == by, (call, row)


def test_the_self_test_tells_the_seal_from_exec(proposal: Booted, method: str) -> None:
    told = proposal.run(f"calls-{method}").manifest["self_test"]
    assert told["bit_0x20"] == "inaccessible"
    assert told["variants"]["bit_0x20"] == "inaccessible"
    assert told["unexplained"] == []


def test_the_audit_of_a_quiet_guest_passes(proposal: Booted) -> None:
    told = proposal.told("audit-quiet")
    results = {claim["claim"]: claim["result"] for claim in claims(told)}
    assert (told.code, set(results.values())) == (0, {"pass", "not-applicable"}), results
    assert results["never-mapped"] == results["no-breach"] == "pass"


# ---- swap -------------------------------------------------------------------------------------


def test_its_pages_are_never_written_to_swap(proposal: Booted) -> None:
    """Ordinary files, reclaimed alike before and after them, are in swap to the last page."""
    files = proposal.facts("swap")["files"]
    assert [file["file"] for file in files] == ["ordinary", "born", "sealed", "ordinary"]
    for file in files:
        size = file["size"]
        in_memory = {"shmem": size, "anon": 0, "swap": 0, "used": 0, "allocated": size}
        in_swap = {"shmem": 0, "anon": 0, "swap": size, "used": size, "allocated": size}
        scanned = {state: file[state].pop("pgscan") for state in ("filled", "reclaimed", "closed")}
        assert file["filled"] == in_memory
        assert file["reclaimed"] == (in_swap if file["file"] == "ordinary" else in_memory)
        assert file["closed"] == {"shmem": 0, "anon": 0, "swap": 0, "used": 0}
        assert scanned["filled"] == 0
        assert scanned["reclaimed"] >= size // PAGE, "it did try each page"


# ---- the race ---------------------------------------------------------------------------------


def test_every_decision_of_the_race_is_right_or_says_that_it_raced(
    proposal: Booted, capsys: pytest.CaptureFixture[str]
) -> None:
    run = proposal.run("race")
    assert run.code == 0, run.stderr
    run.check_whole()
    made = json.loads(run.stdout)
    rows = judged(run.path)
    for op in ("mmap", "read", "truncate", "add_seals"):
        mine = rows[rows["op"] == op]
        refused = int((mine["answer"] == EPERM).sum())
        assert [len(mine) - refused, refused] == made[op], op
    assert made["add_seals"] in ([TRIES, 0], [MANY_TRIES, 0])
    raced = rows["flags"] & _RACED != 0
    verdicts = Counter(rows["verdict"].astype(str))
    with capsys.disabled():
        print(f"\n  {proposal.release}: {len(rows)} decisions, {raced.sum()} raced, {verdicts}")
    assert set(verdicts) <= {"allowed", "blocked", "indeterminate"}
    assert raced[rows["verdict"] == "indeterminate"].all()
    assert raced.any(), "nothing raced, so nothing was shown"
    calm = rows[~raced]
    pd.testing.assert_series_equal(
        calm["verdict"] == "blocked", _refused(calm), check_names=False, check_dtype=False
    )


def _refused(rows: pd.DataFrame) -> "pd.Series[bool]":
    """What the proposal's rules say of the race's calls, written once more by hand."""
    sealed = rows["seals"] & INACCESSIBLE != 0
    within = rows["offset"] < rows["size"]
    return sealed & ((rows["op"] == "mmap") | (rows["op"] == "read") & within)


# ---- a kernel that does not keep its word ---------------------------------------------------


def test_the_breach_that_no_healthy_kernel_can_show(
    broken_proposal: Booted, bpf_method: str
) -> None:
    run = broken_proposal.run(f"calls-{bpf_method}")
    assert run.code == 1, "the program says that something was not as it must be"
    run.check_whole()
    opened = [call["answer"] != call["must"] for call in calls(run)]
    assert Counter(call["op"] for call, bad in zip(calls(run), opened, strict=True) if bad) == {
        "mmap": 6
    }
    found = [row["verdict"] == "breach" for _, row in beside(run)]
    assert found == opened
    for _, row in beside(run):
        if row["verdict"] == "breach":
            assert (row["reason"], row["expected"]) == ("INACCESSIBLE", "EPERM")


def test_the_audit_fails_where_the_guest_is_mapped(broken_proposal: Booted) -> None:
    told = broken_proposal.told("audit-mapped")
    failed = {claim["claim"] for claim in claims(told) if claim["result"] == "fail"}
    assert (told.code, failed) == (2, {"never-mapped", "no-breach"})
