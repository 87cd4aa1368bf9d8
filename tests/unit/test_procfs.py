"""The scan of /proc: real memory files of this very process, and made-up process trees."""

import fcntl
import mmap
import os
import stat
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tracer.capture import inode, kinds, processes
from tracer.capture.memoryfile import MemoryFile, Scan
from tracer.capture.procfs import Scanner
from tracer.model.args import SEALS_UNKNOWN
from tracer.model.record import Kind

F_ADD_SEALS = 1033
HOSTILE = [
    b"x" * 249,
    b"line\nline (deleted)",
    b"\xff\xfe\x80bytes",
    b"back\\012slash",
    b"a/b/c",
    "größe \u202e漢".encode(),
    b"",
]


@pytest.fixture(params=HOSTILE, ids=ascii)
def memfd(request: pytest.FixtureRequest) -> Iterator[tuple[bytes, int]]:
    name: bytes = request.param
    fd = os.memfd_create(os.fsdecode(name), os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.ftruncate(fd, 8192)
    yield name, fd
    os.close(fd)


def find(scan: Scan, ino: int) -> MemoryFile:
    return next(file for file in scan.files if file.ino == ino)


def test_finds_a_held_memfd(memfd: tuple[bytes, int]) -> None:
    name, fd = memfd
    fcntl.fcntl(fd, F_ADD_SEALS, 0x6)
    found = find(Scanner().scan(), os.fstat(fd).st_ino)
    assert found.kind == Kind.MEMFD
    assert (found.shown_name, found.kernel_name) == (name, b"memfd:" + name)
    assert found.seals == 0x6
    assert found.stat is not None
    assert (found.stat.size, found.stat.uid) == (8192, os.geteuid())
    [holder] = [one for one in found.holders if one.pid == os.getpid()]
    assert (holder.fd, holder.fmode, holder.who.uid) == (fd, 3, os.getuid())
    assert holder.who.comm == Path("/proc/self/comm").read_bytes().rstrip(b"\n")


def test_finds_a_mapping_without_descriptor(memfd: tuple[bytes, int]) -> None:
    name, fd = memfd
    ino = os.fstat(fd).st_ino
    copy = os.dup(fd)
    # Python's mmap keeps a descriptor of its own unless the mapping is anonymous, so a
    # child that has closed all stands for a program that did.
    reader, writer = os.pipe()
    mapped = mmap.mmap(copy, 4096, offset=4096)
    child = os.fork()
    if child == 0:
        os.closerange(3, writer)
        os.closerange(writer + 1, 1 << 20)
        os.write(writer, b"r")
        threading.Event().wait(30)
        os._exit(0)
    try:
        os.read(reader, 1)
        found = find(Scanner().scan(), ino)
        assert not [one for one in found.holders if one.pid == child]
        [mapping] = [one for one in found.mappings if one.pid == child]
        assert mapping.line.vm_flags == 0xB
        assert (mapping.line.offset, mapping.line.end - mapping.line.start) == (4096, 4096)
        assert found.shared_writable >= 1
        assert found.shown_name == name
    finally:
        os.kill(child, 9)
        os.waitpid(child, 0)
        mapped.close()
        for one in (copy, reader, writer):
            os.close(one)


def test_read_only_descriptor_is_told_apart() -> None:
    fd = os.memfd_create("ro", os.MFD_CLOEXEC)
    reader = os.open(f"/proc/self/fd/{fd}", os.O_RDONLY)
    found = find(Scanner().scan(), os.fstat(fd).st_ino)
    modes = {one.fd: one.fmode for one in found.holders if one.pid == os.getpid()}
    assert modes == {fd: 3, reader: 1}
    assert found.seals == 1
    os.close(fd)
    os.close(reader)


LEADERLESS = """
import ctypes, os, threading
def go_on():
    fd = os.memfd_create("left", os.MFD_CLOEXEC)
    print(os.fstat(fd).st_ino, threading.get_native_id(), flush=True)
    os.read(0, 1)
    os._exit(0)
threading.Thread(target=go_on).start()
ctypes.CDLL(None).syscall(60, 0)  # exit(2): of this thread alone
"""


def test_what_is_held_by_threads_whose_first_has_ended() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", LEADERLESS], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:
        assert child.stdin
        assert child.stdout
        ino, tid = map(int, child.stdout.readline().split())
        ended = Path(f"/proc/{child.pid}/stat")
        while ended.read_text().rpartition(")")[2].split()[0] != "Z":
            time.sleep(0.01)
        try:
            [holder] = find(Scanner().scan(), ino).holders
        finally:
            child.stdin.close()
    assert (holder.pid, holder.tid, holder.fmode) == (child.pid, tid, 3)
    assert tid != child.pid


def test_tmpfs_files_only_when_asked(tmp_path: Path) -> None:
    path = Path("/dev/shm") / f"sealsnoop test {os.getpid()}"
    with path.open("w+") as file:
        path.unlink()
        ino = os.fstat(file.fileno()).st_ino
        assert inode.file_system(b"/dev/shm") == inode.TMPFS_MAGIC
        assert ino not in {one.ino for one in Scanner().scan().files}
        found = find(Scanner(all_tmpfs=True).scan(), ino)
    assert (found.kind, found.seals) == (Kind.TMPFS, 1)
    assert found.name == os.fsencode(path)


def test_look_agrees_with_stat_and_generation_is_stable() -> None:
    fd = os.memfd_create("x", os.MFD_CLOEXEC)
    path = b"/proc/self/fd/%d" % fd
    found, known = inode.look(path), os.fstat(fd)
    assert (found.ino, found.mode, found.size) == (known.st_ino, known.st_mode, 0)
    assert found.dev == os.major(known.st_dev) << 20 | os.minor(known.st_dev)
    generations = {inode.generation(path, found.dev, found.ino) for _ in range(3)}
    assert len(generations) == 1
    with pytest.raises(FileNotFoundError):
        inode.seals(path, found.dev, found.ino + 1)
    os.close(fd)


@pytest.mark.parametrize(
    ("size", "kind", "content", "generation"),
    [
        (12, 1, struct.pack("=III", 7, 5, 9), 7),  # mm/shmem.c: generation, ino, ino >> 32
        (12, 0x81, struct.pack("=QI", 9 << 32 | 5, 7), 7),  # fs/exportfs, since 6.7
        (12, 1, struct.pack("=III", 7, 6, 9), None),  # of another inode
        (8, 1, struct.pack("=II", 5, 7), None),  # FILEID_INO32_GEN
        (12, 2, struct.pack("=III", 7, 5, 9), None),
    ],
)
def test_the_generation_in_a_file_handle(
    size: int, kind: int, content: bytes, generation: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def name_to_handle_at(fd: int, name: bytes, buffer: Any, mount: Any, flags: int) -> int:
        struct.pack_into(f"=Ii{len(content)}s", buffer, 0, size, kind, content)
        return 0

    monkeypatch.setattr(inode._libc, "name_to_handle_at", name_to_handle_at)
    assert inode._handle_generation(3, 9 << 32 | 5) == generation


def test_fifo_is_never_opened(tmp_path: Path) -> None:
    path = os.fsencode(tmp_path / "fifo")
    os.mkfifo(path)
    found = inode.look(path)
    with pytest.raises(FileNotFoundError):
        inode.seals(path, found.dev, found.ino)


def test_a_mount_table_is_read_once_for_each_device(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process may have thousands of mappings of a file system that nobody names."""
    asked: list[int] = []
    systems = kinds.FileSystems(tmp_path)
    monkeypatch.setattr(systems, "_read_mounts", asked.append)
    for dev in (7, 7, 8, 7, 8):
        assert systems.magic_in(dev, 10 + dev, b"/nowhere") == 0
    assert asked == [17, 18]


def test_a_name_alone_makes_no_memfd() -> None:
    internal = {1: inode.TMPFS_MAGIC}
    link = b"/memfd:x (deleted)"
    assert kinds.kind_of(link, 1, inode.TMPFS_MAGIC, internal) == Kind.MEMFD
    assert kinds.kind_of(link, 40, inode.TMPFS_MAGIC, internal) == Kind.TMPFS
    assert kinds.kind_of(link, 41, 0, internal) == Kind.UNKNOWN
    assert kinds.kind_of(b"/secretmem (deleted)", 14, 0x5345434D, internal) == Kind.SECRETMEM
    gmem = b"anon_inode:[kvm-gmem]"
    assert kinds.kind_of(gmem, 16, inode.ANON_INODE_FS_MAGIC, internal) == Kind.GUEST_MEMFD


def test_maps_lines() -> None:
    text = (
        b"55d0-55d1 r--p 00000000 fe:00 123    /bin/x\n"
        b"7f00-7f02 rw-s 00001000 00:01 42                 /memfd:a\\012b (deleted)\n"
        b"7f03-7f04 rw-p 00000000 00:00 0    [heap]\n"
        b"7f05-7f06 ---p 00000000 00:1f 7    /x y\n"
    )
    first, second = processes.parse_maps(text)
    assert first.link == b"/memfd:a\nb (deleted)"
    assert (first.start, first.end, first.vm_flags, first.offset) == (0x7F00, 0x7F02, 0xB, 4096)
    assert (first.dev, first.ino, first.range) == (1, 42, b"7f00-7f02")
    assert (second.dev, second.link, second.vm_flags) == (0x1F, b"/x y", 0)


def test_when_a_process_began() -> None:
    line = b"7 (a) 0 1 2) S 1 7 7 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 123456 4096 9 18446744"
    assert processes.start_ns(line) == 1_234_560_000_000
    assert processes.start_ns(b"7 (cut") == 0


def fake_process(root: Path, pid: int, **descriptors: str) -> Path:
    folder = root / str(pid)
    (folder / "fd").mkdir(parents=True)
    (folder / "comm").write_bytes(b"fa\xffke\n")
    (folder / "status").write_text("Name:\tfake\nUid:\t1000\t0\t0\t0\n")
    (folder / "stat").write_text("1 (fake) S" + " 0" * 18 + " 42 0\n")
    (folder / "maps").write_text("")
    for fd, link in descriptors.items():
        (folder / "fd" / fd.removeprefix("fd")).symlink_to(link)
    return folder


def fake_look(path: bytes) -> inode.Inode:
    link = os.readlink(path)
    if link.startswith(b"/memfd:"):
        return inode.Inode(1, int(link.split(b":")[1].split()[0]), 0o100777, 0, 5, 6, 4096)
    if link == b"/stale":
        raise OSError(116, "stale file handle")
    return inode.Inode(1, 1, stat.S_IFCHR, 1, 0, 0, 0)


def test_fake_tree(tmp_path: Path) -> None:
    links = {"fd3": "/memfd:77 (deleted)", "fd4": "/stale", "fd5": "/dev/kmsg", "fd6": "socket:[1]"}
    fake_process(tmp_path, 10, **links)
    fake_process(tmp_path, 11, **links)
    (tmp_path / "12").mkdir()  # vanished between two looks
    (tmp_path / "self").mkdir()
    (tmp_path / "uptime").write_text("")
    scan = Scanner(tmp_path, look=fake_look).scan()
    [file] = scan.files
    assert (file.ino, file.gen, file.seals) == (77, 0, SEALS_UNKNOWN)
    assert {(one.pid, one.fd, one.who) for one in file.holders} == {
        (10, 3, processes.Who(b"fa\xffke", 1000, 0, 420_000_000)),
        (11, 3, processes.Who(b"fa\xffke", 1000, 0, 420_000_000)),
    }
    assert (scan.processes, scan.denied_fds, scan.denied_maps) == (3, 0, 0)
    assert any("seals of 1 memory files not readable" in text for text in scan.problems)


def test_denied_processes_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_process(tmp_path, 10)
    fake_process(tmp_path, 11)

    def denied(root: Path, pid: int) -> list[processes.MapsLine]:
        raise PermissionError(13, "no")

    monkeypatch.setattr(processes, "maps", denied)
    monkeypatch.setattr(processes, "links", denied)
    scan = Scanner(tmp_path, look=fake_look).scan()
    assert (scan.denied_fds, scan.denied_maps, scan.files) == (2, 2, [])
    assert any("mappings of 2 of 2 processes" in text for text in scan.problems)
