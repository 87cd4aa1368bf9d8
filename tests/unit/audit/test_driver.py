"""An audit's breaches are those that a report of the same recording has."""

import errno
from collections import Counter
from pathlib import Path

import pytest

from tests.unit.audit.audit_asked import NO_BREACH, PASS, RAM, audited, of
from tests.unit.audit.audit_story import Story, self_test
from tracer.analysis import api

SAMPLES = Path(__file__).resolve().parents[3] / "samples" / "recordings"
GROW = 0x04
KINDS = ["memfd", "hugetlb", "tmpfs"]


@pytest.mark.parametrize("name", ["debian-6.1", "debian-7.3"])
def test_the_audit_judges_as_the_report_does(name: str) -> None:
    path = SAMPLES / f"{name}.seal"
    decisions = api.load(str(path)).decisions
    rows = decisions[(decisions["verdict"] == "breach") & decisions["kind"].isin(KINDS)]
    reported = Counter(zip(rows["dev"], rows["ino"], rows["gen"], rows["op"], strict=True))
    [claim] = audited(path, 'claim = "no-breach"', scope=f"kind = {KINDS}").recordings[0].claims
    found: Counter[tuple[object, ...]] = Counter()
    for finding in claim.findings:
        assert not finding.more
        for proof in finding.violations:
            one = finding.object
            found[one.dev, one.ino, one.gen, proof.op] += proof.count
    assert reported
    assert found == reported


def test_what_announcements_tell_counts(tmp_path: Path) -> None:
    """How large the folios of a file are decides whether a part of a write could have fitted."""
    story = Story()
    story.object(RAM, mapping_flags=9 << 21, create_flags_known=1, create_flags=2)
    story.event("create", RAM, answer=3, arg=2)
    story.event("write", RAM, answer=-errno.EPERM, length=8192, seals=GROW, seals_after=GROW)
    tested = self_test(variants={"grow_write_chunk": "folio_order"})
    assert of(story.write(tmp_path / "a.seal", self_test=tested), NO_BREACH).result is PASS
