"""What is tried: every seal set x operation x kind of mapping, or a short choice of these."""

from collections.abc import Iterator
from itertools import combinations

from tracer.model.seals import Seal
from tracer.selftest.attempt import Attempts
from tracer.selftest.holes import try_holes
from tracer.selftest.maker import Maker
from tracer.selftest.scratch import Scratch
from tracer.selftest.singles import try_creating, try_fork, try_growing, try_pin
from tracer.selftest.syscalls import (
    FALLOC_KEEP_SIZE,
    MAP_PRIVATE,
    MAP_SHARED,
    PAGE,
    PROT_READ,
    PROT_WRITE,
    READ_WRITE,
)

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


def attempt_all(attempts: Attempts, thorough: bool) -> None:
    """Makes every attempt; leaves no file, descriptor, mapping or process behind."""
    for huge in (False, True):
        maker = Maker(attempts, huge)
        if not maker.available:
            continue
        for seals in all_sets() if thorough else short_sets():
            file = maker.sealed(seals)
            if not file:
                continue
            try_operations(file, thorough)
            file.add_seals(Seal.SHRINK)
            file.close()
            # Both kinds are sealed by the same code (mm/memfd.c:memfd_add_seals).
            if seals in (0, Seal.SEAL) or (thorough and not huge):
                try_sealing(maker, seals, thorough)
        try_holes(maker)
    try_creating(attempts)
    maker = Maker(attempts, huge=False)
    if maker.available:
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
            file = maker.sized()
            if mapping is None:
                if maker.seal(file, seals):
                    file.add_seals(more)
            else:
                with file.mapped(*mapping, fmode):
                    if maker.seal(file, seals):
                        file.add_seals(more)
            file.close()
    file = maker.sized()
    if maker.seal(file, seals):
        file.add_seals(Seal.WRITE, fmode=1)
    file.close()
