"""Keeping a live view's recording: a copy of what is there at any moment is a whole recording."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.store_records import SMALL, Records, numbered, pick, seqs
from tracer.errors import UserError
from tracer.store.reader import Recording
from tracer.store.verify import verify
from tracer.store.writer import RecordingWriter
from ui.live.keep import REASON, Keeper, copy

pytestmark = pytest.mark.slow

MANIFEST = {"host": "test", "boot_id": "here"}


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
        assert kept.end["reason"] == REASON
        assert not kept.alive
    assert verify(folder / "kept.seal").exit_code == 0
    with Recording.open(folder / "live.seal") as live:
        assert seqs(live) == list(range(len(records))), "the copy did not touch it"


def test_an_unfinished_batch_is_left_out(tmp_path: Path) -> None:
    with RecordingWriter(tmp_path / "live.seal", MANIFEST, limits=SMALL) as writer:
        append(writer, numbered(20), [3, 3])
        tail = tmp_path / "live.seal" / "tail" / "000000.arrow"
        whole = tail.read_bytes()
        tail.write_bytes(whole + whole[len(whole) // 2 :][:100])
        copy(tmp_path / "live.seal", tmp_path / "kept.seal")
        tail.write_bytes(whole)
        writer.close("done")
    assert (tmp_path / "kept.seal" / "tail" / "000000.arrow").read_bytes() == whole
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
