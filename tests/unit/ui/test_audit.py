"""The tab of the audit: claims with state, evidence and coverage; its violations raise alerts."""

import threading
import time
from pathlib import Path
from typing import Any

import pytest

from tests.unit.ui.pressed import main_grid, presses
from tests.unit.ui.still import DEBIAN_6_1, Still, StillReplay, run, shown, still
from tracer.audit import policy as policies
from tracer.audit.evaluate import one_recording
from tracer.audit.result import Result
from tracer.live.auditing import Auditing
from tracer.recording.reader import Recording
from tracer.walltime import time_of_day
from ui.screens.main import MainScreen
from ui.screens.object import EvidenceScreen, ObjectScreen
from ui.widgets.details import AuditNotes

POLICY = Path(__file__).parents[3] / "samples" / "policies" / "sealed-buffer.toml"


@pytest.fixture(scope="module")
def auditing() -> Auditing:
    made = Auditing(policies.load(str(POLICY)), str(DEBIAN_6_1))
    made.once()
    return made


@pytest.fixture(scope="module")
def truth() -> Any:
    with Recording.open(DEBIAN_6_1) as recording:
        return one_recording(policies.load(str(POLICY)), recording)


def audited(auditing: Auditing) -> Still:
    feed = Still(DEBIAN_6_1)
    feed.auditing = auditing
    return feed


@presses("Tables", "tab('audit')")
@presses("One claim", "back", "object", "copy")
@run
async def test_claims_with_state_evidence_and_coverage(auditing: Auditing, truth: Any) -> None:
    async with shown(audited(auditing), size=(140, 50)) as one:
        await one.press("a", "6")
        grid = main_grid(one)
        assert len(grid.rows) == sum(len(claim.findings) or 1 for claim in truth.claims)
        failed = {
            (claim.id, finding.object.ino)
            for claim in truth.claims
            for finding in claim.findings
            if finding.result is Result.FAIL
        }
        states = [grid.rows.value("state", at) for at in grid.rows.order.tolist()]
        assert states[: len(failed)] == ["fail"] * len(failed), "the worst first"
        assert len(failed) == states.count("fail") > 0
        text = one.text()
        assert "6 Audit fail" in text
        assert "FAIL" in text
        found = set()
        notes = one.app.screen.query_one(AuditNotes)
        for _ in failed:
            found.add((grid.value("claim"), grid.value("ino")))
            claim = next(one for one in truth.claims if one.id == grid.value("claim"))
            finding = next(one for one in claim.findings if one.object.ino == grid.value("ino"))
            proof = finding.violations[0]
            assert proof.text in notes.body.text
            when = time_of_day(one.app.shot.wall(proof.time_ns))
            assert f"✗ {when}  {proof.text}" in notes.body.text
            assert all(need.family in notes.body.text for need in claim.needs)
            assert all(doubt.text in notes.body.text for doubt in claim.doubts)
            await one.press("down")
        assert found == failed
        assert all(spot in notes.body.text for spot in truth.blind_spots)
        await one.press("home")
        claim, evidence = str(grid.value("claim")), str(grid.value("evidence"))
        await one.press("enter")
        assert isinstance(one.app.screen, EvidenceScreen)
        assert f"✗ FAIL  {claim} of " in one.lines()[1]
        assert evidence in one.text()
        await one.press("y")
        assert evidence in one.app.clipboard
        await one.press("o")
        assert isinstance(one.app.screen, ObjectScreen)
        await one.press("escape", "enter", "escape")
        assert isinstance(one.app.screen, MainScreen)
        inos = [grid.rows.value("ino", at) for at in grid.rows.order.tolist()]
        at = next(n for n in range(len(states)) if states[n] != "fail" and inos[n])
        grid.select(int(grid.rows.ids[grid.rows.order[at]]))
        await one.press("enter")
        assert isinstance(one.app.screen, ObjectScreen), "a claim that holds has no evidence"


@run
async def test_a_violation_raises_the_banner_once(auditing: Auditing) -> None:
    feed = audited(auditing)
    async with shown(feed, size=(140, 30)) as one:
        alerts = [alert for alert in one.app.shot.alerts if alert.verdict == "audit"]
        assert alerts
        assert alerts[-1].event["claim"] in ("sealed-with", "no-breach")
        assert "AUDIT" in one.text()
        broken = one.app.shot.audited.broken if one.app.shot.audited else 0
        told = f"✗ AUDIT FAILED: {broken} claims, 8 breaches by known holes"
        assert told in one.text(), "what is new comes before what is known"
        await one.press("v")
        assert isinstance(one.app.screen, MainScreen)
        assert one.app.request.table == "audit"
        await one.press("a")
        count = len(one.app.shot.alerts)
        await one.press("1", "6")
        assert len(one.app.shot.alerts) == count
        assert not one.app.open_alerts


@run
async def test_without_a_policy_there_is_no_such_tab() -> None:
    async with shown(still()) as one:
        assert "Audit" not in one.text()
        await one.press("6")
        assert one.app.request.table == "objects"
        assert "--audit POLICY" in one.said()[0]
        await one.press("shift+tab")
        assert one.app.request.table == "hooks"


def test_violations_are_told_when_their_time_has_come(auditing: Auditing) -> None:
    every = [one.time_ns for one in auditing.violations]
    assert every == sorted(every)
    feed = StillReplay(DEBIAN_6_1, playing=False)
    feed.auditing = auditing
    feed.start()
    told = []
    for share in ("0%", "60%", "60%", "100%"):
        feed.seek(share)
        feed.settle()
        now_ns = feed.snapshot.now.now_ns
        assert now_ns is not None
        found = [alert for alert in feed.snapshot.alerts if alert.verdict == "audit"]
        assert all(alert.event["time_ns"] <= now_ns for alert in found)
        # Of many at once the newest ten are shown, and all are numbered.
        told.append((len(found) > 0, sum(time_ns <= now_ns for time_ns in every)))
    assert [count for _, count in told] == sorted(count for _, count in told)
    assert told[0] == (False, 0)
    assert told[1] == told[2]
    assert told[3] == (True, len(every))
    breaches = feed.snapshot.verdicts.counts[5]
    assert feed.snapshot.alerts[-1].number == breaches + len(every)


def test_a_replay_from_the_start_cries_out_only_of_what_is_new(auditing: Auditing) -> None:
    feed = StillReplay(DEBIAN_6_1, speed=float("inf"))
    feed.auditing = auditing
    feed.settle()
    numbers = [alert.number for alert in feed.snapshot.alerts]
    assert numbers == sorted(set(numbers))
    assert {alert.verdict for alert in feed.snapshot.alerts} == {"breach", "audit"}
    feed.toggle()
    feed.settle()
    assert [alert.number for alert in feed.snapshot.alerts] == numbers


def test_an_audit_that_cannot_be_made_says_so(tmp_path: Path) -> None:
    made = Auditing(policies.load(str(POLICY)), str(tmp_path / "gone.seal"))
    made.once()
    assert "gone.seal" in made.audited.problem
    assert made.audited.result == ""


def test_it_is_made_anew_only_for_something_new(auditing: Auditing) -> None:
    made = Auditing(auditing.policy, str(DEBIAN_6_1))
    made.look(1)
    assert made.wanted
    made.once()
    made.look(1)
    assert not made.wanted
    made.start()
    made.stop()
    end = time.monotonic() + 60
    while any(thread.name == "audit" for thread in threading.enumerate()):
        assert time.monotonic() < end
        time.sleep(0.01)
