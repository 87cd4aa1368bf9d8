"""Names and text form of the F_SEAL_* bits (include/uapi/linux/fcntl.h)."""

from enum import IntFlag


class Seal(IntFlag):
    SEAL = 0x01
    SHRINK = 0x02
    GROW = 0x04
    WRITE = 0x08
    FUTURE_WRITE = 0x10
    EXEC = 0x20
    """F_SEAL_EXEC since Linux 6.3 (commit 6fd7353829ca). The F_SEAL_INACCESSIBLE proposal of
    January 2022 used the same bit; which one a kernel means is for the self-test to tell."""


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


def names(seals: int) -> str:
    """Long form: ``SEAL|WRITE``; ``0`` when none is set."""
    known = [seal.name or "" for seal in Seal if seals & seal]
    rest = seals & ~0x3F
    if rest:
        known.append(f"{rest:#x}")
    return "|".join(known) or "0"
