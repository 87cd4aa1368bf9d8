"""Each way of losing evidence: it is never a pass and never hides a violation."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.unit.audit.audit_asked import (
    ALL,
    FAIL,
    NEVER_MAPPED,
    OPEN,
    OTHER,
    PASS,
    PINNED,
    RAM,
    READ,
    WRITABLE,
    WRITE_SEALED,
    audited,
    call,
    of,
    said,
)
from tests.unit.audit.audit_story import (
    FAMILIES,
    NO_RETURN,
    Story,
    killed,
    manifest,
    self_test,
    step,
)
from tests.unit.recording.store_records import end_changed
from tracer.audit.result import ClaimResult
from tracer.record import LossCause


def _no_self_test(path: Path, story: Story) -> Path:
    return story.write(path, self_test=None)


def _tested(seen: int, extra: int) -> Callable[[Path, Story], Path]:
    hooks = {family: {"expected": 3, "seen": seen, "extra": extra} for family in FAMILIES}
    return lambda path, story: story.write(path, self_test=self_test(hooks=hooks))


def _filters(**changed: Any) -> Callable[[Path, Story], Path]:
    filters = manifest()["filters"] | changed
    return lambda path, story: story.write(path, filters=filters, command=["x"])


def _losing(cause: LossCause, hook: int = 0) -> Callable[[Path, Story], Path]:
    def write(path: Path, story: Story) -> Path:
        story.loss(cause, hook)
        return story.write(path)

    return write


def _hole(path: Path, story: Story) -> Path:
    story.event("write", OTHER, answer=1)
    return story.write(path, without=len(story.records) - 1)


def _flipped(path: Path, story: Story) -> Path:
    story.write(path)
    part = next((path / "events").iterdir())
    data = bytearray(part.read_bytes())
    data[4] ^= 1  # in a page that is not read, or is: the digest tells
    part.write_bytes(bytes(data))
    return path


LOST: Mapping[str, Callable[[Path, Story], Path]] = {
    "killed": lambda path, story: killed(story.write(path)),
    "no baseline": lambda path, story: story.write(path, end={"baseline": None}),
    "baseline without every process": lambda path, story: story.write(
        path, end={"baseline": {"start": {"problems": ["3 processes could not be looked at"]}}}
    ),
    "no baseline asked for": lambda path, story: story.write(
        path, end={"baseline": {"start": None, "final": None}}
    ),
    "no self-test": _no_self_test,
    "hooks that miss attempts": _tested(seen=2, extra=0),
    "hooks that report what nobody did": _tested(seen=3, extra=1),
    "no hook at all": lambda path, story: story.write(path, hooks=[]),
    "hooks not live": lambda path, story: story.write(
        path, hooks=[step(one, method=None, symbol=None, reason="no") for one in FAMILIES]
    ),
    "only some processes": _filters(pids=[1]),
    "only the command": _filters(follow_command=True),
    "only failures": _filters(denied=True),
    "only sealed files": _filters(seals=8),
    "only some names": _filters(name="other"),
    "ring full": _losing(LossCause.RING_FULL),
    "children not followed": _losing(LossCause.PIDS_FULL),
    "programs not run": _losing(LossCause.MISSED),
    "a hole": _hole,
    "a changed file": _flipped,
    "no final numbers": lambda path, story: _final(story.write(path), lambda final: {}),
    "a CPU without a final number": lambda path, story: _final(
        story.write(path), lambda final: {cpu: final[cpu] for cpu in final if cpu != "0"}
    ),
    "stopped at its size": lambda path, story: story.write(path, end={"stopped_early": True}),
    "failed": lambda path, story: _failed(story, path),
}


def _final(path: Path, change: Callable[[dict[str, int]], dict[str, int]]) -> Path:
    import json

    end = json.loads((path / "end.json").read_text())
    assert len(end["final_seq"]) == 2
    return end_changed(path, final_seq=change(end["final_seq"]))


def _failed(story: Story, path: Path) -> Path:
    return end_changed(story.write(path), error="disk full")


def _all(prefix: str) -> tuple[str, ...]:
    return tuple(
        f'{claim}\nid = "c{place}"\nscope = {{ kind = "memfd", name = "{prefix}{place}" }}'
        for place, claim in enumerate(ALL)
    )


def _kept() -> Story:
    """An object for each claim, which keeps it."""
    story = Story()
    for place in range(len(ALL)):
        ino, address = 10 + place, 0x100000 * (place + 1)
        story.create(ino, f"kept{place}", mode=0o666, arg=2)
        if place:
            story.map(ino, address=address)
            story.memslot(ino, address=address, check_answer=place)
    story.event("receive", 15, 200, answer=9, seals=WRITE_SEALED, seals_after=WRITE_SEALED)
    return story


def _broken() -> Story:
    """An object for each claim, which breaks it."""
    story = Story()
    for place in range(len(ALL)):
        story.create(10 + place, f"broken{place}", mode=0o666, arg=2)
    story.map(10)
    story.map(11)
    story.memslot(11)
    story.map(11, 200, comm=b"spy")
    story.map(12, 200)
    story.event("read", 13, 200, answer=1)
    story.event("pin", 14, 200, answer=1, size_after=0x7000000, length=4096)
    story.event("receive", 15, 200, answer=9)
    story.event("write", 16, 200, answer=9, length=9, seals=8, seals_after=8, mode=0o666)
    return story


def results(path: Path, prefix: str) -> list[ClaimResult]:
    return list(audited(path, *_all(prefix)).recordings[0].claims)


def test_whole_evidence_tells_kept_from_broken(tmp_path: Path) -> None:
    kept = results(_kept().write(tmp_path / "kept.seal"), "kept")
    assert [one.result for one in kept] == [PASS] * len(ALL), [said(one) for one in kept]
    broken = results(_broken().write(tmp_path / "broken.seal"), "broken")
    assert [one.result for one in broken] == [FAIL] * len(ALL), [said(one) for one in broken]


@pytest.mark.parametrize("how", LOST)
def test_lost_evidence_is_never_a_pass_and_never_hides_a_violation(
    tmp_path: Path, how: str
) -> None:
    kept = results(LOST[how](tmp_path / "kept.seal", _kept()), "kept")
    assert [one.result for one in kept] == [OPEN] * len(ALL)
    assert all(said(one) for one in kept)
    if how == "a changed file":
        return  # whatever was changed may have been what broke the claim
    broken = results(LOST[how](tmp_path / "broken.seal", _broken()), "broken")
    unjudged = how in ("no self-test",)
    assert [one.result for one in broken[:-1]] == [FAIL] * (len(ALL) - 1)
    assert broken[-1].result in ((FAIL, OPEN) if unjudged else (FAIL,))


@pytest.mark.slow
def test_each_needed_family_is_needed(tmp_path: Path) -> None:
    story = _kept()
    whole = results(story.write(tmp_path / "whole.seal"), "kept")
    needs = [{need.family for need in one.needs} for one in whole]
    for family in sorted(set().union(*needs)):
        hooks = [step(one) for one in FAMILIES if one != family]
        found = results(_kept().write(tmp_path / f"{family}.seal", hooks=hooks), "kept")
        expected = [OPEN if family in one else PASS for one in needs]
        assert [one.result for one in found] == expected, family
        for one, mine in zip(found, needs, strict=True):
            assert (f"{family} is not hooked" in said(one)) == (family in mine)


def test_a_kernel_without_the_function_hides_nothing_there(tmp_path: Path) -> None:
    hooks = [
        step(one, symbol=None, method=None, essential=False, reason=f"this kernel has no {one}_fn")
        for one in FAMILIES
    ]
    found = results(_kept().write(tmp_path / "a.seal", hooks=hooks), "kept")
    assert [one.result for one in found] == [PASS] * len(ALL)


@pytest.mark.parametrize(
    ("reason", "essential"),
    [
        ("this kernel has no map_fn", None),
        ("this kernel has no map_fn", True),
        ("this kernel has no maple_range_64.pivot", False),
        ("this kernel has only a changed copy: map_fn.isra.0", False),
        ("not asked for", False),
    ],
)
def test_only_a_function_that_is_not_there_cannot_be_called(
    tmp_path: Path, reason: str, essential: bool | None
) -> None:
    story = Story()
    story.create(RAM)
    hooks = [step(one) for one in FAMILIES if one != "map"]
    said = {"essential": bool(essential)} | ({} if essential is not None else {"absent": False})
    hooks.append(step("map", symbol=None, method=None, reason=reason, **said))
    assert of(story.write(tmp_path / "a.seal", hooks=hooks), NEVER_MAPPED).result is OPEN


def test_a_loss_at_another_hook_hides_nothing(tmp_path: Path) -> None:
    story = Story()
    story.create(RAM)
    story.loss(LossCause.MISSED, hook=8)  # read
    path = story.write(tmp_path / "a.seal")
    assert of(path, NEVER_MAPPED).result is PASS
    assert of(path, READ).result is OPEN


def test_calls_in_flight_at_the_end(tmp_path: Path) -> None:
    story = Story()
    story.create(RAM)
    path = story.write(tmp_path / "a.seal", end={"in_flight": 2})
    assert of(path, NEVER_MAPPED).result is PASS
    assert "in-flight" in said(of(path, READ))


def test_an_answer_that_was_not_seen(tmp_path: Path) -> None:
    for claim, op in ((WRITABLE, "write"), (READ, "read"), (PINNED, "pin")):
        story = Story()
        call(op, 0, flags=NO_RETURN)(story)
        found = of(story.write(tmp_path / f"{op}.seal"), claim)
        assert found.result is OPEN
        assert "incomplete" in said(found)


def test_what_the_self_test_saw_is_told(tmp_path: Path) -> None:
    def tested(seen: int, extra: int) -> str:
        path = _tested(seen, extra)(tmp_path / f"{seen}-{extra}.seal", _kept())
        [need] = [one for one in results(path, "kept")[0].needs if one.family == "map"]
        return need.tested

    assert tested(3, 0) == "3 of 3"
    assert tested(2, 0) == "2 of 3"
    assert tested(3, 2) == "3 of 3 and 2 that nobody made"


def test_hooks_that_the_self_test_does_not_try_are_named(tmp_path: Path) -> None:
    def spots(name: str, **changed: Any) -> list[str]:
        story = Story()
        story.create(RAM)
        path = story.write(tmp_path / f"{name}.seal", **changed)
        found = audited(path, NEVER_MAPPED).recordings[0]
        return [one for one in found.blind_spots if one.startswith("whether these hooks report")]

    tried = tuple(one for one in FAMILIES if one not in ("map", "pin"))
    assert spots("all") == []
    assert spots("some", self_test=self_test(tried)) == [
        "whether these hooks report: the self-test does not try them (map, pin)"
    ]
    # That none was tried is a doubt of every claim already.
    assert spots("none", self_test=None) == []
