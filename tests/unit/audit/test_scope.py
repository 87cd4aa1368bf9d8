"""Which files a claim is about, and those that may be meant."""

from pathlib import Path
from typing import Any

import pytest

from tests.unit.audit.audit_asked import (
    ALL,
    BY_VMM,
    FAIL,
    NEVER_MAPPED,
    NONE,
    OPEN,
    OTHER,
    PASS,
    RAM,
    audited,
    of,
    said,
)
from tests.unit.audit.audit_story import COMPLETE, FAMILIES, LIMITS, Story, manifest, step
from tracer.audit.objects import MOST_ROWS, announced
from tracer.audit.result import Result
from tracer.errors import UserError
from tracer.record import LossCause
from tracer.recording.reader import Recording
from tracer.recording.writer import RecordingWriter


def test_an_empty_scope_is_not_applicable(tmp_path: Path) -> None:
    found = audited(Story().write(tmp_path / "a.seal"), *ALL)
    assert {one.result for one in found.recordings[0].claims} == {NONE}
    assert found.result is NONE


def test_nothing_in_scope_and_no_final_numbers(tmp_path: Path) -> None:
    """What was recorded may have been lost as a whole."""
    finals: dict[str, dict[int, int]] = {"lost.seal": {}, "idle.seal": {0: 0}}
    for name, final in finals.items():
        with RecordingWriter(tmp_path / name, manifest(), limits=LIMITS) as writer:
            writer.close("done", final, baseline=COMPLETE)
    assert audited(tmp_path / "idle.seal", NEVER_MAPPED).result is NONE
    found = of(tmp_path / "lost.seal", NEVER_MAPPED)
    assert found.result is OPEN
    assert "does not say how many records each CPU numbered" in said(found)


def test_an_empty_scope_with_losses_is_open(tmp_path: Path) -> None:
    story = Story()
    story.loss(LossCause.RING_FULL)
    assert of(story.write(tmp_path / "a.seal"), NEVER_MAPPED).result is OPEN


SCOPES = [
    ('kind = "memfd"', True),
    ('kind = ["hugetlb", "memfd"]', True),
    ('kind = "hugetlb"', False),
    ('kind = "memfd"\nname = "r?m"', True),
    ('kind = "memfd"\nname = "memfd:r*"', True),
    ('kind = "memfd"\nname = ["x", "RAM"]', False),
    ('kind = "memfd"\nuser = 1000', True),
    ('kind = "memfd"\nuser = 0', False),
    ('kind = "memfd"\ncgroup = 0', True),
    ('kind = "memfd"\ncgroup = 1', False),
    ('kind = "memfd"\nwhere = "name:~ra comm:vmm"', True),
    ('kind = "memfd"\nwhere = "name:~rb"', False),
    ('kind = "memfd"\nseals = ["SHRINK"]', True),
    ('kind = "memfd"\nseals = ["SHRINK", "WRITE"]', False),
    ('kind = "memfd"\nseals = ["EXEC"]', True),
    ('kind = "memfd"\nseals = ["INACCESSIBLE"]', False),
    ('kind = "memfd"\nmemslot = true', True),
    ('kind = "memfd"\nmemslot = { comm = "vmm" }', True),
    ('kind = "memfd"\nmemslot = { comm = "qemu" }', False),
]


def test_scope(tmp_path: Path) -> None:
    story = Story()
    story.create(RAM)
    story.map(RAM)
    story.memslot(RAM)
    story.event("add_seals", RAM, answer=0, seals_after=0x22, arg=0x22)
    path = story.write(tmp_path / "a.seal")
    claims = [
        f'{NEVER_MAPPED}\nid = "{place}"\n[claim.scope]\n{scope}'
        for place, (scope, _) in enumerate(SCOPES)
    ]
    for one, (scope, found) in zip(
        audited(path, *claims).recordings[0].claims, SCOPES, strict=True
    ):
        assert one.result is (FAIL if found else NONE), scope


def test_what_is_mapped_under_a_memslot_later_backs_it(tmp_path: Path) -> None:
    story = Story()
    story.memslot(0, address=0x10000, length=0x4000)
    story.create(RAM)
    story.map(RAM, address=0x12000)
    story.create(OTHER, "other")
    story.map(OTHER, address=0x14000)
    found = of(story.write(tmp_path / "a.seal"), NEVER_MAPPED, 'kind="memfd"\nmemslot = true')
    assert [one.object.ino for one in found.findings] == [RAM]


def test_a_memslot_that_was_taken_away_backs_nothing(tmp_path: Path) -> None:
    story = Story()
    story.memslot(0, address=0x10000, length=0x4000)
    story.memslot(0, address=0x10800, length=0)
    story.create(RAM)
    story.map(RAM)
    found = of(story.write(tmp_path / "a.seal"), NEVER_MAPPED, 'kind="memfd"\nmemslot = true')
    assert found.result is NONE


@pytest.mark.parametrize(
    ("names", "result"), [('"ram*"', NONE), ('"memfd:ram?"', NONE), ('"ram*", "*"', OPEN)]
)
def test_names_that_were_not_recorded(names: str, result: Result, tmp_path: Path) -> None:
    """Each name of the scope has to start as the recorder's --name does."""
    filters = {**manifest()["filters"], "name": "ram"}
    path = Story().write(tmp_path / "a.seal", filters=filters)
    assert of(path, NEVER_MAPPED, f'kind = "memfd"\nname = [{names}]').result is result


def test_thousands_of_memslots(tmp_path: Path) -> None:
    """Machines that come and go, each with a slot for every page: one of them lets a spy in."""
    machines, pages = 20, 150
    story = Story()
    for pid in range(100, 100 + machines):
        story.create(pid, f"ram{pid}", pid=pid)
        story.map(pid, pid, length=pages * 4096)
        for page in range(pages):
            address = 0x10000 + page * 4096
            story.memslot(pid, pid, address=address, check_answer=page, size=pid)
        if pid == 107:
            story.map(pid, 999, comm=b"spy", address=0x70000)
        if pid % 2:
            for page in range(pages):
                story.memslot(0, pid, address=0, length=0, check_answer=page, size=pid)
            story.unmap(pid, pid, length=pages * 4096)
    found = of(story.write(tmp_path / "a.seal"), BY_VMM, 'kind = "memfd"\nmemslot = true')
    assert len(found.findings) == machines
    assert {one.object.ino: one.result for one in found.findings} == {
        pid: FAIL if pid == 107 else PASS for pid in range(100, 100 + machines)
    }
    assert {one.pid for one in found.findings[0].violations} == {999}


def test_a_memslot_that_was_deleted_or_refused_is_none(tmp_path: Path) -> None:
    story = Story()
    story.memslot(0, address=0x10000, length=0x4000)
    story.memslot(0, address=0x10000, length=0)
    story.create(RAM)
    story.map(RAM)
    story.memslot(RAM, answer=-22, check_answer=1)
    found = of(story.write(tmp_path / "a.seal"), NEVER_MAPPED, 'kind="memfd"\nmemslot = true')
    assert found.result is NONE


def test_seals_that_no_hook_saw(tmp_path: Path) -> None:
    """It may have been sealed, and so be in scope."""
    hooks = [step(one) for one in FAMILIES if one != "seals"]
    story = Story()
    story.create(RAM)
    path = story.write(tmp_path / "a.seal", hooks=hooks)
    found = of(path, NEVER_MAPPED, 'kind = "memfd"\nseals = "WRITE"')
    assert found.result is OPEN


def test_not_announced_may_be_in_scope(tmp_path: Path) -> None:
    """A violation of what may not be meant is no fail; and it is no pass either."""
    story = Story()
    story.event("map", RAM, answer=0x1000, length=4096)
    path = story.write(tmp_path / "a.seal")
    found = of(path, NEVER_MAPPED, 'kind = "memfd"\nname = "ram"')
    assert found.result is OPEN
    assert "its name is not known" in said(found)
    assert of(path, NEVER_MAPPED).result is FAIL  # its kind is in the event


def test_a_name_of_which_a_piece_is_missing(tmp_path: Path) -> None:
    story = Story()
    story.create(RAM, "ram" + "x" * 200)
    second = 3  # behind the clock, the announcement and the first piece
    path = story.write(tmp_path / "a.seal", without=second)
    assert of(path, NEVER_MAPPED, 'kind = "memfd"\nname = "nothing"').result is OPEN


def test_an_object_that_is_announced_for_ever(tmp_path: Path) -> None:
    """Not every announcement is kept: what a filter asks for may have stood in another one."""
    story = Story()
    story.create(RAM)
    for pid in range(1000, 1200):
        story.object(RAM, pid=pid)
    path = story.write(tmp_path / "a.seal")
    scope = 'kind = "memfd"\nwhere = "pid:{}"'
    for pid, expected in ((100, PASS), (1010, PASS), (7, OPEN)):
        assert of(path, NEVER_MAPPED, scope=scope.format(pid)).result is expected
    with Recording.open(path) as recording:
        frame = recording.frame("objects")
    (one,) = announced(frame, True).values()
    assert (len(one.announcements), one.more, len(one.names)) == (MOST_ROWS, True, 1)
    assert next(iter(announced(frame, False).values())).announcements == []


def test_where_asks_for_what_objects_have(tmp_path: Path) -> None:
    story = Story()
    story.create(RAM)
    path = story.write(tmp_path / "a.seal")
    with pytest.raises(UserError, match="objects have no answer, op; they have ") as caught:
        audited(path, NEVER_MAPPED, scope='kind = "memfd"\nwhere = "op:mmap ret:EPERM name:ram"')
    there = str(caught.value).partition("they have ")[2].split(", ")
    assert {"name", "kind", "owner_uid", "size"} < set(there)
    assert not any("folio" in name for name in there)  # of no use to who asks


_LOOKED: dict[str, Any] = {"problems": [], "machines": 1, "machines_problem": ""}


@pytest.mark.parametrize(
    ("look", "backs", "result"),
    [
        (_LOOKED, False, NONE),
        (_LOOKED, True, FAIL),
        (_LOOKED | {"machines": 0, "machines_problem": "no vm_list"}, False, OPEN),
        ({"problems": []}, False, OPEN),
    ],
    ids=["no memslot", "memslot", "problem", "not read"],
)
def test_an_old_file_backs_a_memslot_if_kvms_list_says_so(
    tmp_path: Path, look: dict[str, Any], backs: bool, result: Result
) -> None:
    story = Story()
    story.object(RAM, cpu=0xFFFF)
    story.event("open", RAM, baseline=True, fd=4)
    story.event("map", RAM, baseline=True, answer=0x10000, length=4096, arg=0xB)
    if backs:
        story.memslot(0, baseline=True, mm=0xFF00 + 100)
    story.map(RAM, 200, comm=b"spy")
    path = story.write(tmp_path / "a.seal", end={"baseline": {"start": look}})
    found = of(path, BY_VMM, 'kind = "memfd"\nmemslot = true')
    assert found.result is result
