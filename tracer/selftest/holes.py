"""The known kernel holes, tried: each is a call that a seal should refuse."""

from tracer.model.seals import Seal
from tracer.selftest import syscalls
from tracer.selftest.maker import Maker
from tracer.selftest.syscalls import (
    MAP_ANONYMOUS,
    MAP_FIXED,
    MAP_PRIVATE,
    MAP_SHARED,
    MFD_NOEXEC_SEAL,
    PAGE,
    READ_WRITE,
)


def try_holes(maker: Maker) -> None:
    _merge(maker)
    _grow_mapping(maker)
    _exec_brings_write(maker)
    _map_past_end(maker)
    _chmod_noexec(maker)


def _merge(maker: Maker) -> None:
    """A new writable shared mapping right behind one from before F_SEAL_FUTURE_WRITE.

    Until 6.12.92 and 6.13 the check stood in the file's own mmap, which a merge skips.
    """
    file = maker.sized()
    if file.unit != PAGE:  # huge mappings: the same, and room for them is harder to find
        file.close()
        return
    maker.attempts.merging.add(file.ino)
    room = syscalls.mmap(0, 2 * PAGE, 0, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
    first = file.map(READ_WRITE, MAP_SHARED | MAP_FIXED, address=room)
    file.add_seals(Seal.FUTURE_WRITE)
    second = file.map(READ_WRITE, MAP_SHARED | MAP_FIXED, offset=PAGE, address=room + PAGE)
    for mapping in (first, second):
        if mapping:
            mapping.unmap()
    syscalls.munmap(room, 2 * PAGE)
    file.close()


def _grow_mapping(maker: Maker) -> None:
    """A shared writable mapping from before F_SEAL_FUTURE_WRITE grows, and shrinks again."""
    file = maker.sized()
    if file.unit == PAGE:  # huge pages would have to be free
        maker.attempts.merging.add(file.ino)
        mapping = file.map(READ_WRITE)
        file.add_seals(Seal.FUTURE_WRITE)
        if mapping:
            mapping.resize(2 * PAGE)
            mapping.resize(PAGE)
            mapping.unmap()
    file.close()


def _exec_brings_write(maker: Maker) -> None:
    """F_SEAL_EXEC on an executable file brings F_SEAL_WRITE, which a writable mapping forbids.

    Before commit 3b041514cb6e (7.1, 6.12.93) it was set all the same.
    """
    file = maker.sized()
    if file.mode & 0o111:
        with file.mapped(READ_WRITE):
            file.add_seals(Seal.EXEC)
    file.close()


def _map_past_end(maker: Maker) -> None:
    """A writable mapping past the end of a hugetlb file makes it larger, whatever F_SEAL_GROW says
    (fs/hugetlbfs/inode.c:hugetlbfs_file_mmap)."""
    for flags in (MAP_SHARED, MAP_PRIVATE):
        file = maker.sized(1)
        if maker.seal(file, Seal.GROW):
            mapping = file.map(READ_WRITE, flags, length=2 * file.unit)
            if mapping:
                mapping.unmap()
        file.close()


def _chmod_noexec(maker: Maker) -> None:
    """A file that was born with F_SEAL_EXEC is made executable; hugetlbfs_setattr never asks."""
    try:
        file = maker.empty(MFD_NOEXEC_SEAL)
    except OSError:  # flag unknown (until 6.2)
        return
    file.chmod(0o777)
    file.close()
