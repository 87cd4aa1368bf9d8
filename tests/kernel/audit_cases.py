"""What guests do wrong, and what each audit must say of it: the table of docs/audit.md."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from tests.unit.selftest import selftest_events

PASS, FAIL, OPEN, NOTHING = "pass", "fail", "indeterminate", "not-applicable"
VMM, OTHER, CHILD = "VMM", "other process", "VMM, for its child"
"""Who the evidence must name. A mapping that a fork copies is told by the parent."""
UNTRIED = {
    "memslot", "gmem_create", "gmem_fault", "gmem_fallocate", "gmem_setattr", "gmem_release",
    "memslot_file", "vm_begin", "vm_end", "convert", "convert_range",
    "sev_debug", "sev_debug_page", "sev_debug_memory", "pin", "pin_fast", "pin_file",
    "uffd_zero", "uffd_continue",
    "ptrace", "ptrace_traceme", "ptrace_link", "share_mm", "vfork_end", "advise",
    "udmabuf", "ring", "ring_file", "msg_ring", "pidfd_getfd", "proc_link",
    "map_files", "jump", "seccomp", "copy", "message", "message_end",
    "secretmem_create_compat", *selftest_events.UNTRIED,
}  # fmt: skip
"""tracer.selftest.ways says why; the self-test makes no 32-bit system call."""


@dataclass(frozen=True)
class Wrong:
    """One claim that a guest breaks: who did it, and by which operation."""

    claim: str
    who: str
    op: str


@dataclass(frozen=True)
class Guest:
    """A run of samples/vmm, and the claims of ``policy`` that it breaks; none: well-behaved."""

    name: str
    text: str
    options: tuple[str, ...]
    policy: str
    wrong: tuple[Wrong, ...] = ()
    results: Mapping[str, str] | None = None
    """Of a well-behaved one: the result of each claim; None: all pass."""
    before: bool = False
    """It does so before the recording begins, and goes on while it runs."""
    gmem: bool = False


_ALONE = {"sealed-with": NOTHING}
"""Nobody else ever got it, so that there is nothing to be said of when it was sealed."""
_MAPPED, _NRW, _ONLY = "never-mapped", "never-read-or-written", "mapped-only-by"

MEMFD_GUESTS = (
    Guest("good", "well-behaved", (), "only-vmm", results=_ALONE),
    Guest("mmap", "the VMM maps it once more", ("--host-mmap",), "nobody",
          (Wrong(_MAPPED, VMM, "map"),)),
    Guest("read", "the VMM reads it", ("--read",), "nobody", (Wrong(_NRW, VMM, "read"),)),
    Guest("write", "the VMM writes it", ("--write",), "nobody", (Wrong(_NRW, VMM, "write"),)),
    Guest("other-read", "another process reads it", ("--read", "--other"), "only-vmm",
          (Wrong(_NRW, OTHER, "read"),)),
    Guest("other-write", "another process writes it", ("--write", "--other"), "only-vmm",
          (Wrong(_NRW, OTHER, "write"), Wrong("never-writable-outside", OTHER, "write"))),
    Guest("splice", "another process splices it into a pipe", ("--splice", "--other"), "only-vmm",
          (Wrong(_NRW, OTHER, "read"),)),
    Guest("second", "a second process maps it, by a passed descriptor", ("--second-process",),
          "only-vmm", (Wrong(_ONLY, OTHER, "map"), Wrong("never-writable-outside", OTHER, "map"))),
    Guest("process-vm", "process_vm_readv and process_vm_writev", ("--process-vm-readv",),
          "only-vmm", (Wrong(_NRW, OTHER, "remote_read"), Wrong(_NRW, OTHER, "remote_write"))),
    Guest("proc-mem", "read through /proc/PID/mem", ("--proc-mem",), "only-vmm",
          (Wrong(_NRW, OTHER, "remote_read"),)),
    Guest("fork", "a child inherits the mapping", ("--fork",), "only-vmm",
          (Wrong(_ONLY, CHILD, "map"),)),
    Guest("pin", "pinned as an io_uring buffer", ("--pin-io-uring",), "only-vmm",
          (Wrong("never-pinned-except", VMM, "pin"),)),
    Guest("uffd", "registered with userfaultfd", ("--userfaultfd",), "nobody",
          (Wrong(_NRW, VMM, "uffd_register"),)),
    Guest("unsealed", "another process gets it before it is sealed",
          ("--unsealed-window", "--map-before"), "only-vmm",
          (Wrong("sealed-with", OTHER, "receive"),)),
    Guest("before", "mapped by another process before the trace", ("--map-before",), "only-vmm",
          (Wrong(_ONLY, OTHER, "map"),), before=True),
    Guest("huge-good", "hugetlb, well-behaved", ("--hugetlb",), "only-vmm", results=_ALONE),
    Guest("huge-read", "hugetlb, another process reads it", ("--hugetlb", "--read", "--other"),
          "only-vmm", (Wrong(_NRW, OTHER, "read"),)),
)  # fmt: skip

_SHARED = "--guest-memfd"
_CONFIDENTIAL = "confidential-guest"
GMEM_GUESTS = tuple(
    Guest(f"gmem-{name}", text, (_SHARED, *options), _CONFIDENTIAL, wrong, None, before, True)
    for name, text, options, wrong, before in (
        ("good", "well-behaved", (), (), False),
        ("mmap", "the VMM maps it", ("--host-mmap",), (Wrong(_MAPPED, VMM, "map"),), False),
        ("read", "the VMM reads it", ("--read",), (Wrong(_NRW, VMM, "fault"),), False),
        ("write", "the VMM writes it", ("--write",), (Wrong(_NRW, VMM, "fault"),), False),
        ("second", "a second process maps it, by a passed descriptor", ("--second-process",),
         (Wrong(_MAPPED, OTHER, "map"), Wrong(_NRW, OTHER, "fault")), False),
        ("process-vm", "process_vm_readv and process_vm_writev", ("--process-vm-readv",),
         (Wrong(_NRW, OTHER, "remote_read"), Wrong(_NRW, OTHER, "remote_write")), False),
        ("proc-mem", "read through /proc/PID/mem", ("--proc-mem",),
         (Wrong(_NRW, OTHER, "remote_read"),), False),
        ("fork", "a child inherits the mapping", ("--fork",), (Wrong(_MAPPED, CHILD, "map"),),
         False),
        ("pin", "pinned as an io_uring buffer", ("--pin-io-uring",),
         (Wrong("never-pinned-except", VMM, "pin"),), False),
        ("punch", "the VMM punches a hole", ("--punch",), (Wrong(_NRW, VMM, "punch_hole"),),
         False),
        ("before", "mapped by another process before the trace", ("--map-before",),
         (Wrong(_MAPPED, OTHER, "map"),), True),
    )
)  # fmt: skip


@dataclass(frozen=True)
class Blinded:
    """A way of losing evidence, and claims of which no violation was seen: none of them passes."""

    name: str
    text: str
    recording: str
    guest: str
    claims: tuple[str, ...]
    codes: tuple[str, ...]
    """One of these doubts must be there."""


_MOST = (_ONLY, "never-writable-outside", _NRW, "never-pinned-except")
BLINDED = (
    Blinded("ring", "1 MB ring, a recorder that is held up, a flood", "audit-ring", "good-2",
            _MOST, ("loss",)),
    Blinded("killed", "recorder killed in the middle", "audit-killed", "good-2", _MOST,
            ("cut-off",)),
    Blinded("pins", "pin hooks switched off", "audit-blind", "good",
            ("never-pinned-except", _NRW), ("not-hooked",)),
    # Its memslot is known, from KVM's own list; what was before is not.
    Blinded("late", "attached when it was guest memory already", "audit", "old", _MOST,
            ("identity", "past")),
    Blinded("no-baseline", "attached when another process had it mapped, without a baseline",
            "audit-blind", "before", (_NRW, "never-pinned-except"), ("past",)),
)  # fmt: skip


def guests(gmem: bool) -> tuple[Guest, ...]:
    """All guests of a kernel that has guest_memfd or not."""
    return (*MEMFD_GUESTS, *(GMEM_GUESTS if gmem else ()))


def markdown(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """A table as lines of Markdown."""
    lines = [f"| {' | '.join(row)} |" for row in rows]
    return [f"| {' | '.join(head)} |", "|" + "---|" * len(head), *lines]


def _memory(guest: Guest) -> str:
    return "guest_memfd" if guest.gmem else "hugetlb" if "--hugetlb" in guest.options else "memfd"


def said(guest: Guest) -> str:
    """What the audit must say of it, in a cell."""
    if not guest.wrong:
        return f"`{guest.policy}`: pass"
    found = [f"{one.claim}: {one.who}, {one.op}" for one in guest.wrong]
    return f"`{guest.policy}`: **fail** ({'; '.join(found)})"


def table() -> list[str]:
    """The table of docs/audit.md: every line of it is a test on both kernels."""
    rows = [
        (guest.text, _memory(guest), said(guest), "-" if guest.gmem else said_short(guest),
         said_short(guest))
        for guest in (*MEMFD_GUESTS, *GMEM_GUESTS)
    ]  # fmt: skip
    rows += [
        (one.text, "memfd", f"{', '.join(one.claims)}: {_doubts(one)}", OPEN, OPEN)
        for one in BLINDED
    ]
    return markdown(("what happens", "memory", "what the audit says", "6.1", "newest"), rows)


def _doubts(case: Blinded) -> str:
    return f"doubt {' or '.join(f'`{code}`' for code in case.codes)}"


def said_short(guest: Guest) -> str:
    """The result alone."""
    return FAIL if guest.wrong else PASS


if __name__ == "__main__":
    print("\n".join(table()))
