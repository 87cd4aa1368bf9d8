"""The claims: what of one memory file's rows breaks each of them, and what leaves it open.

Each claim is a function that looks at every row that could be a violation. A row that may or may
not be one gives a doubt, never a pass.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from tracer.analysis import private
from tracer.audit.evidence import Evidence
from tracer.audit.objects import FOREVER, MemoryFile, Range, Row
from tracer.audit.policy import INACCESSIBLE, UNSEEN, WAYS, Actor, Claim
from tracer.audit.result import Doubt
from tracer.audit.scope import Allowed, same, wanted_seals, who
from tracer.labels import SEALS_UNKNOWN, VM_SHARED, VM_WRITE
from tracer.words import BY_NAME as SEALS
from tracer.words import EXEC_CHECK, Flag

NO_SHARE = frozenset({"unmap", "evict", "mapped", "attach", "memslot", "vm_end"}) | UNSEEN
"""Rows that do not show their process to have the object: the recorder's own, or what ends it."""


@dataclass(frozen=True)
class Violation:
    """A row that breaks a claim, and how."""

    row: Row
    text: str


Objections = Iterator[Violation | Doubt]


@dataclass(frozen=True)
class Case:
    """One object under one claim."""

    claim: Claim
    file: MemoryFile
    evidence: Evidence
    reached: Sequence[Row]
    """Accesses by address that reached it though they name another file, or none."""
    memslots: Sequence[Row]
    """That it backs, accepted ones, the first first."""
    unseen: Sequence[Row]
    """After which somebody can reach an address space unseen in which it was mapped."""
    allowed: Allowed

    @property
    def creator(self) -> Row | None:
        """Its creation."""
        return next((row for row in self.file.rows if row.created), None)

    @property
    def first(self) -> Row | None:
        """Its creation, or the first row of somebody who has it."""
        return self.creator or next((row for row in self.file.rows if row.op not in NO_SHARE), None)


def never_mapped(case: Case) -> Objections:
    """Nobody maps it."""
    for row in case.file.rows:
        if row.op == "map":
            yield _maps(row)
        elif row.op == "unmap" and not row.flags & Flag.OTHER_MM:
            yield Violation(row, _HAD)
        elif row.op == "mmap" and not row.failed and not row.unanswered:
            yield Violation(row, "maps it by mmap")
        elif row.op == "mapped" and row.answer == 1:
            yield Violation(row, "the inode itself has mappings; whose is not told here")
        elif row.touched and not row.unanswered:
            yield Violation(row, _TOUCHES)
        elif row.op == "memslot" and row.fd < 0 and not row.failed:
            yield Violation(row, "gives it to KVM by an address at which it has it mapped")
    for one in case.file.ranges:
        if not one.begun and one.row.flags & Flag.OTHER_MM:
            yield Violation(one.row, _ENDS)
    yield from _past(case)


def mapped_only_by(case: Case) -> Objections:
    """Only these map it."""
    for row in case.file.rows:
        if row.op == "map" and not case.allowed(row):
            yield _maps(row)
        elif row.touched and not case.allowed(row):
            yield Violation(row, _TOUCHES)
    yield from _unbegun(case, lambda one: True)
    yield from _by_mapping(case)


def never_writable_outside(case: Case) -> Objections:
    """Nobody else can write through a mapping, or changes it through a descriptor."""
    for one in case.file.ranges:
        if not one.begun or case.allowed(one.row):
            continue
        if one.can_write:
            yield Violation(one.row, "has a shared mapping of it that can be written")
        elif one.row.table == "mappings" and one.row.arg & VM_SHARED and not _none_writable(case):
            yield Doubt("past", f"Process {one.row.pid} had a shared mapping before the trace that "
                        "cannot be written now; whether mprotect can make it so is not "
                        "known.")  # fmt: skip
    for row in case.file.rows:
        # The baseline may tell of a mapping that events told of before: then its flags are newer.
        there = row.table == "mappings" and row.op == "map"
        if there and row.arg & VM_SHARED and row.arg & VM_WRITE and not case.allowed(row):
            yield Violation(row, "has a shared mapping of it that can be written")
    yield from _calls(case, case.file.rows, _CHANGES, "changes it")
    yield from _unbegun(case, lambda one: one.can_write)
    yield from _by_mapping(case)


def never_read_or_written(case: Case) -> Objections:
    """Nobody else reads or writes it."""
    rows = [*case.file.rows, *case.reached]
    yield from _calls(case, rows, {**_CHANGES, **_READS}, "reads or writes it")
    for one in case.file.ranges:
        if one.begun and not case.allowed(one.row):
            yield Doubt("not-seen", f"{_who(one.row)} has it mapped: what it reads or writes there "
                        "is not seen.")  # fmt: skip
    yield from _unbegun(case, lambda one: True, unseen=True)
    yield from _machines(case)
    yield from _unseen(case)
    yield from _past(case)
    yield from _past_pins(case)
    yield from _sweep(case)


def never_pinned_except(case: Case) -> Objections:
    """Nobody else pins it for long."""
    yield from _calls(case, [*case.file.rows, *case.reached], {"pin": _got}, "pins pages of it")
    yield from _unseen(case)
    yield from _past_pins(case)


def sealed_with(case: Case) -> Objections:
    """It has the seals when somebody else first gets it."""
    bits, sure = wanted_seals(case.claim.seals, case.evidence.bit_0x20)
    first = case.first
    if case.creator is None:
        yield Doubt("past", "Its creation is not in the recording: it may have been shared before.")
    if sure is None:
        yield Doubt("self-test", "What seal 0x20 means on this kernel is not known.")
    for row in case.file.rows:
        if first is None or not _shares(row, first):
            continue
        seals, after = row.seals, row.seals_after
        if same(who(first), who(row)) is None and not row.copied:
            yield Doubt("identity", f"Whether process {row.pid} is the one that made it is not "
                        "known: /proc alone told of it.")  # fmt: skip
        elif SEALS_UNKNOWN in (seals, after):
            yield Doubt("incomplete", f"Its seals when {_who(row)} had it are not known.")
        elif sure is not False and seals & bits == bits:
            continue  # where it is not known what the bit means, that was said above
        elif sure is not False and after & bits == bits:
            yield Doubt("raced", f"It was sealed just while {_who(row)} used it.")
        else:
            how = "forks: its child has it" if row.copied else "has it"
            missing = [name for name in case.claim.seals if not seals & SEALS[name]]
            named = ", ".join(missing or case.claim.seals)
            yield Violation(row, f"{how}, not yet sealed with {named}")


def executed_with(case: Case) -> Objections:
    """It has the seals when it is executed. Later they cannot go."""
    bits, sure = wanted_seals(case.claim.seals, case.evidence.bit_0x20)
    if sure is None:
        yield Doubt("self-test", "What seal 0x20 means on this kernel is not known.")
    for row in case.file.rows:
        if row.op != "exec" or row.failed or row.arg & EXEC_CHECK:
            continue
        if row.unanswered:
            yield Doubt("incomplete", f"How exec of {_who(row)} ended was not seen.")
        elif row.seals == SEALS_UNKNOWN:
            yield Doubt("incomplete", f"Its seals when {_who(row)} executed it are not known.")
        elif sure is False or row.seals & bits != bits:
            missing = [name for name in case.claim.seals if not row.seals & SEALS[name]]
            named = ", ".join(missing or case.claim.seals)
            yield Violation(row, f"executes it, not sealed with {named}")


def executed(case: Case) -> bool:
    """Whether it was executed at all (else executed-with has nothing to say)."""
    rows = (row for row in case.file.rows if row.op == "exec")
    return any(not row.failed and not row.arg & EXEC_CHECK for row in rows)


def no_breach(case: Case) -> Objections:
    """Nothing went through that a seal denies."""
    evidence, seals = case.evidence, case.file.seals or 0
    reads = WAYS["read"].families.get(case.file.kind, ())
    seen = reads and all(evidence.plan.need(family, "read").holds for family in reads)
    # No other way breaks this claim by reading.
    if evidence.bit_0x20 == "inaccessible" and seals & SEALS[INACCESSIBLE] and not seen:
        yield Doubt("not-hooked", "Not all reads of it, which its seal denies, are hooked.")
    for row in case.file.rows:
        if row.verdict == "breach":
            hole = f" (known hole {row.hole})" if row.hole else ""
            yield Violation(row, f"does what seal {row.reason} denies{hole}")
        elif row.verdict == "indeterminate":
            yield Doubt("unjudged", f"Whether {row.op} should have been denied is not known: "
                        f"{row.reason}.")  # fmt: skip


def never_reached_while_private(case: Case) -> Objections:
    """Nobody else reaches it while it is private to the guest."""
    for row in case.file.rows:
        if row.table == "events":
            yield from _met(case, row, row.privacy or private.SHARED)
    for row in case.reached:
        yield from _met(case, row, _where(case, row))
    yield from _unseen(case)
    yield from _past(case)
    yield from _past_pins(case)
    yield from _sweep(case)


def converted_only_by(case: Case) -> Objections:
    """Only these convert memory of the virtual machine that it belongs to."""
    slots = case.evidence.slots.of(case.file)
    for row in case.evidence.conversions:
        if row.failed and not row.unanswered:
            continue
        mine = [one for one in slots if one.row.vm == row.vm and not one.row.failed
                and one.row.time_ns <= row.until_ns and row.time_ns <= one.until_ns]  # fmt: skip
        if not mine or case.allowed(row):
            continue
        if row.unanswered:
            yield Doubt("incomplete", f"How convert of {_who(row)} ended was not seen.")
        else:
            yield Violation(row, "makes memory of its virtual machine private or shared")


CHECKS: Mapping[str, Callable[[Case], Objections]] = {
    "never-mapped": never_mapped,
    "mapped-only-by": mapped_only_by,
    "never-writable-outside": never_writable_outside,
    "never-read-or-written": never_read_or_written,
    "never-reached-while-private": never_reached_while_private,
    "converted-only-by": converted_only_by,
    "sealed-with": sealed_with,
    "executed-with": executed_with,
    "never-pinned-except": never_pinned_except,
    "no-breach": no_breach,
}


def shared(case: Case) -> bool:
    """Whether anybody but its first user ever had it (else sealed-with has nothing to say)."""
    first = case.first
    return first is not None and any(_shares(row, first) for row in case.file.rows)


def _shares(row: Row, first: Row) -> bool:
    """Whether the row shows somebody else than the one of ``first`` to have the object."""
    if row.op in NO_SHARE or (row.op == "receive" and row.failed):
        return False
    return row.copied or not same(who(first), who(row))


_HAD = "had it mapped: a mapping of it ends"
_ENDS = "ends a mapping of it; whose that was is not known"
_TOUCHES = "touches a page of it through a mapping"


def _maps(row: Row) -> Violation:
    return Violation(row, "maps it" if not row.copied else "forks, and its child maps it")


def _by_mapping(case: Case) -> Objections:
    """What leaves a claim about who maps it open, or breaks it beside the mappings themselves."""
    yield from _machines(case)
    yield from _unseen(case)
    yield from _past(case)
    yield from _sweep(case)


def _who(row: Row) -> str:
    who = f"process {row.pid}"
    return f"A child of {who}" if row.copied else who.capitalize()


def _got(row: Row) -> bool:
    return row.answer > 0


def _done(row: Row) -> bool:
    return row.answer == 0


_CHANGES: Mapping[str, Callable[[Row], bool]] = {
    "write": _got,
    "truncate": _done,
    "punch_hole": _done,
    "allocate": lambda row: row.answer == 0 and row.size_after > row.size,
}
"""Which answers of which calls mean that the content was changed."""
_READS: Mapping[str, Callable[[Row], bool]] = {
    **dict.fromkeys(("read", "remote_read", "remote_write", "pin"), _got),
    "fault": lambda row: row.touched,
    "uffd_register": _done,
    "uffd_fill": lambda row: not row.failed,
    "sev_debug": lambda row: row.check_answer > 0,
}


def _calls(
    case: Case, rows: Sequence[Row], broken: Mapping[str, Callable[[Row], bool]], how: str
) -> Objections:
    """Calls by others that did what ``broken`` says of their answers."""
    suspects = []
    for row in rows:
        if row.op not in broken or row.table != "events":
            continue
        if (row.unanswered or broken[row.op](row)) and not case.allowed(row):
            if row.unanswered:
                yield Doubt("incomplete", f"How {row.op} of {_who(row)} ended was not seen.")
            else:
                suspects.append(row)
    for row in suspects:
        yield Violation(row, f"{how} ({row.op})")


_REACHES: Mapping[str, tuple[Callable[[Row], bool], str]] = {
    "fault": (lambda row: row.touched, _TOUCHES),
    **{op: (done, f"reads or writes it ({op})") for op, done in _READS.items() if op != "fault"},
    "write": (_got, "writes it"),
}
"""Of each way to its pages: whether it was granted, and what was done then.

A mapping reaches nothing: of a guest_memfd KVM grants it whatever the pages are, takes theirs out
of it as they become private, and decides anew at each fault (virt/kvm/guest_memfd.c).
"""


def _met(case: Case, row: Row, state: int) -> Objections:
    """A row of somebody who reached it, or may have, when it was in that state."""
    granted, how = _REACHES.get(row.op, (None, ""))
    if granted is None or case.allowed(row):
        return
    if state == private.SHARED:
        if row.op == "pin" and granted(row) and _private_later(case, row):
            yield Doubt("reach", f"{_who(row)} pinned pages of it while they were shared: whether "
                        "it let go of them before they were private is not seen.")  # fmt: skip
    elif row.unanswered:
        yield Doubt("incomplete", f"How {row.op} of {_who(row)} ended was not seen.")
    elif not granted(row):
        return
    elif state == private.PRIVATE:
        yield Violation(row, f"{how} while it is private to its guest")
    else:
        yield Doubt("state", f"Whether it was private when {_who(row)} reached it ({row.op}) is "
                    "not known.")  # fmt: skip


def _state(case: Case, offset: int, length: int, since_ns: int, until_ns: int) -> int:
    """What that part of the file was, from then to then."""
    privacy = case.evidence.privacy
    if privacy is None:
        return private.UNKNOWN
    dev, ino, gen = case.file.key
    rows = pd.DataFrame({"dev": [dev], "ino": [ino], "gen": [gen], "offset": [offset],
                         "length": [length]})  # fmt: skip
    return int(privacy.state(rows, np.array([since_ns]), np.array([until_ns]))[0])


def _where(case: Case, row: Row) -> int:
    """What an access by address met, that names another file, or none."""
    then, end = (row.time_ns, row.until_ns), row.size_after + row.length
    found = private.SHARED
    for one in case.file.ranges:
        if one.mm != row.mm or not one.meets(row.size_after, end, *then):
            continue
        start = max(row.size_after, one.start)
        state = _state(case, one.row.offset + start - one.start, min(end, one.end) - start, *then)
        if one.blurred or (row.checks and not row.length):
            state = min(state, private.UNKNOWN)
        found = max(found, state)
    return found


def _private_later(case: Case, row: Row) -> bool:
    """Whether what was pinned was private, or may have been, at some time since."""
    return _state(case, row.offset, row.length, row.time_ns, FOREVER - 1) != private.SHARED


def _unbegun(case: Case, counts: Callable[[Range], bool], unseen: bool = False) -> Objections:
    """Mappings of which only the end was seen."""
    for one in case.file.ranges:
        if one.begun or not counts(one):
            continue
        if one.row.flags & Flag.OTHER_MM:
            yield Doubt("identity", "A mapping ended of which it is not known whose it was.")
        elif case.allowed(one.row):
            continue
        elif unseen:
            text = f"{_who(one.row)} had it mapped: what it did there is not seen."
            yield Doubt("not-seen", text)
        else:
            yield Violation(one.row, _HAD)


def _machines(case: Case) -> Objections:
    """Virtual machines of others that have it as their memory too.

    To be given the file is no permission for that: a backend has no guest.
    """
    vmms = Allowed((Actor(word="vmm"),), rights=case.allowed.rights)
    for row in case.memslots:
        if not same(who(row), who(case.memslots[0])) and not vmms(row):
            yield Violation(row, "makes it the memory of another virtual machine")
    yield from vmms.doubts


_UNSEEN = {
    "trace": "{who} traced process {arg}, and could make it do anything",
    "share_mm": "{who} ran in the address space of process {arg}, and was no thread of it",
    "ring": "{who} used io_uring buffers in which it was mapped, of another process or of a ring "
    "that the kernel polls, where who asks cannot be told",
    "advise": "{who} told the kernel what to do with pages where it was mapped (process_madvise)",
    "device": "{who} made a dma-buf of memory files, which can go on to anybody unseen",
}


def _unseen(case: Case) -> Objections:
    """Where somebody may do something that nobody sees, there is no doubt where nobody may at all.

    Those who may are then taken for those who did.
    """
    if not case.claim.by:
        return
    for row in case.unseen:
        # With the others, it is whose memory it is who lets somebody in.
        if row.op in ("trace", "advise") and case.allowed(row):
            continue
        text = _UNSEEN[row.op].format(who=_who(row).capitalize(), arg=row.arg)
        yield Doubt("reach", f"{text}.")


def _past(case: Case) -> Objections:
    """Mappings from before the trace."""
    if case.file.born or _unmapped_at_start(case):
        return
    if case.evidence.baseline:
        yield Doubt("past", f"It is older than the trace, and who had it mapped then is not known "
                    f"for sure: {case.evidence.baseline}")  # fmt: skip


def _unmapped_at_start(case: Case) -> bool:
    """The inode itself said at the start that nothing maps it."""
    return any(row.op == "mapped" and row.baseline and row.answer == 0 for row in case.file.rows)


def _none_writable(case: Case) -> bool:
    """The inode itself said that no mapping can write (i_mmap_writable, include/linux/fs.h)."""
    return any(row.op == "mapped" and row.baseline and row.writable <= 0 for row in case.file.rows)


def _past_pins(case: Case) -> Objections:
    if not case.file.born:
        yield Doubt("past", "It is older than the trace: a pin from before may still hold pages.")


def _sweep(case: Case) -> Objections:
    """The inode's own word against what events and baseline tell."""
    for row in case.file.rows:
        known = (one.since_ns <= row.until_ns and row.time_ns <= one.until_ns
                 for one in case.file.ranges)  # fmt: skip
        if row.op == "mapped" and row.answer == 1 and not any(known):
            when = "end" if row.final else "start"
            yield Doubt("sweep", f"At the {when} the inode itself had a mapping that nothing else "
                        "tells of.")  # fmt: skip
