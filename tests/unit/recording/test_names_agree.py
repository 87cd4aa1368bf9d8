"""The name of a file is the same in script, report and audit, or not known in all of them."""

import json
from pathlib import Path

import pytest

from tests.unit.audit.audit_asked import NEVER_MAPPED, of
from tests.unit.audit.audit_story import Story
from tracer.cli.main import main
from tracer.record import USER_CPU

Capture = pytest.CaptureFixture[str]
INO, SWEPT, LATER = 5, 7, 9


def names(path: Path, gen: int, capsys: Capture) -> dict[str, set[str | None]]:
    """By verb: the names that generation ``gen`` of the inode is shown with."""
    capsys.readouterr()
    assert main(["script", str(path), "--json"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert main(["report", str(path), "--json"]) == 0
    objects = json.loads(capsys.readouterr().out)["tables"]["object"]
    audited = [finding.object for finding in of(path, NEVER_MAPPED).findings]
    return {
        "script": {row["name"] for row in rows if (row["ino"], row["gen"]) == (INO, gen)},
        "report": {row["name"] for row in objects if (row["ino"], row["gen"]) == (INO, gen)},
        "audit": {one.name for one in audited if one and (one.ino, one.gen) == (INO, gen)},
    }


def swept(story: Story) -> None:
    """The sweep of /proc found it, and could not read its generation."""
    story.object(INO, "old", gen=0, cpu=USER_CPU)
    story.event("open", INO, gen=0, baseline=True, fd=3, fmode=3)


def used_again(story: Story) -> None:
    """Another file has its inode number now; its announcement was lost."""
    story.event("create", INO, gen=LATER, answer=4, fd=4, arg=2)
    story.event("write", INO, gen=LATER, answer=4, length=4, fd=4)


def test_the_one_that_was_swept(tmp_path: Path, capsys: Capture) -> None:
    story = Story()
    swept(story)
    story.event("write", INO, gen=SWEPT, answer=4, length=4)
    found = names(story.write(tmp_path / "r.seal"), SWEPT, capsys)
    assert found == {verb: {"memfd:old"} for verb in found}


@pytest.mark.parametrize("gone_first", [True, False])
def test_a_later_one_has_no_name(tmp_path: Path, capsys: Capture, gone_first: bool) -> None:
    story = Story()
    swept(story)
    if gone_first:
        story.event("evict", INO, gen=SWEPT, fd=-1)
    used_again(story)
    found = names(story.write(tmp_path / "r.seal"), LATER, capsys)
    assert found == {verb: {None} for verb in found}
