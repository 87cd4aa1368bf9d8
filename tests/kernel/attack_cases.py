"""What thieves do (samples/vmm/attacks), and what each audit must say of it: docs/audit.md has it.

Each case is a victim of its own. A claim that a thief breaks is a `fail` that names him; where what
he does cannot be seen, what makes it possible is, and the claim is `indeterminate` by a doubt about
this victim and no other.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from tests.kernel.audit_cases import FAIL, NOTHING, OPEN, PASS, markdown

ATTACKER, VICTIM = "attacker", "vmm"
ONLY_VMM, QEMU, CREATOR, NOBODY, GMEM = (
    "only-vmm", "ordinary-qemu", "only-creator", "nobody", "confidential-guest",
)  # fmt: skip
MAPPED, WRITABLE, NRW, PINNED, SEALED = (
    "mapped-only-by", "never-writable-outside", "never-read-or-written", "never-pinned-except",
    "sealed-with",
)  # fmt: skip
OLD, NEW = ("6.1",), ("newest",)
BOTH = (*OLD, *NEW)


@dataclass(frozen=True)
class Broken:
    """One claim, and what must be found."""

    claim: str
    who: str = ATTACKER
    policy: str = ONLY_VMM
    codes: tuple[str, ...] = ()
    """One of these doubts, of an `indeterminate`; none: it is a `fail` that names ``who``."""
    op: str = ""
    """If only this one shows it: the VMM does others that the policy forbids, too."""


@dataclass(frozen=True)
class Attack:
    """A run of the program, and the claims that it breaks."""

    name: str
    text: str
    broken: tuple[Broken, ...] = ()
    kernels: tuple[str, ...] = BOTH
    """Those that have the means; on the others it is refused."""
    policies: tuple[str, ...] = (ONLY_VMM, QEMU)
    """The ready ones that are about it, none of which may pass."""
    memory: str = "memfd"
    alone: bool = False
    proof: tuple[str, str] | None = ("attacker", "SECRET")
    """Who got which text: that the attack went well is seen by that; None: there is nothing to
    get."""


def _fails(*claims: str, who: str = ATTACKER, policy: str = ONLY_VMM) -> tuple[Broken, ...]:
    return tuple(Broken(claim, who, policy) for claim in claims)


def _open(claim: str, *codes: str, policy: str = ONLY_VMM) -> tuple[Broken, ...]:
    return (Broken(claim, "", policy, codes),)


_ALL = _fails(MAPPED, WRITABLE, NRW)
_WROTE = (VICTIM, "WRITTEN by attacker")
_UFFD = _fails(NRW)
_RING = _open(NRW, "reach")

ATTACKS = (
    Attack("fd-thief", "opens /proc/PID/fd, reads, writes and maps",
           (*_ALL, *_fails(MAPPED, WRITABLE, NRW, policy=QEMU))),
    Attack("comm-thief", "the same, called virtiofsd",
           (*_ALL, *_fails(MAPPED, WRITABLE, policy=QEMU))),
    Attack("kvm-thief", "maps it, and has a VM of its own over it", _ALL),
    Attack("kvm-thief-early", "the same, and reads and writes before it has a VM", _ALL),
    Attack("kvm-thief-first", "the same, before the VMM's VM has the memory",
           _fails(MAPPED, who=VICTIM)),
    Attack("kvm-thief-gone", "the same, and ends before the VMM's VM has it",
           _fails(MAPPED, who=VICTIM)),
    Attack("pid-reuse", "a process that has the number of the VMM, which has died", _ALL),
    Attack("exec", "the VMM runs another program, which has the memfd", _ALL),
    Attack("exec-twice", "the same, by a program in between", _ALL),
    Attack("creator-race", "creates memfds while a thread of its own lays the victim's there",
           (*_ALL, *_fails(MAPPED, NRW, policy=CREATOR)), alone=True),
    Attack("secret-race", "the same with memfd_secret", _fails(MAPPED, NRW, policy=CREATOR),
           policies=(), memory="secretmem", alone=True),
    Attack("gmem-race", "the same with guest_memfd", _fails(MAPPED, NRW, policy=CREATOR), NEW,
           (GMEM,), "guest_memfd", True),
    Attack("given-on", "gets it from a backend that the VMM gave it to",
           (*_fails(MAPPED, NRW), *_fails(MAPPED, WRITABLE, policy=QEMU))),
    Attack("handover", "a second VM, by a process that the VMM gave it to",
           _fails(MAPPED, who="second-vmm"), proof=("second-vmm", "SECRET")),
    Attack("uffd-copy", "answers page faults of the VMM by UFFDIO_COPY", _UFFD, proof=_WROTE),
    Attack("uffd-zeropage", "the same by UFFDIO_ZEROPAGE", _UFFD, proof=None),
    Attack("uffd-continue", "the same by UFFDIO_CONTINUE", _UFFD, proof=None),
    Attack("uffd-poison", "the same by UFFDIO_POISON", _UFFD, NEW, proof=None),
    Attack("uffd-cold", "registers and fills out of arguments in pages not resident", _UFFD,
           proof=_WROTE),
    Attack("uffd-cold-vmm", "the VMM itself registers out of such arguments",
           (Broken(NRW, VICTIM, NOBODY, op="uffd_register"),), policies=(), proof=None),
    Attack("procfd-early", "opens /proc/PID/fd before the file is sealed, reads it after",
           _fails(SEALED, NRW)),
    Attack("procfd-idle", "opens it before, and does no more", _fails(SEALED),
           proof=None),
    Attack("taskfd-idle", "the same by /proc/PID/task/TID/fd", _fails(SEALED),
           proof=None),
    Attack("mapfiles-early", "opens /proc/PID/map_files before, reads after", _fails(SEALED, NRW)),
    Attack("getfd-early", "gets it by pidfd_getfd before, and does no more", _fails(SEALED),
           proof=None),
    Attack("getfd", "gets it by pidfd_getfd, and reads", _fails(NRW)),
    Attack("clone-vm", "a CLONE_VM process of another user loads and stores",
           (*_open(NRW, "reach"), *_open(MAPPED, "reach"))),
    Attack("clone-vm-calls", "a CLONE_VM process reads and writes by calls", _fails(NRW, WRITABLE)),
    Attack("vfork-reads", "a vfork child that loads and stores, and runs no program",
           (*_open(NRW, "reach"), *_open(MAPPED, "reach"))),
    Attack("clone-files", "a CLONE_FILES process reads and writes", _fails(NRW, WRITABLE)),
    Attack("ring-child", "a child uses the VMM's registered io_uring buffers", _RING),
    Attack("ring-poll", "a child fills the queue of the VMM's polled ring", _RING),
    Attack("ring-getfd", "another process uses them, by pidfd_getfd of the ring", _RING),
    Attack("msg-ring", "takes the memfd from the VMM's io_uring by a message, reads it",
           _fails(NRW)),
    Attack("ptrace-run", "makes the VMM write, by ptrace", _open(NRW, "reach"), proof=_WROTE),
    Attack("ptrace-attach", "attaches by ptrace and detaches", _open(NRW, "reach"), proof=None),
    Attack("ptrace-seize", "attaches by PTRACE_SEIZE", _open(NRW, "reach"), proof=None),
    Attack("ptrace-thread", "attaches to another thread of the VMM", _open(NRW, "reach"),
           proof=None),
    Attack("ptrace-backend", "attaches to a backend that the VMM gave it to",
           _open(MAPPED, "reach", policy=QEMU), proof=None),
    Attack("ptrace-traceme", "the VMM asks its parent to trace it", _open(NRW, "reach"),
           proof=None),
    Attack("madvise", "process_madvise: COLD, PAGEOUT, WILLNEED", _open(NRW, "reach"),
           proof=None),
    Attack("remote-cold", "process_vm_readv out of vectors in pages not resident", _fails(NRW)),
    Attack("udmabuf", "maps a dma-buf that the VMM made of it", _fails(PINNED, who=VICTIM), NEW),
    Attack("udmabuf-thief", "makes a dma-buf of it, and maps that", _fails(PINNED, NRW), NEW),
)  # fmt: skip

SHOWN = ("slot-race", "holders", "one-bus-error")
"""Of these, a test of its own looks at the rows."""
_LONELY = {SEALED: NOTHING}
"""Nobody else ever got it."""
_PASSES: Mapping[str, str] = {}


@dataclass(frozen=True)
class Twin:
    """Who behaves well; ``results`` of a policy: claims of which not all pass."""

    name: str
    text: str
    results: Mapping[str, Mapping[str, str]]
    victim: bool = True
    """False: it has nothing to do with guests."""


_VMM = {ONLY_VMM: _LONELY, QEMU: _LONELY}
TWINS = (
    Twin("plain", "the VMM reads and writes", _VMM),
    Twin("given", "a backend that the VMM gave it to maps it", {QEMU: _PASSES}),
    Twin("given-early", "the same, before the memslot", {QEMU: _PASSES}),
    Twin("spawn", "the VMM starts helpers, by fork and by posix_spawn", _VMM),
    Twin("threads", "another thread sets the memslot", _VMM),
    Twin("slot-cold", "a memslot out of arguments in pages not resident", _VMM),
    Twin("uffd-own", "the VMM answers its page faults itself", _VMM),
    Twin("ring-own", "the VMM uses its registered io_uring buffers", {QEMU: _LONELY}),
    Twin("watched", "VMMs are killed while another process reads their smaps", _VMM),
    Twin("debugger", "ptrace of a process that has nothing to do with guests", {}, False),
    Twin("uffd-elsewhere", "userfaultfd over a process's own memory", {}, False),
    Twin("forks", "processes that fork and exec", {}, False),
)
BY_MANAGER = "by-manager"
"""A VMM that was given its memory: nothing of what it does itself is a violation."""


def result(attack: Attack, kernel: str) -> str:
    """In a cell."""
    if kernel not in attack.kernels:
        return "-"
    return FAIL if any(not one.codes for one in attack.broken) else OPEN


def _said(attack: Attack) -> str:
    found: dict[tuple[str, str], list[str]] = {}
    for one in attack.broken:
        what = f"doubt `{'` or `'.join(one.codes)}`" if one.codes else one.who
        found.setdefault((one.policy, what), []).append(one.claim)
    return "; ".join(
        f"`{policy}`: {', '.join(claims)}: {what}" for (policy, what), claims in found.items()
    )


def table() -> list[str]:
    """The second table of docs/audit.md."""
    rows = [
        (one.text, one.memory, _said(one), *(result(one, kernel) for kernel in BOTH))
        for one in ATTACKS
    ]
    rows += [(one.text, "memfd" if one.victim else "", "pass", PASS, PASS) for one in TWINS]
    return markdown(("what happens", "memory", "what the audit says", *BOTH), rows)


if __name__ == "__main__":
    print("\n".join(table()))
