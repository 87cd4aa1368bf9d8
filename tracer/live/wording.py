"""What a decision came to, in words: several forms, the longest first, for the room there is.

``mmap SHARED rw- went through, F_SEAL_FUTURE_WRITE should have refused it`` … ``mmap passed``.
"""

from collections.abc import Callable, Sequence
from typing import Any

from tracer.labels import errno_name
from tracer.live import cells
from tracer.rules.verdicts import Verdict
from tracer.words import BY_NAME, Bit5

Get = Callable[[str], Any]
"""Gives a column of an event by name."""
_ABOUT_SEALS = ("add_seals", "create")
"""Their request names seals, or flags: without it nobody knows what they were about."""


def sealed_by(reason: str) -> str:
    """``F_SEAL_WRITE`` for a reason that names seals; empty: it is a phrase."""
    names = reason.split("|")
    return "|".join(f"F_SEAL_{name}" for name in names) if all(n in BY_NAME for n in names) else ""


def forms(get: Get, bit5: Bit5) -> Sequence[str]:
    """What an event came to; empty for a row without a decision. All is harmless text."""
    number, op = get("verdict"), cells.text(get("op"))
    if number is None or not 0 <= number < len(Verdict) or get("op") is None:
        return ()
    verdict, request = Verdict(number), cells.requested(get, bit5)
    words = request.split(" ")
    # Offset and length come last, and say least.
    shorter = " ".join(words[:-1]) if len(words) > 1 and "+" in words[-1] else request
    heads = [f"{op} {request}".strip(), f"{op} {shorter}".strip(), op]
    if op in _ABOUT_SEALS:
        heads = heads[:1]
    return tuple(dict.fromkeys(f"{head} {tail}" for tail in _tails(verdict, get) for head in heads))


def _tails(verdict: Verdict, get: Get) -> Sequence[str]:
    """What came of it, behind what was asked for; the longest first."""
    reason = cells.because(get)
    seals = sealed_by(reason)
    short = reason if seals else ""
    error = errno_name(int(get("answer") or 0)) or ""
    hole, known = "", ""
    if get("hole"):
        hole, known = f", known hole {cells.text(get('hole'))}", ", known hole"
    if verdict is Verdict.BREACH:
        if error or not seals:
            got = error or "went through"
            expected = f"{got}, {cells.text(get('expected'))} was due"
            whole = f"{expected}: {reason}" if reason else expected
            return [whole + hole, expected + hole, expected + known, expected, got]
        return [
            f"went through, {seals} should have refused it{hole}",
            f"went through, {short} should have refused it{known}",
            f"went through {short}{known}",
            f"got past {short}{known}",
            f"got past {short}",
            "went through",
        ]
    if verdict is Verdict.BLOCKED:
        if seals:
            return [f"refused by {seals}: {error}", f"refused by {short}: {error}",
                    f"{error} by {short}", error]  # fmt: skip
        return [f"refused, {error}: {reason}", f"{error}: {reason}", error]
    if verdict is Verdict.UNEXPLAINED:
        return [f"{error}, and no seal and no rule says so", f"{error}, unexplained", error]
    if verdict is Verdict.INDETERMINATE:
        got = error or "ok"
        return [f"{got}, not certain: {reason}" if reason else f"{got}, not certain",
                f"{got}, not certain", f"{got} ?"]  # fmt: skip
    if verdict is Verdict.ERROR:
        return [f"failed, {error}: {reason}", f"{error}: {reason}", error] if reason else [error]
    return ["ok"]


def fitting(texts: Sequence[str], width: int) -> str:
    """The longest that has room; the shortest where none has."""
    return next((text for text in texts if len(text) <= width), texts[-1] if texts else "")


def sentence(get: Get, bit5: Bit5) -> str:
    """One event in a sentence: on which file, by whom, what came of it."""
    name = cells.name_of(get("kind"), get("name"), get("dev"), get("ino"))
    said = next(iter(forms(get, bit5)), "")
    return f"{name}, {cells.who(get('comm'), get('pid'))}: {said}"
