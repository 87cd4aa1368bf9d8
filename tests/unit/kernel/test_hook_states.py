"""A hook has one state, whoever shows it: the live view, report and audit."""

import json
from pathlib import Path

import pytest

from tests.unit.audit.audit_asked import NEVER_MAPPED, audited
from tests.unit.audit.audit_story import FAMILIES, Story, step
from tests.unit.ui.still import Still
from tracer.cli.main import main
from tracer.live.snapshot import Request

Capture = pytest.CaptureFixture[str]
WAITS = {"symbol": None, "module": "kvm", "reason": "waits for the module kvm, which is not loaded"}
GUEST = 'kind = "guest_memfd"'
HOOKS = [step(one, **WAITS) if one.startswith("gmem") else step(one) for one in FAMILIES]
WAITING = sum(one.startswith("gmem") for one in FAMILIES)


def states(path: Path, capsys: Capture) -> dict[str, str]:
    """By who shows it: the state of the family gmem_create, and how many are live in all."""
    feed = Still(path)
    feed.start()
    feed.ask(Request(table="hooks"))
    rows = feed.snapshot.rows
    shown = {rows.value("family", at): rows.value("state", at) for at in range(len(rows))}
    capsys.readouterr()
    assert main(["report", str(path), "--json"]) in (0, 3)
    [told] = json.loads(capsys.readouterr().out)["recordings"]
    unseen = {one["family"]: one["essential"] for one in told["unseen"]}
    audit = audited(path, NEVER_MAPPED, scope=GUEST).recordings[0]
    needs = {one.family: one.state for one in audit.coverage}
    assert feed.snapshot.hooks_live == told["hooks_live"] == list(shown.values()).count("LIVE")
    return {
        "view": shown["gmem_create"],
        "report": {None: "LIVE", False: "WAITS", True: "BLIND"}[unseen.get("gmem_create")],
        "audit": {"live": "LIVE", "waiting": "WAITS"}.get(needs["gmem_create"], "BLIND"),
        "live": str(told["hooks_live"]),
    }


def test_a_hook_that_waits_for_its_module(tmp_path: Path, capsys: Capture) -> None:
    story = Story()
    story.create(5)
    found = states(story.write(tmp_path / "r.seal", hooks=HOOKS), capsys)
    live = str(len(FAMILIES) - WAITING)
    assert found == {"view": "WAITS", "report": "WAITS", "audit": "WAITS", "live": live}


def test_its_module_came(tmp_path: Path, capsys: Capture) -> None:
    story = Story()
    story.create(5)
    for hook in sorted({one["hook"] for one in HOOKS if one["family"].startswith("gmem")}):
        number = {"create": 10}.get(hook)
        if number is not None:
            story.event("attach", 0, baseline=True, hook=number)
    found = states(story.write(tmp_path / "r.seal", hooks=HOOKS), capsys)
    assert {found[name] for name in ("view", "report", "audit")} == {"LIVE"}


def test_a_hook_that_could_not_be_attached(tmp_path: Path, capsys: Capture) -> None:
    hooks = [step(one, method=None, symbol=None) if one == "gmem_create" else step(one)
             for one in FAMILIES]  # fmt: skip
    story = Story()
    story.create(5)
    found = states(story.write(tmp_path / "r.seal", hooks=hooks), capsys)
    assert {found[name] for name in ("view", "report", "audit")} == {"BLIND"}
