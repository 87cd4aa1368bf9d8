"""How verdicts look: a symbol and a word each, since colour must never be the only signal."""

from tracer.model.verdicts import Verdict

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
"""What ``n`` jumps to."""

MEANING = {
    Verdict.BREACH: "a seal should have denied it, and it went through",
    Verdict.UNEXPLAINED: "denied, though no seal and no rule says so",
    Verdict.INDETERMINATE: "the evidence is incomplete",
    Verdict.BLOCKED: "a seal denied it, as it should",
    Verdict.ERROR: "failed for a reason that has nothing to do with seals",
    Verdict.ALLOWED: "went through, as it should",
}

_BARS = " ▁▂▃▄▅▆▇█"


def sparkline(values: list[int], width: int, whole: bool = False) -> str:
    """``values`` as at most ``width`` bars, the newest at the right, the highest one full.

    A value above 0 always shows. ``whole``: all of them, several in one bar where need be; else
    the last ones.
    """
    if whole and len(values) > width > 0:
        each = -(-len(values) // width)
        values = [0] * (-len(values) % each) + values
        values = [sum(values[at : at + each]) for at in range(0, len(values), each)]
    shown = values[-width:]
    top = max(shown, default=0)
    if top <= 0:
        return " " * width
    steps = len(_BARS) - 1
    bars = "".join(_BARS[0 if v <= 0 else max(1, round(v * steps / top))] for v in shown)
    return bars.rjust(width)
