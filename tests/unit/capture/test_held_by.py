"""Who holds and who maps one file, as the live view shows it."""

from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import pytest

from tests.unit.audit.audit_story import SHARED_RO, SHARED_RW, Story, manifest
from tests.unit.ui.still import Still
from tracer.live.snapshot import Detail, Request
from tracer.words import Kind

VM_READ, VM_MAYREAD, VM_MAYWRITE, VM_MAYSHARE = 0x1, 0x10, 0x20, 0x80
READONLY_SHARED = VM_READ | VM_MAYREAD | VM_MAYSHARE
"""MAP_SHARED through a read-only descriptor: without VM_SHARED and VM_MAYWRITE (do_mmap)."""
PRIVATE = VM_READ | VM_MAYREAD | VM_MAYWRITE


def detail_of(story: Story, path: Path, ino: int = 5, **changed: Any) -> Detail:
    feed = Still(story.write(Path(mkdtemp(dir=path)) / "r.seal", **changed))
    feed.start()
    feed.ask(Request(object=(1, ino, 7)))
    found = feed.snapshot.detail
    assert found is not None
    return found


def holders(detail: Detail) -> list[tuple[int, int]]:
    rows = detail.holders
    return sorted((rows.value("pid", at), rows.value("fd", at)) for at in range(len(rows)))


def test_who_has_no_descriptor_holds_nothing(tmp_path: Path) -> None:
    story = Story()
    story.create(5, pid=100)
    story.event("write", 5, 100, fd=3, answer=9, length=9)
    story.event("remote_read", 5, 200, b"reader", fd=-1, answer=9, length=9)
    story.event("mprotect", 5, 300, b"mapper", fd=-1, length=4096)
    story.event("write", 5, 400, b"io_uring", fd=-1, answer=9, length=9, flags=128)
    story.memslot(5, 500)
    assert holders(detail_of(story, tmp_path)) == [(100, 3)]


def test_a_descriptor_that_only_facts_tell_of_is_held(tmp_path: Path) -> None:
    """No rule judges guest_memfd: nothing of it is a decision, and its holders are known."""
    story = Story()
    story.create(5, "gmem", pid=100, kind=Kind.GUEST_MEMFD, fd=9, answer=9, fmode=3)
    story.memslot(5, 100, kind=Kind.GUEST_MEMFD, fd=9)
    story.memslot(5, 200, kind=Kind.GUEST_MEMFD, fd=4)
    detail = detail_of(story, tmp_path)
    assert holders(detail) == [(100, 9), (200, 4)]
    rows = detail.holders
    assert {rows.value("fmode", at) for at in range(2) if rows.value("pid", at) == 100} == {3}
    assert sum(rows.value("decisions", at) for at in range(2)) == 0
    assert not detail.matrix


def test_mapped_shared_through_a_readonly_descriptor(tmp_path: Path) -> None:
    story = Story()
    story.create(5)
    story.map(5, 100, 0x1000, arg=READONLY_SHARED)
    story.map(5, 100, 0x2000, arg=PRIVATE)
    story.map(5, 100, 0x3000, arg=SHARED_RW)
    story.map(5, 200, 0x4000, arg=SHARED_RO, baseline=True)
    rows = detail_of(story, tmp_path).mappers
    found = {
        rows.value("address", at): tuple(rows.value(k, at) for k in ("perms", "shared", "writable"))
        for at in range(len(rows))
    }
    assert found == {
        0x1000: ("r--s", True, False),
        0x2000: ("r--p", False, False),
        0x3000: ("rw-s", True, True),
        0x4000: ("r--s", True, False),
    }


def test_a_file_of_which_only_the_creation_was_recorded(tmp_path: Path) -> None:
    story = Story()
    story.create(5, seals=1, seals_after=1)
    story.create(6)
    filters = manifest()["filters"] | {"unsealable": False}
    assert detail_of(story, tmp_path, 5, filters=filters).object["left_out"]
    assert not detail_of(story, tmp_path, 6, filters=filters).object["left_out"]
    assert not detail_of(story, tmp_path, 5).object["left_out"]


def test_what_is_gone_is_mapped_by_nobody(tmp_path: Path) -> None:
    story = Story()
    story.create(5)
    story.map(5)
    story.event("evict", 5, fd=-1)
    detail = detail_of(story, tmp_path)
    assert detail.object["evicted_ns"] is not None
    assert len(detail.mappers) == 0


def mappers(detail: Detail) -> list[tuple[int, int]]:
    rows = detail.mappers
    return sorted((rows.value("pid", at), rows.value("address", at)) for at in range(len(rows)))


def test_a_mapping_of_a_file_without_a_generation_is_of_the_one_that_was_there(
    tmp_path: Path,
) -> None:
    """Not of another one that had its inode number later."""
    story = Story()
    story.map(5, 200, 0x1000, baseline=True, gen=0)
    story.event("open", 5, 200, baseline=True, gen=0, fd=8, fmode=3)
    story.object(5)
    story.event("write", 5, 100, fd=3, answer=9, length=9)
    story.event("evict", 5, fd=-1)
    story.object(5, gen=9, create_flags_known=1, create_flags=2)
    story.event("create", 5, answer=3, gen=9)
    path = story.write(tmp_path / "r.seal")
    feed = Still(path)
    feed.start()
    feed.ask(Request(object=(1, 5, 9)))
    assert feed.snapshot.detail is not None
    assert holders(feed.snapshot.detail) == [(100, 3)]
    assert mappers(feed.snapshot.detail) == []
    feed.ask(Request(object=(1, 5, 7)))
    assert feed.snapshot.detail is not None
    assert holders(feed.snapshot.detail) == [(100, 3), (200, 8)]


def test_the_sweep_at_the_end_is_no_mapping_from_before(tmp_path: Path) -> None:
    story = Story()
    story.create(5)
    story.map(5, 100, 0x1000)
    story.unmap(5, 100, 0x1000)
    story.map(5, 100, 0x1000, baseline=True, flags=512)
    assert mappers(detail_of(story, tmp_path)) == []


def test_who_could_write_when_it_was_sealed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where so many mappings came and went that those that ended are forgotten."""
    story = Story()
    story.create(5)
    story.map(5, 300, 0x9000, comm=b"held", baseline=True)
    story.map(5, 100, 0x1000)
    story.map(5, 200, 0x2000, comm=b"reader", arg=SHARED_RO)
    story.event("add_seals", 5, arg=8, answer=-16)
    story.unmap(5, 100, 0x1000)
    story.map(5, 100, 0x1000, arg=SHARED_RO)
    for again in range(30):
        story.map(5, 400, 0x4000, comm=b"again")
        if again < 29:
            story.unmap(5, 400, 0x4000, comm=b"again")
    story.event("add_seals", 5, arg=16, answer=0, seals_after=16)
    whole = detail_of(story, tmp_path)
    assert [call["notes"] for call in whole.seals] == [
        ["busy: mapped writable by held/300 vmm/100"],
        ["late: already mapped writable by again/400 held/300"],
    ]
    assert mappers(whole) == [(100, 0x1000), (200, 0x2000), (300, 0x9000), (400, 0x4000)]
    monkeypatch.setattr("tracer.live.objects.MOST", 4)
    monkeypatch.setattr("tracer.live.feed.MANY", 10)
    few = detail_of(story, tmp_path)
    assert [call["notes"] for call in few.seals] == [call["notes"] for call in whole.seals]
    assert mappers(few) == mappers(whole)
