"""The verdict that a call's own errno implies, from the truth line alone.

This is the second opinion that tracer.analysis.judge is compared with, so it knows nothing of
tracer.rules: which seals stand against a call is told here once more, in user's terms
(fcntl(2) and memfd_create(2), and samples/README.md for what each variant does). Where kernels
differ about what a seal forbids, the call's own answer says which one this is.
"""

from typing import Any, NamedTuple

Row = dict[str, Any]

SEAL, SHRINK, GROW, WRITE, FUTURE_WRITE, EXEC = 0x01, 0x02, 0x04, 0x08, 0x10, 0x20
_PROT_WRITE, _MAP_SHARED = 0x2, 0x1
_VM_WRITE, _VM_SHARED = 0x2, 0x8
_X_BITS = 0o111
_X_VARIANTS = ("x_bits", "one_x_bit")
_NOT_OPEN_FOR_IT = {
    "EACCES": ("shared_w_ro", "shared_w_wo"),  # mmap(2)
    "EPERM": ("read_only_fd",),  # F_ADD_SEALS
}
"""Variants whose descriptor is not open for the call, and what that answers."""
_WRITABLE_LIVES = (
    "busy_shared_w", "busy_shared_r", "mapped_exec", "mapped", "WRITE itself", "WRITE and EXEC",
)  # fmt: skip
"""Variants of F_ADD_SEALS while a shared mapping lives that is writable, or may become so."""


class Implied(NamedTuple):
    verdict: str
    seals: int
    """Those that stand against the call and are set; for ``blocked`` one of them is the reason."""


def implied(call: Row) -> Implied:
    """What became of one call of the workload or the holes program."""
    against = _forbidding(call) & call["seals"]
    if call["op"] == "add_seals":
        return _of_add_seals(call, against)
    if call["answer"] >= 0:
        harmless = _stayed_within(call) or punched_nothing(call)
        return Implied("breach" if against and not harmless else "allowed", against)
    if call["errno"] == "EPERM":
        against = against or (_once_forbidding(call) & call["seals"])
        return Implied("blocked" if against else "unexplained", against)
    if call["errno"] == "EACCES":
        return Implied("error" if _is_not_open_for_it(call) else "unexplained", 0)
    return Implied("unexplained" if call["errno"] == "EBUSY" else "error", 0)


def _forbidding(call: Row) -> int:
    """The seals that forbid this call whichever kernel it is, if they are set."""
    op, end = call["op"], call["offset"] + call["length"]
    if op == "write":
        grows = GROW if end > call["size"] else 0
        return (WRITE | FUTURE_WRITE | grows) if call["length"] else 0
    if op == "truncate":
        return SHRINK if call["length"] < call["size"] else _if_larger(call, call["length"])
    if op == "allocate":
        return _if_larger(call, end)
    if op == "punch_hole":
        return WRITE | FUTURE_WRITE
    if op == "mmap":
        return _forbidding_mapping(call, end)
    if op == "remap_file_pages":
        vm_flags = call["arg"] >> 8 & 0xFF
        return WRITE | FUTURE_WRITE if vm_flags & _VM_SHARED and vm_flags & _VM_WRITE else 0
    if op == "mremap":
        return _forbidding_growth(call)
    if op == "chmod":
        return EXEC if _changes_x(call) else 0
    return SEAL if op == "add_seals" else 0


def _if_larger(call: Row, end: int) -> int:
    return GROW if end > call["size"] else 0


def _forbidding_mapping(call: Row, end: int) -> int:
    prot, flags = call["arg"] & 0xFFFFFFFF, call["arg"] >> 32
    if not prot & _PROT_WRITE:
        return 0
    # Mapping a hugetlb file past its end makes it larger, and a seal on that should forbid it.
    grows = _if_larger(call, end) if call["object"] == "hugetlb" else 0
    return (WRITE | FUTURE_WRITE if flags & _MAP_SHARED else 0) | grows


def _forbidding_growth(call: Row) -> int:
    """A shared writable mapping that gets longer makes more of the file writable."""
    vm_flags, old = call["arg"] >> 8 & 0xFF, (call["arg"] >> 16) * 4096
    writes = vm_flags & _VM_SHARED and vm_flags & _VM_WRITE
    return WRITE | FUTURE_WRITE if writes and call["length"] > old else 0


def _once_forbidding(call: Row) -> int:
    """What a shared read-only mapping through a writable descriptor was refused for, long ago."""
    shared = call["op"] == "mmap" and bool(call["arg"] >> 32 & _MAP_SHARED)
    return WRITE if shared and not call["variant"].endswith("_ro") else 0


def _changes_x(call: Row) -> bool:
    if "mode" in call:
        return bool((call["mode"] ^ call["arg"]) & _X_BITS)
    return call["variant"] in _X_VARIANTS


def _stayed_within(call: Row) -> bool:
    """Only GROW stood against it, and what happened did not grow the file (a partial write)."""
    forbidden = _forbidding(call) & call["seals"]
    return forbidden == GROW and bool(call["size_after"] <= call["size"])


def punched_nothing(call: Row) -> bool:
    """A hole within one huge page of a sealed file that was granted.

    5.10 answers 0 without a look at seals, and changes nothing. Who uses `implied` on other kernels
    has to demand that there is none.
    """
    kind = (call["op"], call["object"], call["variant"])
    granted = call["answer"] >= 0 and bool(call["seals"] & (WRITE | FUTURE_WRITE))
    return kind == ("punch_hole", "hugetlb", "partial") and granted


def _is_not_open_for_it(call: Row) -> bool:
    return call["variant"] in _NOT_OPEN_FOR_IT.get(call["errno"], ())


def _of_add_seals(call: Row, against: int) -> Implied:
    if call["answer"] >= 0:
        came = call["seals_after"] & ~call["seals"] & WRITE
        escaped = came and call["variant"] in _WRITABLE_LIVES
        return Implied("breach" if against or escaped else "allowed", against)
    if call["errno"] == "EPERM":
        if _is_not_open_for_it(call):
            return Implied("error", 0)
        return Implied("blocked" if against else "unexplained", against)
    if call["errno"] == "EBUSY":  # WRITE was asked for, or came with EXEC
        busy = call["arg"] & (WRITE | EXEC) and call["variant"] in _WRITABLE_LIVES
        return Implied("blocked" if busy else "unexplained", 0)
    return Implied("error", 0)
