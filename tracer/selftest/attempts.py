"""The calls that the self-test makes on scratch files.

They are every seal set x operation x kind of mapping, or a short choice of these; creation, fork
and pinned pages once each; and one call for each known kernel hole, which a seal should refuse.

Writes past the end of a file sealed GROW also show the size of a chunk:
mm/filemap.c:generic_perform_write splits a write into chunks, each of them asks the seals
(mm/shmem.c:shmem_write_begin), and the first one that ends past the end stops the write.
"""

import ctypes
import errno
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext, suppress
from functools import partial
from itertools import combinations
from typing import NamedTuple

from tracer.labels import MREMAP_OLD_SHIFT, VM_MAYSHARE, VM_SHARED
from tracer.selftest.scratch import (
    FALLOC_KEEP_SIZE,
    MAP_ANONYMOUS,
    MAP_FIXED,
    MAP_PRIVATE,
    MAP_SHARED,
    MFD_ALLOW_SEALING,
    MFD_EXEC,
    MFD_NOEXEC_SEAL,
    PAGE,
    PROT_READ,
    PROT_WRITE,
    READ_WRITE,
    Attempt,
    Attempts,
    Maker,
    Mapping,
    Scratch,
    execveat,
    mmap,
    munmap,
    system_call,
    vmsplice,
)
from tracer.words import ExecForm, ExecRole, Kind, Op, Seal

PAGE_SIZE, LARGEST = 4096, 2 << 20
"""The chunks of kernels so far: pages until 6.10 and from 6.13 to 7.1, 2 MiB in others."""
ORDER_UNKNOWN = 255
QUESTION = "grow_write_chunk"
_EPERM = -1
_REMAP_FILE_PAGES = 216
_OTHERS = Seal.WRITE | Seal.FUTURE_WRITE | Seal.EXEC
"""Seals that forbid any write; 0x20 may be such a one."""


def grow_answer(size: int, offset: int, length: int, chunk: int) -> int:
    """What a write at ``offset`` into a file of ``size`` bytes sealed GROW returns."""
    at, end = offset, offset + length
    while at < end:
        stop = min(at // chunk * chunk + chunk, end)
        if stop > size:
            break
        at = stop
    return at - offset if at > offset or not length else _EPERM


def telling_writes(calls: Sequence[Attempt]) -> list[Attempt]:
    """The writes that tell: on memfds sealed GROW, and not sealed against any write."""
    return [
        one
        for one in calls
        if one.op == Op.WRITE and one.kind == Kind.MEMFD
        and one.seals & Seal.GROW and not one.seals & _OTHERS
    ]  # fmt: skip


def wrong(writes: Sequence[Attempt], chunk: int) -> list[Attempt]:
    """Those of :func:`asked` whose answer this chunk does not explain."""
    return [
        one for one in writes if one.answer != grow_answer(one.size, one.offset, one.length, chunk)
    ]


class Chunk(NamedTuple):
    size: int | None
    """Bytes; None: no documented chunk explains the writes, or there were none."""
    order: int
    """The largest folio that a judge should reckon with, `ORDER_UNKNOWN` if that is not known."""
    choice: str | None
    """Of the question `QUESTION`; None: open."""
    wrong: list[Attempt]
    """Where there is no size: the writes that contradict what was to be expected."""


def find(writes: Sequence[Attempt], folio_order: int) -> Chunk:
    """The chunk that explains all of them.

    ``folio_order``: of a memfd, as a hook saw it (``objects.folio_order_max``). No system call
    tells it; with `ORDER_UNKNOWN` chunks of 2 MiB can have two reasons.
    """
    seen = folio_order != ORDER_UNKNOWN
    first = PAGE_SIZE << folio_order if seen else PAGE_SIZE
    size = next((size for size in (first, LARGEST) if writes and not wrong(writes, size)), None)
    if size is None:
        return Chunk(None, folio_order, None, wrong(writes, first))
    order = folio_order if seen else (size // PAGE_SIZE).bit_length() - 1
    choice = "folio_order" if size == first else "largest" if seen else None
    return Chunk(size, order, choice, [])


def try_creating(attempts: Attempts) -> None:
    """memfd_create with each flag and the combinations that are refused."""
    none, execute, both = 0, MFD_EXEC, MFD_EXEC | MFD_NOEXEC_SEAL
    choices = (none, MFD_NOEXEC_SEAL, execute, both)
    for flags in (*choices, *(one | MFD_ALLOW_SEALING for one in choices), 0x20, 0x40):
        with suppress(OSError), Scratch(attempts, flags) as file:
            file.truncate(PAGE)
            file.truncate(2 * PAGE)
            file.chmod(0o666)
            file.chmod(0o777)
            file.write(0, 100)
            file.read(0, 100)
            with file.mapped(READ_WRITE):
                file.add_seals(Seal.SEAL)


def try_fork(maker: Maker) -> None:
    """A fork copies a mapping; the copy ends with the child."""
    with maker.sized() as file, file.mapped(READ_WRITE) as mapping:
        if mapping:
            pid = os.fork()
            if pid == 0:
                os._exit(0)
            os.waitpid(pid, 0)
            mapping.copied()


def try_growing(maker: Maker) -> None:
    """Writes past the end under F_SEAL_GROW, by which chunks of a page and of 2 MiB show."""
    for pages, offset, length in (
        (1, 0, 2 * PAGE),  # something fits: chunks of one page
        (1, PAGE - 96, 200),
        (256, 255 * PAGE, 2 * PAGE),  # nothing fits: chunks of more than 1 MiB
        (513, 511 * PAGE, 4 * PAGE),
    ):
        file = maker.sealed(Seal.GROW, pages)
        if file:
            with file:
                file.write(offset, length)


def try_pin(maker: Maker) -> None:
    """A page that sits in a pipe: F_SEAL_WRITE waits for it for 150 ms and gives up."""
    reader, writer = os.pipe()
    with maker.sized() as file:
        file.write(0, PAGE)
        with file.mapped(PROT_READ, fmode=1) as mapping:  # never counted as writable
            if mapping:
                vmsplice(writer, mapping.address, PAGE)
        file.add_seals(Seal.WRITE)
        file.add_seals(Seal.FUTURE_WRITE)
        os.close(reader)
        os.close(writer)
        file.add_seals(Seal.WRITE)


def try_holes(maker: Maker) -> None:
    """The known holes, each on a file of its own."""
    for hole in (_merge, _grow_mapping, _exec_brings_write):
        with maker.sized() as file:
            hole(file)
    _map_past_end(maker)
    _chmod_noexec(maker)


def _merge(file: Scratch) -> None:
    """A new writable shared mapping right behind one from before F_SEAL_FUTURE_WRITE.

    Until 6.12.92 and 6.13 the check stood in the file's own mmap, which a merge skips.
    """
    if file.unit != PAGE:  # huge mappings: the same, and room for them is harder to find
        return
    file.merging.add(file.ino)
    room = mmap(0, 2 * PAGE, 0, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
    first = file.map(READ_WRITE, MAP_SHARED | MAP_FIXED, address=room)
    file.add_seals(Seal.FUTURE_WRITE)
    second = file.map(READ_WRITE, MAP_SHARED | MAP_FIXED, offset=PAGE, address=room + PAGE)
    for mapping in (first, second):
        if mapping:
            mapping.unmap()
    munmap(room, 2 * PAGE)


def _grow_mapping(file: Scratch) -> None:
    """A shared writable mapping from before F_SEAL_FUTURE_WRITE grows, and shrinks again."""
    if file.unit != PAGE:  # huge pages would have to be free
        return
    file.merging.add(file.ino)
    with file.mapped(READ_WRITE) as mapping:
        file.add_seals(Seal.FUTURE_WRITE)
        if mapping:
            mapping.resize(2 * PAGE)
            mapping.resize(PAGE)


def try_remapping(maker: Maker) -> None:
    """remap_file_pages on a mapping from before F_SEAL_FUTURE_WRITE, and again under that seal."""
    with maker.sized() as file:
        if file.unit != PAGE:  # huge pages would have to be free
            return
        file.merging.add(file.ino)
        with file.mapped(READ_WRITE) as mapping:
            if mapping:
                _show_page(mapping, 1)
                file.add_seals(Seal.FUTURE_WRITE)
                _show_page(mapping, 0)  # refused, which until 6.11 leaves nothing mapped there


def _show_page(mapping: Mapping, page: int) -> None:
    vm_flags = mapping.prot | VM_SHARED | VM_MAYSHARE
    mapping.file.attempt(
        Op.REMAP_FILE_PAGES,
        partial(system_call, _REMAP_FILE_PAGES, mapping.address, mapping.length, 0, page, 0),
        page * PAGE,
        mapping.length,
        vm_flags << 8 | mapping.address // PAGE << MREMAP_OLD_SHIFT,
        mapping.fmode,
    )


def try_executing(maker: Maker) -> None:
    """An execve that the kernel has in hand and refuses: what it finds there is no program."""
    with maker.sized() as file:
        with file.mapped(READ_WRITE) as mapping:
            if not mapping:
                return
            # Zeros would make the kernel ask for a module (fs/exec.c:search_binary_handler).
            ctypes.memmove(mapping.address, b"no program", 10)
        arg = ExecForm.EMPTY_PATH | ExecRole.PROGRAM << 8
        if file.attempt(Op.EXEC, partial(execveat, file.fd), arg=arg, fmode=3) == -errno.ENOEXEC:
            # The kernel reads its beginning (fs/exec.c:prepare_binprm, BINPRM_BUF_SIZE).
            file.note(Op.READ, 0, 256, answer=256)


def _exec_brings_write(file: Scratch) -> None:
    """F_SEAL_EXEC on an executable file brings F_SEAL_WRITE, which a writable mapping forbids.

    Before commit 3b041514cb6e (7.1, 6.12.93) it was set all the same.
    """
    if file.mode & 0o111:
        with file.mapped(READ_WRITE):
            file.add_seals(Seal.EXEC)


def _map_past_end(maker: Maker) -> None:
    """A writable mapping past the end of a hugetlb file makes it larger, whatever F_SEAL_GROW says
    (fs/hugetlbfs/inode.c:hugetlbfs_file_mmap)."""
    for flags in (MAP_SHARED, MAP_PRIVATE):
        with maker.sized(1) as file:
            if maker.seal(file, Seal.GROW):
                mapping = file.map(READ_WRITE, flags, length=2 * file.unit)
                if mapping:
                    mapping.unmap()


def _chmod_noexec(maker: Maker) -> None:
    """A file that was born with F_SEAL_EXEC is made executable; hugetlbfs_setattr never asks."""
    with suppress(OSError), maker.empty(MFD_NOEXEC_SEAL) as file:  # flag unknown until 6.2
        file.chmod(0o777)


_UNKNOWN_SEAL = 0x40
_ALL = tuple(Seal)


def short_sets() -> Iterator[int]:
    """No seal, each seal alone, and all of them."""
    yield 0
    yield from _ALL
    yield 0x1F


def all_sets() -> Iterator[int]:
    """Every subset of the six seals."""
    for count in range(len(_ALL) + 1):
        for chosen in combinations(_ALL, count):
            yield sum(chosen)


def attempt_all(
    attempts: Attempts, thorough: bool, told: Callable[[int, int], object] = lambda done, of: None
) -> None:
    """Makes every attempt; leaves no file, descriptor, mapping or process behind.

    ``told``: how many of the parts are done, and how many there are.
    """
    sets = [*(all_sets() if thorough else short_sets())]
    of = 2 * len(sets) + 1
    for huge in (False, True):
        maker = Maker(attempts, huge)
        if not maker.available:
            continue
        for done, seals in enumerate(sets, huge * len(sets)):
            told(done, of)
            file = maker.sealed(seals)
            if not file:
                continue
            try_operations(file, thorough)
            file.add_seals(Seal.SHRINK)
            file.close()
            # Both kinds are sealed by the same code (mm/memfd.c:memfd_add_seals).
            if seals in (0, Seal.SEAL) or (thorough and not huge):
                try_sealing(maker, seals, thorough)
        try_remapping(maker)
        try_holes(maker)
    told(of - 1, of)
    try_creating(attempts)
    maker = Maker(attempts, huge=False)
    if maker.available:
        try_executing(maker)
        try_growing(maker)
        try_fork(maker)
        if thorough:
            try_pin(maker)


def try_operations(file: Scratch, thorough: bool) -> None:
    """Every operation but sealing on a sealed file of two pages (huge pages)."""
    unit, small = file.unit, file.unit == PAGE
    try_mapping(file, thorough)
    if small:
        file.write(0, 100)
        file.write(file.size, 0)
        file.read(0, 100)
        file.write(file.size - 100, PAGE + 100)
        file.write(file.size - PAGE, 2 * PAGE)
        file.write(file.size, 100)
        file.allocate(0, unit)
        file.allocate(file.size, unit, FALLOC_KEEP_SIZE)
        file.allocate(file.size, unit)
    elif file.seals & Seal.GROW:
        file.allocate(file.size, unit)  # else it would take huge pages away from others
    file.punch_hole(0, unit)
    file.punch_hole(100, 50)
    file.chmod(0o640)
    file.chmod(0o755)
    file.chmod(0o644)
    file.truncate(file.size)
    file.truncate(file.size + unit)
    file.truncate(file.size - unit)
    if thorough:
        _try_more(file)


def _try_more(file: Scratch) -> None:
    unit = file.unit
    file.chmod(0o111)
    file.chmod(0)
    file.chmod(0o600)
    file.punch_hole(file.size, unit)
    file.punch_hole(file.size - 100, 200)
    if unit == PAGE:
        file.read(file.size, 100)
        file.write(file.size + PAGE, 10)
        file.write(1, PAGE)
        file.allocate(file.size - 1, 2)
        file.allocate(file.size - 1, 2, FALLOC_KEEP_SIZE)
        file.allocate(0, PAGE, FALLOC_KEEP_SIZE)
    file.truncate(file.size + 100)
    file.truncate(0)
    file.truncate(2 * unit)


def try_mapping(file: Scratch, thorough: bool) -> None:
    """Shared and private, read and write, through descriptors of each mode; then mprotect."""
    kinds = [
        (PROT_READ, MAP_SHARED, 3),
        (READ_WRITE, MAP_SHARED, 3),
        (READ_WRITE, MAP_PRIVATE, 3),
        (PROT_READ, MAP_SHARED, 1),
        (READ_WRITE, MAP_SHARED, 1),
    ]
    if thorough:
        kinds += [
            (0, MAP_SHARED, 3),
            (PROT_WRITE, MAP_SHARED, 3),
            (PROT_READ, MAP_PRIVATE, 3),
            (READ_WRITE, MAP_PRIVATE, 1),
            (PROT_READ, MAP_PRIVATE, 1),
            (PROT_WRITE, MAP_SHARED, 2),
        ]
    for prot, flags, fmode in kinds:
        mapping = file.map(prot, flags, fmode)
        if mapping:
            mapping.protect(PROT_READ if prot == READ_WRITE else READ_WRITE)
            mapping.unmap()


def try_sealing(maker: Maker, seals: int, thorough: bool) -> None:
    """Each further seal, with nothing mapped and with mappings of every kind."""
    mappings = [(None, 3), ((READ_WRITE, MAP_SHARED), 3)]
    if thorough:
        mappings += [((READ_WRITE, MAP_PRIVATE), 3), ((PROT_READ, MAP_SHARED), 1)]
        if not seals & (Seal.WRITE | Seal.FUTURE_WRITE):
            mappings.append(((PROT_READ, MAP_SHARED), 3))
    for more in (*_ALL, Seal.WRITE | Seal.FUTURE_WRITE | Seal.SEAL, 0, _UNKNOWN_SEAL):
        nothing_new = not more & ~seals and not seals & Seal.SEAL
        for mapping, fmode in mappings[:1] if nothing_new else mappings:
            with maker.sized() as file, file.mapped(*mapping, fmode) if mapping else nullcontext():
                if maker.seal(file, seals):
                    file.add_seals(more)
    with maker.sized() as file:
        if maker.seal(file, seals):
            file.add_seals(Seal.WRITE, fmode=1)
