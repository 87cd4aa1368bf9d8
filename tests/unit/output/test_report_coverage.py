"""What a recording could see and lost, also from manifests of somebody else."""

from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.unit.recording import store_records
from tracer.output.coverage import Coverage, coverage, labels, self_test, undeclared, unseen
from tracer.record import CLOCK, LOSS, USER_CPU, LossCause, RecordType
from tracer.recording.manifest import Count, Filters, Hook, Kernel, Manifest, SelfTest
from tracer.recording.reader import Recording
from tracer.recording.verify import verify
from tracer.recording.writer import RecordingWriter

MANIFEST: dict[str, Any] = {
    "kernel": {"release": "6.1.0"},
    "boot_id": "b1",
    "host": "h1",
    "command": ["./a", "b c\x1b"],
    "hooks": [
        {"family": "mmap", "symbol": "f", "method": "fexit", "essential": True},
        {"family": "check", "method": None, "unseen": "detail", "reason": "r", "essential": False},
        {"family": "write", "method": None, "unseen": "writes", "reason": "s", "essential": True},
    ],
    "blind_spots": ["splice"],
    "filters": {"pids": [42], "name": "w_", "seals": 8, "denied": True, "follow_command": False},
    "self_test": {
        "ran": True,
        "variants": {"bit_0x20": "exec"},
        "cases": 480,
        "unexplained": [{"op": "mmap"}],
        "hooks": {"mmap": {"expected": 3, "seen": 3}, "write": {"expected": 12, "seen": 10}},
        "bit_0x20": "exec",
        "failed": None,
        "open": ["a question"],
        "holes": ["hugetlb-grow"],
        "hooks_note": "in part",
        "lost": {"missed": 2},
    },
}


def clock(boot_ns: int, wall_ns: int, seq: int) -> Any:
    row = np.zeros(1, CLOCK)
    row["type"], row["cpu"], row["seq"] = RecordType.CLOCK, USER_CPU, seq
    row["time_ns"], row["realtime_ns"] = boot_ns, wall_ns
    return row


def loss(cause: int, count: int, seq: int) -> Any:
    row = np.zeros(1, LOSS)
    row["type"], row["cpu"], row["seq"] = RecordType.LOSS, USER_CPU, seq
    row["cause"], row["count"], row["total"] = cause, count, count
    return row


def make(path: Path, manifest: dict[str, Any], *records: Any, killed: bool = False) -> Coverage:
    writer = RecordingWriter(path, manifest)
    for row in records:
        writer.append(row)
    writer.close("interrupted")
    if killed:
        store_records.killed(path)
    with Recording.open(path) as recording:
        return coverage(recording, "h1", "b1", 9_000_000_000)


WALL = 1_795_369_690 * 10**9


def test_a_whole_recording(tmp_path: Path) -> None:
    one = make(tmp_path / "x.seal", MANIFEST, clock(5 * 10**9, WALL, 0), clock(8 * 10**9, WALL, 1))
    assert (one.kernel, one.state, one.reason) == ("6.1.0", "ended", "interrupted")
    assert one.command == "./a 'b c\\x1b'"
    assert (one.start_ns, one.end_ns) == (5 * 10**9, 9 * 10**9)
    assert ", 4.000 s, host h1, kernel 6.1.0" in one.title
    assert one.started == "2026-11-22T17:48:10Z"
    assert (one.hooks_live, one.hooks) == (1, 3)
    assert [family.family for family in one.unseen] == ["write", "check"]
    assert one.filters == "pid 42; name w_…; seals WRITE; only what failed"
    assert (one.self_test.silent, one.self_test.lost) == (("write 10 of 12",), {"missed": 2})
    assert (one.self_test.cases, one.self_test.unexplained) == (480, 1)
    assert (one.self_test.holes, one.self_test.open) == (("hugetlb-grow",), ("a question",))
    assert (one.self_test.failed, one.self_test.unconfirmed) == ("", "in part")
    assert one.whole
    assert list(one.alarms()) == []
    assert "1 of 3 hooks live" in one.summary


def test_loss_and_death(tmp_path: Path) -> None:
    rows = (clock(0, WALL, 0), loss(1, 5, 1), loss(1, 2, 2), loss(8, 3, 3))
    one = make(tmp_path / "x.seal", {}, *rows, killed=True)
    assert (one.lost, one.incomplete) == ({"ring_full": 7}, {"name": 3})
    assert one.state == "killed"
    assert not one.whole
    said = list(one.alarms())
    assert said[0].startswith("The recorder was killed")
    assert said[1].startswith("LOST 7 events: 7 no room in the ring buffer")
    assert "no end.json" not in "".join(said)  # once is enough


@pytest.mark.parametrize(
    ("given", "missing"),
    [({0: 4}, 0), ({0: 9}, 0), ({0: 11}, 2), ({0: 4, 1: 7}, 2), ({0: 1, 1: 5}, 0), ({}, 0)],
)
def test_records_that_nobody_declared_as_lost(
    tmp_path: Path, given: dict[int, int], missing: int
) -> None:
    """Four are there, five are declared."""
    with RecordingWriter(tmp_path / "x.seal", {}) as writer:
        for row in (clock(0, WALL, 0), loss(1, 5, 1), loss(8, 3, 2), clock(1, WALL, 3)):
            row["cpu"] = 0
            writer.append(row)
        writer.close("done", given)
    with Recording.open(tmp_path / "x.seal") as recording:
        found = coverage(recording, "h1", "b1", None)
        assert undeclared(recording, found.lost) == missing
    assert ("nobody declared" in " ".join(found.doubts())) == (missing > 0)
    assert verify(tmp_path / "x.seal").unexplained == missing


def test_names_that_could_not_be_read_are_no_lost_events(tmp_path: Path) -> None:
    causes = (LossCause.NAME, LossCause.CGROUP_NAME)
    rows = [loss(cause, 1, place) for place, cause in enumerate(causes)]
    one = make(tmp_path / "x.seal", {}, *rows)
    assert (one.lost, one.incomplete) == ({}, {"name": 1, "cgroup_name": 1})
    assert one.whole
    full = make(tmp_path / "y.seal", {}, loss(LossCause.CGROUPS_FULL, 1, 0))
    assert full.lost == {"cgroups_full": 1}


def test_a_manifest_that_says_nothing(tmp_path: Path) -> None:
    one = make(tmp_path / "x.seal", {})
    assert (one.kernel, one.start_ns, one.started) == ("unknown", None, None)
    assert (one.hooks, one.self_test.ran) == (0, False)
    assert "hooks not known" in one.summary
    assert "start unknown" in one.title


def typed(of: type) -> st.SearchStrategy[Any]:
    """Any that a recording of somebody else can have."""
    return st.builds(of, **{one.name: ... for one in fields(of) if one.metadata})


for inner in (Kernel, Hook, Filters, Count, SelfTest):
    st.register_type_strategy(inner, typed(inner))


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(typed(Manifest))
def test_any_manifest_can_be_shown(manifest: Manifest) -> None:
    test = self_test(manifest)
    said = [*(text for text, _ in test.sentences()), *labels([manifest, Manifest()])]
    said += [f"{family.what}{family.reason}" for family in unseen(manifest)]
    assert all(text.isprintable() for text in said)


def test_both_clocks(tmp_path: Path) -> None:
    make(tmp_path / "x.seal", {}, clock(1, 2, 0), clock(3, 5, 1))
    with Recording.open(tmp_path / "x.seal") as recording:
        found = recording.clock().anchors
    assert found == [(1, 2), (3, 5)]


def manifest(host: str, release: str, boot: str) -> Manifest:
    return Manifest(host=host, kernel=Kernel(release), boot_id=boot)


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ([("h", "6.1", "b1")], ["h"]),
        ([("h", "6.1", "b1"), ("g", "6.1", "b2")], ["h", "g"]),
        ([("h", "6.1", "b1"), ("h", "6.1", "b1")], ["h", "h"]),  # the same boot: the same host
        ([("(none)", "6.1", "b1"), ("(none)", "7.3", "b2")], ["6.1", "7.3"]),
        ([("h", "6.1", "b1"), ("h", "7.3", "b2"), ("g", "7.3", "b3")], ["h 6.1", "h 7.3", "g"]),
        ([("h", "6.1", "b1aaaaaaaa"), ("h", "6.1", "b2")], ["h 6.1 b1aaaaaa", "h 6.1 b2"]),
        ([("h", "6.1", "12345678a"), ("h", "6.1", "12345678b")], ["h #12345678a", "h #12345678b"]),
        ([("h", "6.1", ""), ("h", "6.1", "")], ["h 6.1 ?0", "h 6.1 ?1"]),
    ],
)
def test_hosts_are_told_apart(given: list[tuple[str, str, str]], wanted: list[str]) -> None:
    assert labels([manifest(*one) for one in given]) == wanted
