"""Every recorded call of the workload is judged as its own errno says, and nothing else is."""

import errno
import json
from collections import Counter

import pytest

from tests.kernel.booted import Booted
from tests.kernel.implied import Row, implied, punched_nothing
from tests.kernel.judged import bad, beside_truth, implied_counts, judged, table
from tracer.recording.reader import Recording
from tracer.rules.variants import VARIANTS
from tracer.words import Seal

METHODS = ("fexit", "kprobe")
WITH_HOLES = ("holes-fexit", "holes-kprobe", "memfd_test")
"""Recordings of programs that go through known holes: tests of their own tell which."""


@pytest.fixture(params=METHODS)
def method(request: pytest.FixtureRequest) -> str:
    value: str = request.param
    return value


@pytest.fixture(params=["default", "quick"])
def profile(request: pytest.FixtureRequest) -> str:
    value: str = request.param
    return value


@pytest.fixture
def pairs(kernel: Booted, profile: str, method: str) -> list[Row]:
    """Judged decisions, each with its ``call`` and what that implies."""
    run = kernel.run(f"{profile}-{method}")
    run.check_whole()
    rows = beside_truth(run.path, kernel.truth(f"{profile}-{method}"))
    return [row | {"implied": implied(row["call"])} for row in rows]


def test_the_self_test_chose_the_variants(kernel: Booted, profile: str, method: str) -> None:
    """What follows proves nothing about a judge that was left to guess."""
    with Recording.open(kernel.run(f"{profile}-{method}").path) as recording:
        told = recording.manifest.tested
    assert told.ran
    assert told.unexplained == ()
    assert set(told.variants) == set(VARIANTS)
    assert told.open == ()
    if method == "kprobe":  # fexit: see test_what_preemption_takes_is_declared
        assert told.hooks is not None
        hooks = told.hooks.values()
        assert all(hook.seen == hook.expected and not hook.extra for hook in hooks)


def test_every_verdict_is_what_the_errno_implies(pairs: list[Row]) -> None:
    wrong = [
        f"{row['verdict']} ({row['rule']}: {row['reason']}), but the call implies "
        f"{row['implied'].verdict}: {row['call']}"
        for row in pairs
        if row["verdict"] != row["implied"].verdict
    ]
    assert not wrong, "\n".join([f"{len(wrong)} of {len(pairs)}", *wrong[:20]])
    assert not any(punched_nothing(row["call"]) for row in pairs)
    assert len(pairs) > 1000


def test_counts(
    kernel: Booted, profile: str, method: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The same by counting alone, which trusts no pairing."""
    run, truth = kernel.run(f"{profile}-{method}"), kernel.truth(f"{profile}-{method}")
    rows = judged(run.path)
    got = Counter(zip(rows["op"].astype(str), rows["verdict"].astype(str), strict=True))
    with capsys.disabled():
        print(f"\n  {kernel.release} {profile} {method}: {len(rows)} decisions judged")
        print(table(rows["verdict"], rows["op"]).to_string().replace("\n", "\n    "))
    assert got == implied_counts(truth)
    assert {verdict for _, verdict in got} == {"allowed", "blocked", "error"}


def test_expected_is_what_came(pairs: list[Row]) -> None:
    """Where a verdict is good, the expected answer is the real one."""
    for row in pairs:
        if row["verdict"] == "allowed":
            partial = row["op"] == "write" and row["answer"] < row["length"]
            assert row["expected"] == ("partial" if partial else "ok"), row
        elif row["verdict"] == "blocked":
            assert row["expected"] == row["call"]["errno"], row


def test_reasons_name_a_seal_that_stands_against_the_call(pairs: list[Row]) -> None:
    blocked = [row for row in pairs if row["verdict"] == "blocked"]
    assert len(blocked) > 100
    for row in blocked:
        against = row["implied"].seals
        if against:
            named = [Seal[name] for name in row["reason"].split("|")]
            assert all(seal & against for seal in named), row
        else:
            assert (row["op"], row["reason"]) == ("add_seals", "writable mapping exists"), row


def test_no_recording_has_a_breach_or_an_unexplained_refusal(kernel: Booted) -> None:
    """Filters, races, killed recorders, full disks, hostile names: nothing is made up."""
    recordings = [path for path in kernel.folder.glob("*.seal") if path.stem not in WITH_HOLES]
    rows = {path.stem: bad(judged(path)) for path in recordings}
    found = {name: bad_rows.head(10) for name, bad_rows in rows.items() if len(bad_rows)}
    assert not found
    assert {"default-fexit", "quick-kprobe", "preempted", "race-fexit"} <= set(rows)


def test_races_are_indeterminate_at_worst(kernel: Booted, method: str) -> None:
    """Writes and mappings against a thread that seals the file meanwhile."""
    rows = judged(kernel.run(f"race-{method}").path)
    verdicts = Counter(rows["verdict"].astype(str))
    assert set(verdicts) <= {"allowed", "blocked", "error", "indeterminate"}
    assert verdicts["allowed"] > 0
    assert verdicts["blocked"] > 0


def test_what_a_security_module_forbids_is_no_riddle(kernel: Booted, method: str) -> None:
    """7.3 asks one about memfds; 6.1 does not, and there each call succeeds."""
    name = f"security_module-{method}"
    told = json.loads((kernel.folder / f"{name}.json").read_text())
    rows = judged(kernel.run(name).path)
    mine = rows[rows["pid"] == told["pid"]]
    assert [-answer if answer < 0 else 0 for answer in mine["answer"]] == [
        call["errno"] for call in told["calls"]
    ]
    assert mine["arg"].tolist() == [call["flags"] for call in told["calls"]]
    refused = mine[mine["answer"].isin([-errno.EACCES, -errno.EPERM])]
    assert len(refused) == (8 if kernel.name == "newest" else 0)
    assert set(refused["verdict"].astype(str)) <= {"error"}
    assert set(refused["reason"]) <= {"a security module forbids the file"}
    assert set(mine["verdict"].astype(str)) <= {"error", "allowed"}


def test_both_methods_are_judged_alike(kernel: Booted, profile: str) -> None:
    """Descriptors and addresses differ from run to run; what is made of them does not."""
    told = ("expected", "reason", "rule", "verdict", "hole", "severity")
    fexit, kprobe = (
        [
            (row["call"]["op"], row["call"]["variant"], row["call"]["set"], *map(row.get, told))
            for row in beside_truth(
                kernel.run(f"{profile}-{method}").path, kernel.truth(f"{profile}-{method}")
            )
        ]
        for method in METHODS
    )
    assert fexit == kprobe
