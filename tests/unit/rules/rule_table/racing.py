"""Cases of Seals that changed while the call ran."""

from tests.unit.rules.rule_cases import (
    EXEC,
    GROW,
    KEEP,
    PROPOSAL,
    PUNCH,
    SIZE,
    Judged,
    event,
    mmap,
    remap_file_pages,
    truncate,
    write,
)
from tests.unit.rules.rule_words import LARGEST, RACED
from tracer.words import Flag, Op

CASES = [
    Judged("write behind the end, GROW comes",
           write(SIZE, 10, seals_after=GROW, flags=Flag.RACED_SEALS), RACED),
    Judged("write across, GROW comes",
           write(0, SIZE + 10, seals_after=GROW, flags=Flag.RACED_SEALS), RACED),
    Judged("write behind the end, GROW comes, 6.11",
           write(SIZE, 10, seals_after=GROW, flags=Flag.RACED_SEALS), RACED, LARGEST),
    Judged("write across, GROW comes, 6.11",
           write(0, SIZE + 10, seals_after=GROW, flags=Flag.RACED_SEALS), RACED, LARGEST),
    Judged("read, 0x20 comes, proposal",
           event(Op.READ, 10, seals_after=EXEC, flags=Flag.RACED_SEALS), RACED, PROPOSAL),
    Judged("truncate, 0x20 comes, proposal",
           truncate(2 * SIZE, seals_after=EXEC, flags=Flag.RACED_SEALS), RACED, PROPOSAL),
    Judged("truncate to an odd size, 0x20 comes, proposal",
           truncate(10, size=0, seals_after=EXEC, flags=Flag.RACED_SEALS), RACED, PROPOSAL),
    Judged("odd hole, 0x20 comes, proposal",
           event(Op.PUNCH_HOLE, 0, arg=KEEP | PUNCH, offset=10, seals_after=EXEC,
                 flags=Flag.RACED_SEALS), RACED, PROPOSAL),
    Judged("mmap, WRITE is being added", mmap("EPERM", event_flags=Flag.RACED_SEALS), RACED),
    Judged("remap_file_pages, WRITE is being added",
           remap_file_pages("EPERM", flags=Flag.RACED_SEALS), RACED),
]  # fmt: skip
