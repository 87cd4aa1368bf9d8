"""Which memory files the kernel writes to swap, by what its memory controller counts.

An ordinary memfd first and last, and two with F_SEAL_INACCESSIBLE between them, are treated alike:
a process in a cgroup of the file's own allocates all pages and ends; from then on the file's pages
are all that the cgroup has. The kernel is then told to reclaim them all, and the file is closed.
One JSON line for each file: pages, and what was counted when it was filled, after the reclaim and
after it was closed. Root, on a kernel with a memory controller and a RAM disk.
"""

import ctypes
import errno
import fcntl
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

RAM_DISK = "/dev/ram0"
SWAP_KIB = 2048
"""Below 640 pages for two CPUs no slots are kept in reserve (check_cache_active, mm/swap_slots.c),
so a slot that is not used any more is uncharged at once and the counts are exact."""
PAGES, PAGE = 256, 4096
SIZE = PAGES * PAGE
ROUNDS = 4
"""The kernel counts slab that it freed as reclaimed too, so once may leave some pages."""

MFD_INACCESSIBLE, F_SEAL_INACCESSIBLE = 0x8, 0x20
Counts = dict[str, int]


def ordinary() -> int:
    return os.memfd_create("ordinary", os.MFD_ALLOW_SEALING)


def born() -> int:
    return os.memfd_create("born", MFD_INACCESSIBLE)


def sealed() -> int:
    fd = os.memfd_create("sealed", os.MFD_ALLOW_SEALING)
    fcntl.fcntl(fd, fcntl.F_ADD_SEALS, F_SEAL_INACCESSIBLE)
    return fd


@contextmanager
def swap() -> Iterator[None]:
    libc = ctypes.CDLL(None, use_errno=True)
    subprocess.run(["mkswap", RAM_DISK, str(SWAP_KIB)], check=True, stdout=subprocess.DEVNULL)
    if libc.swapon(RAM_DISK.encode(), 0):
        raise OSError(ctypes.get_errno(), "swapon")
    try:
        yield
    finally:
        if libc.swapoff(RAM_DISK.encode()):
            raise OSError(ctypes.get_errno(), "swapoff")


@contextmanager
def cgroups() -> Iterator[Path]:
    """The root of cgroup v2, whose children have a memory controller."""
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(["mount", "-t", "cgroup2", "cgroup2", folder], check=True)
        try:
            (Path(folder) / "cgroup.subtree_control").write_text("+memory")
            yield Path(folder)
        finally:
            subprocess.run(["umount", folder], check=True)


def counted(group: Path, fd: int | None) -> Counts:
    stat = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
    used_kib = sum(int(line.split()[3]) for line in _swaps())
    counts = {name: int(stat[name]) for name in ("shmem", "anon", "pgscan")}
    counts |= {"swap": int((group / "memory.swap.current").read_text()), "used": used_kib * 1024}
    return counts if fd is None else counts | {"allocated": os.fstat(fd).st_blocks * 512}


def _swaps() -> list[str]:
    return Path("/proc/swaps").read_text().splitlines()[1:]


def fill_from(group: Path, fd: int) -> None:
    """All pages of the file are charged to ``group``, where no process stays."""
    child = os.fork()
    if child == 0:
        code = 1
        with suppress(OSError):
            (group / "cgroup.procs").write_text("0")
            os.posix_fallocate(fd, 0, SIZE)
            code = 0
        os._exit(code)
    if os.waitpid(child, 0)[1]:
        sys.exit(f"{group.name} could not be filled")


def reclaim(group: Path) -> None:
    for _ in range(ROUNDS):
        try:
            (group / "memory.reclaim").write_text(str(SIZE))
        except OSError as problem:
            if problem.errno != errno.EAGAIN:  # it tried, and there is nothing that it may take
                raise


def main() -> None:
    with swap(), cgroups() as root:
        for number, make in enumerate((ordinary, born, sealed, ordinary)):
            group = root / f"file-{number}"
            group.mkdir()
            fd = make()
            os.ftruncate(fd, SIZE)
            fill_from(group, fd)
            told = {"filled": counted(group, fd)}
            reclaim(group)
            told["reclaimed"] = counted(group, fd)
            os.close(fd)
            told["closed"] = counted(group, None)
            group.rmdir()
            print(json.dumps({"file": make.__name__, "size": SIZE, **told}), flush=True)


if __name__ == "__main__":
    main()
