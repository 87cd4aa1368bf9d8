"""What the outcomes of the committed cases say, and the numbers that these cases ask with."""

from tests.unit.rules.rule_cases import MODERN, Told
from tracer.words import Kind

ALLOWED = Told("allowed", "ok", "")
SILENT = "no seal says so"
UNEXPLAINED = Told("unexplained", "ok", SILENT)
EARLIER = "something else refused it earlier"
CHECKED = "the kernel's seal check refused it, though no seal says so"
PINS = "neither a writable mapping nor a wait for pinned pages was seen"
MAPPED = "writable mapping exists"
RACED = Told("indeterminate", "unknown", "seals changed meanwhile")
SKIPPED = {**MODERN, "hugetlb_partial_punch": "skipped"}
LARGEST = {**MODERN, "grow_write_chunk": "largest"}
DENIED = {**MODERN, "shared_read_of_write_sealed": "denied"}
HUGETLB = Kind.HUGETLB
RX, RWX, RW = 5, 7, 3
LOCKED = 0x2001
NOEXEC, MFD_EXEC, SEALABLE, MFD_HUGETLB = 8, 0x10, 2, 4


def blocked(reason: str, errno: str = "EPERM") -> Told:
    return Told("blocked", errno, reason)


def breach(reason: str, errno: str = "EPERM", hole: str | None = None) -> Told:
    return Told("breach", errno, reason, hole)


def error(reason: str = "", expected: str = "ok") -> Told:
    return Told("error", expected, reason)
