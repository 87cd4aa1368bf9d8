"""The attempts: real calls on this machine's kernel, written down as they were."""

import errno
import os
from collections import Counter
from pathlib import Path

import pytest

from tracer.analysis.judge import COLUMNS
from tracer.selftest import scratch as syscalls
from tracer.selftest.attempts import all_sets, attempt_all, short_sets
from tracer.selftest.scratch import (
    MAP_PRIVATE,
    MFD_ALLOW_SEALING,
    PAGE,
    PROT_READ,
    PROT_WRITE,
    Attempt,
    Attempts,
    Maker,
    Scratch,
    columns,
)
from tracer.words import Flag, Kind, Op, Seal

EPERM, EBUSY, EACCES = -errno.EPERM, -errno.EBUSY, -errno.EACCES
READ_WRITE = PROT_READ | PROT_WRITE


@pytest.fixture(scope="module")
def short() -> Attempts:
    attempts = Attempts()
    attempt_all(attempts, thorough=False)
    return attempts


@pytest.fixture
def maker() -> Maker:
    return Maker(Attempts(), huge=False)


def last(maker: Maker) -> Attempt:
    return maker.attempts[-1]


def test_answers_are_the_kernels_own() -> None:
    fd = syscalls.memfd_create(b"x", MFD_ALLOW_SEALING)
    assert fd > 2
    assert os.readlink(f"/proc/self/fd/{fd}") == "/memfd:x (deleted)"
    assert syscalls.ftruncate(fd, 4096) == 0
    assert syscalls.pwrite(fd, 4000, 200) == 200
    assert os.fstat(fd).st_size == 4200
    assert syscalls.pread(fd, 0, 8192) == 4200
    assert syscalls.add_seals(fd, Seal.GROW) == 0
    assert syscalls.get_seals(fd) == Seal.GROW
    assert syscalls.ftruncate(fd, 8192) == EPERM
    assert syscalls.fchmod(fd, 0o600) == 0
    assert os.fstat(fd).st_mode & 0o7777 == 0o600
    address = syscalls.mmap(0, 4096, READ_WRITE, syscalls.MAP_SHARED, fd, 0)
    assert address > 0
    assert address % 4096 == 0
    assert syscalls.add_seals(fd, Seal.WRITE) == EBUSY
    assert syscalls.mprotect(address, 4096, PROT_READ) == 0
    assert syscalls.munmap(address, 4096) == 0
    assert syscalls.fallocate(fd, 3, 0, 4096) == 0
    os.close(fd)
    assert syscalls.get_seals(fd) == -errno.EBADF
    assert syscalls.memfd_create(b"x", 0x20) == -errno.EINVAL


def test_a_refused_truncate_is_written_down(maker: Maker) -> None:
    file = maker.sealed(Seal.SHRINK)
    assert file is not None
    assert file.truncate(100) == EPERM
    mode = os.fstat(file.fd).st_mode
    assert last(maker)._replace(duration_ns=0) == Attempt(
        op=Op.TRUNCATE, kind=Kind.MEMFD, ino=os.fstat(file.fd).st_ino, seals=2, seals_after=2,
        size=8192, size_after=8192, offset=0, length=100, arg=8, answer=EPERM, duration_ns=0,
        writable=0, mode=mode, fmode=0, uid=os.getuid(), hooked=1,
    )  # fmt: skip
    assert file.truncate(12288) == 0
    assert (last(maker).size, last(maker).size_after, last(maker).answer) == (8192, 12288, 0)
    file.close()


def test_sealing_shows_seals_before_and_after(maker: Maker) -> None:
    file = maker.sized()
    assert file.add_seals(Seal.GROW) == 0
    assert file.add_seals(Seal.WRITE | Seal.SEAL) == 0
    one = last(maker)
    assert (one.seals, one.seals_after, one.arg, one.fmode) == (4, 13, 9, 3)
    assert file.add_seals(Seal.SHRINK) == EPERM
    assert file.add_seals(0, fmode=1) == EPERM
    assert (last(maker).seals, last(maker).seals_after, last(maker).fmode) == (13, 13, 1)
    file.close()


def test_writable_mappings_are_counted_as_the_kernel_does(maker: Maker) -> None:
    file = maker.sized()
    private = file.map(READ_WRITE, MAP_PRIVATE)
    reading = file.map(PROT_READ, fmode=1)
    assert private
    assert reading
    assert file.add_seals(Seal.WRITE) == 0  # neither of them counts
    assert last(maker).writable == 0
    assert file.add_seals(Seal.GROW) == 0
    assert last(maker).writable == -1
    private.unmap()
    reading.unmap()
    file.close()
    file = maker.sized()
    mapping = file.map(PROT_READ)
    assert mapping
    assert file.add_seals(Seal.WRITE) == EBUSY  # it could be made writable
    assert last(maker).writable == 1
    mapping.unmap()
    assert file.add_seals(Seal.WRITE) == 0
    assert last(maker).writable == 0
    assert file.map(READ_WRITE) is None
    assert (last(maker).answer, last(maker).writable) == (EPERM, -1)
    file.close()


def test_a_mapping_from_begin_to_end(maker: Maker) -> None:
    file = maker.sized()
    mapping = file.map(READ_WRITE, offset=4096)
    assert mapping
    mapping.protect(PROT_READ)
    mapping.unmap()
    file.close()
    made, began, changed, ended, gone = maker.attempts[-5:]
    assert [one.op for one in maker.attempts[-5:]] == [
        Op.MMAP, Op.MAP, Op.MPROTECT, Op.UNMAP, Op.EVICT,
    ]  # fmt: skip
    assert made.arg == READ_WRITE | 1 << 32
    assert made.answer == began.answer == ended.answer == mapping.address
    assert (made.offset, made.length) == (4096, 4096)
    assert (changed.arg, changed.fmode, changed.hooked, changed.answer) == (PROT_READ, 3, 0, 0)
    assert gone.ino == file.ino
    with Path("/proc/self/maps").open() as maps:
        assert not any("self-test" in line for line in maps)


def test_a_mapping_after_the_seal_stays_read_only(maker: Maker) -> None:
    file = maker.sealed(Seal.FUTURE_WRITE)
    assert file is not None
    mapping = file.map(PROT_READ)
    assert mapping
    assert mapping.protect(READ_WRITE) == EACCES
    mapping.unmap()
    assert file.map(READ_WRITE, fmode=1) is None
    assert last(maker).answer == EACCES
    file.close()


def test_names_begin_as_the_recordings_filter_says(maker: Maker) -> None:
    for prefix in (b"", b"qemu-", b"x" * 249):
        attempts = Attempts(prefix)
        file = Scratch(attempts, MFD_ALLOW_SEALING)
        name = os.readlink(f"/proc/self/fd/{file.fd}")
        file.close()
        assert name.startswith("/memfd:" + (prefix or b"sealsnoop-self-test").decode())
    assert len(Attempts(b"x" * 240).name) == 249, "MFD_NAME_MAX_LEN"


def test_a_refused_creation_is_an_attempt() -> None:
    attempts = Attempts()
    with pytest.raises(OSError, match="Invalid argument"):
        Scratch(attempts, 0x40)
    [one] = attempts
    assert (one.op, one.kind, one.ino, one.arg, one.answer) == (
        Op.CREATE, Kind.UNKNOWN, 0, 0x41, -errno.EINVAL,
    )  # fmt: skip


def test_the_sets() -> None:
    assert sorted(all_sets()) == list(range(64))
    assert set(short_sets()) == {0, 1, 2, 4, 8, 16, 32, 31}


def test_short_fires_every_operation_under_every_seal(short: Attempts) -> None:
    done = {(one.op, one.seals) for one in short if one.kind == Kind.MEMFD}
    ops = (Op.MMAP, Op.WRITE, Op.READ, Op.TRUNCATE, Op.CHMOD, Op.ALLOCATE, Op.PUNCH_HOLE,
           Op.ADD_SEALS, Op.EVICT)  # fmt: skip
    sealed = {seals for op, seals in done if op == Op.ADD_SEALS}
    assert {0, 1, 2, 4, 8, 16, 31} <= sealed
    assert all((op, seals) in done for op in ops for seals in (0, 1, 2, 4, 8, 16, 31))
    assert (Op.CREATE, 1) in done
    assert sum(one.op == Op.MAP and one.arg == Flag.OTHER_MM for one in short) == 1


def test_short_meets_every_refusal(short: Attempts) -> None:
    refused = {(one.op, one.seals) for one in short if one.answer == EPERM}
    for op, seals in (
        (Op.MMAP, 8), (Op.MMAP, 16), (Op.WRITE, 8), (Op.WRITE, 16), (Op.TRUNCATE, 2),
        (Op.TRUNCATE, 4), (Op.ALLOCATE, 4), (Op.PUNCH_HOLE, 8), (Op.ADD_SEALS, 1),
    ):  # fmt: skip
        assert (op, seals) in refused
    assert any(one.op == Op.ADD_SEALS and one.answer == EBUSY for one in short)


def test_short_is_short(short: Attempts) -> None:
    assert 300 < len(short) < 1500


def test_nothing_is_left(short: Attempts) -> None:
    before = sorted(os.listdir("/proc/self/fd"))
    attempts = Attempts()
    attempt_all(attempts, thorough=True)
    assert sorted(os.listdir("/proc/self/fd")) == before
    assert "self-test" not in Path("/proc/self/maps").read_text()
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)
    counts = Counter(one.op for one in attempts)
    assert counts[Op.EVICT] == sum(one.op == Op.CREATE and one.answer >= 0 for one in attempts)
    assert counts[Op.MAP] == counts[Op.UNMAP] + 1, "the fork's copy ended in its child"
    files = {one.ino: one.seals_after for one in attempts if one.kind == Kind.MEMFD}
    assert set(range(32)) <= set(files.values())
    seals = {one.seals for one in attempts if one.op == Op.MMAP}
    assert set(range(32)) <= seals
    pinned = [one for one in attempts if one.answer == EBUSY and one.duration_ns > 100e6]
    assert [(one.op, one.writable) for one in pinned] == [(Op.ADD_SEALS, 0)]


def test_columns(short: Attempts) -> None:
    found = columns(short, COLUMNS, 9)
    assert set(found) == set(COLUMNS)
    assert {len(column) for column in found.values()} == {len(short)}
    for name in ("op", "kind", "seals", "answer", "arg", "writable", "size", "mode"):
        assert found[name].tolist() == [getattr(one, name) for one in short]
    assert [found[name].dtype.str for name in ("answer", "writable")] == ["<i8", "<i4"]
    assert set(found["folio_order_max"].tolist()) == {9}
    assert set(found["owner_uid"].tolist()) == {os.getuid()}
    assert set(found["flags"].tolist()) == {0}
    assert {len(column) for column in columns([], COLUMNS, 0).values()} == {0}


def test_what_mremap_was_asked(maker: Maker) -> None:
    file = maker.sized()
    file.merging.add(file.ino)
    mapping = file.map(READ_WRITE, syscalls.MAP_SHARED)
    assert mapping
    for old, new in ((1, 2), (2, 1)):
        assert mapping.resize(new * PAGE) == mapping.address
        tried = last(maker)
        # MREMAP_MAYMOVE, vm_flags (read, write, shared, may share) and the old length in pages.
        assert (tried.op, tried.arg) == (Op.MREMAP, 1 | (0x1 | 0x2 | 0x8 | 0x80) << 8 | old << 16)
        assert (tried.offset, tried.length) == (0, new * PAGE)
    mapping.unmap()
    file.close()


def test_the_hole_of_merged_mappings_is_tried_on_a_sealed_file(short: Attempts) -> None:
    """The second mapping, right behind the first, comes when F_SEAL_FUTURE_WRITE is set."""
    told = [[one for one in short if one.ino == ino] for ino in short.merging]
    tried = [
        [Op(one.op).name for one in calls if one.op in (Op.MMAP, Op.MREMAP, Op.ADD_SEALS)]
        for calls in told
    ]
    assert ["MMAP", "ADD_SEALS", "MMAP"] in tried
    assert ["MMAP", "ADD_SEALS", "MREMAP", "MREMAP"] in tried
    sealing = [one for calls in told for one in calls if one.op == Op.ADD_SEALS]
    assert {one.arg for one in sealing} == {Seal.FUTURE_WRITE}
