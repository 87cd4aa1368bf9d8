"""Audits of a part: only violations of a time, only files that a filter matches."""

import json
from pathlib import Path

import pytest

from tests.unit.audit.audit_asked import FAIL, NEVER_MAPPED, NONE, OPEN, OTHER, PASS, RAM, said
from tests.unit.audit.audit_story import Story, policy
from tracer.analysis.decisions import Window
from tracer.audit.evaluate import audit
from tracer.audit.policy import parse
from tracer.audit.result import Audit, Result
from tracer.cli.main import main
from tracer.filter.query import parse as parse_filter
from tracer.output import audit as forms
from tracer.recording.reader import Recording
from tracer.walltime import Moment, Period


def looked_at(path: Path, part: Window, query: str = "") -> Audit:
    with Recording.open(path) as recording:
        start_ns = recording.clock().start_ns
    assert start_ns is not None
    since, until = (None if one is None else Moment("start", one - start_ns) for one in part)
    return in_period(path, Period(since, until), query)


def in_period(path: Path, period: Period, query: str = "") -> Audit:
    rules = parse(policy(NEVER_MAPPED, scope='kind = "memfd"'))
    with Recording.open(path) as recording:
        return audit(rules, [recording], "t", period=period, query=parse_filter(query))


@pytest.fixture
def mapped_once(tmp_path: Path) -> tuple[Path, int]:
    """A file that is mapped and unmapped, and when it was mapped."""
    story = Story()
    story.create(RAM)
    story.map(RAM)
    at_ns = story.now_ns
    story.unmap(RAM)
    return story.write(tmp_path / "a.seal"), at_ns


@pytest.mark.parametrize(
    ("since", "until", "expected"),
    [
        (None, None, FAIL),
        (0, None, FAIL),
        (None, 1, FAIL),
        (0, 1, FAIL),
        (None, 0, PASS),  # it is mapped later
        (1, 2, OPEN),  # it may still be
        (1, None, FAIL),  # it was: its end is seen
        (2_000_000, None, OPEN),
        (-2, 0, PASS),
    ],
)
def test_violations_of_a_time(
    mapped_once: tuple[Path, int], since: int | None, until: int | None, expected: Result
) -> None:
    path, at_ns = mapped_once
    period = Window(
        None if since is None else at_ns + since, None if until is None else at_ns + until
    )
    found = looked_at(path, period)
    assert found.result is expected
    texts = said(found.recordings[0].claims[0])
    assert expected is FAIL or ("period: It was broken before" in texts) == (expected is OPEN)


def test_what_was_there_before_is_not_forgotten(tmp_path: Path) -> None:
    """A mapping of which only the end was seen, and one that the look at the start found."""
    for baseline in (False, True):
        story = Story()
        story.object(RAM)
        before_ns = story.now_ns
        if baseline:
            story.event("map", RAM, baseline=True, length=4096, answer=0x10000, arg=0x2B)
        else:
            story.unmap(RAM)
        path = story.write(tmp_path / f"{baseline}.seal")
        for period in (Window(until_ns=before_ns), Window(story.now_ns + 1)):
            found = looked_at(path, period).recordings[0].claims[0]
            assert found.result is OPEN
            assert "period: It was broken before" in said(found)


def test_equal_violations_of_which_none_may_be_of_that_time(tmp_path: Path) -> None:
    """Rows of equal calls stand together, with the first and the last time."""
    story = Story()
    story.create(RAM)
    times = []
    for _ in range(3):
        story.event("mmap", RAM, 200, comm=b"spy", answer=0x10000, length=4096, arg=0x3 | 1 << 32)
        times.append(story.now_ns)
    path = story.write(tmp_path / "a.seal")
    first, middle, last = times
    assert looked_at(path, Window(first, first + 1)).result is FAIL
    assert looked_at(path, Window(last, last + 1)).result is FAIL
    assert looked_at(path, Window(middle - 1, middle)).result is not FAIL
    assert looked_at(path, Window(first + 1, last)).result is not PASS
    assert looked_at(path, Window(until_ns=first)).result is PASS


def unmapped(path: Path) -> Story:
    """A file that nobody maps, in a recording that is written there."""
    story = Story()
    story.create(RAM)
    story.event("write", RAM)
    story.write(path)
    return story


@pytest.mark.parametrize(
    ("since_ms", "until_ms", "expected"),
    [
        (0, None, PASS),
        (-1, None, OPEN),
        (None, 1, PASS),
        (None, 10_000, OPEN),
        (-20_000, -10_000, OPEN),
        (10_000, 20_000, OPEN),
    ],
)
def test_nothing_passes_by_a_time_that_is_not_in_the_recording(
    tmp_path: Path, since_ms: int | None, until_ms: int | None, expected: Result
) -> None:
    path = tmp_path / "a.seal"
    unmapped(path)
    since, until = (
        None if one is None else Moment("start", one * 1_000_000) for one in (since_ms, until_ms)
    )
    found = in_period(path, Period(since, until))
    assert found.result is expected
    assert ("time: " in said(found.recordings[0].claims[0])) == (expected is OPEN)


@pytest.mark.parametrize(("back_s", "expected"), [(0, PASS), (3600, OPEN)])
def test_a_clock_that_was_set_back_hides_nothing(
    tmp_path: Path, back_s: int, expected: Result
) -> None:
    """Whoever may set the clock chooses what lies in a time of the wall clock."""
    story = Story()
    story.create(RAM)
    story.wall_ns -= back_s * 1_000_000_000
    story.clock()
    story.event("write", RAM)
    path = story.write(tmp_path / "a.seal")
    until = Moment("wall", story.wall_ns + story.now_ns - 2_000_000)
    found = in_period(path, Period(until=until))
    assert found.result is expected
    assert ("time: " in said(found.recordings[0].claims[0])) == (expected is OPEN)
    assert in_period(path, Period(until=Moment("end", -1))).result is PASS


def test_files_that_a_filter_matches(tmp_path: Path) -> None:
    story = Story()
    story.create(RAM, "ring")
    story.map(RAM)
    story.create(OTHER, "quiet")
    path = story.write(tmp_path / "a.seal")
    for query, expected in (
        ("", FAIL), ("name:ring*", FAIL), ("name:quiet", PASS), ("name:none", NONE),
        ("!name:ring", PASS),
    ):  # fmt: skip
        assert looked_at(path, Window(), query).result is expected, query


def test_a_result_says_of_what_part_it_is(mapped_once: tuple[Path, int]) -> None:
    path, at_ns = mapped_once
    found = looked_at(path, Window(until_ns=at_ns), "name:ram")
    document = json.loads(forms.text(found))
    assert document["filter"] == "name:ram"
    alone = " (files that match name:ram and violations of the time that was asked about alone)"
    assert document["summary"].startswith("PASS: ")
    assert document["summary"].endswith(alone)
    window = document["recordings"][0]["window"]
    assert window["since"] is None
    assert window["until"].endswith("Z")
    assert "only violations before " in "".join(forms.page(found, "p"))
    whole = json.loads(forms.text(looked_at(path, Window())))
    assert whole["filter"] == ""
    assert "alone" not in whole["summary"]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--statement", "x.json", "--since", "1"], "a statement is about whole recordings"),
        (["--statement", "x.json", "--filter", "name:a"], "a statement is about whole recordings"),
        (["--filter", "op:mmap"], "op cannot be used here"),
        (["--since", "soon"], "--since 'soon' is not a time"),
    ],
)
def test_what_cannot_be(
    mapped_once: tuple[Path, int], words: list[str], expected: str, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    rules = tmp_path / "p.toml"
    rules.write_bytes(policy(NEVER_MAPPED))
    assert main(["audit", str(rules), str(mapped_once[0]), *words]) == 1
    assert expected in capsys.readouterr().err


def test_by_the_command(
    mapped_once: tuple[Path, int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rules = tmp_path / "p.toml"
    rules.write_bytes(policy(NEVER_MAPPED))
    words = ["audit", str(rules), str(mapped_once[0])]
    assert main(words) == 2
    assert main([*words, "--until", "0.001"]) == 0
    assert main([*words, "--since", "0.0055"]) == 3
    assert main(["audit", str(rules), "--live", "--since", "1"]) == 1
    assert "--since and --until are for a RECORDING" in capsys.readouterr().err
