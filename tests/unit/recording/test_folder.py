"""Who may write where: permissions, symbolic links, other recordings, full disks."""

import errno
import json
import os
import resource
import stat
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.unit.recording.store_records import SMALL, mixed, numbered, seqs, write
from tracer.record import RECORD_SIZE
from tracer.recording import folder
from tracer.recording.errors import (
    AlreadyExists,
    Busy,
    DiskFull,
    FutureSchema,
    NotARecording,
    StoreError,
)
from tracer.recording.format import Limits
from tracer.recording.reader import Recording
from tracer.recording.replace import refuse_existing
from tracer.recording.verify import verify
from tracer.recording.writer import RecordingWriter


def test_modes(tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        path = write(tmp_path / "r.seal", mixed(100))
    finally:
        os.umask(old)
    for file in [path, *path.rglob("*")]:
        assert stat.S_IMODE(file.stat().st_mode) == (0o700 if file.is_dir() else 0o600), file


def size_of(path: Path) -> int:
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())


def test_what_lies_on_the_disk_is_told(tmp_path: Path) -> None:
    """A tail is as large as its records; it goes away when its compressed segment has come."""
    small = Limits(chunk_rows=300, group_rows=500, reserve_bytes=0, threads=False)
    limits = replace(small, seconds=9)
    path = tmp_path / "r.seal"
    with RecordingWriter(path, {"a": 1}, limits=limits) as writer:
        assert writer.bytes_on_disk == size_of(path)
        for turn in range(3):
            writer.append(numbered(1000, first=1000 * turn))
            writer.tick(turn)
            assert writer.bytes_on_disk == size_of(path) > 1000 * RECORD_SIZE
        writer.tick(100)
        assert writer.bytes_on_disk == size_of(path) < 1000 * RECORD_SIZE
        writer.append(numbered(7, first=3000))
    assert writer.bytes_on_disk == size_of(path)


def test_what_of_a_segment_is_written_lies_on_the_disk_too(tmp_path: Path) -> None:
    limits = replace(SMALL, rows=5000, direct_rows=5000, chunk_rows=100, reserve_bytes=0)
    path = tmp_path / "r.seal"
    with RecordingWriter(path, {}, limits=limits) as writer:
        writer.append(numbered(2000))
        assert writer.bytes_on_disk == size_of(path) > 100_000


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    path = write(tmp_path / "r.seal", numbered(10))
    with pytest.raises(AlreadyExists, match="--force"):
        RecordingWriter(path, {})
    with RecordingWriter(path, {"second": True}, force=True):
        pass
    with Recording.open(path) as recording:
        assert seqs(recording) == []
        assert recording.manifest.document["second"] is True


@pytest.mark.parametrize("force", [False, True])
def test_force_replaces_nothing_but_recordings(tmp_path: Path, force: bool) -> None:
    folder = tmp_path / "home"
    folder.mkdir()
    (folder / "thesis.txt").write_text("mine")
    with pytest.raises(AlreadyExists, match="no sealsnoop recording"):
        RecordingWriter(folder, {}, force=force)
    file = tmp_path / "file"
    file.write_text("mine")
    with pytest.raises(AlreadyExists):
        RecordingWriter(file, {}, force=force)
    path = write(tmp_path / "r.seal", numbered(10))
    (path / "events" / "thesis.txt").write_text("mine")
    with pytest.raises(AlreadyExists):
        RecordingWriter(path, {}, force=force)
    assert (path / "manifest.json").exists()
    assert (path / "events" / "000000.parquet").exists()


def test_refusal_before_any_work(tmp_path: Path) -> None:
    """What `RecordingWriter` would say, without touching anything."""
    path = tmp_path / "r.seal"
    refuse_existing(str(path), force=False)
    assert not path.exists()
    with RecordingWriter(path, {}), pytest.raises(Busy):
        refuse_existing(str(path), force=True)
    with pytest.raises(AlreadyExists, match="--force"):
        refuse_existing(str(path), force=False)
    refuse_existing(str(path), force=True)
    assert verify(path).exit_code == 0
    with pytest.raises(AlreadyExists, match="no sealsnoop recording"):
        refuse_existing(str(tmp_path), force=True)


def test_symbolic_links_are_not_followed(tmp_path: Path) -> None:
    real = write(tmp_path / "real.seal", numbered(100))
    link = tmp_path / "link.seal"
    link.symlink_to(real)
    with pytest.raises(StoreError, match="symbolic link"):
        Recording.open(link)
    with pytest.raises(StoreError):
        RecordingWriter(link, {}, force=True)
    dangling = tmp_path / "dangling.seal"
    dangling.symlink_to(tmp_path / "victim")
    with pytest.raises(StoreError):
        RecordingWriter(dangling, {}, force=True)
    assert not (tmp_path / "victim").exists()
    part = real / "events" / "000000.parquet"
    part.rename(tmp_path / "elsewhere")
    part.symlink_to(tmp_path / "elsewhere")
    with Recording.open(real) as recording:
        assert seqs(recording) == list(range(40, 100))
        assert any("000000.parquet" in problem for problem in recording.problems)


def test_a_fifo_does_not_hold_the_reader_up(tmp_path: Path) -> None:
    path = write(tmp_path / "r.seal", numbered(10))
    (path / "events" / "000000.parquet").unlink()
    os.mkfifo(path / "events" / "000000.parquet")
    with Recording.open(path) as recording:
        assert seqs(recording) == []


def test_two_writers(tmp_path: Path) -> None:
    path = tmp_path / "r.seal"
    with RecordingWriter(path, {}) as writer:
        with pytest.raises(Busy, match="another sealsnoop"):
            RecordingWriter(path, {}, force=True)
        writer.append(numbered(3))
    with Recording.open(path) as recording:
        assert seqs(recording) == [0, 1, 2]


def test_what_is_no_recording(tmp_path: Path) -> None:
    with pytest.raises(NotARecording):
        Recording.open(tmp_path / "nothing")
    with pytest.raises(NotARecording, match=r"manifest\.json"):
        Recording.open(tmp_path)
    for text in ("[]", "{}", "\xff", '{"format": "other", "schema_version": 1}'):
        (tmp_path / "manifest.json").write_text(text, encoding="latin-1")
        with pytest.raises(NotARecording):
            Recording.open(tmp_path)


def test_a_newer_recording(tmp_path: Path) -> None:
    path = write(tmp_path / "r.seal", numbered(3))
    manifest = json.loads((path / "manifest.json").read_text())
    (path / "manifest.json").write_text(json.dumps(manifest | {"schema_version": 3}))
    with pytest.raises(FutureSchema, match="update sealsnoop"):
        Recording.open(path)


def test_a_recording_from_before_the_first_release(tmp_path: Path) -> None:
    path = write(tmp_path / "r.seal", numbered(3))
    manifest = json.loads((path / "manifest.json").read_text())
    (path / "manifest.json").write_text(json.dumps(manifest | {"schema_version": 1}))
    with pytest.raises(NotARecording, match="record it again"):
        Recording.open(path)


def test_messages_say_what_to_do_and_show_no_internals(tmp_path: Path) -> None:
    with pytest.raises(StoreError) as caught:
        RecordingWriter(tmp_path / "no" / "r.seal", {})
    assert "does not exist" in str(caught.value)
    assert "Errno" not in str(caught.value)


def test_unknown_table_and_column(tmp_path: Path) -> None:
    with Recording.open(write(tmp_path / "r.seal", numbered(3))) as recording:
        with pytest.raises(StoreError, match="no table 'event'"):
            next(recording.tables("event"))
        with pytest.raises(StoreError, match="no column 'sead'"):
            next(recording.tables("events", ["sead"]))


@pytest.fixture
def little_disk(tmp_path: Path) -> Iterator[Path]:
    where = tmp_path / "disk"
    where.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(where)]
    if os.geteuid() or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("NOT TESTED: a full tmpfs needs root; the file size limit below is tested")
    yield where
    subprocess.run(["umount", "-l", str(where)], check=True)


@pytest.mark.parametrize("threads", [False, True])
@pytest.mark.parametrize("tails", [False, True])
def test_full_disk(little_disk: Path, threads: bool, tails: bool) -> None:
    path = little_disk / "r.seal"
    limits = Limits(
        rows=2000, direct_rows=500, group_rows=1000, chunk_rows=100, tail_s=0, threads=threads
    )
    writer = RecordingWriter(path, {}, limits=limits)

    def fill() -> None:
        for turn in range(100_000):
            writer.append(mixed(100, turn, (1,)))
            if tails:
                writer.tick(float(turn) / 1000)

    with pytest.raises(DiskFull, match="no space left") as caught:
        fill()
    assert "Errno" not in str(caught.value)
    with pytest.raises(DiskFull):
        writer.append(numbered(1))
    writer.close("interrupted", {0: 5})
    end = json.loads((path / "end.json").read_text())
    assert end["reason"] == "disk full"
    assert end["asked_reason"] == "interrupted"
    with Recording.open(path) as recording:
        there = len(seqs(recording))
        assert there + end["unsaved"] == end["rows"] == writer.rows_written
        assert there > 1000
        assert any("no space left" in problem for problem in recording.problems)


_LIMITED = """
import resource, sys
from tests.unit.recording.store_records import mixed
from tracer.recording.errors import DiskFull
from tracer.recording.format import Limits
from tracer.recording.writer import RecordingWriter
writer = RecordingWriter(sys.argv[1], {}, limits=Limits(rows=5000, reserve_bytes=0))
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    for turn in range(1000):
        writer.append(mixed(100, turn, (1,)))
except DiskFull as error:
    print(error)
    writer.close("duration")
"""


def test_file_size_limit(tmp_path: Path) -> None:
    path = tmp_path / "r.seal"
    done = subprocess.run(
        [sys.executable, "-c", _LIMITED, str(path)], capture_output=True, text=True, timeout=60
    )
    assert "file size limit" in done.stdout, done
    assert not done.stderr
    assert verify(path).reason == "disk full"


def test_disk_full_at_the_very_end_is_raised_by_close(little_disk: Path) -> None:
    path = little_disk / "r.seal"
    writer = RecordingWriter(path, {})
    writer.append(mixed(20_000, 0, (1,)))  # one segment that has no room
    with pytest.raises(DiskFull):
        writer.close("duration")
    assert json.loads((path / "end.json").read_text())["unsaved"] == 20_000
    assert verify(path).exit_code == 3


def test_half_a_line_of_the_chain_is_taken_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk was full in the middle of it; the last line comes behind the whole ones."""
    path = tmp_path / "r.seal"
    writer = RecordingWriter(path, {}, limits=SMALL)
    writer.append(numbered(40))
    usual = folder.write_all

    def full(fd: int, data: bytes) -> int:
        if fd == writer._chain.fd and b'"segment":1' in data:
            usual(fd, data[: len(data) // 2])
            raise OSError(errno.ENOSPC, "No space left on device")
        return usual(fd, data)

    monkeypatch.setattr(folder, "write_all", full)
    with pytest.raises(DiskFull):
        writer.append(numbered(40, first=40))
    writer.close("done")
    report = verify(path)
    assert (report.exit_code, report.damage, report.reason) == (3, [], "disk full")
    assert report.rows == {"events": 40}


def test_a_chain_that_is_full_ends_the_recording(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Loudly, and before there is one line that no reader takes."""
    monkeypatch.setattr("tracer.recording.chain.CHAIN_LINES", 5)
    writer = RecordingWriter(tmp_path / "r.seal", {}, limits=SMALL)
    writer.append(numbered(120))
    with pytest.raises(StoreError, match="as many as a recording can have"):
        writer.append(numbered(40, first=120))
    writer.close("done")
    assert verify(tmp_path / "r.seal").damage == []


def test_closed_means_closed(tmp_path: Path) -> None:
    writer = RecordingWriter(tmp_path / "r.seal", {}, limits=SMALL)
    writer.close("done")
    writer.close("again")
    with pytest.raises(StoreError, match="closed"):
        writer.append(numbered(1))
    assert json.loads((tmp_path / "r.seal" / "end.json").read_text())["reason"] == "done"


def test_open_files_are_given_back(tmp_path: Path) -> None:
    def descriptors() -> int:
        return len(os.listdir("/proc/self/fd"))

    before = descriptors()
    path = write(tmp_path / "r.seal", mixed(300), Limits(rows=100))
    with Recording.open(path) as recording:
        recording.frame("events", names=True)
        list(recording.follow())
    verify(path)
    assert descriptors() == before
    assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] > before
