"""The scan of /proc: real memory files of this very process, and made-up process trees."""

import fcntl
import mmap
import os
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tracer.capture import memory_files as inode
from tracer.capture import memory_files as kinds
from tracer.capture import processes
from tracer.capture.baseline import baseline_records
from tracer.capture.memory_files import MemoryFile, Mounts, Scan
from tracer.capture.procfs import Scanner, problems
from tracer.labels import SEALS_UNKNOWN
from tracer.record import EVENT, HEAD, Kind, Op

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
        assert ino not in {one.ino for one in Scanner().scan().files}
        found = find(Scanner(all_tmpfs=True).scan(), ino)
    assert (found.kind, found.seals) == (Kind.TMPFS, 1)
    assert found.name == os.fsencode(path)


def test_look_agrees_with_stat_and_generation_is_stable() -> None:
    fd = os.memfd_create("x", os.MFD_CLOEXEC)
    path = b"/proc/self/fd/%d" % fd
    mounts, known = Mounts(Path("/proc")), os.fstat(fd)
    with mounts.held(path) as held:
        found = inode.look(held)
        generations = {inode.generation(held) for _ in range(3)}
    assert (found.ino, found.mode, found.size) == (known.st_ino, known.st_mode, 0)
    assert found.dev == os.major(known.st_dev) << 20 | os.minor(known.st_dev)
    assert len(generations) == 1
    with pytest.raises(FileNotFoundError), mounts.held(path, found.dev, found.ino + 1):
        pass
    os.close(fd)


@pytest.mark.parametrize(
    ("size", "kind", "content", "generation"),
    [
        (12, 1, struct.pack("=III", 7, 5, 9), 7),  # mm/shmem.c: generation, ino, ino >> 32
        (12, 0x81, struct.pack("=QI", 9 << 32 | 5, 7), 7),  # fs/exportfs, since 6.7
        (12, 1, struct.pack("=III", 7, 6, 9), 0),  # of another inode
        (8, 1, struct.pack("=II", 5, 7), 0),  # FILEID_INO32_GEN
        (12, 2, struct.pack("=III", 7, 5, 9), 0),
    ],
)
def test_the_generation_in_a_file_handle(
    size: int, kind: int, content: bytes, generation: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def name_to_handle_at(fd: int, name: bytes, buffer: Any, mount: Any, flags: int) -> int:
        struct.pack_into(f"=Ii{len(content)}s", buffer, 0, size, kind, content)
        return 0

    monkeypatch.setattr(inode._libc, "name_to_handle_at", name_to_handle_at)
    with monkeypatch.context() as patch:
        patch.setattr("os.fstat", lambda fd: SimpleNamespace(st_ino=9 << 32 | 5))
        found = inode.generation(3)
    assert found == generation


def test_what_is_no_memory_file_is_never_reached() -> None:
    """Its file system may not answer, whatever it is asked."""
    mounts = Mounts(Path("/proc"))
    for path in (Path("/proc/self/stat"), Path("/sys/kernel/uevent_seqnum")):
        with pytest.raises(FileNotFoundError), mounts.held(os.fsencode(path)):
            pass


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


SHMEM, HUGETLB, FUSE, GONE = 77, 31, 32, 99
"""Mount ids: the kernel's own of tmpfs, two of a mount table, one of none."""
MOUNTINFO = f"""\
28 1 254:0 / / rw,relatime shared:1 - ext4 /dev/root rw
{HUGETLB} 28 0:31 / /dev/huge\\040pages rw - hugetlbfs hugetlbfs rw,pagesize=2M
{FUSE} 28 0:32 / /mnt/dead rw,nosuid,nodev shared:9 - fuse.sshfs a:/ rw,user_id=0
"""


def fake_process(root: Path, pid: int, links: dict[int, tuple[str, int]], maps: str = "") -> Path:
    """``links``: descriptor → text and mount id."""
    folder = root / str(pid)
    for name in ("fd", "fdinfo", "ns"):
        (folder / name).mkdir(parents=True)
    (folder / "comm").write_bytes(b"fa\xffke\n")
    (folder / "status").write_text("Name:\tfake\nUid:\t1000\t0\t0\t0\n")
    (folder / "stat").write_text("1 (fake) S" + " 0" * 18 + " 42 0\n")
    (folder / "maps").write_text(maps)
    (folder / "mountinfo").write_text(MOUNTINFO)
    (folder / "ns" / "mnt").symlink_to("mnt:[4026531841]")
    (folder / "root").symlink_to("/")
    for fd, (link, mount) in links.items():
        (folder / "fd" / str(fd)).symlink_to(link)
        told = f"pos:\t0\nflags:\t0100002\nmnt_id:\t{mount}\nino:\t7\n"
        (folder / "fdinfo" / str(fd)).write_text(told)
    return folder


class Looks:
    """Stands for the file systems; ``asked`` has what was asked of them."""

    def __init__(self) -> None:
        self.asked: list[bytes] = []

    def __call__(self, path: bytes) -> inode.Inode:
        link = os.readlink(path)
        self.asked.append(link)
        if link == b"/stale":
            raise OSError(116, "stale file handle")
        dev = 31 if link.startswith(b"/dev/huge") else 1
        number = int(link.rpartition(b":")[2].split()[0]) if b":" in link else 5
        return inode.Inode(dev, number, 0o100777, 0, 5, 6, 4096)


def scanned(root: Path, looks: Looks, **options: Any) -> Scan:
    mounts = Mounts(root, {SHMEM: (1, inode.TMPFS_MAGIC)})
    return Scanner(root, look=looks, mounts=mounts, **options).scan()


LINKS = {
    3: ("/memfd:77 (deleted)", SHMEM),
    4: ("/stale", SHMEM),
    5: ("/dev/kmsg", 28),
    6: ("socket:[1]", 9),
}


def test_fake_tree(tmp_path: Path) -> None:
    fake_process(tmp_path, 10, LINKS)
    fake_process(tmp_path, 11, LINKS)
    (tmp_path / "12").mkdir()  # vanished between two looks
    (tmp_path / "self").mkdir()
    (tmp_path / "uptime").write_text("")
    scan = scanned(tmp_path, Looks())
    [file] = scan.files
    assert (file.ino, file.gen, file.seals) == (77, 0, SEALS_UNKNOWN)
    assert {(one.pid, one.fd, one.who) for one in file.holders} == {
        (10, 3, processes.Who(b"fa\xffke", 1000, 0, 420_000_000)),
        (11, 3, processes.Who(b"fa\xffke", 1000, 0, 420_000_000)),
    }
    assert (scan.processes, scan.denied_fds, scan.denied_maps) == (3, 0, 0)
    assert any("seals of 1 memory files not readable" in text for text in scan.problems)


def test_who_it_is_exactly_where_the_kernel_tells(tmp_path: Path) -> None:
    """By the folder that was open all the time; another program meanwhile: then it is not known."""
    pids = {10: "stays", 11: "executes", 12: "ends", 13: "is not told"}
    for pid in pids:
        fake_process(tmp_path, pid, LINKS)
    (tmp_path / "14").touch()  # gone before it could be opened
    looks: list[int] = []

    def identify(folder: int) -> processes.Identity | None:
        pid = int(Path(os.readlink(f"/proc/self/fd/{folder}")).name)
        looks.append(pid)
        again = looks.count(pid) > 1
        if pid == 13 or (pid == 12 and again):
            return None
        return processes.Identity(420_000_123, 2 + (pid == 11 and again), 9)

    [file] = scanned(tmp_path, Looks(), identify=identify).files
    unsure = processes.Who(b"fa\xffke", 1000, 0, 420_000_000)
    exact = processes.Who(b"fa\xffke", 1000, 0, 420_000_123, 2, 9)
    found = {one.pid: one.who for one in file.holders}
    assert found == {10: exact, 11: unsure, 12: unsure, 13: unsure}


def test_who_could_reach_whose_memory_before(tmp_path: Path) -> None:
    """A tracer, also of a thread, and a process in another one's address space."""
    for pid in (10, 11, 12, 13):
        fake_process(tmp_path, pid, {})
    (tmp_path / "11" / "task" / "77").mkdir(parents=True)
    (tmp_path / "11" / "task" / "77" / "status").write_text("Name:\tx\nTracerPid:\t12\n")
    known = {
        10: processes.Identity(50, 1, 9), 11: processes.Identity(40, 1, 8),
        12: processes.Identity(30, 1, 7), 13: processes.Identity(60, 1, 9),
    }  # fmt: skip

    def identify(folder: int) -> processes.Identity | None:
        return known[int(Path(os.readlink(f"/proc/self/fd/{folder}")).name)]

    scan = scanned(tmp_path, Looks(), identify=identify)
    found = {(one.op, one.pid, one.who.own_mm, one.other, one.others) for one in scan.bonds}
    assert found == {(Op.TRACE, 12, 7, 11, known[11]), (Op.SHARE_MM, 13, 9, 10, known[10])}
    rows = baseline_records(scan).view(f"V{HEAD.itemsize}").view(EVENT)
    told = {name: rows[name].tolist() for name in ("op", "pid", "mm", "arg", "offset", "exec_id")}
    assert told == {
        "op": [Op.TRACE, Op.SHARE_MM], "pid": [12, 13], "mm": [8, 9], "arg": [11, 10],
        "offset": [40, 50], "exec_id": [1, 1],
    }  # fmt: skip
    assert scanned(tmp_path, Looks()).bonds == []


def test_who_read_proc_has_ended(tmp_path: Path) -> None:
    """Its privileges are given away next: a thread that is still ending would seem to keep them."""
    fake_process(tmp_path, 10, {})
    for _ in range(50):
        scanned(tmp_path, Looks())
        assert "proc" not in {thread.name for thread in threading.enumerate()}


def test_only_memory_file_systems_are_asked(tmp_path: Path) -> None:
    """One that does not answer would never let go of us."""
    links = {
        3: ("/memfd:77 (deleted)", SHMEM),
        4: ("/dev/huge pages/x", HUGETLB),
        5: ("/mnt/dead/file", FUSE),
        6: ("/mnt/dead/memfd:8 (deleted)", FUSE),
        7: ("/memfd:9 (deleted)", FUSE),
        8: ("/secretmem (deleted)", FUSE),
        9: ("/memfd:10 (deleted)", GONE),
        10: ("/root/file", 28),
        11: ("net:[4026531840]", 4),
    }
    maps = (
        "7f00-7f02 rw-s 00001000 00:01 78      /memfd:a (deleted)\n"
        "7f03-7f04 rw-s 00000000 00:20 8       /mnt/dead/file\n"
        "7f05-7f06 rw-s 00000000 00:20 9       /memfd:b (deleted)\n"
    )
    fake_process(tmp_path, 10, links, maps)
    looks = Looks()
    scan = scanned(tmp_path, looks)
    assert set(looks.asked) == {b"/memfd:77 (deleted)", b"/dev/huge pages/x"}
    assert {(file.dev, file.ino, file.kind) for file in scan.files} == {
        (1, 77, Kind.MEMFD), (31, 5, Kind.HUGETLB), (1, 78, Kind.MEMFD),
    }  # fmt: skip
    assert any("1 open files are on mounts that no process shows" in one for one in scan.problems)


def test_a_file_that_was_exchanged_is_let_go(tmp_path: Path) -> None:
    """Behind the descriptor that was a memfd's there is by now a file of another mount."""
    mounts = Mounts(Path("/proc"), {})  # none is the kernel's own
    fd = os.memfd_create("x", os.MFD_CLOEXEC)
    with pytest.raises(FileNotFoundError), mounts.held(b"/proc/self/fd/%d" % fd):
        pass
    os.close(fd)


def test_mount_tables_are_read_once_for_each_namespace_and_root(tmp_path: Path) -> None:
    for pid in range(10, 20):
        fake_process(tmp_path, pid, {3: ("/memfd:77 (deleted)", SHMEM)})
    other = fake_process(tmp_path, 20, {3: ("/huge/x", 55)})
    (other / "root").unlink()
    (other / "root").symlink_to("/jail")
    (other / "mountinfo").write_text("55 1 0:55 / /huge rw - hugetlbfs none rw\n")
    mounts = Mounts(tmp_path, {SHMEM: (1, inode.TMPFS_MAGIC)})
    read: list[str] = []
    table = mounts._table

    def counted(pid: str) -> Iterator[tuple[int, int, int]]:
        read.append(pid)
        return table(pid)

    mounts._table = counted  # type: ignore[method-assign]
    looks = Looks()
    Scanner(tmp_path, look=looks, mounts=mounts).scan()
    assert read == ["10", "20"]
    assert b"/huge/x" in looks.asked


def test_a_process_that_never_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It waits for ever in munmap, say, and with it whoever wants to read its mappings."""
    for pid in range(10, 15):
        fake_process(tmp_path, pid, LINKS)
    over = threading.Event()
    maps = processes.maps

    def stuck(root: Path, pid: int) -> list[processes.MapsLine]:
        if pid in (11, 13):
            over.wait()
        return maps(root, pid)

    monkeypatch.setattr(processes, "maps", stuck)
    scan = scanned(tmp_path, Looks(), patience_s=0.3)
    over.set()
    [file] = scan.files
    assert {holder.pid for holder in file.holders} == {10, 12, 14}
    assert any("2 processes did not tell" in one for one in scan.problems)


def test_denied_processes_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_process(tmp_path, 10, {})
    fake_process(tmp_path, 11, {})

    def denied(root: Path, pid: int) -> list[processes.MapsLine]:
        raise PermissionError(13, "no")

    monkeypatch.setattr(processes, "maps", denied)
    monkeypatch.setattr(processes, "links", denied)
    scan = scanned(tmp_path, Looks())
    assert (scan.denied_fds, scan.denied_maps, scan.files) == (2, 2, [])
    assert any("mappings of 2 of 2 processes" in text for text in scan.problems)


def test_each_silence_is_said_once(tmp_path: Path) -> None:
    mounts = Mounts(tmp_path, {SHMEM: (1, inode.TMPFS_MAGIC)})
    scan = Scan(0, [])
    nothing = problems(tmp_path, scan, mounts, silent=0)
    mounts.silent = mounts.unknown = 2
    assert problems(tmp_path, scan, mounts, silent=3)[len(nothing) :] == [
        "3 processes did not tell what they have mapped in time",
        "a file system that may have guest memory did not answer",
        "2 open files are on mounts that no process shows",
    ]
