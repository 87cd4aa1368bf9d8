"""What is tried once, whatever the seals: creation, the chunk of a write, fork, pinned pages."""

import os

from tracer.model.seals import Seal
from tracer.selftest import syscalls
from tracer.selftest.attempt import Attempts
from tracer.selftest.maker import Maker
from tracer.selftest.scratch import Scratch
from tracer.selftest.syscalls import (
    MFD_ALLOW_SEALING,
    MFD_EXEC,
    MFD_NOEXEC_SEAL,
    PAGE,
    PROT_READ,
    READ_WRITE,
)


def try_creating(attempts: Attempts) -> None:
    """memfd_create with each flag and the combinations that are refused."""
    none, execute, both = 0, MFD_EXEC, MFD_EXEC | MFD_NOEXEC_SEAL
    choices = (none, MFD_NOEXEC_SEAL, execute, both)
    for flags in (*choices, *(one | MFD_ALLOW_SEALING for one in choices), 0x20, 0x40):
        try:
            file = Scratch(attempts, flags)
        except OSError:
            continue
        file.truncate(PAGE)
        file.truncate(2 * PAGE)
        file.chmod(0o666)
        file.chmod(0o777)
        file.write(0, 100)
        file.read(0, 100)
        with file.mapped(READ_WRITE):
            file.add_seals(Seal.SEAL)
        file.close()


def try_fork(maker: Maker) -> None:
    """A fork copies a mapping; the copy ends with the child."""
    file = maker.sized()
    mapping = file.map(READ_WRITE)
    if mapping:
        pid = os.fork()
        if pid == 0:
            os._exit(0)
        os.waitpid(pid, 0)
        mapping.copied()
        mapping.unmap()
    file.close()


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
            file.write(offset, length)
            file.close()


def try_pin(maker: Maker) -> None:
    """A page that sits in a pipe: F_SEAL_WRITE waits for it for 150 ms and gives up."""
    file = maker.sized()
    file.write(0, PAGE)
    mapping = file.map(PROT_READ, fmode=1)  # never counted as writable
    reader, writer = os.pipe()
    if mapping:
        syscalls.vmsplice(writer, mapping.address, PAGE)
        mapping.unmap()
    file.add_seals(Seal.WRITE)
    file.add_seals(Seal.FUTURE_WRITE)
    os.close(reader)
    os.close(writer)
    file.add_seals(Seal.WRITE)
    file.close()
