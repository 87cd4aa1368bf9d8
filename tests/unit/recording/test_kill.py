"""A recorder that dies at any moment leaves a recording that reads."""

import gc
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from tests.unit.recording.store_records import SMALL, numbered, seqs
from tracer.recording import folder
from tracer.recording.errors import NotARecording
from tracer.recording.folder import Folder
from tracer.recording.format import BLOCK_ROWS
from tracer.recording.reader import Recording
from tracer.recording.tables import tables
from tracer.recording.tail import TailReader, TailWriter
from tracer.recording.verify import verify
from tracer.recording.writer import RecordingWriter

_CHANGING = {"mkdir", "write", "fsync", "rename", "unlink", "utime"}


_LIMITS = replace(SMALL, seconds=1.2, group_rows=64)


class _Killed(BaseException):
    """The process ended here."""


class _MortalOs:
    """The folder's ``os``: from call number ``life`` on, nothing happens any more."""

    def __init__(self, life: int) -> None:
        self.life = life
        self.calls = 0

    def _die(self) -> None:
        self.calls += 1
        if self.calls > self.life:
            raise _Killed

    def __getattr__(self, name: str) -> Any:
        real = getattr(os, name)
        if name not in _CHANGING and name != "open":
            return real

        def call(*args: Any, **kwargs: Any) -> Any:
            if name != "open" or args[1] & os.O_CREAT:
                self._die()
                if name == "write" and self.calls == self.life:
                    return real(args[0], args[1][: len(args[1]) // 2])  # half of it got out
            return real(*args, **kwargs)

        return call


def _record(path: Path, promised: list[int]) -> RecordingWriter:
    """Segments cut by rows, by time and by the end; notes what must not get lost."""
    writer = RecordingWriter(path, {}, limits=_LIMITS)
    records, start, now_s = numbered(83), 0, 0.0
    for count in (5, 30, 3, 2, 1, 1, 41):
        writer.append(records[start : start + count])
        start += count
        now_s += 0.5
        writer.tick(now_s)
        promised.append(start)
    writer.close("done")
    return writer


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_killed_between_any_two_calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    life = 0
    while True:
        path = tmp_path / "r.seal"
        mortal = _MortalOs(life)
        monkeypatch.setattr(folder, "os", mortal)
        promised = [0]
        try:
            _record(path, promised)
            return_code = 0
        except _Killed:
            return_code = 3
        monkeypatch.setattr(folder, "os", os)
        if (path / "manifest.json").exists():
            with Recording.open(path) as recording:
                there = seqs(recording)
            assert there == list(range(len(there))), life
            assert len(there) >= promised[-1], life
            if mortal.calls > life + 1 or return_code == 3:
                report = verify(path)
                assert not report.damage, (life, report.damage)
                assert not report.unexplained
        elif path.exists():
            with pytest.raises(NotARecording):
                Recording.open(path)
        if return_code == 0:
            break
        gc.collect()  # what the dead would still write when Python cleans up must change nothing
        shutil.rmtree(path, ignore_errors=True)
        life += 1
    assert life > 60
    assert verify(path).ok


_MORTALS = """
import os, random, signal, sys, time
from tests.unit.recording.store_records import numbered
from tracer.recording.format import Limits
from tracer.recording.writer import RecordingWriter

def record(path, rng, told):
    limits = Limits(rows=rng.choice([400, 4000]), seconds=0.05, tail_s=0.01, direct_rows=1024,
                    group_rows=512, chunk_rows=128)
    writer = RecordingWriter(path, {}, limits=limits)
    batch, pause, first = rng.choice([1, 7, 300, 900, 3000]), rng.choice([0, 0.001]), 0
    while True:
        count = rng.randrange(1, batch + 1)
        writer.append(numbered(count, first=first))
        first += count
        writer.tick(time.monotonic())
        os.pwrite(told, b"%-20d" % writer.stored_rows, 0)
        time.sleep(pause)

for number in range(int(sys.argv[2])):
    rng = random.Random(number)
    path = f"{sys.argv[1]}/{number}.seal"
    told = os.open(path + ".safe", os.O_CREAT | os.O_RDWR)
    child = os.fork()
    if not child:
        record(path, rng, told)
    time.sleep(0.02)
    while not os.pread(told, 20, 0):  # however busy this machine is
        time.sleep(0.01)
    time.sleep(rng.uniform(0, 0.3))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
"""
KILLS = 50


@pytest.mark.slow
def test_kill_9_of_real_processes_at_any_moment(tmp_path: Path) -> None:
    """What is read is an exact prefix, which reaches at least to what was synced."""
    subprocess.run([sys.executable, "-c", _MORTALS, str(tmp_path), str(KILLS)], check=True)
    truth = tables(numbered(1 << 20))["events"]
    longest, tails = 0, 0
    for number in range(KILLS):
        path = tmp_path / f"{number}.seal"
        safe = int((tmp_path / f"{number}.seal.safe").read_text())
        with Recording.open(path) as recording:
            found = pa.concat_tables([*recording.tables("events"), truth.slice(0, 0)])
            assert recording.end is None
            assert any("killed" in problem for problem in recording.problems)
        assert found.num_rows >= safe, number
        assert found.to_pandas().equals(truth.slice(0, found.num_rows).to_pandas()), number
        report = verify(path)
        assert (report.exit_code, report.damage) == (3, []), report.lines()
        assert report.rows.get("events", 0) == found.num_rows
        longest = max(longest, found.num_rows)
        tails += found.num_rows > safe
        shutil.rmtree(path)
    assert longest > 4000
    assert tails > KILLS // 4, "records that no segment has come out of tails"


@pytest.mark.slow
def test_a_tail_cut_at_any_byte_shows_its_whole_batches(tmp_path: Path) -> None:
    live = tmp_path / "live.seal"
    writer = RecordingWriter(live, {}, limits=SMALL)
    tail = live / "tail" / "000000.records"
    ends = []
    for turn in range(3):
        writer.append(numbered(2, first=2 * turn))
        writer.tick(float(turn) / 2)
        ends.append(tail.stat().st_size if tail.exists() else 0)
    whole = tail.read_bytes()
    dead = tmp_path / "dead.seal"
    shutil.copytree(live, dead)
    for cut in range(len(whole) + 1):
        (dead / "tail" / "000000.records").write_bytes(whole[:cut])
        with Recording.open(dead) as recording:
            there = seqs(recording)
            problems = " ".join(recording.problems)
        want = 2 * sum(cut >= end for end in ends)
        assert there == list(range(want)), cut
        unfinished = cut not in (0, *ends)
        assert ("unfinished block" in problems) == unfinished, cut
    writer.close("done")


def _dead(tmp_path: Path) -> tuple[Path, list[int]]:
    """A tail of two blocks of two records, left by a recorder that was killed; where they end."""
    live = tmp_path / "live.seal"
    writer = RecordingWriter(live, {}, limits=SMALL)
    writer.tick(0)
    ends = []
    for turn in range(2):
        writer.append(numbered(2, first=2 * turn))
        writer.tick(turn + 1.0)
        ends.append((live / "tail" / "000000.records").stat().st_size)
    dead = tmp_path / "dead.seal"
    shutil.copytree(live, dead)
    writer.close("done")
    return dead / "tail" / "000000.records", ends


def _told(tail: Path) -> tuple[list[int], bool]:
    """The events that are found, and whether it is said that a batch is unfinished."""
    with Recording.open(tail.parents[1]) as recording:
        return seqs(recording), "unfinished block" in " ".join(recording.problems)


def test_zeros_in_a_tail_are_no_end_of_it(tmp_path: Path) -> None:
    """What a power failure leaves: the file has its length, and data of it are not there."""
    tail, (first, _) = _dead(tmp_path)
    whole = tail.read_bytes()
    assert _told(tail) == ([0, 1, 2, 3], False)
    tail.write_bytes(whole[:first].ljust(len(whole), b"\0"))
    assert _told(tail) == ([0, 1], True)
    tail.write_bytes(bytes(len(whole)))
    assert _told(tail) == ([], True)


def test_a_changed_byte_ends_what_is_read(tmp_path: Path) -> None:
    """Any of them: of a head, of its checksum, of a record."""
    tail, (first, second) = _dead(tmp_path)
    whole = tail.read_bytes()
    for place in range(second):
        changed = bytearray(whole)
        changed[place] ^= 1 << place % 8
        tail.write_bytes(changed)
        assert _told(tail) == ([] if place < first else [0, 1], True), place


def test_blocks_stand_where_they_were_written(tmp_path: Path) -> None:
    """Whole blocks with good checksums, but not in their places, or of another tail."""
    tail, (first, _) = _dead(tmp_path)
    whole = tail.read_bytes()
    one, two = whole[:first], whole[first:]
    for blocks, found in (([two, one], []), ([one, one], [0, 1]), ([two], []), ([one, two, two],
                          [0, 1, 2, 3])):  # fmt: skip
        tail.write_bytes(b"".join(blocks))
        assert _told(tail) == (found, True)
    tail.write_bytes(whole)
    tail.rename(tail.with_name("000001.records"))
    with Folder.open(tail.parent) as where:
        reader = TailReader(where, 1)
    assert not list(reader.read())
    assert reader.damaged
    reader.close()


def test_a_block_that_is_being_written_is_waited_for(tmp_path: Path) -> None:
    """A reader on another machine may see its length before its bytes."""
    tail, (first, second) = _dead(tmp_path)
    whole = tail.read_bytes()
    tail.write_bytes(whole[:first].ljust(second, b"\0"))
    with Folder.open(tail.parent) as where:
        reader = TailReader(where, 0)
    assert [len(block) for block in reader.read()] == [2]
    assert reader.damaged
    with tail.open("r+b") as file:
        file.write(whole)
    assert [len(block) for block in reader.read()] == [2]
    assert not reader.damaged
    reader.close()


def test_a_long_tail_is_several_blocks(tmp_path: Path) -> None:
    count = 2 * BLOCK_ROWS + 5
    with Folder.open(tmp_path) as where:
        writer = TailWriter(where, 7)
        writer.append(numbered(count))
        writer.complete()
        reader = TailReader(where, 7)
        found = [block["seq"].tolist() for block in reader.read()]
        assert reader.complete
        assert (reader.rows, writer.rows, writer.size) == (count, count, reader.size)
        writer.close()
        reader.close()
    assert [len(block) for block in found] == [BLOCK_ROWS, BLOCK_ROWS, 5]
    assert [seq for block in found for seq in block] == list(range(count))


def test_garbage_in_a_tail_is_said_and_not_believed(tmp_path: Path) -> None:
    tail, _ = _dead(tmp_path)
    dead = tail.parents[1]
    whole = bytearray(tail.read_bytes())
    for place in range(0, len(whole), 13):
        tail.write_bytes(whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :])
        with Recording.open(dead) as recording:
            seqs(recording)  # whatever it finds: no error
