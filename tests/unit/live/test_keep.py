"""Keeping a live view's recording: a copy of what is there at any moment is a whole recording."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.recording.store_records import SMALL, Records, numbered, pick, seqs
from tracer.errors import UserError
from tracer.live import keep
from tracer.live.keep import REASON, Keeper
from tracer.recording.folder import Folder
from tracer.recording.reader import Recording
from tracer.recording.tail import TailWriter
from tracer.recording.verify import verify
from tracer.recording.writer import RecordingWriter

pytestmark = pytest.mark.slow

MANIFEST = {"host": "test", "boot_id": "here"}


def copy(source: Path, target: Path) -> None:
    with Folder.around(target.parent) as around:
        keep.copy(source, around, target.name)


def append(writer: RecordingWriter, records: Records, pieces: list[int], first: int = 0) -> int:
    """Writes ``records`` in pieces of these lengths, with a tick behind each; how many in all."""
    done = 0
    for place, count in enumerate(pieces, first):
        writer.append(pick(records, slice(done, done + count)))
        done += count
        writer.tick(place * 2 * SMALL.tail_s)
    return done


@given(st.lists(st.integers(1, 30), max_size=8), st.lists(st.integers(1, 30), max_size=4))
@settings(max_examples=40, deadline=None)
def test_a_copy_while_it_is_written(
    tmp_path_factory: pytest.TempPathFactory, before: list[int], after: list[int]
) -> None:
    folder = tmp_path_factory.mktemp("keep")
    records = numbered(sum(before) + sum(after))
    with RecordingWriter(folder / "live.seal", MANIFEST, limits=SMALL) as writer:
        done = append(writer, records, before)
        copy(folder / "live.seal", folder / "kept.seal")
        append(writer, pick(records, slice(done, None)), after, len(before))
        writer.close("done")
    with Recording.open(folder / "kept.seal") as kept:
        assert seqs(kept) == list(range(done))
        assert kept.problems == []
        assert kept.end is not None
        assert kept.end.reason == REASON
        assert not kept.alive
    assert verify(folder / "kept.seal").exit_code == 0
    with Recording.open(folder / "live.seal") as live:
        assert seqs(live) == list(range(len(records))), "the copy did not touch it"


def test_what_is_kept_cannot_be_changed_unnoticed(tmp_path: Path) -> None:
    """Its tail too, though nobody made a segment of it, and its checksums can be made anew."""
    with RecordingWriter(tmp_path / "live.seal", MANIFEST, limits=SMALL) as writer:
        append(writer, numbered(5), [3, 2])
        copy(tmp_path / "live.seal", tmp_path / "kept.seal")
        writer.close("done")
    kept = tmp_path / "kept.seal"
    assert verify(kept).exit_code == 0
    [tail] = (kept / "tail").iterdir()
    with Folder.open(tmp_path) as where:
        other = TailWriter(where, 0)
        for first, count in ((0, 3), (3, 1), (4, 1)):  # as the blocks of the other one
            other.append(numbered(count, first=first + 100))
        other.close()
    (tmp_path / other.name).rename(tail)
    assert verify(kept).damage == ["tail/000000.records was changed (its digest is wrong)."]
    with Recording.open(kept) as recording:
        assert seqs(recording) == []
    tail.unlink()
    assert verify(kept).damage == ["tail/000000.records is missing."]


def test_an_unfinished_batch_is_left_out(tmp_path: Path) -> None:
    with RecordingWriter(tmp_path / "live.seal", MANIFEST, limits=SMALL) as writer:
        append(writer, numbered(20), [3, 3])
        tail = tmp_path / "live.seal" / "tail" / "000000.records"
        whole = tail.read_bytes()
        tail.write_bytes(whole + whole[len(whole) // 2 :][:100])
        copy(tmp_path / "live.seal", tmp_path / "kept.seal")
        tail.write_bytes(whole)
        writer.close("done")
    assert (tmp_path / "kept.seal" / "tail" / "000000.records").read_bytes() == whole
    assert verify(tmp_path / "kept.seal").exit_code == 0


def test_it_is_for_its_owner_alone(tmp_path: Path) -> None:
    with RecordingWriter(tmp_path / "live.seal", MANIFEST, limits=SMALL) as writer:
        append(writer, numbered(5), [5])
        copy(tmp_path / "live.seal", tmp_path / "kept.seal")
        writer.close("done")
    assert (tmp_path / "kept.seal").stat().st_mode & 0o777 == 0o700


def test_keeper(tmp_path: Path) -> None:
    source, once, whole = (tmp_path / f"{name}.seal" for name in ("live", "once", "whole"))
    keeper = Keeper(source)
    with RecordingWriter(source, MANIFEST, limits=SMALL) as writer:
        writer.append(numbered(7))
        writer.tick(0)
        assert str(once) in keeper.start(f" {once} ")
        assert keeper.name == str(once)
        assert not once.exists(), "nothing until it ends"
        assert str(once) in keeper.stop()
        assert keeper.name is None
        keeper.start(str(whole))
        writer.append(numbered(7, first=7))
        writer.close("done")
    assert keeper.finish() == whole
    assert keeper.finish() is None
    assert not source.exists()
    for path, count in ((once, 7), (whole, 14)):
        with Recording.open(path) as recording:
            assert seqs(recording) == list(range(count))
        assert verify(path).exit_code == 0


def test_what_cannot_be_kept(tmp_path: Path) -> None:
    keeper = Keeper(tmp_path / "live.seal")
    (tmp_path / "there").mkdir()
    for name, words in (
        (str(tmp_path / "there"), "is there already"),
        (str(tmp_path / "no" / "x.seal"), "nothing can be made there"),
        ("  ", "give the recording a name"),
    ):
        with pytest.raises(UserError, match=words):
            keeper.start(name)
        assert keeper.name is None
    with pytest.raises(UserError, match="nothing is being kept"):
        keeper.stop()
    keeper.start(str(tmp_path / "x.seal"))
    with pytest.raises(UserError, match=r"cannot keep .*x\.seal: No such file or directory"):
        keeper.stop()


def exchanged(target: Path, by: Path) -> None:
    """What the owner of a folder can do at any moment: another thing has that name."""
    target.rename(target.with_name("away"))
    target.symlink_to(by)


@pytest.mark.parametrize("work", [keep.copy, keep.move])
def test_nothing_is_written_by_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, work: Callable[[Path, Folder, str], None]
) -> None:
    """Whatever comes to lie under the name meanwhile, the files go into the folder we made."""
    victim, target = tmp_path / "victim", tmp_path / "kept.seal"
    victim.mkdir()
    (victim / "manifest.json").write_text("precious")
    made = Folder.make

    def then(*args: object) -> Folder:
        folder = made(*args)  # type: ignore[arg-type]
        exchanged(target, victim)
        return folder

    def other_file_system(*_: object) -> None:
        raise OSError(18, "Invalid cross-device link")

    with RecordingWriter(tmp_path / "live.seal", MANIFEST, limits=SMALL) as writer:
        append(writer, numbered(50), [20, 30])
    monkeypatch.setattr(Folder, "make", then)
    monkeypatch.setattr(Folder, "move", other_file_system)
    monkeypatch.setattr(Folder, "link", other_file_system)
    with Folder.around(tmp_path) as around:
        work(tmp_path / "live.seal", around, target.name)
    assert [path.name for path in victim.iterdir()] == ["manifest.json"]
    assert (victim / "manifest.json").read_text() == "precious"
    with Recording.open(tmp_path / "away") as kept:
        assert seqs(kept) == list(range(50))
    assert verify(tmp_path / "away").exit_code == 0


@pytest.mark.parametrize("there", ["file", "folder", "link"])
@pytest.mark.parametrize("work", [keep.copy, keep.move])
def test_what_came_under_the_name_meanwhile_is_left_alone(
    tmp_path: Path, work: Callable[[Path, Folder, str], None], there: str
) -> None:
    target = tmp_path / "kept.seal"
    with RecordingWriter(tmp_path / "live.seal", MANIFEST, limits=SMALL) as writer:
        append(writer, numbered(5), [5])
    if there == "file":
        target.write_text("precious")
    elif there == "folder":
        target.mkdir()
    else:
        target.symlink_to(tmp_path / "nowhere")
    with Folder.around(tmp_path) as around, pytest.raises(FileExistsError):
        work(tmp_path / "live.seal", around, target.name)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["kept.seal", "live.seal"]


def test_the_folder_is_the_one_that_was_named(tmp_path: Path) -> None:
    """It may be another one by the time that the recording goes there."""
    (tmp_path / "mine").mkdir()
    (tmp_path / "theirs").mkdir()
    keeper = Keeper(tmp_path / "live.seal")
    keeper.start(str(tmp_path / "mine" / "x.seal"))
    with RecordingWriter(tmp_path / "live.seal", MANIFEST, limits=SMALL) as writer:
        append(writer, numbered(5), [5])
    exchanged(tmp_path / "mine", tmp_path / "theirs")
    keeper.finish()
    assert os.listdir(tmp_path / "theirs") == []
    assert os.listdir(tmp_path / "away") == ["x.seal"]


@pytest.mark.parametrize("work", [keep.copy, keep.move])
def test_what_is_copied_is_on_the_device(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, work: Callable[[Path, Folder, str], None]
) -> None:
    with RecordingWriter(tmp_path / "live.seal", MANIFEST, limits=SMALL) as writer:
        append(writer, numbered(50), [20, 30])
    synced = set()
    real = os.fsync

    def fsync(fd: int) -> None:
        real(fd)
        synced.add(os.fstat(fd).st_ino)

    def other_file_system(*_: object) -> None:
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(Folder, "move", other_file_system)
    monkeypatch.setattr(Folder, "link", other_file_system)
    monkeypatch.setattr(os, "fsync", fsync)
    with Folder.around(tmp_path) as around:
        work(tmp_path / "live.seal", around, "kept.seal")
    kept = tmp_path / "kept.seal"
    there = {path.stat().st_ino for path in [kept, *kept.rglob("*")] if path.name != "lock"}
    assert there <= synced
    assert tmp_path.stat().st_ino in synced
