"""The one sentence that says whether anything is wrong."""

from typing import NamedTuple

from tracer.model.verdicts import Verdict
from ui.marks import SYMBOLS
from ui.snapshot import Snapshot, State


class Summary(NamedTuple):
    """A style's name (a verdict's word, ``dim``) and what to say."""

    style: str
    text: str


def _doubts(shot: Snapshot) -> list[str]:
    doubts = []
    if shot.now.lost:
        doubts.append(f"{shot.now.lost:,} events lost")
    unknown = shot.verdicts.of(Verdict.INDETERMINATE)
    if unknown:
        doubts.append(f"{unknown:,} indeterminate")
    blind = [hook.family for hook in shot.coverage.hooks if hook.essential and not hook.method]
    if blind:
        doubts.append(f"not seen: {', '.join(blind)}")
    if shot.facts.self_test_ok is False:
        doubts.append(f"self-test: {shot.facts.self_test}")
    elif shot.facts.self_test_ok is None and shot.facts.hooks:
        doubts.append("self-test not run")
    if shot.now.state in (State.GONE, State.BROKEN):
        doubts.append(shot.now.state.value)
    return doubts


def _broken(shot: Snapshot) -> str:
    """What the audit found, empty where it found nothing."""
    count = shot.audited.broken if shot.audited is not None else 0
    return f"{count:,} broken claim{'s' if count > 1 else ''}" if count else ""


def summary(shot: Snapshot) -> Summary:
    """What a person should know first."""
    count = shot.verdicts
    breaches, odd = count.of(Verdict.BREACH), count.of(Verdict.UNEXPLAINED)
    broken = _broken(shot)
    if breaches:
        noun = "BREACH" if breaches == 1 else "BREACHES"
        more = f", {odd:,} unexplained denials" if odd else ""
        return Summary(
            "breach",
            f"{SYMBOLS[Verdict.BREACH]} {breaches:,} {noun}: "
            f"let through what a seal forbids{more}{broken and f', {broken}'}. Press n to see",
        )
    if broken:
        return Summary(
            "breach", f"{SYMBOLS[Verdict.BREACH]} AUDIT FAILED: {broken}. Press 6 to see"
        )
    if odd:
        noun = "DENIAL" if odd == 1 else "DENIALS"
        return Summary(
            "unexplained",
            f"{SYMBOLS[Verdict.UNEXPLAINED]} {odd:,} UNEXPLAINED {noun}: "
            "no seal and no rule says so. Press n to see",
        )
    if not count.total:
        if shot.now.state in (State.OPENING, State.READING):
            return Summary("dim", "… reading the recording")
        if shot.now.state is State.LIVE:
            return Summary("dim", "… no decision yet: waiting for the first")
        if shot.now.share is not None and shot.now.share < 1:
            return Summary("dim", "… no decision yet: k plays, > goes to the next violation")
        return Summary("dim", "no decision in this recording")
    doubts = _doubts(shot)
    if doubts:
        return Summary(
            "indeterminate",
            f"{SYMBOLS[Verdict.INDETERMINATE]} No breach in {count.total:,} decisions, "
            f"but not sure: {'; '.join(doubts)}",
        )
    blocked = count.of(Verdict.BLOCKED)
    return Summary(
        "allowed",
        f"{SYMBOLS[Verdict.ALLOWED]} All {count.total:,} decisions are as the seals demand"
        + (f"; {blocked:,} blocked" if blocked else ""),
    )
