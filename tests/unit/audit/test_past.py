"""What was there before the trace, and who it was: baselines, old mappings, used numbers."""

from pathlib import Path
from typing import Any

import pytest

from tests.unit.audit.audit_asked import (
    BY_PID,
    BY_VMM,
    FAIL,
    NEVER_MAPPED,
    OPEN,
    PASS,
    PINNED,
    RAM,
    READ,
    SEALED,
    WRITABLE_BY_PID,
    of,
    said,
)
from tests.unit.audit.audit_story import FINAL, SHARED_RO, Story


def _old(story: Story, **more: Any) -> None:
    """A file from before, as the scan of /proc announces it."""
    story.object(RAM, cpu=0xFFFF)
    story.event("open", RAM, baseline=True, fd=4, **more)


@pytest.mark.parametrize("claim", [NEVER_MAPPED, BY_PID, WRITABLE_BY_PID])
def test_an_old_object_passes_with_a_complete_baseline_alone(tmp_path: Path, claim: str) -> None:
    story = Story()
    _old(story)
    assert of(story.write(tmp_path / "a.seal"), claim).result is PASS
    story = Story()
    _old(story)
    found = of(story.write(tmp_path / "b.seal", end={"baseline": None}), claim)
    assert found.result is OPEN
    assert "past" in said(found)


@pytest.mark.parametrize("claim", [SEALED, READ, PINNED])
def test_an_old_object_may_have_been_shared_or_pinned_before(tmp_path: Path, claim: str) -> None:
    story = Story()
    _old(story)
    found = of(story.write(tmp_path / "a.seal"), claim)
    assert found.result is OPEN
    assert "past" in said(found)


def test_a_mapping_from_before_is_found(tmp_path: Path) -> None:
    story = Story()
    _old(story)
    story.event("map", RAM, 200, comm=b"spy", baseline=True, answer=0x1000, length=4096, arg=0xB)
    path = story.write(tmp_path / "a.seal")
    for claim in (NEVER_MAPPED, BY_PID, WRITABLE_BY_PID):
        found = of(path, claim)
        assert found.result is FAIL
        assert "as it was when the trace began" in said(found)


def test_the_last_look_finds_a_mapping(tmp_path: Path) -> None:
    story = Story()
    story.create(RAM)
    story.event("map", RAM, 200, baseline=True, answer=0x1000, length=4096, arg=0xB, flags=FINAL)
    path = story.write(tmp_path / "a.seal")
    assert of(path, BY_PID).result is FAIL
    assert "as it was at the end" in said(of(path, BY_PID))


def test_the_inodes_own_word(tmp_path: Path) -> None:
    """It tells of a mapping that nobody else tells of, and that there was none at the start."""
    story = Story()
    story.create(RAM)
    story.event("mapped", RAM, 1, baseline=True, answer=1, flags=FINAL)
    path = story.write(tmp_path / "a.seal")
    assert of(path, NEVER_MAPPED).result is FAIL
    assert of(path, BY_PID).result is OPEN
    assert "sweep" in said(of(path, BY_PID))


def test_baseline_without_a_generation_is_of_the_same_file(tmp_path: Path) -> None:
    story = Story()
    story.event("map", RAM, 200, baseline=True, answer=0x1000, length=4096, arg=0xB, gen=0)
    story.object(RAM)
    story.map(RAM)
    found = of(story.write(tmp_path / "a.seal"), BY_PID)
    assert len(found.findings) == 1
    assert found.result is FAIL


def test_a_read_only_mapping_from_before_may_be_made_writable(tmp_path: Path) -> None:
    claim = WRITABLE_BY_PID
    for writable, expected in ((1, OPEN), (0, PASS)):
        story = Story()
        _old(story)
        story.event("mapped", RAM, 1, baseline=True, answer=1, writable=writable)
        story.event("map", RAM, 200, baseline=True, answer=0x1000, length=4096, arg=SHARED_RO)
        assert of(story.write(tmp_path / f"{writable}.seal"), claim).result is expected


def test_a_vmm_that_is_not_known_is_not_blamed(tmp_path: Path) -> None:
    story = Story()
    _old(story)
    story.map(RAM)
    found = of(story.write(tmp_path / "a.seal"), BY_VMM)
    assert found.result is OPEN
    assert "Who gave it to a virtual machine is not known" in said(found)
