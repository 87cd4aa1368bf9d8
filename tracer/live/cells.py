"""Values as short texts for cells of a table; nothing from a recording reaches one unescaped."""

from typing import Any

from tracer.escape import printable
from tracer.labels import MAX_ERRNO, cause, describe, errno_name, seals_text
from tracer.rules.verdicts import Verdict
from tracer.words import Bit5

SYMBOLS = {
    Verdict.ALLOWED: "✓",
    Verdict.ERROR: "!",
    Verdict.BLOCKED: "■",
    Verdict.INDETERMINATE: "~",
    Verdict.UNEXPLAINED: "?",
    Verdict.BREACH: "✗",
}
"""One cell each, in every font that has box drawing."""

WORST_FIRST = tuple(sorted(Verdict, reverse=True))
VIOLATIONS = (Verdict.BREACH, Verdict.UNEXPLAINED)
JUMPS = {"violation": VIOLATIONS, "blocked": (Verdict.BLOCKED,)}
"""What the keys ``n`` and ``b`` jump to."""

BARS = " ▁▂▃▄▅▆▇█"
"""Of a chart, the highest last."""

NONE = "·"
"""A cell without a value."""


def text(value: object) -> str:
    """Anything as harmless text; ``·`` for nothing."""
    return NONE if value is None or value == "" else printable(str(value))


def count(value: Any, width: int = 9) -> str:
    """A count with thousands separated; with a unit where it would be wider than ``width``.

    An empty cell for 0: what is there is what happened.
    """
    if not value:
        return NONE
    shown = f"{value:,}"
    if len(shown) <= width:
        return shown
    for scale, unit in ((10**3, "k"), (10**6, "M"), (10**9, "G"), (10**12, "T")):
        if value < scale * 1000:
            scaled = value / scale
            digits = 2 if scaled < 10 else 1 if scaled < 100 else 0
            shown = f"{scaled:.{digits}f}{unit}"
            break
    return shown


def clock(seconds: float) -> str:
    """A time since the start: ``12.345``, ``1:02.345``, ``1:00:02.345`` (h:m:s)."""
    whole, rest = divmod(round(seconds * 1000), 1000)
    minutes, sec = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}:{minutes:02}:{sec:02}.{rest:03}"
    return f"{minutes}:{sec:02}.{rest:03}" if minutes else f"{sec}.{rest:03}"


def seals(value: Any) -> str:
    """One letter place a seal: ``-sgw--``."""
    return "??????" if value is None else seals_text(int(value))


def name_of(kind: Any, name: Any, dev: Any, ino: Any) -> str:
    """``frame`` for ``memfd:frame``; device and inode where no name is known."""
    if name is None and not ino:
        return NONE
    if name is None:
        return f"<{(dev or 0) >> 20}:{(dev or 0) & 0xFFFFF}/{ino or 0}>"
    shown = printable(str(name))
    # The kernel's prefix, not the maker's; the kind says the same.
    cut = shown.removeprefix("memfd:") if kind in ("memfd", "hugetlb", "guest_memfd") else shown
    return cut or "(empty name)"


def who(comm: Any, pid: Any, own: Any = None) -> str:
    """``qemu/4242``; ``qemu/4242[7]`` where its own pid namespace calls it 7 (``own``)."""
    inner = f"[{own}]" if pid is not None and own and own != pid else ""
    return f"{text(comm)}/{pid if pid is not None else '?'}{inner}"


def short_answer(value: Any) -> str:
    """``EPERM`` or ``ok``."""
    if value is None:
        return "?"
    return (errno_name(int(value)) or "ok") if -MAX_ERRNO <= value < 0 else "ok"


def because(get: Any) -> str:
    """What an event's verdict rests on: the rule's reason, or what its error means."""
    reason = get("reason") or ""
    if not reason and get("verdict") == Verdict.ERROR:
        reason = cause(str(get("op")), int(get("answer") or 0))
    return printable(str(reason))


def requested(get: Any, bit5: Bit5) -> str:
    """What an event requested in a few words; ``get`` gives a column's value by name.

    ``bit5``: what the recorded kernel calls seal 0x20.
    """
    return describe(
        str(get("op") or ""),
        str(get("kind") or ""),
        get("arg") or 0,
        get("offset") or 0,
        get("length") or 0,
        get("size") or 0,
        bit5,
    )
