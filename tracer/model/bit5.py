"""What a kernel calls seal 0x20, and flag 0x8 of memfd_create, with which a file is born so sealed.

The January 2022 proposal and Linux 6.3 gave the same two bits to different things. Only the
self-test of a recording tells which kernel wrote it.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple


class Bit5(NamedTuple):
    """The two names, as they stand among those of the other bits."""

    seal: str
    flag: str


EXEC = Bit5("EXEC", "NOEXEC_SEAL")
"""F_SEAL_EXEC (6fd7353829ca) and MFD_NOEXEC_SEAL (105ff5339f49), include/uapi since 6.3."""
INACCESSIBLE = Bit5("INACCESSIBLE", "INACCESSIBLE")
"""F_SEAL_INACCESSIBLE and MFD_INACCESSIBLE, list patches v4 01/12 and 02/12 of 18 Jan 2022."""
UNKNOWN = Bit5("0x20", "0x8")
"""The number, as for every bit without a name: either name would say what nobody has seen, and
verdicts that depend on it are indeterminate for the same reason."""

_NAMES = {
    "exec": EXEC,
    "inaccessible": INACCESSIBLE,
    # The kernel refuses both bits, so the name says no more than what was asked for, and the only
    # header that was ever released has these names. Programs that try MFD_NOEXEC_SEAL first and do
    # without it on such kernels are common.
    "none": EXEC,
}


def bit5_of(meaning: object) -> Bit5:
    """The names for ``self_test.bit_0x20`` of a manifest; anything but its words is not known."""
    return _NAMES.get(meaning, UNKNOWN) if isinstance(meaning, str) else UNKNOWN


def bit5_in(manifest: Mapping[str, Any]) -> Bit5:
    """The names in a recording; its manifest may be somebody else's: wrong types are not known."""
    test = manifest.get("self_test")
    if not isinstance(test, dict) or test.get("ran") is not True:
        return UNKNOWN
    return bit5_of(test.get("bit_0x20"))
