"""The power fails at any moment: what was promised is there, and the rest is not in its way.

The disk is one that POSIX allows, not that of a certain file system: data are there when their file
was synced, names when their folder was, and of all that was not synced any part may be there.
"""

import errno
import os
import random
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from tests.unit.recording.store_records import SMALL, numbered
from tracer.record import RecordType
from tracer.recording import chain, folder
from tracer.recording.chain import ChainWriter
from tracer.recording.errors import DiskFull
from tracer.recording.reader import Recording
from tracer.recording.replace import refuse_existing
from tracer.recording.verify import verify
from tracer.recording.writer import RecordingWriter

LIMITS = replace(SMALL, seconds=1.2, group_rows=64)
RECORDS = 83
_STORE = "/tracer/recording/"
CLOCK = 50
"""Which of the records is a clock's, so that a second table begins in the middle."""


@dataclass(frozen=True)
class Call:
    """One call that changed a disk: something of the folder or file ``inode``."""

    inode: int
    names: tuple[tuple[str, int | None], ...] = ()
    """Names that it gave to inodes in a folder, all at one moment; None: that it took away."""
    data: bytes = b""
    offset: int = 0
    syncs: str = ""
    """For a sync: where in the source it was asked for."""


class Disk:
    """The ``os`` of tracer.recording.folder: does what it is told, and writes it down."""

    def __init__(self, top: Path) -> None:
        self.calls: list[Call] = []
        self.top = os.stat(top).st_ino
        self.folders = {self.top}
        self.kept: list[int] = []  # an inode that is open gives its number to no other
        self._ends: dict[int, int] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(os, name)

    def _place(self, path: str, dir_fd: int | None) -> tuple[int, str]:
        if dir_fd is not None:
            return os.fstat(dir_fd).st_ino, path
        return os.stat(os.path.dirname(path)).st_ino, os.path.basename(path)

    def _born(self, path: str, dir_fd: int | None) -> int:
        self.kept.append(os.open(path, os.O_RDONLY, dir_fd=dir_fd))
        where, name = self._place(path, dir_fd)
        inode = os.fstat(self.kept[-1]).st_ino
        self.calls.append(Call(where, ((name, inode),)))
        return inode

    def mkdir(self, path: str, mode: int, *, dir_fd: int | None = None) -> None:
        os.mkdir(path, mode, dir_fd=dir_fd)
        self.folders.add(self._born(path, dir_fd))

    def open(self, path: str, flags: int, mode: int = 0, *, dir_fd: int | None = None) -> int:
        new = flags & os.O_CREAT and not os.access(path, os.F_OK, dir_fd=dir_fd)
        fd = os.open(path, flags, mode, dir_fd=dir_fd)
        if new:
            self._born(path, dir_fd)
        return fd

    def write(self, fd: int, data: memoryview) -> int:
        inode, count = os.fstat(fd).st_ino, os.write(fd, data)
        end = self._ends.get(inode, 0)
        self._ends[inode] = end + count
        self.calls.append(Call(inode, data=bytes(data[:count]), offset=end))
        return count

    def rename(self, old: str, new: str, *, src_dir_fd: int, dst_dir_fd: int) -> None:
        inode = os.stat(old, dir_fd=src_dir_fd).st_ino
        os.rename(old, new, src_dir_fd=src_dir_fd, dst_dir_fd=dst_dir_fd)
        self.calls.append(Call(os.fstat(dst_dir_fd).st_ino, ((old, None), (new, inode))))

    def unlink(self, name: str, *, dir_fd: int) -> None:
        os.unlink(name, dir_fd=dir_fd)
        self.calls.append(Call(os.fstat(dir_fd).st_ino, ((name, None),)))

    def fsync(self, fd: int) -> None:
        os.fsync(fd)
        ours = [one for one in traceback.extract_stack() if _STORE in one.filename]
        asked = ours[-2:]
        by = " > ".join(f"{Path(one.filename).name}:{one.lineno}" for one in asked)
        self.calls.append(Call(os.fstat(fd).st_ino, syncs=by))

    def start_again(self, cut: int, settled: int, chance: "Chance", without: str, to: Path) -> None:
        """Makes in ``to`` what is there when the power failed behind ``cut`` calls.

        The first ``settled`` were long ago; the syncs that ``without`` names never were.
        """
        done = self.calls[:cut]
        synced = {one.inode: at for at, one in enumerate(done) if one.syncs not in ("", without)}
        names: dict[int, dict[str, int]] = {}
        data: dict[int, bytearray] = {}
        for at, call in enumerate(done):
            fate = "done" if at < max(settled, synced.get(call.inode, 0)) else chance(at)
            if fate == "lost" or (call.names and fate != "done"):
                continue
            for name, inode in call.names:
                names.setdefault(call.inode, {}).pop(name, None)
                if inode is not None:
                    names[call.inode][name] = inode
            if call.data:
                part = call.data[: len(call.data) // 2] if fate == "half" else call.data
                there, end = data.setdefault(call.inode, bytearray()), call.offset + len(part)
                there.extend(bytes(max(0, end - len(there))))
                there[call.offset : end] = bytes(len(part)) if fate == "zeros" else part
        self._make(to, self.top, names, data)

    def _make(
        self, to: Path, inode: int, names: dict[int, dict[str, int]], data: dict[int, bytearray]
    ) -> None:
        if inode in self.folders:
            to.mkdir()
            for name, inner in names.get(inode, {}).items():
                self._make(to / name, inner, names, data)
        else:
            to.write_bytes(data.get(inode, b""))


Chance = Callable[[int], str]
"""What becomes of a call, by its number, that was not synced."""


def _lost(_: int) -> str:
    return "lost"


def _done(_: int) -> str:
    return "done"


def _any(seed: int) -> Chance:
    fates = ("lost", "done", "done", "half", "zeros")
    return lambda at: random.Random(seed * 10_000 + at).choice(fates)


CHANCES = {"lost": _lost, "done": _done, **{f"any {seed}": _any(seed) for seed in range(2)}}


@dataclass
class Scene:
    """A recording as it was made, and what its recorder could promise when."""

    disk: Disk
    settled: int = 0
    promises: list[tuple[int, int, bool]] = field(default_factory=list)
    """From so many calls on: so many records are safe, and whether it is ended."""

    def promise(self, path: Path, *, ended: bool = False) -> None:
        with folder.Folder.open(path) as where:
            links = chain.read(where).links
        rows = sum(part.rows for link in links for part in link.files.values())
        self.promises.append((len(self.disk.calls), rows, ended))

    def promised(self, cut: int) -> tuple[int, int, bool]:
        return max((one for one in self.promises if one[0] <= cut), default=(0, -1, False))


def _record(path: Path, scene: Scene, force: bool) -> None:
    """Segments that end by rows, by time and by the end, some with a tail before."""
    writer = RecordingWriter(path, {"again": force}, force=force, limits=LIMITS)
    scene.promise(path)
    records, start, now_s = numbered(RECORDS), 0, 0.0
    records["type"][CLOCK] = RecordType.CLOCK
    for count in (5, 30, 3, 2, 1, 1, 7) if force else (5, 30, 3, 2, 1, 1, 41):
        writer.append(records[start : start + count])
        scene.promise(path)
        start, now_s = start + count, now_s + 0.5
        writer.tick(now_s)
        scene.promise(path)
    writer.close("done")
    scene.promise(path, ended=True)


@contextmanager
def _recorded(top: Path, monkeypatch: pytest.MonkeyPatch, force: bool) -> Iterator[Scene]:
    scene = Scene(Disk(top))
    monkeypatch.setattr(folder, "os", scene.disk)
    _record(top / "r.seal", scene, force=False)
    if force:
        scene = Scene(scene.disk, settled=len(scene.disk.calls))
        _record(top / "r.seal", scene, force=True)
    monkeypatch.setattr(folder, "os", os)
    yield scene
    for fd in scene.disk.kept:
        os.close(fd)


def _is_new(path: Path, force: bool) -> bool:
    manifest = path / "manifest.json"
    return manifest.exists() and f'"again": {str(force).lower()}' in manifest.read_text()


def _look(path: Path, promised: tuple[int, int, bool], force: bool) -> None:
    """AssertionError: something is not there that was promised, or something untrue is."""
    _, rows, ended = promised
    if not _is_new(path, force):
        assert rows < 0, "no recording"
        refuse_existing(str(path), force=True)  # what is left can be replaced
        return
    # Readers that only know folders of Parquet find this one from the start.
    assert (path / "events").is_dir() or rows < 0
    with Recording.open(path) as recording:
        found = {
            name: [n for table in recording.tables(name, ["seq"]) for n in table["seq"].to_pylist()]
            for name in ("events", "clocks")
        }
    there = sorted(found["events"] + found["clocks"])
    assert found["events"] == sorted(set(found["events"]))
    assert there == list(range(len(there))), "no prefix"
    assert len(there) >= rows
    report = verify(path)
    assert not report.damage, report.damage
    assert not report.unexplained
    assert report.ok or not ended


def _failures(
    scene: Scene, force: bool, where: Path, chances: dict[str, Chance], without: str = ""
) -> Iterator[str]:
    for cut in range(scene.settled, len(scene.disk.calls) + 1):
        for name, chance in chances.items():
            top = where / f"{cut} {name}"
            scene.disk.start_again(cut, scene.settled, chance, without, top)
            try:
                _look(top / "r.seal", scene.promised(cut), force)
            except Exception as error:
                yield f"behind call {cut}, what was not synced {name}: {error!r}"


@pytest.mark.parametrize("force", [False, True])
def test_what_was_promised_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, force: bool
) -> None:
    (top := tmp_path / "top").mkdir()
    with _recorded(top, monkeypatch, force) as scene:
        assert max(rows for _, rows, _ in scene.promises) == (CLOCK - 1 if force else RECORDS)
        assert list(_failures(scene, force, tmp_path, CHANCES)) == []


@pytest.mark.slow
def test_no_sync_is_for_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without any one of them something gets lost: so each has its reason, and the test sees it."""
    places: set[str] = set()
    needed: set[str] = set()
    for force in (False, True):
        (top := tmp_path / f"top {force}").mkdir()
        with _recorded(top, monkeypatch, force) as scene:
            places |= {call.syncs for call in scene.disk.calls} - {""}
            for by in places - needed:
                (where := tmp_path / f"{force} {by}").mkdir()
                if next(_failures(scene, force, where, CHANCES, without=by), ""):
                    needed.add(by)
    assert places == needed, "\n".join(places - needed)
    assert len(places) > 6


def test_what_a_failed_recorder_vouches_for_is_on_the_device(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its tail is in the chain's last line: the power may fail right behind that."""
    (top := tmp_path / "top").mkdir()
    disk = Disk(top)
    monkeypatch.setattr(folder, "os", disk)
    writer = RecordingWriter(top / "r.seal", {"again": False}, limits=LIMITS)
    writer.append(numbered(5))
    writer.tick(0.5)

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(ChainWriter, "append", full)
    with pytest.raises(DiskFull):
        writer.tick(9)
    writer.close("done")
    monkeypatch.setattr(folder, "os", os)
    for cut in range(len(disk.calls) + 1):
        disk.start_again(cut, 0, _lost, "", tmp_path / f"{cut}")
        _look(tmp_path / f"{cut}" / "r.seal", (0, -1, False), force=False)
    with Recording.open(tmp_path / f"{cut}" / "r.seal") as recording:
        assert recording.end is not None
        assert recording.end.reason == "disk full"
        assert sum(table.num_rows for table in recording.tables("events")) == 5
    for fd in disk.kept:
        os.close(fd)
