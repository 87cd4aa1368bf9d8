"""Names and text form of the F_SEAL_* bits (include/uapi/linux/fcntl.h)."""

from collections.abc import Mapping
from enum import IntFlag

from tracer.model.bit5 import UNKNOWN, Bit5


class Seal(IntFlag):
    SEAL = 0x01
    SHRINK = 0x02
    GROW = 0x04
    WRITE = 0x08
    FUTURE_WRITE = 0x10
    EXEC = 0x20
    """F_SEAL_EXEC since Linux 6.3 (commit 6fd7353829ca). The F_SEAL_INACCESSIBLE proposal of
    January 2022 used the same bit; which one a kernel means is for the self-test to tell
    (tracer.model.bit5), and in code this name stands for either."""


BY_NAME: Mapping[str, int] = {seal.name or "": int(seal) for seal in Seal} | {
    "INACCESSIBLE": int(Seal.EXEC)
}
"""The bit of each name that somebody may type."""


LETTERS = "SsgwfX"
"""One place a seal: Seal, shrink, grow, write, future write, eXec or inaccessible."""


def text(seals: int) -> str:
    """Fixed-width form, one letter place a seal: ``0x0b`` is ``Ss-w--``; unknown bits as ``+0x40``.

    >>> text(0x0B)
    'Ss-w--'
    """
    shown = "".join(c if seals >> bit & 1 else "-" for bit, c in enumerate(LETTERS))
    rest = seals & ~0x3F
    return shown if rest == 0 else f"{shown}+{rest:#x}"


def names(seals: int, bit5: Bit5 = UNKNOWN) -> str:
    """Long form: ``SEAL|WRITE``; ``0`` when none is set.

    ``bit5``: what the kernel in question calls 0x20; where there is none, it stays a number.
    """
    known = [bit5.seal if seal == Seal.EXEC else seal.name or "" for seal in Seal if seals & seal]
    rest = seals & ~0x3F
    if rest:
        known.append(f"{rest:#x}")
    return "|".join(known) or "0"
